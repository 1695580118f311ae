//! Where the columns of a known CSV format stand: by the names in a header and by the content of the rows.
//!
//! A header says where a column stands, and the rows must agree: at least nine in ten of the values in each named column
//! have the column's content. Without a header, or with one that the rows contradict, the published positions are tried
//! in the same way, then each column is taken from where its content stands, if only one column of the file has it. If
//! the columns still cannot be told apart, the file is refused: values in the wrong column make wrong records.

use super::{
    column_content::{Content, Tally},
    format::Format,
    rows::Cells,
    value::null,
};

/// What a format requires of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It holds keys. One named by a header is required, and at least one column of keys is.
    Key,
    /// No row can be read without it.
    Required,
    /// It may be missing, but where a header names it, ignoring it would give wrong records.
    IfNamed,
    /// It may be missing, and is ignored where its content disagrees.
    Optional,
}

/// A column that a reader wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its names in headers, in lower case.
    pub(super) names: &'static [&'static str],
    /// Its position in the published format; `None` if only a header tells it.
    pub(super) position: Option<usize>,
    pub(super) content: Content,
    pub(super) need: Need,
}

impl Column {
    pub(super) const fn new(names: &'static [&'static str], position: usize, content: Content, need: Need) -> Self {
        Self { names, position: Some(position), content, need }
    }

    /// A column that only a header tells.
    pub(super) const fn by_header(names: &'static [&'static str], content: Content, need: Need) -> Self {
        Self { names, position: None, content, need }
    }
}

/// The columns of a format.
#[derive(Debug)]
pub(super) struct Schema<const N: usize> {
    pub(super) format: Format,
    pub(super) columns: [Column; N],
    /// The number of columns of the published format.
    pub(super) width: usize,
    /// The wanted column whose unquoted text may contain separators, if there is one.
    pub(super) free_text: Option<usize>,
}

/// The header of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header<const N: usize> {
    /// The position of each wanted column.
    places: Places<N>,
    /// The names of all columns.
    pub(super) names: Vec<String>,
}

type Places<const N: usize> = [Option<usize>; N];

/// The positions of the wanted columns in the rows of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout<const N: usize> {
    places: Places<N>,
    /// The number of columns.
    pub(super) width: usize,
    /// The position of the column whose text may contain separators.
    free_text: Option<usize>,
}

impl<const N: usize> Layout<N> {
    fn new(schema: &Schema<N>, places: Places<N>, width: usize) -> Self {
        Self { places, width, free_text: schema.free_text.and_then(|column| places[column]) }
    }

    /// Returns the first and last cell of a wanted column in a row of `cells` cells. Cells in excess of the columns
    /// belong to the free text, and the columns after it are shifted.
    pub(super) fn cells(&self, column: usize, cells: usize) -> Option<(usize, usize)> {
        let at = self.places[column]?;
        let excess = cells.saturating_sub(self.width);
        match self.free_text {
            Some(free_text) if at == free_text => Some((at, at + excess)),
            Some(free_text) if at > free_text => Some((at + excess, at + excess)),
            _ => Some((at, at)),
        }
    }

    /// Counts the values of a column that have its content.
    fn tally(&self, schema: &Schema<N>, column: usize, rows: &[Cells]) -> Tally {
        let values = rows.iter().map(|row| self.cells(column, row.len()).map_or("", |(at, _)| row.get(at)));
        schema.columns[column].content.tally(values)
    }
}

impl<const N: usize> Schema<N> {
    /// Returns the header that these cells are: at least two and at least half of the wanted columns are named, and no
    /// cell is a value.
    pub(super) fn header(&self, cells: &Cells) -> Option<Header<N>> {
        let mut places = [None; N];
        for (at, cell) in cells.iter().enumerate() {
            let named = |column: &Column| column.names.iter().any(|name| cell.eq_ignore_ascii_case(name));
            if let Some(column) = self.columns.iter().position(named) {
                places[column].get_or_insert(at);
            }
        }
        let found = places.iter().flatten().count();
        if found < 2 || found * 2 < N || cells.iter().any(Content::is_value) {
            return None;
        }
        Some(Header { places, names: cells.iter().map(str::to_owned).collect() })
    }

    /// Returns whether a row that names no wanted column is a header nevertheless: all its cells are words, none of
    /// which has the content of its column.
    pub(super) fn is_unknown_header(&self, layout: &Layout<N>, row: &Cells) -> bool {
        let places = || layout.places.iter().zip(&self.columns).filter_map(|(at, column)| Some(((*at)?, column)));
        let is_value = |(at, column): (usize, &Column)| column.content.is_typed() && column.content.has(row.get(at));
        row.len() > 1
            && row.iter().all(is_column_name)
            && places().any(|(_, column)| column.content.is_typed())
            && !places().any(is_value)
    }

