//! The pooled connections of a client, as its lookups see them.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::{
    sync::watch,
    time::{self, Instant},
};

use super::{
    config::ClientConfig,
    connector::{Connected, Connector},
    error::{ConnectError, LookupError},
    manager::Manager,
    session::ClientSession,
    status::{ConnectionState, Demand},
};

/// The connections to a server, each with its connection manager. The managers end when the pool is dropped.
pub(super) struct Pool {
    connections: Vec<PooledConnection>,
    /// Round-robin counter.
    next: AtomicUsize,
    /// Keeps `ended` open, and is cloned for each connection manager.
    running: Option<watch::Sender<()>>,
    ended: watch::Receiver<()>,
}

/// One connection of the pool.
pub(super) struct PooledConnection {
    pub(super) status: watch::Receiver<ConnectionState>,
    demand: Arc<Demand>,
}

impl Pool {
    /// Establishes all connections. Fails like [`Connector::connect`] when one of them cannot be established.
    pub(super) async fn connect(config: &ClientConfig) -> Result<Self, ConnectError> {
        let mut pool = Self::empty();
        for _ in 0..config.connections.max(1) {
            let connector = Connector::new(config.clone())?;
            let connected = connector.connect(&AtomicBool::new(false)).await?;
            pool.add(connector, Some(connected));
        }
        Ok(pool.complete())
    }

    /// Creates a pool whose connections are established when lookups want them. Fails with [`ConnectError`] when the
    /// configuration is invalid.
    pub(super) fn connect_lazy(config: &ClientConfig) -> Result<Self, ConnectError> {
        let mut pool = Self::empty();
        for _ in 0..config.connections.max(1) {
            pool.add(Connector::new(config.clone())?, None);
        }
        Ok(pool.complete())
    }

    fn empty() -> Self {
        let (running, ended) = watch::channel(());
        Self { connections: Vec::new(), next: AtomicUsize::new(0), running: Some(running), ended }
    }

    /// Adds a connection and spawns its manager.
    fn add(&mut self, connector: Connector, connected: Option<Connected>) {
        let (sender, status) = watch::channel(ConnectionState::default());
        let demand = Arc::new(Demand::default());
        let manager = Manager::new(connector, sender, demand.clone(), connected);
        let running = self.running.clone();
        tokio::spawn(async move {
            manager.run().await;
            drop(running);
        });
        self.connections.push(PooledConnection { status, demand });
    }

    fn complete(mut self) -> Self {
        self.running = None;
        self
    }

    /// Returns the next connection, round-robin.
    pub(super) fn next(&self) -> &PooledConnection {
        let pool = &self.connections;
        let turn = if pool.len() > 1 { self.next.fetch_add(1, Relaxed) } else { 0 };
        &pool[turn % pool.len()]
    }

    /// Returns the first connection.
    pub(super) fn first(&self) -> &PooledConnection {
        &self.connections[0]
    }

    /// Returns a receiver that is closed when all connection managers have ended.
    pub(super) fn ended(&self) -> watch::Receiver<()> {
        self.ended.clone()
    }
}

impl PooledConnection {
    /// Returns the established session, other than `broken`, or waits for one.
    ///
    /// Fails with [`LookupError::Connect`] when the server has been unreachable for longer than a restart takes (see
    /// [`schedule`](super::schedule)), or when the last attempt to connect has failed and the deadline is over. Does not
    /// complete after the deadline if no attempt has failed.
    pub(super) async fn session(
        &self,
        broken: Option<&Arc<ClientSession>>,
        deadline: Instant,
    ) -> Result<Arc<ClientSession>, LookupError> {
        let mut status = self.status.clone();
        {
            let now = status.borrow_and_update();
            if let Some(session) = usable(&now, broken) {
                return Ok(session);
            }
            if let Some(failure) = now.refusal(Instant::now()) {
                self.demand.request();
                return Err(failure.into());
            }
        }
        let _waiting = self.demand.wait();
        loop {
            match time::timeout_at(deadline, status.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(LookupError::Stopped),
                Err(_) => {
                    let failure = status.borrow().failure.clone();
                    return match failure {
                        Some(failure) => Err(failure.into()),
                        None => pending().await,
                    };
                }
            }
            let now = status.borrow_and_update();
            if let Some(session) = usable(&now, broken) {
                return Ok(session);
            }
            if let Some(failure) = now.refusal(Instant::now()) {
                return Err(failure.into());
            }
        }
    }
}

/// Returns the session unless it is the broken one or closed.
fn usable(status: &ConnectionState, broken: Option<&Arc<ClientSession>>) -> Option<Arc<ClientSession>> {
    let session = status.coalescer.as_ref()?.session();
    let is_broken = broken.is_some_and(|broken| Arc::ptr_eq(broken, session));
    (!is_broken && session.connection.close_reason().is_none()).then(|| session.clone())
}
