//! Prevents a build from taking memory for rows instead of records: a feed that repeats its rows must not exhaust the
//! memory, whatever part of a record the repetitions differ in.
#![allow(unsafe_code, reason = "an allocator is one")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use ksn::{
    key::{Digest, DigestKind, Indicator, Scope},
    record::{Entry, RecordSink, RecordType},
    snapshot::{BuildSummary, SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
};

/// The system's allocator, which keeps the number of allocated bytes and its maximum.
struct Measuring;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
/// Tests that measure run one at a time.
static MEASURED: Mutex<()> = Mutex::new(());

fn add(bytes: usize) {
    MOST.fetch_max(ALLOCATED.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's obligations are those of this call.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

fn digest(number: u32) -> Indicator {
    Indicator::Digest(Digest::new(DigestKind::Sha256, blake3::hash(&number.to_le_bytes()).as_bytes()).unwrap())
}

fn entry(indicator: Indicator, name: &str) -> Entry<'_> {
    Entry {
        indicator,
        id: 7,
        record_type: RecordType::Malware,
        name,
        source: "made-up",
        timestamp: None,
        expiry: None,
        port: None,
    }
}

/// Builds a snapshot of what `fill` adds, and returns its summary and the most bytes that were allocated at once.
fn build(fill: impl FnOnce(&mut SnapshotBuilder)) -> (BuildSummary, usize) {
    let _lock = MEASURED.lock();
    let before = ALLOCATED.load(Relaxed);
    MOST.store(before, Relaxed);
    let mut builder = SnapshotBuilder::new();
    fill(&mut builder);
    let created = Timestamp::from_seconds(1_000_000_000).unwrap();
    let info = SnapshotInfo { dataset: "x".into(), generation: 1, created, compiled_with: Default::default() };
    let summary = builder.finish(&info).unwrap().summary().clone();
    (summary, MOST.load(Relaxed) - before)
}

/// What a build may take that has few records: rows that were not deduplicated yet, and what sorting them takes.
const FEW_RECORDS_BYTES_MAX: usize = 160 << 20;

#[test]
fn equal_rows_take_no_memory() {
    let rows = 3_000_000u32;
    let (summary, bytes) = build(|builder| (0..rows).for_each(|_| builder.add(0, entry(digest(1), "one"))));
    assert_eq!((summary.records, &summary.duplicates[..]), (1, &[u64::from(rows) - 1][..]));
    assert!(bytes < FEW_RECORDS_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn equal_rows_with_long_keys_take_no_memory() {
    let expression = format!("a.example/{}", "x".repeat(4_000));
    let (summary, bytes) = build(|builder| {
        for n in 0..100_000 {
            let expression = format!("{expression}{}", n % 10).into();
            builder.add(0, entry(Indicator::Web { scope: Scope::Exact, expression }, "one"));
        }
    });
    assert_eq!(summary.records, 10);
    assert!(bytes < FEW_RECORDS_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn names_that_only_duplicates_have_take_no_memory() {
    let (summary, bytes) = build(|builder| {
        let mut name = "x".repeat(1_000);
        for n in 0..400_000 {
            name.truncate(980);
            name += &n.to_string();
            builder.add(0, entry(digest(1), &name));
        }
    });
    assert_eq!(summary.records, 1);
    assert!(bytes < FEW_RECORDS_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn attributes_that_only_duplicates_have_take_no_memory() {
    let (summary, bytes) = build(|builder| {
        for n in 1..2_000_000 {
            builder.add(0, Entry { expiry: Timestamp::from_seconds(n), ..entry(digest(1), "one") });
        }
    });
    assert_eq!(summary.records, 1);
    assert!(bytes < FEW_RECORDS_BYTES_MAX, "{bytes} bytes");
}

/// A list that is repeated as a whole: duplicates are far from one another.
#[test]
fn a_repeated_list_takes_the_memory_of_its_records() {
    let list = 400_000;
    let once = |times: u32| {
        build(|builder| {
            for n in (0..times).flat_map(|_| 0..list) {
                builder.add(n % 2, entry(digest(n), "one"));
            }
        })
    };
    let (_, single) = once(1);
    let (summary, bytes) = once(6);
    assert_eq!(summary.records, u64::from(list));
    assert_eq!(summary.duplicates.iter().sum::<u64>(), u64::from(list) * 5);
    assert!(bytes < 4 * single, "{bytes} bytes, {single} for the list itself");
}
