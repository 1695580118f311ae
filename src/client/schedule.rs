//! Decides when the next attempt to connect begins, and how long lookups wait for it. It takes clocks as arguments.
//!
//! An outage begins with the first attempt after a loss. For [`PROMPT_PHASE`], as long as a server takes to restart,
//! a failed attempt is followed by the next within half a second while lookups wait for a connection, and lookups wait
//! until their own deadline, whatever becomes of single attempts. An attempt without a response, whose packets are sent
//! again after ever longer pauses, does not hold up the next, which begins beside it; but not soon, because a server
//! that all of its clients connect to is slow to respond, and more attempts would slow it further. After that phase there
//! is one attempt at a time, pauses grow to [`PAUSE_MAX`], and lookups fail at once while a pause lasts, because
//! queueing them would only delay the program that makes them.
//!
//! Half of every pause is random, so that the clients of a restarted server do not reconnect all at once.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use tokio::time::Instant;

/// The schedule of the attempts of one connection manager.
#[derive(Debug)]
pub(super) struct Schedule {
    /// The beginning of the first attempt of an outage; `None` without an outage.
    outage_since: Option<Instant>,
    /// Whether the outage is a mistake of configuration, not a restart: it has no prompt phase.
    is_permanent: bool,
    /// Failures in the prompt phase.
    prompt_failures: u32,
    /// Failures after the prompt phase.
    failures: u32,
    last_at: Option<Instant>,
    next_at: Instant,
}

impl Schedule {
    /// Creates a schedule whose first attempt may begin at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { outage_since: None, is_permanent: false, prompt_failures: 0, failures: 0, last_at: None, next_at: now }
    }

    /// Returns the earliest time of the next attempt.
    pub(super) fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Returns whether lookups wait through failures, and attempts may run beside one another.
    pub(super) fn is_prompt(&self, now: Instant) -> bool {
        !self.is_permanent && self.outage_since.is_none_or(|since| now < since + PROMPT_PHASE)
    }

    /// Returns the time until which lookups fail at once; `None` while they wait.
    pub(super) fn fails_until(&self) -> Option<Instant> {
        (self.is_permanent || self.failures > 0).then_some(self.next_at)
    }

    /// Records the beginning of an attempt, beside a number of others.
    pub(super) fn begun(&mut self, now: Instant, others: usize) {
        self.outage_since.get_or_insert(now);
        self.last_at = Some(now);
        self.next_at = now + doubled(BESIDE_PAUSE_MIN, others as u32, PAUSE_MAX);
    }

    /// Records that the last attempt failed; or, for a reason that only a change of configuration removes, one of them.
    pub(super) fn failed(&mut self, now: Instant, is_permanent: bool) {
        self.is_permanent |= is_permanent;
        if self.is_prompt(now) {
            self.next_at = now + jittered(doubled(PROMPT_PAUSE_MIN, self.prompt_failures, PROMPT_PAUSE_MAX));
            self.prompt_failures += 1;
        } else {
            self.next_at = now + jittered(doubled(PAUSE_MIN, self.failures, PAUSE_MAX));
            self.failures += 1;
        }
    }

    /// Lets the next attempt begin at once, unless one has just begun: the server is known to run again.
    pub(super) fn hasten(&mut self, now: Instant) {
        let earliest = self.last_at.map_or(now, |last| now.max(last + PROMPT_PAUSE_MAX));
        self.next_at = self.next_at.min(earliest);
    }

    /// Delays the next attempt: a server responds to the present one.
    pub(super) fn delay(&mut self, now: Instant) {
        self.next_at = now + PROMPT_PAUSE_MAX;
    }

    /// Records a connection. The next attempt may not begin at once, which prevents a tight loop with a server that
    /// accepts connections and drops them.
    pub(super) fn connected(&mut self, now: Instant) {
        *self = Self::new(now + PROMPT_PAUSE_MIN);
    }
}

/// Doubles a pause a number of times, up to a maximum.
fn doubled(pause: Duration, times: u32, max: Duration) -> Duration {
    pause.saturating_mul(1 << times.min(16)).min(max)
}

/// Returns a random duration between half of `full` and `full`.
fn jittered(full: Duration) -> Duration {
    // A new hasher has a random seed: enough for jitter, without another dependency.
    let random = RandomState::new().build_hasher().finish();
    full / 2 + full.mul_f64(random as f64 / u64::MAX as f64) / 2
}

/// Longer than a server takes to restart with its snapshot in the page cache.
const PROMPT_PHASE: Duration = Duration::from_secs(5);

const PROMPT_PAUSE_MIN: Duration = Duration::from_millis(100);
const PROMPT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// After this, another attempt begins beside one without a response. Two such attempts send a packet at least every
/// 750 ms with the initial round-trip time of private networks.
const BESIDE_PAUSE_MIN: Duration = Duration::from_secs(1);

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    /// Prevents clients from staying away for seconds from a server that restarts quickly.
    #[test]
    fn pauses_are_short_for_five_seconds_and_then_grow() {
        for _ in 0..20 {
            let start = Instant::now();
            let (mut schedule, mut now) = (Schedule::new(start), start);
            while schedule.is_prompt(now) {
                schedule.begun(now, 0);
                schedule.failed(now, false);
                let pause = schedule.next_at() - now;
                assert!(pause >= PROMPT_PAUSE_MIN / 2 && pause <= PROMPT_PAUSE_MAX, "{pause:?}");
                assert_eq!(schedule.fails_until(), None);
                now = schedule.next_at();
            }
            assert!(now >= start + Duration::from_secs(5) && now < start + Duration::from_millis(5_600));
            for failures in 0..40 {
                schedule.begun(now, 0);
                schedule.failed(now, false);
                let (pause, full) = (schedule.next_at() - now, PAUSE_MIN * (1 << failures.min(5)));
                assert!(pause >= full.min(PAUSE_MAX) / 2 && pause <= full.min(PAUSE_MAX), "{pause:?}");
                assert_eq!(schedule.fails_until(), Some(schedule.next_at()));
                now = schedule.next_at();
            }
            schedule.connected(now);
            assert!(schedule.is_prompt(now + PAUSE_MAX) && schedule.fails_until().is_none());
            assert_eq!(schedule.next_at(), now + PROMPT_PAUSE_MIN);
        }
    }

    /// Prevents lookups from waiting for five seconds for a server that has answered, with the wrong certificate.
    #[test]
    fn a_permanent_failure_has_no_prompt_phase() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.begun(now, 0);
        schedule.failed(now, true);
        assert!(!schedule.is_prompt(now) && schedule.next_at() > now + PAUSE_MIN / 3);
        assert_eq!(schedule.fails_until(), Some(schedule.next_at()));
    }
}
