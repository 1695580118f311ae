//! Rows of a CSV feed, read by all processors: one cuts the input into batches of rows and takes what became of them, in
//! order, while the others split and read them. What comes of it is what reading row by row would give.

use std::{
    collections::VecDeque,
    sync::mpsc::{Receiver, sync_channel},
};

use super::{
    FeedError,
    intake::{Aside, Intake, Taken},
    rows::{Cells, Found, Rows},
};

/// Reads what a row holds.
pub(super) trait ReadRow: Fn(&Cells, &mut Intake<'_>) + Sync {}

impl<F: Fn(&Cells, &mut Intake<'_>) + Sync> ReadRow for F {}

/// Rows that are read together.
#[derive(Default)]
struct Batch {
    text: String,
    rows: Vec<RowEnd>,
}

/// Where a row begins in the feed, and where its first line and all of it end in its batch.
struct RowEnd {
    line: u64,
    line_end: usize,
    end: usize,
    is_unclosed: bool,
}

/// Bytes of rows in a batch: a few milliseconds of work, which handing it over costs nothing against.
const BATCH_BYTES: usize = 256 << 10;

/// Reads the rows that are left. Those without any text in their cells are none.
pub(super) fn read(rows: &mut Rows<'_, '_>, intake: &mut Intake<'_>, read_row: impl ReadRow) -> Result<(), FeedError> {
    let (separator, aside, read_row) = (rows.separator(), intake.aside(), &read_row);
    let first = next_batch(rows)?;
    if first.text.len() < BATCH_BYTES {
        // A small feed is read sooner than a thread wakes.
        intake.take(first.read(separator, aside, read_row));
        return Ok(());
    }
    let mut next = Ok(first);
    rayon::in_place_scope(|scope| {
        let mut waiting: VecDeque<Receiver<Taken>> = VecDeque::new();
        let waiting_max = 2 * rayon::current_num_threads();
        while let Ok(batch) = &mut next
            && !batch.rows.is_empty()
        {
            let (batch, (done, taken)) = (std::mem::take(batch), sync_channel(1));
            // Nobody waits for it after a failure.
            scope.spawn(move |_| drop(done.send(batch.read(separator, aside, read_row))));
            waiting.push_back(taken);
            if waiting.len() > waiting_max {
                take_first(&mut waiting, intake);
            }
            next = next_batch(rows);
        }
        while !waiting.is_empty() {
            take_first(&mut waiting, intake);
        }
    });
    // What was read ahead of a failure counts for nothing, nor does what is wrong with it.
    if intake.has_failed() { Ok(()) } else { next.map(drop) }
}

fn take_first(waiting: &mut VecDeque<Receiver<Taken>>, intake: &mut Intake<'_>) {
    // A batch whose reading panicked sends nothing; the scope passes the panic on.
    if let Some(Ok(taken)) = waiting.pop_front().map(|taken| taken.recv()) {
        intake.take(taken);
    }
}

fn next_batch(rows: &mut Rows<'_, '_>) -> Result<Batch, FeedError> {
    let mut batch = Batch::default();
    while batch.text.len() < BATCH_BYTES
        && let Some(found) = rows.next_text()?
    {
        if found == Found::Comment {
            continue;
        }
        let is_unclosed = found == Found::Unclosed;
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

impl Batch {
    fn read(self, separator: u8, aside: Aside<'_>, read_row: &impl ReadRow) -> Taken {
        aside.read(|intake| {
            let (mut cells, mut start) = (Cells::default(), 0);
            for RowEnd { line, line_end, end, is_unclosed } in self.rows {
                let (text, first_line) = (&self.text[start..end], &self.text[start..line_end]);
                start = end;
                if is_unclosed {
                    intake.row_with(line, first_line);
                    intake.reject("a quote that is never closed");
                    continue;
                }
                cells.set(text, separator);
                // Spreadsheets write their empty rows too, as separators only.
                if !cells.iter().all(str::is_empty) {
                    intake.row_with(line, first_line);
                    read_row(&cells, intake);
                }
            }
        })
    }
}
