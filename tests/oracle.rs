//! Prevents wrong answers: every answer of the engine must equal that of a naive reference, which scans all records.
//!
//! Keys and records are generated from small alphabets, so that situations that are rare in production occur in every
//! case: one key listed by several sources, nested blocks, parent domains, trust against malware, expired records,
//! equal IDs under different indicators, and digests that share one bucket, overflow into the next and fill the tail of
//! their table.

#[path = "common/lookup.rs"]
mod lookup;
#[path = "common/naive.rs"]
mod naive;

use std::collections::{BTreeMap, HashMap, HashSet};

use ksn::{
    Key, WebAddress,
    batch::{Detail, Unanswered},
    engine::{Index, View},
    key::{Digest, DigestKind, Indicator, Ipv4Block, KeyKind, PrefixWidth, Scope},
    record::{RecordType, derived_id},
    snapshot::Snapshot,
    timestamp::Timestamp,
};
use proptest::{
    prelude::*,
    sample::{Index as Pick, select},
    strategy::Union,
};
use sha2::{Digest as _, Sha256};

use self::{
    lookup::{Keys, build, by_digest, lookup, texts},
    naive::{Answer, Naive, Row},
};

// -- Generators -------------------------------------------------------------------------------------------------------

fn digest_kind() -> impl Strategy<Value = DigestKind> {
    // Every width, and two kinds of one width.
    select(vec![DigestKind::Md5, DigestKind::Sha1, DigestKind::CertSha1, DigestKind::Sha256, DigestKind::Blake3])
}

/// Generates digests of which many share their first four or eight bytes.
fn digest() -> impl Strategy<Value = Digest> {
    let bucket = select(vec![0, 0, 0, 1, 0x4000_0000, 0x4000_0001, 0x8000_0000, 0xffff_ffffu32]);
    let fingerprint = select(vec![0, 0, 1, u32::MAX]);
    (digest_kind(), bucket, fingerprint, 0u8..60).prop_map(|(kind, bucket, fingerprint, rest)| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&bucket.to_be_bytes());
        bytes[4..8].copy_from_slice(&fingerprint.to_be_bytes());
        bytes[kind.width() - 1] = rest;
        Digest::new(kind, &bytes[..kind.width()]).unwrap()
    })
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::collection::vec(select(vec!["a", "b", "xn--a"]), 1..8).prop_map(|labels| labels.join(".")),
        1 => address().prop_map(|address| address.to_string()),
        1 => Just("[2001:db8::1]".to_owned()),
    ]
}

fn path() -> impl Strategy<Value = String> {
    (prop::collection::vec(select(vec!["x", "y", "index.html"]), 0..6), any::<bool>()).prop_map(
        |(parts, is_directory)| {
            let mut path: String = parts.iter().map(|part| format!("/{part}")).collect();
            if is_directory || path.is_empty() {
                path.push('/');
            }
            path
        },
    )
}

fn query() -> impl Strategy<Value = String> {
    select(vec!["", "", "?q", "?q=/x/", "?r?"]).prop_map(str::to_owned)
}

fn web_text() -> impl Strategy<Value = String> {
    (host(), path(), query()).prop_map(|(host, path, query)| format!("{host}{path}{query}"))
}

fn web_indicator() -> impl Strategy<Value = Indicator> {
    (select(Scope::ALL.to_vec()), host(), path(), query(), 0u8..4).prop_map(|(scope, host, path, query, hashed)| {
        let text = match scope {
            Scope::Host | Scope::Domain => host,
            Scope::Exact | Scope::Expression => format!("{host}{path}{query}"),
        };
        match scope {
            Scope::Expression if hashed == 0 => Indicator::WebSha256(Sha256::digest(&text).into()),
            _ => Indicator::Web { scope, expression: text.into() },
        }
    })
}

