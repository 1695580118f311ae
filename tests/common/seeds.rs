//! Synthetic seeds for the fuzz targets: `KSN_WRITE_SEEDS=1 cargo test --test fuzz_regressions` writes them to
//! `fuzz/seeds`.

use std::{fs, ops::ControlFlow, path::Path};

use ksn::{
    Key,
    batch::{Detail, Position, Sink as _, Unanswered},
    engine::Index,
    key::{DigestKind, KeyKind, PrefixWidth},
    snapshot::Snapshot,
    timestamp::Timestamp,
    wire::{
        AnswerCaps, AnswerMeta, AnswerWriter, ErrorFrame, Hello, Notice, RequestOptions, ServerLimits, Welcome,
        write_request,
    },
};

use super::{fuzzed, lookup::Keys};

/// One seed: its target, its name and its bytes.
pub(crate) type Seed = (&'static str, String, Vec<u8>);

pub(crate) fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: String, bytes: Vec<u8>| seeds.push((target, name, bytes));
    for (n, text) in KEYS.iter().enumerate() {
        add("key_text", format!("key-{n:02}"), (*text).into());
    }
    for (n, text) in ADDRESSES.iter().enumerate() {
        add("web_address", format!("address-{n:02}"), (*text).into());
    }
    for (name, text) in feeds() {
        // Detected, without options and with all of them.
        add("feeds", name.clone(), [&[0xff, 0], text.as_slice()].concat());
        add("feeds", format!("{name}-options"), [&[0xff, 0x7d], text.as_slice()].concat());
    }
    for n in 0..6u32 {
        // Choices for rows and keys: any bytes are valid.
        let choices = (0..40 * (n + 1)).map(|at| (at.wrapping_mul(2_654_435_761 + n) >> 13) as u8).collect();
        add("engine", format!("choices-{n}"), choices);
    }
    add("snapshot_open", "sound".into(), [&[0], fuzzed::sample_snapshot()].concat());
    add("snapshot_open", "header".into(), [&[0], &fuzzed::sample_snapshot()[..128]].concat());
    add("snapshot_open", "forged-offset".into(), vec![1, 4, 0, 0, 1, 0, 0]);
    add(
        "snapshot_open",
        "forged-row".into(),
        vec![1, 3, 5, 3, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 5, 6, 1, 0, 0, 0, 9, 9, 9, 9],
    );
    add("snapshot_open", "forged-manifest".into(), vec![1, 255, 0, 2, 255, 3, 255, 4]);
    requests().into_iter().for_each(|(name, frame)| add("wire_request", name.into(), frame));
    answers().into_iter().for_each(|(name, frame)| add("wire_answer", name.into(), frame));
    seeds
}

/// Returns the file of each feed format in the corpus, by the format's name.
fn feeds() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/formats");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let feeds = files.filter(|path| path.extension().is_some_and(|extension| extension != "expected"));
    feeds.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())).collect()
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let mut columns = Vec::new();
    for kind in KeyKind::ALL {
        let keys: Vec<Key> = fuzzed::sample_keys().into_iter().filter(|key| key.kind() == kind).collect();
        columns.push((kind, Keys::new(kind, &keys)));
    }
    let columns: Vec<_> = columns.iter().map(|(kind, keys)| keys.column(*kind)).collect();
    let options = RequestOptions { detail: Detail::All, deadline_ms: 250, generation_min: 7, sequence_min: 0 };
    let prefixes = prefixes();
    let mut unknown = write_request(&options, &columns[9..10]);
    // The kind of its first column, 40 bytes after the header.
    unknown[16 + 40] = 99;
    vec![
        ("all-kinds", write_request(&options, &columns)),
        ("empty", write_request(&RequestOptions::default(), &[])),
        ("unknown-kind", unknown),
        ("prefixes", write_request(&options, &prefixes.each_ref().map(|keys| keys.column(MD5)))),
        ("expressions", write_request(&options, &expressions().each_ref().map(|keys| keys.column(KeyKind::Web)))),
        ("digests", write_request(&RequestOptions::default(), &columns[..1])),
    ]
}

const MD5: KeyKind = KeyKind::Digest(DigestKind::Md5);

/// Returns prefixes of eight and of four bytes of the same digests.
fn prefixes() -> [Keys; 2] {
    let keys: Vec<Key> = fuzzed::sample_keys().into_iter().filter(|key| key.kind() == MD5).collect();
    [PrefixWidth::Eight, PrefixWidth::Four].map(|width| Keys::prefixes(width, &keys[..4]))
}

/// Returns prefixes of eight and of four bytes of the same expressions: of listed addresses and of another.
fn expressions() -> [Keys; 2] {
    [PrefixWidth::Eight, PrefixWidth::Four].map(|width| Keys::expressions(width, ["a.b", "b", "a.b/", "a.b/x", "c.d/"]))
}

fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let view = Index::new(Snapshot::from_bytes(fuzzed::sample_snapshot().to_vec()).unwrap()).view();
    let meta = AnswerMeta { dataset: "made-up", generation: 7, sequence: 1, positive_ttl_s: 300, negative_ttl_s: 60 };
    let now = Timestamp::from_seconds(5).unwrap();
    let mut writer = AnswerWriter::new(AnswerCaps::default());
    writer.begin(3);
    for (number, kind) in [(0, KeyKind::Ipv4), (1, KeyKind::Web)] {
        let keys: Vec<Key> = fuzzed::sample_keys().into_iter().filter(|key| key.kind() == kind).collect();
        let column_of_keys = Keys::new(kind, &keys);
        let rows = keys.len() as u32;
        let answered = view.answer(number, &column_of_keys.column(kind), 0..rows, Detail::All, now, &mut writer);
        assert_eq!(answered, ControlFlow::Continue(()));
        writer.answered(number, rows);
    }
    assert!(writer.unanswered(Position { column: 1, row: 3 }, Unanswered::Malformed).is_continue());
    assert!(writer.mark_column_unanswered(2, Unanswered::Unsupported).is_continue());
    let answer = writer.finish(&meta);
    writer.begin(2);
    for (number, keys) in (0..).zip(prefixes()) {
        let answered = view.answer(number, &keys.column(MD5), 0..4, Detail::All, now, &mut writer);
        assert_eq!(answered, ControlFlow::Continue(()));
        writer.answered(number, 4);
    }
    let candidates = writer.finish(&meta);
    writer.begin(2);
    for (number, keys) in (0..).zip(expressions()) {
        let answered = view.answer(number, &keys.column(KeyKind::Web), 0..5, Detail::All, now, &mut writer);
        assert_eq!(answered, ControlFlow::Continue(()));
        writer.answered(number, 5);
    }
    let limits = ServerLimits {
        columns: 32,
        keys: 65_536,
        cost: 262_144,
        request_bytes: 4 << 20,
        answer_bytes: 8 << 20,
        address_bytes: 8_192,
        streams: 64,
        deadline_ms: 10_000,
    };
    let welcome = Welcome {
        version: 1,
        limits,
        dataset: "made-up".into(),
        generation: 7,
        sequence: 0,
        created: Timestamp::from_seconds(9),
        kinds: vec![(3, 1_000), (11, 7)],
        software: "ksn 0.1.0".into(),
    };
    vec![
        ("answer", answer),
        ("candidates", candidates),
        ("expression-candidates", writer.finish(&meta)),
        ("hello", Hello::new("scanner", "1.2.3", "linux").to_frame()),
        ("welcome", welcome.to_frame()),
        ("notice", Notice::NewGeneration(8).to_frame()),
        ("error", ErrorFrame { code: 2, retry_after_ms: 5, detail: 6, message: "too much" }.to_frame()),
    ]
}

const KEYS: [&str; 22] = [
    "md5:44d88612fea8a8f36de82e1278abb02f",
    "44d88612fea8a8f36de82e1278abb02f",
    "SHA1:3395856ce81f2b7382dee72602f798b642f14140",
    "sha256:275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f",
    "cert-sha1:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD",
    "spki-sha256:00",
    "blake3:zz",
    "00000000000000000000000000000000000000000000000000000000",
    "url:http://evil.example/a/b?c#d",
    "hxxp://evil[.]example/x(.)php",
    "1[.]2[.]3[.]4",
    "ipv4:192.0.2.1",
    "192.0.2.0/24",
    "192.0.2.1-192.0.2.9",
    "2001:db8::1",
    "[2001:db8::1]:80",
    "somebody@evil.example",
    "2026-11-22 10:00:00 UTC",
    "1795341600",
    "botnet-cc",
    "sha512:00",
    "  größe.example  ",
];

const ADDRESSES: [&str; 18] = [
    "http://www.evil.example/a/../b/./c//d?e=/../f#g",
    "http://%31%36%38%2e%31%38%38%2e%39%39%2e%32%36/%2E%73%65%63%75%72%65/",
    "%25%32%35%32%35",
    "http://3279880203/blah",
    "0x7f.1",
    "http://[::ffff:192.0.2.1]:80/",
    "http://[64:ff9b::c000:201]/x",
    "user:pass@host.example:8080/?q",
    "a.b.c.d.e.f.g.h/1/2/3/4/5.html?x=1",
    "http://größe.example/%C3%BC",
    "http:\\\\evil.example\\a",
    "//evil.example",
    "..evil..example..",
    "http://evil.example/\t\r\nx",
    "evil[.]example",
    "xn--a.example/?",
    "1.2.3.4.5/x",
    "http://evil.example/%23%25%00",
];
