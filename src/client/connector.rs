//! Establishes connections: resolves the name of a server, tries its addresses, and exchanges hello and welcome.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use quinn::{Endpoint, EndpointConfig, RecvStream, SendStream};
use rustls::client::Resumption;
use tokio::{
    net::lookup_host,
    time::{self, Instant},
};

use super::{
    config::{ClientConfig, Trust},
    error::ConnectError,
    in_flight::InFlight,
    refusal_probe,
    session::ClientSession,
};
use crate::{
    net::{
        exchange, tls,
        tls::{TlsError, Verifier},
        transport::{Profile, Socket, Transport},
    },
    wire::{self, ErrorFrame, FrameKind, Hello, ServerLimits, Welcome, WireError},
};

/// The client's side of the control stream. The send half is kept open: finishing it would signal that the client
/// leaves.
pub(super) struct ControlStream {
    _send: SendStream,
    pub(super) recv: RecvStream,
}

/// An established connection.
pub(super) struct Connected {
    pub(super) session: Arc<ClientSession>,
    pub(super) welcome: Welcome,
    pub(super) control: ControlStream,
}

/// Establishes connections to a server.
pub(super) struct Connector {
    config: ClientConfig,
    verifier: Arc<Verifier>,
    quic: quinn::ClientConfig,
    /// One for IPv4 and one for IPv6, created when needed.
    endpoints: [Mutex<Option<(Endpoint, Transport)>>; 2],
}

impl Connector {
    /// Creates a connector. Fails with [`ConnectError`] when the configuration is invalid: the file of CA certificates, or
    /// the form of the server's address or name.
    pub(super) fn new(config: ClientConfig) -> Result<Self, ConnectError> {
        let port = config.server.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "expected an address with a port, name:port");
            return Err(ConnectError::Resolve { server: config.server, source });
        }
        let verifier = Arc::new(match &config.trust {
            Trust::Pin(pin) => Verifier::with_pin(*pin),
            Trust::Authorities { file, .. } => Verifier::with_authorities(file)?,
        });
        let quic = quinn::ClientConfig::new(Arc::new(tls::client_config(verifier.clone(), Resumption::default())?));
        Ok(Self { config, verifier, quic, endpoints: Default::default() })
    }

    /// Connects and exchanges hello and welcome. Sets `is_answered` when a server responds. Fails with [`ConnectError`]
    /// when no address of the server can be connected to within [`ClientConfig::connect_timeout`], at once when no server
    /// listens there.
    pub(super) async fn connect(&self, is_answered: &AtomicBool) -> Result<Connected, ConnectError> {
        let (server, after) = (self.config.server.clone(), self.config.connect_timeout);
        // If this times out while resolving the name, that is the error.
        let mut failure = Some(self.unresolved(io::ErrorKind::TimedOut.into()));
        let connected = time::timeout(after, self.resolve_and_connect(is_answered, &mut failure)).await;
        let timed_out = || ConnectError::Timeout { server: server.clone(), after };
        match connected {
            Ok(Some(connected)) => Ok(connected),
            Ok(None) => Err(failure.unwrap_or_else(timed_out)),
            Err(_) => {
                keep_most_telling(&mut failure, timed_out());
                Err(failure.unwrap_or_else(timed_out))
            }
        }
    }

    async fn resolve_and_connect(
        &self,
        is_answered: &AtomicBool,
        failure: &mut Option<ConnectError>,
    ) -> Option<Connected> {
        let addresses = match lookup_host(&self.config.server).await {
            Ok(addresses) => in_order(addresses),
            Err(source) => {
                *failure = Some(self.unresolved(source));
                return None;
            }
        };
        *failure = addresses.is_empty().then(|| self.unresolved(io::ErrorKind::NotFound.into()));
        self.connect_to_any(addresses, is_answered, failure).await
    }

    /// Tries the addresses of the server, the next one when the previous has failed or is slow (RFC 8305, "Happy
    /// Eyeballs"): the first that connects wins. `None` when all fail; `failure` then has the most telling error.
    async fn connect_to_any(
        &self,
        mut addresses: VecDeque<SocketAddr>,
        is_answered: &AtomicBool,
        failure: &mut Option<ConnectError>,
    ) -> Option<Connected> {
        self.verifier.forget_refusal();
        let stagger = STAGGER.min(self.config.connect_timeout / (addresses.len() as u32 + 1));
        let (mut attempts, mut is_due, mut next_at) = (InFlight::new(), true, Instant::now());
        loop {
            while is_due && let Some(address) = addresses.pop_front() {
                match self.attempt(address) {
                    Ok(attempt) => {
                        attempts.push(attempt.run(is_answered));
                        (is_due, next_at) = (false, Instant::now() + stagger);
                    }
                    Err(error) => keep_most_telling(failure, error),
                }
            }
            tokio::select! {
                connected = attempts.next() => match connected? {
                    Ok(connected) => return Some(connected),
                    Err(error) => {
                        keep_most_telling(failure, error);
                        is_due = true;
                    }
                },
                () = time::sleep_until(next_at), if !addresses.is_empty() => is_due = true,
            }
        }
    }

    fn unresolved(&self, source: io::Error) -> ConnectError {
        ConnectError::Resolve { server: self.config.server.clone(), source }
    }

    fn attempt(&self, address: SocketAddr) -> Result<Attempt, ConnectError> {
        let (endpoint, transport) = self.endpoint(address)?;
        let mut quic = self.quic.clone();
        quic.transport_config(Arc::new(transport.client(Profile::of(address.ip()))));
        let name = match &self.config.trust {
            Trust::Authorities { server_name: Some(name), .. } => name.clone(),
            _ => host(&self.config.server).to_owned(),
        };
        let hello = Hello::new(&self.config.software, &self.config.software_version, std::env::consts::OS).to_frame();
        let verifier = self.verifier.clone();
        Ok(Attempt { address, endpoint, quic, verifier, name, hello })
    }

    fn endpoint(&self, address: SocketAddr) -> Result<(Endpoint, Transport), ConnectError> {
        let (slot, any): (_, SocketAddr) = match address {
            SocketAddr::V4(_) => (&self.endpoints[0], (Ipv4Addr::UNSPECIFIED, 0).into()),
            SocketAddr::V6(_) => (&self.endpoints[1], (Ipv6Addr::UNSPECIFIED, 0).into()),
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(made) => Ok(made.clone()),
            None => {
                let socket = Socket::bind(any).map_err(ConnectError::Socket)?;
                let transport = socket.transport(self.config.packet_bytes_max);
                let endpoint =
                    socket.endpoint(transport, EndpointConfig::default(), None).map_err(ConnectError::Socket)?;
                Ok(slot.insert((endpoint, transport)).clone())
            }
        }
    }
}

