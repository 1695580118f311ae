//! The client: looks up keys on a server, over pooled connections that reconnect by themselves.
//!
//! Each connection has a connection manager, a task that owns its endpoint: it connects, reads notices, and reconnects
//! on demand after a loss, or beside a connection that does not respond. Handles are cheap to clone and observe the
//! connection state through a watch channel. A lookup itself runs in the task of its caller: there is no hop through the
//! manager, and dropping a lookup cancels it. Small lookups share batches and streams (see [`coalescer`]), large ones use
//! their own.
//!
//! Files use one another in one direction, which a test enforces:
//!
//! ```text
//!  blocking ─▶ Client ─┬─▶ pool ─▶ manager ─▶ connector ────────────────┐   makes connections
//!                      │      │      │                                  ▼
//!                      │      └──────┴─▶ status                      session
//!                      ├─▶ coalescer ─┬─▶ batch_sender ─┬─▶ exchange ───▲   small lookups share batches
//!                      │              └─▶ open_batch    │               │
//!                      └─▶ lookup ────┬─────────────────┼─▶ exchange ───┘   large lookups use their own
//!                                     └─▶ batcher       └─▶ match_answers
//! ```
//!
//! `open_batch`, `batcher` and `match_answers` are about the keys of a batch (`key_batch`) and their size
//! (`batch_size`); `schedule` and `activity` tell the manager when to dial. All may use the errors and the settings, which
//! use no other file.

mod activity;
mod batch_sender;
mod batch_size;
mod batcher;
mod blocking;
mod coalescer;
mod config;
mod connector;
mod error;
mod exchange;
mod in_flight;
mod key_batch;
mod lookup;
mod manager;
mod match_answers;
mod open_batch;
mod pool;
mod refusal_probe;
mod schedule;
mod session;
mod status;
mod sync;

use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Poll, Waker},
    time::Duration,
};

use tokio::time::{self, Instant};

pub use self::{
    blocking::BlockingClient,
    config::{ClientConfig, LookupOptions, Trust},
    error::{ConnectError, LookupError},
    exchange::RawAnswer,
};
use self::{
    coalescer::SharedLookup,
    key_batch::KeyBatch,
    pool::{Pool, PooledConnection},
    session::ClientSession,
    status::ConnectionState,
};
use crate::{
    answer::{self, Answer},
    batch::Column,
    key::{Key, KeyKind},
    wire::Welcome,
};

/// A handle to the pooled connections to a server. Clones share the connections, which close when the last clone is
/// dropped.
#[derive(Clone)]
pub struct Client {
    shared: Arc<ClientState>,
}

struct ClientState {
    config: ClientConfig,
    pool: Pool,
    /// The kinds of keys for which the missing records were already reported, one bit each.
    warned: AtomicU32,
}

