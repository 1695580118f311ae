//! Prevents lookups from being answered from a snapshot that is damaged, forged or of another format version: opening
//! it fails with the reason and never panics.
//!
//! `tests/golden/v1.ksn` keeps format version 1 readable. When the format changes on purpose, run the tests with
//! `KSN_WRITE_GOLDEN=1`, which writes the file of the new version, and note the format change in the changelog.

#[path = "common/forge.rs"]
mod forge;
#[path = "common/lookup.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod lookup;
#[path = "common/naive.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod naive;

use std::{fs, path::PathBuf};

use ksn::{
    Key,
    batch::{Detail, Unanswered},
    engine::{Index, View},
    key::{Digest, DigestKind, Indicator, KeyKind, Scope},
    record::{RecordSink, RecordType, derived_id},
    snapshot::{BuildError, BuiltSnapshot, OpenError, Snapshot, SnapshotBuilder, SnapshotFile, SnapshotInfo},
    timestamp::Timestamp,
};
use sha2::{Digest as _, Sha256};

use self::{
    forge::{Forgery, seal},
    lookup::{Keys, build, lookup},
    naive::{Naive, Row},
};

// Numbers of tables and section kinds in the file format.
const SHARED: u8 = 0;
const MD5: u8 = 1;
const WEB: u8 = 10;
const IPV4: u8 = 11;
const NAME_ENDS: u8 = 1;
const CLASSES: u8 = 3;
const BUCKETS: u8 = 4;
const DIGESTS: u8 = 5;
const EXPRESSION_ENDS: u8 = 6;
const EXPRESSION_TEXT: u8 = 7;
const BLOCKS: u8 = 8;
const RECORDS: u8 = 9;
const RUNS: u8 = 10;
const MORE_RECORDS: u8 = 11;

fn row(indicator: Indicator, id: u64, record_type: RecordType, name: &str, source: &str) -> Row {
    let (name, source) = (name.to_owned(), source.to_owned());
    Row { indicator, id, record_type, name, source, timestamp: None, expiry: None, port: None }
}

fn web(scope: Scope, expression: &str) -> Indicator {
    Indicator::Web { scope, expression: expression.into() }
}

/// Returns rows with every table, section kind, scope and digest kind, several records of one key, and a tail.
fn golden_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in DigestKind::ALL {
        let bytes: Vec<u8> = (0..kind.width() as u8).map(|n| n.wrapping_mul(29) ^ kind as u8).collect();
        let indicator = Indicator::Digest(Digest::new(kind, &bytes).unwrap());
        rows.push(Row {
            timestamp: Timestamp::from_seconds(1_700_000_000 + kind as u32),
            ..row(indicator, kind as u64, RecordType::BadCertificate, "Trojan.Example", "alpha")
        });
    }
    // Twenty digests of one bucket: five overflow into the next one or into the tail.
    for n in 0..20 {
        let mut bytes = [0xee; 16];
        bytes[15] = n;
        let indicator = Indicator::Digest(Digest::new(DigestKind::Md5, &bytes).unwrap());
        let id = derived_id("beta", &indicator, "");
        rows.push(row(indicator, id, RecordType::Malware, "", "beta"));
    }
    for (scope, text) in [
        (Scope::Exact, "evil.example/a?b"),
        (Scope::Host, "www.evil.example"),
        (Scope::Domain, "evil.example"),
        (Scope::Expression, "evil.example/a/"),
    ] {
        rows.push(Row {
            port: Some(8080),
            ..row(web(scope, text), scope as u64 + 100, RecordType::Phishing, text, "alpha")
        });
    }
    rows.push(row(
        Indicator::WebSha256(Sha256::digest("hashed.example/").into()),
        200,
        RecordType::Tracking,
        "",
        "beta",
    ));
    for (block, id) in [("192.0.2.0/24", 300), ("192.0.2.7", 301), ("192.0.2.5-192.0.2.9", 302)] {
        let expiry = Timestamp::from_seconds(1_900_000_000);
        rows.push(Row {
            expiry,
            ..row(Indicator::Ipv4(block.parse().unwrap()), id, RecordType::BotnetCc, "C2 – größer", "alpha")
        });
    }
    // A second and a third source for indicators that already have a record.
    for table in [MD5 as usize - 1, 29, 33, 34] {
        let again = rows[table].indicator.clone();
        rows.push(row(again.clone(), 400, RecordType::Trusted, "allowed", "gamma"));
        rows.push(row(again, 401, RecordType::Adware, "seen", "delta"));
    }
    rows
}

