//! The connection manager: the task that owns a client's endpoint and one connection.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rustls::client::Resumption;
use tokio::{
    net::lookup_host,
    sync::{Notify, watch},
    time::{self, Instant},
};

use super::{ClientConfig, ConnectError, Trust, coalescer::Coalescer};
use crate::{
    net::{
        exchange, tls,
        tls::Verifier,
        transport::{Profile, Socket, Transport},
    },
    wire::{self, ErrorFrame, FrameKind, Hello, Notice, ServerLimits, Welcome, WireError},
};

/// A connection whose hello was accepted.
#[derive(Debug)]
pub(super) struct ClientSession {
    pub(super) connection: Connection,
    pub(super) limits: ServerLimits,
    /// The end of the pause that the server requested, if any.
    pub(super) paused_until: Mutex<Option<Instant>>,
    /// The open batches of the connection.
    pub(super) coalescer: Coalescer,
}

/// The state of a connection, as its manager publishes it to the handles.
#[derive(Clone, Debug)]
pub(super) struct ConnectionState {
    /// The established connection, if any.
    pub(super) session: Option<Arc<ClientSession>>,
    /// The last welcome, updated with the generation of the last notice.
    pub(super) welcome: Arc<Welcome>,
    /// Number of completed connection attempts.
    pub(super) attempts: u64,
    /// The error of the last attempt; `None` if it succeeded.
    pub(super) failure: Option<Arc<ConnectError>>,
    /// The earliest time of the next attempt.
    pub(super) retry_at: Instant,
}

/// The client's side of the control stream. The send half is kept open: finishing it would signal that the client
/// leaves.
pub(super) struct ControlStream {
    _send: SendStream,
    recv: RecvStream,
}

/// Establishes connections to a server.
pub(super) struct Connector {
    config: ClientConfig,
    verifier: Arc<Verifier>,
    quic: quinn::ClientConfig,
    endpoints: [Option<(Endpoint, Transport)>; 2],
}

impl Connector {
    pub(super) fn new(config: ClientConfig) -> Result<Self, ConnectError> {
        let verifier = Arc::new(match &config.trust {
            Trust::Pin(pin) => Verifier::with_pin(*pin),
            Trust::Authorities { file, .. } => Verifier::with_authorities(file)?,
        });
        let quic = quinn::ClientConfig::new(Arc::new(tls::client_config(verifier.clone(), Resumption::default())?));
        Ok(Self { config, verifier, quic, endpoints: [None, None] })
    }

    /// Connects and exchanges hello and welcome. Fails with [`ConnectError`] when no address of the server can be
    /// connected to within [`ClientConfig::connect_timeout`].
    pub(super) async fn connect(&mut self) -> Result<(ClientSession, Welcome, ControlStream), ConnectError> {
        let (server, after) = (self.config.server.clone(), self.config.connect_timeout);
        let timeout = ConnectError::Timeout { server, after };
        time::timeout(after, self.connect_to_any()).await.unwrap_or(Err(timeout))
    }