/// An attempt to connect to one address. It owns what it uses, because several run at the same time.
struct Attempt {
    address: SocketAddr,
    endpoint: Endpoint,
    quic: quinn::ClientConfig,
    verifier: Arc<Verifier>,
    /// The name of the server in its certificate.
    name: String,
    /// The frame of the hello.
    hello: Vec<u8>,
}

impl Attempt {
    async fn run(self, is_answered: &AtomicBool) -> Result<Connected, ConnectError> {
        let server = self.address;
        tokio::select! {
            biased;
            connected = self.connect(is_answered) => connected,
            source = refusal_probe::refused(server) => Err(ConnectError::Unreachable { server, source }),
        }
    }

    async fn connect(self, is_answered: &AtomicBool) -> Result<Connected, ConnectError> {
        let Self { address, name, .. } = &self;
        let mut connecting = self
            .endpoint
            .connect_with(self.quic.clone(), *address, name)
            .map_err(|e| TlsError::setup(format!("cannot connect to {address} as {name:?}"), e))?;
        let lost = |e| ConnectError::from_connection(e, &self.verifier);
        connecting.handshake_data().await.map_err(lost)?;
        is_answered.store(true, Relaxed);
        let connection = connecting.await.map_err(lost)?;
        let (mut send, mut recv) = connection.open_bi().await.map_err(lost)?;
        let broken = |e| ConnectError::from_exchange(e, &self.verifier);
        exchange::write_frame(&mut send, self.hello.into()).await.map_err(broken)?;
        let header = exchange::read_header(&mut recv).await.map_err(broken)?;
        let body = exchange::read_control_body(&mut recv, &header).await.map_err(broken)?;
        let malformed = |e: WireError| ConnectError::Protocol(e.into());
        if header.kind == FrameKind::Error {
            return Err(ErrorFrame::parse(&header, &body).map_err(malformed)?.into());
        }
        let welcome = Welcome::parse(&header, &body).map_err(malformed)?;
        if welcome.version != wire::VERSION {
            return Err(malformed(WireError::Version { found: welcome.version }));
        }
        let limits = usable(&welcome.limits)?;
        let session = Arc::new(ClientSession::new(connection, limits));
        Ok(Connected { session, welcome, control: ControlStream { _send: send, recv } })
    }
}

/// Keeps the error that tells a user most, of the addresses of one server: a response that is wrong, then silence, then
/// the absence of a server; the first of equal ones.
fn keep_most_telling(kept: &mut Option<ConnectError>, error: ConnectError) {
    let rank = |error: &ConnectError| match error {
        ConnectError::Socket(_) => 0,
        ConnectError::Unreachable { .. } => 1,
        ConnectError::Timeout { .. } => 2,
        ConnectError::Lost(_) => 3,
        _ => 4,
    };
    if kept.as_ref().is_none_or(|kept| rank(kept) < rank(&error)) {
        *kept = Some(error);
    }
}