fn golden() -> Vec<u8> {
    build(&golden_rows()).into_bytes()
}

/// Builds a smaller snapshot, for tests that change every byte.
fn small() -> Vec<u8> {
    let rows = golden_rows();
    build(&[rows[0].clone(), rows[30].clone(), rows[33].clone(), rows[34].clone(), rows[38].clone()]).into_bytes()
}

fn golden_keys() -> Vec<Key> {
    let digests = golden_rows().into_iter().filter_map(|row| match row.indicator {
        Indicator::Digest(digest) => Some(Key::Digest(digest)),
        _ => None,
    });
    let texts = [
        "url:evil.example/a?b",
        "url:evil.example/a/c",
        "url:www.evil.example/",
        "url:hashed.example/x",
        "url:192.0.2.7/",
        "url:good.example/",
        "ipv4:192.0.2.7",
        "ipv4:192.0.2.5",
        "ipv4:192.0.3.0",
        "md5:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeff",
    ];
    digests.chain(texts.map(|text| text.parse().unwrap())).collect()
}

fn check_answers(view: &View, rows: &[Row]) {
    let (naive, now) = (Naive::new(rows), Timestamp::from_seconds(1_800_000_000).unwrap());
    for key in golden_keys() {
        let keys = Keys::new(key.kind(), [&key]);
        let answers = lookup(view, &keys.column(key.kind()), 0..1, Detail::All, now, &[]);
        assert_eq!(answers.hits[0], naive.answer(&key, now), "{key}");
    }
}

fn open(bytes: &[u8]) -> Result<Snapshot, OpenError> {
    Snapshot::from_bytes(bytes.to_vec())
}

#[track_caller]
fn check_invalid(bytes: &[u8], expected: &str) {
    match open(bytes) {
        Err(OpenError::Invalid { what }) => assert!(what.contains(expected), "expected {expected:?}, found {what:?}"),
        other => panic!("expected `Invalid` with {expected:?}, found {other:?}"),
    }
}

/// Checks that the golden snapshot with this change, and with valid checksums, is invalid for the expected reason.
#[track_caller]
fn check_forgery(expected: &str, change: impl FnOnce(&mut Forgery)) {
    let mut forgery = Forgery::of(&golden());
    change(&mut forgery);
    check_invalid(&forgery.finish(), expected);
}

fn set_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

// -- Golden file ------------------------------------------------------------------------------------------------------

#[test]
fn version_1_is_readable_and_written_byte_for_byte() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1.ksn");
    let built = golden();
    if std::env::var_os("KSN_WRITE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &built).unwrap();
    }
    let committed = fs::read(&path).unwrap();
    let snapshot = open(&committed).unwrap();
    assert_eq!((snapshot.dataset(), snapshot.generation()), ("made-up", 7));
    assert_eq!(snapshot.created().seconds(), 1_000_000_000);
    assert_eq!(snapshot.compiled_with().collect::<Vec<_>>(), [("list", "3")]);
    assert_eq!(snapshot.sources().map(|s| s.name.to_owned()).collect::<Vec<_>>(), ["alpha", "beta", "delta", "gamma"]);
    assert_eq!((snapshot.keys(KeyKind::Web), snapshot.records(KeyKind::Ipv4)), (5, 5));
    check_answers(&Index::new(snapshot).view(), &golden_rows());
    assert!(committed == built, "the format changed: see the docs at the top of this file");
}

#[test]
fn the_golden_snapshot_has_every_table_and_section_kind() {
    let sections = Forgery::of(&golden()).manifest.sections;
    let tables: std::collections::BTreeSet<u8> = sections.iter().map(|s| s.table).collect();
    let kinds: std::collections::BTreeSet<u8> = sections.iter().map(|s| s.kind).collect();
    assert_eq!((tables, kinds), ((0..=12).collect(), (1..=11).collect()));
    // Splitting and reassembling a file without a change yields the same bytes.
    assert!(Forgery::of(&golden()).finish() == golden());
}

#[test]
fn an_empty_snapshot_can_be_opened() {
    let empty = build(&[]);
    let index = Index::new(open(&empty.into_bytes()).unwrap());
    check_answers(&index.view(), &[]);
}