    async fn connect_to_any(&mut self) -> Result<(ClientSession, Welcome, ControlStream), ConnectError> {
        let server = self.config.server.clone();
        let addresses: Vec<SocketAddr> = lookup_host(&server)
            .await
            .map_err(|source| ConnectError::Resolve { server: server.clone(), source })?
            .collect();
        // The timeout is divided among the addresses, so that an unreachable one leaves time for the next.
        let after = self.config.connect_timeout / addresses.len().max(1) as u32;
        let mut failure = ConnectError::Resolve { server: server.clone(), source: std::io::ErrorKind::NotFound.into() };
        for address in addresses {
            let timeout = ConnectError::Timeout { server: server.clone(), after };
            match time::timeout(after, self.connect_to(address)).await.unwrap_or(Err(timeout)) {
                Ok(connected) => return Ok(connected),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn connect_to(
        &mut self,
        address: SocketAddr,
    ) -> Result<(ClientSession, Welcome, ControlStream), ConnectError> {
        let name = match &self.config.trust {
            Trust::Authorities { server_name: Some(name), .. } => name.clone(),
            _ => host(&self.config.server).to_owned(),
        };
        let mut quic = self.quic.clone();
        let (endpoint, transport) = self.endpoint(address)?;
        quic.transport_config(Arc::new(transport.client(Profile::of(address.ip()))));
        let connecting = endpoint
            .connect_with(quic, address, &name)
            .map_err(|e| tls::TlsError::Setup(format!("cannot connect to {address} as {name:?}: {e}")))?;
        let lost = |e| ConnectError::from_connection(e, &self.verifier);
        let connection = connecting.await.map_err(lost)?;
        let (mut send, mut recv) = connection.open_bi().await.map_err(lost)?;
        let hello = Hello::new(&self.config.software, &self.config.software_version, std::env::consts::OS).to_frame();
        let broken = |e| ConnectError::from_exchange(e, &self.verifier);
        exchange::write_frame(&mut send, hello.into()).await.map_err(broken)?;
        let header = exchange::read_header(&mut recv).await.map_err(broken)?;
        let body = exchange::read_body(&mut recv, &header, None).await.map_err(broken)?.bytes;
        let malformed = |e: WireError| ConnectError::Protocol(e.to_string());
        if header.kind == FrameKind::Error {
            return Err(ErrorFrame::parse(&header, &body).map_err(malformed)?.into());
        }
        let welcome = Welcome::parse(&header, &body).map_err(malformed)?;
        if welcome.version != wire::VERSION {
            return Err(malformed(WireError::Version { found: welcome.version }));
        }
        let limits = usable(&welcome.limits)?;
        let session =
            ClientSession { connection, limits, paused_until: Mutex::new(None), coalescer: Coalescer::new(limits) };
        Ok((session, welcome, ControlStream { _send: send, recv }))
    }

    fn endpoint(&mut self, address: SocketAddr) -> Result<&(Endpoint, Transport), ConnectError> {
        let (slot, any): (_, SocketAddr) = match address {
            SocketAddr::V4(_) => (&mut self.endpoints[0], (Ipv4Addr::UNSPECIFIED, 0).into()),
            SocketAddr::V6(_) => (&mut self.endpoints[1], (Ipv6Addr::UNSPECIFIED, 0).into()),
        };
        match slot {
            Some(made) => Ok(made),
            empty => {
                let socket = Socket::bind(any).map_err(ConnectError::Socket)?;
                let transport = socket.transport(self.config.packet_bytes_max);
                let endpoint = socket.endpoint(transport, None, (0, 1)).map_err(ConnectError::Socket)?;
                Ok(empty.insert((endpoint, transport)))
            }
        }
    }
}

/// Runs the connection manager: watches the connection, and reconnects on demand after a loss. Returns when the last
/// handle is dropped.
pub(super) async fn run(
    mut connector: Connector,
    mut control: ControlStream,
    status: watch::Sender<ConnectionState>,
    demand: Arc<Notify>,
) {
    let mut failures = 0;
    loop {
        let Some(session) = status.borrow().session.clone() else { return };
        tokio::select! {
            () = watch_connection(&session, &mut control, &status) => {}
            () = status.closed() => {
                session.connection.close(0u32.into(), b"");
                // Best effort: lets the close reach the server.
                let idle = connector.endpoints.iter().flatten().map(|(endpoint, _)| endpoint.wait_idle());
                for idle in idle {
                    let _ = time::timeout(CLOSE_TIMEOUT, idle).await;
                }
                return;
            }
        }
        // Batches in flight keep the old connection; new ones use the next.
        status.send_modify(|status| status.session = None);
        drop(session);
        control = loop {
            let retry_at = status.borrow().retry_at;
            let connecting = async {
                demand.notified().await;
                time::sleep_until(retry_at).await;
                connector.connect().await
            };
            let connected = tokio::select! {
                connected = connecting => connected,
                () = status.closed() => return,
            };
            match connected {
                Ok((session, welcome, control)) => {
                    failures = 0;
                    status.send_modify(|status| {
                        status.session = Some(Arc::new(session));
                        status.welcome = Arc::new(welcome);
                        status.attempts += 1;
                        status.failure = None;
                        // Prevents a tight loop with a server that accepts connections and drops them.
                        status.retry_at = Instant::now() + BACKOFF_MIN;
                    });
                    break control;
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot connect");
                    let pause = backoff(failures);
                    failures += 1;
                    status.send_modify(|status| {
                        status.attempts += 1;
                        status.failure = Some(Arc::new(error));
                        status.retry_at = Instant::now() + pause;
                    });
                }
            }
        };
    }
}

/// Reads notices until the connection ends or the server announces that it is going away.
async fn watch_connection(
    session: &ClientSession,
    control: &mut ControlStream,
    status: &watch::Sender<ConnectionState>,
) {
    let notices = async {
        loop {
            match read_notice(&mut control.recv).await {
                Ok(Notice::NewGeneration(generation)) => {
                    status.send_modify(|status| Arc::make_mut(&mut status.welcome).generation = generation);
                }
                Ok(Notice::GoingAway { grace_ms }) => {
                    tracing::debug!(grace_ms, "the server is going away");
                    return;
                }
                Ok(Notice::RetryAfter { pause_ms }) => {
                    let until = Instant::now() + Duration::from_millis(pause_ms).min(PAUSE_MAX);
                    if let Ok(mut paused) = session.paused_until.lock() {
                        *paused = Some(until);
                    }
                }
                Ok(Notice::Unknown(_)) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot read notices");
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = notices => {}
        error = session.connection.closed() => tracing::debug!(%error, "the connection ended"),
    }
}

async fn read_notice(recv: &mut RecvStream) -> Result<Notice, exchange::ExchangeError> {
    let header = exchange::read_header(recv).await?;
    let body = exchange::read_body(recv, &header, None).await?.bytes;
    Ok(Notice::parse(&header, &body)?)
}

/// Clamps the limits of a server to those of the protocol. Fails with [`ConnectError::Protocol`] when they do not allow
/// at least one key.
fn usable(limits: &ServerLimits) -> Result<ServerLimits, ConnectError> {
    let max = ServerLimits::default();
    let usable = ServerLimits {
        columns: limits.columns.min(max.columns),
        keys: limits.keys.min(max.keys),
        cost: limits.cost.min(max.cost),
        request_bytes: limits.request_bytes.min(max.request_bytes),
        answer_bytes: limits.answer_bytes.min(max.answer_bytes),
        address_bytes: limits.address_bytes.min(max.address_bytes),
        streams: limits.streams.min(max.streams),
        deadline_ms: limits.deadline_ms,
    };
    let least = [usable.columns.into(), usable.keys, usable.streams, usable.request_bytes / REQUEST_BYTES_LEAST];
    if least.contains(&0) || usable.cost == 0 {
        return Err(ConnectError::Protocol(format!("expected limits that allow at least one key, found {limits:?}")));
    }
    Ok(usable)
}

/// Returns the host of `host:port`, without brackets.
fn host(server: &str) -> &str {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Returns the backoff after consecutive failures: it doubles with each, and half of it is random, so that the clients
/// of a restarted server do not reconnect all at once.
fn backoff(failures: u32) -> Duration {
    let full = BACKOFF_MIN.saturating_mul(1 << failures.min(16)).min(BACKOFF_MAX);
    // A new hasher has a random seed: enough for jitter, without another dependency.
    let random = RandomState::new().build_hasher().finish();
    full / 2 + full.mul_f64(random as f64 / u64::MAX as f64) / 2
}

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The longest pause that a server can impose on a client.
const PAUSE_MAX: Duration = Duration::from_secs(600);

const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Bytes of the smallest useful request: headers, one column and one digest.
const REQUEST_BYTES_LEAST: u32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_within_its_bounds() {
        for failures in 0..40 {
            let pause = backoff(failures);
            assert!(pause >= BACKOFF_MIN / 2 && pause <= BACKOFF_MAX, "{pause:?}");
        }
        assert!(backoff(30) >= BACKOFF_MAX / 2);
    }

    #[test]
    fn hosts_of_all_forms() {
        let hosts = ["ksn.example:1", "192.0.2.1:1", "[2001:db8::1]:1"].map(host);
        assert_eq!(hosts, ["ksn.example", "192.0.2.1", "2001:db8::1"]);
    }
}
