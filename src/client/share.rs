//! Small lookups that are made at the same time share batches.
//!
//! The first caller of a batch **leads** it: its own task sends the batch and reads the answer, so that a lone caller
//! pays for no hop to another task (which cost it 1.8 times as long). Others join until the batch is cut and are woken
//! with their answers. A batch is cut as soon as one of a few slots in flight is free; it never waits for a timer or for
//! an answer that it does not need. If callers came in a crowd before, the leader lets the tasks that are ready run
//! first: they join instead of sending batches of their own. A batch takes half of a crowd at most, for while one half
//! is with the server the other is with the client.
//!
//! A caller may be dropped at any time. If a leader is, and others wait for its batch, the batch goes on as a task of
//! its own.
//!
//! With a thousand callers a lookup costs the client less than a microsecond, and what that goes into is atomic
//! operations: so a caller takes few locks, and is counted by its batch.

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
    driver::Session,
    lookup::{IN_FLIGHT_MAX, ask},
    place::place,
    plan::{Batch, load_of},
};
use crate::{
    answer::Answer,
    batch::Detail,
    key::{Key, PrefixWidth},
    wire::ServerLimits,
};

/// A batch may have so many callers, however small the crowd: less is not worth a packet.
const CALLERS_MIN: usize = 16;

/// Lookups of more keys fill batches of their own. A web address that is asked by prefixes counts as its rows: they are
/// hashed under the locks below.
pub(super) const SHARED_KEYS_MAX: usize = 256;

/// The batches of one connection that callers may join.
#[derive(Debug)]
pub(super) struct Sharing {
    /// At most one for each way of answering.
    open: Mutex<Vec<Arc<SharedBatch>>>,
    /// Batches that may be in flight. Those that wait for a slot are served in their order.
    slots: Semaphore,
    /// Callers whose batches are on their way.
    waiting: AtomicUsize,
    /// How many waited when batches were cut of late.
    crowd: AtomicUsize,
    limits: ServerLimits,
    runtime: Handle,
}

/// A batch of several callers, from its first key to its answer.
#[derive(Debug)]
struct SharedBatch {
    session: Arc<Session>,
    detail: Detail,
    prefix: Option<PrefixWidth>,
    /// When the first of its callers gives up, and what it was told: the others share its time.
    deadline: Instant,
    after: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The keys, until they are sent.
    batch: Batch,
    /// Those who wait, by the order in which they joined; `None` for those who left, and for a leader that leads.
    wakers: Vec<Option<Waker>>,
    /// Callers who have not left.
    callers: usize,
    /// Those that were counted when it was cut.
    sent: usize,
    /// The answers, by the order of keys in the batch, each until it is taken.
    answers: Option<Result<Vec<Answer>, LookupError>>,
}

impl State {
    fn new(detail: Detail, prefix: Option<PrefixWidth>) -> Self {
        Self { batch: Batch::new(detail, prefix), wakers: Vec::new(), callers: 0, sent: 0, answers: None }
    }
}

impl Sharing {
    /// To be called within a Tokio runtime, that of the connection.
    pub(super) fn new(limits: ServerLimits) -> Self {
        Self {
            open: Mutex::default(),
            slots: Semaphore::new((limits.streams as usize).min(IN_FLIGHT_MAX)),
            waiting: AtomicUsize::new(0),
            crowd: AtomicUsize::new(0),
            limits,
            runtime: Handle::current(),
        }
    }

    /// Whether keys may share a batch, asked in that way.
    pub(super) fn suits(&self, keys: &[Key], prefix: Option<PrefixWidth>) -> bool {
        keys.len() <= SHARED_KEYS_MAX
            && load_of(keys, &self.limits, prefix).is_some_and(|load| load.rows() <= SHARED_KEYS_MAX)
    }

    /// Takes a batch out of those that can be joined.
    fn cut(&self, shared: &Arc<SharedBatch>) {
        lock(&self.open).retain(|open| !Arc::ptr_eq(open, shared));
    }
}

impl SharedBatch {
    fn sharing(&self) -> &Sharing {
        &self.session.sharing
    }

    /// Sets the answers, unless there are some, and wakes everybody.
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

/// One caller's part of a batch.
struct Waiter {
    shared: Arc<SharedBatch>,
    number: usize,
    keys: Range<usize>,
    stage: Stage,
}

#[derive(PartialEq)]
enum Stage {
    /// It will be woken, and was not polled yet.
    Joined,
    Waiting,
    Answered,
}

impl Waiter {
    /// Adds keys to a batch, which the caller leads if it is new. Whoever does not lead is woken through `waker`.
    fn join(
        session: &Arc<Session>,
        keys: &[Key],
        options: &LookupOptions,
        after: Duration,
        waker: &Waker,
    ) -> (Self, bool) {
        let LookupOptions { detail, prefix, .. } = *options;
        let sharing = &session.sharing;
        let half = (sharing.crowd.load(Relaxed) / 2).max(CALLERS_MIN);
        let mut open = lock(&sharing.open);
        let way = (detail, prefix, after);
        if let Some(at) = open.iter().position(|shared| (shared.detail, shared.prefix, shared.after) == way) {
            let mut state = lock(&open[at].state);
            if state.wakers.len() < half && state.batch.load().with(keys).is_within(&sharing.limits) {
                return (Self::add(&open[at], &mut state, keys, Some(waker.clone())), false);
            }
            // Its leader sends it; nobody joins any more.
            drop(state);
            open.swap_remove(at);
        }
        let (session, deadline) = (session.clone(), Instant::now() + after);
        let state = Mutex::new(State::new(detail, prefix));
        let shared = Arc::new(SharedBatch { session, detail, prefix, deadline, after, state });
        let waiter = Self::add(&shared, &mut lock(&shared.state), keys, None);
        open.push(shared);
        (waiter, true)
    }