// -- Damage -----------------------------------------------------------------------------------------------------------

#[test]
fn every_flipped_bit_is_detected() {
    let mut bytes = small();
    assert!(bytes.len() < 4_096, "{} bytes are too many to flip each bit", bytes.len());
    open(&bytes).unwrap();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&bytes).is_err(), "bit {} of byte {}", bit % 8, bit / 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_truncation_and_every_appended_byte_is_detected() {
    let bytes = small();
    for length in 0..bytes.len() {
        match open(&bytes[..length]) {
            Err(OpenError::Magic { found, .. }) => assert!(found.len() == length && length < 8, "{length}"),
            Err(OpenError::Truncated { found, expected }) => {
                assert_eq!(found, length as u64);
                assert!(length < expected as usize && expected as usize <= bytes.len());
            }
            other => panic!("{length}: {other:?}"),
        }
    }
    for more in [1, 63, 64, 5_000] {
        let longer = [&bytes[..], &vec![0; more]].concat();
        let (expected, found) = (bytes.len() as u64, longer.len() as u64);
        assert!(
            matches!(open(&longer), Err(OpenError::TrailingBytes { expected: e, found: f }) if (e, f) == (expected, found))
        );
    }
}

#[test]
fn a_text_mode_transfer_is_reported_as_such() {
    let bytes = golden();
    let to_unix = replace(&bytes, b"\r\n", b"\n");
    let to_dos = replace(&bytes, b"\n", b"\r\n");
    for damaged in [to_unix, to_dos] {
        let error = open(&damaged).unwrap_err();
        assert!(matches!(error, OpenError::TextMode), "{error}");
        assert!(error.to_string().contains("binary mode"));
    }
    let error = open(b"sha256,name\n").unwrap_err();
    assert!(matches!(error, OpenError::Magic { .. }) && error.to_string().contains("ksn build"), "{error}");
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        if rest.starts_with(from) {
            out.extend_from_slice(to);
            rest = &rest[from.len()..];
        } else {
            out.push(first);
            rest = &rest[1..];
        }
    }
    out
}

#[test]
fn other_versions_and_unknown_feature_bits_are_refused() {
    for version in [0, 2, u32::MAX] {
        let mut bytes = golden();
        set_u32(&mut bytes, 8, version);
        let error = open(&bytes).unwrap_err();
        assert!(matches!(error, OpenError::Version { expected: 1, found } if found == version), "{error}");
        assert!(error.to_string().contains("rebuild it"));
    }
    let mut bytes = golden();
    set_u32(&mut bytes, 12, 1 << 31 | 1);
    assert!(matches!(open(&bytes), Err(OpenError::MustUnderstand { bits: 0x8000_0001 })));
}

#[test]
fn a_checksum_error_names_the_section() {
    let mut forgery = Forgery::of(&golden());
    let at = forgery.section(MD5, DIGESTS).offset as usize;
    let mut bytes = golden();
    bytes[at] ^= 1;
    let error = open(&bytes).unwrap_err();
    assert!(matches!(error, OpenError::Checksum { .. }), "{error}");
    assert!(error.to_string().contains("Digests") && error.to_string().contains("Md5"), "{error}");
}

#[test]
fn large_files_are_checked_on_two_threads() {
    let rows: Vec<Row> = (0..40_000u32)
        .map(|n| {
            let digest = Digest::new(DigestKind::Sha256, &Sha256::digest(n.to_le_bytes())).unwrap();
            row(Indicator::Digest(digest), n.into(), RecordType::Malware, "", "alpha")
        })
        .collect();
    let mut bytes = build(&rows).into_bytes();
    assert!(bytes.len() > 1 << 20);
    open(&bytes).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    assert!(matches!(open(&bytes), Err(OpenError::Checksum { .. })));
}

// -- Forged files: valid checksums, invalid content -------------------------------------------------------------------

