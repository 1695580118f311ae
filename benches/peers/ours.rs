//! The ksn server on its own thread and the ksn client, used like in an application.

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

use ksn::{
    Certificate, Client, ClientConfig, Index, Pin, Server, ServerConfig, Trust,
    batch::Column,
    key::{Digest, DigestKind, Key},
    limits::PACKET_BYTES_MAX,
};
use tempfile::TempDir;
use tokio::{
    runtime::{self, Runtime},
    sync::oneshot,
    task::JoinSet,
};

use crate::{
    Skip,
    cores::{self, Pinned},
    keys::{Burst, Draw, WIDTH},
    rounds::Sample,
};

/// The number of keys per batch.
pub(crate) const BATCH_KEYS: usize = 4_096;

/// The number of batches in flight.
pub(crate) const IN_FLIGHT: usize = 8;

/// The number of keys per measurement: enough to amortize filling the pipeline, few enough for memory.
pub(crate) const BURST_KEYS: u64 = 1 << 22;

/// The timeout of a batch.
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum packet size on loopback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Packets {
    /// The default of ksn.
    Default,
    /// A UDP payload size in bytes.
    Bytes(u16),
}

impl Packets {
    /// Returns the maximum UDP payload size in bytes.
    pub(crate) fn bytes(self) -> u16 {
        match self {
            Self::Default => PACKET_BYTES_MAX,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Returns a runtime that runs on the calling thread.
pub(crate) fn one_thread() -> Runtime {
    runtime::Builder::new_current_thread()
        .event_interval(ksn::ServerConfig::EVENT_INTERVAL)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A server on a thread on the server core. It is stopped on drop.
pub(crate) struct OurServer {
    client: ClientConfig,
    endpoint: (SocketAddr, Pin),
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _state: TempDir,
}

impl OurServer {
    pub(crate) fn start(index: Arc<Index>, packets: Packets) -> Result<Self, Skip> {
        let state = tempfile::tempdir().map_err(|e| e.to_string())?;
        let certificate = Certificate::SelfSigned { state: state.path().into() };
        let mut config = ServerConfig::new("127.0.0.1:0".parse().expect("an address"), certificate);
        let mut client = ClientConfig::new("", Trust::Pin(Pin::of_certificate(&[])));
        (config.packet_bytes_max, client.packet_bytes_max) = (packets.bytes(), packets.bytes());
        // Other load on the machine should worsen results, not make them fail.
        config.limits.deadline_ms = BATCH_TIMEOUT.as_millis() as u32;
        client.lookup_timeout = BATCH_TIMEOUT;
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, bound) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _pinned = Pinned::to(cores::SERVER);
            one_thread().block_on(async {
                match Server::bind(config, index) {
                    Err(e) => drop(ready.send(Err(e.to_string()))),
                    Ok(server) => {
                        let _ = ready.send(Ok((server.local_addr(), server.pin())));
                        let stopped = async { drop(stopped.await) };
                        server.run(stopped).await;
                    }
                }
            });
        });
        let (address, pin) = bound.recv().map_err(|_| "the server panicked".to_owned())??;
        client.server = address.to_string();
        client.trust = Trust::Pin(pin);
        Ok(Self { client, endpoint: (address, pin), stop: Some(stop), thread: Some(thread), _state: state })
    }

    /// Returns the configuration of clients of this server.
    pub(crate) fn client_config(&self) -> ClientConfig {
        self.client.clone()
    }

    /// Returns the address of the server and the pin of its certificate.
    pub(crate) fn endpoint(&self) -> (SocketAddr, Pin) {
        self.endpoint
    }

    /// Connects a client that runs on the calling thread.
    pub(crate) fn connect(&self) -> Result<OurClient, Skip> {
        OurClient::connect(self.client_config())
    }
}

impl Drop for OurServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A client and its runtime, which runs only during calls.
pub(crate) struct OurClient {
    pub(crate) client: Client,
    pub(crate) runtime: Runtime,
}

impl OurClient {
    pub(crate) fn connect(config: ClientConfig) -> Result<Self, Skip> {
        let runtime = one_thread();
        let client = runtime.block_on(Client::connect(config)).map_err(|e| e.to_string())?;
        Ok(Self { client, runtime })
    }