    /// Returns the layout of a section from its header and its rows. `None` if the columns cannot be told apart.
    pub(super) fn layout(&self, header: Option<&Header<N>>, rows: &[Cells]) -> Option<Layout<N>> {
        let widths = widths(rows);
        let positions = std::array::from_fn(|column| self.columns[column].position);
        let named = header.map(|header| (header.places, header.names.len()));
        let known = [named, Some((positions, self.width))].into_iter().flatten().enumerate();
        let from_header = |number: usize| number == 0 && header.is_some();
        for (number, (places, width)) in known.clone() {
            for width in std::iter::once(width).chain(widths.iter().copied()) {
                let layout = Layout::new(self, places, width);
                if self.agrees(&layout, rows) && (from_header(number) || self.has_key(&layout, rows)) {
                    return Some(layout);
                }
            }
        }
        for (number, (hints, _)) in known {
            for &width in &widths {
                if let Some(layout) = self.by_content(hints, from_header(number), width, rows) {
                    return Some(layout);
                }
            }
        }
        None
    }

    /// Returns whether every placed column has its content in all rows, and no required column is missing.
    fn agrees(&self, layout: &Layout<N>, rows: &[Cells]) -> bool {
        let columns = || self.columns.iter().enumerate();
        let is_placed = |(at, _): (usize, &Column)| layout.places[at].is_some();
        columns().filter(|(_, column)| column.need == Need::Required).all(is_placed)
            && columns().filter(|(_, column)| column.need == Need::Key).any(is_placed)
            && (0..N).all(|column| layout.places[column].is_none() || layout.tally(self, column, rows).holds())
    }

    /// Returns whether there is a key in the rows.
    fn has_key(&self, layout: &Layout<N>, rows: &[Cells]) -> bool {
        let mut keys = (0..N).filter(|&column| self.columns[column].need == Need::Key);
        keys.any(|column| layout.tally(self, column, rows).agreeing > 0)
    }

    /// Places each column where its content stands: at the hint, or else in the only other column that has it.
    fn by_content(&self, hints: Places<N>, is_named: bool, width: usize, rows: &[Cells]) -> Option<Layout<N>> {
        let regular = || rows.iter().filter(|row| row.len() == width);
        let has_content = |column: usize, at: usize, least: usize| {
            let tally = self.columns[column].content.tally(regular().map(|row| row.get(at)));
            tally.holds() && tally.agreeing >= least
        };
        let typed = || (0..N).filter(|&column| self.columns[column].content.is_typed());
        let mut places = [None; N];
        for column in typed() {
            places[column] = hints[column].filter(|&at| at < width && has_content(column, at, 0));
        }
        let mut is_moved = false;
        for column in typed() {
            if places[column].is_some() {
                continue;
            }
            let is_free = |at: &usize| !places.contains(&Some(*at));
            let mut found = (0..width).filter(is_free).filter(|&at| has_content(column, at, 1));
            if let (Some(at), None) = (found.next(), found.next()) {
                places[column] = Some(at);
                is_moved = true;
            }
        }
        // Text has no content to find it by: only the place that is left over, unless the hints have proved right.
        for column in (0..N).filter(|&column| !self.columns[column].content.is_typed()) {
            let is_free = |at: &usize| !places.contains(&Some(*at));
            let hint = hints[column].filter(|at| !is_moved && *at < width && is_free(at));
            let mut left = (0..width).filter(is_free);
            let only = left.next().filter(|_| left.next().is_none());
            places[column] = hint.or(only).filter(|&at| has_content(column, at, 0));
        }
        let is_lost = |column: usize| match self.columns[column].need {
            Need::Key => is_named && hints[column].is_some() && places[column].is_none(),
            Need::IfNamed => hints[column].is_some_and(|at| at < width) && places[column].is_none(),
            Need::Required | Need::Optional => false,
        };
        let layout = Layout::new(self, places, width);
        let found = !(0..N).any(is_lost) && self.agrees(&layout, rows) && self.has_key(&layout, rows);
        found.then_some(layout)
    }
}

/// Returns the most frequent numbers of cells in a row, up to [`WIDTHS_MAX`].
fn widths(rows: &[Cells]) -> Vec<usize> {
    let mut widths: Vec<usize> = rows.iter().map(Cells::len).collect();
    widths.sort_unstable();
    let mut counted: Vec<_> = widths.chunk_by(|a, b| a == b).map(|equal| (equal.len(), equal[0])).collect();
    counted.sort_unstable_by_key(|&(count, width)| (std::cmp::Reverse(count), width));
    counted.into_iter().map(|(_, width)| width).take(WIDTHS_MAX).collect()
}

/// Returns whether the text can be the name of a column.
fn is_column_name(text: &str) -> bool {
    text.len() <= COLUMN_NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_alphabetic())
        && text.chars().all(|c| c.is_alphanumeric() || " _-/().:#".contains(c))
        && null(text).is_some()
}

/// Numbers of cells in a row that are tried: a file has one, and a few more where separators stand in unquoted text.
const WIDTHS_MAX: usize = 4;

/// Maximum length of the name of a column in bytes; the longest of the known formats have 20.
const COLUMN_NAME_BYTES_MAX: usize = 40;
