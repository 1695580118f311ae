//! The bare exchange: QUIC with our settings that carries the same requests, and answers one bit a key unseen.
//!
//! It is what the transport alone takes, encryption included. What our exchange takes beyond it is ours: frames, the
//! index, answers. The settings repeat those of `src/net/transport.rs`, which is private.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quinn::{
    AckFrequencyConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, RecvStream, TransportConfig, VarInt,
    congestion::CubicConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{runtime::Runtime, sync::oneshot, task::JoinSet};

use crate::{
    Skip,
    cores::{self, Pinned},
    keys::{Draw, WIDTH},
    ours::{BATCH_KEYS, BURST_KEYS, IN_FLIGHT, Packets, one_thread},
    rounds::Sample,
};

/// A server that looks at nothing, and a client of it.
pub(crate) struct Bare {
    pub(crate) connection: Connection,
    pub(crate) runtime: Runtime,
    _endpoint: Endpoint,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Bare {
    pub(crate) fn start(packets: Packets) -> Result<Self, Skip> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).map_err(|e| e.to_string())?;
        let certificate = made.cert.der().clone();
        let server = server_config(certificate.clone(), made.signing_key.serialize_der(), packets)?;
        let (stop, stopped) = oneshot::channel();
        let (ready, bound) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _pinned = Pinned::to(cores::SERVER);
            one_thread().block_on(async {
                let endpoint = endpoint(Some(server), packets);
                let _ = ready.send(endpoint.as_ref().map_err(Clone::clone).map(local));
                if let Ok(endpoint) = endpoint {
                    tokio::select! {
                        () = serve(&endpoint) => {}
                        _ = stopped => {}
                    }
                }
            });
        });
        let address = bound.recv().map_err(|_| "the bare server panicked".to_owned())??;
        let runtime = one_thread();
        let client = client_config(certificate, packets)?;
        let (connection, endpoint) = runtime.block_on(async {
            let endpoint = endpoint(None, packets)?;
            let connecting = endpoint.connect_with(client, address, "localhost").map_err(|e| e.to_string())?;
            Ok::<_, Skip>((connecting.await.map_err(|e| e.to_string())?, endpoint))
        })?;
        Ok(Self { connection, runtime, _endpoint: endpoint, stop: Some(stop), thread: Some(thread) })
    }

    /// Times a burst in batches as ours are, eight in flight.
    pub(crate) fn exchange(&self, draw: &mut Draw) -> Sample {
        let burst = draw.burst(BURST_KEYS);
        let keys = burst.keys();
        // Requests as long as ours, header, head and column included; borrowed from the burst as ours cannot be.
        let batches: Vec<Bytes> = burst.bytes.chunks(BATCH_KEYS * WIDTH).map(Bytes::copy_from_slice).collect();
        let batches = Arc::new(batches);
        let started = Instant::now();
        let bytes = self.runtime.block_on(exchange_all(&self.connection, &batches));
        let time = started.elapsed();
        assert_eq!(bytes as u64, keys / 8 + (batches.len() * ANSWER_HEAD) as u64, "the bare answers");
        Sample { keys, time }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What stands before the keys of a request of one column: a header, a head and the column's descriptor.
const HEAD: &[u8; 72] = &[0; 72];

/// The same of an answer.
const ANSWER_HEAD: usize = 16 + 80 + 4;

async fn exchange_all(connection: &Connection, batches: &Arc<Vec<Bytes>>) -> usize {
    let next = Arc::new(AtomicUsize::new(0));
    let mut askers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (connection, batches, next) = (connection.clone(), batches.clone(), next.clone());
        askers.spawn(async move {
            let mut bytes = 0;
            while let Some(batch) = batches.get(next.fetch_add(1, Relaxed)) {
                bytes += ask(&connection, batch.clone()).await;
            }
            bytes
        });
    }
    askers.join_all().await.into_iter().sum()
}

