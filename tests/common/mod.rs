//! A server on a free port of this machine, and the records that it knows.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ksn::{
    Certificate, Client, ClientConfig, Index, Key, Pin, Server, ServerConfig, Trust,
    key::{Digest, DigestKind, Indicator, Scope},
    record::{Listing, RecordType},
};
use tokio::{sync::oneshot, task::JoinHandle, time};

/// A server that runs until it is stopped or dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) pin: Pin,
    pub(crate) state: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let state = tempfile::tempdir().unwrap();
        let certificate = Certificate::SelfSigned { state: state.path().into() };
        let mut config = ServerConfig::new("127.0.0.1:0".parse().unwrap(), certificate);
        config.grace = Duration::from_secs(5);
        change(&mut config);
        let server = Server::bind(config, index()).unwrap();
        let (address, pin) = (server.local_addr(), server.pin());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, pin, state, stop: Some(stop), task }
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        ClientConfig::new(self.address.to_string(), Trust::Pin(self.pin))
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.client_config()).await.unwrap()
    }

    /// Begins the shutdown.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Shuts down and waits for it.
    pub(crate) async fn stop(mut self) {
        self.begin_stop();
        bounded(&mut self.task).await.unwrap();
    }

    pub(crate) async fn stopped(mut self) {
        bounded(&mut self.task).await.unwrap();
    }
}

/// Fails the test rather than hang it.
pub(crate) async fn bounded<F: Future>(future: F) -> F::Output {
    time::timeout(Duration::from_secs(30), future).await.expect("an end within 30 seconds")
}

/// Known if the number is divisible by 10.
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

/// Records under every kind of indicator, and digests for numbers below 1,000.
pub(crate) fn index() -> Arc<Index> {
    let names: Vec<String> = (0..100).map(|i| format!("Trojan.Numbered.{i}")).collect();
    let mut listings = vec![
        listing(Indicator::Digest(digest(MD5_KNOWN)), 1, RecordType::Malware, "Eicar"),
        listing(Indicator::Ipv4("192.0.2.0/24".parse().unwrap()), 2, RecordType::BotnetCc, "Block"),
        listing(Indicator::Ipv4("192.0.2.7".parse().unwrap()), 3, RecordType::Malware, "Address"),
        listing(web(Scope::Domain, "evil.example"), 4, RecordType::Phishing, "Domain"),
        listing(web(Scope::Exact, "good.example/bad?x=1"), 5, RecordType::MaliciousAddress, "Exact"),
    ];
    listings.extend((0..1_000).step_by(10).map(|number| {
        let id = 1_000 + u64::from(number);
        listing(Indicator::Digest(sha256(number)), id, RecordType::Malware, &names[number as usize / 10])
    }));
    Arc::new(Index::of(&listings))
}

fn listing<'a>(indicator: Indicator, id: u64, record_type: RecordType, name: &'a str) -> Listing<'a> {
    Listing { indicator, id, record_type, name, source: "test", timestamp: None, expiry: None, port: None }
}

fn web(scope: Scope, expression: &str) -> Indicator {
    Indicator::Web { scope, expression: expression.into() }
}

fn digest(text: &str) -> Digest {
    match key(text) {
        Key::Digest(digest) => digest,
        other => panic!("{other} is no digest"),
    }
}
