//! Asks the index in this process.

use std::{ops::ControlFlow, panic, thread, time::Instant};

use anyhow::Result;
use ksn::{
    View,
    batch::{Detail, Exception, Hit, Position, Sink},
    timestamp::Timestamp,
};
use tokio::sync::mpsc;

use super::{
    batches::{Batch, Batches},
    control::{Control, Course, Lengths, one_thread},
    record::Record,
};
use crate::cli::ask;

/// What came of it.
pub(super) struct Outcome {
    pub(super) course: Course,
    pub(super) record: Record,
    /// An answer that was not what it should be.
    pub(super) wrong: Option<String>,
}

/// Asks from so many threads until the time is up.
pub(super) fn ask(view: &View, batches: &Batches, threads: usize, lengths: Lengths) -> Result<Outcome> {
    let runtime = one_thread()?;
    let waiting = (0..threads).map(|_| one_thread()).collect::<Result<Vec<_>, _>>()?;
    let control = Control::new();
    let mut record = Record::new(Instant::now());
    let course = thread::scope(|scope| {
        let (done, all_done) = mpsc::channel::<()>(1);
        let mut asking = Vec::new();
        for (number, waiting) in waiting.into_iter().enumerate() {
            let (control, done) = (&control, done.clone());
            asking.push(scope.spawn(move || {
                let _done = done;
                let (_, measured_from) = waiting.block_on(control.started())?;
                Some(ask_in_turn(view, batches, number, threads, control, measured_from))
            }));
        }
        drop(done);
        let course = control.conduct(&runtime, lengths, all_done);
        for thread in asking {
            let measured = thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
            measured.into_iter().for_each(|measured| record.merge(measured));
        }
        course
    });
    Ok(Outcome { course, record, wrong: control.wrong().map(String::from) })
}

/// Asks every so-manieth batch. The clock is read once a batch: the end of one is the start of the next.
fn ask_in_turn(
    view: &View,
    batches: &Batches,
    first: usize,
    step: usize,
    control: &Control,
    measured_from: Instant,
) -> Record {
    let (phase, now) = (control.phase(), ask::now());
    let mut record = Record::new(measured_from);
    let mut began = Instant::now();
    for number in (first..).step_by(step) {
        if phase.borrow().is_ending() {
            break;
        }
        let batch = batches.get(number);
        let known = count_known(view, batch, now);
        let answered = Instant::now();
        record.send(batch, began);
        record.answer(batch, began, answered, known);
        if let Some(wrong) = batch.wrong(known) {
            control.report_wrong(wrong);
            break;
        }
        began = answered;
    }
    record
}

fn count_known(view: &View, batch: &Batch, now: Timestamp) -> u32 {
    let mut count = Count(0);
    for (number, column) in (0..).zip(batch.columns()) {
        // It has room for everything: it never breaks.
        let _: ControlFlow<u32> = view.answer(number, &column, 0..u32::MAX, Detail::Winner, now, &mut count);
    }
    count.0
}

/// Counts known keys, which is the least that a caller does.
struct Count(u32);

impl Sink for Count {
    fn hit(&mut self, _: Position, _: &Hit<'_>) -> ControlFlow<()> {
        self.0 += 1;
        ControlFlow::Continue(())
    }

    fn exception(&mut self, _: Position, _: Exception) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
