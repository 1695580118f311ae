//! The endpoints of a server: each accepts connections and serves them, on its own core if there are several.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::{
    runtime,
    sync::oneshot,
    task::JoinSet,
    time::{self},
};

use super::{ServerState, close_code, connection, report_panic};
use crate::{
    net::{
        reuseport,
        transport::{Profile, Socket, Transport},
    },
    wire::ErrorCode,
};

/// The workers of a server, one per endpoint.
pub(super) enum Workers {
    /// One worker, in the runtime of the caller.
    InRuntime(Worker),
    /// Several workers, each on its own thread.
    Threads(Vec<Thread>),
}

/// An endpoint that accepts connections and serves them.
pub(super) struct Worker {
    shared: Arc<ServerState>,
    endpoint: quinn::Endpoint,
}

/// A thread with a worker that waits for its start signal. The thread ends if this is dropped before.
pub(super) struct Thread {
    start: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Workers {
    /// Creates a worker for each socket. MUST be called within a Tokio runtime.
    ///
    /// Fails with an I/O error when an endpoint, a thread or its runtime cannot be created.
    pub(super) fn start(
        shared: &Arc<ServerState>,
        mut sockets: Vec<Socket>,
        transport: Transport,
        config: &quinn::ServerConfig,
    ) -> io::Result<Self> {
        let count = sockets.len();
        if count == 1
            && let Some(socket) = sockets.pop()
        {
            let endpoint = socket.endpoint(transport, Some(config.clone()), (0, 1))?;
            return Ok(Self::InRuntime(Worker { shared: shared.clone(), endpoint }));
        }
        let threads = sockets.into_iter().enumerate().map(|(number, socket)| {
            let (shared, config) = (shared.clone(), config.clone());
            Thread::spawn(number, move || {
                let endpoint = socket.endpoint(transport, Some(config), (number, count))?;
                Ok(Worker { shared, endpoint })
            })
        });
        threads.collect::<io::Result<_>>().map(Self::Threads)
    }

    /// Serves until the server shuts down and all batches are answered.
    pub(super) async fn run(self) {
        match self {
            Self::InRuntime(worker) => worker.run().await,
            Self::Threads(threads) => {
                let ended: Vec<_> = threads
                    .into_iter()
                    .map(|thread| {
                        let _ = thread.start.send(());
                        thread.ended
                    })
                    .collect();
                for ended in ended {
                    if ended.await.is_err() {
                        tracing::error!("a worker thread ended unexpectedly");
                    }
                }
            }
        }
    }
}

impl Thread {
    /// Starts a thread with its own runtime, and creates its worker there.
    fn spawn(number: usize, make: impl FnOnce() -> io::Result<Worker> + Send + 'static) -> io::Result<Self> {
        let (start, started) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (made, is_made) = std::sync::mpsc::channel();
        let work = move || {
            reuseport::pin_thread(number);
            let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(made.send(Err(error))),
            };
            runtime.block_on(async {
                match make() {
                    Ok(worker) => {
                        let _ = made.send(Ok(()));
                        if started.await.is_ok() {
                            worker.run().await;
                            let _ = end.send(());
                        }
                    }
                    Err(error) => drop(made.send(Err(error))),
                }
            });
        };
        thread::Builder::new().name(format!("ksn-server-{number}")).spawn(work)?;
        is_made.recv().map_err(|_| io::Error::other("a worker thread ended before it started"))??;
        Ok(Self { start, ended })
    }
}

impl Worker {
    async fn run(self) {
        let mut connections = JoinSet::new();
        let mut going_away = self.shared.going_away.subscribe();
        loop {
            tokio::select! {
                _ = going_away.wait_for(|going| *going) => break,
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit(incoming, &mut connections),
                    None => break,
                },
                Some(ended) = connections.join_next(), if !connections.is_empty() => drop(report_panic(ended)),
            }
        }
        self.endpoint.set_server_config(None);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if time::timeout(self.shared.config.grace, all_ended).await.is_err() {
            tracing::warn!("the grace period ended before the last batch was answered");
        }
        self.endpoint.close(close_code(ErrorCode::GoingAway), b"the server is shutting down");
        // Best effort: lets the close reach the clients.
        let _ = time::timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
    }

    fn admit(&self, incoming: quinn::Incoming, connections: &mut JoinSet<()>) {
        let is_loaded = self.shared.admission.total() >= self.shared.config.retry_above_connections;
        if is_loaded && !incoming.remote_address_validated() && incoming.may_retry() {
            let _ = incoming.retry();
            return;
        }
        let address = incoming.remote_address();
        let Some(permit) = self.shared.admission.admit(address.ip()) else {
            tracing::debug!(%address, "too many connections");
            incoming.refuse();
            return;
        };
        let shared = self.shared.clone();
        connections.spawn(async move {
            let _permit = permit;
            let accepted = match Profile::of(address.ip()) {
                Profile::Local => incoming.accept_with(shared.local.clone()),
                Profile::Near => incoming.accept_with(shared.near.clone()),
                Profile::Far => incoming.accept(),
            };
            let Ok(connecting) = accepted else { return };
            match time::timeout(shared.config.hello_deadline, connecting).await {
                Ok(Ok(connection)) => connection::serve(shared, connection).await,
                Ok(Err(error)) => tracing::debug!(%address, %error, "handshake failed"),
                Err(_) => tracing::debug!(%address, "handshake timed out"),
            }
        });
    }
}

/// The time for the last packets of a shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
