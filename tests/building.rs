//! Prevents the bytes of a snapshot from depending on how it was built: on the order in which records were added, the
//! number of threads that sorted them, or the number of chunks. Every byte must be that of a naive writer.

#[path = "common/forge.rs"]
mod forge;
#[path = "common/lookup.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod lookup;
#[path = "common/naive.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod naive;
#[path = "common/plain.rs"]
mod plain;

use ksn::{
    key::{Digest, DigestKind, Indicator, Ipv4Block, Scope},
    limits::RECORDS_PER_KEY_MAX,
    record::RecordType,
    snapshot::BuildError,
    timestamp::Timestamp,
};
use proptest::{prelude::*, sample::select};

use self::{lookup::build, naive::Row, plain::plain};

fn row_of(indicator: Indicator, n: u32) -> Row {
    Row {
        indicator,
        id: (n % 1_000).into(),
        record_type: RecordType::ALL[n as usize % 11],
        name: format!("Trojan.Example.{}", n % 97),
        source: ["alpha", "beta"][n as usize % 2].into(),
        timestamp: Timestamp::from_seconds(n % 5),
        expiry: Timestamp::from_seconds(n % 3),
        port: Some((n % 2) as u16),
    }
}

/// Generates digests of which many share their first bytes, so that buckets overflow and a table has a tail.
fn digest() -> impl Strategy<Value = Indicator> {
    let kind = select(vec![DigestKind::Md5, DigestKind::Sha1, DigestKind::Sha256, DigestKind::SpkiSha256]);
    (kind, select(vec![0u8, 1, 0x7f, 0x80, 0xff]), 0u8..40).prop_map(|(kind, first, last)| {
        let mut bytes = vec![0; kind.width()];
        bytes[0] = first;
        bytes[kind.width() - 1] = last;
        Indicator::Digest(Digest::new(kind, &bytes).unwrap())
    })
}

fn indicator() -> impl Strategy<Value = Indicator> {
    let text = select(vec!["a", "b.example", "b.example/", "b.example/x", "bb.example", "long.name.example/with/path"]);
    let block = (0u32..9, 0u32..9).prop_map(|(a, b)| Ipv4Block::new(a.min(b).into(), a.max(b).into()).unwrap());
    prop_oneof![
        6 => digest(),
        3 => (select(Scope::ALL.to_vec()), text).prop_map(|(scope, text)| Indicator::Web { scope, expression: text.into() }),
        1 => (0u8..4).prop_map(|n| Indicator::WebSha256([n; 32])),
        2 => block.prop_map(Indicator::Ipv4),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    (indicator(), any::<u32>(), select(vec![0, 1, 2, 1 << 62, 1 << 63, u64::MAX]))
        .prop_map(|(indicator, n, id)| Row { id, ..row_of(indicator, n) })
}

fn on_threads(threads: usize, rows: &[Row]) -> Vec<u8> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| build(rows).into_bytes())
}

proptest! {
    #[test]
    fn every_byte_is_that_of_the_naive_writer(
        rows in prop::collection::vec(row(), 0..150).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        threads in 1usize..4,
    ) {
        let (rows, shuffled) = rows;
        let expected = plain(&rows);
        prop_assert!(build(&rows).into_bytes() == expected);
        prop_assert!(on_threads(threads, &shuffled) == expected);
    }
}

#[test]
fn large_snapshots_are_built_the_same() {
    // 20,000 digests with one first byte and 20,000 with all, some of them two or three times, and repeated IDs.
    let digest = |n: u32| {
        let mut bytes = *blake3::hash(&(n % 37_000).to_le_bytes()).as_bytes();
        if n.is_multiple_of(2) {
            bytes[0] = 0x2a;
        }
        Indicator::Digest(Digest::new(DigestKind::Sha256, &bytes).unwrap())
    };
    let mut rows: Vec<Row> = (0..40_000).map(|n| row_of(digest(n), n)).collect();
    rows.extend((0..6_000u32).map(|n| {
        let expression = format!("host-{:04}.example", n * 7_919 % 5_000).into();
        row_of(Indicator::Web { scope: Scope::Host, expression }, n)
    }));
    let expected = plain(&rows);
    assert!(build(&rows).into_bytes() == expected);
    rows.reverse();
    rows.rotate_left(12_345);
    for threads in [1, 2, 5] {
        assert!(on_threads(threads, &rows) == expected, "{threads} threads");
    }
}

#[test]
fn a_key_keeps_its_best_records_and_the_others_are_counted() {
    let block = |text: &str| Indicator::Ipv4(text.parse::<Ipv4Block>().unwrap());
    // 3,000 records of one key, of all types: the trusted ones suppress the bad ones.
    let mut rows: Vec<Row> = (0..3_000u32).map(|n| Row { id: n.into(), ..row_of(block("192.0.2.0/24"), n) }).collect();
    rows.iter_mut().for_each(|row| row.name = format!("name {}", row.id));
    // Keys with exactly as many records as a key can have, and with one more.
    for (text, id, count) in
        [("192.0.2.1", 10_000, RECORDS_PER_KEY_MAX), ("192.0.2.2", 20_000, RECORDS_PER_KEY_MAX + 1)]
    {
        rows.extend((0..count as u32).map(|n| Row { id: id + u64::from(n), ..row_of(block(text), n) }));
    }
    let built = build(&rows);
    let summary = built.summary();
    let all = rows.len() as u64 - summary.duplicates.iter().sum::<u64>();
    assert_eq!(summary.over_limit.iter().sum::<u64>(), 3_000 - RECORDS_PER_KEY_MAX as u64 + 1);
    assert_eq!(summary.records, all - summary.over_limit.iter().sum::<u64>());
    assert!(summary.over_limit.len() <= 7 && summary.over_limit.iter().filter(|&&count| count > 0).count() > 3);
    let bytes = built.into_bytes();
    assert!(bytes == plain(&rows));
    rows.reverse();
    assert!(build(&rows).into_bytes() == bytes);
}

#[test]
fn names_of_records_that_are_not_kept_are_left_out() {
    let row = |name: &str, time| Row {
        id: 7,
        name: name.into(),
        timestamp: Timestamp::from_seconds(time),
        ..row_of(Indicator::Ipv4("192.0.2.1".parse().unwrap()), 0)
    };
    let (old, new) = (row("an old name", 1), row("a new name", 2));
    assert!(build(&[old, new.clone()]).into_bytes() == build(&[new]).into_bytes());
}

#[test]
fn every_output_method_writes_the_same_bytes() {
    let rows: Vec<Row> = (0..30_000u32)
        .map(|n| {
            let digest = blake3::hash(&n.to_le_bytes());
            row_of(Indicator::Digest(Digest::new(DigestKind::Blake3, digest.as_bytes()).unwrap()), n)
        })
        .collect();
    let built = build(&rows);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made-up.ksn");
    built.write(&path).unwrap();
    let written = std::fs::read(&path).unwrap();
    let mut piped = Vec::new();
    built.write_to(&mut piped).unwrap();
    assert_eq!(built.bytes(), written.len() as u64);
    assert!(piped == written && built.into_bytes() == written);
}

#[test]
fn a_write_error_names_the_path_and_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none/made-up.ksn");
    let error = build(&[]).write(&path).unwrap_err();
    assert!(matches!(error, BuildError::Write { .. }));
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()) && text.contains("create its directory first"), "{text}");
}
