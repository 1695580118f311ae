//! Benchmarks of the index on one core, without network.
//!
//! Data: 1,000,000 SHA-256 records; 200,000 web records, half of them domains, half exact addresses; 100,000 IPv4
//! records, a tenth of them blocks. Every batch has 65,536 distinct pseudo-random keys, the maximum of a request. The
//! time is that of a whole batch; `elem/s` are keys. Hits are counted before anything is timed.

use std::{net::Ipv4Addr, ops::ControlFlow, time::Duration};

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use ksn::{
    batch::{Column, Detail, Hit, Position, Sink, Texts, Unanswered},
    engine::{Index, View},
    key::{Digest, DigestKind, Indicator, Ipv4Block, PrefixWidth, Scope},
    record::{Entry, RecordSink, RecordType},
    snapshot::{Snapshot, SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
};
use sha2::{Digest as _, Sha256};
use zerocopy::little_endian::U32;

const BATCH_KEYS: u64 = 65_536;
const SHA256_RECORDS: u64 = 1_000_000;
const WEB_RECORDS: u64 = 200_000;
const IPV4_RECORDS: u64 = 100_000;

/// Returns a pseudo-random number (SplitMix64), the same in every run.
fn random(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Returns the digest of a number, which is listed if below [`SHA256_RECORDS`].
fn sha256(number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (word, n) in bytes.chunks_exact_mut(8).zip(0..) {
        word.copy_from_slice(&random(number * 4 + n).to_le_bytes());
    }
    bytes
}

/// Returns an address of three labels and two directories, which is listed if `number` is below [`WEB_RECORDS`].
fn web_address(number: u64) -> String {
    format!("www.n{:x}.example/assets/{number:x}/index.html?id={}", random(number), number % 97)
}

fn web_indicator(number: u64) -> Indicator {
    let (scope, expression) = match number % 2 {
        0 => (Scope::Domain, format!("n{:x}.example", random(number))),
        _ => (Scope::Exact, web_address(number)),
    };
    Indicator::Web { scope, expression: expression.into() }
}

/// Returns the block of a record. The blocks are disjoint and lie in 64.0.0.0/3.
fn ipv4_block(number: u64) -> Ipv4Block {
    let first = 0x4000_0000 + number as u32 * 0x1400;
    Ipv4Block::containing(Ipv4Addr::from(first), if number.is_multiple_of(10) { 28 } else { 32 })
}

fn index() -> Index {
    let mut builder = SnapshotBuilder::new();
    let mut add = |indicator: Indicator, id: u64| {
        let record_type = RecordType::Malware;
        let (name, source) = ("Trojan.Example", "benchmark");
        builder.add(0, Entry { indicator, id, record_type, name, source, timestamp: None, expiry: None, port: None });
    };
    for number in 0..SHA256_RECORDS {
        let digest = Digest::new(DigestKind::Sha256, &sha256(number)).expect("32 bytes");
        add(Indicator::Digest(digest), number);
    }
    (0..WEB_RECORDS).for_each(|number| add(web_indicator(number), SHA256_RECORDS + number));
    (0..IPV4_RECORDS).for_each(|number| add(Indicator::Ipv4(ipv4_block(number)), SHA256_RECORDS * 2 + number));
    let created = Timestamp::from_seconds(1).expect("not zero");
    let info = SnapshotInfo { dataset: "benchmark".into(), generation: 1, created, compiled_with: Default::default() };
    let built = builder.finish(&info).expect("it fits");
    Index::new(Snapshot::from_bytes(built.into_bytes()).expect("it was just built"))
}

/// Counts hits, the minimum that a caller does.
#[derive(Default)]
struct Count {
    hits: u64,
    ids: u64,
}

impl Sink for Count {
    fn hit(&mut self, _: Position, hit: &Hit<'_>) -> ControlFlow<()> {
        self.hits += 1;
        self.ids ^= hit.id;
        ControlFlow::Continue(())
    }

    fn unanswered(&mut self, _: Position, unanswered: Unanswered) -> ControlFlow<()> {
        panic!("{unanswered:?}")
    }
}

fn answer(view: &View, column: &Column<'_>) -> Count {
    let mut count = Count::default();
    let now = Timestamp::from_seconds(2).expect("not zero");
    assert!(view.answer(0, column, 0..u32::MAX, Detail::Winner, now, &mut count).is_continue());
    count
}

fn time(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, view: &View, column: &Column<'_>, hits: u64) {
    assert_eq!(answer(view, column).hits, hits, "{name}");
    group.bench_function(name, |b| b.iter(|| answer(view, column).ids));
}

/// Returns the numbers of keys of a batch, one in `one_in` of which is listed, if any.
fn numbers(records: u64, one_in: Option<u64>) -> impl Iterator<Item = u64> {
    (0..BATCH_KEYS).map(move |n| match one_in {
        Some(one_in) if n.is_multiple_of(one_in) => random(n) % records,
        _ => records + n,
    })
}

fn benchmark(c: &mut Criterion) {
    let view = index().view();
    let mut group = c.benchmark_group("index");
    group.throughput(Throughput::Elements(BATCH_KEYS));
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    let tenth = BATCH_KEYS.div_ceil(10);

    for (name, one_in, hits) in [("sha256/misses", None, 0), ("sha256/10 % hits", Some(10), tenth)] {
        let bytes: Vec<u8> = numbers(SHA256_RECORDS, one_in).flat_map(sha256).collect();
        time(&mut group, name, &view, &Column::Digests { kind: DigestKind::Sha256, bytes: &bytes }, hits);
        let bytes: Vec<u8> = bytes.chunks(32).flat_map(|digest| digest[..8].to_vec()).collect();
        let (name, width) = (format!("{name}, by 8 bytes"), PrefixWidth::Eight);
        time(&mut group, &name, &view, &Column::Prefixes { kind: DigestKind::Sha256, width, bytes: &bytes }, hits);
    }
    for (name, one_in, hits) in [("web/misses", None, 0), ("web/10 % hits", Some(10), tenth)] {
        let (mut ends, mut text) = (Vec::new(), Vec::new());
        for number in numbers(WEB_RECORDS, one_in) {
            text.extend_from_slice(web_address(number).as_bytes());
            ends.push(U32::new(text.len() as u32));
        }
        let texts = Texts::new(&ends, &text).expect("ends ascend");
        time(&mut group, name, &view, &Column::Web(texts), hits);
    }
    for (name, one_in, hits) in [("expressions/misses", None, 0), ("expressions/10 % hits", Some(10), tenth)] {
        let prefix_of = |number| match web_indicator(number) {
            Indicator::Web { expression, .. } => Sha256::digest(&*expression)[..8].to_vec(),
            other => panic!("expected an expression, found {other}"),
        };
        let bytes: Vec<u8> = numbers(WEB_RECORDS, one_in).flat_map(prefix_of).collect();
        let (name, width) = (format!("{name}, by 8 bytes"), PrefixWidth::Eight);
        time(&mut group, &name, &view, &Column::WebPrefixes { width, bytes: &bytes }, hits);
    }
    for (name, one_in, hits) in [("ipv4/misses", None, 0), ("ipv4/10 % hits", Some(10), tenth)] {
        let addresses: Vec<[u8; 4]> = numbers(IPV4_RECORDS, one_in)
            .map(|number| match number {
                listed if listed < IPV4_RECORDS => ipv4_block(listed).last().octets(),
                // Between the records, which end in 00 or 0f.
                other => (0x4000_0080 + (random(other) as u32 % (IPV4_RECORDS as u32)) * 0x1400).to_be_bytes(),
            })
            .collect();
        time(&mut group, name, &view, &Column::Ipv4(&addresses), hits);
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
