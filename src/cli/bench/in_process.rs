//! Load on the index in process.

use std::{ops::ControlFlow, panic, thread, time::Instant};

use anyhow::Result;
use ksn::{
    View,
    batch::{Detail, Hit, Position, Sink, Unanswered},
    timestamp::Timestamp,
};
use tokio::sync::mpsc;

use super::{
    batches::{Batches, SampleBatch},
    control::{Lengths, LoadControl, RunSummary, one_thread},
    record::Record,
};
use crate::cli::backend;

/// The result of a run.
pub(super) struct Outcome {
    pub(super) summary: RunSummary,
    pub(super) record: Record,
    /// The first wrong answer.
    pub(super) mismatch: Option<String>,
}

/// Looks up batches from `threads` threads until the run ends.
pub(super) fn run(view: &View, batches: &Batches, threads: usize, lengths: Lengths) -> Result<Outcome> {
    let runtime = one_thread()?;
    let waiting = (0..threads).map(|_| one_thread()).collect::<Result<Vec<_>, _>>()?;
    let control = LoadControl::new();
    let mut record = Record::new(Instant::now());
    let summary = thread::scope(|scope| {
        let (done, all_done) = mpsc::channel::<()>(1);
        let mut running = Vec::new();
        for (number, waiting) in waiting.into_iter().enumerate() {
            let (control, done) = (&control, done.clone());
            running.push(scope.spawn(move || {
                let _done = done;
                let (_, measured_from) = waiting.block_on(control.started())?;
                Some(run_thread(view, batches, number, threads, control, measured_from))
            }));
        }
        drop(done);
        let summary = control.run(&runtime, lengths, all_done);
        for thread in running {
            let measured = thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
            measured.into_iter().for_each(|measured| record.merge(measured));
        }
        summary
    });
    Ok(Outcome { summary, record, mismatch: control.mismatch().map(String::from) })
}

/// Looks up every `step`-th batch. The clock is read once per batch: the end of one is the start of the next.
fn run_thread(
    view: &View,
    batches: &Batches,
    first: usize,
    step: usize,
    control: &LoadControl,
    measured_from: Instant,
) -> Record {
    let (phase, now) = (control.phase(), backend::now());
    let mut record = Record::new(measured_from);
    let mut began = Instant::now();
    for number in (first..).step_by(step) {
        if phase.borrow().is_over() {
            break;
        }
        let batch = batches.get(number);
        let known = count_known(view, batch, now);
        let answered = Instant::now();
        record.send(batch, began);
        record.answer(batch, began, answered, known);
        if let Some(mismatch) = batch.mismatch(known) {
            control.report_mismatch(mismatch);
            break;
        }
        began = answered;
    }
    record
}

fn count_known(view: &View, batch: &SampleBatch, now: Timestamp) -> u32 {
    let mut count = Count(0);
    for (number, column) in (0..).zip(batch.columns()) {
        // The sink never breaks.
        let _: ControlFlow<u32> = view.answer(number, &column, 0..u32::MAX, Detail::Winner, now, &mut count);
    }
    count.0
}

/// Counts known keys, the minimum work of a caller.
struct Count(u32);

impl Sink for Count {
    fn hit(&mut self, _: Position, _: &Hit<'_>) -> ControlFlow<()> {
        self.0 += 1;
        ControlFlow::Continue(())
    }

    fn unanswered(&mut self, _: Position, _: Unanswered) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
