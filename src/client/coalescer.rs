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
    future::poll_fn,
    mem,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, Waker},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::yield_now,
    time::{self, Instant},
};

use super::{
    LookupError, LookupOptions,
    batcher::{KeyBatch, size_of_batch},
    connector::ClientSession,
    lookup::{IN_FLIGHT_MAX, ask},
    match_answers::match_answers,
};
use crate::{
    answer::Answer,
    batch::Detail,
    key::{Key, PrefixWidth},
    wire::ServerLimits,
};

/// Callers that a batch may have at any concurrency: fewer are not worth a packet.
const CALLERS_MIN: usize = 16;

/// The largest lookup, in keys, that is coalesced; larger ones use batches of their own. A web address that is sent as
/// prefixes counts once per row, because its rows are hashed under the locks below.
pub(super) const SHARED_KEYS_MAX: usize = 256;

/// The open batches of one connection.
#[derive(Debug)]
pub(super) struct Coalescer {
    /// At most one for each combination of detail, prefix and timeout.
    open: Mutex<Vec<Arc<OpenBatch>>>,
    /// In-flight slots. Batches that wait for one are served in FIFO order.
    slots: Semaphore,
    /// Callers whose batches are in flight.
    waiting: AtomicUsize,
    /// The number of waiting callers when batches were sealed: follows peaks at once and decays exponentially.
    recent_concurrency: AtomicUsize,
    limits: ServerLimits,
    runtime: Handle,
}

/// A batch of several callers, from its first key to its answer. Callers can join it until it is sealed.
#[derive(Debug)]
struct OpenBatch {
    session: Arc<ClientSession>,
    detail: Detail,
    prefix: Option<PrefixWidth>,
    /// The deadline of the first caller, which applies to all callers.
    deadline: Instant,
    /// The timeout that the deadline was computed from.
    after: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The keys, until the batch is sealed.
    batch: KeyBatch,
    /// The wakers of the callers, in the order in which they joined; `None` for a dropped caller, and for the leader
    /// while it runs the batch.
    wakers: Vec<Option<Waker>>,
    /// Callers that have not been dropped.
    callers: usize,
    /// Callers when the batch was sealed: the number that it added to [`Coalescer::waiting`].
    sent: usize,
    /// The answers, in the order of the keys in the batch; each is moved out by its caller.
    answers: Option<Result<Vec<Answer>, LookupError>>,
}

impl State {
    fn new(detail: Detail, prefix: Option<PrefixWidth>) -> Self {
        Self { batch: KeyBatch::new(detail, prefix), wakers: Vec::new(), callers: 0, sent: 0, answers: None }
    }
}

impl Coalescer {
    /// Creates a coalescer.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime; it must be called in the runtime of the connection.
    pub(super) fn new(limits: ServerLimits) -> Self {
        Self {
            open: Mutex::default(),
            slots: Semaphore::new((limits.streams as usize).min(IN_FLIGHT_MAX)),
            waiting: AtomicUsize::new(0),
            recent_concurrency: AtomicUsize::new(0),
            limits,
            runtime: Handle::current(),
        }
    }

    /// Returns whether a lookup of these keys, with this prefix width, may join a shared batch.
    pub(super) fn accepts(&self, keys: &[Key], prefix: Option<PrefixWidth>) -> bool {
        keys.len() <= SHARED_KEYS_MAX
            && size_of_batch(keys, &self.limits, prefix).is_some_and(|size| size.rows() <= SHARED_KEYS_MAX)
    }

    /// Seals a batch: no more callers can join it.
    fn seal(&self, shared: &Arc<OpenBatch>) {
        lock(&self.open).retain(|open| !Arc::ptr_eq(open, shared));
    }
}

impl OpenBatch {
    fn coalescer(&self) -> &Coalescer {
        &self.session.coalescer
    }

