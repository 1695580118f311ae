//! What a connection manager and the lookups tell one another: the state of the connection, and whether one is wanted.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::{sync::Notify, time::Instant};

use super::{coalescer::Coalescer, error::ConnectError, session::ClientSession};
use crate::wire::Welcome;

/// The state of a connection, as its manager publishes it to the handles.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionState {
    /// The open batches of the established connection, if there is one.
    pub(super) coalescer: Option<Arc<Coalescer<ClientSession>>>,
    /// The last welcome, updated with the generation of the last notice; `None` before the first connection.
    pub(super) welcome: Option<Arc<Welcome>>,
    /// The error of the last attempt to connect; `None` once one has succeeded.
    pub(super) failure: Option<Arc<ConnectError>>,
    /// The time until which lookups fail at once, that of the next attempt; `None` while they wait for a connection.
    pub(super) fails_until: Option<Instant>,
}

impl ConnectionState {
    /// Returns the error with which a lookup fails that needs a connection now; `None` if it should wait for one.
    pub(super) fn refusal(&self, now: Instant) -> Option<Arc<ConnectError>> {
        self.failure.clone().filter(|_| self.fails_until.is_some_and(|until| now < until))
    }
}

/// The lookups that wait for a connection.
#[derive(Debug, Default)]
pub(super) struct Demand {
    waiting: AtomicUsize,
    wanted: Notify,
}

/// A lookup that waits for a connection, until it is dropped.
pub(super) struct Waiting<'a>(&'a Demand);

impl Demand {
    /// Counts a lookup that waits.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, SeqCst);
        self.wanted.notify_one();
        Waiting(self)
    }

    /// Makes the manager attempt once to connect, for later lookups.
    pub(super) fn request(&self) {
        self.wanted.notify_one();
    }

    /// Returns whether lookups wait.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(SeqCst) > 0
    }

    /// Completes when a connection is wanted.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}
