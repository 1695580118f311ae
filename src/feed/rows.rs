//! Rows of comma-separated values, from lines.
//!
//! Feeds write what RFC 4180 does not know: spaces between comma and quote (`"a", "b"`), comments between rows, headers
//! in comments, quotes that are never closed. The `csv` crate splits the first at the commas within the quotes, and
//! takes the rest of the file for one field after the last; so this is a splitter of our own, over lines that are
//! already bounded and numbered:
//!
//! - a quote opens a field only at its beginning, after any spaces; `""` within is a quote; what stands between the
//!   closing quote and the next separator is kept;
//! - a quoted field may go over lines, up to [`ROW_LINES_MAX`]. When its quote is still open then, only the line where
//!   it began is given up, and reading goes on with the next;
//! - blank lines, and lines that begin with `#` or `;`, are no rows.

use std::collections::VecDeque;

use super::{error::FeedError, input::Input, value::trim};
use crate::limits::FEED_LINE_BYTES_MAX;

/// The cells of one row.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    /// Their text, unquoted and trimmed, one after the other.
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
    /// Whether a quote is open.
    open: bool,
}

/// What [`Rows::next`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowKind {
    /// A row: its [`Rows::cells`].
    Row,
    /// A comment: its text is [`Rows::line_text`].
    Comment,
    /// A row with a quote that is never closed.
    Unclosed,
}

/// Rows of an input.
pub(super) struct Rows<'i, 'a> {
    input: &'i mut Input<'a>,
    separator: u8,
    cells: Cells,
    /// Whether the cells are those of the row.
    is_split: bool,
    line: String,
    /// The further lines of the row.
    further: String,
    number: u64,
    /// Lines behind a quote that was never closed, to be read again.
    pending: VecDeque<(u64, String)>,
}

impl Cells {
    /// The cells of one line by itself; one with an open quote has none after it.
    pub(super) fn of(line: &str, separator: u8) -> Self {
        let mut cells = Self::default();
        cells.set(line, separator);
        cells
    }

    /// Becomes the cells of this row.
    pub(super) fn set(&mut self, row: &str, separator: u8) {
        self.clear();
        if !self.push(row, separator) {
            self.ends.push(self.text.len());
        }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The text of a cell; empty when the row is shorter.
    pub(super) fn get(&self, at: usize) -> &str {
        let Some(&end) = self.ends.get(at) else { return "" };
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        trim(&self.text[start..end])
    }

    /// The texts of all cells.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|at| self.get(at))
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.open = false;
    }

    /// Takes a line, the first or one more. Whether that ends the row.
    fn push(&mut self, line: &str, separator: u8) -> bool {
        let bytes = line.as_bytes();
        let mut at = 0;
        loop {
            if self.open {
                let Some(quote) = memchr::memchr(b'"', &bytes[at..]) else {
                    self.text.push_str(&line[at..]);
                    return false;
                };
                self.text.push_str(&line[at..at + quote]);
                at += quote + 1;
                if bytes.get(at) == Some(&b'"') {
                    self.text.push('"');
                    at += 1;
                    continue;
                }
                self.open = false;
            } else {
                let spaces = bytes[at..].iter().take_while(|&&b| b == b' ').count();
                if bytes.get(at + spaces) == Some(&b'"') {
                    self.open = true;
                    at += spaces + 1;
                    continue;
                }
            }
            let end = memchr::memchr(separator, &bytes[at..]).map_or(bytes.len(), |length| at + length);
            self.text.push_str(trim(&line[at..end]));
            self.ends.push(self.text.len());
            if end == bytes.len() {
                return true;
            }
            at = end + 1;
        }
    }
}

impl<'i, 'a> Rows<'i, 'a> {
    pub(super) fn new(input: &'i mut Input<'a>, separator: u8) -> Self {
        let (cells, line, further, pending) = Default::default();
        Self { input, separator, cells, is_split: false, line, further, number: 0, pending }
    }

    /// The cells of the last row.
    pub(super) fn cells(&self) -> &Cells {
        &self.cells
    }

    pub(super) fn cells_mut(&mut self) -> &mut Cells {
        &mut self.cells
    }

    /// The line where the last row began, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The text of that line.
    pub(super) fn line_text(&self) -> &str {
        &self.line
    }

    /// What separates the cells.
    pub(super) fn separator(&self) -> u8 {
        self.separator
    }

    /// The text of the last row: its lines, with a line feed between.
    pub(super) fn row_text(&self) -> [&str; 2] {
        [&self.line, &self.further]
    }

    /// Goes on to the next row or comment.
    pub(super) fn next(&mut self) -> Result<Option<RowKind>, FeedError> {
        let found = self.next_text()?;
        if found == Some(RowKind::Row) && !self.is_split {
            self.cells.clear();
            self.cells.push(&self.line, self.separator);
        }
        Ok(found)
    }

