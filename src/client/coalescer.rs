//! Coalesces small concurrent lookups into shared batches.
//!
//! The first caller of a batch is its **leader**: its own task sends the batch and reads the answer, so that a lone
//! caller needs no hop to another task (with the hop, its lookup took 1.8 times as long). Other callers join the open
//! batch until it is sealed, and are woken with their answers. A batch is sealed as soon as one of a few in-flight
//! slots is free; it never waits for a timer or for an answer that it does not need. If recent concurrency is above
//! one, the leader first yields to the tasks that are ready: they join instead of sending batches of their own. A batch
//! takes at most half of the recent concurrency, because one half is on the server while the other is on the client.
//!
//! A caller may be dropped at any time. If a leader is dropped while others wait for its batch, the batch continues in
//! a spawned task.
//!
//! With a thousand callers a lookup costs the client less than a microsecond, most of it atomic operations: a caller
//! therefore takes few locks, and is counted through its batch.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Waker,
    time::Duration,
};

use tokio::{sync::Semaphore, task::yield_now, time::Instant};

use super::{
    batch_sender::BatchSender,
    batch_size::BatchSize,
    config::LookupOptions,
    error::LookupError,
    exchange::IN_FLIGHT_MAX,
    open_batch::{BatchOptions, OpenBatch, Waiter},
    sync::{AtomicUsize, Mutex, lock},
};
use crate::{answer::Answer, key::Key, wire::ServerLimits};

/// Callers that a batch may have at any concurrency: fewer are not worth a packet.
const CALLERS_MIN: usize = 16;

/// The largest lookup, in keys, that is coalesced; larger ones use batches of their own. A web address that is sent as
/// prefixes counts once per row, because its rows are hashed under the locks below.
const SHARED_KEYS_MAX: usize = 256;

/// The open batches of one session.
#[derive(Debug)]
pub(super) struct Coalescer<S> {
    session: Arc<S>,
    limits: ServerLimits,
    /// At most one for each combination of options.
    open: Mutex<Vec<Arc<OpenBatch<S>>>>,
    /// In-flight slots. Batches that wait for one are served in FIFO order.
    slots: Semaphore,
    /// Callers whose batches are in flight.
    waiting: AtomicUsize,
    /// The number of waiting callers when batches were sealed: follows peaks at once and decays exponentially.
    recent_concurrency: AtomicUsize,
}

impl<S: BatchSender> Coalescer<S> {
    /// Creates the coalescer of a session, without batches.
    pub(super) fn new(session: Arc<S>) -> Self {
        let limits = session.limits();
        Self {
            session,
            limits,
            open: Mutex::new(Vec::new()),
            slots: Semaphore::new((limits.streams as usize).min(IN_FLIGHT_MAX)),
            waiting: AtomicUsize::new(0),
            recent_concurrency: AtomicUsize::new(0),
        }
    }

    /// Returns the session that batches are sent over.
    pub(super) fn session(&self) -> &Arc<S> {
        &self.session
    }

    /// Adds keys to an open batch, or to a new one. Returns whether the caller is the leader, which it is if the batch
    /// is new; otherwise it is woken through `waker`.
    fn join(&self, keys: &[Key], size: BatchSize, options: BatchOptions, waker: &Waker) -> (Waiter<S>, bool) {
        let callers_max = (self.recent_concurrency.load(Relaxed) / 2).max(CALLERS_MIN);
        let mut open = lock(&self.open);
        if let Some(at) = open.iter().position(|shared| shared.options == options) {
            if let Some(waiter) = open[at].join(keys, size, waker, callers_max, &self.limits) {
                return (waiter, false);
            }
            // The batch is full: seal it. Its leader sends it.
            open.swap_remove(at);
        }
        let leader = OpenBatch::open(self.session.clone(), options, keys, size);
        open.push(leader.shared.clone());
        (leader, true)
    }

    /// Seals a batch: no more callers can join it.
    fn seal(&self, shared: &Arc<OpenBatch<S>>) {
        lock(&self.open).retain(|open| !Arc::ptr_eq(open, shared));
    }

    /// Counts the callers of a batch that is about to be sent.
    fn count(&self, callers: usize) {
        let waiting = self.waiting.fetch_add(callers, Relaxed) + callers;
        let recent = self.recent_concurrency.load(Relaxed);
        self.recent_concurrency.store(waiting.max(recent - recent.div_ceil(8)), Relaxed);
    }
}

/// A batch whose leader runs. It is completed when this is dropped, however the leader ends.
struct RunningBatch<S: BatchSender> {
    coalescer: Arc<Coalescer<S>>,
    shared: Arc<OpenBatch<S>>,
    /// The callers that the batch added to [`Coalescer::waiting`].
    counted: usize,
    /// What the callers get.
    answers: Result<Vec<Answer>, LookupError>,
}

