//! Parallel reading of CSV rows: one thread splits the input into batches of rows and takes the resulting chunks in
//! order, while the others split and read the rows. The result is the same as reading row by row.

use std::{
    collections::VecDeque,
    sync::mpsc::{Receiver, sync_channel},
};

use super::{
    error::FeedError,
    row_sink::{Chunk, RowSink, Worker},
    rows::{Cells, RowKind, Rows},
};

/// Reads one row.
pub(super) trait ReadRow: Fn(&Cells, &mut RowSink<'_>) + Sync {}

impl<F: Fn(&Cells, &mut RowSink<'_>) + Sync> ReadRow for F {}

/// Rows that one worker reads.
#[derive(Default)]
struct RowBatch {
    text: String,
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
pub(super) fn read(rows: &mut Rows<'_, '_>, sink: &mut RowSink<'_>, read_row: impl ReadRow) -> Result<(), FeedError> {
    let (separator, worker, read_row) = (rows.separator(), sink.worker(), &read_row);
    let first = next_batch(rows)?;
    if first.text.len() < BATCH_BYTES {
        // Reading a small feed takes less time than waking a thread.
        sink.take(first.read(separator, worker, read_row));
        return Ok(());
    }
    let mut next = Ok(first);
    rayon::in_place_scope(|scope| {
        let mut waiting: VecDeque<Receiver<Chunk>> = VecDeque::new();
        let waiting_max = 2 * rayon::current_num_threads();
        while let Ok(batch) = &mut next
            && !batch.rows.is_empty()
        {
            let (batch, (done, chunk)) = (std::mem::take(batch), sync_channel(1));
            // The receiver is dropped after a failure.
            scope.spawn(move |_| drop(done.send(batch.read(separator, worker, read_row))));
            waiting.push_back(chunk);
            if waiting.len() > waiting_max {
                take_first(&mut waiting, sink);
            }
            next = next_batch(rows);
        }
        while !waiting.is_empty() {
            take_first(&mut waiting, sink);
        }
    });
    // Rows read ahead of a failure are discarded, as are their errors.
    if sink.has_failed() { Ok(()) } else { next.map(drop) }
}

fn take_first(waiting: &mut VecDeque<Receiver<Chunk>>, sink: &mut RowSink<'_>) {
    // A batch whose reader panicked sends nothing; the scope propagates the panic.
    if let Some(Ok(chunk)) = waiting.pop_front().map(|chunk| chunk.recv()) {
        sink.take(chunk);
    }
}

fn next_batch(rows: &mut Rows<'_, '_>) -> Result<RowBatch, FeedError> {
    let mut batch = RowBatch::default();
    while batch.text.len() < BATCH_BYTES
        && let Some(found) = rows.next_text()?
    {
        if found == RowKind::Comment {
            continue;
        }
        let is_unclosed = found == RowKind::Unclosed;
        let [line, further] = rows.row_text();
        batch.text.push_str(line);
        let line_end = batch.text.len();
        if !is_unclosed {
            batch.text.push_str(further);
        }
        batch.rows.push(RowEnd { line: rows.number(), line_end, end: batch.text.len(), is_unclosed });
    }
    Ok(batch)
}

impl RowBatch {
    fn read(self, separator: u8, worker: Worker<'_>, read_row: &impl ReadRow) -> Chunk {
        worker.read(|sink| {
            let (mut cells, mut start) = (Cells::default(), 0);
            for RowEnd { line, line_end, end, is_unclosed } in self.rows {
                let (text, first_line) = (&self.text[start..end], &self.text[start..line_end]);
                start = end;
                if is_unclosed {
                    sink.row_with(line, first_line);
                    sink.reject("the row has an unclosed quote");
                    continue;
                }
                cells.set(text, separator);
                // Spreadsheets export empty rows as separators only.
                if !cells.iter().all(str::is_empty) {
                    sink.row_with(line, first_line);
                    read_row(&cells, sink);
                }
            }
        })
    }
}
