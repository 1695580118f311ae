//! The server: answers batches over QUIC from an index that can be replaced while it runs.
//!
//! ```text
//! socket ─admission─▶ connection ─hello─▶ streams ─batch─▶ engine ─▶ answer
//! ```
//!
//! Each core has its own socket, endpoint and single-threaded runtime: a connection stays on one core from its first
//! packet to its last.
//!
//! Nothing that a peer sends makes the server wait without a deadline, allocate without a bound, or affect another
//! connection: errors are confined to a stream (an error frame) or to a connection (a close code).

mod admission;
mod batch;
mod config;
mod connection;
mod worker;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use quinn::VarInt;
use tokio::{
    sync::{Semaphore, watch},
    time::{self, MissedTickBehavior},
};

pub use self::config::{Certificate, ServerConfig};
use self::{admission::Admission, worker::Workers};
use crate::{
    engine::Index,
    net::{
        Pin, TlsError,
        exchange::FrameBudget,
        reuseport,
        tls::{self, Identity},
        transport::Profile,
    },
    wire::{AnswerCaps, AnswerWriter, ErrorCode},
};

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server cannot listen on its address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// [`ServerConfig::listen`].
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

/// A server bound to its address. It answers while [`run`](Self::run) is polled.
pub struct Server {
    workers: Workers,
    shared: Arc<ServerState>,
    local: SocketAddr,
    pin: Pin,
}

/// The state that all connections share.
pub(crate) struct ServerState {
    config: ServerConfig,
    index: Arc<Index>,
    admission: Arc<Admission>,
    /// Memory budget of request bodies.
    frames: FrameBudget,
    /// Budget of the windows after the hello, in KiB.
    windows: Arc<Semaphore>,
    /// The window of one connection after the hello, in bytes.
    window_bytes: u32,
    /// Answer writers for reuse.
    writers: Mutex<Vec<AnswerWriter>>,
    generation: watch::Sender<u64>,
    going_away: watch::Sender<bool>,
    /// Settings for [`Profile::Local`]; the endpoints use those for [`Profile::Far`].
    local: Arc<quinn::ServerConfig>,
    /// Settings for [`Profile::Near`].
    near: Arc<quinn::ServerConfig>,
}

impl Server {
    /// Binds a server to its address. MUST be called within a Tokio runtime: it serves there if
    /// [`ServerConfig::cores`] is one.
    ///
    /// Fails with [`ServerError`] when the certificate cannot be used or the address cannot be bound.
    pub fn bind(config: ServerConfig, index: Arc<Index>) -> Result<Self, ServerError> {
        let config = config.clamped();
        let identity = match &config.certificate {
            Certificate::Files { chain, key } => Identity::from_files(chain, key)?,
            Certificate::SelfSigned { state } => Identity::load_or_create(state)?,
        };
        let pin = identity.pin();
        let listen = |source| ServerError::Listen { address: config.listen, source };
        let cores =
            if config.cores > 0 { config.cores } else { thread::available_parallelism().map_or(1, usize::from) };
        let sockets = reuseport::bind(config.listen, cores).map_err(listen)?;
        let local = sockets[0].local_addr().map_err(listen)?;
        let transport = sockets[0].transport(config.packet_bytes_max);
        let mut far = quinn::ServerConfig::with_crypto(Arc::new(tls::server_config(identity)?));
        // Without migration, a client whose address changes opens a new connection, and no peer can redirect the
        // packets of the server.
        far.transport_config(Arc::new(transport.server(Profile::Far))).migration(false);
        let settings = |profile| {
            let mut config = far.clone();
            config.transport_config(Arc::new(transport.server(profile)));
            Arc::new(config)
        };
        let shared = Arc::new(ServerState {
            admission: Arc::new(Admission::new(config.connections, config.connections_per_address)),
            frames: FrameBudget::new(config.frame_bytes),
            windows: Arc::new(Semaphore::new(config.window_bytes >> 10)),
            window_bytes: transport.window_bytes,
            writers: Mutex::default(),
            generation: watch::Sender::new(index.view().generation()),
            going_away: watch::Sender::new(false),
            local: settings(Profile::Local),
            near: settings(Profile::Near),
            index,
            config,
        });
        let workers = Workers::start(&shared, sockets, transport, &far)
            .map_err(|source| ServerError::Listen { address: local, source })?;
        Ok(Self { workers, shared, local, pin })
    }

    /// Returns the address that the server listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Returns the pin of the server's certificate, for clients.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// Serves until `shutdown` completes. Then accepts no more connections, notifies the clients, answers the batches
    /// in flight for at most [`ServerConfig::grace`], and closes.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { workers, shared, .. } = self;
        let supervise = async {
            let mut ticks = time::interval(GENERATION_POLL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tokio::pin!(shutdown);
            loop {
                tokio::select! {
                    () = &mut shutdown => break,
                    _ = ticks.tick() => shared.watch_generation(),
                }
            }
            tracing::info!(connections = shared.admission.total(), "going away");
            shared.going_away.send_replace(true);
        };
        tokio::join!(supervise, workers.run());
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local", &self.local).field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl ServerState {
    fn watch_generation(&self) {
        let generation = self.index.view().generation();
        self.generation.send_if_modified(|last| std::mem::replace(last, generation) != generation);
    }

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

/// Logs the panic of a task. A panic ends only its own task, but it is a bug.
fn report_panic<T>(ended: Result<T, tokio::task::JoinError>) -> Option<T> {
    ended.inspect_err(|error| tracing::error!(%error, "a task panicked")).ok()
}

fn close_code(code: ErrorCode) -> VarInt {
    VarInt::from_u32(u32::from(code.number()))
}

/// Polling interval for new generations. Reading a generation costs nanoseconds.
const GENERATION_POLL: Duration = Duration::from_secs(1);

/// Answer writers kept for reuse: more batches are rarely computed at the same time.
const WRITERS_KEPT: usize = 32;