impl Client {
    /// Connects to a server. The Tokio runtime of the caller also runs the connection managers.
    ///
    /// Fails with [`ConnectError`] when any of the connections cannot be established: at once with
    /// [`ConnectError::Unreachable`] if the system knows that no server listens there, else after
    /// [`ClientConfig::connect_timeout`].
    pub async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        let pool = Pool::connect(&config).await?;
        Ok(Self::new(config, pool))
    }

    /// Creates a client without waiting for its server, which need not run yet: the first lookup connects, like one after
    /// a loss of the connection. The Tokio runtime of the caller also runs the connection managers.
    ///
    /// Fails with [`ConnectError`] when the configuration is invalid: the file of CA certificates, or an address without
    /// a port. Whether the server is the right one is known when it is connected to.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime.
    pub fn connect_lazy(config: ClientConfig) -> Result<Self, ConnectError> {
        let pool = Pool::connect_lazy(&config)?;
        Ok(Self::new(config, pool))
    }

    fn new(config: ClientConfig, pool: Pool) -> Self {
        Self { shared: Arc::new(ClientState { config, pool, warned: AtomicU32::new(0) }) }
    }

    /// Drops the handle and waits until the connections are closed and the close was sent to the server, without waiting
    /// for a round trip. They close after the last handle is dropped.
    ///
    /// Dropping the last handle closes them too, but in the background: the server is not notified if the runtime ends
    /// at once.
    pub async fn close(self) {
        let mut ended = self.shared.pool.ended();
        drop(self);
        // Nothing is ever sent: this returns when the channel closes.
        let _ = ended.changed().await;
    }

    /// Returns the welcome of the server from the last handshake, updated with the generation of the last notice; `None`
    /// before the first connection, which only [`Self::connect_lazy`] leaves to the first lookup.
    pub fn welcome(&self) -> Option<Arc<Welcome>> {
        self.shared.pool.first().status.borrow().welcome.clone()
    }

    /// Returns the answer to each key, with the winning record, in the order of the keys.
    pub async fn lookup(&self, keys: &[Key]) -> Result<Vec<Answer>, LookupError> {
        self.lookup_with(keys, &LookupOptions::default()).await
    }

    /// Returns the answer to each key, in the order of the keys.
    ///
    /// Keys are sent in as many batches as the limits of the server require; small lookups share a batch with
    /// concurrent ones. If the connection is lost meanwhile, all keys are retried once over a new one. While there is
    /// none, the lookup waits for it, for as long as a server takes to restart; see [`LookupError::Connect`]. Dropping
    /// the future cancels the lookup.
    pub async fn lookup_with(&self, keys: &[Key], options: &LookupOptions) -> Result<Vec<Answer>, LookupError> {
        self.lookup_with_leader(keys, options, |_| {}).await
    }

    /// Runs a lookup. Calls `on_join` with the shared lookup after it joined a batch, to choose where its leader runs.
    async fn lookup_with_leader(
        &self,
        keys: &[Key],
        options: &LookupOptions,
        on_join: impl FnOnce(&mut SharedLookup<ClientSession>),
    ) -> Result<Vec<Answer>, LookupError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let after = options.timeout.unwrap_or(self.shared.config.lookup_timeout);
        let (pooled, mut broken, mut deadline) = (self.shared.pool.next(), None, None);
        let joined = poll_fn(|context| Poll::Ready(self.join(pooled, keys, options, after, context.waker()))).await;
        if let Some(mut lookup) = joined {
            on_join(&mut lookup);
            match lookup.answers().await {
                Err(error) if error.is_loss() => broken = Some(lookup.session()),
                // The keys that a truncated answer left out are retried in separate batches.
                Ok(answers) if answers.iter().any(|answer| answer.status == answer::Status::NotAsked) => {}
                result => return result,
            }
            deadline = Some(lookup.deadline());
        }
        let deadline = deadline.unwrap_or_else(|| Instant::now() + after);
        // Boxed, so that the futures of the many small lookups do not contain the state of the few large ones.
        Box::pin(self.lookup_unshared(pooled, keys, options, broken, (after, deadline))).await
    }

    /// Adds keys to a shared batch; `None` if there is no connection or the keys are too many.
    fn join(
        &self,
        pooled: &PooledConnection,
        keys: &[Key],
        options: &LookupOptions,
        after: Duration,
        waker: &Waker,
    ) -> Option<SharedLookup<ClientSession>> {
        let status = pooled.status.borrow();
        let lookup = SharedLookup::join(status.coalescer.as_ref()?, keys, options, after, waker)?;
        keys.iter().for_each(|key| self.warn_if_unsupported(key.kind(), &status));
        Some(lookup)
    }

    /// Looks up keys in separate batches. `broken` is the connection that failed, if this is a retry.
    async fn lookup_unshared(
        &self,
        pooled: &PooledConnection,
        keys: &[Key],
        options: &LookupOptions,
        mut broken: Option<Arc<ClientSession>>,
        (after, deadline): (Duration, Instant),
    ) -> Result<Vec<Answer>, LookupError> {
        let lookup_all = async {
            loop {
                let session = pooled.session(broken.as_ref(), deadline).await?;
                let warn = |batch: &KeyBatch| {
                    batch.kinds().for_each(|kind| self.warn_if_unsupported(kind, &pooled.status.borrow()));
                };
                match lookup::ask_all(&session, keys, options, deadline, warn).await {
                    Err(error) if error.is_loss() && broken.is_none() => broken = Some(session),
                    result => return result,
                }
            }
        };
        time::timeout_at(deadline, lookup_all).await.unwrap_or(Err(LookupError::Timeout { after }))
    }

    /// Sends one batch of columns and returns the answer frame, for callers that have keys in columns and read the
    /// frame themselves. The batch MUST be within the limits of the [welcome](Self::welcome), and the caller MUST retry
    /// the rows that a truncated answer left out.
    pub async fn exchange(&self, columns: &[Column<'_>], options: &LookupOptions) -> Result<RawAnswer, LookupError> {
        let (after, deadline) = self.deadline(options);
        let pooled = self.shared.pool.next();
        let exchange = async {
            let mut broken = None;
            loop {
                let session = pooled.session(broken.as_ref(), deadline).await?;
                match exchange::ask(&session, columns, options.detail, deadline).await {
                    Err(error) if error.is_loss() && broken.is_none() => broken = Some(session),
                    result => return result,
                }
            }
        };
        time::timeout_at(deadline, exchange).await.unwrap_or(Err(LookupError::Timeout { after }))
    }

    /// Returns the timeout of a lookup and its deadline.
    fn deadline(&self, options: &LookupOptions) -> (Duration, Instant) {
        let after = options.timeout.unwrap_or(self.shared.config.lookup_timeout);
        (after, Instant::now() + after)
    }

    /// Warns, once per kind of key, if the server has no records of that kind: all its keys will be unknown.
    fn warn_if_unsupported(&self, kind: KeyKind, status: &ConnectionState) {
        let bit = 1 << kind.number();
        let is_listed = status.welcome.as_ref().is_none_or(|welcome| welcome.records(kind) > 0);
        if self.shared.warned.load(Relaxed) & bit != 0 || is_listed {
            return;
        }
        if self.shared.warned.fetch_or(bit, Relaxed) & bit == 0 {
            tracing::warn!(%kind, "the server has no records of this kind of key: all will be unknown");
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.shared.config.server).finish_non_exhaustive()
    }
}
