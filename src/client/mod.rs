//! The client: keys in, answers out, over connections that look after themselves.
//!
//! One task owns an endpoint and its connection: it connects, listens for notices, and reconnects when keys are asked
//! for after a loss. Handles are cheap to clone and see its state through a watch channel. A lookup itself runs in the
//! task of its caller: there is no hop through the driver, and dropping a lookup cancels it. Small lookups share batches
//! and streams (see [`share`]), large ones have their own.

mod blocking;
mod config;
mod driver;
mod error;
mod lookup;
mod place;
mod plan;
mod share;

use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{self, Instant},
};

pub use self::{
    blocking::BlockingClient,
    config::{ClientConfig, LookupOptions, Trust},
    error::{ConnectError, LookupError},
    lookup::RawAnswer,
};
use self::{
    driver::{Connector, Session, Status},
    plan::Batch,
    share::SharedLookup,
};
use crate::{
    answer::{self, Answer},
    batch::Column,
    key::{Key, KeyKind},
    wire::Welcome,
};

/// A handle to the connections with a server. Clones share them; they close with the last of them.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    config: ClientConfig,
    lanes: Vec<Lane>,
    /// Closed when the tasks that look after the connections have ended.
    ended: watch::Receiver<()>,
    /// Whose turn it is.
    next_lane: AtomicUsize,
    /// The kinds of which it was said that the server has none, a bit each.
    warned: AtomicU32,
}

/// What handles have of one connection and the task that looks after it.
struct Lane {
    status: watch::Receiver<Status>,
    demand: Arc<Notify>,
}

impl Client {
    /// Connects on the Tokio runtime of the caller, which also runs the tasks that look after the connections.
    pub async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        let mut lanes = Vec::new();
        let (running, ended) = watch::channel(());
        for _ in 0..config.connections.max(1) {
            let mut connector = Connector::new(config.clone())?;
            let (session, welcome, control) = connector.connect().await?;
            let (sender, status) = watch::channel(Status {
                session: Some(Arc::new(session)),
                welcome: Arc::new(welcome),
                attempts: 1,
                failure: None,
                retry_at: Instant::now(),
            });
            let demand = Arc::new(Notify::new());
            let (driving, running) = (driver::drive(connector, control, sender, demand.clone()), running.clone());
            tokio::spawn(async move {
                driving.await;
                drop(running);
            });
            lanes.push(Lane { status, demand });
        }
        let (next_lane, warned) = (AtomicUsize::new(0), AtomicU32::new(0));
        let shared = Shared { config, lanes, ended, next_lane, warned };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Waits until the connections are closed, which happens behind the last handle, and the server knows of it.
    ///
    /// Dropping the last handle closes them too, but in the background: the server does not hear of it if the runtime
    /// ends at once.
    pub async fn close(self) {
        let mut ended = self.shared.ended.clone();
        drop(self);
        // Nothing is ever sent.
        let _ = ended.changed().await;
    }

    /// Connects on a thread of its own, for programs without a runtime.
    pub fn spawn(config: ClientConfig) -> Result<BlockingClient, ConnectError> {
        BlockingClient::spawn(config)
    }

    /// What the server said of itself when the connection was made, with the generation of its last notice.
    pub fn welcome(&self) -> Arc<Welcome> {
        self.shared.lanes[0].status.borrow().welcome.clone()
    }

    /// The records that win for each key, in the order of the keys.
    pub async fn lookup(&self, keys: &[Key]) -> Result<Vec<Answer>, LookupError> {
        self.lookup_with(keys, &LookupOptions::default()).await
    }

    /// What is known of each key, in the order of the keys.
    ///
    /// Keys go to the server in as many batches as its limits demand; a few keys share a batch with whatever else is
    /// being asked at the moment. Should the connection break meanwhile, all of them are asked once more over a new one.
    /// Dropping the future cancels the lookup.
    pub async fn lookup_with(&self, keys: &[Key], options: &LookupOptions) -> Result<Vec<Answer>, LookupError> {
        self.lookup_led(keys, options, |_| {}).await
    }