    /// Sets the answers, unless they are already set, and wakes all callers.
    fn complete(&self, answers: Result<Vec<Answer>, LookupError>) {
        let mut state = lock(&self.state);
        if state.answers.is_some() {
            return;
        }
        state.answers = Some(answers);
        let wakers = mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// One caller of a batch and the range of its keys.
struct Waiter {
    shared: Arc<OpenBatch>,
    number: usize,
    keys: Range<usize>,
    stage: Stage,
}

#[derive(PartialEq)]
enum Stage {
    /// The waker is registered; not polled yet.
    Joined,
    Waiting,
    Answered,
}

impl Waiter {
    /// Adds keys to an open batch, or to a new one. Returns whether the caller is the leader, which it is if the batch
    /// is new; otherwise it is woken through `waker`.
    fn join(
        session: &Arc<ClientSession>,
        keys: &[Key],
        options: &LookupOptions,
        after: Duration,
        waker: &Waker,
    ) -> (Self, bool) {
        let LookupOptions { detail, prefix, .. } = *options;
        let coalescer = &session.coalescer;
        let half = (coalescer.recent_concurrency.load(Relaxed) / 2).max(CALLERS_MIN);
        let mut open = lock(&coalescer.open);
        let query = (detail, prefix, after);
        if let Some(at) = open.iter().position(|shared| (shared.detail, shared.prefix, shared.after) == query) {
            let mut state = lock(&open[at].state);
            if state.wakers.len() < half && state.batch.size().with(keys).is_within(&coalescer.limits) {
                return (Self::add(&open[at], &mut state, keys, Some(waker.clone())), false);
            }
            // The batch is full: seal it. Its leader sends it.
            drop(state);
            open.swap_remove(at);
        }
        let (session, deadline) = (session.clone(), Instant::now() + after);
        let state = Mutex::new(State::new(detail, prefix));
        let shared = Arc::new(OpenBatch { session, detail, prefix, deadline, after, state });
        let waiter = Self::add(&shared, &mut lock(&shared.state), keys, None);
        open.push(shared);
        (waiter, true)
    }

    fn add(shared: &Arc<OpenBatch>, state: &mut State, keys: &[Key], waker: Option<Waker>) -> Self {
        let first = state.batch.len();
        for (at, key) in (first as u32..).zip(keys) {
            state.batch.push(at, key);
        }
        let (number, keys) = (state.wakers.len(), first..first + keys.len());
        let stage = if waker.is_some() { Stage::Joined } else { Stage::Waiting };
        state.wakers.push(waker);
        state.callers += 1;
        Self { shared: shared.clone(), number, keys, stage }
    }

    /// Waits for the answers. The first poll is the one that joined, so its waker is already registered.
    async fn answers(&mut self) -> Result<Vec<Answer>, LookupError> {
        poll_fn(|context| {
            if self.stage == Stage::Joined {
                self.stage = Stage::Waiting;
                return Poll::Pending;
            }
            let mut state = lock(&self.shared.state);
            let answers = match &mut state.answers {
                Some(Ok(answers)) => {
                    let own = &mut answers[self.keys.clone()];
                    Ok(own.iter_mut().map(|answer| mem::replace(answer, Answer::not_asked())).collect())
                }
                Some(Err(error)) => Err(error.clone()),
                None => {
                    match &mut state.wakers[self.number] {
                        Some(waker) => waker.clone_from(context.waker()),
                        empty => *empty = Some(context.waker().clone()),
                    }
                    return Poll::Pending;
                }
            };
            self.stage = Stage::Answered;
            Poll::Ready(answers)
        })
        .await
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.stage == Stage::Answered {
            return;
        }
        let mut state = lock(&self.shared.state);
        state.callers -= 1;
        if let Some(waker) = state.wakers.get_mut(self.number) {
            *waker = None;
        }
    }
}

type LeaderFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The leader of a batch: sends it and reads its answer. If it is dropped early, the batch continues in a spawned task,
/// or is cancelled if there are no other callers.
struct Leader {
    shared: Arc<OpenBatch>,
    future: Option<LeaderFuture>,
}

impl Leader {
    async fn run_leader(mut self) {
        if let Some(future) = &mut self.future {
            future.as_mut().await;
        }
        self.future = None;
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let Some(future) = self.future.take() else { return };
        let coalescer = self.shared.coalescer();
        // The lock is held so that nobody joins a batch that is about to be cancelled.
        let mut open = lock(&coalescer.open);
        if lock(&self.shared.state).callers > 1 {
            drop(open);
            coalescer.runtime.spawn(future);
        } else {
            open.retain(|open| !Arc::ptr_eq(open, &self.shared));
            drop(open);
            // Resets the stream.
            drop(future);
        }
    }
}

/// Completes a batch when it is dropped, however its leader ends.
struct Completion {
    shared: Arc<OpenBatch>,
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.shared.coalescer().seal(&self.shared);
        self.shared.complete(Err(LookupError::Stopped));
        let sent = mem::take(&mut lock(&self.shared.state).sent);
        self.shared.coalescer().waiting.fetch_sub(sent, Relaxed);
    }
}

/// A lookup of a few keys in a shared batch.
pub(super) struct SharedLookup {
    waiter: Waiter,
    leader: Option<Leader>,
}

impl SharedLookup {
    /// Joins an open batch, or opens one. The caller MUST have checked the keys with [`Coalescer::accepts`], and MUST
    /// poll [`answers`](Self::answers) next, with the same waker in the first poll.
    pub(super) fn join(
        session: &Arc<ClientSession>,
        keys: &[Key],
        options: &LookupOptions,
        after: Duration,
        waker: &Waker,
    ) -> Self {
        let (waiter, is_leader) = Waiter::join(session, keys, options, after, waker);
        let leader = is_leader.then(|| {
            let shared = waiter.shared.clone();
            let completion = Completion { shared: shared.clone() };
            Leader { shared, future: Some(Box::pin(run_leader(completion))) }
        });
        Self { waiter, leader }
    }

