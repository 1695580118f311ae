//! Benchmarks of frames: reading and writing requests and answers.
//!
//! Data: batches of 4,096 keys, all SHA-256 or all web addresses of 48 bytes; answers in which a tenth of the keys have
//! a record, of one source and 64 names, as with real feeds. The time is that of a frame; `elem/s` are keys. Frames are
//! verified by reading them back before anything is timed.

#[path = "common/answer.rs"]
mod answer;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ksn::{
    batch::{Column, Texts},
    key::DigestKind,
    wire::{AnswerCaps, AnswerView, AnswerWriter, Header, RequestLimits, RequestOptions, RequestView, write_request},
};
use zerocopy::little_endian::U32;

const BATCH_KEYS: u32 = 4_096;

fn parse(frame: &[u8]) -> u64 {
    let (header, body) = Header::split(frame).expect("a whole frame");
    RequestView::parse(&header, body, &RequestLimits::default()).expect("a valid request").keys()
}

fn benchmark(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire");
    group.throughput(Throughput::Elements(BATCH_KEYS.into()));
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    let options = RequestOptions::default();

    let digests = Column::Digests { kind: DigestKind::Sha256, bytes: &vec![7; BATCH_KEYS as usize * 32] };
    let request = write_request(&options, &[digests]);
    assert_eq!(parse(&request), u64::from(BATCH_KEYS));
    group.bench_function("write request/sha256", |b| b.iter(|| write_request(&options, &[digests])));
    group.bench_function("read request/sha256", |b| b.iter(|| parse(&request)));

    let text: String = (0..BATCH_KEYS).map(|n| format!("www.evil.example/directory/{n:016x}.html")).collect();
    let length = text.len() as u32 / BATCH_KEYS;
    assert_eq!(length, 48);
    let ends: Vec<U32> = (1..=BATCH_KEYS).map(|n| U32::new(n * length)).collect();
    let web = Column::Web(Texts::new(&ends, text.as_bytes()).expect("ends ascend"));
    let request = write_request(&options, &[web]);
    assert_eq!(parse(&request), u64::from(BATCH_KEYS));
    group.bench_function("read request/web", |b| b.iter(|| parse(&request)));

    let names: Vec<String> = (0..64).map(|n| format!("Trojan.Example.Family{n}")).collect();
    let mut writer = AnswerWriter::new(AnswerCaps::default());
    let frame = answer::write(&mut writer, BATCH_KEYS, &names);
    let read = |frame: &[u8]| {
        let (header, body) = Header::split(frame).expect("a whole frame");
        let view = AnswerView::parse(&header, body).expect("a valid answer");
        view.hits().iter().filter(|hit| view.text(hit.name_text()).starts_with("Trojan")).count()
    };
    assert_eq!(read(&frame), BATCH_KEYS.div_ceil(10) as usize);
    group.bench_function("write answer/10 % hits", |b| b.iter(|| answer::write(&mut writer, BATCH_KEYS, &names)));
    group.bench_function("read answer/10 % hits", |b| b.iter(|| read(&frame)));
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
