//! Prevents false positives: with real feeds, guarded by the real warninglists, no entry of those lists may be answered
//! as bad, and no key that is in no feed may be answered as known.
//!
//! The tests need real lists and are ignored by default: `KSN_FEEDS` names a folder with warninglists in `allow/` and
//! feeds in its other folders.

#![cfg(feature = "feed")]

#[path = "common/real_feeds.rs"]
mod real_feeds;

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use ksn::{
    Answer, Index, Key, Status,
    batch::Detail,
    compile::{Compiler, feed_files},
    feed::Options,
    key::{Digest, DigestKind, Ipv4Block},
    snapshot::Snapshot,
    timestamp::Timestamp,
};

use self::real_feeds::real_feeds;

/// The folder of `KSN_FEEDS` and an index of all of its feeds, guarded by all of its warninglists.
static GUARDED: LazyLock<(PathBuf, Index)> = LazyLock::new(|| {
    let feeds = real_feeds();
    let mut compiler = Compiler::new(Options::new(now()));
    for list in warninglists(&feeds) {
        // Lists of substrings and regular expressions are unsupported and guard nothing.
        let _ = compiler.guard(File::open(&list).unwrap(), &list.display().to_string());
    }
    for file in feed_files(std::slice::from_ref(&feeds)).unwrap() {
        if !file.path.starts_with(feeds.join("allow")) {
            let _ = compiler.read_file(&file, |_| {});
        }
    }
    let snapshot = compiler.finish("false-positives", 1).unwrap().snapshot;
    assert!(snapshot.summary().records > 500_000, "only {} records", snapshot.summary().records);
    (feeds, Index::new(Snapshot::from_bytes(snapshot.into_bytes()).unwrap()))
});

#[test]
#[ignore = "needs real feeds (KSN_FEEDS)"]
fn entries_of_warninglists_are_not_bad() {
    let (feeds, index) = &*GUARDED;
    let mut looked_up = 0;
    let mut bad = Vec::new();
    for path in warninglists(feeds) {
        let list: serde_json::Value = serde_json::from_slice(&unpacked(&path)).unwrap();
        let kind = list["type"].as_str().unwrap_or_default();
        if !["string", "hostname", "cidr"].contains(&kind) {
            continue;
        }
        let fingerprints = list["matching_attributes"].to_string().contains("x509-fingerprint");
        let entries = list["list"].as_array().unwrap().iter().filter_map(|entry| entry.as_str());
        let keys: Vec<Key> = entries.flat_map(|entry| keys_of(entry, kind, fingerprints)).collect();
        looked_up += keys.len();
        for (key, answer) in keys.iter().zip(index.lookup(&keys, Detail::Winner, now())) {
            if is_bad(&answer) {
                let record = answer.winner().unwrap();
                bad.push(format!("{}: {key} is {} ({})", list["name"], record.record_type, record.source));
            }
        }
    }
    assert!(looked_up > 50_000, "only {looked_up} keys");
    println!("{looked_up} keys of warninglists looked up");
    assert!(bad.is_empty(), "{} of {looked_up}:\n{}", bad.len(), bad.join("\n"));
}

#[test]
#[ignore = "needs real feeds (KSN_FEEDS)"]
fn resolvers_private_addresses_and_empty_or_zero_digests_are_not_bad() {
    let (_, index) = &*GUARDED;
    let mut keys: Vec<Key> = ["1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9", "208.67.222.222"]
        .into_iter()
        .chain(["10.0.0.1", "127.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.1.1", "224.0.0.1", "0.0.0.0"])
        .chain(["http://192.168.1.1/", "http://127.0.0.1/x", "localhost.localdomain", "github.com", "google.com"])
        .chain(["d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709"])
        .chain(["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"])
        .map(|text| text.parse().unwrap())
        .collect();
    keys.push(Digest::new(DigestKind::Blake3, blake3::hash(b"").as_bytes()).unwrap().into());
    keys.extend(DigestKind::ALL.map(|kind| Key::from(Digest::new(kind, &vec![0; kind.width()]).unwrap())));
    for (key, answer) in keys.iter().zip(index.lookup(&keys, Detail::Winner, now())) {
        assert!(!is_bad(&answer), "{key}: {answer:?}");
    }
}

#[test]
#[ignore = "needs real feeds (KSN_FEEDS)"]
fn a_million_random_keys_are_unknown() {
    let (_, index) = &*GUARDED;
    let mut output = blake3::Hasher::new().update(b"a million random keys").finalize_xof();
    let mut bytes = [0; 32];
    let mut looked_up = 0;
    for _ in 0..100 {
        let keys: Vec<Key> = (0..10_000)
            .map(|n| {
                output.fill(&mut bytes);
                let kind = DigestKind::ALL[n % 9];
                match n % 10 {
                    9 => format!("{}.random-{n}.example/{}", bytes[0], bytes[1]).parse().unwrap(),
                    _ => Digest::new(kind, &bytes[..kind.width()]).unwrap().into(),
                }
            })
            .collect();
        looked_up += keys.len();
        let answers = index.lookup(&keys, Detail::Winner, now());
        assert!(answers.iter().all(|answer| answer.status == Status::Unknown));
    }
    assert_eq!(looked_up, 1_000_000);
}

fn is_bad(answer: &Answer) -> bool {
    answer.winner().is_some_and(|record| record.record_type.is_bad())
}

/// Returns the keys of an entry of a warninglist: a name, an address, both ends of a block, or a fingerprint.
fn keys_of(entry: &str, kind: &str, fingerprints: bool) -> Vec<Key> {
    if fingerprints {
        let kind = DigestKind::of_certificate(entry.len() / 2);
        return kind.and_then(|kind| Digest::from_hex(kind, entry).ok()).map(Key::from).into_iter().collect();
    }
    if kind == "cidr" || entry.contains('/') {
        let block = entry.split_once('/').and_then(|(address, bits)| {
            Some(Ipv4Block::containing(address.parse().ok()?, bits.parse().ok().filter(|bits| *bits <= 32)?))
        });
        if let Some(block) = block.or_else(|| entry.parse().ok()) {
            return vec![block.first().into(), block.last().into()];
        }
    }
    entry.trim_start_matches('.').parse().ok().into_iter().collect()
}

fn warninglists(feeds: &Path) -> Vec<PathBuf> {
    let files = feed_files(&[feeds.join("allow")]).unwrap();
    let lists: Vec<PathBuf> = files.into_iter().map(|file| file.path).collect();
    assert!(lists.len() > 50, "only {} warninglists", lists.len());
    lists
}

fn unpacked(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "zst") {
        let mut unpacked = Vec::new();
        zstd::Decoder::new(bytes.as_slice()).unwrap().read_to_end(&mut unpacked).unwrap();
        return unpacked;
    }
    bytes
}

fn now() -> Timestamp {
    "2026-11-22".parse().unwrap()
}