    fn add(shared: &Arc<SharedBatch>, state: &mut State, keys: &[Key], waker: Option<Waker>) -> Self {
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

    /// The first poll is the one that joined, so its waker is known.
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

type Leading = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The one who sends a batch and reads its answer.
struct Leader {
    shared: Arc<SharedBatch>,
    leading: Option<Leading>,
}

impl Leader {
    async fn lead(mut self) {
        if let Some(leading) = &mut self.leading {
            leading.as_mut().await;
        }
        self.leading = None;
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let Some(leading) = self.leading.take() else { return };
        let sharing = self.shared.sharing();
        // The lock is held so that nobody joins a batch that is about to be given up.
        let mut open = lock(&sharing.open);
        if lock(&self.shared.state).callers > 1 {
            drop(open);
            sharing.runtime.spawn(leading);
        } else {
            open.retain(|open| !Arc::ptr_eq(open, &self.shared));
            drop(open);
            // Gives up the stream.
            drop(leading);
        }
    }
}

/// Completes a batch whatever becomes of its leader.
struct Completion {
    shared: Arc<SharedBatch>,
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.shared.sharing().cut(&self.shared);
        self.shared.complete(Err(LookupError::Stopped));
        let sent = mem::take(&mut lock(&self.shared.state).sent);
        self.shared.sharing().waiting.fetch_sub(sent, Relaxed);
    }
}

/// A lookup of a few keys, in a batch with whoever else asks.
pub(super) struct SharedLookup {
    waiter: Waiter,
    leader: Option<Leader>,
}

impl SharedLookup {
    /// Joins a batch, or opens one. The keys [suit](Sharing::suits). [`answers`](Self::answers) is polled next, with that
    /// waker first.
    pub(super) fn join(
        session: &Arc<Session>,
        keys: &[Key],
        options: &LookupOptions,
        after: Duration,
        waker: &Waker,
    ) -> Self {
        let (waiter, leads) = Waiter::join(session, keys, options, after, waker);
        let leader = leads.then(|| {
            let shared = waiter.shared.clone();
            let completion = Completion { shared: shared.clone() };
            Leader { shared, leading: Some(Box::pin(lead(completion))) }
        });
        Self { waiter, leader }
    }

    /// The answers. A key that a truncated answer left out is "not asked".
    pub(super) async fn answers(&mut self) -> Result<Vec<Answer>, LookupError> {
        if let Some(leader) = self.leader.take() {
            leader.lead().await;
        }
        self.waiter.answers().await
    }

    /// Lets the runtime of the connection lead: for callers that are threads, which would only wake it for every step.
    pub(super) fn lead_elsewhere(&mut self) {
        if let Some(mut leader) = self.leader.take()
            && let Some(leading) = leader.leading.take()
        {
            leader.shared.sharing().runtime.spawn(leading);
        }
    }

    /// When the batch gives up.
    pub(super) fn deadline(&self) -> Instant {
        self.waiter.shared.deadline
    }

    /// The connection that was asked over.
    pub(super) fn session(&self) -> Arc<Session> {
        self.waiter.shared.session.clone()
    }
}

/// Sends a batch when it is its turn, and completes it.
async fn lead(completion: Completion) {
    let shared = &completion.shared;
    let answers = match time::timeout_at(shared.deadline, send(shared)).await {
        Ok(answers) => answers,
        Err(_) => Err(LookupError::Timeout { after: shared.after }),
    };
    shared.complete(answers);
}

async fn send(shared: &Arc<SharedBatch>) -> Result<Vec<Answer>, LookupError> {
    let (session, sharing) = (&shared.session, shared.sharing());
    if sharing.crowd.load(Relaxed) > 1 {
        yield_now().await;
    }
    let _slot = sharing.slots.acquire().await.map_err(|_| LookupError::Stopped)?;
    sharing.cut(shared);
    let (batch, sent) = {
        let mut state = lock(&shared.state);
        state.sent = state.callers;
        (mem::replace(&mut state.batch, Batch::new(shared.detail, shared.prefix)), state.sent)
    };
    let waiting = sharing.waiting.fetch_add(sent, Relaxed) + sent;
    // It grows at once and is forgotten by and by.
    let crowd = sharing.crowd.load(Relaxed);
    sharing.crowd.store(waiting.max(crowd - crowd.div_ceil(8)), Relaxed);
    let raw = ask(session, &batch.columns(), batch.asked_detail(), shared.deadline).await?;
    let mut answers = vec![Answer::not_asked(); batch.len()];
    // What a truncated answer leaves out stays "not asked", and its caller asks it again.
    place(&raw.view()?, &batch, &mut answers).map_err(|e| LookupError::Protocol(e.to_string()))?;
    Ok(answers)
}

/// Nothing that panics runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
