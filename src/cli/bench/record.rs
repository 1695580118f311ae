//! What was measured: counts, latencies, and how many keys were answered in which tenth of a second.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::batches::Batch;

/// What one thread measured, or all of them together. Batches of the warm-up count only where they failed.
#[derive(Debug)]
pub(super) struct Record {
    from: Instant,
    pub(super) sent: Count,
    pub(super) answered: Count,
    pub(super) failed: Count,
    /// Known keys among the answered.
    pub(super) known: u64,
    /// How many should be known; `None` when nobody can say.
    pub(super) expected: Option<u64>,
    /// Bytes of the requests that were answered.
    pub(super) request_bytes: u64,
    /// In nanoseconds, of batches that were answered.
    pub(super) latency: Histogram<u64>,
    pub(super) failures: BTreeMap<String, Failures>,
    /// Keys answered, by [`SLICE`].
    slices: Vec<u64>,
}

/// Batches and the keys in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) batches: u64,
    pub(super) keys: u64,
}

/// Failures of one kind.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    pub(super) batches: u64,
    /// What the first of them said.
    pub(super) first: String,
}

/// Why a batch has no answer that counts.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: String,
    pub(super) message: String,
}

/// Keys a second, over the slices of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// How long a slice is.
    pub(super) slice: Duration,
}

impl Record {
    /// An empty one that counts from then on.
    pub(super) fn new(from: Instant) -> Self {
        Self {
            from,
            sent: Count::default(),
            answered: Count::default(),
            failed: Count::default(),
            known: 0,
            expected: Some(0),
            request_bytes: 0,
            latency: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are sound"),
            failures: BTreeMap::new(),
            slices: Vec::new(),
        }
    }

    /// A batch is sent whose latency counts from `began`.
    pub(super) fn send(&mut self, batch: &Batch, began: Instant) {
        if began >= self.from {
            self.sent.add(batch);
        }
    }

    /// It was answered, with so many known keys.
    pub(super) fn answer(&mut self, batch: &Batch, began: Instant, answered: Instant, known: u32) {
        if began < self.from {
            return;
        }
        self.answered.add(batch);
        self.known += u64::from(known);
        self.expected = self.expected.zip(batch.known).map(|(sum, known)| sum + u64::from(known));
        self.request_bytes += batch.request_bytes;
        let nanoseconds = u64::try_from((answered - began).as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(nanoseconds);
        let slice = ((answered - self.from).as_nanos() / SLICE.as_nanos()) as usize;
        if self.slices.len() <= slice {
            self.slices.resize(slice + 1, 0);
        }
        self.slices[slice] += u64::from(batch.keys);
    }

    /// It failed.
    pub(super) fn fail(&mut self, batch: &Batch, began: Instant, failure: Failure) {
        if began < self.from {
            self.sent.add(batch);
        }
        self.failed.add(batch);
        let Failure { kind, message: first } = failure;
        self.failures.entry(kind).or_insert(Failures { batches: 0, first }).batches += 1;
    }

    /// Whoever asked went without the answers to what is neither answered nor failed.
    pub(super) fn give_up_the_rest(&mut self) {
        let batches = self.sent.batches - self.answered.batches - self.failed.batches;
        let keys = self.sent.keys - self.answered.keys - self.failed.keys;
        if batches > 0 {
            self.failed = Count { batches: self.failed.batches + batches, keys: self.failed.keys + keys };
            let first = "the run was interrupted before the answer came".into();
            self.failures.insert("given up".into(), Failures { batches, first });
        }
    }

    /// Adds what another thread measured.
    pub(super) fn merge(&mut self, other: Self) {
        for (sum, count) in
            [(&mut self.sent, other.sent), (&mut self.answered, other.answered), (&mut self.failed, other.failed)]
        {
            *sum = Count { batches: sum.batches + count.batches, keys: sum.keys + count.keys };
        }
        self.known += other.known;
        self.expected = self.expected.zip(other.expected).map(|(a, b)| a + b);
        self.request_bytes += other.request_bytes;
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        for (kind, failures) in other.failures {
            self.failures.entry(kind).or_insert(Failures { batches: 0, first: failures.first }).batches +=
                failures.batches;
        }
        self.slices.resize(self.slices.len().max(other.slices.len()), 0);
        self.slices.iter_mut().zip(other.slices).for_each(|(sum, keys)| *sum += keys);
    }

    /// Keys a second while it was measured: by whole seconds, in a short run by tenths of them. `None` when it was
    /// shorter than one.
    pub(super) fn rate(&self, measured: Duration) -> Option<Rate> {
        let whole = (measured.as_nanos() / SLICE.as_nanos()) as usize;
        let step = if whole >= SECONDS_MIN * SLICES_A_SECOND { SLICES_A_SECOND } else { 1 };
        let slice = SLICE * step as u32;
        let keys = |from: usize| (from..from + step).filter_map(|at| self.slices.get(at)).sum::<u64>();
        let mut rates: Vec<f64> = (0..whole / step).map(|n| keys(n * step) as f64 / slice.as_secs_f64()).collect();
        rates.sort_by(f64::total_cmp);
        let (min, max) = (*rates.first()?, *rates.last()?);
        let median = (rates[(rates.len() - 1) / 2] + rates[rates.len() / 2]) / 2.0;
        Some(Rate { median, min, max, slice })
    }
}

impl Failure {
    pub(super) fn new(kind: impl Into<String>, message: String) -> Self {
        Self { kind: kind.into(), message }
    }
}

impl Count {
    fn add(&mut self, batch: &Batch) {
        self.batches += 1;
        self.keys += u64::from(batch.keys);
    }
}

/// What keys are counted by, of which seconds are made.
const SLICE: Duration = Duration::from_millis(100);
const SLICES_A_SECOND: usize = 10;

/// Below so many seconds a median of them says little.
const SECONDS_MIN: usize = 3;

/// An hour; what takes longer counts as that.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

#[cfg(test)]
mod tests {
    use super::{super::batches::Batches, *};