    /// Returns the answers. A key that a truncated answer left out is [not asked](crate::Status::NotAsked).
    pub(super) async fn answers(&mut self) -> Result<Vec<Answer>, LookupError> {
        if let Some(leader) = self.leader.take() {
            leader.run_leader().await;
        }
        self.waiter.answers().await
    }

    /// Moves the leader to the runtime of the connection, for callers that block a thread: they would otherwise be
    /// woken for every step.
    pub(super) fn spawn_leader(&mut self) {
        if let Some(mut leader) = self.leader.take()
            && let Some(future) = leader.future.take()
        {
            leader.shared.coalescer().runtime.spawn(future);
        }
    }

    /// Returns the deadline of the batch.
    pub(super) fn deadline(&self) -> Instant {
        self.waiter.shared.deadline
    }

    /// Returns the session of the batch.
    pub(super) fn session(&self) -> Arc<ClientSession> {
        self.waiter.shared.session.clone()
    }
}

/// Sends a batch when a slot is free, and completes it.
async fn run_leader(completion: Completion) {
    let shared = &completion.shared;
    let answers = match time::timeout_at(shared.deadline, send(shared)).await {
        Ok(answers) => answers,
        Err(_) => Err(LookupError::Timeout { after: shared.after }),
    };
    shared.complete(answers);
}

async fn send(shared: &Arc<OpenBatch>) -> Result<Vec<Answer>, LookupError> {
    let (session, coalescer) = (&shared.session, shared.coalescer());
    if coalescer.recent_concurrency.load(Relaxed) > 1 {
        yield_now().await;
    }
    let _slot = coalescer.slots.acquire().await.map_err(|_| LookupError::Stopped)?;
    coalescer.seal(shared);
    let (batch, sent) = {
        let mut state = lock(&shared.state);
        state.sent = state.callers;
        (mem::replace(&mut state.batch, KeyBatch::new(shared.detail, shared.prefix)), state.sent)
    };
    let waiting = coalescer.waiting.fetch_add(sent, Relaxed) + sent;
    // Follows peaks at once and decays exponentially.
    let recent_concurrency = coalescer.recent_concurrency.load(Relaxed);
    coalescer.recent_concurrency.store(waiting.max(recent_concurrency - recent_concurrency.div_ceil(8)), Relaxed);
    let raw = ask(session, &batch.columns(), batch.request_detail(), shared.deadline).await?;
    let mut answers = vec![Answer::not_asked(); batch.len()];
    // Keys that a truncated answer leaves out stay `NotAsked`, and their callers retry them.
    match_answers(&raw.view()?, &batch, &mut answers)?;
    Ok(answers)
}

/// Locks a mutex, ignoring poison: nothing that panics runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