/// Generates addresses close to one another, and at the ends of the address space.
fn address() -> impl Strategy<Value = std::net::Ipv4Addr> {
    prop_oneof![
        6 => (0u32..40).prop_map(|low| 0x0a00_0000 + low),
        3 => (0u32..40).prop_map(|low| 0x09ff_ffec + low),
        1 => select(vec![0, 1, u32::MAX - 1, u32::MAX, 0x0a00_ffff, 0x0a01_0000]),
    ]
    .prop_map(Into::into)
}

fn block() -> impl Strategy<Value = Ipv4Block> {
    prop_oneof![
        3 => (address(), address()).prop_map(|(a, b)| Ipv4Block::new(a.min(b), a.max(b)).unwrap()),
        3 => (address(), 0u8..=32).prop_map(|(address, bits)| Ipv4Block::containing(address, bits)),
        4 => address().prop_map(Ipv4Block::from),
    ]
}

fn indicator() -> impl Strategy<Value = Indicator> {
    prop_oneof![
        4 => digest().prop_map(Indicator::Digest),
        4 => web_indicator(),
        3 => block().prop_map(Indicator::Ipv4),
    ]
}

fn time() -> impl Strategy<Value = Option<Timestamp>> {
    (0u32..4).prop_map(Timestamp::from_seconds)
}

fn record_type() -> impl Strategy<Value = RecordType> {
    Union::new_weighted(vec![
        (2, Just(RecordType::Malware).boxed()),
        (3, Just(RecordType::Trusted).boxed()),
        (3, select(RecordType::ALL.to_vec()).boxed()),
    ])
}

fn row() -> impl Strategy<Value = Row> {
    (
        indicator(),
        // An ID of the feed, or none.
        prop::option::weighted(0.7, prop_oneof![0u64..6, Just(u64::MAX >> 1)]),
        record_type(),
        select(vec!["", "EICAR-Test-File", "Größe"]),
        select(vec!["alpha", "beta", "alphabet"]),
        time(),
        select(vec![None, None, Some(10), Some(20)]),
        select(vec![None, None, Some(0), Some(80), Some(443)]),
    )
        .prop_map(|(indicator, id, record_type, name, source, timestamp, expiry, port)| Row {
            id: id.unwrap_or_else(|| derived_id(source, &indicator, name)),
            indicator,
            record_type,
            name: name.into(),
            source: source.into(),
            timestamp,
            expiry: expiry.and_then(Timestamp::from_seconds),
            port,
        })
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        digest().prop_map(Key::Digest),
        web_text().prop_map(|text| {
            let address = WebAddress::parse(&text).unwrap();
            assert_eq!(address.as_str(), text, "generated addresses are canonical");
            Key::Web(address)
        }),
        address().prop_map(Key::Ipv4),
    ]
}

/// Returns a key that matches each row, for indicators that can be turned into a key.
fn keys_of(rows: &[Row]) -> Vec<Key> {
    rows.iter()
        .filter_map(|row| match &row.indicator {
            Indicator::Digest(digest) => Some(Key::Digest(*digest)),
            Indicator::Web { expression, .. } => WebAddress::parse(expression).ok().map(Key::Web),
            Indicator::WebSha256(_) => None,
            Indicator::Ipv4(block) => Some(Key::Ipv4(block.last())),
        })
        .collect()
}

fn by_kind(keys: Vec<Key>) -> BTreeMap<KeyKind, Vec<Key>> {
    let mut columns: BTreeMap<_, Vec<_>> = BTreeMap::new();
    keys.into_iter().for_each(|key| columns.entry(key.kind()).or_default().push(key));
    columns
}

fn index_of(rows: &[Row]) -> Index {
    Index::new(Snapshot::from_bytes(build(rows).into_bytes()).expect("a built snapshot can be opened"))
}

fn seconds(seconds: u32) -> Timestamp {
    Timestamp::from_seconds(seconds).unwrap()
}

fn row_of(indicator: Indicator, id: u64, record_type: RecordType, source: &str) -> Row {
    let (name, source) = (format!("{record_type}-{id}"), source.to_owned());
    Row { indicator, id, record_type, name, source, timestamp: None, expiry: None, port: None }
}