/// Asks on a fresh stream; gives the length of the answer.
pub(crate) async fn ask(connection: &Connection, keys: Bytes) -> usize {
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    send.write_all_chunks(&mut [Bytes::from_static(HEAD), keys]).await.expect("it is taken");
    send.finish().expect("it is open");
    read(&mut recv).await
}

async fn serve(endpoint: &Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    let keys = (read(&mut recv).await - HEAD.len()) / WIDTH;
                    let answer = Bytes::from(vec![0; ANSWER_HEAD + keys.div_ceil(8)]);
                    if send.write_chunk(answer).await.is_ok() {
                        let _ = send.finish();
                    }
                });
            }
        });
    }
}

/// Reads to the end and forgets; gives how much it was.
async fn read(recv: &mut RecvStream) -> usize {
    let mut chunks: [Bytes; 32] = Default::default();
    let mut bytes = 0;
    while let Ok(Some(count)) = recv.read_chunks(&mut chunks).await {
        bytes += chunks[..count].iter_mut().map(|chunk| std::mem::take(chunk).len()).sum::<usize>();
    }
    bytes
}

fn server_config(
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    packets: Packets,
) -> Result<quinn::ServerConfig, Skip> {
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|c| c.with_no_client_auth().with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key).into()))
        .map_err(|e| e.to_string())?;
    let tls = QuicServerConfig::try_from(tls).map_err(|e| e.to_string())?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(Arc::new(transport(REQUEST_WINDOW, SERVER_WINDOW, 65, packets))).migration(false);
    Ok(config)
}

fn client_config(certificate: CertificateDer<'static>, packets: Packets) -> Result<quinn::ClientConfig, Skip> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(|e| e.to_string())?;
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = QuicClientConfig::try_from(tls).map_err(|e| e.to_string())?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(client_transport(packets)));
    Ok(config)
}

/// The settings of our clients.
pub(crate) fn client_transport(packets: Packets) -> TransportConfig {
    let mut transport = transport(ANSWER_WINDOW, 64 << 20, 0, packets);
    transport.keep_alive_interval(Some(Duration::from_secs(10)));
    transport
}

/// Bytes of the longest request and of the longest answer, which the window of a stream holds.
const REQUEST_WINDOW: u32 = (4 << 20) + (1 << 10);
const ANSWER_WINDOW: u32 = (8 << 20) + (1 << 10);

/// What a client may have on its way: the buffer that Linux grants where `net.core.rmem_max` is 4 MiB, and half of what
/// ours takes where more is granted.
const SERVER_WINDOW: u32 = 4 << 20;

fn transport(stream_window: u32, window: u32, streams: u32, packets: Packets) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(VarInt::from_u32(stream_window))
        .receive_window(VarInt::from_u32(window))
        .send_window(u64::from(window))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        // A client is driven only while it has its turn; on a busy machine the others' may take long.
        .max_idle_timeout(Some(VarInt::from_u32(600_000).into()))
        .send_fairness(false);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(packets.bytes());
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(VarInt::from_u32(100));
    let mut congestion = CubicConfig::default();
    congestion.initial_window(1 << 20);
    config
        .mtu_discovery_config(Some(discovery))
        .ack_frequency_config(Some(acknowledgements))
        .congestion_controller_factory(Arc::new(congestion));
    config
}

/// An endpoint on a loopback socket with buffers as large as ours.
pub(crate) fn endpoint(server: Option<quinn::ServerConfig>, packets: Packets) -> Result<Endpoint, Skip> {
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(packets.bytes()).map_err(|e| e.to_string())?;
    let bind = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        let (_, _) = (socket.set_recv_buffer_size(8 << 20), socket.set_send_buffer_size(8 << 20));
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        Endpoint::new(config, server, socket.into(), Arc::new(quinn::TokioRuntime))
    };
    bind().map_err(|e: std::io::Error| e.to_string())
}

fn local(endpoint: &Endpoint) -> SocketAddr {
    endpoint.local_addr().expect("it is bound")
}
