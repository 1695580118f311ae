//! The endpoints of a server: each accepts connections and serves them, on its own core if there are several.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::{
    runtime,
    sync::oneshot,
    task::JoinSet,
    time::{self, Instant},
};

use super::{
    admission::{ConnectionPermit, Exceeded, HandshakePermit},
    config::ServerConfig,
    connection::{self, report_panic},
    counts::Event,
    handshakes::Handshakes,
    reply::close_code,
    state::ServerState,
    turns::Turns,
};
use crate::{
    net::{
        reuseport,
        secret::EndpointKeys,
        tls::has_no_common_protocol,
        transport::{Socket, Transport},
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
    turns: Arc<Turns>,
    handshakes: Arc<Handshakes>,
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
        keys: &EndpointKeys,
    ) -> io::Result<Self> {
        let count = sockets.len();
        if count == 1
            && let Some(socket) = sockets.pop()
        {
            let endpoint = socket.endpoint(transport, keys.endpoint_config(0, 1), Some(config.clone()))?;
            return Ok(Self::InRuntime(Worker::new(shared.clone(), endpoint)));
        }
        let threads = sockets.into_iter().enumerate().map(|(number, socket)| {
            let (shared, config, endpoint) = (shared.clone(), config.clone(), keys.endpoint_config(number, count));
            Thread::spawn(number, move || {
                let endpoint = socket.endpoint(transport, endpoint, Some(config))?;
                Ok(Worker::new(shared, endpoint))
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
            let runtime = match runtime::Builder::new_current_thread()
                .event_interval(ServerConfig::EVENT_INTERVAL)
                .enable_all()
                .build()
            {
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
    fn new(shared: Arc<ServerState>, endpoint: quinn::Endpoint) -> Self {
        Self { shared, endpoint, turns: Arc::default(), handshakes: Arc::default() }
    }

    /// Serves until the server shuts down. From then on connections are refused: a client learns at once that it has to
    /// look elsewhere, instead of waiting for its timeout.
    async fn run(self) {
        let mut connections = JoinSet::new();
        let mut going_away = self.shared.going_away.subscribe();
        let mut is_leaving = false;
        let grace_ends = time::sleep(Duration::MAX);
        tokio::pin!(grace_ends);
        while !(is_leaving && connections.is_empty()) {
            tokio::select! {
                _ = going_away.wait_for(|going| *going), if !is_leaving => {
                    is_leaving = true;
                    grace_ends.as_mut().reset(Instant::now() + self.shared.config.grace);
                }
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) if is_leaving => self.refuse(incoming, Event::RefusedLeaving),
                    Some(incoming) => self.admit(incoming, &mut connections),
                    None => break,
                },
                Some(ended) = connections.join_next(), if !connections.is_empty() => drop(report_panic(ended)),
                () = &mut grace_ends, if is_leaving => {
                    tracing::warn!("the grace period ended before the last batch was answered");
                    break;
                }
            }
        }
        self.endpoint.close(close_code(ErrorCode::GoingAway), b"the server is shutting down");
        // Best effort: lets the close reach the clients.
        let _ = time::timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
    }

    fn refuse(&self, incoming: quinn::Incoming, event: Event) {
        self.shared.counts.add(event);
        incoming.refuse();
    }

    fn admit(&self, incoming: quinn::Incoming, connections: &mut JoinSet<()>) {
        let (address, admission) = (incoming.remote_address(), &self.shared.admission);
        let permits = match admission.check(address.ip()) {
            Err(exceeded) => return self.refuse(incoming, exceeded.into()),
            Ok(()) if incoming.remote_address_validated() => match admission.admit(address.ip()) {
                Ok(permit) => Permits::Connection(permit),
                Err(exceeded) => return self.refuse(incoming, exceeded.into()),
            },
            Ok(()) => match admission.begin_handshake() {
                Some(permit) => Permits::Handshake(permit),
                None => {
                    self.shared.counts.add(Event::Retry);
                    // An address that is not validated may always be asked to retry.
                    let _ = incoming.retry();
                    return;
                }
            },
        };
        let (shared, turns, handshakes) = (self.shared.clone(), self.turns.clone(), self.handshakes.clone());
        connections.spawn(connect(shared, turns, handshakes, incoming, permits));
    }
}

/// What a connection is counted as while its handshake runs.
enum Permits {
    /// The address is validated.
    Connection(ConnectionPermit),
    /// The address is not validated yet: the handshake does that.
    Handshake(HandshakePermit),
}

/// Completes a handshake and serves the connection.
async fn connect(
    shared: Arc<ServerState>,
    turns: Arc<Turns>,
    handshakes: Arc<Handshakes>,
    incoming: quinn::Incoming,
    permits: Permits,
) {
    let address = incoming.remote_address();
    let settings = shared.settings(address.ip());
    let connected = time::timeout(shared.config.hello_deadline, handshakes.complete(incoming, settings));
    let connection = match connected.await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "handshake failed");
            let is_protocol = has_no_common_protocol(&error);
            return shared.counts.add(if is_protocol { Event::WrongProtocol } else { Event::HandshakeFailed });
        }
        Err(_) => {
            tracing::debug!(%address, "handshake timed out");
            return shared.counts.add(Event::HandshakeTimeout);
        }
    };
    let admitted = match permits {
        Permits::Connection(permit) => Ok(permit),
        Permits::Handshake(permit) => {
            // The handshake has validated the address.
            drop(permit);
            shared.admission.admit(address.ip())
        }
    };
    match admitted {
        Ok(_permit) => connection::serve(shared, turns, connection).await,
        Err(exceeded) => {
            shared.counts.add(exceeded.into());
            connection.close(close_code(ErrorCode::Overloaded), b"too many connections");
        }
    }
}

impl From<Exceeded> for Event {
    fn from(exceeded: Exceeded) -> Self {
        match exceeded {
            Exceeded::Total => Self::RefusedTotal,
            Exceeded::Address => Self::RefusedAddress,
        }
    }
}

/// The time for the last packets of a shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
