//! CSV feeds of known columns: where each column stands, by a header in a row or in a comment, else by position.

use super::{
    error::FeedError,
    input::Input,
    row_sink::RowSink,
    rows::{Cells, RowKind, Rows},
    sample::Sample,
    value::null,
};

/// A column that a reader wants: its names in headers, in lower case, and its position when there is no header.
pub(super) type Wanted = (&'static [&'static str], Option<usize>);

/// Rows of a CSV feed whose columns are known.
pub(super) struct Table<'i, 'a, const N: usize> {
    rows: Rows<'i, 'a>,
    wanted: &'static [Wanted; N],
    places: [Option<usize>; N],
    /// Columns that the header names.
    width: Option<usize>,
}

/// One row of a table.
#[derive(Clone, Copy)]
pub(super) struct Row<'r, const N: usize> {
    cells: &'r Cells,
    line: &'r str,
    separator: u8,
    places: [Option<usize>; N],
    width: Option<usize>,
}

impl<'i, 'a, const N: usize> Table<'i, 'a, N> {
    pub(super) fn new(input: &'i mut Input<'a>, wanted: &'static [Wanted; N]) -> Self {
        Self { rows: Rows::new(input, b','), wanted, places: wanted.map(|(_, position)| position), width: None }
    }

    /// The next row, begun in the intake. Headers set the columns wherever they stand.
    pub(super) fn next(&mut self, sink: &mut RowSink<'_>) -> Result<Option<Row<'_, N>>, FeedError> {
        loop {
            match self.rows.next()? {
                None => return Ok(None),
                Some(RowKind::Comment) => {
                    let cells = Cells::of(uncomment(self.rows.line_text()), self.rows.separator());
                    self.take_header(&cells);
                }
                Some(RowKind::Row) => {
                    let cells = std::mem::take(self.rows.cells_mut());
                    let is_header = self.take_header(&cells);
                    *self.rows.cells_mut() = cells;
                    if !is_header {
                        break;
                    }
                }
                Some(RowKind::Unclosed) => {
                    sink.row_with(self.rows.number(), self.rows.line_text());
                    sink.reject("a quote that is never closed");
                }
            }
        }
        sink.row_with(self.rows.number(), self.rows.line_text());
        Ok(Some(Row {
            cells: self.rows.cells(),
            line: self.rows.line_text(),
            separator: self.rows.separator(),
            places: self.places,
            width: self.width,
        }))
    }

    fn take_header(&mut self, cells: &Cells) -> bool {
        let Some(places) = header(cells, self.wanted) else { return false };
        self.places = places;
        self.width = Some(cells.len());
        true
    }
}

impl<'r, const N: usize> Row<'r, N> {
    /// The cell of a wanted column, unless it stands for nothing.
    pub(super) fn get(&self, column: usize) -> Option<&'r str> {
        null(self.cells.get(self.places[column]?))
    }

    /// How many cells.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The cell at a position, whatever the header says.
    pub(super) fn at(&self, position: usize) -> &'r str {
        self.cells.get(position)
    }

    /// How many cells there are beyond those that the header names: separators in an unquoted cell.
    pub(super) fn excess(&self) -> usize {
        self.width.map_or(0, |width| self.cells.len().saturating_sub(width))
    }

    /// The cell of a wanted column that is the last and may hold unquoted separators.
    pub(super) fn rest(&self, column: usize) -> &'r str {
        let Some(at) = self.places[column] else { return "" };
        if self.cells.len() <= at + 1 || self.line.contains('"') {
            return self.cells.get(at);
        }
        self.line.splitn(at + 1, char::from(self.separator)).nth(at).unwrap_or_default().trim()
    }
}

/// Where the wanted columns stand, if these cells are a header: at least two of them, and at least half of them.
fn header<const N: usize>(cells: &Cells, wanted: &[Wanted; N]) -> Option<[Option<usize>; N]> {
    let mut places = [None; N];
    // A header names a column that every reader puts first among its names; most rows fail here at once.
    if cells.len() < 2 || !cells.get(0).bytes().all(|b| b.is_ascii_alphabetic() || b"_- 01256".contains(&b)) {
        return None;
    }
    for (at, cell) in cells.iter().enumerate() {
        let column = wanted.iter().position(|(names, _)| names.iter().any(|name| cell.eq_ignore_ascii_case(name)));
        if let Some(column) = column {
            places[column].get_or_insert(at);
        }
    }
    let found = places.iter().flatten().count();
    (found >= 2 && found * 2 >= N).then_some(places)
}

/// Whether a comment or the first row of a sample has all of these columns.
pub(super) fn has_header(sample: &Sample<'_>, columns: &[&str]) -> bool {
    let first_row = sample.data_lines().next();
    sample.comments().chain(first_row).any(|line| {
        let cells = Cells::of(line, b',');
        columns.iter().all(|column| cells.iter().any(|cell| cell.eq_ignore_ascii_case(column)))
    })
}

/// Whether at least nine of ten rows of a sample are so, and there is one.
pub(super) fn rows_are(sample: &Sample<'_>, predicate: impl Fn(&Cells) -> bool) -> bool {
    sample.share(|line| predicate(&Cells::of(line, b','))) >= 0.9
}

fn uncomment(line: &str) -> &str {
    line.trim().trim_start_matches(['#', ';']).trim()
}