#[test]
fn overlapping_repeated_and_unknown_sections_are_refused() {
    check_forgery("overlaps another", |f| {
        let offset = f.section(MD5, BUCKETS).offset;
        f.section(MD5, DIGESTS).offset = offset;
    });
    check_forgery("occurs twice", |f| {
        let bytes = f.content(MD5, RECORDS).to_vec();
        let mut copy = f.section(MD5, RECORDS).clone();
        f.body.resize(f.body.len().next_multiple_of(64), 0);
        copy.offset = f.body.len() as u64;
        f.body.extend(bytes);
        f.manifest.sections.push(copy);
    });
    check_forgery("section 13.4 is unknown", |f| f.section(MD5, BUCKETS).table = 13);
    check_forgery("section 1.12 is unknown", |f| f.section(MD5, BUCKETS).kind = 12);
    check_forgery("section 1.0 is unknown", |f| f.section(MD5, BUCKETS).kind = 0);
    check_forgery("is not allowed in that table", |f| f.section(MD5, DIGESTS).kind = BLOCKS);
    check_forgery("expected rows of 16", |f| f.section(MD5, DIGESTS).stride = 20);
    check_forgery("expected rows of 16", |f| f.section(MD5, DIGESTS).bytes -= 1);
    check_forgery("expected rows of 16", |f| f.section(MD5, DIGESTS).bytes = 0);
    check_forgery("does not start at a multiple of 64", |f| f.section(MD5, DIGESTS).offset += 1);
    check_forgery("extends past the start of the manifest", |f| f.section(IPV4, MORE_RECORDS).offset = u64::MAX - 63);
    check_forgery("extends past the start of the manifest", |f| f.section(MD5, DIGESTS).bytes = 1 << 60);
}

#[test]
fn bytes_outside_of_sections_are_refused() {
    check_forgery("is preceded by bytes of no section", |f| {
        f.manifest.sections.retain(|s| (s.table, s.kind) != (MD5, DIGESTS));
    });
    // A gap that is not zero.
    check_forgery("bytes of no section follow offset", |f| {
        let end = (f.section(SHARED, NAME_ENDS).offset + f.section(SHARED, NAME_ENDS).bytes) as usize;
        assert_ne!(end % 64, 0);
        f.body[end] = 1;
    });
    check_forgery("the manifest is preceded by bytes of no section", |f| {
        let end = f.body.len();
        f.body.resize(end + 128, 0);
    });
}

#[test]
fn rows_with_references_out_of_range_are_refused() {
    let names = Forgery::of(&golden()).section(SHARED, NAME_ENDS).bytes as u32 / 4;
    let classes = Forgery::of(&golden()).section(SHARED, CLASSES).bytes as u32 / 12;
    for table in [MD5, WEB, IPV4] {
        check_forgery("record 0 of", |f| set_u32(f.content(table, RECORDS), 12, names));
        check_forgery("record 0 of", |f| set_u32(f.content(table, RECORDS), 16, classes));
        check_forgery("record 0 of", |f| set_u32(f.content(table, RECORDS), 16, 1 << 31 | 999));
        check_forgery("further record 0 of", |f| set_u32(f.content(table, MORE_RECORDS), 12, u32::MAX));
        check_forgery("further record 0 of", |f| set_u32(f.content(table, MORE_RECORDS), 16, classes));
        check_forgery("run 0 of", |f| set_u32(f.content(table, RUNS), 0, classes));
        check_forgery("run 0 of", |f| set_u32(f.content(table, RUNS), 4, u32::MAX));
        check_forgery("run 0 of", |f| set_u32(f.content(table, RUNS), 8, u32::MAX));
    }
    check_forgery("class 0 has an unknown source or record type", |f| f.content(SHARED, CLASSES)[0] = 4);
    for unknown in [0, 12, 255] {
        check_forgery("class 1 has an unknown source or record type", |f| f.content(SHARED, CLASSES)[12 + 2] = unknown);
    }
    check_forgery("an unknown source", |f| f.manifest.sources.clear());
}