/// Looks up all keys of each kind and compares the answers with the reference.
fn check(rows: &[Row], keys: Vec<Key>, now: Timestamp) {
    let (index, naive) = (index_of(rows), Naive::new(rows));
    let view = index.view();
    for (kind, keys) in by_kind(keys) {
        let column_of_keys = Keys::new(kind, &keys);
        let all = lookup(&view, &column_of_keys.column(kind), 0..u32::MAX, Detail::All, now, &[]);
        let winners = lookup(&view, &column_of_keys.column(kind), 0..u32::MAX, Detail::Winner, now, &[]);
        assert_eq!((all.hits.len(), winners.hits.len()), (keys.len(), keys.len()));
        for (at, key) in keys.iter().enumerate() {
            let expected = naive.answer(key, now);
            assert_eq!(all.hits[at], expected, "{key}");
            assert_eq!(winners.hits[at][..], expected[..expected.len().min(1)], "{key}");
        }
        check_prefixes(&view, &naive, &keys, now, &[]);
        assert!(all.unanswered.iter().chain(&winners.unanswered).all(Option::is_none));
    }
}

/// Checks the same lookups by prefixes, for kinds that have them.
fn check_prefixes(view: &View, naive: &Naive, keys: &[Key], now: Timestamp, room: &[usize]) {
    match keys[0] {
        Key::Digest(_) => check_digest_prefixes(view, naive, keys, now, room),
        Key::Web(_) => check_expressions(view, naive, keys, now, room),
        Key::Ipv4(_) => {}
    }
}

/// Checks that a prefix finds every expression whose SHA-256 begins with it, with its records, once in each scope.
fn check_expressions(view: &View, naive: &Naive, keys: &[Key], now: Timestamp, room: &[usize]) {
    let addresses = keys.iter().map(|key| if let Key::Web(address) = key { address } else { panic!("{key}") });
    let texts: Vec<&str> = addresses.flat_map(texts).collect();
    for width in [PrefixWidth::Eight, PrefixWidth::Four] {
        let column_of_keys = Keys::expressions(width, texts.iter().copied());
        let column = column_of_keys.column(KeyKind::Web);
        let all = lookup(view, &column, 0..u32::MAX, Detail::All, now, room);
        let winners = lookup(view, &column, 0..u32::MAX, Detail::Winner, now, room);
        assert_eq!((all.hits.len(), winners.hits.len()), (texts.len(), texts.len()));
        let mut expected: HashMap<&str, Vec<Vec<Answer>>> = HashMap::new();
        for (at, text) in texts.iter().enumerate() {
            let expected = expected.entry(text).or_insert_with(|| naive.expression_candidates(text, width, now));
            assert_eq!(by_digest(&all.hits[at]), by_digest(&expected.concat()), "{text}, {width:?}");
            let first: Vec<_> = expected.iter().map(|answers| answers[0].clone()).collect();
            assert_eq!(by_digest(&winners.hits[at]), by_digest(&first), "{text}, {width:?}");
        }
    }
}

/// Checks that a prefix finds every digest that begins with it, with its records, once.
fn check_digest_prefixes(view: &View, naive: &Naive, keys: &[Key], now: Timestamp, room: &[usize]) {
    for width in [PrefixWidth::Eight, PrefixWidth::Four] {
        let column_of_keys = Keys::prefixes(width, keys);
        let column = column_of_keys.column(keys[0].kind());
        let all = lookup(view, &column, 0..u32::MAX, Detail::All, now, room);
        let winners = lookup(view, &column, 0..u32::MAX, Detail::Winner, now, room);
        // Many keys share a prefix, and the reference is slow.
        let mut expected: HashMap<&[u8], Vec<Vec<Answer>>> = HashMap::new();
        for (at, key) in keys.iter().enumerate() {
            let Key::Digest(digest) = key else { panic!("{key} is not a digest") };
            let prefix = &digest.bytes()[..width.bytes()];
            let expected = expected.entry(prefix).or_insert_with(|| naive.candidates(digest, width, now));
            assert_eq!(&by_digest(&all.hits[at]), expected, "{key}, {width:?}");
            let first: Vec<_> = expected.iter().map(|answers| answers[..1].to_vec()).collect();
            assert_eq!(by_digest(&winners.hits[at]), first, "{key}, {width:?}");
        }
    }
}

