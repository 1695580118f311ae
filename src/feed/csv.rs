//! The CSV feeds of known publishers: rows read by the names and the content of their columns.

use super::{
    batches::{self, Batches, RowBatch, Sections},
    column_content::{Content, TEXT},
    csv_layout::{Header, Layout, Schema},
    error::FeedError,
    format::Format,
    input::Input,
    row_sink::RowSink,
    rows::{Cells, RowKind, Rows, raw_cells},
    sample::{Confidence, SAMPLE_BYTES, Sample},
    value::null,
};

/// One row of a feed.
pub(super) struct Row<'r, const N: usize> {
    cells: &'r Cells,
    text: &'r str,
    layout: &'r Layout<N>,
}

impl<'r, const N: usize> Row<'r, N> {
    /// Returns the value of a wanted column, unless it is null. Free text keeps its unquoted separators.
    pub(super) fn get(&self, column: usize) -> Option<&'r str> {
        let (first, last) = self.layout.cells(column, self.cells.len())?;
        null(if first == last { self.cells.get(first) } else { raw_cells(self.text, SEPARATOR, first, last) })
    }

    /// Returns whether the row has fewer cells than the feed has columns.
    pub(super) fn is_truncated(&self) -> bool {
        self.cells.len() < self.layout.width
    }
}

/// Reads a feed with the columns of a schema.
///
/// Fails with [`FeedError::Columns`] when the columns cannot be told apart.
pub(super) fn read<const N: usize>(
    input: &mut Input<'_>,
    sink: &mut RowSink<'_>,
    schema: &'static Schema<N>,
    read_row: impl Fn(&Row<'_, N>, &mut RowSink<'_>) + Sync,
) -> Result<(), FeedError> {
    let mut rows = Rows::new(input, SEPARATOR);
    batches::read(&mut rows, sink, Known { schema, is_begun: false }, |cells, text, layout: Option<Layout<N>>, sink| {
        match &layout {
            Some(layout) => read_row(&Row { cells, text, layout }, sink),
            None => sink.reject("the rows from here on agree neither with the header above them nor with the format"),
        }
    })
}

/// Detects a format by a header with all of these names: it is certain only where the columns agree with it.
pub(super) fn detect<const N: usize>(
    sample: &Sample<'_>,
    schema: &'static Schema<N>,
    names: &[&str],
) -> Option<Confidence> {
    has_header(sample, names).then(|| match sections_agree(sample, schema) {
        true => Confidence::Certain,
        false => Confidence::Contradicted,
    })
}

/// Returns whether a comment or the first row of a sample names all of these columns.
pub(super) fn has_header(sample: &Sample<'_>, names: &[&str]) -> bool {
    let first_row = sample.data_lines().next();
    sample.comments().chain(first_row).any(|line| {
        let cells = Cells::of(line, SEPARATOR);
        names.iter().all(|name| cells.iter().any(|cell| cell.eq_ignore_ascii_case(name)))
    })
}

/// Returns whether at least nine of ten rows of a sample match, and there is one.
pub(super) fn rows_are(sample: &Sample<'_>, predicate: impl Fn(&Cells) -> bool) -> bool {
    sample.share(|line| predicate(&Cells::of(line, SEPARATOR))) >= 0.9
}

fn sections_agree<const N: usize>(sample: &Sample<'_>, schema: &'static Schema<N>) -> bool {
    let Ok(mut input) = Input::text(sample.complete) else { return false };
    let mut rows = Rows::new(&mut input, SEPARATOR);
    let mut batches = Batches::new(&mut rows, Known { schema, is_begun: false });
    loop {
        match batches.next() {
            Ok(Some((_, Some(_)))) => {}
            Ok(None) => return true,
            Ok(Some((_, None))) | Err(_) => return false,
        }
    }
}

/// The sections of a feed with a schema. A section whose columns cannot be told apart has no layout.
struct Known<const N: usize> {
    schema: &'static Schema<N>,
    /// Whether a section has been found.
    is_begun: bool,
}

impl<const N: usize> Sections for Known<N> {
    type Header = Header<N>;
    type Layout = Option<Layout<N>>;

    fn header(&self, kind: RowKind, text: &str, separator: u8) -> Option<Header<N>> {
        let text = if kind == RowKind::Comment { text.trim_matches([' ', '\t', '#', ';']) } else { text };
        if !may_be_header(text) {
            return None;
        }
        self.schema.header(&Cells::of(text, separator))
    }

    fn layout(&mut self, header: Option<&Header<N>>, batch: &mut RowBatch) -> Result<Option<Layout<N>>, FeedError> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let rows = batch.sample(SAMPLE_BYTES);
        if is_first
            && header.is_none()
            && rows.len() > 1
            && let Some(first) = batch.first_row()
            && let Some(layout) = self.schema.layout(None, &rows[1..])
            && self.schema.is_unknown_header(&layout, &first)
        {
            batch.drop_first();
            return Ok(Some(layout));
        }
        let layout = self.schema.layout(header, &rows);
        if is_first && layout.is_none() && !rows.is_empty() {
            return Err(mismatch(self.schema, header, &rows, batch.first_line()));
        }
        Ok(layout)
    }
}

/// Returns whether a row may be a header, without splitting it: its first cell is empty or looks like a name. Nearly
/// all rows begin with a number, a time, an address or a digest.
fn may_be_header(text: &str) -> bool {
    let first = text.split(char::from(SEPARATOR)).next().unwrap_or_default().trim_matches([' ', '"']);
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b" _-/().:#".contains(&b);
    text.contains(char::from(SEPARATOR))
        && (first.is_empty() || first.as_bytes()[0].is_ascii_alphabetic())
        && first.len() < SHORTEST_DIGEST
        && first.bytes().all(is_name)
}

/// Returns the error of a feed whose columns cannot be told apart.
fn mismatch<const N: usize>(schema: &Schema<N>, header: Option<&Header<N>>, rows: &[Cells], line: u64) -> FeedError {
    let expected = schema.columns.iter().map(|column| format!("{} ({})", column.names[0], column.content));
    let width = rows.iter().map(Cells::len).max().unwrap_or(0).min(COLUMNS_SHOWN_MAX);
    let columns: Vec<_> = (0..width).map(|at| Content::describe(rows.iter().map(move |row| row.get(at)))).collect();
    let found = columns.iter().enumerate().map(|(at, (what, _))| {
        let name = header.and_then(|header| header.names.get(at)).map(|name| format!(" ({})", name.escape_debug()));
        format!("{}{} {what}", at + 1, name.unwrap_or_default())
    });
    let is_text = |(what, name): &&(&str, &str)| *what == "text" && *name == TEXT;
    let texts = columns.iter().filter(is_text).count();
    let options = columns.iter().map(|column| match column {
        _ if texts == 1 && is_text(&column) => "name",
        (_, "hash") if matches!(schema.format, Format::Sslbl | Format::Cscb) => "certificate",
        (_, name) => name,
    });
    FeedError::Columns {
        format: schema.format,
        line,
        expected: expected.collect::<Vec<_>>().join(", "),
        found: found.collect::<Vec<_>>().join(", "),
        columns: options.collect::<Vec<_>>().join(","),
    }
}

const SEPARATOR: u8 = b',';

/// Digits of an MD5: a name of a column is shorter.
const SHORTEST_DIGEST: usize = 32;

/// Columns that an error shows.
const COLUMNS_SHOWN_MAX: usize = 32;

#[cfg(test)]
mod tests;
