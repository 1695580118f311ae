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

/// What [`Rows::next_text`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowKind {
    /// A row: its text is [`Rows::row_text`].
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

    /// Returns whether all cells are empty.
    pub(super) fn is_blank(&self) -> bool {
        self.iter().all(str::is_empty)
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.open = false;
    }

    /// Takes a line, the first or one more. Returns whether that ends the row.
    fn push(&mut self, line: &str, separator: u8) -> bool {
        split(line, separator, &mut self.open, |piece| match piece {
            Piece::Quoted(text) => self.text.push_str(text),
            Piece::Quote => self.text.push('"'),
            Piece::Plain(text) => self.text.push_str(trim(text)),
            Piece::End(_) => self.ends.push(self.text.len()),
        })
    }
}

/// What a line consists of.
enum Piece<'l> {
    /// Text within quotes.
    Quoted(&'l str),
    /// A quote within quotes.
    Quote,
    /// The text outside of quotes before a separator or the end of the line.
    Plain(&'l str),
    /// The end of a cell, at this offset of the line.
    End(usize),
}

/// Splits a line of a row into its pieces. `is_open` is whether a quote is open before the line, and then whether one
/// is open after it; if none is, the line ends the row, and the function returns `true`.
fn split<'l>(line: &'l str, separator: u8, is_open: &mut bool, mut piece: impl FnMut(Piece<'l>)) -> bool {
    let bytes = line.as_bytes();
    let mut at = 0;
    loop {
        if *is_open {
            let Some(quote) = memchr::memchr(b'"', &bytes[at..]) else {
                piece(Piece::Quoted(&line[at..]));
                return false;
            };
            piece(Piece::Quoted(&line[at..at + quote]));
            at += quote + 1;
            if bytes.get(at) == Some(&b'"') {
                piece(Piece::Quote);
                at += 1;
                continue;
            }
            *is_open = false;
        } else {
            let spaces = bytes[at..].iter().take_while(|&&b| b == b' ').count();
            if bytes.get(at + spaces) == Some(&b'"') {
                *is_open = true;
                at += spaces + 1;
                continue;
            }
        }
        let end = memchr::memchr(separator, &bytes[at..]).map_or(bytes.len(), |length| at + length);
        piece(Piece::Plain(&line[at..end]));
        piece(Piece::End(end));
        if end == bytes.len() {
            return true;
        }
        at = end + 1;
    }
}

/// Returns the text of the cells `first` to `last` of a row as it stands there, with separators and quotes.
pub(super) fn raw_cells(row: &str, separator: u8, first: usize, last: usize) -> &str {
    let (mut cell, mut start, mut end) = (0, 0, row.len());
    split(row, separator, &mut false, |piece| {
        if let Piece::End(at) = piece {
            cell += 1;
            if cell == first {
                start = (at + 1).min(row.len());
            }
            if cell == last + 1 {
                end = at;
            }
        }
    });
    trim(row.get(start..end).unwrap_or_default())
}

impl<'i, 'a> Rows<'i, 'a> {
    pub(super) fn new(input: &'i mut Input<'a>, separator: u8) -> Self {
        let (line, further, pending) = Default::default();
        Self { input, separator, line, further, number: 0, pending }
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

    /// Goes on to the next row or comment. The cells of a row are those of its [text](Self::row_text).
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
            let mut is_open = false;
            let has_quote = memchr::memchr(b'"', self.line.as_bytes()).is_some();
            if !has_quote || split(&self.line, self.separator, &mut is_open, |_| {}) {
                return Ok(Some(RowKind::Row));
            }
            return self.continue_row(is_open).map(Some);
        }
    }

    /// Reads the further lines of a row with an open quote.
    fn continue_row(&mut self, mut is_open: bool) -> Result<RowKind, FeedError> {
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
            let whole = split(&line, self.separator, &mut is_open, |_| {});
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
        while let Some(found) = rows.next_text().unwrap() {
            let cells = match found {
                RowKind::Row => Cells::of(&rows.row_text().concat(), b',').iter().map(str::to_owned).collect(),
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
    fn an_open_quote_costs_one_row() {
        let found = rows("a,\"b\nc,d\n# e\nf,g");
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(found[0].1, ["unclosed"]);
        assert_eq!(found[3].1, ["f", "g"]);
        let long = format!("a,\"b\n{}", "c,d\n".repeat(3 * ROW_LINES_MAX));
        assert_eq!(rows(&long).len(), 1 + 3 * ROW_LINES_MAX);
    }
}
