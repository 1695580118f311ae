//! Benchmarks of client and server over QUIC on loopback, each with a single-threaded runtime.
//!
//! Data: 1,000,000 SHA-256 records. Batches of 4,096 whole digests, a tenth of them listed, eight in flight over one
//! connection; and one key at a time, as in a scanner that waits for each answer. The time is that of a round of eight
//! batches, or of one key; `elem/s` are keys. Client and server, including cryptography, share the machine's cores.
//! Hits are counted before anything is timed.

use std::{sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ksn::{
    Certificate, Client, ClientConfig, Index, Server, ServerConfig, Trust,
    batch::Column,
    key::{Digest, DigestKind, Indicator},
    record::{Entry, RecordSink, RecordType},
    snapshot::{Snapshot, SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
};
use tokio::{runtime, sync::oneshot};

const RECORDS: u64 = 1_000_000;
const BATCH_KEYS: u64 = 4_096;
const BATCHES_IN_FLIGHT: u64 = 8;

/// Returns the digest of a number, which is listed if below [`RECORDS`].
fn sha256(number: u64) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

fn snapshot() -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    for number in 0..RECORDS {
        builder.add(
            0,
            Entry {
                indicator: Indicator::Digest(Digest::new(DigestKind::Sha256, &sha256(number)).expect("32 bytes")),
                id: number,
                record_type: RecordType::Malware,
                name: "Trojan.Example",
                source: "benchmark",
                timestamp: None,
                expiry: None,
                port: None,
            },
        );
    }
    let created = Timestamp::from_seconds(1).expect("not zero");
    let info = SnapshotInfo { dataset: "benchmark".into(), generation: 1, created, compiled_with: Default::default() };
    Snapshot::from_bytes(builder.finish(&info).expect("it fits").into_bytes()).expect("it was just built")
}

fn one_thread() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn batch(number: u64) -> Vec<u8> {
    let keys = (0..BATCH_KEYS).map(|n| match n % 10 {
        0 => (number * BATCH_KEYS + n) % RECORDS,
        _ => RECORDS + number * BATCH_KEYS + n,
    });
    keys.flat_map(sha256).collect()
}

/// Looks up a batch and returns the number of hits.
async fn lookup(client: &Client, bytes: &[u8]) -> usize {
    let column = Column::Digests { kind: DigestKind::Sha256, bytes };
    let answer = client.exchange(&[column], &Default::default()).await.expect("an answer");
    answer.view().expect("a valid answer").hits().len()
}

fn benchmark(c: &mut Criterion) {
    let state = tempfile::tempdir().expect("a temporary directory");
    let certificate = Certificate::SelfSigned { state: state.path().into() };
    let config = ServerConfig::new("127.0.0.1:0".parse().expect("an address"), certificate);
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, bound) = std::sync::mpsc::channel();
    let serving = std::thread::spawn(move || {
        one_thread().block_on(async {
            let server = Server::bind(config, Arc::new(Index::new(snapshot()))).expect("a free port");
            ready.send((server.local_addr(), server.pin())).expect("the receiver waits");
            server
                .run(async {
                    let _ = stopped.await;
                })
                .await;
        });
    });
    let (address, pin) = bound.recv().expect("the server runs");
    let runtime = one_thread();
    let config = ClientConfig::new(address.to_string(), Trust::Pin(pin));
    let client = runtime.block_on(Client::connect(config)).expect("a connection");

    let batches: Vec<Vec<u8>> = (0..BATCHES_IN_FLIGHT).map(batch).collect();
    let round = async || {
        let tasks: Vec<_> = batches
            .iter()
            .map(|bytes| {
                let (client, bytes) = (client.clone(), bytes.clone());
                tokio::spawn(async move { lookup(&client, &bytes).await })
            })
            .collect();
        let mut hits = 0;
        for answer in tasks {
            hits += answer.await.expect("no panic");
        }
        hits
    };
    assert_eq!(runtime.block_on(round()) as u64, BATCHES_IN_FLIGHT * BATCH_KEYS.div_ceil(10));
    assert_eq!(runtime.block_on(lookup(&client, &batches[0][..32])), 1);

    let mut group = c.benchmark_group("loopback");
    group.sample_size(20).warm_up_time(Duration::from_secs(2)).measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Elements(BATCHES_IN_FLIGHT * BATCH_KEYS));
    group.bench_function("8 batches of 4,096 sha256, 10 % hits", |b| b.iter(|| runtime.block_on(round())));
    group.throughput(Throughput::Elements(1));
    group.bench_function("one key", |b| b.iter(|| runtime.block_on(lookup(&client, &batches[0][..32]))));
    group.finish();

    drop(client);
    let _ = stop.send(());
    drop(runtime);
    serving.join().expect("the server ends");
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
