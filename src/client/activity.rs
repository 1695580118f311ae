//! Detects that a server no longer responds: batches are in flight, and no datagram arrives.
//!
//! QUIC itself notices a server that crashed only by its idle timeout, after 30 seconds, or by a stateless reset. A
//! reset needs a server that runs again, with the secret of before, and a path that lets the reset through.

use std::{
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use quinn::Connection;
use tokio::{
    sync::Notify,
    time::{self, Instant},
};

/// Counts the batches in flight on a connection. Counting costs a few nanoseconds, and wakes the observer only if it
/// has found nothing in flight before.
#[derive(Debug, Default)]
pub(super) struct Activity {
    in_flight: AtomicUsize,
    /// Whether the observer waits for the next batch.
    is_observer_idle: AtomicBool,
    wake: Notify,
}

/// A batch in flight, until it is dropped.
pub(super) struct BatchInFlight<'a>(&'a Activity);

impl Activity {
    /// Counts a batch.
    pub(super) fn begin(&self) -> BatchInFlight<'_> {
        // In this order, and the observer in the opposite one: either it sees the batch, or this sees that it waits.
        self.in_flight.fetch_add(1, SeqCst);
        if self.is_observer_idle.load(SeqCst) && self.is_observer_idle.swap(false, SeqCst) {
            self.wake.notify_one();
        }
        BatchInFlight(self)
    }

    /// Returns whether batches are in flight.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(SeqCst) > 0
    }

    async fn until_busy(&self) {
        while !self.is_busy() {
            self.is_observer_idle.store(true, SeqCst);
            if self.is_busy() {
                break;
            }
            self.wake.notified().await;
        }
        self.is_observer_idle.store(false, Relaxed);
    }
}

impl Drop for BatchInFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}

/// Completes when batches are in flight and no datagram has arrived for [`patience`]. Returns the number of datagrams
/// received until then. At most one observer of an [`Activity`] may run at a time.
pub(super) async fn until_silent(connection: &Connection, activity: &Activity) -> u64 {
    let (mut received, mut unanswered_since) = (datagrams(connection), None);
    loop {
        activity.until_busy().await;
        let (found, now) = (datagrams(connection), Instant::now());
        if found != received {
            (received, unanswered_since) = (found, None);
        }
        // Kept while nothing is in flight, so that lookups with a short timeout notice the silence together.
        let silent_at = *unanswered_since.get_or_insert(now) + patience(connection);
        if now >= silent_at {
            return received;
        }
        time::sleep_until(silent_at.min(now + TICK)).await;
    }
}

/// Completes when more than `received` datagrams have arrived.
pub(super) async fn until_heard(connection: &Connection, received: u64) {
    while datagrams(connection) == received {
        time::sleep(TICK).await;
    }
}

/// Returns the number of datagrams received.
pub(super) fn datagrams(connection: &Connection) -> u64 {
    connection.stats().udp_rx.datagrams
}

/// Returns how long a connection may be silent with batches in flight: long enough for an acknowledgement that was lost
/// twice, and for a server that is busy with other batches.
fn patience(connection: &Connection) -> Duration {
    (connection.rtt() * 4).max(PATIENCE_MIN)
}

const PATIENCE_MIN: Duration = Duration::from_millis(250);

/// The interval at which the counter of datagrams is read while batches are in flight; quinn cannot notify of them.
const TICK: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    /// Prevents a batch that is not noticed because the observer begins to wait at the same moment.
    #[test]
    fn every_batch_wakes_the_observer() {
        let activity = Activity::default();
        for round in 0..1_000 {
            std::thread::scope(|scope| {
                let observer = scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    runtime.block_on(async { time::timeout(Duration::from_secs(5), activity.until_busy()).await })
                });
                // Before, while and after the observer begins to wait.
                (0..round % 100).for_each(|_| std::thread::yield_now());
                let batch = activity.begin();
                observer.join().unwrap().expect("the observer is woken");
                drop(batch);
            });
            assert!(!activity.is_busy());
        }
    }
}
