//! When batches are sent: as fast as answers arrive (closed loop), or on a fixed schedule (open loop).

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

/// The send schedule of an open loop: a batch is due at the time at which all keys before it should have been sent.
///
/// The schedule does not move when batches are late, so latencies measured from it include the time that a client of a
/// stalled server would have waited (no coordinated omission).
#[derive(Debug)]
pub(super) struct Schedule {
    keys_per_second: u64,
    /// Keys of batches that were scheduled.
    scheduled: AtomicU64,
    /// Keys of batches that were sent.
    sent: AtomicU64,
}

impl Schedule {
    pub(super) fn new(keys_per_second: u64) -> Self {
        Self { keys_per_second, scheduled: AtomicU64::new(0), sent: AtomicU64::new(0) }
    }

    /// Schedules the next batch, and returns when it is due, from the start.
    pub(super) fn schedule(&self, keys: u32) -> Duration {
        let before = self.scheduled.fetch_add(keys.into(), Relaxed);
        let nanoseconds = u128::from(before) * 1_000_000_000 / u128::from(self.keys_per_second);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Counts the keys of a sent batch.
    fn sent(&self, keys: u32) {
        self.sent.fetch_add(keys.into(), Relaxed);
    }

    /// Returns the number of keys that were due at that time but not sent.
    pub(super) fn keys_unsent(&self, after: Duration) -> u64 {
        let due = after.as_nanos() * u128::from(self.keys_per_second) / 1_000_000_000;
        u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(self.sent.load(Relaxed))
    }
}

/// The pace of one thread.
pub(super) enum Pace {
    /// Closed loop: a batch is sent when the previous one was answered.
    ClosedLoop(watch::Receiver<Phase>),
    /// Open loop. One task at a time waits for its batch to be due; the others wait for the lock.
    OpenLoop { schedule: Arc<Schedule>, start: Instant, turn: Mutex<watch::Receiver<Phase>> },
}

impl Pace {
    pub(super) fn open_loop(schedule: Arc<Schedule>, start: Instant, phase: watch::Receiver<Phase>) -> Self {
        Self::OpenLoop { schedule, start, turn: Mutex::new(phase) }
    }

    /// Waits until a batch of `keys` keys is due, and returns the time from which its latency is measured; `None` when
    /// the run is over.
    pub(super) async fn next(&self, keys: u32) -> Option<Instant> {
        match self {
            Self::ClosedLoop(phase) => (!phase.borrow().is_over()).then(Instant::now),
            Self::OpenLoop { schedule, start, turn } => {
                let mut phase = turn.lock().await;
                let due = *start + schedule.schedule(keys);
                let is_sent = tokio::select! {
                    biased;
                    _ = phase.wait_for(Phase::is_over) => false,
                    () = sleep_until(due) => true,
                };
                is_sent.then(|| {
                    schedule.sent(keys);
                    due
                })
            }
        }
    }
}

/// Sleeps with microsecond precision. Tokio timers have a resolution of a millisecond, many times the latency of an
/// answer; the remainder is spent yielding to other tasks.
async fn sleep_until(due: Instant) {
    if let Some(deadline) = due.checked_sub(TIMER_STEP)
        && deadline > Instant::now()
    {
        time::sleep_until(deadline.into()).await;
    }
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

/// How late a timer may fire.
const TIMER_STEP: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_due_when_their_keys_are() {
        let schedule = Schedule::new(1_000);
        let due: Vec<_> = [500, 500, 250, 1, 1].map(|keys| schedule.schedule(keys).as_millis()).into();
        assert_eq!(due, [0, 500, 1_000, 1_250, 1_251]);
        schedule.sent(500);
        assert_eq!(schedule.keys_unsent(Duration::from_millis(1_251)), 751);
        assert_eq!(schedule.keys_unsent(Duration::ZERO), 0);
    }

    /// A rate that does not divide a second does not drift.
    #[test]
    fn an_hour_of_keys_takes_an_hour() {
        for rate in [3, 7_777, 48_000_000] {
            let schedule = Schedule::new(rate);
            let mut last = Duration::ZERO;
            for _ in 0..3_600 {
                last = schedule.schedule(u32::try_from(rate).unwrap());
            }
            assert_eq!(last, Duration::from_secs(3_599), "{rate}");
        }
        let slow = Schedule::new(1);
        slow.schedule(u32::MAX);
        assert_eq!(slow.schedule(1), Duration::from_secs(u32::MAX.into()));
    }
}
