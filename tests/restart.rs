//! Prevents clients that get no answer for 30 seconds, the idle timeout, after a server was killed and started again,
//! after a NAT forgot their port, or because the server was not running yet when they started.
//!
//! The outages of 20 seconds, and those of 1,000 connections, are run by
//! `cargo test --test restart -- --ignored --test-threads 1 --nocapture`.
#![cfg(all(unix, feature = "net"))]

#[path = "common/mod.rs"]
mod common;
#[path = "restart/paths.rs"]
mod paths;
#[path = "common/server_process.rs"]
mod server_process;

use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use common::{MD5_KNOWN, bounded, key, raw};
use ksn::{Client, ClientConfig, ConnectError, LookupError, LookupOptions, Pin, Status, TlsError, Trust};
use quinn::ConnectionError;
use server_process::ServerProcess;
use tokio::{task::JoinSet, time};

/// The server of the other tests, in a process of its own.
#[test]
#[ignore = "run by the other tests"]
fn server_process() {
    server_process::run();
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The lookups of one client in an outage: their begin and end, and whether they were answered.
type Lookups = Vec<(Instant, Instant, Result<(), LookupError>)>;

/// Looks up a key again and again until `is_over`.
async fn look_up(client: Client, pause: Duration, timeout: Duration, is_over: Arc<AtomicBool>) -> Lookups {
    let options = LookupOptions { timeout: Some(timeout), ..LookupOptions::default() };
    let mut lookups = Vec::new();
    while !is_over.load(Relaxed) {
        let began = Instant::now();
        let answered = client.lookup_with(&[key(MD5_KNOWN)], &options).await;
        let answered = answered.map(|answers| assert_eq!(answers[0].status, Status::Known));
        lookups.push((began, Instant::now(), answered));
        time::sleep(pause).await;
    }
    lookups
}

/// An outage: a server is killed and started again, while clients look up keys.
struct Outage {
    clients: usize,
    cores: usize,
    /// From the kill until the server is started again.
    lasts: Duration,
    /// How long to observe the clients after the restart.
    observed: Duration,
}

impl Outage {
    /// Runs it. Returns the lookups of each client, and when the server listened again. `before_restart` may change the
    /// state directory.
    async fn run(&self, before_restart: impl FnOnce(&Path)) -> (Vec<Lookups>, Instant) {
        let state = tempfile::tempdir().unwrap();
        let server = ServerProcess::start(state.path(), ANY, self.cores);
        let (address, config) = (server.address, server.client_config());
        let is_over = Arc::new(AtomicBool::new(false));
        let (mut clients, mut tasks) = (Vec::new(), JoinSet::new());
        for _ in 0..self.clients {
            clients.push(bounded(Client::connect(config.clone())).await.unwrap());
        }
        let pause = Duration::from_millis(if self.clients > 1 { 200 } else { 5 });
        for client in clients {
            tasks.spawn(look_up(client, pause, Duration::from_secs(10), is_over.clone()));
        }
        time::sleep(Duration::from_millis(300)).await;
        server.kill();
        time::sleep(self.lasts).await;
        before_restart(state.path());
        let (path, cores) = (state.path().to_owned(), self.cores);
        let started = tokio::task::spawn_blocking(move || ServerProcess::start(&path, address, cores));
        let server = started.await.unwrap();
        time::sleep(self.observed).await;
        is_over.store(true, Relaxed);
        (tasks.join_all().await, server.listening_at)
    }

    /// Runs it, asserts that no lookup fails, and returns the slowest of the clients' first answers after the restart.
    async fn recovers_in(&self) -> Duration {
        let (clients, listening_at) = self.run(|_| {}).await;
        let times = recovery(&clients, listening_at);
        let Self { clients: count, cores, lasts, .. } = self;
        let (median, slowest) = (times[count / 2], times[count - 1]);
        println!("outage of {lasts:?}, clients: {count}, cores: {cores}: median {median:?}, slowest {slowest:?}");
        for (_, _, answered) in clients.iter().flatten() {
            answered.as_ref().unwrap();
        }
        slowest
    }
}

/// Returns the times from the restart until each client had an answer, ascending. Panics if one had none.
fn recovery(clients: &[Lookups], listening_at: Instant) -> Vec<Duration> {
    let first_answer = |lookups: &Lookups| {
        let answered = lookups.iter().filter(|(_, _, answered)| answered.is_ok()).map(|&(_, ended, _)| ended);
        answered.filter(|&ended| ended >= listening_at).min().expect("an answer after the restart") - listening_at
    };
    let mut times: Vec<Duration> = clients.iter().map(first_answer).collect();
    times.sort();
    times
}

const OBSERVED: Duration = Duration::from_millis(1_500);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_client_is_answered_within_a_second_after_a_short_outage() {
    for (cores, millis) in [(1, 300), (2, 300)] {
        let lasts = Duration::from_millis(millis);
        assert!(Outage { clients: 1, cores, lasts, observed: OBSERVED }.recovers_in().await < SECOND);
    }
}

#[tokio::test]
async fn a_client_is_answered_within_a_second_after_an_outage_of_three_seconds() {
    let outage = |cores| Outage { clients: 1, cores, lasts: Duration::from_secs(3), observed: OBSERVED };
    let (one, two) = (outage(1), outage(2));
    let (one, two) = tokio::join!(one.recovers_in(), two.recovers_in());
    assert!(one < SECOND && two < SECOND);
}

/// Prevents clients that depend on the reset, which a path may drop and a server with another secret does not send.
#[tokio::test]
async fn silence_alone_is_noticed() {
    let outage = Outage { clients: 1, cores: 2, lasts: Duration::from_millis(300), observed: OBSERVED };
    let forget = |state: &Path| std::fs::remove_file(state.join("server.secret")).unwrap();
    let (clients, listening_at) = outage.run(forget).await;
    assert!(clients.iter().flatten().all(|(_, _, answered)| answered.is_ok()));
    assert!(recovery(&clients, listening_at)[0] < SECOND);
}

#[tokio::test]
#[ignore = "takes a minute; asserts times, for which the machine has to be idle"]
async fn a_thousand_clients_are_answered_within_a_second_after_short_outages() {
    let mut slowest = Duration::ZERO;
    for cores in [1, 2] {
        for lasts in [300, 3_000].map(Duration::from_millis) {
            let observed = Duration::from_secs(6);
            slowest = slowest.max(Outage { clients: 1_000, cores, lasts, observed }.recovers_in().await);
        }
    }
    assert!(slowest < SECOND);
}

/// After the prompt phase lookups fail at once, and pauses are longer.
#[tokio::test]
#[ignore = "takes two minutes"]
async fn clients_return_after_an_outage_of_twenty_seconds() {
    for cores in [1, 2] {
        for clients in [1, 1_000] {
            let outage = Outage { clients, cores, lasts: Duration::from_secs(20), observed: Duration::from_secs(16) };
            let (lookups, listening_at) = outage.run(|_| {}).await;
            let times = recovery(&lookups, listening_at);
            let (recovered, slowest) = (times[clients / 2], times[clients - 1]);
            let failed = lookups.iter().flatten().filter(|(_, _, answered)| answered.is_err());
            let mut waits: Vec<Duration> = failed.map(|(began, ended, _)| *ended - *began).collect();
            waits.sort();
            let median = waits[waits.len() / 2];
            println!(
                "outage of 20s, clients: {clients}, cores: {cores}: median {recovered:?}, slowest {slowest:?}; \
                 lookups failed after {median:?}"
            );
            assert!(median < Duration::from_millis(20), "{median:?}");
        }
    }
}

/// Prevents resets that only this client understands.
#[tokio::test]
async fn a_plain_quic_client_is_reset_by_the_restarted_server() {
    for (cores_before, cores_after) in [(1, 1), (2, 2), (2, 1), (1, 2)] {
        let state = tempfile::tempdir().unwrap();
        let server = ServerProcess::start(state.path(), ANY, cores_before);
        let address = server.address;
        let connection = raw(address, state.path()).await;
        server.kill();
        let _server = ServerProcess::start(state.path(), address, cores_after);
        let (mut send, _recv) = bounded(connection.open_bi()).await.unwrap();
        let _ = send.write_all(b"the next packet").await;
        let error = time::timeout(Duration::from_secs(2), connection.closed()).await.expect("a reset");
        assert_eq!(error, ConnectionError::Reset, "{cores_before} cores, then {cores_after}");
    }
}

/// Prevents lookups that fail, or a connection that is given up, because a server stalls for a moment.
#[tokio::test]
async fn a_server_that_stalls_keeps_its_connections() {
    let state = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(state.path(), ANY, 1);
    let client = bounded(Client::connect(server.client_config())).await.unwrap();
    let id = rustix::process::Pid::from_raw(server.id() as i32).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::STOP).unwrap();
    // It takes a moment until all of its threads have stopped.
    time::sleep(Duration::from_millis(100)).await;
    let (first, later) = ([key(MD5_KNOWN)], [key("ipv4:192.0.2.7")]);
    let resumed = async {
        time::sleep(Duration::from_millis(1_200)).await;
        let now = Instant::now();
        rustix::process::kill_process(id, rustix::process::Signal::CONT).unwrap();
        now
    };
    let later = async {
        time::sleep(Duration::from_millis(600)).await;
        let answers = client.lookup(&later).await;
        (answers, Instant::now())
    };
    let first = async { (client.lookup(&first).await, Instant::now()) };
    let (resumed, later, first) = tokio::join!(resumed, later, first);
    for (answers, at) in [first, later] {
        assert_eq!(answers.unwrap()[0].status, Status::Known);
        assert!(at >= resumed && at < resumed + Duration::from_secs(1), "{:?}", at - resumed);
    }
}

