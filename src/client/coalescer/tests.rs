//! Runs the coalescer under thousands of random schedules, with a fake connection.
//!
//! shuttle runs all tasks in one thread and chooses which continues at every lock, atomic operation and `await`; it
//! reports tasks that wait for one another, and prints the schedule of a failure for `shuttle::replay`. With a hundred
//! times the schedules, for about four minutes: `cargo test --lib client::coalescer -- --ignored`

use std::{future::pending, future::poll_fn, task::Poll};

use shuttle::{
    Config, Runner,
    future::{JoinHandle, block_on, spawn, yield_now},
    rand::{Rng, thread_rng},
    scheduler::{PctScheduler, RandomScheduler},
};

use super::*;
use crate::{
    answer::{Origin, Status},
    batch::{Column, Detail},
    client::key_batch::KeyBatch,
    key::{Digest, DigestKind},
};

/// Keys of a batch: so few that batches get full.
const KEYS_MAX: u32 = 5;

/// Batches in flight: so few that others wait for a slot.
const SLOTS: u32 = 2;

const CALLERS: u64 = 6;

const SCHEDULES: usize = 2_000;

/// What the fake connection does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Network {
    /// Answers every batch.
    Reliable,
    /// Also breaks, truncates its answers, and is silent until the deadline.
    Unreliable,
}

/// A connection that answers each key with its own number as the generation.
struct FakeSession {
    network: Network,
    in_flight: AtomicUsize,
    /// The numbers of all keys that were sent.
    sent: Mutex<Vec<u64>>,
    spawned: Mutex<Vec<JoinHandle<()>>>,
}

/// Counts a batch in flight until it is dropped.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl BatchSender for FakeSession {
    fn limits(&self) -> ServerLimits {
        ServerLimits { keys: KEYS_MAX, streams: SLOTS, ..ServerLimits::default() }
    }

    async fn send(&self, batch: &KeyBatch, _: Instant) -> Result<Vec<Answer>, LookupError> {
        let others = self.in_flight.fetch_add(1, Relaxed);
        let _in_flight = InFlight(&self.in_flight);
        assert!(others < SLOTS as usize, "more batches in flight than slots");
        let numbers = numbers(batch);
        assert!(!numbers.is_empty() && numbers.len() <= KEYS_MAX as usize, "{numbers:?}");
        lock(&self.sent).extend(&numbers);
        wait_for_a_moment(4).await;
        match (self.network, thread_rng().gen_range(0..6)) {
            (Network::Unreliable, 0) => Err(LookupError::GoingAway),
            (Network::Unreliable, 1) => pending().await,
            (Network::Unreliable, 2) => {
                let mut answers: Vec<Answer> = numbers.iter().copied().map(answer).collect();
                *answers.last_mut().unwrap() = Answer::not_asked();
                Ok(answers)
            }
            _ => Ok(numbers.iter().copied().map(answer).collect()),
        }
    }

    async fn sleep_until(&self, _: Instant) {
        match self.network {
            Network::Reliable => pending().await,
            Network::Unreliable => wait_for_a_moment(12).await,
        }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        lock(&self.spawned).push(spawn(future));
    }
}

fn key(number: u64) -> Key {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Digest::new(DigestKind::Md5, &bytes).unwrap().into()
}

fn numbers(batch: &KeyBatch) -> Vec<u64> {
    match batch.columns()[..] {
        [Column::Digests { bytes, .. }] => {
            bytes.chunks(16).map(|digest| u64::from_le_bytes(digest[..8].try_into().unwrap())).collect()
        }
        ref other => panic!("{other:?}"),
    }
}

fn answer(number: u64) -> Answer {
    Answer::unknown(Origin::Server, number)
}

async fn wait_for_a_moment(most: usize) {
    for _ in 0..thread_rng().gen_range(0..most) {
        yield_now().await;
    }
}