impl<S: BatchSender> RunningBatch<S> {
    /// Sends the batch when a slot is free, and completes it.
    async fn run(mut self) {
        let (session, shared) = (self.coalescer.session.clone(), self.shared.clone());
        self.answers = tokio::select! {
            biased;
            answers = self.send() => answers,
            () = session.sleep_until(shared.deadline) => Err(LookupError::Timeout { after: shared.options.after }),
        };
    }

    async fn send(&mut self) -> Result<Vec<Answer>, LookupError> {
        let Self { coalescer, shared, counted, .. } = self;
        if coalescer.recent_concurrency.load(Relaxed) > 1 {
            yield_now().await;
        }
        let _slot = coalescer.slots.acquire().await.map_err(|_| LookupError::Stopped)?;
        coalescer.seal(shared);
        let (batch, callers) = shared.take();
        *counted = callers;
        coalescer.count(callers);
        coalescer.session.send(&batch, shared.deadline).await
    }
}

impl<S: BatchSender> Drop for RunningBatch<S> {
    fn drop(&mut self) {
        // A batch that ends before it was sent is still open. A caller that joined it after its completion would wait
        // forever.
        self.coalescer.seal(&self.shared);
        self.shared.complete(mem::replace(&mut self.answers, Err(LookupError::Stopped)));
        self.coalescer.waiting.fetch_sub(self.counted, Relaxed);
    }
}

/// The leader of a batch: sends it and reads its answer. If it is dropped early, the batch continues in a spawned task,
/// or is cancelled if there are no other callers.
struct Leader<S: BatchSender> {
    coalescer: Arc<Coalescer<S>>,
    shared: Arc<OpenBatch<S>>,
    /// Runs the batch; `None` when it has ended or was spawned.
    running: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S: BatchSender> Leader<S> {
    fn new(coalescer: &Arc<Coalescer<S>>, shared: &Arc<OpenBatch<S>>) -> Self {
        let (coalescer, shared) = (coalescer.clone(), shared.clone());
        let answers = Err(LookupError::Stopped);
        let running = RunningBatch { coalescer: coalescer.clone(), shared: shared.clone(), counted: 0, answers };
        Self { coalescer, shared, running: Some(Box::pin(running.run())) }
    }

    async fn run(mut self) {
        if let Some(running) = &mut self.running {
            running.await;
        }
        self.running = None;
    }

    fn spawn(mut self) {
        if let Some(running) = self.running.take() {
            self.coalescer.session.spawn(running);
        }
    }
}

impl<S: BatchSender> Drop for Leader<S> {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        // The lock is held so that nobody joins a batch that is about to be cancelled.
        let mut open = lock(&self.coalescer.open);
        if self.shared.callers() > 1 {
            drop(open);
            self.coalescer.session.spawn(running);
        } else {
            open.retain(|open| !Arc::ptr_eq(open, &self.shared));
            drop(open);
            // Resets the stream.
            drop(running);
        }
    }
}

/// A lookup of a few keys in a shared batch.
pub(super) struct SharedLookup<S: BatchSender> {
    /// Dropped before the waiter, because it counts itself among the callers of its batch.
    leader: Option<Leader<S>>,
    waiter: Waiter<S>,
}

impl<S: BatchSender> SharedLookup<S> {
    /// Joins an open batch, or opens one. Returns `None` if the keys are too many for a shared batch.
    ///
    /// The caller MUST poll [`answers`](Self::answers) next, with the same waker in the first poll.
    pub(super) fn join(
        coalescer: &Arc<Coalescer<S>>,
        keys: &[Key],
        options: &LookupOptions,
        after: Duration,
        waker: &Waker,
    ) -> Option<Self> {
        // Before they are weighed, which takes time for each key.
        if keys.len() > SHARED_KEYS_MAX {
            return None;
        }
        let size = BatchSize::of_all(keys, options.prefix);
        if size.rows() > SHARED_KEYS_MAX || !size.is_within(&coalescer.limits) {
            return None;
        }
        let options = BatchOptions { detail: options.detail, prefix: options.prefix, after };
        let (waiter, is_leader) = coalescer.join(keys, size, options, waker);
        let leader = is_leader.then(|| Leader::new(coalescer, &waiter.shared));
        Some(Self { leader, waiter })
    }

    /// Returns the answers. A key that a truncated answer left out is [not asked](crate::Status::NotAsked).
    pub(super) async fn answers(&mut self) -> Result<Vec<Answer>, LookupError> {
        if let Some(leader) = self.leader.take() {
            leader.run().await;
        }
        self.waiter.answers().await
    }

    /// Moves the leader to the runtime of the connection, for callers that block a thread: they would otherwise be
    /// woken for every step.
    pub(super) fn spawn_leader(&mut self) {
        if let Some(leader) = self.leader.take() {
            leader.spawn();
        }
    }

    /// Returns the deadline of the batch.
    pub(super) fn deadline(&self) -> Instant {
        self.waiter.shared.deadline
    }

    /// Returns the session of the batch.
    pub(super) fn session(&self) -> Arc<S> {
        self.waiter.shared.session.clone()
    }
}

#[cfg(test)]
mod tests;
