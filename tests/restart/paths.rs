//! Prevents a server from sending more to an address than QUIC permits before the address has proved that it receives
//! it, and clients from losing their connection with the port that a NAT gave them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ksn::{
    Client, ClientConfig, Status, Trust,
    batch::Column,
    key::DigestKind,
    wire::{HEADER_BYTES, Header, Hello, RequestOptions, write_request},
};
use quinn::{Connection, RecvStream, SendStream};
use tokio::{net::UdpSocket, sync::Notify, time};

use crate::common::{MD5_KNOWN, Running, bounded, key, raw};

/// Forwards datagrams between one client and a server, like a NAT, and changes the address of the client.
struct Relay {
    address: SocketAddr,
    shared: Arc<RelayState>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct RelayState {
    rebind: Notify,
    /// Bytes from the server until the next datagram of the client is forwarded from another address.
    hijack_after: AtomicUsize,
    /// Bytes sent from the other address, and received there.
    sent: AtomicU64,
    received: AtomicU64,
    /// How often datagrams of the client were forwarded after that.
    resumed: AtomicU64,
}

const NEVER: usize = usize::MAX;

/// How long a hijacked client sends nothing.
const SILENCE: Duration = Duration::from_millis(600);

/// The longest datagram on a path that a client with quinn's own settings has found.
const DATAGRAM_BYTES: u64 = 1_472;

impl Relay {
    async fn start(server: SocketAddr, other: Ipv4Addr) -> Self {
        let front = socket(Ipv4Addr::LOCALHOST).await;
        let address = front.local_addr().unwrap();
        let shared = Arc::new(RelayState { hijack_after: AtomicUsize::new(NEVER), ..RelayState::default() });
        let task = tokio::spawn(forward(front, server, other, shared.clone()));
        Self { address, shared, task }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn socket(address: Ipv4Addr) -> UdpSocket {
    UdpSocket::bind((address, 0)).await.unwrap()
}

async fn forward(front: UdpSocket, server: SocketAddr, other: Ipv4Addr, shared: Arc<RelayState>) {
    let mut back = socket(Ipv4Addr::LOCALHOST).await;
    let other = socket(other).await;
    let (mut up, mut down, mut beside) = (vec![0; 65_536], vec![0; 65_536], vec![0; 65_536]);
    let (mut client, mut silent_until) = (None, Instant::now());
    loop {
        tokio::select! {
            received = front.recv_from(&mut up) => {
                let Ok((length, from)) = received else { continue };
                client = Some(from);
                if Instant::now() < silent_until {
                    continue;
                }
                if shared.hijack_after.load(Relaxed) == 0 {
                    shared.hijack_after.store(NEVER, Relaxed);
                    silent_until = Instant::now() + SILENCE;
                    shared.sent.fetch_add(length as u64, Relaxed);
                    let _ = other.send_to(&up[..length], server).await;
                    continue;
                }
                if shared.sent.load(Relaxed) > 0 {
                    shared.resumed.fetch_add(1, Relaxed);
                }
                let _ = back.send_to(&up[..length], server).await;
            }
            received = back.recv_from(&mut down) => {
                let (Ok((length, _)), Some(client)) = (received, client) else { continue };
                let _ = front.send_to(&down[..length], client).await;
                let left = shared.hijack_after.load(Relaxed);
                if left != NEVER {
                    shared.hijack_after.store(left.saturating_sub(length), Relaxed);
                }
            }
            received = other.recv_from(&mut beside) => {
                let length = received.map_or(0, |(length, _)| length);
                shared.received.fetch_add(length as u64, Relaxed);
            }
            () = shared.rebind.notified() => back = socket(Ipv4Addr::LOCALHOST).await,
        }
    }
}

async fn hello(connection: &Connection) -> (SendStream, RecvStream) {
    let (mut send, mut recv) = bounded(connection.open_bi()).await.unwrap();
    send.write_all(&Hello::new("raw", "1", "test").to_frame()).await.unwrap();
    read_frame(&mut recv).await;
    (send, recv)
}

async fn read_frame(recv: &mut RecvStream) -> usize {
    let mut bytes = [0; HEADER_BYTES];
    bounded(recv.read_exact(&mut bytes)).await.unwrap();
    let header = Header::parse(&bytes).unwrap();
    let mut body = vec![0; header.body_bytes as usize];
    bounded(recv.read_exact(&mut body)).await.unwrap();
    body.len()
}

/// A datagram of a client is sent from another address, as by an attacker who wants that address to be flooded, while a
/// long answer is on its way.
#[tokio::test]
async fn an_unproved_address_gets_no_datagram_after_three_times_what_it_sent() {
    let others = if cfg!(target_os = "linux") { vec![[127, 0, 0, 1], [127, 0, 0, 2]] } else { vec![[127, 0, 0, 1]] };
    for other in others {
        let server = Running::start(|_| {}).await;
        let relay = Relay::start(server.address, other.into()).await;
        let connection = raw(relay.address, server.state.path()).await;
        let _control = hello(&connection).await;
        let ksn::Key::Digest(known) = key(MD5_KNOWN) else { panic!("a digest") };
        let bytes = known.bytes().repeat(65_536);
        let request =
            write_request(&RequestOptions::default(), &[Column::Digests { kind: DigestKind::Md5, bytes: &bytes }]);
        let (mut send, mut recv) = bounded(connection.open_bi()).await.unwrap();
        bounded(send.write_all(&request)).await.unwrap();
        send.finish().unwrap();
        relay.shared.hijack_after.store(200_000, Relaxed);
        let answer = tokio::spawn(async move { read_frame(&mut recv).await });
        let counts = || (relay.shared.sent.load(Relaxed), relay.shared.received.load(Relaxed));
        bounded(async {
            while counts().0 == 0 {
                time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        time::sleep(SILENCE).await;
        let (sent, received) = counts();
        println!("sent {sent} bytes from {other:?}, received {received}");
        assert!(received > 0, "the connection did not move: nothing was tested");
        // quinn lets a datagram begin within the limit and end beyond it, see its issue 1082.
        assert!(received < 3 * sent + DATAGRAM_BYTES, "{received} bytes to an address that sent {sent}");
        // The client itself is not harmed.
        assert!(bounded(answer).await.unwrap() > 65_536 * 40);
        assert!(relay.shared.resumed.load(Relaxed) > 0);
    }
}

#[tokio::test]
async fn a_client_keeps_its_connection_behind_a_nat_that_forgets_its_port() {
    for cores in [1, 2] {
        let server = Running::start(|config| config.cores = cores).await;
        let relay = Relay::start(server.address, Ipv4Addr::LOCALHOST).await;
        let config = ClientConfig::new(relay.address.to_string(), Trust::Pin(server.pin));
        let client = bounded(Client::connect(config)).await.unwrap();
        let mut slowest = Duration::ZERO;
        for round in 0..200 {
            if round % 50 == 10 {
                relay.shared.rebind.notify_one();
            }
            let began = Instant::now();
            let answers = bounded(client.lookup(&[key(MD5_KNOWN)])).await.unwrap();
            assert_eq!(answers[0].status, Status::Known);
            slowest = slowest.max(began.elapsed());
            time::sleep(Duration::from_millis(2)).await;
        }
        println!("rebound NAT, {cores} cores: slowest lookup {slowest:?}");
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    }
}