/// Looks up a few keys and checks the answers.
async fn look_up(coalescer: Arc<Coalescer<FakeSession>>, numbers: Vec<u64>, options: LookupOptions, is_blocking: bool) {
    wait_for_a_moment(6).await;
    let keys: Vec<Key> = numbers.iter().copied().map(key).collect();
    let after = Duration::from_secs(1);
    let joined =
        poll_fn(|context| Poll::Ready(SharedLookup::join(&coalescer, &keys, &options, after, context.waker())));
    let mut lookup = joined.await.expect("keys within the limits");
    if is_blocking {
        lookup.spawn_leader();
    }
    match (lookup.answers().await, coalescer.session.network) {
        (Ok(answers), network) => {
            assert_eq!(answers.len(), numbers.len());
            for (found, number) in answers.iter().zip(numbers) {
                let is_truncated = network == Network::Unreliable && found.status == Status::NotAsked;
                assert!(is_truncated || *found == answer(number), "{number}: {found:?}");
            }
        }
        (Err(LookupError::GoingAway | LookupError::Timeout { .. }), Network::Unreliable) => {}
        // Above all not `Stopped`: the leader of another caller ended without an answer.
        (Err(error), _) => panic!("{error}"),
    }
}

/// Runs some callers, of whom some are dropped at any moment.
async fn run_callers(network: Network) {
    let (in_flight, sent, spawned) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let session = Arc::new(FakeSession { network, in_flight, sent, spawned });
    let coalescer = Arc::new(Coalescer::new(session.clone()));
    // Above one, leaders yield to other callers first.
    coalescer.recent_concurrency.store(thread_rng().gen_range(0..3), Relaxed);
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let numbers = (caller * 10..).take(thread_rng().gen_range(1..=3)).collect();
            let detail = if thread_rng().gen_bool(0.8) { Detail::Winner } else { Detail::All };
            let options = LookupOptions { detail, ..LookupOptions::default() };
            spawn(look_up(coalescer.clone(), numbers, options, thread_rng().gen_bool(0.2)))
        })
        .collect();
    for caller in &callers {
        wait_for_a_moment(4).await;
        if thread_rng().gen_bool(0.4) {
            caller.abort();
        }
    }
    for caller in callers {
        // Fails if it was dropped. A panic ends the test by itself.
        let _ = caller.await;
    }
    while let Some(batch) = { lock(&session.spawned).pop() } {
        batch.await.unwrap();
    }
    // Nothing is left.
    assert_eq!(coalescer.waiting.load(Relaxed), 0);
    assert_eq!(session.in_flight.load(Relaxed), 0);
    assert_eq!(coalescer.slots.available_permits(), SLOTS as usize);
    assert!(lock(&coalescer.open).is_empty());
    let mut sent = lock(&session.sent).clone();
    sent.sort_unstable();
    assert!(sent.is_sorted_by(|a, b| a < b), "a key was sent twice: {sent:?}");
}

/// Checks [`run_callers`] under schedules that are random, and under those that delay a few random tasks for long.
fn check(network: Network, schedules: usize) {
    let config = || {
        let mut config = Config::new();
        // Of atomic operations that are not sequentially consistent, which shuttle treats as if they were.
        config.silence_warnings = true;
        config
    };
    let run = move || block_on(run_callers(network));
    Runner::new(RandomScheduler::new(schedules), config()).run(run);
    Runner::new(PctScheduler::new(3, schedules), config()).run(run);
}

#[test]
fn every_caller_gets_its_answers_under_random_schedules() {
    check(Network::Reliable, SCHEDULES);
}

#[test]
fn every_caller_gets_its_answers_or_an_error_under_random_schedules() {
    check(Network::Unreliable, SCHEDULES);
}

#[test]
#[ignore = "takes minutes"]
fn every_caller_gets_its_answers_under_many_random_schedules() {
    check(Network::Reliable, 100 * SCHEDULES);
    check(Network::Unreliable, 100 * SCHEDULES);
}
