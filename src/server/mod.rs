//! The server: answers batches over QUIC from an index that is swapped under it.
//!
//! ```text
//! socket ─admission─▶ connection ─hello─▶ streams ─batch─▶ engine ─▶ answer
//! ```
//!
//! Each core has a socket, an endpoint and a runtime of one thread to itself: a connection lives on one core from its
//! first packet to its last.
//!
//! Nothing a peer sends makes the server wait without a deadline, allocate without a bound, or harm another
//! connection: a stream fails alone with a numbered error, a connection ends alone with a numbered code.

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
        steer,
        tls::{self, Identity},
        transport::Profile,
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
    workers: Workers,
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
    /// Settings for peers on this machine and for near ones; the endpoints have those for far ones.
    local: Arc<quinn::ServerConfig>,
    near: Arc<quinn::ServerConfig>,
}

impl Server {
    /// Listens. To be called within a Tokio runtime: the one that is to do the work, unless several cores are.
    pub fn bind(config: ServerConfig, index: Arc<Index>) -> Result<Self, ServerError> {
        let config = config.clamped();
        let identity = match &config.certificate {
            Certificate::Files { chain, key } => Identity::from_files(chain, key)?,
            Certificate::SelfSigned { state } => Identity::kept_in(state)?,
        };
        let pin = identity.pin();
        let listen = |source| ServerError::Listen { address: config.listen, source };
        let cores =
            if config.cores > 0 { config.cores } else { thread::available_parallelism().map_or(1, usize::from) };
        let sockets = steer::bind(config.listen, cores).map_err(listen)?;
        let local = sockets[0].local_addr().map_err(listen)?;
        let transport = sockets[0].transport(config.packet_bytes_max);
        let mut far = quinn::ServerConfig::with_crypto(Arc::new(tls::server_config(identity)?));
        // A client that moves opens a new connection; a peer cannot make the server send elsewhere.
        far.transport_config(Arc::new(transport.server(Profile::Far))).migration(false);
        let settings = |profile| {
            let mut config = far.clone();
            config.transport_config(Arc::new(transport.server(profile)));
            Arc::new(config)
        };
        let shared = Arc::new(Shared {
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
        let Self { workers, shared, .. } = self;
        let lead = async {
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
        tokio::join!(lead, workers.run());
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local", &self.local).field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl Shared {
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

/// A panic ends the task it happens in and nothing else, but it is a defect.
fn report_panic<T>(ended: Result<T, tokio::task::JoinError>) -> Option<T> {
    ended.inspect_err(|error| tracing::error!(%error, "a task panicked")).ok()
}

fn close_code(code: ErrorCode) -> VarInt {
    VarInt::from_u32(u32::from(code.number()))
}

/// How soon clients hear of a new generation. Reading a generation costs nanoseconds.
const GENERATION_POLL: Duration = Duration::from_secs(1);

/// More batches than this are hardly worked on at one moment.
const WRITERS_KEPT: usize = 32;