/// Prevents a scanner that does not start, or loses its first lookups, because it starts before the server.
#[tokio::test]
async fn a_lazy_client_waits_for_its_server() {
    let state = tempfile::tempdir().unwrap();
    let first = ServerProcess::start(state.path(), ANY, 1);
    let (address, config) = (first.address, first.client_config());
    first.kill();
    let client = Client::connect_lazy(config).unwrap();
    assert!(client.welcome().is_none());
    let lookup = tokio::spawn({
        let client = client.clone();
        async move { (client.lookup(&[key(MD5_KNOWN)]).await, Instant::now()) }
    });
    time::sleep(Duration::from_millis(700)).await;
    assert!(!lookup.is_finished());
    let server = ServerProcess::start(state.path(), address, 1);
    let (answers, at) = bounded(lookup).await.unwrap();
    assert_eq!(answers.unwrap()[0].status, Status::Known);
    assert!(at < server.listening_at + Duration::from_secs(1));
    assert_eq!(client.welcome().unwrap().dataset, "test");
}

/// Prevents mistakes of configuration that are found only when the first lookup waits.
#[tokio::test]
async fn a_lazy_client_reports_mistakes_at_once() {
    let error = |server: &str, trust| Client::connect_lazy(ClientConfig::new(server, trust)).unwrap_err();
    let missing = Trust::Authorities { file: "/missing/ca.pem".into(), server_name: None };
    assert!(matches!(error("127.0.0.1:1", missing), ConnectError::Tls(TlsError::File { .. })));
    let pin = Pin::of_certificate(b"");
    assert!(matches!(error("127.0.0.1", Trust::Pin(pin)), ConnectError::Resolve { .. }));

    let server = common::Running::start(|_| {}).await;
    let client = Client::connect_lazy(ClientConfig { trust: Trust::Pin(pin), ..server.client_config() }).unwrap();
    for _ in 0..2 {
        let began = Instant::now();
        let error = bounded(client.lookup(&[key(MD5_KNOWN)])).await.unwrap_err();
        assert!(matches!(&error, LookupError::Connect(e) if matches!(**e, ConnectError::WrongPin { .. })), "{error}");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}

#[test]
fn a_lazy_client_can_block() {
    let free = UdpSocket::bind(ANY).unwrap().local_addr().unwrap();
    let config = ClientConfig::new(free.to_string(), Trust::Pin(Pin::of_certificate(b"")));
    let client = Client::spawn_lazy(config).unwrap();
    let options = LookupOptions { timeout: Some(Duration::from_millis(200)), ..LookupOptions::default() };
    let error = client.lookup_with(&[key(MD5_KNOWN)], &options).unwrap_err();
    assert!(matches!(&error, LookupError::Connect(e) if matches!(**e, ConnectError::Unreachable { .. })), "{error}");
    assert!(client.welcome().is_none());
}

/// Prevents a program from queueing lookups for a server that is away for longer than a restart takes.
#[tokio::test]
async fn lookups_fail_at_once_when_an_outage_lasts() {
    let free = UdpSocket::bind(ANY).unwrap().local_addr().unwrap();
    let config = ClientConfig::new(free.to_string(), Trust::Pin(Pin::of_certificate(b"")));
    let client = Client::connect_lazy(config).unwrap();
    let began = Instant::now();
    bounded(client.lookup(&[key(MD5_KNOWN)])).await.unwrap_err();
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(7), "{waited:?}");
    let began = Instant::now();
    bounded(client.lookup(&[key(MD5_KNOWN)])).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
}
