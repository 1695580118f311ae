//! Prevents a lookup by prefixes from answering differently than one by whole keys, and a client from believing records
//! that a server made up.
#![cfg(feature = "net")]

mod common;
#[allow(dead_code, reason = "each test file uses a part")]
#[path = "common/lookup.rs"]
mod lookup;
#[allow(dead_code, reason = "each test file uses a part")]
#[path = "common/naive.rs"]
mod naive;
#[path = "prefixes/web.rs"]
mod web;

use common::{Running, bounded, key, raw_server, sha256};
use ksn::{
    Answer, Client, ClientConfig, Key, LookupError, LookupOptions, Status, Trust,
    batch::{Column, Detail, Matched, Position, Sink as _},
    key::{Digest, DigestKind, Indicator, PrefixWidth},
    record::RecordType,
    snapshot::Snapshot,
    timestamp::Timestamp,
    wire::{self, AnswerCaps, AnswerMeta, AnswerWriter, ServerLimits, Welcome},
};
use naive::Row;

const WIDTHS: [PrefixWidth; 2] = [PrefixWidth::Eight, PrefixWidth::Four];

/// Returns a digest. Digests of one `near` share the first four bytes, and those that also have one `far` the first
/// eight.
fn digest(kind: DigestKind, near: u8, far: u8, rest: u8) -> Digest {
    let mut bytes = [0x5a; 32];
    (bytes[3], bytes[6], bytes[12]) = (near, far, rest);
    Digest::new(kind, &bytes[..kind.width()]).unwrap()
}

const KINDS: [DigestKind; 4] = [DigestKind::Md5, DigestKind::CertSha1, DigestKind::Sha256, DigestKind::Blake3];

/// Returns rows of 2 × 4 × 60 digests of every kind, which fill buckets, the next buckets and the tail. Some digests
/// have several records, some of them expired.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in KINDS {
        for (near, far, rest) in (0..480u32).map(|n| ((n % 2) as u8, (n / 2 % 4) as u8, (n / 8) as u8)) {
            for (source, number) in ["alpha", "beta", "gamma"].into_iter().take(1 + usize::from(rest % 3)).zip(0..) {
                rows.push(Row {
                    indicator: Indicator::Digest(digest(kind, near, far, rest)),
                    id: rows.len() as u64,
                    record_type: RecordType::ALL[usize::from(rest + number) % 11],
                    name: format!("Name-{}", rest % 7),
                    source: source.into(),
                    timestamp: Timestamp::from_seconds(u32::from(rest)),
                    // Long ago, or never.
                    expiry: Timestamp::from_seconds(u32::from(rest % 5 == number)),
                    port: None,
                });
            }
        }
    }
    rows
}

/// Returns every listed digest, as many unlisted ones with the same prefixes, some with others, and keys of other
/// kinds.
fn keys() -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for rest in 0..120 {
        for kind in KINDS {
            for (near, far) in [(0, 0), (0, 3), (1, 1), (1, 2), (2, 0), (0, 9)] {
                keys.push(digest(kind, near, far, rest).into());
            }
        }
    }
    keys.push(key("ipv4:192.0.2.7"));
    keys.push(key("url:sub.evil.example/page"));
    keys
}

async fn serve(change: impl FnOnce(&mut ServerLimits)) -> Running {
    let server = Running::start(|config| change(&mut config.limits)).await;
    server.index.replace(Snapshot::from_bytes(lookup::build(&rows()).into_bytes()).unwrap());
    server
}

fn options(detail: Detail, prefix: Option<PrefixWidth>) -> LookupOptions {
    LookupOptions { detail, prefix, ..LookupOptions::default() }
}

/// Clears the number of candidates, in which alone answers by prefix may differ.
fn without_candidates(mut answers: Vec<Answer>) -> Vec<Answer> {
    answers.iter_mut().for_each(|answer| answer.candidates = 0);
    answers
}

async fn check(client: &Client, keys: &[Key]) {
    for detail in [Detail::Winner, Detail::All] {
        let whole = bounded(client.lookup_with(keys, &options(detail, None))).await.unwrap();
        assert!(whole.iter().all(|answer| answer.candidates == 0));
        let mut most = 0;
        for width in WIDTHS {
            let answers = bounded(client.lookup_with(keys, &options(detail, Some(width)))).await.unwrap();
            for (key, answer) in keys.iter().zip(&answers) {
                assert!(answer.candidates as usize >= answer.records.len() || matches!(key, Key::Ipv4(_)), "{key}");
            }
            let candidates: u32 = answers.iter().map(|answer| answer.candidates).sum();
            assert!(candidates >= most, "four bytes have no fewer candidates than eight");
            most = candidates;
            assert_eq!(without_candidates(answers), whole, "{width:?}, {detail:?}");
        }
    }
}

#[tokio::test]
async fn answers_equal_those_of_whole_digests() {
    let server = serve(|_| {}).await;
    let client = bounded(server.client()).await;
    check(&client, &keys()).await;
    // Few enough to be coalesced.
    check(&client, &keys()[..200]).await;
    let known = bounded(client.lookup_with(&keys(), &options(Detail::Winner, WIDTHS.first().copied()))).await.unwrap();
    assert!(known.iter().filter(|answer| answer.status == Status::Known).count() > 500);
    server.stop().await;
}

#[tokio::test]
async fn answers_are_the_same_when_they_are_truncated() {
    // A prefix of four bytes has some 450 records: an answer has room for a few of them.
    let server = serve(|limits| (limits.answer_bytes, limits.request_bytes, limits.keys) = (100_000, 3_000, 90)).await;
    let client = bounded(server.client()).await;
    check(&client, &keys()[..300]).await;
    server.stop().await;
}