    /// Looks up batches one by one. Returns the rows of hits, counted from the first batch, with the IDs of the
    /// records.
    pub(crate) fn hits(&self, batches: &impl Batches, batch_keys: usize) -> Vec<(u32, u64)> {
        let mut found = Vec::new();
        for number in 0.. {
            let Some(column) = batches.batch(number) else { break };
            let options = Default::default();
            let answer = self.runtime.block_on(self.client.exchange(&[column], &options)).expect("an answer");
            let answer = answer.view().expect("a valid answer");
            let first = (number * batch_keys) as u32;
            found.extend(answer.hits().iter().map(|hit| (first + hit.position().row, hit.id())));
        }
        found
    }

    /// Checks that the answers have the expected record IDs at the expected rows.
    pub(crate) fn check(&self, draw: &mut Draw) {
        let burst = draw.burst(32_768);
        assert!(self.hits(&*burst, BATCH_KEYS) == burst.listed, "answers of ksn");
    }

    /// Measures a burst of digests.
    pub(crate) fn exchange(&self, draw: &mut Draw) -> Sample {
        let burst = draw.burst(BURST_KEYS);
        self.time(&burst, burst.keys(), burst.listed.len())
    }

    /// Measures batches with eight in flight, whose answers are parsed and whose hits are counted.
    pub(crate) fn time(&self, batches: &Arc<impl Batches>, keys: u64, hits: usize) -> Sample {
        let started = Instant::now();
        let found = self.runtime.block_on(exchange_all(&self.client, batches));
        let time = started.elapsed();
        assert_eq!(found, hits, "hits of ksn");
        Sample { keys, time }
    }
}

/// Keys in batches, each of one column.
pub(crate) trait Batches: Send + Sync + 'static {
    /// Returns a batch, or `None` after the last one.
    fn batch(&self, number: usize) -> Option<Column<'_>>;
}

impl Batches for Burst {
    fn batch(&self, number: usize) -> Option<Column<'_>> {
        let bytes = self.bytes.chunks(BATCH_KEYS * WIDTH).nth(number)?;
        Some(Column::Digests { kind: DigestKind::Sha256, bytes })
    }
}

/// Looks up all batches and returns the number of hits.
async fn exchange_all(client: &Client, batches: &Arc<impl Batches>) -> usize {
    let (client, batches) = (client.clone(), batches.clone());
    all_in_flight(IN_FLIGHT, move |number| {
        let (client, batches) = (client.clone(), batches.clone());
        async move {
            let answer = client.exchange(&[batches.batch(number)?], &Default::default()).await.expect("an answer");
            Some(answer.view().expect("a valid answer").hits().len())
        }
    })
    .await
}

/// Calls `lookup` with the batch numbers 0, 1 and so on, with `in_flight` calls at a time, until one returns `None`.
/// Returns the sum of the results.
pub(crate) async fn all_in_flight<F>(in_flight: usize, lookup: impl Fn(usize) -> F + Send + Sync + 'static) -> usize
where
    F: Future<Output = Option<usize>> + Send,
{
    let shared = Arc::new((AtomicUsize::new(0), lookup));
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        let shared = shared.clone();
        tasks.spawn(async move {
            let (next, lookup) = &*shared;
            let mut sum = 0;
            while let Some(found) = lookup(next.fetch_add(1, Relaxed)).await {
                sum += found;
            }
            sum
        });
    }
    tasks.join_all().await.into_iter().sum()
}

/// Returns the keys of a burst, for callers that look up one key at a time.
pub(crate) fn single_keys(burst: &Burst) -> Vec<Key> {
    let key = |bytes: &[u8; WIDTH]| Key::Digest(Digest::new(DigestKind::Sha256, bytes).expect("32 bytes"));
    burst.digests().iter().map(key).collect()
}