#[test]
fn malformed_names_and_expressions_are_refused() {
    check_forgery("name", |f| set_u32(f.content(SHARED, NAME_ENDS), 4, u32::MAX));
    check_forgery("name 1 is malformed", |f| set_u32(f.content(SHARED, NAME_ENDS), 4, 5));
    check_forgery("text follows the last name", |f| {
        let ends = f.content(SHARED, NAME_ENDS);
        let last = ends.len() - 4;
        let end = u32::from_le_bytes(ends[last..].try_into().unwrap());
        set_u32(ends, last, end - 1);
    });
    check_forgery("is malformed", |f| {
        let text = f.content(SHARED, 2);
        let umlaut = text.iter().position(|&b| b == 0xc3).unwrap();
        text[umlaut] = b'o';
    });
    check_forgery("web expression 0 is malformed", |f| f.content(WEB, EXPRESSION_TEXT)[0] = 5);
    check_forgery("web expression 0 is malformed", |f| f.content(WEB, EXPRESSION_TEXT)[1] = 0xff);
    check_forgery("web expression 0 is malformed", |f| f.content(WEB, EXPRESSION_ENDS)[7] = 0xff);
    check_forgery("web expression 0 is malformed", |f| f.content(WEB, EXPRESSION_ENDS)[0] = 0);
    check_forgery("is malformed", |f| f.manifest.web_scopes = 0b10);
    check_forgery("unknown web scopes", |f| f.manifest.web_scopes = 1);
    check_forgery("text follows the last web expression", |f| {
        let ends = f.content(WEB, EXPRESSION_ENDS);
        let last = ends.len() - 8;
        ends[last] -= 1;
    });
}

#[test]
fn unsorted_tables_are_refused() {
    let buckets = |f: &mut Forgery, bucket: usize, meta: u32| set_u32(f.content(MD5, BUCKETS), bucket * 64 + 60, meta);
    check_forgery("the buckets of Digest(Md5) are out of order", |f| buckets(f, 0, 1));
    check_forgery("the buckets of Digest(Md5) are out of order", |f| buckets(f, 1, 0x3fff_ffff));
    check_forgery("the buckets of Digest(Md5) are out of order", |f| buckets(f, 1, 16));
    check_forgery("the buckets of Digest(Md5) are out of order", |f| {
        let last = f.content(MD5, BUCKETS).len() / 64 - 1;
        buckets(f, last, 22);
    });
    check_forgery("out of order", |f| f.content(IPV4, BLOCKS).copy_from_slice(&[0; 24]));
    check_forgery("out of order", |f| f.content(IPV4, BLOCKS)[..8].copy_from_slice(&[9, 0, 0, 0, 8, 0, 0, 0]));
}

#[test]
fn sections_of_inconsistent_length_are_refused() {
    // A table without its last key, record, bucket or block; the freed bytes become padding.
    check_forgery("keys but", |f| shrink(f, MD5, DIGESTS, 16));
    check_forgery("keys but", |f| shrink(f, MD5, RECORDS, 20));
    check_forgery("buckets for", |f| shrink(f, MD5, BUCKETS, 64));
    check_forgery("keys but", |f| shrink(f, IPV4, BLOCKS, 8));
}

/// Removes the last row of a section and zeroes its bytes.
fn shrink(forgery: &mut Forgery, table: u8, kind: u8, row: usize) {
    let content = forgery.content(table, kind);
    let kept = content.len() - row;
    content[kept..].fill(0);
    let section = forgery.section(table, kind);
    section.bytes -= row as u64;
    // A gap between sections must be shorter than 64 bytes: move the following ones if it has become longer.
    let end = (section.offset + section.bytes) as usize;
    let next = forgery.manifest.sections.iter().map(|s| s.offset as usize).filter(|&at| at >= end).min();
    if next.is_some_and(|next| next - end >= 64) {
        forgery.body.drain(end..end + 64);
        forgery.manifest.sections.iter_mut().filter(|s| s.offset as usize > end).for_each(|s| s.offset -= 64);
    }
}

#[test]
fn manifest_metadata_is_checked() {
    check_forgery("dataset name", |f| f.manifest.dataset = "Made Up".into());
    check_forgery("dataset name", |f| f.manifest.dataset = "x".repeat(33));
    check_forgery("no creation time", |f| f.manifest.created = 0);
    check_forgery("it is a shard", |f| f.manifest.key_range = (0, 1));
}