// -- Properties -------------------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_matches_the_reference(
        rows in prop::collection::vec(row(), 0..160),
        absent in prop::collection::vec(key(), 0..60),
        now in select(vec![1, 9, 10, 11, 20, 21]),
    ) {
        let mut keys = keys_of(&rows);
        keys.extend(absent);
        check(&rows, keys, seconds(now));
    }

    #[test]
    fn colliding_digests_are_found_and_absent_ones_are_not(
        rows in prop::collection::vec((digest(), 0u64..3), 0..400),
        absent in prop::collection::vec(digest(), 0..80),
    ) {
        let rows: Vec<Row> = rows
            .into_iter()
            .map(|(digest, id)| row_of(Indicator::Digest(digest), id | 1 << 63, RecordType::Malware, "alpha"))
            .collect();
        let mut keys = keys_of(&rows);
        keys.extend(absent.into_iter().map(Key::Digest));
        check(&rows, keys, seconds(1));
    }

    #[test]
    fn a_full_sink_neither_loses_nor_repeats_hits(
        rows in prop::collection::vec(row(), 1..80),
        keys in prop::collection::vec(any::<Pick>(), 1..200),
        absent in prop::collection::vec(key(), 0..40),
        range in (0u32..220, 0u32..220),
        room in prop::collection::vec(0usize..20, 0..30),
        all in any::<bool>(),
    ) {
        let (index, naive) = (index_of(&rows), Naive::new(&rows));
        let listed = keys_of(&rows);
        let mut queried = absent;
        if !listed.is_empty() {
            queried.extend(keys.iter().map(|pick| pick.get(&listed).clone()));
        }
        let detail = if all { Detail::All } else { Detail::Winner };
        let now = seconds(9);
        for (kind, keys) in by_kind(queried) {
            let column_of_keys = Keys::new(kind, &keys);
            let answers = lookup(&index.view(), &column_of_keys.column(kind), range.0..range.1, detail, now, &room);
            let queried = keys.iter().take(range.1 as usize).skip(range.0 as usize);
            let expected: Vec<_> = queried
                .map(|key| {
                    let mut expected = naive.answer(key, now);
                    expected.truncate(if all { usize::MAX } else { 1 });
                    expected
                })
                .collect();
            prop_assert_eq!(answers.hits, expected);
            check_prefixes(&index.view(), &naive, &keys, now, &room);
        }
    }

    #[test]
    fn the_order_of_rows_does_not_change_the_bytes(
        rows in prop::collection::vec(row(), 0..120).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        let (rows, shuffled) = rows;
        let built = build(&rows);
        let summary = built.summary().clone();
        let bytes = built.into_bytes();
        prop_assert!(bytes == build(&shuffled).into_bytes());
        let naive = Naive::new(&rows);
        prop_assert_eq!(summary.records, naive.rows.len() as u64);
        prop_assert_eq!(summary.duplicates.iter().sum::<u64>(), (rows.len() - naive.rows.len()) as u64);
        // The record counts in the metadata of the snapshot.
        let snapshot = Snapshot::from_bytes(bytes).unwrap();
        let total: u64 = KeyKind::ALL.into_iter().map(|kind| snapshot.records(kind)).sum();
        prop_assert_eq!(total, naive.rows.len() as u64);
        prop_assert_eq!(snapshot.sources().map(|source| source.records).sum::<u64>(), naive.rows.len() as u64);
    }

    #[test]
    fn random_keys_are_unknown(
        rows in prop::collection::vec(row(), 0..60),
        digests in prop::collection::vec((digest_kind(), any::<[u8; 32]>()), 0..60),
        names in prop::collection::vec("[c-z]{1,8}(\\.[c-z]{2,8}){1,3}", 0..20),
    ) {
        let index = index_of(&rows);
        let mut keys: Vec<Key> = digests
            .into_iter()
            .map(|(kind, bytes)| Key::Digest(Digest::new(kind, &bytes[..kind.width()]).unwrap()))
            .collect();
        keys.extend(names.iter().map(|name| Key::Web(WebAddress::parse(name).unwrap())));
        for (kind, keys) in by_kind(keys) {
            let column_of_keys = Keys::new(kind, &keys);
            let answers = lookup(&index.view(), &column_of_keys.column(kind), 0..u32::MAX, Detail::All, seconds(1), &[]);
            prop_assert!(answers.hits.iter().all(Vec::is_empty));
            prop_assert!(answers.unanswered.iter().all(Option::is_none));
        }
    }
}

