//! Row 4: the index alone, on one core, against one prefetched random cache line per key.
//!
//! The line is the lower bound set by memory, see [`floor`](crate::floor). Its table has the size of the index's
//! buckets and the same page size. With hits, the index also compares the whole digest and reads the record, two more
//! lines for a tenth of the keys.

use std::{cell::RefCell, ops::ControlFlow};

use ksn::{
    View,
    batch::{Column, Detail, Hit, Position, Sink, Unanswered},
    key::DigestKind,
    timestamp::Timestamp,
};

use crate::{
    Outcome, Skip,
    floor::Lines,
    keys::{Burst, Draw, WIDTH},
    ours::{BATCH_KEYS, BURST_KEYS},
    report::Figure,
    rounds::{Sample, ThreadClock, interleave, quantity},
    world::World,
};

/// The number of records in the full run: more than any cache holds.
const RECORDS: u64 = 100_000_000;

pub(crate) fn run(world: &mut World) -> Outcome {
    let records = if world.options.quick { world.options.records } else { RECORDS.max(world.options.records) };
    let mut figures = Vec::new();
    for (hits, draw, goal) in [("misses", Draw::misses(records), 1.25), ("10 % hits", Draw::tenth(records), 1.7)] {
        let what = format!("index alone, {} records, {hits}", quantity(records as f64));
        figures.push(compare(world, records, draw, what)?.at_most(goal));
    }
    Ok(figures)
}

/// Compares the index with the line, for the keys of a generator.
pub(crate) fn compare(world: &mut World, records: u64, draw: Draw, what: String) -> Result<Figure, Skip> {
    let view = world.index(records)?.view();
    let buckets = bucket_bytes(&view)?;
    let lines = Lines::new(buckets)?;
    let mut draw = draw;
    check(&view, &draw.burst(1 << 16));
    // Both sides draw from one generator, so that neither benefits from cache lines of the other.
    let draw = RefCell::new(draw);
    let mut ours = || {
        let burst = draw.borrow_mut().burst(BURST_KEYS);
        let started = ThreadClock::start();
        let count = answer_all(&view, &burst);
        let time = started.elapsed();
        assert_eq!(count.hits, burst.listed.len() as u64, "hits of the index");
        std::hint::black_box(count.ids);
        Sample { keys: burst.keys(), time }
    };
    let mut floor = || {
        let burst = draw.borrow_mut().burst(BURST_KEYS);
        let started = ThreadClock::start();
        let sum = burst.digests().chunks(BATCH_KEYS).map(|batch| lines.touch(batch)).sum::<u64>();
        let time = started.elapsed();
        assert_eq!(sum, burst.keys(), "every line holds 1");
        Sample { keys: burst.keys(), time }
    };
    let rates = interleave(&world.options, &mut [&mut ours, &mut floor]);
    Ok(Figure::time(&rates, 1, what, format!("a prefetched line of {}B", quantity(buckets as f64))))
}

/// Returns the size of the buckets of SHA-256 in bytes.
fn bucket_bytes(view: &View) -> Result<usize, Skip> {
    view.snapshot()
        .sections()
        .find(|s| s.kind.is_some_and(|kind| kind.prefix() == "sha256") && s.section == "Buckets")
        .map(|section| section.bytes as usize)
        .ok_or("the snapshot has no buckets of SHA-256".into())
}

/// Checks the row and the ID of every answer.
fn check(view: &View, burst: &Burst) {
    let mut found = Vec::new();
    let column = Column::Digests { kind: DigestKind::Sha256, bytes: &burst.bytes };
    answer(view, &column, &mut Collect(&mut found));
    assert!(found == burst.listed, "answers of the index");
}

fn answer_all(view: &View, burst: &Burst) -> Count {
    let mut count = Count::default();
    for bytes in burst.bytes.chunks(BATCH_KEYS * WIDTH) {
        answer(view, &Column::Digests { kind: DigestKind::Sha256, bytes }, &mut count);
    }
    count
}

/// Answers a batch in-process.
pub(crate) fn answer(view: &View, column: &Column<'_>, sink: &mut impl Sink) {
    let now = Timestamp::from_seconds(2_000_000_000).expect("not zero");
    assert!(view.answer(0, column, 0..u32::MAX, Detail::Winner, now, sink).is_continue());
}

/// Counts hits and reads their IDs, the minimum that a caller does.
#[derive(Default)]
pub(crate) struct Count {
    pub(crate) hits: u64,
    ids: u64,
}

impl Sink for Count {
    fn hit(&mut self, _: Position, hit: &Hit<'_>) -> ControlFlow<()> {
        self.hits += 1;
        self.ids ^= hit.id;
        ControlFlow::Continue(())
    }

    fn unanswered(&mut self, _: Position, unanswered: Unanswered) -> ControlFlow<()> {
        panic!("{unanswered:?}")
    }
}

struct Collect<'a>(&'a mut Vec<(u32, u64)>);

impl Sink for Collect<'_> {
    fn hit(&mut self, at: Position, hit: &Hit<'_>) -> ControlFlow<()> {
        self.0.push((at.row, hit.id));
        ControlFlow::Continue(())
    }

    fn unanswered(&mut self, _: Position, unanswered: Unanswered) -> ControlFlow<()> {
        panic!("{unanswered:?}")
    }
}
