//! Parallel reading of CSV rows, for every CSV format: one thread gathers the rows of the input into batches and takes
//! the resulting chunks in order, while the others split and read the rows. The result is the same as reading row by
//! row.
//!
//! A feed has one or more *sections*: a header and the rows that it describes. Dumps that were concatenated have a
//! header in the middle, which may name the columns in another order. A batch therefore never spans two sections, and
//! [`Sections`] finds the layout of a section from its header and its first batch.

use std::{
    collections::VecDeque,
    sync::mpsc::{Receiver, sync_channel},
};

use super::{
    error::FeedError,
    row_sink::{Chunk, RowSink, Worker},
    rows::{Cells, RowKind, Rows},
};

/// Recognises the headers of a format and finds the layouts of its sections.
pub(super) trait Sections {
    /// A header.
    type Header;
    /// What rows are read by.
    type Layout: Copy + Send;

    /// Returns the header that a comment or row is. It is called for each of them by the thread that gathers them: it
    /// MUST return quickly for nearly all rows.
    fn header(&self, kind: RowKind, text: &str, separator: u8) -> Option<Self::Header>;

    /// Returns the layout of a section from its header, if it has one, and its first batch.
    fn layout(&mut self, header: Option<&Self::Header>, batch: &mut RowBatch) -> Result<Self::Layout, FeedError>;
}

/// The only section of a feed whose layout is known beforehand.
pub(super) struct OneSection<L>(pub(super) L);

impl<L: Copy + Send> Sections for OneSection<L> {
    type Header = ();
    type Layout = L;

    fn header(&self, _: RowKind, _: &str, _: u8) -> Option<()> {
        None
    }

    fn layout(&mut self, _: Option<&()>, _: &mut RowBatch) -> Result<L, FeedError> {
        Ok(self.0)
    }
}

/// Reads one row: its cells, its text, and the layout of its section.
pub(super) trait ReadRow<L>: Fn(&Cells, &str, L, &mut RowSink<'_>) + Sync {}

impl<L, F: Fn(&Cells, &str, L, &mut RowSink<'_>) + Sync> ReadRow<L> for F {}

/// Rows that one worker reads.
#[derive(Default)]
pub(super) struct RowBatch {
    separator: u8,
    text: String,
    /// Where the first row begins in the text.
    start: usize,
    rows: Vec<RowEnd>,
}

/// A row's line number in the feed, and the end offsets of its first line and of the row in its batch.
struct RowEnd {
    line: u64,
    line_end: usize,
    end: usize,
    is_unclosed: bool,
}

/// Bytes of rows in a batch: a few milliseconds of work, against which the cost of a hand-over is negligible.
const BATCH_BYTES: usize = 256 << 10;

/// Reads the remaining rows. Rows with only empty values are not counted.
pub(super) fn read<S: Sections>(
    rows: &mut Rows<'_, '_>,
    sink: &mut RowSink<'_>,
    sections: S,
    read_row: impl ReadRow<S::Layout>,
) -> Result<(), FeedError> {
    let (worker, read_row) = (sink.worker(), &read_row);
    let mut batches = Batches::new(rows, sections);
    let mut next = batches.next()?;
    if batches.is_over {
        // Reading a small feed takes less time than waking a thread.
        if let Some((batch, layout)) = next {
            sink.take(batch.read(layout, worker, read_row));
        }
        return Ok(());
    }
    let mut failed = None;
    rayon::in_place_scope(|scope| {
        let mut waiting: VecDeque<Receiver<Chunk>> = VecDeque::new();
        let waiting_max = 2 * rayon::current_num_threads();
        while let Some((batch, layout)) = next.take() {
            let (done, chunk) = sync_channel(1);
            // The receiver is dropped after a failure.
            scope.spawn(move |_| drop(done.send(batch.read(layout, worker, read_row))));
            waiting.push_back(chunk);
            if waiting.len() > waiting_max {
                take_first(&mut waiting, sink);
            }
            match batches.next() {
                Ok(batch) => next = batch,
                Err(e) => failed = Some(e),
            }
        }
        while !waiting.is_empty() {
            take_first(&mut waiting, sink);
        }
    });
    // Rows read ahead of a failure are discarded, as are their errors.
    match failed {
        Some(e) if !sink.has_failed() => Err(e),
        _ => Ok(()),
    }
}

fn take_first(waiting: &mut VecDeque<Receiver<Chunk>>, sink: &mut RowSink<'_>) {
    // A batch whose reader panicked sends nothing; the scope propagates the panic.
    if let Some(Ok(chunk)) = waiting.pop_front().map(|chunk| chunk.recv()) {
        sink.take(chunk);
    }
}

/// The batches of a feed, each with its layout.
pub(super) struct Batches<'r, 'i, 'a, S: Sections> {
    rows: &'r mut Rows<'i, 'a>,
    sections: S,
    /// The header of the current section.
    header: Option<S::Header>,
    /// The layout of the current section; `None` before its first batch.
    layout: Option<S::Layout>,
    /// Whether the input has ended.
    is_over: bool,
}

impl<'r, 'i, 'a, S: Sections> Batches<'r, 'i, 'a, S> {
    pub(super) fn new(rows: &'r mut Rows<'i, 'a>, sections: S) -> Self {
        Self { rows, sections, header: None, layout: None, is_over: false }
    }

    /// Returns the next batch and its layout; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<(RowBatch, S::Layout)>, FeedError> {
        let separator = self.rows.separator();
        let mut batch = RowBatch { separator, ..RowBatch::default() };
        let mut next_header = None;
        while batch.text.len() < BATCH_BYTES {
            let Some(kind) = self.rows.next_text()? else {
                self.is_over = true;
                break;
            };
            let [line, further] = self.rows.row_text();
            if kind != RowKind::Unclosed
                && let Some(header) = self.sections.header(kind, line, separator)
            {
                if !batch.rows.is_empty() {
                    next_header = Some(header);
                    break;
                }
                (self.header, self.layout) = (Some(header), None);
            } else if kind != RowKind::Comment {
                batch.push(self.rows.number(), line, (kind == RowKind::Row).then_some(further));
            }
        }
        if batch.rows.is_empty() {
            return Ok(None);
        }
        let layout = match self.layout {
            Some(layout) => layout,
            None => self.sections.layout(self.header.as_ref(), &mut batch)?,
        };
        self.layout = Some(layout);
        if next_header.is_some() {
            (self.header, self.layout) = (next_header, None);
        }
        Ok(Some((batch, layout)))
    }
}