    /// Goes on as [`next`](Self::next) does, but makes no cells: a row's are those of its [text](Self::row_text).
    pub(super) fn next_text(&mut self) -> Result<Option<RowKind>, FeedError> {
        loop {
            match self.pending.pop_front() {
                Some((number, line)) => (self.number, self.line) = (number, line),
                None => {
                    let Some(line) = self.input.next_line()? else { return Ok(None) };
                    self.number = line.number;
                    self.line.clear();
                    self.line.push_str(line.text);
                }
            }
            let trimmed = trim(&self.line);
            if trimmed.is_empty() {
                continue;
            }
            if trimmed.starts_with(['#', ';']) {
                return Ok(Some(RowKind::Comment));
            }
            self.further.clear();
            self.is_split = memchr::memchr(b'"', self.line.as_bytes()).is_some();
            if !self.is_split {
                return Ok(Some(RowKind::Row));
            }
            self.cells.clear();
            if self.cells.push(&self.line, self.separator) {
                return Ok(Some(RowKind::Row));
            }
            return self.continue_row().map(Some);
        }
    }

    /// Reads the further lines of a row with an open quote.
    fn continue_row(&mut self) -> Result<RowKind, FeedError> {
        let mut held = Vec::new();
        let mut bytes = 0;
        while held.len() < ROW_LINES_MAX && bytes < FEED_LINE_BYTES_MAX {
            let (number, line) = match self.pending.pop_front() {
                Some(pending) => pending,
                None => match self.input.next_line()? {
                    Some(line) => (line.number, line.text.to_owned()),
                    None => break,
                },
            };
            self.cells.text.push('\n');
            let whole = self.cells.push(&line, self.separator);
            self.further.push('\n');
            self.further.push_str(&line);
            bytes += line.len();
            held.push((number, line));
            if whole {
                return Ok(RowKind::Row);
            }
        }
        for line in held.into_iter().rev() {
            self.pending.push_front(line);
        }
        Ok(RowKind::Unclosed)
    }
}

/// Lines that one row may go over. Fields with line ends are comments and names of a few lines; what is longer is a
/// quote that somebody forgot.
pub(super) const ROW_LINES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::input::{Unpacked, unpack};

    fn rows(text: &str) -> Vec<(u64, Vec<String>)> {
        let Ok(Unpacked::Feed(mut input)) = unpack(text.as_bytes()) else { panic!() };
        let mut rows = Rows::new(&mut input, b',');
        let mut all = Vec::new();
        while let Some(found) = rows.next().unwrap() {
            let cells = match found {
                RowKind::Row => rows.cells().iter().map(str::to_owned).collect(),
                RowKind::Comment => vec!["comment".into()],
                RowKind::Unclosed => vec!["unclosed".into()],
            };
            all.push((rows.number(), cells));
        }
        all
    }

    fn row(text: &str) -> Vec<String> {
        let mut rows = rows(text);
        assert_eq!(rows.len(), 1, "{text}");
        rows.remove(0).1
    }

    #[test]
    fn quotes_behind_spaces_hold_commas() {
        assert_eq!(row("\"a\", \"b, c\", d , \"\"\n"), ["a", "b, c", "d", ""]);
        assert_eq!(row("\"say \"\"x\"\", \"\"y\"\"\", z"), ["say \"x\", \"y\"", "z"]);
        assert_eq!(row("a\"b\",c"), ["a\"b\"", "c"]);
        assert_eq!(row("\"a\"b,c"), ["ab", "c"]);
        assert_eq!(row("a,,"), ["a", "", ""]);
    }

    #[test]
    fn rows_over_lines_keep_the_number_of_the_first() {
        let found = rows("# x\r\na,\"b\r\n\r\nc\",d\r\n\r\ne\r\n");
        let expected = [
            (1, vec!["comment".to_owned()]),
            (2, vec!["a".into(), "b\n\nc".into(), "d".into()]),
            (6, vec!["e".into()]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_text_of_a_row_has_its_cells() {
        let text = "a,b\n\"a\", \"b,\r\n\r\n c\"\"\" d,\"e\n\",f\n \"x\"y\nz,\"";
        let Ok(Unpacked::Feed(mut input)) = unpack(text.as_bytes()) else { panic!() };
        let mut rows = Rows::new(&mut input, b',');
        let mut seen = 0;
        while let Some(found) = rows.next().unwrap() {
            if found == RowKind::Row {
                let of_text = Cells::of(&rows.row_text().concat(), b',');
                assert!(of_text.iter().eq(rows.cells().iter()), "{of_text:?}");
                seen += 1;
            }
        }
        assert_eq!(seen, 3);
    }

    #[test]
    fn an_open_quote_costs_one_row() {
        let found = rows("a,\"b\nc,d\n# e\nf,g");
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(found[0].1, ["unclosed"]);
        assert_eq!(found[3].1, ["f", "g"]);
        let long = format!("a,\"b\n{}", "c,d\n".repeat(3 * ROW_LINES_MAX));
        assert_eq!(rows(&long).len(), 1 + 3 * ROW_LINES_MAX);
    }
}
