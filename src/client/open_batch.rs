//! A batch that several callers share, and each caller's part of it.

use std::{
    future::poll_fn,
    mem,
    ops::Range,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    batch_size::BatchSize,
    error::LookupError,
    key_batch::KeyBatch,
    sync::{Mutex, lock},
};
use crate::{
    answer::Answer,
    batch::Detail,
    key::{Key, PrefixWidth},
    wire::ServerLimits,
};

/// What all callers of a batch have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchOptions {
    pub(super) detail: Detail,
    pub(super) prefix: Option<PrefixWidth>,
    /// The timeout that the deadline is computed from.
    pub(super) after: Duration,
}

/// A batch of several callers, from its first key to its answer. Callers can join it until it is sealed.
#[derive(Debug)]
pub(super) struct OpenBatch<S> {
    /// The session that the batch is sent over.
    pub(super) session: Arc<S>,
    pub(super) options: BatchOptions,
    /// The deadline of the first caller, which applies to all callers.
    pub(super) deadline: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The keys, until the batch is sent.
    batch: KeyBatch,
    /// The size of all keys.
    size: BatchSize,
    /// The wakers of the callers, in the order in which they joined; `None` for a dropped caller, and for the leader
    /// while it runs the batch.
    wakers: Vec<Option<Waker>>,
    /// Callers that have not been dropped.
    callers: usize,
    /// The answers, in the order of the keys in the batch; each is moved out by its caller.
    answers: Option<Result<Vec<Answer>, LookupError>>,
}

impl<S> OpenBatch<S> {
    /// Creates a batch with its first caller, the leader.
    pub(super) fn open(session: Arc<S>, options: BatchOptions, keys: &[Key], size: BatchSize) -> Waiter<S> {
        let batch = KeyBatch::new(options.detail, options.prefix);
        let state = State { batch, size: BatchSize::default(), wakers: Vec::new(), callers: 0, answers: None };
        let deadline = Instant::now() + options.after;
        let shared = Arc::new(Self { session, options, deadline, state: Mutex::new(state) });
        let (number, range) = lock(&shared.state).add(keys, size, None);
        Waiter { shared, number, keys: range, stage: Stage::Waiting }
    }

    /// Adds a caller, which is woken through `waker`. Returns `None` if the batch has no room for it.
    pub(super) fn join(
        self: &Arc<Self>,
        keys: &[Key],
        size: BatchSize,
        waker: &Waker,
        callers_max: usize,
        limits: &ServerLimits,
    ) -> Option<Waiter<S>> {
        let mut state = lock(&self.state);
        if state.wakers.len() >= callers_max || !(state.size + size).is_within(limits) {
            return None;
        }
        let (number, keys) = state.add(keys, size, Some(waker.clone()));
        Some(Waiter { shared: self.clone(), number, keys, stage: Stage::Joined })
    }

    /// Returns the number of callers that have not been dropped.
    pub(super) fn callers(&self) -> usize {
        lock(&self.state).callers
    }

    /// Takes the keys out, to send them, and returns them with the number of callers. The batch MUST be sealed.
    pub(super) fn take(&self) -> (KeyBatch, usize) {
        let mut state = lock(&self.state);
        let empty = KeyBatch::new(self.options.detail, self.options.prefix);
        (mem::replace(&mut state.batch, empty), state.callers)
    }

    /// Sets the answers and wakes all callers. The batch MUST be sealed.
    pub(super) fn complete(&self, answers: Result<Vec<Answer>, LookupError>) {
        let mut state = lock(&self.state);
        state.answers = Some(answers);
        let wakers = mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl State {
    /// Adds a caller. Returns its number and the range of its keys.
    fn add(&mut self, keys: &[Key], size: BatchSize, waker: Option<Waker>) -> (usize, Range<usize>) {
        let (number, first) = (self.wakers.len(), self.batch.len());
        for (at, key) in (first as u32..).zip(keys) {
            self.batch.push(at, key);
        }
        self.size = self.size + size;
        self.wakers.push(waker);
        self.callers += 1;
        (number, first..first + keys.len())
    }
}

/// One caller of a batch and the range of its keys.
pub(super) struct Waiter<S> {
    pub(super) shared: Arc<OpenBatch<S>>,
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

impl<S> Waiter<S> {
    /// Waits for the answers. The first poll is the one that joined, so its waker is already registered.
    pub(super) async fn answers(&mut self) -> Result<Vec<Answer>, LookupError> {
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

impl<S> Drop for Waiter<S> {
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
