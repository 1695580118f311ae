//! Hostile clients: plain QUIC connections that send requests of our protocol, as many at a time as the server allows.

use std::{
    error::Error,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use ksn::{
    batch::{Column, Detail},
    key::DigestKind,
    wire::{self, Hello, RequestOptions, ServerLimits, write_request},
};
use quinn::{Connection, Endpoint, VarInt, crypto::rustls::QuicClientConfig};
use rustls::{RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::{runtime, time};

use crate::{
    Skip,
    cores::{self, Pinned},
    records,
};

/// What a request contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// 205 rows of one digest, all records: 6.6 KB.
    ManyRecords,
    /// 65,536 rows of one IPv4 address: 262 KB.
    ManyRows,
}

/// What a client does with its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// It reads the answer.
    Reads,
    /// It reads nothing, and waits until the server gives up.
    LeavesUnread,
    /// It stops the answer after a moment.
    Stops,
    /// It sends half of a long body, and waits until the server gives up.
    SendsHalf,
}

/// The load of some clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) frame: Frame,
    /// Whether the keys are listed.
    pub(crate) is_listed: bool,
    pub(crate) habit: Habit,
    pub(crate) connections: usize,
}

/// Clients that run until they are stopped.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    started: Instant,
    thread: thread::JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    bytes: AtomicU64,
    batches: AtomicU64,
}

/// Starts clients in a thread of their own. They trust the server with the certificate in this file.
pub(crate) fn start(load: Load, server: SocketAddr, certificate: &Path) -> Result<Running, Skip> {
    let tls = Arc::new(tls(certificate).map_err(|e| e.to_string())?);
    let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
    let (stopped, counting) = (stop.clone(), counts.clone());
    let thread = thread::spawn(move || {
        let _pinned = Pinned::to(cores::CLIENT);
        // They stand for other machines, whose work does not slow down the ordinary client.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::nice(19);
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for _ in 0..load.connections {
                let (tls, stopped, counting) = (tls.clone(), stopped.clone(), counting.clone());
                tokio::spawn(async move {
                    while !stopped.load(Relaxed) {
                        client(load, server, &tls, &stopped, &counting).await;
                        time::sleep(Duration::from_millis(50)).await;
                    }
                });
            }
            while !stopped.load(Relaxed) {
                time::sleep(Duration::from_millis(20)).await;
            }
        });
    });
    Ok(Running { stop, counts, started: Instant::now(), thread })
}

impl Running {
    /// Stops the clients. Returns the megabytes that they sent per second, and the batches that ended per second.
    pub(crate) fn stop(self) -> (f64, f64) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.stop.store(true, Relaxed);
        let _ = self.thread.join();
        let per_second = |count: &AtomicU64| count.load(Relaxed) as f64 / seconds;
        (per_second(&self.counts.bytes) / 1e6, per_second(&self.counts.batches))
    }
}

/// Serves one connection until it is lost or all is stopped.
async fn client(
    load: Load,
    server: SocketAddr,
    tls: &Arc<QuicClientConfig>,
    stop: &Arc<AtomicBool>,
    counts: &Arc<Counts>,
) {
    let Some((connection, _control)) = connect(load, server, tls).await else { return };
    let frame = bytes::Bytes::from(frame(load));
    let streams = ServerLimits::default().streams;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..streams {
        let (connection, frame) = (connection.clone(), frame.clone());
        let (stop, counts) = (stop.clone(), counts.clone());
        tasks.spawn(async move {
            while !stop.load(Relaxed) && batch(&connection, load.habit, frame.clone(), &counts).await.is_some() {
                counts.batches.fetch_add(1, Relaxed);
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// Sends one batch. `None` when the connection is lost.
async fn batch(connection: &Connection, habit: Habit, mut frame: bytes::Bytes, counts: &Counts) -> Option<()> {
    let (mut send, mut recv) = connection.open_bi().await.ok()?;
    if habit == Habit::SendsHalf {
        frame.truncate(frame.len() / 2);
    }
    let length = frame.len() as u64;
    if send.write_chunk(frame).await.is_ok() {
        counts.bytes.fetch_add(length, Relaxed);
    }
    match habit {
        Habit::SendsHalf => drop(recv.read_to_end(usize::MAX).await),
        Habit::Reads => {
            let _ = send.finish();
            let mut chunks: [bytes::Bytes; 32] = Default::default();
            while let Ok(Some(_)) = recv.read_chunks(&mut chunks).await {}
        }
        Habit::LeavesUnread => {
            let _ = send.finish();
            let _ = recv.received_reset().await;
        }
        Habit::Stops => {
            let _ = send.finish();
            time::sleep(Duration::from_millis(1)).await;
            let _ = recv.stop(VarInt::from_u32(1));
        }
    }
    connection.close_reason().is_none().then_some(())
}

/// Encodes the request.
fn frame(load: Load) -> Vec<u8> {
    if load.habit == Habit::SendsHalf {
        // As long as a request may be, so that the halves are as large as they can be.
        let bytes = records::digest(records::HEAVY).repeat(65_536);
        let column = Column::Digests { kind: DigestKind::Sha256, bytes: &bytes };
        return write_request(&RequestOptions::default(), &[column]);
    }
    match load.frame {
        Frame::ManyRecords => {
            let bytes: Vec<u8> = match load.is_listed {
                true => records::digest(records::HEAVY).repeat(205),
                false => (0..205).flat_map(|number| records::digest(1 << 60 | number)).collect(),
            };
            let options = RequestOptions { detail: Detail::All, ..RequestOptions::default() };
            write_request(&options, &[Column::Digests { kind: DigestKind::Sha256, bytes: &bytes }])
        }
        Frame::ManyRows => {
            let address = if load.is_listed { records::ADDRESS } else { records::OTHER_ADDRESS };
            let options = RequestOptions { detail: Detail::All, ..RequestOptions::default() };
            write_request(&options, &[Column::Ipv4(&vec![address.octets(); 65_536])])
        }
    }
}

async fn connect(
    load: Load,
    server: SocketAddr,
    tls: &Arc<QuicClientConfig>,
) -> Option<(Connection, quinn::SendStream)> {
    let mut transport = quinn::TransportConfig::default();
    if load.habit == Habit::LeavesUnread {
        // Nothing has room at the client: all of it stays at the server.
        transport.stream_receive_window(VarInt::from_u32(1_000));
    }
    let mut config = quinn::ClientConfig::new(tls.clone());
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::client("127.0.0.1:0".parse().ok()?).ok()?;
    let connection = endpoint.connect_with(config, server, "localhost").ok()?.await.ok()?;
    let (mut send, mut recv) = connection.open_bi().await.ok()?;
    send.write_all(&Hello::new("hostile", "1", "test").to_frame()).await.ok()?;
    let mut header = [0; wire::HEADER_BYTES];
    recv.read_exact(&mut header).await.ok()?;
    // The rest of the control stream is not read.
    std::mem::forget(recv);
    Some((connection, send))
}

fn tls(certificate: &Path) -> Result<QuicClientConfig, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![wire::ALPN.to_vec()];
    Ok(QuicClientConfig::try_from(tls)?)
}
