//! A server on a free local port, and the records that it serves.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod raw;

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use ksn::{
    Certificate, Client, ClientConfig, Index, Key, Pin, Server, ServerConfig, Trust,
    key::{Digest, DigestKind, Indicator, Scope},
    record::{Entry, RecordSink, RecordType},
    snapshot::{Snapshot, SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
    wire,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{sync::oneshot, task::JoinHandle, time};

/// A server that runs until it is stopped or dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) pin: Pin,
    pub(crate) state: tempfile::TempDir,
    pub(crate) index: Arc<Index>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_with(snapshot(1), change).await
    }

    pub(crate) async fn start_with(snapshot: Snapshot, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let state = tempfile::tempdir().unwrap();
        let certificate = Certificate::SelfSigned { state: state.path().into() };
        let mut config = ServerConfig::new("127.0.0.1:0".parse().unwrap(), certificate);
        config.grace = Duration::from_secs(5);
        change(&mut config);
        let index = Arc::new(Index::new(snapshot));
        let server = Server::bind(config, index.clone()).unwrap();
        let (address, pin) = (server.local_addr(), server.pin());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, pin, state, index, stop: Some(stop), task }
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        ClientConfig::new(self.address.to_string(), Trust::Pin(self.pin))
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.client_config()).await.unwrap()
    }

    /// Opens a QUIC connection on which a test can send any bytes.
    pub(crate) async fn raw(&self) -> quinn::Connection {
        self.raw_with(|_| {}).await
    }

    /// Opens a QUIC connection with other transport settings than the defaults of quinn.
    pub(crate) async fn raw_with(&self, change: impl FnOnce(&mut quinn::TransportConfig)) -> quinn::Connection {
        self.dial(wire::ALPN, change).await.unwrap()
    }

    /// Opens a QUIC connection with another ALPN protocol.
    pub(crate) async fn dial(
        &self,
        alpn: &[u8],
        change: impl FnOnce(&mut quinn::TransportConfig),
    ) -> Result<quinn::Connection, quinn::ConnectionError> {
        dial(self.address, self.state.path(), alpn, change).await
    }

    /// Begins the shutdown.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Shuts down and waits for the end of the server.
    pub(crate) async fn stop(mut self) {
        self.begin_stop();
        bounded(&mut self.task).await.unwrap();
    }

    pub(crate) async fn stopped(mut self) {
        bounded(&mut self.task).await.unwrap();
    }
}

/// Opens a QUIC connection, without code of the client, to a server with the certificate of a state directory.
pub(crate) async fn raw(address: SocketAddr, state: &Path) -> quinn::Connection {
    dial(address, state, wire::ALPN, |_| {}).await.unwrap()
}

async fn dial(
    address: SocketAddr,
    state: &Path,
    alpn: &[u8],
    change: impl FnOnce(&mut quinn::TransportConfig),
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(state.join("server.crt")).unwrap()).unwrap();
    let endpoint = raw_endpoint(roots, alpn, change);
    bounded(endpoint.connect(address, "localhost").unwrap()).await
}

/// Panics if a future takes longer than 30 seconds, so that a test fails instead of hanging.
pub(crate) async fn bounded<F: Future>(future: F) -> F::Output {
    time::timeout(Duration::from_secs(30), future).await.expect("completion within 30 seconds")
}

/// Returns the digest of a number. Those below 1,000 that are divisible by 10 are listed.
pub(crate) fn sha256(number: u32) -> Digest {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    Digest::new(DigestKind::Sha256, &bytes).unwrap()
}

pub(crate) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

pub(crate) const MD5_KNOWN: &str = "md5:00112233445566778899aabbccddeeff";

/// Returns entries of every kind of indicator, and of the digests of every tenth number below 1,000.
fn entries(names: &[String]) -> Vec<Entry<'_>> {
    let mut entries = vec![
        entry(Indicator::Digest(digest(MD5_KNOWN)), 1, RecordType::Malware, "Eicar"),
        entry(Indicator::Ipv4("192.0.2.0/24".parse().unwrap()), 2, RecordType::BotnetCc, "Block"),
        entry(Indicator::Ipv4("192.0.2.7".parse().unwrap()), 3, RecordType::Malware, "Address"),
        entry(web(Scope::Domain, "evil.example"), 4, RecordType::Phishing, "Domain"),
        entry(web(Scope::Exact, "good.example/bad?x=1"), 5, RecordType::MaliciousAddress, "Exact"),
    ];
    entries.extend((0..1_000).step_by(10).map(|number| {
        let id = 1_000 + u64::from(number);
        entry(Indicator::Digest(sha256(number)), id, RecordType::Malware, &names[number as usize / 10])
    }));
    entries
}

pub(crate) fn snapshot(generation: u64) -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    let names: Vec<String> = (0..100).map(|i| format!("Trojan.Numbered.{i}")).collect();
    entries(&names).into_iter().for_each(|entry| builder.add(0, entry));
    snapshot_of(builder, generation)
}

fn snapshot_of(builder: SnapshotBuilder, generation: u64) -> Snapshot {
    let created = Timestamp::from_seconds(1_700_000_000).unwrap();
    let info = SnapshotInfo { dataset: "test".into(), generation, created, compiled_with: BTreeMap::new() };
    Snapshot::from_bytes(builder.finish(&info).unwrap().into_bytes()).unwrap()
}

/// Returns a snapshot in which an MD5 digest, [`MD5_KNOWN`], has a number of records with distinct names.
pub(crate) fn snapshot_of_one_key(records: u64) -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    let names: Vec<String> = (0..records).map(|i| format!("Trojan.Numbered.{i}")).collect();
    for (id, name) in (0..).zip(&names) {
        builder.add(0, entry(Indicator::Digest(digest(MD5_KNOWN)), id, RecordType::Malware, name));
    }
    snapshot_of(builder, 1)
}

fn entry<'a>(indicator: Indicator, id: u64, record_type: RecordType, name: &'a str) -> Entry<'a> {
    Entry { indicator, id, record_type, name, source: "test", timestamp: None, expiry: None, port: None }
}

fn web(scope: Scope, expression: &str) -> Indicator {
    Indicator::Web { scope, expression: expression.into() }
}

fn digest(text: &str) -> Digest {
    match key(text) {
        Key::Digest(digest) => digest,
        other => panic!("{other} is not a digest"),
    }
}

/// Returns an endpoint that trusts some certificates.
fn raw_endpoint(
    roots: rustls::RootCertStore,
    alpn: &[u8],
    change: impl FnOnce(&mut quinn::TransportConfig),
) -> quinn::Endpoint {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let quic = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut transport = quinn::TransportConfig::default();
    change(&mut transport);
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    endpoint
}

/// Returns a QUIC endpoint that trusts nobody, for handshakes that are not finished.
pub(crate) fn raw_client() -> quinn::Endpoint {
    raw_endpoint(rustls::RootCertStore::empty(), wire::ALPN, |_| {})
}

/// Returns a QUIC endpoint on which a test can act as a server, and the pin of its certificate.
pub(crate) fn raw_server(alpn: &[u8]) -> (quinn::Endpoint, Pin) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pin = Pin::of_certificate(made.cert.der());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let quic = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(quic));
    (quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap(), pin)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