#[test]
fn oversized_lengths_allocate_no_memory() {
    // The header states more bytes than the file has: refused before anything is allocated.
    let directory = temporary();
    let path = directory.path().join("claims.ksn");
    for claim in [1 << 40, u64::MAX] {
        let mut bytes = golden();
        bytes[16..24].copy_from_slice(&u64::to_le_bytes(claim));
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(Snapshot::open(&path), Err(OpenError::Truncated { expected, .. }) if expected == claim));
    }
    // The same for the offset and length of the manifest.
    for (offset, length) in [(u64::MAX, 1u32), (128, u32::MAX), (0, 16), (u64::MAX - 3, 4), (127, 1)] {
        let mut bytes = golden();
        bytes[24..32].copy_from_slice(&offset.to_le_bytes());
        bytes[32..36].copy_from_slice(&length.to_le_bytes());
        check_invalid(&bytes, "the manifest does not end with the file");
    }
    // A manifest of 17 MB, more than any list of sources needs.
    let mut bytes = golden()[..128].to_vec();
    let length = 17 << 20;
    bytes.resize(128 + length, 0);
    let whole = bytes.len() as u64;
    bytes[16..24].copy_from_slice(&whole.to_le_bytes());
    bytes[24..32].copy_from_slice(&128u64.to_le_bytes());
    set_u32(&mut bytes, 32, length as u32);
    seal(&mut bytes, 128);
    check_invalid(&bytes, "the manifest does not end with the file");
}

#[test]
fn a_corrupt_manifest_causes_no_panic() {
    let golden = small();
    let at = u64::from_le_bytes(golden[24..32].try_into().unwrap()) as usize;
    // The root hash matches, so rkyv's own validation decides.
    for byte in at..golden.len() {
        for value in [golden[byte] ^ 1, golden[byte] ^ 0x80] {
            let mut bytes = golden.clone();
            bytes[byte] = value;
            seal(&mut bytes, at);
            // A snapshot that opens has other metadata; lookups in it must not panic.
            if let Ok(snapshot) = open(&bytes) {
                let view = Index::new(snapshot).view();
                for key in ["ipv4:192.0.2.7", "url:www.evil.example/a?b"].map(|key| key.parse::<Key>().unwrap()) {
                    let keys = Keys::new(key.kind(), [&key]);
                    lookup(
                        &view,
                        &keys.column(key.kind()),
                        0..1,
                        Detail::All,
                        Timestamp::from_seconds(1).unwrap(),
                        &[],
                    );
                }
            }
        }
    }
}

// -- Files ------------------------------------------------------------------------------------------------------------

#[test]
fn an_open_index_survives_replacement_of_its_file() {
    let directory = temporary();
    let path = directory.path().join("made-up.ksn");
    let rows = golden_rows();
    build(&rows).write(&path).unwrap();
    let index = Index::open(&path).unwrap();
    let before = index.view();
    build(&rows[..3]).write(&path).unwrap();
    check_answers(&before, &rows);
    // Also when it is truncated or removed.
    fs::write(&path, b"").unwrap();
    fs::remove_file(&path).unwrap();
    check_answers(&before, &rows);
    index.replace(open(&build(&rows[..3]).into_bytes()).unwrap());
    check_answers(&index.view(), &rows[..3]);
    check_answers(&before, &rows);
}

#[test]
fn readers_see_the_old_file_or_the_new_one() {
    let directory = temporary();
    let path = directory.path().join("made-up.ksn");
    let (old, new) = (build(&golden_rows()), build(&golden_rows()[..9]));
    old.write(&path).unwrap();
    let whole = [build(&golden_rows()), build(&golden_rows()[..9])].map(BuiltSnapshot::into_bytes);
    let done = std::sync::atomic::AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                let bytes = fs::read(&path).unwrap();
                assert!(whole.contains(&bytes), "{} bytes that are neither file", bytes.len());
                seen += 1;
            }
            seen
        });
        for _ in 0..50 {
            new.write(&path).unwrap();
            old.write(&path).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        reader.join().unwrap()
    });
    assert!(seen > 0);
    assert_eq!(names_in(directory.path()), ["made-up.ksn"]);
}

