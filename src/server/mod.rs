//! The server: answers batches over QUIC from an index that is swapped under it.
//!
//! ```text
//! socket ─admission─▶ connection ─hello─▶ streams ─batch─▶ engine ─▶ answer
//! ```
//!
//! Nothing a peer sends makes the server wait without a deadline, allocate without a bound, or harm another
//! connection: a stream fails alone with a numbered error, a connection ends alone with a numbered code.

mod admission;
mod batch;
mod config;
mod connection;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use quinn::VarInt;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

use self::admission::Admission;
pub use self::config::{Certificate, ServerConfig};
use crate::{
    engine::Index,
    net::{
        Pin, TlsError,
        exchange::FrameBudget,
        tls::{self, Identity},
        transport::{Profile, Socket},
    },
    wire::{AnswerCaps, AnswerWriter, ErrorCode},
};

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The socket.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A server that listens. It answers once [`run`](Self::run) is polled.
pub struct Server {
    endpoint: quinn::Endpoint,
    /// Settings for near peers; the endpoint has those for far ones.
    near: Arc<quinn::ServerConfig>,
    shared: Arc<Shared>,
    local: SocketAddr,
    pin: Pin,
}

/// What all connections share.
pub(crate) struct Shared {
    config: ServerConfig,
    index: Arc<Index>,
    admission: Arc<Admission>,
    /// Memory for bodies that arrive.
    frames: FrameBudget,
    /// KiB of windows beyond those before the hello.
    windows: Arc<Semaphore>,
    /// What a connection has of them.
    window_bytes: u32,
    writers: Mutex<Vec<AnswerWriter>>,
    generation: watch::Sender<u64>,
    going_away: watch::Sender<bool>,
}

impl Server {
    /// Listens. To be called within a Tokio runtime, the one that is to do the work.
    pub fn bind(config: ServerConfig, index: Arc<Index>) -> Result<Self, ServerError> {
        let config = config.clamped();
        let identity = match &config.certificate {
            Certificate::Files { chain, key } => Identity::from_files(chain, key)?,
            Certificate::SelfSigned { state } => Identity::kept_in(state)?,
        };
        let pin = identity.pin();
        let listen = |source| ServerError::Listen { address: config.listen, source };
        let socket = Socket::bind(config.listen).map_err(listen)?;
        let local = socket.local_addr().map_err(listen)?;
        let transport = socket.transport(config.packet_bytes_max);
        let mut far = quinn::ServerConfig::with_crypto(Arc::new(tls::server_config(identity)?));
        // A client that moves opens a new connection; a peer cannot make the server send elsewhere.
        far.transport_config(Arc::new(transport.server(Profile::Far))).migration(false);
        let mut near = far.clone();
        near.transport_config(Arc::new(transport.server(Profile::Near)));
        let endpoint = socket.endpoint(transport, Some(far)).map_err(listen)?;
        let shared = Shared {
            admission: Arc::new(Admission::new(config.connections, config.connections_per_address)),
            frames: FrameBudget::new(config.frame_bytes),
            windows: Arc::new(Semaphore::new(config.window_bytes >> 10)),
            writers: Mutex::default(),
            generation: watch::Sender::new(index.view().generation()),
            going_away: watch::Sender::new(false),
            window_bytes: transport.window_bytes,
            index,
            config,
        };
        Ok(Self { endpoint, near: Arc::new(near), shared: Arc::new(shared), local, pin })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The pin of its certificate, for clients.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// Answers until `shutdown` is ready; then takes no more connections, tells the clients, answers the batches that
    /// are on their way, at most for the grace time, and closes.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let mut ticks = time::interval(GENERATION_POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit(incoming, &mut connections),
                    None => break,
                },
                Some(ended) = connections.join_next(), if !connections.is_empty() => drop(report_panic(ended)),
                _ = ticks.tick() => self.watch_generation(),
            }
        }
        tracing::info!(connections = connections.len(), "going away");
        self.endpoint.set_server_config(None);
        self.shared.going_away.send_replace(true);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if time::timeout(self.shared.config.grace, all_ended).await.is_err() {
            tracing::warn!("the grace time ended before the last batch");
        }
        self.endpoint.close(close_code(ErrorCode::GoingAway), b"the server shuts down");
        // For the clients to learn of it; nothing depends on it.
        let _ = time::timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
    }

    fn admit(&self, incoming: quinn::Incoming, connections: &mut JoinSet<()>) {
        let crowded = self.shared.admission.total() >= self.shared.config.retry_above_connections;
        if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
            let _ = incoming.retry();
            return;
        }
        let address = incoming.remote_address();
        let Some(place) = self.shared.admission.admit(address.ip()) else {
            tracing::debug!(%address, "too many connections");
            incoming.refuse();
            return;
        };
        let shared = self.shared.clone();
        let near = (Profile::of(address.ip()) == Profile::Near).then(|| self.near.clone());
        connections.spawn(async move {
            let _place = place;
            let accepted = match near {
                Some(near) => incoming.accept_with(near),
                None => incoming.accept(),
            };
            let Ok(connecting) = accepted else { return };
            match time::timeout(shared.config.hello_deadline, connecting).await {
                Ok(Ok(connection)) => connection::serve(shared, connection).await,
                Ok(Err(error)) => tracing::debug!(%address, %error, "handshake failed"),
                Err(_) => tracing::debug!(%address, "handshake took too long"),
            }
        });
    }

    fn watch_generation(&self) {
        let generation = self.shared.index.view().generation();
        self.shared.generation.send_if_modified(|last| std::mem::replace(last, generation) != generation);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local", &self.local).field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl Shared {
    fn take_writer(&self) -> AnswerWriter {
        let kept = self.writers.lock().ok().and_then(|mut writers| writers.pop());
        kept.unwrap_or_else(|| {
            AnswerWriter::new(AnswerCaps {
                body_bytes: self.config.limits.answer_bytes as usize,
                text_bytes: self.config.answer_text_bytes,
                records_per_key: self.config.records_per_key,
            })
        })
    }

    fn keep_writer(&self, writer: AnswerWriter) {
        if let Ok(mut writers) = self.writers.lock()
            && writers.len() < WRITERS_KEPT
        {
            writers.push(writer);
        }
    }
}

/// A panic ends the task it happens in and nothing else, but it is a defect.
fn report_panic<T>(ended: Result<T, tokio::task::JoinError>) -> Option<T> {
    ended.inspect_err(|error| tracing::error!(%error, "a task panicked")).ok()
}

fn close_code(code: ErrorCode) -> VarInt {
    VarInt::from_u32(u32::from(code.number()))
}

/// How soon clients hear of a new generation. Reading a generation costs nanoseconds.
const GENERATION_POLL: Duration = Duration::from_secs(1);

/// For the last packets of a shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// More batches than this are hardly worked on at one moment.
const WRITERS_KEPT: usize = 32;