    /// The same, with a say in who leads a shared batch.
    async fn lookup_led(
        &self,
        keys: &[Key],
        options: &LookupOptions,
        lead: impl FnOnce(&mut SharedLookup),
    ) -> Result<Vec<Answer>, LookupError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let after = options.timeout.unwrap_or(self.shared.config.lookup_timeout);
        let (lane, mut broken, mut deadline) = (self.lane(), None, None);
        let joined = poll_fn(|context| Poll::Ready(self.join(lane, keys, options, after, context.waker()))).await;
        if let Some(mut lookup) = joined {
            lead(&mut lookup);
            match lookup.answers().await {
                Err(error) if error.is_loss() => broken = Some(lookup.session()),
                // The rest of a truncated answer is asked again, in batches of its own.
                Ok(answers) if answers.iter().any(|answer| answer.status == answer::Status::NotAsked) => {}
                result => return result,
            }
            deadline = Some(lookup.deadline());
        }
        let deadline = deadline.unwrap_or_else(|| Instant::now() + after);
        // In a box, so that the many small lookups do not carry the state of the few large ones.
        Box::pin(self.lookup_alone(lane, keys, options, broken, (after, deadline))).await
    }

    /// Adds keys to a batch that others share, if there is a connection and the keys suit.
    fn join(
        &self,
        lane: &Lane,
        keys: &[Key],
        options: &LookupOptions,
        after: Duration,
        waker: &Waker,
    ) -> Option<SharedLookup> {
        let status = lane.status.borrow();
        let session = status.session.as_ref().filter(|session| session.sharing.suits(keys, options.prefix))?;
        keys.iter().for_each(|key| self.warn_of(key.kind(), &status));
        Some(SharedLookup::join(session, keys, options, after, waker))
    }

    /// Asks keys in batches of their own. `broken` is the connection that they have been asked over in vain.
    async fn lookup_alone(
        &self,
        lane: &Lane,
        keys: &[Key],
        options: &LookupOptions,
        mut broken: Option<Arc<Session>>,
        (after, deadline): (Duration, Instant),
    ) -> Result<Vec<Answer>, LookupError> {
        let asking = async {
            loop {
                let session = lane.session(broken.as_ref(), deadline).await?;
                let warn = |batch: &Batch| batch.kinds().for_each(|kind| self.warn_of(kind, &lane.status.borrow()));
                match lookup::ask_all(&session, keys, options, deadline, warn).await {
                    Err(error) if error.is_loss() && broken.is_none() => broken = Some(session),
                    result => return result,
                }
            }
        };
        time::timeout_at(deadline, asking).await.unwrap_or(Err(LookupError::Timeout { after }))
    }

    /// Asks one batch, given as columns, and hands over the frame: for callers that have keys in columns and want no
    /// answer taken apart. The batch must keep to the limits of the [welcome](Self::welcome), and what a truncated
    /// answer left out is for the caller to ask again.
    pub async fn exchange(&self, columns: &[Column<'_>], options: &LookupOptions) -> Result<RawAnswer, LookupError> {
        let (after, deadline) = self.deadline(options);
        let lane = self.lane();
        let asking = async {
            let mut broken = None;
            loop {
                let session = lane.session(broken.as_ref(), deadline).await?;
                match lookup::ask(&session, columns, options.detail, deadline).await {
                    Err(error) if error.is_loss() && broken.is_none() => broken = Some(session),
                    result => return result,
                }
            }
        };
        time::timeout_at(deadline, asking).await.unwrap_or(Err(LookupError::Timeout { after }))
    }

    /// How long a lookup may take, and until when.
    fn deadline(&self, options: &LookupOptions) -> (Duration, Instant) {
        let after = options.timeout.unwrap_or(self.shared.config.lookup_timeout);
        (after, Instant::now() + after)
    }

    /// The connection whose turn it is.
    fn lane(&self) -> &Lane {
        let lanes = &self.shared.lanes;
        let turn = if lanes.len() > 1 { self.shared.next_lane.fetch_add(1, Relaxed) } else { 0 };
        &lanes[turn % lanes.len()]
    }

    /// Says once for every kind that the server has no record of it: all its keys will be unknown.
    fn warn_of(&self, kind: KeyKind, status: &Status) {
        let bit = 1 << kind.number();
        if self.shared.warned.load(Relaxed) & bit != 0 || status.welcome.records(kind) > 0 {
            return;
        }
        if self.shared.warned.fetch_or(bit, Relaxed) & bit == 0 {
            tracing::warn!(%kind, "the server has no records of this kind of key: all will be unknown");
        }
    }
}

impl Lane {
    /// The connection, made anew if need be; not the one that was found broken.
    async fn session(&self, broken: Option<&Arc<Session>>, deadline: Instant) -> Result<Arc<Session>, LookupError> {
        let mut status = self.status.clone();
        let attempts = {
            let now = status.borrow_and_update();
            if let Some(session) = usable(&now, broken) {
                return Ok(session);
            }
            // While the server stays away, lookups fail at once rather than wait in line.
            if let Some(failure) = now.failure.clone().filter(|_| now.retry_at > deadline) {
                return Err(failure.into());
            }
            now.attempts
        };
        self.demand.notify_one();
        loop {
            status.changed().await.map_err(|_| LookupError::Stopped)?;
            let now = status.borrow_and_update();
            if let Some(session) = usable(&now, broken) {
                return Ok(session);
            }
            if let Some(failure) = now.failure.clone().filter(|_| now.attempts > attempts) {
                return Err(failure.into());
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.shared.config.server).finish_non_exhaustive()
    }
}

fn usable(status: &Status, broken: Option<&Arc<Session>>) -> Option<Arc<Session>> {
    let session = status.session.as_ref()?;
    let is_broken = broken.is_some_and(|broken| Arc::ptr_eq(broken, session));
    (!is_broken && session.connection.close_reason().is_none()).then(|| session.clone())
}