fn names_in(directory: &std::path::Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_failed_write_leaves_no_file() {
    let directory = temporary();
    let built = build(&golden_rows());
    // The path is a directory that is not empty: everything is written, and only the last step fails.
    let path = directory.path().join("taken.ksn");
    fs::create_dir_all(path.join("inside")).unwrap();
    assert!(matches!(built.write(&path), Err(BuildError::Write { .. })));
    assert_eq!(names_in(directory.path()), ["taken.ksn"]);
    // No such directory.
    assert!(matches!(built.write(&directory.path().join("none/made-up.ksn")), Err(BuildError::Write { .. })));
    assert_eq!(names_in(directory.path()), ["taken.ksn"]);
}

/// Simulates a full disk by limiting the size of the files that a child process may write.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_no_file() {
    let directory = temporary();
    let path = directory.path().join("made-up.ksn");
    if let Some(path) = std::env::var_os("KSN_TEST_FULL_DISK") {
        // In the child process, whose files are limited to 4 KiB.
        let error = build(&golden_rows()).write(path.as_ref()).unwrap_err();
        assert!(matches!(error, BuildError::Write { .. }), "{error}");
        return;
    }
    build(&golden_rows()[..2]).write(&path).unwrap();
    let before = fs::read(&path).unwrap();
    let test = std::env::current_exe().unwrap();
    // SIGXFSZ would end the process; if it is ignored, the write fails.
    let script = "trap '' XFSZ; ulimit -f 4 && exec \"$0\" --exact a_full_disk_leaves_no_file";
    let output =
        std::process::Command::new("bash").args(["-c", script]).arg(&test).env("KSN_TEST_FULL_DISK", &path).output();
    let output = output.expect("bash is needed to limit the size of files");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(names_in(directory.path()), ["made-up.ksn"]);
    assert!(fs::read(&path).unwrap() == before);
}

#[cfg(unix)]
#[test]
fn a_snapshot_has_the_mode_of_other_new_files() {
    use std::os::unix::fs::PermissionsExt;
    let directory = temporary();
    let path = directory.path().join("made-up.ksn");
    build(&golden_rows()).write(&path).unwrap();
    let other = directory.path().join("other");
    fs::write(&other, "").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(path), mode(other));
}

#[test]
fn paths_without_a_snapshot_are_refused() {
    let directory = temporary();
    assert!(matches!(Snapshot::open(directory.path().join("none.ksn")), Err(OpenError::Io(_))));
    assert!(Snapshot::open(directory.path()).is_err());
    let empty = directory.path().join("empty.ksn");
    fs::write(&empty, b"").unwrap();
    assert!(matches!(Snapshot::open(&empty), Err(OpenError::Magic { found, .. }) if found.is_empty()));
}

/// Every kind of keys can be read alone: it is answered as in the whole snapshot, and the others are unsupported.
#[test]
fn a_kind_of_keys_is_read_without_the_sections_of_the_others() {
    let directory = temporary();
    let path = directory.path().join("made-up.ksn");
    let whole = golden();
    fs::write(&path, &whole).unwrap();
    let file = SnapshotFile::open(&path).unwrap();
    let now = Timestamp::from_seconds(1_800_000_000).unwrap();
    let naive = Naive::new(&golden_rows());
    for kind in KeyKind::ALL {
        let snapshot = file.read(&[kind]).unwrap();
        let all = open(&whole).unwrap();
        assert_eq!((snapshot.root(), snapshot.bytes()), (all.root(), all.bytes()));
        for kind in KeyKind::ALL {
            // From the manifest.
            assert_eq!((snapshot.keys(kind), snapshot.records(kind)), (all.keys(kind), all.records(kind)));
        }
        let answered = |kind: KeyKind| snapshot.has(kind);
        assert!(answered(kind) && !KeyKind::ALL.into_iter().all(answered));
        let has: Vec<KeyKind> = KeyKind::ALL.into_iter().filter(|&kind| answered(kind)).collect();
        let view = Index::new(snapshot).view();
        for key in golden_keys() {
            let keys = Keys::new(key.kind(), [&key]);
            let answers = lookup(&view, &keys.column(key.kind()), 0..1, Detail::All, now, &[]);
            if has.contains(&key.kind()) {
                assert_eq!(answers.hits[0], naive.answer(&key, now), "{key}");
            } else {
                assert_eq!(answers.unanswered[0], Some(Unanswered::Unsupported), "{key} with {kind} only");
            }
        }
    }
}

