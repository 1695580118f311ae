//! What the rows of a sample are, counted: whether it is a list at all, and what holds for all of its rows.

use super::super::{
    headings::{self, WORDS_MAX},
    sample::Sample,
    token::Shape,
};
use super::{
    List,
    row::{self, Context, Row},
};

/// Counts of the rows of a sample.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::feed) struct Census {
    /// Rows: no comments, titles and blank lines.
    rows: u32,
    /// Titles between the rows.
    titles: u32,
    /// Rows with an indicator.
    entries: u32,
    /// Rows with something that is known and unsupported, or an indicator that is broken.
    known: u32,
    /// Sentences and other lines that are neither rows nor titles.
    prose: u32,
}

/// What holds for all rows of a list, as far as its sample shows.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::feed) struct Traits {
    /// Whether names that may be files' are hosts.
    pub(super) are_hosts: bool,
    /// Whether sentences or headings stand around the indicators.
    pub(super) is_narrative: bool,
    /// Whether nine in ten addresses are defanged.
    pub(super) is_defanged: bool,
    /// The comma or semicolon that splits nearly all rows into equal columns.
    pub(super) delimiter: Option<char>,
    /// Whether all indicators are names with the ending of a file and of two labels.
    pub(in crate::feed) may_be_file_names: bool,
}

impl Census {
    /// Counts the rows of a sample.
    pub(in crate::feed) fn of(sample: &Sample<'_>) -> Self {
        let mut census = Self::default();
        let mut list = List::with(Traits::of(sample));
        for line in &sample.lines {
            match list.row(line) {
                Row::Blank => continue,
                Row::Comment(text) => {
                    list.comment(line, text);
                    continue;
                }
                Row::Entry(_) => census.entries += 1,
                Row::Unsupported(_) | Row::Good | Row::Broken(_) | Row::Hex(_) | Row::Link => census.known += 1,
                Row::File => {}
                Row::Prose => {
                    list.heading(line);
                    if is_title(line) {
                        census.titles += 1;
                        continue;
                    }
                    census.prose += 1;
                }
            }
            census.rows += 1;
        }
        census
    }

    /// Returns whether the sample holds nothing but comments.
    pub(in crate::feed) fn is_empty(&self) -> bool {
        self.rows + self.titles == 0
    }

    /// Returns whether enough of the rows are indicators.
    pub(in crate::feed) fn is_list(&self) -> bool {
        self.entries + self.known > 0 && (self.entries + self.known) * 100 >= self.rows * LIST_PERCENT_MIN
    }
}

impl Traits {
    /// Derives the traits of a list from its sample.
    pub(in crate::feed) fn of(sample: &Sample<'_>) -> Self {
        let delimiter = delimiter(sample);
        let (mut hashes, mut hosts, mut file_names, mut long_names) = (0u32, 0u32, 0u32, 0u32);
        let (mut addresses, mut defanged, mut prose) = (0u32, 0u32, 0u32);
        for line in &sample.lines {
            match row::parse(line, Context { label: None, delimiter }) {
                Row::Entry(entry) => match entry.key.shape {
                    Shape::Hash | Shape::Prefixed => hashes += 1,
                    found => {
                        addresses += 1;
                        defanged += u32::from(entry.key.is_defanged());
                        if found == Shape::FileOrName {
                            file_names += 1;
                            long_names += u32::from(entry.key.text.matches('.').count() >= 2);
                        } else {
                            hosts += 1;
                        }
                    }
                },
                Row::Prose | Row::Link => prose += 1,
                _ => {}
            }
        }
        Self {
            are_hosts: hashes == 0 && file_names > 0 && (hosts > 0 || long_names > 0),
            is_narrative: prose > 0,
            is_defanged: defanged > 0 && defanged * 10 >= addresses * 9,
            delimiter,
            may_be_file_names: hashes + hosts + long_names == 0 && file_names > 0,
        }
    }
}

/// Returns the comma or semicolon that stands equally often in nearly all of at least [`EQUAL_ROWS_MIN`] rows.
fn delimiter(sample: &Sample<'_>) -> Option<char> {
    let rows = sample.data_lines().count();
    // One from the middle: headers and titles stand at the top.
    let typical = sample.data_lines().nth(rows / 2)?;
    [';', ','].into_iter().find(|&delimiter| {
        let count = typical.matches(delimiter).count();
        count > 0
            && rows >= EQUAL_ROWS_MIN
            && sample.share(|line| line.matches(delimiter).count() == count) >= EQUAL_SHARE_MIN
    })
}

/// Returns whether a line without an indicator is the title of those below it: a heading in capitals or with a colon.
fn is_title(line: &str) -> bool {
    let line = line.trim();
    line.split_whitespace().count() <= WORDS_MAX
        && (headings::is_heading(line) || !line.contains(char::is_lowercase))
        && (line.ends_with(':') || !line.contains(char::is_lowercase))
}

/// How many of a hundred rows have to be indicators; see the module's head.
const LIST_PERCENT_MIN: u32 = 40;

/// Rows that show a common number of columns: two may agree by chance.
const EQUAL_ROWS_MIN: usize = 3;

/// Share of rows with that number of columns.
const EQUAL_SHARE_MIN: f64 = 0.95;