impl RowBatch {
    /// Appends a row: its first line and further lines; without further lines, one with an unclosed quote.
    fn push(&mut self, number: u64, line: &str, further: Option<&str>) {
        self.text.push_str(line);
        let line_end = self.text.len();
        self.text.push_str(further.unwrap_or_default());
        self.rows.push(RowEnd { line: number, line_end, end: self.text.len(), is_unclosed: further.is_none() });
    }

    /// Returns the cells of the rows in the first bytes of the batch, without rows that are empty or unclosed.
    pub(super) fn sample(&self, bytes_max: usize) -> Vec<Cells> {
        let starts = std::iter::once(self.start).chain(self.rows.iter().map(|row| row.end));
        let rows = starts.zip(&self.rows).take_while(|(start, _)| *start < bytes_max);
        let closed = rows.filter(|(_, row)| !row.is_unclosed);
        let cells = closed.map(|(start, row)| Cells::of(&self.text[start..row.end], self.separator));
        cells.filter(|cells| !cells.is_blank()).collect()
    }

    /// Returns the cells of the first row, unless it is empty or unclosed.
    pub(super) fn first_row(&self) -> Option<Cells> {
        let row = self.rows.first().filter(|row| !row.is_unclosed)?;
        Some(Cells::of(&self.text[self.start..row.end], self.separator)).filter(|cells| !cells.is_blank())
    }

    /// Returns the line number of the first row, from 1.
    pub(super) fn first_line(&self) -> u64 {
        self.rows.first().map_or(0, |row| row.line)
    }

    /// Removes the first row.
    pub(super) fn drop_first(&mut self) {
        if !self.rows.is_empty() {
            self.start = self.rows.remove(0).end;
        }
    }

    fn read<L: Copy>(self, layout: L, worker: Worker<'_>, read_row: &impl ReadRow<L>) -> Chunk {
        worker.read(|sink| {
            let (mut cells, mut start) = (Cells::default(), self.start);
            for RowEnd { line, line_end, end, is_unclosed } in self.rows {
                let (text, first_line) = (&self.text[start..end], &self.text[start..line_end]);
                start = end;
                if is_unclosed {
                    sink.row_with(line, first_line);
                    sink.reject("the row has an unclosed quote");
                    continue;
                }
                cells.set(text, self.separator);
                // Spreadsheets export empty rows as separators only.
                if !cells.is_blank() {
                    sink.row_with(line, first_line);
                    read_row(&cells, text, layout, sink);
                }
            }
        })
    }
}