    fn batches() -> Batches {
        Batches::new((0..10).map(|n| (format!("192.0.2.{n}").parse().unwrap(), Some(n == 0))), 10)
    }

    #[test]
    fn rates_are_those_of_whole_seconds() {
        let (batches, from) = (batches(), Instant::now());
        let mut record = Record::new(from);
        // 100, 200, …, 500 keys a second.
        for second in 0..5_u64 {
            for n in 0..10 * (second + 1) {
                let answered = from + Duration::from_millis(second * 1_000 + n * 1_000 / (10 * (second + 1)));
                record.answer(batches.get(0), from, answered, 1);
            }
        }
        let rate = record.rate(Duration::from_millis(5_950)).unwrap();
        assert_eq!((rate.min, rate.median, rate.max), (100.0, 300.0, 500.0));
        let rate = record.rate(Duration::from_millis(4_000)).unwrap();
        assert_eq!((rate.median, rate.slice), (250.0, Duration::from_secs(1)));
        assert_eq!(record.rate(Duration::from_millis(1_950)).unwrap().slice, SLICE);
        assert_eq!(record.rate(Duration::from_millis(99)), None);
        // Silence is a rate too.
        assert_eq!(record.rate(Duration::from_secs(60)).unwrap().median, 0.0);
    }

    #[test]
    fn warm_up_does_not_count_but_where_it_failed() {
        let (batches, now) = (batches(), Instant::now());
        let batch = batches.get(0);
        let later = now + Duration::from_secs(1);
        let mut record = Record::new(later);
        record.send(batch, now);
        record.answer(batch, now, later, 1);
        assert_eq!((record.sent, record.answered), (Count::default(), Count::default()));
        let failure = || Failure { kind: "timeout".into(), message: "no answer".into() };
        record.send(batch, now);
        record.fail(batch, now, failure());
        record.send(batch, later);
        record.send(batch, later);
        record.answer(batch, later, later + Duration::from_millis(3), 1);
        let mut other = Record::new(later);
        other.send(batch, later);
        other.fail(batch, later, failure());
        record.merge(other);
        record.give_up_the_rest();
        assert_eq!(record.sent, Count { batches: 4, keys: 40 });
        assert_eq!(record.failed, Count { batches: 3, keys: 30 });
        let failures: Vec<_> = record.failures.iter().map(|(kind, f)| (kind.as_str(), f.batches)).collect();
        assert_eq!(failures, [("given up", 1), ("timeout", 2)]);
        assert_eq!((record.known, record.expected), (1, Some(1)));
        assert_eq!(record.latency.len(), 1);
        assert!((2_990_000..3_010_000).contains(&record.latency.max()));
    }
}
