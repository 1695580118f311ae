//! When batches are sent: as fast as answers come, or at fixed times.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex, watch},
    time,
};

use super::control::Phase;

/// The intended times of an open loop: after a number of keys, the next batch is due when they should have been sent.
///
/// The times do not move when batches are late, so that latencies that are counted from them show how long a client
/// of a stalled server would have waited.
#[derive(Debug)]
pub(super) struct Schedule {
    keys_per_second: u64,
    /// Keys of batches that have their place.
    taken: AtomicU64,
    /// Keys of batches that were sent.
    sent: AtomicU64,
}

impl Schedule {
    pub(super) fn new(keys_per_second: u64) -> Self {
        Self { keys_per_second, taken: AtomicU64::new(0), sent: AtomicU64::new(0) }
    }

    /// Takes the next place for a batch: when it is due, from the start.
    pub(super) fn take(&self, keys: u32) -> Duration {
        let before = self.taken.fetch_add(keys.into(), Relaxed);
        let nanoseconds = u128::from(before) * 1_000_000_000 / u128::from(self.keys_per_second);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// A batch of so many keys was sent.
    fn send(&self, keys: u32) {
        self.sent.fetch_add(keys.into(), Relaxed);
    }

    /// How many keys should have been sent by then, and were not.
    pub(super) fn keys_unsent(&self, after: Duration) -> u64 {
        let due = after.as_nanos() * u128::from(self.keys_per_second) / 1_000_000_000;
        u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(self.sent.load(Relaxed))
    }
}

/// The pace of one thread.
pub(super) enum Pace {
    /// A closed loop: the next batch is sent when an answer has come.
    AnswersCome(watch::Receiver<Phase>),
    /// An open loop from that start. One task at a time waits for its batch to be due, the others for it.
    Fixed { schedule: Arc<Schedule>, start: Instant, turn: Mutex<watch::Receiver<Phase>> },
}

impl Pace {
    pub(super) fn fixed(schedule: Arc<Schedule>, start: Instant, phase: watch::Receiver<Phase>) -> Self {
        Self::Fixed { schedule, start, turn: Mutex::new(phase) }
    }

    /// The time from which the latency of a batch of so many keys counts, once it is to be sent; `None` when no more are.
    pub(super) async fn next(&self, keys: u32) -> Option<Instant> {
        match self {
            Self::AnswersCome(phase) => (!phase.borrow().is_ending()).then(Instant::now),
            Self::Fixed { schedule, start, turn } => {
                let mut phase = turn.lock().await;
                let due = *start + schedule.take(keys);
                let is_sent = tokio::select! {
                    biased;
                    _ = phase.wait_for(Phase::is_ending) => false,
                    () = sleep_until(due) => true,
                };
                is_sent.then(|| {
                    schedule.send(keys);
                    due
                })
            }
        }
    }
}

/// Sleeps to the microsecond. Timers of Tokio are a millisecond coarse, which is many times what an answer takes; the
/// rest is waited out awake, but letting other tasks run.
async fn sleep_until(due: Instant) {
    if let Some(asleep_until) = due.checked_sub(TIMER_STEP)
        && asleep_until > Instant::now()
    {
        time::sleep_until(asleep_until.into()).await;
    }
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

/// A timer may ring this much late.
const TIMER_STEP: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_due_when_their_keys_are() {
        let schedule = Schedule::new(1_000);
        let due: Vec<_> = [500, 500, 250, 1, 1].map(|keys| schedule.take(keys).as_millis()).into();
        assert_eq!(due, [0, 500, 1_000, 1_250, 1_251]);
        schedule.send(500);
        assert_eq!(schedule.keys_unsent(Duration::from_millis(1_251)), 751);
        assert_eq!(schedule.keys_unsent(Duration::ZERO), 0);
    }

    /// A rate that does not divide a second must not drift.
    #[test]
    fn an_hour_of_keys_takes_an_hour() {
        for rate in [3, 7_777, 48_000_000] {
            let schedule = Schedule::new(rate);
            let mut last = Duration::ZERO;
            for _ in 0..3_600 {
                last = schedule.take(u32::try_from(rate).unwrap());
            }
            assert_eq!(last, Duration::from_secs(3_599), "{rate}");
        }
        let slow = Schedule::new(1);
        slow.take(u32::MAX);
        assert_eq!(slow.take(1), Duration::from_secs(u32::MAX.into()));
    }
}
