//! Instruction counts of the work per key: a guard against performance regressions on machines that are too noisy for
//! timing.
//!
//! ```sh
//! cargo install gungraun-runner --version 0.20.0   # once; also install valgrind
//! cargo bench --bench instructions
//! ```
//!
//! It fails when a count is more than 5 % above its limit in this file. A change that improves a count SHOULD lower the
//! limit; a change that raises one MUST state the reason in the commit message. Instructions are not time: they show
//! neither memory latency nor the effect of prefetching. Valgrind has no AVX-512, so the AVX2 kernels are measured.

#![allow(missing_docs, reason = "the macros make items without")]

#[path = "common/answer.rs"]
mod answer;

use std::{collections::BTreeMap, hint::black_box, ops::ControlFlow};

use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use ksn::{
    Index, WebAddress,
    batch::{Column, ColumnBuf, Detail, Hit, Position, Sink, Unanswered},
    key::{Digest, DigestKind, Indicator, Key, KeyKind, Scope},
    record::{Entry, RecordSink, RecordType},
    snapshot::{Snapshot, SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
    wire::{AnswerCaps, AnswerWriter, Header, RequestLimits, RequestView, write_request},
};

/// Returns a configuration that fails above 105 % of a committed count.
fn at_most(committed: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, committed + committed / 20)]));
    config
}

const KEYS: u32 = 4_096;
const RECORDS: u32 = 20_000;
const WEB_KEYS: u32 = 1_024;

fn digest(number: u32) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

/// Returns the digests of a batch, a tenth of which is listed.
fn batch() -> Vec<u8> {
    (0..KEYS).flat_map(|n| digest(if n % 10 == 0 { n } else { RECORDS + n })).collect()
}

fn request() -> Vec<u8> {
    write_request(&Default::default(), &[Column::Digests { kind: DigestKind::Sha256, bytes: &batch() }])
}

fn index() -> (Index, Vec<u8>) {
    let digest = |number| Indicator::Digest(Digest::new(DigestKind::Sha256, &digest(number)).expect("32 bytes"));
    (index_of(digest), batch())
}

/// Returns addresses of 32 to 60 bytes as they occur in proxy logs, a tenth of which is listed by its domain.
fn web_index() -> (Index, ColumnBuf) {
    let host = |number: u32| format!("n{:x}.example.com", number.wrapping_mul(0x9e37_79b9));
    let listed = |number| Indicator::Web { scope: Scope::Domain, expression: host(number).into() };
    let mut keys = ColumnBuf::new(KeyKind::Web);
    for number in 0..WEB_KEYS {
        let host = host(if number % 10 == 0 { number } else { RECORDS + number });
        let rest = match number % 3 {
            0 => "bin.sh".into(),
            1 => format!("wp-content/{number}/invoice.php?id={number}"),
            _ => format!("caf%C3%A9/.well-known/{number}/"),
        };
        keys.push(&Key::from(WebAddress::parse(&format!("http://www.{host}/{rest}")).expect("an address")));
    }
    (index_of(listed), keys)
}

fn index_of(indicator: impl Fn(u32) -> Indicator) -> Index {
    let mut builder = SnapshotBuilder::new();
    for number in 0..RECORDS {
        let name = format!("Trojan.Family{}", number / 50);
        builder.add(
            0,
            Entry {
                indicator: indicator(number),
                id: number.into(),
                record_type: RecordType::Malware,
                name: &name,
                source: "benchmark",
                timestamp: None,
                expiry: None,
                port: None,
            },
        );
    }
    let created = Timestamp::from_seconds(1).expect("not zero");
    let info = SnapshotInfo { dataset: "b".into(), generation: 1, created, compiled_with: BTreeMap::new() };
    let built = builder.finish(&info).expect("it fits");
    Index::new(Snapshot::from_bytes(built.into_bytes()).expect("it was just built"))
}

/// Sums the IDs of hits, the minimum that a caller does.
struct Count(u64);

impl Sink for Count {
    fn hit(&mut self, _: Position, hit: &Hit<'_>) -> ControlFlow<()> {
        self.0 += hit.id;
        ControlFlow::Continue(())
    }

    fn unanswered(&mut self, _: Position, _: Unanswered) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// Returns addresses as they occur in mail and proxy logs.
fn addresses() -> Vec<&'static str> {
    vec![
        "http://example.com/",
        "https://www.example.co.uk/news/2026/11/22/index.html?ref=mail&utm_source=x#top",
        "http://198.51.100.23:8080/bins/arm7",
        "HTTP://User:Secret@WWW.Example.COM:80/%7Ejoe/../a/./b//c?d=%41",
        "http://xn--bcher-kva.example/caf%C3%A9",
        "https://bücher.example/straße?q=grün",
        "ftp://files.example.org/pub/linux/kernel/v6.x/linux-6.12.tar.xz",
        "hxxp://evil[.]example/gate.php?id=1&os=win&v=10",
    ]
}

#[library_benchmark(config = at_most(PARSE))]
#[bench::sha256(request())]
fn parse(frame: Vec<u8>) -> u64 {
    let (header, body) = Header::split(&frame).expect("a frame");
    black_box(RequestView::parse(&header, body, &RequestLimits::default()).expect("a request").keys())
}

#[library_benchmark(config = at_most(PROBE))]
#[bench::sha256(index())]
fn probe((index, keys): (Index, Vec<u8>)) -> u64 {
    let column = Column::Digests { kind: DigestKind::Sha256, bytes: &keys };
    let mut count = Count(0);
    let now = Timestamp::from_seconds(2).expect("not zero");
    let _ = index.view().answer(0, &column, 0..KEYS, Detail::Winner, now, &mut count);
    std::mem::forget(index);
    black_box(count.0)
}

#[library_benchmark(config = at_most(WEB))]
#[bench::domains(web_index())]
fn web((index, keys): (Index, ColumnBuf)) -> u64 {
    let mut count = Count(0);
    let now = Timestamp::from_seconds(2).expect("not zero");
    let _ = index.view().answer(0, &keys.column(), 0..WEB_KEYS, Detail::Winner, now, &mut count);
    std::mem::forget(index);
    black_box(count.0)
}

fn writer() -> (AnswerWriter, Vec<String>) {
    (AnswerWriter::new(AnswerCaps::default()), (0..100).map(|n| format!("Trojan.Family{n}")).collect())
}

#[library_benchmark(config = at_most(ENCODE))]
#[bench::tenth(writer())]
fn encode((mut writer, names): (AnswerWriter, Vec<String>)) -> usize {
    black_box(answer::write(&mut writer, KEYS, &names).len())
}

#[library_benchmark(config = at_most(CANONICALISE))]
#[bench::mixed(addresses())]
fn canonicalise(addresses: Vec<&'static str>) -> usize {
    let known = addresses.iter().filter_map(|address| WebAddress::parse(address).ok());
    black_box(known.map(|address| address.as_str().len()).sum())
}

library_benchmark_group!(name = every_key; benchmarks = parse, probe, web, encode, canonicalise);
main!(library_benchmark_groups = every_key);

/// The committed instruction counts.
const PARSE: u64 = 499;
const PROBE: u64 = 340_114;
const WEB: u64 = 1_685_312;
const ENCODE: u64 = 147_624;
const CANONICALISE: u64 = 42_065;
