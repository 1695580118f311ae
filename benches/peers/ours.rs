//! Our server on a thread of its own, and our client, as a program that uses them would.

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

/// Keys of a batch.
pub(crate) const BATCH_KEYS: usize = 4_096;

/// Batches on their way at a time.
pub(crate) const IN_FLIGHT: usize = 8;

/// Keys between two looks at the clock: enough that filling the pipe does not count, few enough for memory.
pub(crate) const BURST_KEYS: u64 = 1 << 22;

/// How long a batch may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How large packets may be on loopback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Packets {
    /// As the settings of the project have them.
    Default,
    /// So many bytes of UDP payload at most.
    Bytes(u16),
}

impl Packets {
    /// The most that one holds.
    pub(crate) fn bytes(self) -> u16 {
        match self {
            Self::Default => PACKET_BYTES_MAX,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// A runtime of one thread: the caller's.
pub(crate) fn one_thread() -> Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A server on a thread on the server's core. It ends with this value.
pub(crate) struct OurServer {
    client: ClientConfig,
    place: (SocketAddr, Pin),
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
        // A machine that is busy with other things makes figures worse, and should not make them fail.
        config.limits.deadline_ms = PATIENCE.as_millis() as u32;
        client.lookup_timeout = PATIENCE;
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
        Ok(Self { client, place: (address, pin), stop: Some(stop), thread: Some(thread), _state: state })
    }

    /// How to reach it.
    pub(crate) fn client_config(&self) -> ClientConfig {
        self.client.clone()
    }

    /// Where it listens, and the pin of its certificate.
    pub(crate) fn place(&self) -> (SocketAddr, Pin) {
        self.place
    }

    /// A client of it on a runtime of the calling thread.
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

/// A client and the runtime that drives it, which runs only while somebody asks.
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

    /// Asks for batches one by one; gives the rows that hit, counted from the first batch, with the IDs of the records.
    pub(crate) fn hits(&self, batches: &impl Batches, batch_keys: usize) -> Vec<(u32, u64)> {
        let mut found = Vec::new();
        for number in 0.. {
            let Some(column) = batches.batch(number) else { break };
            let options = Default::default();
            let answer = self.runtime.block_on(self.client.exchange(&[column], &options)).expect("an answer");
            let answer = answer.view().expect("a sound answer");
            let first = (number * batch_keys) as u32;
            found.extend(answer.hits().iter().map(|hit| (first + hit.position().row, hit.id())));
        }
        found
    }

    /// Checks that every answer has the record's ID at its place.
    pub(crate) fn check(&self, draw: &mut Draw) {
        let burst = draw.burst(32_768);
        assert!(self.hits(&*burst, BATCH_KEYS) == burst.listed, "our answers");
    }

    /// Times a burst of digests.
    pub(crate) fn exchange(&self, draw: &mut Draw) -> Sample {
        let burst = draw.burst(BURST_KEYS);
        self.time(&burst, burst.keys(), burst.listed.len())
    }

    /// Times batches, eight in flight, whose answers are taken apart and whose hits are counted.
    pub(crate) fn time(&self, batches: &Arc<impl Batches>, keys: u64, hits: usize) -> Sample {
        let started = Instant::now();
        let found = self.runtime.block_on(exchange_all(&self.client, batches));
        let time = started.elapsed();
        assert_eq!(found, hits, "our hits");
        Sample { keys, time }
    }
}

/// Keys in batches, each a column.
pub(crate) trait Batches: Send + Sync + 'static {
    /// The batch of a number, as long as there are any.
    fn batch(&self, number: usize) -> Option<Column<'_>>;
}

impl Batches for Burst {
    fn batch(&self, number: usize) -> Option<Column<'_>> {
        let bytes = self.bytes.chunks(BATCH_KEYS * WIDTH).nth(number)?;
        Some(Column::Digests { kind: DigestKind::Sha256, bytes })
    }
}

/// Asks for all batches; gives the number of hits.
async fn exchange_all(client: &Client, batches: &Arc<impl Batches>) -> usize {
    let (client, batches) = (client.clone(), batches.clone());
    all_in_flight(IN_FLIGHT, move |number| {
        let (client, batches) = (client.clone(), batches.clone());
        async move {
            let answer = client.exchange(&[batches.batch(number)?], &Default::default()).await.expect("an answer");
            Some(answer.view().expect("a sound answer").hits().len())
        }
    })
    .await
}

/// Asks for batch 0, 1 and so on, so many at a time, until one says that there is none. Gives the sum of what they found.
pub(crate) async fn all_in_flight<F>(in_flight: usize, ask: impl Fn(usize) -> F + Send + Sync + 'static) -> usize
where
    F: Future<Output = Option<usize>> + Send,
{
    let shared = Arc::new((AtomicUsize::new(0), ask));
    let mut askers = JoinSet::new();
    for _ in 0..in_flight {
        let shared = shared.clone();
        askers.spawn(async move {
            let (next, ask) = &*shared;
            let mut sum = 0;
            while let Some(found) = ask(next.fetch_add(1, Relaxed)).await {
                sum += found;
            }
            sum
        });
    }
    askers.join_all().await.into_iter().sum()
}

/// The keys of a burst for callers that ask one at a time.
pub(crate) fn single_keys(burst: &Burst) -> Vec<Key> {
    let key = |bytes: &[u8; WIDTH]| Key::Digest(Digest::new(DigestKind::Sha256, bytes).expect("32 bytes"));
    burst.digests().iter().map(key).collect()
}