/// Prevents a damaged section that is answered from, and a damaged section of another kind that stops a lookup.
#[test]
fn only_what_is_read_is_verified() {
    let directory = temporary();
    let path = directory.path().join("made-up.ksn");
    let whole = golden();
    let sections: Vec<_> = open(&whole).unwrap().sections().collect();
    for section in sections {
        let mut damaged = whole.clone();
        damaged[section.offset as usize] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert!(matches!(Snapshot::open(&path), Err(OpenError::Checksum { .. })));
        for kind in KeyKind::ALL {
            let is_read = section.kind.is_none()
                || section.kind == Some(kind)
                || (kind == KeyKind::Web && section.kind == Some(KeyKind::Ipv4));
            match SnapshotFile::open(&path).unwrap().read(&[kind]) {
                Ok(_) => assert!(!is_read, "{section:?} is damaged, and was read for {kind}"),
                Err(OpenError::Checksum { .. }) => assert!(is_read, "{section:?} was read for {kind}"),
                Err(e) => panic!("{e}"),
            }
        }
    }
    // The header and the manifest are verified always.
    let manifest = u64::from_le_bytes(whole[24..32].try_into().unwrap()) as usize;
    for at in [100, manifest, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert!(matches!(SnapshotFile::open(&path), Err(OpenError::Checksum { .. })), "{at}");
    }
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(SnapshotFile::open(&path), Err(OpenError::Truncated { .. })));
}

/// A file that is truncated while it is open is an error, as is one that grows; one that replaces it is not seen.
#[test]
fn a_file_that_changes_while_it_is_open_is_an_error_or_not_seen() {
    let directory = temporary();
    let path = directory.path().join("made-up.ksn");
    build(&golden_rows()).write(&path).unwrap();
    let file = SnapshotFile::open(&path).unwrap();
    build(&[golden_rows()[0].clone()]).write(&path).unwrap();
    assert_eq!(file.read(&KeyKind::ALL).unwrap().root(), open(&golden()).unwrap().root());
    let file = SnapshotFile::open(&path).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(200).unwrap();
    assert!(file.read(&KeyKind::ALL).is_err());
}

/// Prevents every lookup that reads the whole snapshot from disk.
#[cfg(target_os = "linux")]
#[test]
fn a_small_snapshot_stays_in_the_page_cache() {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    // Not in memory, where temporary files may be.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path().join("made-up.ksn");
    // Written, synced, and so evictable.
    build(&golden_rows()).write(&path).unwrap();
    let file = fs::File::open(&path).unwrap();
    let is_cached = || {
        let mut byte = [0];
        preadv2(&file, &mut [std::io::IoSliceMut::new(&mut byte)], 4_096, ReadWriteFlags::NOWAIT)
    };
    Snapshot::open(&path).unwrap();
    SnapshotFile::open(&path).unwrap().read(&KeyKind::ALL).unwrap();
    match is_cached() {
        Err(Errno::OPNOTSUPP) => println!("the file system does not tell what is cached"),
        found => assert_eq!(found, Ok(1), "it was evicted"),
    }
}

// -- Building ---------------------------------------------------------------------------------------------------------

#[test]
fn invalid_datasets_and_expressions_are_not_built() {
    let info = |dataset: &str| SnapshotInfo {
        dataset: dataset.into(),
        generation: 1,
        created: Timestamp::from_seconds(1).unwrap(),
        compiled_with: Default::default(),
    };
    for dataset in ["", "Upper", "with space", &"x".repeat(33)] {
        assert!(matches!(SnapshotBuilder::new().finish(&info(dataset)), Err(BuildError::Dataset { .. })), "{dataset}");
    }
    // Expressions are ASCII: no address could match any other expression.
    for scope in Scope::ALL {
        let mut builder = SnapshotBuilder::new();
        builder.add(0, row(web(scope, "größe.example"), 1, RecordType::Malware, "", "alpha").entry());
        assert!(builder.finish(&info("made-up")).is_err(), "{scope}");
    }
}

#[test]
fn many_sources_are_kept_apart() {
    let rows: Vec<Row> = (0..300u32)
        .map(|n| {
            let digest = Digest::new(DigestKind::Sha1, &[7; 20]).unwrap();
            let source = format!("source-{n:03}");
            row(Indicator::Digest(digest), 1, RecordType::Malware, "same", &source)
        })
        .collect();
    let view = Index::new(open(&build(&rows).into_bytes()).unwrap()).view();
    let key = Key::Digest(Digest::new(DigestKind::Sha1, &[7; 20]).unwrap());
    let keys = Keys::new(key.kind(), [&key]);
    let now = Timestamp::from_seconds(1).unwrap();
    let answers = lookup(&view, &keys.column(key.kind()), 0..1, Detail::All, now, &[]);
    assert_eq!(answers.hits[0], Naive::new(&rows).answer(&key, now));
    assert_eq!(answers.hits[0].len(), 300);
}