// -- Cases that random generation seldom produces ---------------------------------------------------------------------

#[test]
fn digests_that_overflow_a_bucket_are_found_in_the_next_one_and_the_tail() {
    for count in [15, 16, 29, 30, 31, 46, 300] {
        for (bucket, others) in [(0u32, 400u32), (u32::MAX, 400), (0x8000_0000, 0), (0x8000_0000, 400)] {
            let digest = |bucket: u32, fingerprint: u32, rest: u16| {
                let mut bytes = [0; 32];
                bytes[..4].copy_from_slice(&bucket.to_be_bytes());
                bytes[4..8].copy_from_slice(&fingerprint.to_be_bytes());
                bytes[30..].copy_from_slice(&rest.to_be_bytes());
                Digest::new(DigestKind::Sha256, &bytes).unwrap()
            };
            let colliding = (0..count).map(|n| digest(bucket, u32::from(n) % 3, n));
            let rest = (0..others).map(|n| digest(n.wrapping_mul(0x9e37_79b9), n, 0));
            let rows: Vec<Row> = colliding
                .chain(rest)
                .zip(0..)
                .map(|(digest, n)| row_of(Indicator::Digest(digest), n, RecordType::Malware, "alpha"))
                .collect();
            let mut keys = keys_of(&rows);
            keys.extend((count..count + 40).map(|n| Key::Digest(digest(bucket, u32::from(n) % 3, n))));
            check(&rows, keys, seconds(1));
        }
    }
}

#[test]
fn expressions_that_overflow_a_bucket_are_found_in_the_next_one_and_the_tail() {
    for count in [15, 16, 30, 31, 64] {
        // All in the first bucket of several; some in more than one scope, some listed by hash only.
        let hosts = (0..).map(|n| format!("n{n}.example")).filter(|host| Sha256::digest(host)[0] == 0);
        let indicators = hosts.take(count).zip(0..).flat_map(|(host, n)| {
            let by_hash = (n % 3 == 0).then(|| Indicator::WebSha256(Sha256::digest(&host).into()));
            let host: Box<str> = host.into();
            let of = |scope| Indicator::Web { scope, expression: host.clone() };
            [Some(of(Scope::Domain)), (n % 2 == 0).then(|| of(Scope::Host)), by_hash].into_iter().flatten()
        });
        let rows: Vec<Row> =
            indicators.zip(0..).map(|(indicator, n)| row_of(indicator, n, RecordType::Malware, "alpha")).collect();
        let mut keys = keys_of(&rows);
        keys.extend((0..40).map(|n| Key::Web(WebAddress::parse(&format!("a.n{n}.example/x")).unwrap())));
        check(&rows, keys, seconds(1));
    }
}