#[tokio::test]
async fn concurrent_lookups_get_their_own_answers() {
    let server = serve(|_| {}).await;
    let client = bounded(server.client()).await;
    let keys = keys();
    let whole = bounded(client.lookup(&keys)).await.unwrap();
    let mut lookups = tokio::task::JoinSet::new();
    for at in (0..600usize).map(|n| n * 4) {
        let (client, keys) = (client.clone(), keys[at..at + 4].to_vec());
        let prefix = [None, Some(PrefixWidth::Eight), Some(PrefixWidth::Four)][at / 4 % 3];
        lookups.spawn(async move { (at, client.lookup_with(&keys, &options(Detail::Winner, prefix)).await.unwrap()) });
    }
    while let Some(finished) = bounded(lookups.join_next()).await {
        let (at, answers) = finished.unwrap();
        assert_eq!(answers.iter().any(|answer| answer.candidates > 0), at / 4 % 3 > 0);
        assert_eq!(without_candidates(answers), whole[at..at + 4]);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_raw_answer_is_verified_in_one_pass() {
    let server = Running::start(|_| {}).await;
    let client = bounded(server.client()).await;
    let digests: Vec<Digest> = (0..16_384).map(sha256).collect();
    let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.bytes()[..8].to_vec()).collect();
    let columns = [Column::Prefixes { kind: DigestKind::Sha256, width: PrefixWidth::Eight, bytes: &bytes }];
    let raw = bounded(client.exchange(&columns, &LookupOptions::default())).await.unwrap();
    let answer = raw.view().unwrap();
    let known: Vec<u32> = answer
        .candidates(&columns)
        .unwrap()
        .filter(|(hit, suffix)| digests[hit.position().row as usize].bytes()[8..] == **suffix)
        .map(|(hit, _)| hit.position().row)
        .collect();
    assert!(known.into_iter().eq((0..1_000).step_by(10)));
    server.stop().await;
}

/// Runs a server that answers the first batch, of one column, with a forged hit at this row.
async fn forging_server(endpoint: quinn::Endpoint, keys: Vec<u8>, rows: u32, row: u32, matched: Matched<'static>) {
    let connection = endpoint.accept().await.unwrap().await.unwrap();
    let (mut control, _recv) = connection.accept_bi().await.unwrap();
    let welcome = Welcome {
        version: wire::VERSION,
        limits: ServerLimits::default(),
        dataset: "liar".into(),
        generation: 1,
        sequence: 0,
        created: None,
        kinds: vec![(DigestKind::Sha256 as u8, 1)],
        software: "test".into(),
    };
    control.write_all(&welcome.to_frame()).await.unwrap();
    let (mut send, mut recv) = connection.accept_bi().await.unwrap();
    let request = recv.read_to_end(1 << 20).await.unwrap();
    // After the header and the columns, the request must have the bytes of the prefixes and no others.
    assert_eq!(request[16 + 40 + 16..], keys);
    let mut writer = AnswerWriter::new(AnswerCaps::default());
    writer.begin(1);
    let hit = ksn::batch::Hit {
        id: 1,
        record_type: RecordType::Malware,
        name: "Lie",
        name_number: 0,
        source: "liar",
        source_number: 0,
        timestamp: None,
        expiry: None,
        port: None,
        matched,
    };
    assert!(writer.hit(Position { column: 0, row }, &hit).is_continue());
    writer.answered(0, rows);
    let meta = AnswerMeta { dataset: "liar", generation: 1, sequence: 0, positive_ttl_s: 0, negative_ttl_s: 0 };
    send.write_all(&writer.finish(&meta)).await.unwrap();
    send.finish().unwrap();
    connection.closed().await;
}

/// Looks up a key at a server that answers with a forged hit. The request must have `rows` rows with these `bytes`.
async fn lookup_forged(
    key: Key,
    bytes: Vec<u8>,
    rows: u32,
    row: u32,
    matched: Matched<'static>,
) -> Result<Vec<Answer>, LookupError> {
    let (endpoint, pin) = raw_server(wire::ALPN);
    let config = ClientConfig::new(endpoint.local_addr().unwrap().to_string(), Trust::Pin(pin));
    let server = tokio::spawn(forging_server(endpoint, bytes, rows, row, matched));
    let client = bounded(Client::connect(config)).await.unwrap();
    let options = options(Detail::Winner, Some(PrefixWidth::Eight));
    let answers = bounded(client.lookup_with(&[key], &options)).await;
    drop(client);
    bounded(server).await.unwrap();
    answers
}

#[tokio::test]
async fn forged_suffixes_are_not_believed() {
    let lookup_forged = async |suffix: &'static [u8]| {
        // Eight bytes of one digest.
        let (key, bytes) = (sha256(0).into(), sha256(0).bytes()[..8].to_vec());
        lookup_forged(key, bytes, 1, 0, Matched::Suffix(suffix)).await
    };
    let answers = lookup_forged(&[7; 24]).await.unwrap();
    assert_eq!((answers[0].status, answers[0].candidates), (Status::Known, 1), "the suffix of the digest");
    let answers = lookup_forged(&[9; 24]).await.unwrap();
    assert_eq!((answers[0].status, answers[0].candidates), (Status::Unknown, 1), "the suffix of another digest");
    for wrong in [&[7; 23][..], &[7; 25], &[7; 48]] {
        let error = lookup_forged(wrong).await.unwrap_err();
        assert!(
            matches!(&error, LookupError::Protocol(source) if source.to_string().contains("suffixes")),
            "{error:?}"
        );
    }
}
