//! Measurements: counts, latencies, and keys answered per tenth of a second.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::batches::SampleBatch;

/// Measurements of one thread, or of all threads merged. Batches of the warm-up are counted only when they failed.
#[derive(Debug)]
pub(super) struct Record {
    /// The start of the measurement.
    from: Instant,
    pub(super) sent: Count,
    pub(super) answered: Count,
    pub(super) failed: Count,
    /// Known keys in answered batches.
    pub(super) known: u64,
    /// Keys in answered batches that should be known; `None` when there is no expectation.
    pub(super) expected: Option<u64>,
    /// Bytes of answered requests.
    pub(super) request_bytes: u64,
    /// Latency of answered batches, in nanoseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) failures: BTreeMap<String, Failures>,
    /// Keys answered in each [`SLICE`].
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
    /// The message of the first failure.
    pub(super) first: String,
}

/// Why a batch failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: String,
    pub(super) message: String,
}

/// Keys per second, over the slices of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// The length of a slice.
    pub(super) slice: Duration,
}

impl Record {
    /// Creates an empty record of batches that start at `from` or later.
    pub(super) fn new(from: Instant) -> Self {
        Self {
            from,
            sent: Count::default(),
            answered: Count::default(),
            failed: Count::default(),
            known: 0,
            expected: Some(0),
            request_bytes: 0,
            latency: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are valid"),
            failures: BTreeMap::new(),
            slices: Vec::new(),
        }
    }

    /// Counts a sent batch, whose latency is measured from `began`.
    pub(super) fn send(&mut self, batch: &SampleBatch, began: Instant) {
        if began >= self.from {
            self.sent.add(batch);
        }
    }

    /// Counts an answered batch with `known` known keys.
    pub(super) fn answer(&mut self, batch: &SampleBatch, began: Instant, answered: Instant, known: u32) {
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

    /// Counts a failed batch.
    pub(super) fn fail(&mut self, batch: &SampleBatch, began: Instant, failure: Failure) {
        if began < self.from {
            self.sent.add(batch);
        }
        self.failed.add(batch);
        let Failure { kind, message: first } = failure;
        self.failures.entry(kind).or_insert(Failures { batches: 0, first }).batches += 1;
    }

    /// Counts batches that are neither answered nor failed as failed.
    pub(super) fn fail_outstanding(&mut self) {
        let batches = self.sent.batches - self.answered.batches - self.failed.batches;
        let keys = self.sent.keys - self.answered.keys - self.failed.keys;
        if batches > 0 {
            self.failed = Count { batches: self.failed.batches + batches, keys: self.failed.keys + keys };
            let first = "the run was interrupted before the answer arrived".into();
            self.failures.insert("aborted".into(), Failures { batches, first });
        }
    }

    /// Adds the measurements of another thread.
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

    /// Returns the keys per second, over slices of a second, in a short run of a tenth. `None` when the run was shorter
    /// than a slice.
    pub(super) fn rate(&self, measured: Duration) -> Option<Rate> {
        let whole = (measured.as_nanos() / SLICE.as_nanos()) as usize;
        let step = if whole >= SECONDS_MIN * SLICES_PER_SECOND { SLICES_PER_SECOND } else { 1 };
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
    fn add(&mut self, batch: &SampleBatch) {
        self.batches += 1;
        self.keys += u64::from(batch.keys);
    }
}

/// The time slice by which answered keys are counted.
const SLICE: Duration = Duration::from_millis(100);
const SLICES_PER_SECOND: usize = 10;

/// Below this number of seconds, a median of them is not meaningful.
const SECONDS_MIN: usize = 3;

/// One hour; higher latencies are recorded as this.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

#[cfg(test)]
mod tests {
    use super::{super::batches::Batches, *};

    fn batches() -> Batches {
        Batches::new((0..10).map(|n| (format!("192.0.2.{n}").parse().unwrap(), Some(n == 0))), 10)
    }

    #[test]
    fn rates_are_of_whole_seconds() {
        let (batches, from) = (batches(), Instant::now());
        let mut record = Record::new(from);
        // 100, 200, …, 500 keys per second.
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
        // Slices without answers count.
        assert_eq!(record.rate(Duration::from_secs(60)).unwrap().median, 0.0);
    }

    #[test]
    fn warm_up_counts_only_failures() {
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
        record.fail_outstanding();
        assert_eq!(record.sent, Count { batches: 4, keys: 40 });
        assert_eq!(record.failed, Count { batches: 3, keys: 30 });
        let failures: Vec<_> = record.failures.iter().map(|(kind, f)| (kind.as_str(), f.batches)).collect();
        assert_eq!(failures, [("aborted", 1), ("timeout", 2)]);
        assert_eq!((record.known, record.expected), (1, Some(1)));
        assert_eq!(record.latency.len(), 1);
        assert!((2_990_000..3_010_000).contains(&record.latency.max()));
    }
}