#[test]
fn rows_beyond_one_chunk_keep_their_positions() {
    let indicators: Vec<Indicator> = (0..40u8)
        .flat_map(|n| {
            let digest = Digest::new(DigestKind::Md5, &[n.wrapping_mul(37); 16]).unwrap();
            let web = Indicator::Web { scope: Scope::Domain, expression: format!("n{n}.example").into() };
            [Indicator::Digest(digest), web, Indicator::Ipv4(std::net::Ipv4Addr::new(192, 0, 2, n).into())]
        })
        .collect();
    let rows: Vec<Row> = indicators
        .into_iter()
        .zip(0..)
        .map(|(indicator, n)| row_of(indicator, n, RecordType::Phishing, "alpha"))
        .collect();
    // A third of the keys is not listed.
    let keys = (0..7_000u32).map(|n| match (n % 3, (n / 9 % 60) as u8) {
        (0, n) => Key::Digest(Digest::new(DigestKind::Md5, &[n.wrapping_mul(37); 16]).unwrap()),
        (1, n) => Key::Web(WebAddress::parse(&format!("www.n{n}.example/a/b?c")).unwrap()),
        (_, n) => Key::Ipv4([192, 0, 2, n].into()),
    });
    check(&rows, keys.collect(), seconds(1));
}

#[test]
fn records_are_identified_by_source_and_id() {
    let digest = |n: u8| Indicator::Digest(Digest::new(DigestKind::Md5, &[n; 16]).unwrap());
    // The feed assigns its IDs 1 and 2 to each of two digests, all under the same name.
    let rows: Vec<Row> = [(1, 1), (1, 2), (2, 1), (2, 2)]
        .map(|(n, id)| Row { name: "same".into(), ..row_of(digest(n), id, RecordType::Malware, "alpha") })
        .into();
    check(&rows, keys_of(&rows), seconds(1));
    let view = index_of(&rows).view();
    let keys = keys_of(&rows[1..3]);
    let column_of_keys = Keys::new(keys[0].kind(), &keys);
    let answers = lookup(&view, &column_of_keys.column(keys[0].kind()), 0..2, Detail::All, seconds(1), &[]);
    let identities: Vec<_> = answers.hits.iter().flatten().map(|a| (a.source.clone(), a.id)).collect();
    assert_eq!(identities.len(), identities.iter().collect::<HashSet<_>>().len(), "{identities:?}");
}

#[test]
fn non_canonical_addresses_are_malformed_or_match_less() {
    let rows = [row_of(
        Indicator::Web { scope: Scope::Domain, expression: "example".into() },
        1,
        RecordType::Malware,
        "alpha",
    )];
    let view = index_of(&rows).view();
    let mut keys = Keys::default();
    let texts: [&[u8]; 8] =
        [b"", b"/", b"example", b"a.example/", b"\xff\xfe/", b"A.EXAMPLE/", b"a.example/b/../c", b"a.example/?"];
    texts.iter().for_each(|text| keys.push_text(text));
    let answers = lookup(&view, &keys.column(KeyKind::Web), 0..u32::MAX, Detail::All, seconds(1), &[0, 1, 1, 0]);
    let malformed = Some(Unanswered::Malformed);
    let (before, after) = ([malformed; 3], [malformed; 4]);
    assert_eq!(answers.unanswered, [&before[..], &[None], &after].concat());
    assert_eq!(answers.hits.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn an_address_takes_no_more_probes_than_its_cost() {
    // A host of thousands of labels would have as many parent domains, each of them hashed.
    let mut scopes = HashMap::new();
    for host in ["a.".repeat(4_000) + "a", "a.".repeat(126) + "a"] {
        let text = format!("{host}/x");
        if let Some(parts) = ksn::key::AddressParts::split(text.as_bytes()) {
            let mut tried = 0;
            parts.for_each_expression(ksn::key::ScopeSet::ALL, |_, _| tried += 1);
            scopes.insert(host.len(), tried);
        }
    }
    assert_eq!(scopes, HashMap::from([(253, 1 + 1 + 127 + 10)]));
}
