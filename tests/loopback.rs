//! Prevents a client from returning the answers of other keys, trusting the wrong server, or waiting forever.
#![cfg(feature = "net")]

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use common::{MD5_KNOWN, Running, bounded, key, raw_server, sha256, snapshot};
use ksn::{
    Client, ClientConfig, ConnectError, Key, LookupError, LookupOptions, Origin, Status, Trust,
    batch::Detail,
    key::{KeyKind, PrefixWidth, Scope},
    wire::{self, Notice, ServerLimits, Welcome},
};
use tokio::time;

fn numbered(count: u32) -> Vec<Key> {
    (0..count).map(|number| sha256(number).into()).collect()
}

/// Asserts that the listed numbers, and no others, are known.
fn assert_numbered(answers: &[ksn::Answer]) {
    for (number, answer) in (0..).zip(answers) {
        let listed = number < 1_000 && number % 10 == 0;
        assert_eq!(answer.status, if listed { Status::Known } else { Status::Unknown }, "{number}");
        if listed {
            let record = answer.winner().unwrap();
            assert_eq!((record.id, &*record.name), (1_000 + number, &*format!("Trojan.Numbered.{}", number / 10)));
        }
    }
}

#[tokio::test]
async fn a_mixed_batch_keeps_its_order() {
    let server = Running::start(|_| {}).await;
    let client = bounded(server.client()).await;
    let keys = [
        "url:sub.evil.example/page",
        MD5_KNOWN,
        "ipv4:192.0.2.7",
        "sha1:00112233445566778899aabbccddeeff01234567",
        "url:good.example/bad?x=1",
        "url:good.example/other",
        "ipv4:198.51.100.1",
        "url:192.0.2.9/x",
        MD5_KNOWN,
    ];
    let keys = keys.map(key);
    let answers = bounded(client.lookup(&keys)).await.unwrap();
    let names: Vec<_> = answers.iter().map(|a| a.winner().map_or("", |r| &*r.name)).collect();
    assert_eq!(names, ["Domain", "Eicar", "Address", "", "Exact", "", "", "Block", "Eicar"]);
    assert!(answers.iter().all(|a| (a.origin, a.generation) == (Origin::Server, 1)));
    assert_eq!(answers[3].status, Status::Unknown);

    let domain = answers[0].winner().unwrap();
    assert_eq!((domain.matched.as_deref(), domain.scope), (Some("evil.example"), Some(Scope::Domain)));
    assert_eq!(answers[7].winner().unwrap().matched.as_deref(), Some("192.0.2.0/24"));
    assert_eq!(answers[1].winner().unwrap().matched, None);

    let all = LookupOptions { detail: Detail::All, ..LookupOptions::default() };
    let answers = bounded(client.lookup_with(&keys, &all)).await.unwrap();
    let names: Vec<_> = answers[2].records.iter().map(|r| &*r.name).collect();
    assert_eq!(names, ["Address", "Block"]);

    assert_eq!(client.welcome().unwrap().dataset, "test");
    assert_eq!(client.welcome().unwrap().records(KeyKind::Ipv4), 2);
    assert!(bounded(client.lookup(&[])).await.unwrap().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn answers_may_be_cached_as_long_as_the_server_allows() {
    let server = Running::start(|config| {
        config.positive_ttl = Duration::from_secs(77);
        config.negative_ttl = Duration::from_secs(7);
    })
    .await;
    let client = bounded(server.client()).await;
    let keys =
        [MD5_KNOWN, "url:sub.evil.example/page", "ipv4:192.0.2.7", "url:good.example/other", "ipv4:198.51.100.1"];
    let keys = keys.map(key);
    for prefix in [None, Some(PrefixWidth::Four)] {
        let options = LookupOptions { prefix, ..LookupOptions::default() };
        let answers = bounded(client.lookup_with(&keys, &options)).await.unwrap();
        assert_eq!(answers.iter().map(|answer| answer.ttl_s).collect::<Vec<_>>(), [77, 77, 77, 7, 7], "{prefix:?}");
    }
    let large = numbered(1_000);
    for (number, answer) in bounded(client.lookup(&large)).await.unwrap().iter().enumerate() {
        assert_eq!(answer.ttl_s, if number % 10 == 0 { 77 } else { 7 }, "{number}");
    }
    let now = ksn::timestamp::Timestamp::from_seconds(1_700_000_000).unwrap();
    assert!(server.index.lookup(&keys, Detail::Winner, now).iter().all(|answer| answer.ttl_s == 0));
    server.stop().await;
}

#[tokio::test]
async fn a_hundred_thousand_keys_are_sent_in_several_batches() {
    let server = Running::start(|_| {}).await;
    let client = bounded(server.client()).await;
    // From a separate task: the future must be `Send`.
    let answers = tokio::spawn(async move { bounded(client.lookup(&numbered(100_000))).await });
    let answers = answers.await.unwrap().unwrap();
    assert_eq!(answers.len(), 100_000);
    assert_numbered(&answers);
    server.stop().await;
}

#[tokio::test]
async fn keys_missing_from_a_truncated_answer_are_requested_again() {
    let server = Running::start(|config| config.limits.answer_bytes = 1_000).await;
    let client = bounded(server.client()).await;
    let mut keys = numbered(1_000);
    keys.extend((0..50).map(|_| key(MD5_KNOWN)));
    let answers = bounded(client.lookup(&keys)).await.unwrap();
    assert_numbered(&answers[..1_000]);
    assert!(answers[1_000..].iter().all(|answer| answer.status == Status::Known));
    server.stop().await;
}

#[tokio::test]
async fn a_client_respects_the_limits_of_its_server() {
    let limits =
        ServerLimits { keys: 100, cost: 150, columns: 1, request_bytes: 2_000, streams: 2, ..Default::default() };
    let server = Running::start(|config| config.limits = limits).await;
    let client = bounded(server.client()).await;
    let mut keys = numbered(1_000);
    keys.extend((0..20).map(|i| key(&format!("url:host{i}.evil.example/"))));
    let answers = bounded(client.lookup(&keys)).await.unwrap();
    assert_numbered(&answers[..1_000]);
    assert!(answers[1_000..].iter().all(|answer| answer.status == Status::Known));
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_other_than_the_pinned_one_is_refused() {
    let (server, other) = (Running::start(|_| {}).await, Running::start(|_| {}).await);
    let config = ClientConfig { trust: Trust::Pin(other.pin), ..server.client_config() };
    let error = bounded(Client::connect(config)).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::WrongPin { expected, found } if (expected, found) == (other.pin, server.pin)),
        "{error}"
    );
    assert!(error.to_string().contains(&server.pin.to_string()));
}

#[tokio::test]
async fn only_the_configured_authority_and_server_name_are_trusted() {
    let (server, other) = (Running::start(|_| {}).await, Running::start(|_| {}).await);
    let trust = |of: &Running, name: &str| Trust::Authorities {
        file: of.state.path().join("server.crt"),
        server_name: Some(name.into()),
    };
    let connect = |trust| bounded(Client::connect(ClientConfig { trust, ..server.client_config() }));
    connect(trust(&server, "localhost")).await.unwrap();
    for wrong in [trust(&other, "localhost"), trust(&server, "elsewhere.example")] {
        let error = connect(wrong).await.unwrap_err();
        assert!(matches!(error, ConnectError::WrongCertificate { .. }), "{error:?}");
        let source = std::error::Error::source(&error).expect("the error of the TLS library").to_string();
        assert_eq!(error.to_string(), format!("wrong server: {source}"));
    }
}

#[tokio::test]
async fn another_protocol_on_the_port_is_reported_as_such() {
    let (endpoint, pin) = raw_server(b"other/1");
    let config = ClientConfig::new(endpoint.local_addr().unwrap().to_string(), Trust::Pin(pin));
    let serve = async {
        while let Some(incoming) = endpoint.accept().await {
            drop(incoming.await);
        }
    };
    tokio::select! {
        () = serve => panic!("the server ended"),
        result = bounded(Client::connect(config)) => {
            let error = result.unwrap_err();
            assert!(matches!(error, ConnectError::WrongProtocol), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_silent_address_is_a_timeout_and_a_missing_port_is_an_error() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (endpoint, pin) = raw_server(wire::ALPN);
    drop(endpoint);
    let mut config = ClientConfig::new(free.local_addr().unwrap().to_string(), Trust::Pin(pin));
    config.connect_timeout = Duration::from_millis(300);
    let error = bounded(Client::connect(config.clone())).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");
    config.server = "127.0.0.1".into();
    let error = bounded(Client::connect(config)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Resolve { .. }), "{error:?}");
}

fn welcome(dataset: &str) -> Welcome {
    Welcome {
        version: wire::VERSION,
        limits: ServerLimits::default(),
        dataset: dataset.into(),
        generation: 1,
        sequence: 0,
        created: None,
        kinds: Vec::new(),
        software: "test".into(),
    }
}

/// Runs a server that sends a welcome and then never answers.
async fn silent(endpoint: quinn::Endpoint) {
    let connection = endpoint.accept().await.unwrap().await.unwrap();
    let (mut send, _recv) = connection.accept_bi().await.unwrap();
    // In one packet: the client must keep the bytes after a frame of the control stream for the next frame.
    let notices = [Notice::NewGeneration(5), Notice::Unknown(99), Notice::NewGeneration(6)].map(Notice::to_frame);
    send.write_all(&[welcome("silent").to_frame(), notices.concat()].concat()).await.unwrap();
    connection.closed().await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout() {
    let (endpoint, pin) = raw_server(wire::ALPN);
    let config = ClientConfig::new(endpoint.local_addr().unwrap().to_string(), Trust::Pin(pin));
    let server = tokio::spawn(silent(endpoint));
    let client = bounded(Client::connect(config)).await.unwrap();
    let options = LookupOptions { timeout: Some(Duration::from_millis(200)), ..LookupOptions::default() };
    let started = Instant::now();
    let error = bounded(client.lookup_with(&[key(MD5_KNOWN)], &options)).await.unwrap_err();
    assert!(matches!(error, LookupError::Timeout { after } if Some(after) == options.timeout), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(client.welcome().unwrap().generation, 6);
    drop(client);
    bounded(server).await.unwrap();
}

/// Prevents waiting for the timeout of a handshake with a closed port, which the system reports.
#[tokio::test]
async fn a_closed_port_fails_at_once() {
    let (endpoint, pin) = raw_server(wire::ALPN);
    let address = endpoint.local_addr().unwrap();
    endpoint.close(0u32.into(), b"");
    drop(endpoint);
    let mut config = ClientConfig::new(address.to_string(), Trust::Pin(pin));
    config.connect_timeout = Duration::from_secs(60);
    let error = loop {
        match bounded(Client::connect(config.clone())).await.unwrap_err() {
            // The endpoint is dropped in the background.
            ConnectError::Refused | ConnectError::Lost(_) => time::sleep(Duration::from_millis(10)).await,
            error => break error,
        }
    };
    assert!(matches!(error, ConnectError::Unreachable { server, .. } if server == address), "{error:?}");
}

/// Prevents the probe of a closed port from changing anything for a server: it answers nothing to it, not even to many.
#[tokio::test]
async fn a_server_ignores_probes() {
    let server = Running::start(|_| {}).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.address).await.unwrap();
    for _ in 0..100 {
        socket.send(&[0]).await.unwrap();
    }
    let answer = time::timeout(Duration::from_millis(200), socket.recv(&mut [0; 2_048])).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_numbered(&server.client().await.lookup(&numbered(20)).await.unwrap());
}

/// Runs a server that sends a welcome, closes the connection `after` the first batch, and never answers again.
async fn close_during_a_batch(endpoint: quinn::Endpoint, after: Duration) {
    let connection = endpoint.accept().await.unwrap().await.unwrap();
    let (mut send, _recv) = connection.accept_bi().await.unwrap();
    send.write_all(&welcome("leaving").to_frame()).await.unwrap();
    let _batch = connection.accept_bi().await.unwrap();
    time::sleep(after).await;
    connection.close(0u32.into(), b"");
    // Kept until the end of the test, so that a new connection gets no answer.
    let _unanswered = endpoint.accept().await;
    std::future::pending::<()>().await;
}

/// Prevents a lookup from restarting its timeout when it begins in a coalesced batch and is retried on another
/// connection.
#[tokio::test]
async fn a_retried_lookup_keeps_its_timeout() {
    let (endpoint, pin) = raw_server(wire::ALPN);
    let mut config = ClientConfig::new(endpoint.local_addr().unwrap().to_string(), Trust::Pin(pin));
    config.connect_timeout = Duration::from_secs(60);
    let timeout = Duration::from_secs(1);
    let server = tokio::spawn(close_during_a_batch(endpoint, timeout * 3 / 4));
    let client = bounded(Client::connect(config)).await.unwrap();
    let options = LookupOptions { timeout: Some(timeout), ..LookupOptions::default() };
    let started = Instant::now();
    let error = bounded(client.lookup_with(&[key(MD5_KNOWN)], &options)).await.unwrap_err();
    let took = started.elapsed();
    assert!(matches!(error, LookupError::Timeout { after } if after == timeout), "{error:?}");
    assert!(took >= timeout && took < timeout * 3 / 2, "{took:?}");
    server.abort();
}

#[tokio::test]
async fn closing_a_client_closes_its_connection() {
    let (endpoint, pin) = raw_server(wire::ALPN);
    let config = ClientConfig::new(endpoint.local_addr().unwrap().to_string(), Trust::Pin(pin));
    let server = tokio::spawn(silent(endpoint));
    let client = bounded(Client::connect(config)).await.unwrap();
    // Another handle keeps the connection open; closing the last one completes both calls.
    let other = client.clone();
    let closing = tokio::spawn(client.close());
    time::sleep(Duration::from_millis(50)).await;
    assert!(!closing.is_finished() && !server.is_finished());
    bounded(other.close()).await;
    bounded(closing).await.unwrap();
    bounded(server).await.unwrap();
}

/// Prevents a program that looks up one key from waiting until late packets have drained: three timeouts of at least
/// 25 ms.
#[tokio::test]
async fn closing_does_not_wait_for_the_drain() {
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let (endpoint, pin) = raw_server(wire::ALPN);
        let config = ClientConfig::new(endpoint.local_addr().unwrap().to_string(), Trust::Pin(pin));
        let server = tokio::spawn(silent(endpoint));
        let client = bounded(Client::connect(config)).await.unwrap();
        let began = Instant::now();
        bounded(client.close()).await;
        fastest = fastest.min(began.elapsed());
        // The close was sent nevertheless.
        bounded(server).await.unwrap();
    }
    assert!(fastest < Duration::from_millis(40), "{fastest:?}");
}

#[tokio::test]
async fn a_client_of_a_stopped_server_closes_immediately() {
    let server = Running::start(|_| {}).await;
    let mut config = server.client_config();
    config.connect_timeout = Duration::from_secs(60);
    let client = bounded(Client::connect(config)).await.unwrap();
    server.stop().await;
    // The client keeps reconnecting, for up to 60 seconds.
    let options = LookupOptions { timeout: Some(Duration::from_millis(200)), ..LookupOptions::default() };
    bounded(client.lookup_with(&numbered(1), &options)).await.unwrap_err();
    let started = Instant::now();
    bounded(client.close()).await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_stopped_server_is_an_error_and_a_restarted_one_answers() {
    let server = Running::start(|_| {}).await;
    let (address, state) = (server.address, server.state.path().to_owned());
    let mut config = server.client_config();
    config.connect_timeout = Duration::from_millis(300);
    let client = bounded(Client::connect(config)).await.unwrap();
    bounded(client.lookup(&numbered(1))).await.unwrap();
    // The certificate outlives the server.
    let kept = tempfile::tempdir().unwrap();
    for name in ["server.crt", "server.key"] {
        std::fs::copy(state.join(name), kept.path().join(name)).unwrap();
    }
    server.stop().await;

    let options = LookupOptions { timeout: Some(Duration::from_millis(300)), ..LookupOptions::default() };
    let error = bounded(client.lookup_with(&numbered(1), &options)).await.unwrap_err();
    assert!(matches!(&error, LookupError::Connect(e) if matches!(**e, ConnectError::Unreachable { .. })), "{error:?}");

    let _back = Running::start(|config| {
        config.listen = address;
        config.certificate = ksn::Certificate::SelfSigned { state: kept.path().into() };
    })
    .await;
    let answers = bounded(client.lookup(&numbered(20))).await.unwrap();
    assert_numbered(&answers);
}

#[tokio::test]
async fn a_dropped_lookup_does_not_affect_others() {
    let server = Running::start(|_| {}).await;
    let client = bounded(server.client()).await;
    let keys = numbered(50_000);
    for _ in 0..5 {
        let options = LookupOptions { timeout: Some(Duration::from_micros(500)), ..LookupOptions::default() };
        let _ = client.lookup_with(&keys, &options).await;
    }
    let (a, b) = tokio::join!(client.lookup(&keys), client.lookup(&keys[..1_000]));
    assert_numbered(&a.unwrap());
    assert_numbered(&b.unwrap());
    server.stop().await;
}

#[tokio::test]
async fn a_new_generation_is_announced_and_answers() {
    let server = Running::start(|_| {}).await;
    let client = bounded(server.client()).await;
    server.index.replace(snapshot(2));
    assert_eq!(bounded(client.lookup(&numbered(1))).await.unwrap()[0].generation, 2);
    bounded(async {
        while client.welcome().unwrap().generation != 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    server.stop().await;
}

#[test]
fn a_blocking_client_serves_many_threads() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Running::start(|_| {}));
    let config = server.client_config();
    let lookups = std::thread::spawn(move || {
        let client = Arc::new(Client::spawn(config).unwrap());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let client = client.clone();
                std::thread::spawn(move || assert_numbered(&client.lookup(&numbered(2_000)).unwrap()))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    runtime.block_on(async {
        let joined = tokio::task::spawn_blocking(move || lookups.join().unwrap());
        bounded(joined).await.unwrap();
        server.stop().await;
    });
}

/// Prevents connections on other cores than the first from not being served, or not being closed by a shutdown.
#[tokio::test]
async fn several_cores_serve_one_port() {
    let server = Running::start(|config| config.cores = 3).await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(bounded(server.client()).await);
    }
    for client in &clients {
        let answers = bounded(client.lookup(&numbered(1_000))).await.unwrap();
        assert_numbered(&answers);
    }
    let last = clients.pop().unwrap();
    let lookups = tokio::spawn(async move { while last.lookup(&[key(MD5_KNOWN)]).await.is_ok() {} });
    server.stop().await;
    bounded(lookups).await.unwrap();
}

/// Prevents a server that was bound but never run from leaking its threads and its port.
#[tokio::test]
async fn a_dropped_server_releases_its_port() {
    let state = tempfile::tempdir().unwrap();
    let certificate = ksn::Certificate::SelfSigned { state: state.path().into() };
    let mut config = ksn::ServerConfig::new("127.0.0.1:0".parse().unwrap(), certificate);
    config.cores = 2;
    let index = Arc::new(ksn::Index::new(snapshot(1)));
    let server = ksn::Server::bind(config.clone(), index.clone()).unwrap();
    config.listen = server.local_addr();
    drop(server);
    let deadline = Instant::now() + Duration::from_secs(10);
    config.cores = 1;
    while let Err(error) = ksn::Server::bind(config.clone(), index.clone()) {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Prevents a server that refuses clients from looking like a lost connection, without its code and message.
#[tokio::test]
async fn a_close_before_the_welcome_tells_why() {
    for (code, is_expected) in [
        (
            2u32,
            (|e| matches!(e, ConnectError::Server { code: 2, message } if message == "why"))
                as fn(&ConnectError) -> bool,
        ),
        (12, |e| matches!(e, ConnectError::Refused)),
        (13, |e| matches!(e, ConnectError::Refused)),
        (0, |e| matches!(e, ConnectError::Lost(_))),
    ] {
        let (endpoint, pin) = raw_server(wire::ALPN);
        let config = ClientConfig::new(endpoint.local_addr().unwrap().to_string(), Trust::Pin(pin));
        let serve = async {
            let connection = endpoint.accept().await.unwrap().await.unwrap();
            let _hello = connection.accept_bi().await.unwrap();
            connection.close(code.into(), b"why");
            connection.closed().await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = serve => panic!("the server ended"),
            result = bounded(Client::connect(config)) => {
                let error = result.unwrap_err();
                assert!(is_expected(&error), "{code}: {error:?}");
            }
        }
    }
}