/// Returns the addresses without duplicates in the order of the system, but so that IPv6 and IPv4 alternate: if one of
/// them does not work, the other is tried next.
fn in_order(found: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let mut unique: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !unique.contains(&address) && unique.len() < ADDRESSES_MAX {
            unique.push(address);
        }
    }
    let is_first_v4 = unique.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = unique.into_iter().partition(|address| address.is_ipv4() == is_first_v4);
    let mut second = second.into_iter();
    let mut ordered = VecDeque::new();
    for address in first {
        ordered.push_back(address);
        ordered.extend(second.next());
    }
    ordered.extend(second);
    ordered
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
        let found = format!("expected limits that allow at least one key, found {limits:?}");
        return Err(ConnectError::Protocol(found.into()));
    }
    Ok(usable)
}

/// Returns the host of `host:port`, without brackets.
fn host(server: &str) -> &str {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The delay after which the next address is tried too (RFC 8305, section 5: at least 100 ms).
const STAGGER: Duration = Duration::from_millis(100);

/// The maximum number of addresses of a server that are tried: a name may have hundreds.
const ADDRESSES_MAX: usize = 16;

/// Bytes of the smallest useful request: headers, one column and one digest.
const REQUEST_BYTES_LEAST: u32 = 128;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::{
        Certificate, Server, ServerConfig,
        engine::Index,
        snapshot::{Snapshot, SnapshotBuilder, SnapshotInfo},
    };

    /// Starts a server with its own certificate and an empty snapshot.
    fn start(dataset: &str) -> (SocketAddr, crate::Pin) {
        let created = "2026-11-22".parse().unwrap();
        let info = SnapshotInfo { dataset: dataset.into(), generation: 1, created, compiled_with: Default::default() };
        let bytes = SnapshotBuilder::new().finish(&info).unwrap().into_bytes();
        let state = tempfile::tempdir().unwrap();
        let certificate = Certificate::SelfSigned { state: state.path().into() };
        let config = ServerConfig { cores: 1, ..ServerConfig::new((Ipv4Addr::LOCALHOST, 0).into(), certificate) };
        let server = Server::bind(config, Arc::new(Index::new(Snapshot::from_bytes(bytes).unwrap()))).unwrap();
        let found = (server.local_addr(), server.pin());
        tokio::spawn(server.run(std::future::pending()));
        found
    }

    #[tokio::test]
    async fn the_first_address_that_answers_as_expected_wins() {
        let ((address, pin), (other, _)) = (start("right"), start("wrong"));
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let connector = Connector::new(ClientConfig::new("ksn.example:1", Trust::Pin(pin))).unwrap();
        let is_answered = AtomicBool::new(false);
        let mut failure = None;
        let addresses = [closed, silent.local_addr().unwrap(), other, address];
        let began = Instant::now();
        let connected = connector.connect_to_any(addresses.into(), &is_answered, &mut failure).await.unwrap();
        assert_eq!(connected.welcome.dataset, "right");
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert!(matches!(failure, Some(ConnectError::WrongPin { .. })), "{failure:?}");

        let mut failure = None;
        let connected = connector.connect_to_any([closed, other, closed].into(), &is_answered, &mut failure).await;
        assert!(connected.is_none() && matches!(failure, Some(ConnectError::WrongPin { .. })), "{failure:?}");
    }

    #[test]
    fn hosts_of_all_forms() {
        let hosts = ["ksn.example:1", "192.0.2.1:1", "[2001:db8::1]:1"].map(host);
        assert_eq!(hosts, ["ksn.example", "192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    fn address_families_alternate() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let found = parse(&["[::1]:1", "[::2]:1", "[::1]:1", "[::3]:1", "192.0.2.1:1", "192.0.2.2:1"]);
        let expected = parse(&["[::1]:1", "192.0.2.1:1", "[::2]:1", "192.0.2.2:1", "[::3]:1"]);
        assert_eq!(in_order(found.into_iter()), expected);
        assert!(in_order(std::iter::empty()).is_empty());
        let many = (0..300).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        assert_eq!(in_order(many).len(), ADDRESSES_MAX);
    }

    #[test]
    fn a_wrong_response_tells_more_than_silence_and_absence() {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let absent = || ConnectError::Unreachable { server, source: io::ErrorKind::ConnectionRefused.into() };
        let silent = || ConnectError::Timeout { server: "a:1".into(), after: Duration::ZERO };
        for order in [[absent(), silent(), ConnectError::Refused], [ConnectError::Refused, absent(), silent()]] {
            let mut kept = None;
            order.into_iter().for_each(|error| keep_most_telling(&mut kept, error));
            assert!(matches!(kept, Some(ConnectError::Refused)), "{kept:?}");
        }
    }
}
