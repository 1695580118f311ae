//! Prevents the hot path from allocating per key: the allocations of a batch must not grow with its keys, nor with its
//! hits beyond the frame that carries them.
#![allow(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use ksn::{
    Index,
    batch::{Column, Detail, Texts},
    key::{Digest, DigestKind, Indicator, Ipv4Block, Scope},
    record::{Entry, RecordSink, RecordType},
    snapshot::{Snapshot, SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
    wire::{AnswerCaps, AnswerMeta, AnswerWriter, Header, RequestColumn, RequestLimits, RequestView, write_request},
};
use zerocopy::little_endian::U32;

/// The system allocator, with a count of allocations.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller upholds the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RECORDS: u32 = 20_000;

fn digest(number: u32) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

fn address(number: u32) -> String {
    format!("host{number}.example/path/{number}?q={number}")
}

fn index() -> Index {
    let mut builder = SnapshotBuilder::new();
    let mut add = |indicator: Indicator, id: u32, record_type: RecordType| {
        let name = format!("Trojan.Family{}", id / 50);
        let id = id.into();
        builder.add(
            0,
            Entry { indicator, id, record_type, name: &name, source: "s", timestamp: None, expiry: None, port: None },
        );
    };
    for number in 0..RECORDS {
        let sha256 = Digest::new(DigestKind::Sha256, &digest(number)).unwrap();
        add(Indicator::Digest(sha256), number, RecordType::Malware);
        // Some keys have several records, of which one must win.
        if number.is_multiple_of(16) {
            add(Indicator::Digest(sha256), RECORDS + number, RecordType::Adware);
        }
        add(Indicator::Ipv4(Ipv4Block::from(std::net::Ipv4Addr::from(number << 8))), number, RecordType::Abuse);
        let scope = if number % 2 == 0 { Scope::Domain } else { Scope::Exact };
        let expression = if number % 2 == 0 { format!("host{number}.example") } else { address(number) };
        add(Indicator::Web { scope, expression: expression.into() }, number, RecordType::Phishing);
    }
    let info = SnapshotInfo {
        dataset: "d".into(),
        generation: 1,
        created: Timestamp::from_seconds(1).unwrap(),
        compiled_with: BTreeMap::new(),
    };
    Index::new(Snapshot::from_bytes(builder.finish(&info).unwrap().into_bytes()).unwrap())
}

/// Returns the number of allocations of one batch, from the bytes of the request to those of the answer, as in the
/// server.
fn allocations_of(index: &Index, frame: &[u8], writer: &mut AnswerWriter, hits: u32) -> usize {
    let before = ALLOCATIONS.load(Relaxed);
    let (header, body) = Header::split(frame).unwrap();
    let request = RequestView::parse(&header, body, &RequestLimits::default()).unwrap();
    let view = index.view();
    let now = Timestamp::from_seconds(2).unwrap();
    writer.begin(request.columns().len() as u16);
    for (number, column) in (0..).zip(request.columns()) {
        let RequestColumn::Known(column) = column else { panic!("a known kind") };
        let rows = column.rows() as u32;
        assert!(view.answer(number, column, 0..rows, Detail::Winner, now, writer).is_continue());
        writer.answered(number, rows);
    }
    let meta = AnswerMeta { dataset: "d", generation: 1, sequence: 0, positive_ttl_s: 0, negative_ttl_s: 0 };
    let answer = writer.finish(&meta);
    let allocations = ALLOCATIONS.load(Relaxed) - before;
    let (header, body) = Header::split(&answer).unwrap();
    let found = ksn::wire::AnswerView::parse(&header, body).unwrap().hits().len();
    assert_eq!(found, hits as usize);
    allocations
}

fn request(keys: u32, one_in: u32) -> Vec<u8> {
    let listed = |n: u32| if n.is_multiple_of(one_in) { n } else { RECORDS + n };
    let digests: Vec<u8> = (0..keys).flat_map(|n| digest(listed(n))).collect();
    let ipv4: Vec<[u8; 4]> = (0..keys).map(|n| (listed(n) << 8).to_be_bytes()).collect();
    let texts: Vec<String> = (0..keys / 8).map(|n| address(listed(n))).collect();
    let mut end = 0;
    let ends: Vec<U32> = texts
        .iter()
        .map(|text| {
            end += text.len() as u32;
            U32::new(end)
        })
        .collect();
    let text = texts.concat();
    let columns = [
        Column::Digests { kind: DigestKind::Sha256, bytes: &digests },
        Column::Ipv4(&ipv4),
        Column::Web(Texts::new(&ends, text.as_bytes()).unwrap()),
    ];
    write_request(&Default::default(), &columns)
}

#[test]
fn allocations_of_a_batch_do_not_grow_with_its_keys() {
    let index = index();
    let mut writer = AnswerWriter::new(AnswerCaps::default());
    let hits = |keys: u32, one_in: u32| 2 * keys.div_ceil(one_in) + (keys / 8).div_ceil(one_in);
    let (small, large) = (request(1_600, 10), request(16_000, 10));
    // Tables that are reused between batches first grow to their final size.
    for _ in 0..2 {
        allocations_of(&index, &large, &mut writer, hits(16_000, 10));
    }
    let large = allocations_of(&index, &large, &mut writer, hits(16_000, 10));
    let small = allocations_of(&index, &small, &mut writer, hits(1_600, 10));
    println!("{small} allocations for 3,400 keys, {large} for 34,000");
    // Vectors for the hits of a chunk double occasionally; nothing else may differ.
    assert!(large <= small + 12, "{small} allocations for 3,400 keys, {large} for 34,000");
    assert!(large < 80, "{large}");
}
