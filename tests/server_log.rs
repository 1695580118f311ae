//! Prevents a server that refuses clients without telling its operator, and a log that a peer can fill line by line.
#![cfg(feature = "cli")]

mod common;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::SystemTime,
};

use common::{
    Running, bounded,
    raw::{error_code, hello, send},
    snapshot,
};
use ksn::{Certificate, Client, Index, Server, ServerConfig, wire::ErrorCode};
use tracing_subscriber::filter::LevelFilter;

/// What was logged at `info`, from the thread of a test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn refusals_are_logged_as_counts_with_their_reasons() {
    let (log, _guard) = Log::start();
    let server = Running::start(|config| config.connections_per_address = 1).await;
    for _ in 0..3 {
        bounded(server.dial(b"h3", |_| {})).await.unwrap_err();
    }
    let raw = server.raw().await;
    let _control = hello(&raw).await;
    for _ in 0..40 {
        assert_eq!(error_code(&mut send(&raw, &[0xff; 16]).await).await, ErrorCode::Malformed);
    }
    bounded(Client::connect(server.client_config())).await.unwrap_err();
    raw.close(0u32.into(), b"");
    server.stop().await;
    let text = log.text();
    for expected in [
        "handshakes with another ALPN protocol: 3",
        "batches refused, malformed: 40",
        "connections refused, too many from their address: 1",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.lines().count() < 8, "{text}");
    assert!(!text.contains("beyond loopback"), "{text}");
}

#[tokio::test]
async fn a_certificate_near_its_end_is_logged() {
    for (days, expected) in [(-1i64, "has expired"), (10, "expires soon"), (400, "")] {
        let (log, _guard) = Log::start();
        let directory = tempfile::tempdir().unwrap();
        let [chain, key] = ["server.crt", "server.key"].map(|name| directory.path().join(name));
        let signing = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
        params.not_after =
            rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs((now + days * 86_400) as u64);
        std::fs::write(&chain, params.self_signed(&signing).unwrap().pem()).unwrap();
        std::fs::write(&key, signing.serialize_pem()).unwrap();
        let config = ServerConfig::new("127.0.0.1:0".parse().unwrap(), Certificate::Files { chain, key });
        let server = Server::bind(config, Arc::new(Index::new(snapshot(1)))).unwrap();
        bounded(server.run(tokio::time::sleep(std::time::Duration::from_millis(50)))).await;
        let text = log.text();
        assert_eq!(text.contains("certificate"), !expected.is_empty(), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}
