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
mod certificate_end;
mod compute;
mod config;
mod connection;
mod control;
mod counts;
mod handshakes;
mod memory;
mod reply;
mod state;
mod turns;
mod work;
mod worker;

use std::{
    fmt, io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::{self, MissedTickBehavior},
};

pub use self::config::{Certificate, ServerConfig};
use self::{
    admission::Admission,
    certificate_end::{CertificateEnd, is_open_without_identity},
    counts::Counts,
    memory::Budget,
    state::ServerState,
    worker::Workers,
};
use crate::{
    engine::Index,
    net::{
        Pin, TlsError, reuseport,
        secret::ServerSecret,
        tls::{self, Identity},
        transport::Profile,
    },
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
    certificate: CertificateEnd,
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
        let (pin, certificate) = (identity.pin(), CertificateEnd(identity.not_after()));
        let listen = |source| ServerError::Listen { address: config.listen, source };
        let cores =
            if config.cores > 0 { config.cores } else { thread::available_parallelism().map_or(1, usize::from) };
        let sockets = reuseport::bind(config.listen, cores).map_err(listen)?;
        let local = sockets[0].local_addr().map_err(listen)?;
        let transport = sockets[0].transport(config.packet_bytes_max);
        let keys = secret(config.state_directory()).keys(local);
        let mut far = quinn::ServerConfig::new(Arc::new(tls::server_config(identity)?), keys.token_key());
        // With migration, a client behind a NAT that forgets its port goes on with its connection. An address to which a
        // connection moves gets no new datagram after three times the bytes that came from it, until it proves that it
        // receives them.
        far.transport_config(Arc::new(transport.server(Profile::Far))).migration(true);
        let settings = |profile| {
            let mut config = far.clone();
            config.transport_config(Arc::new(transport.server(profile)));
            Arc::new(config)
        };
        let shared = Arc::new(ServerState {
            admission: Admission::new(config.connections, config.connections_per_address, config.handshakes),
            counts: Counts::default(),
            requests: Budget::new("requests", config.request_memory_bytes),
            answers: Budget::new("answers", config.answer_memory_bytes),
            windows: Arc::new(Semaphore::new(config.window_bytes >> 10)),
            window_bytes: transport.window_bytes,
            writers: Mutex::default(),
            generation: watch::Sender::new(index.view().generation()),
            going_away: watch::Sender::new(false),
            local: settings(Profile::Local),
            near: settings(Profile::Near),
            far: Arc::new(far.clone()),
            index,
            config,
        });
        let workers = Workers::start(&shared, sockets, transport, &far, &keys)
            .map_err(|source| ServerError::Listen { address: local, source })?;
        if is_open_without_identity(&shared.config.certificate, local) {
            tracing::info!(
                address = %local,
                "listening beyond loopback with a self-signed certificate: clients must be given its pin, and anybody \
                 can use the server"
            );
        }
        Ok(Self { workers, shared, local, pin, certificate })
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
        let Self { workers, shared, certificate, .. } = self;
        let supervise = async {
            let every = |period| {
                let mut ticks = time::interval(period);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks
            };
            let (mut polls, mut logs) = (every(GENERATION_POLL), every(LOG_INTERVAL));
            let mut certificate_looks = every(CERTIFICATE_INTERVAL);
            // Nothing has been counted yet.
            logs.reset();
            tokio::pin!(shutdown);
            loop {
                tokio::select! {
                    () = &mut shutdown => break,
                    _ = polls.tick() => shared.watch_generation(),
                    _ = logs.tick() => shared.counts.log(),
                    _ = certificate_looks.tick() => certificate.warn(),
                }
            }
            tracing::info!(connections = shared.admission.total(), "going away");
            shared.going_away.send_replace(true);
        };
        tokio::join!(supervise, workers.run());
        shared.counts.log();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local", &self.local).field("pin", &self.pin).finish_non_exhaustive()
    }
}

/// Returns the secret of a state directory. Without one, or with one that cannot be used, it is random: the server works,
/// but its clients do not notice when it crashes.
fn secret(directory: Option<&Path>) -> ServerSecret {
    const EFFECT: &str = "the server's secret is random: after a crash, clients wait for their own timers";
    let Some(directory) = directory else {
        tracing::info!("no state directory: {EFFECT}");
        return ServerSecret::random();
    };
    ServerSecret::load_or_create(directory).unwrap_or_else(|error| {
        tracing::warn!(%error, "{EFFECT}");
        ServerSecret::random()
    })
}

/// Polling interval for new generations. Reading a generation costs nanoseconds.
const GENERATION_POLL: Duration = Duration::from_secs(1);

/// Interval in which counts are logged, if there are any.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Interval in which the end of the certificate is looked at.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(12 * 3_600);
