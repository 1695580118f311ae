//! Prevents vector files for clients in other languages that differ from what the server does.
//!
//! `tests/vectors/*.json` were not written by the code under test: canonical forms by hand from the rules and from the
//! publishers' pages, the rest by a program of its own from the documentation in `src/wire/mod.rs` and `src/record.rs`.
//! The field `about` of each file describes its fields.

#[path = "common/lookup.rs"]
#[allow(dead_code, reason = "a part is used")]
mod lookup;
#[path = "common/naive.rs"]
#[allow(dead_code, reason = "a part is used")]
mod naive;

use ksn::{
    Index, Key, WebAddress,
    batch::Detail,
    key::{AddressParts, Indicator, KeyKind, Scope},
    record::RecordType,
    snapshot::Snapshot,
    timestamp::Timestamp,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::{
    lookup::{Keys, build, lookup},
    naive::{Naive, Row},
};

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().unwrap_or_else(|| panic!("no list {field} in {value}"))
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no text {field} in {value}"))
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_u64().and_then(|seconds| Timestamp::from_seconds(seconds as u32))
}

fn parse(file: &str) -> Value {
    let parsed: Value = serde_json::from_str(file).unwrap();
    assert!(!list(&parsed, "about").is_empty());
    parsed
}

#[test]
fn canonicalisation() {
    let file = parse(include_str!("vectors/canonicalisation.json"));
    let mut count = 0;
    for case in list(&file, "groups").iter().flat_map(|group| list(group, "cases")) {
        let (given, canonical) = (text(case, "text"), case["canonical"].as_str());
        let found = WebAddress::parse(given);
        assert_eq!(found.as_ref().ok().map(WebAddress::as_str), canonical, "{given:?}: {found:?}");
        let is_accepted = AddressParts::split(given.as_bytes()).is_some();
        assert_eq!(is_accepted, canonical == Some(given), "{given:?}");
        assert!(canonical.is_none_or(|canonical| AddressParts::split(canonical.as_bytes()).is_some()), "{given:?}");
        count += 1;
    }
    assert!(count > 150, "{count} cases");
}

#[test]
fn expressions() {
    let file = parse(include_str!("vectors/expressions.json"));
    let addresses = list(&file, "addresses");
    assert!(addresses.len() > 10);
    for case in addresses {
        let address = text(case, "address");
        let mut found = Vec::new();
        AddressParts::split(address.as_bytes()).unwrap_or_else(|| panic!("{address}")).for_each_text(|scopes, text| {
            let digest: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            let scopes: Vec<&str> = [Scope::Exact, Scope::Host, Scope::Domain, Scope::Expression]
                .into_iter()
                .filter(|&scope| scopes.contains(scope))
                .map(Scope::name)
                .collect();
            found.push((String::from_utf8_lossy(text).into_owned(), scopes, digest));
        });
        let expected = list(case, "texts");
        assert_eq!(found.len(), expected.len(), "{address}");
        for ((found, scopes, digest), expected) in found.iter().zip(expected) {
            assert_eq!(found, text(expected, "text"), "{address}");
            assert_eq!(scopes[..], *list(expected, "scopes"), "{address}: {found}");
            assert_eq!(&digest[..16], text(expected, "prefix8"), "{address}: {found}");
            assert_eq!(&digest[..8], text(expected, "prefix4"), "{address}: {found}");
        }
    }
}

#[test]
fn precedence() {
    let file = parse(include_str!("vectors/precedence.json"));
    let sets = list(&file, "sets");
    assert!(sets.len() > 20);
    for set in sets {
        let why = text(set, "why");
        let key: Key = text(set, "key").parse().unwrap();
        let now = time(&set["now"]).unwrap();
        let rows: Vec<Row> = list(set, "records").iter().map(row).collect();
        let indices = |field: &str| list(set, field).iter().map(|at| at.as_u64().unwrap() as usize);
        let expected: Vec<(&str, u64)> = indices("order").map(|at| (&*rows[at].source, rows[at].id)).collect();

        let built = Snapshot::from_bytes(build(&rows).into_bytes()).unwrap();
        let view = Index::new(built).view();
        let keys = Keys::new(key.kind(), [&key]);
        for detail in [Detail::All, Detail::Winner] {
            let answers = lookup(&view, &keys.column(key.kind()), 0..1, detail, now, &[]);
            let found: Vec<(&str, u64)> = answers.hits[0].iter().map(|hit| (&*hit.source, hit.id)).collect();
            let expected = if detail == Detail::All { &expected[..] } else { &expected[..expected.len().min(1)] };
            assert_eq!(found, expected, "{why} {key}");
        }
        let naive = Naive::new(&rows).answer(&key, now);
        assert!(naive.iter().map(|hit| (&*hit.source, hit.id)).eq(expected.iter().copied()), "{why}");

        // Those that are suppressed are bad and last, so the winner is one only if all are.
        let suppressed: Vec<usize> = indices("suppressed").collect();
        let order: Vec<usize> = indices("order").collect();
        assert!(order.ends_with(&suppressed), "{why}");
        assert!(suppressed.iter().all(|&at| rows[at].record_type.is_bad()), "{why}");
    }
}

fn row(record: &Value) -> Row {
    let indicator = if let Some(digest) = record["digest"].as_str() {
        match digest.parse().unwrap() {
            Key::Digest(digest) => Indicator::Digest(digest),
            other => panic!("{other} is not a digest"),
        }
    } else if let Some(block) = record["block"].as_str() {
        Indicator::Ipv4(block.parse().unwrap())
    } else if let Some(digest) = record["expression_sha256"].as_str() {
        let Key::Digest(digest) = format!("sha256:{digest}").parse().unwrap() else { panic!("{digest}") };
        Indicator::WebSha256(digest.bytes().try_into().unwrap())
    } else {
        let scope = Scope::ALL.into_iter().find(|scope| scope.name() == text(record, "scope"));
        Indicator::Web { scope: scope.expect("a scope"), expression: text(record, "expression").into() }
    };
    assert!(KeyKind::ALL.contains(&indicator.kind()));
    Row {
        indicator,
        id: text(record, "id").parse().unwrap(),
        record_type: text(record, "type").parse::<RecordType>().unwrap(),
        name: record["name"].as_str().unwrap_or_default().into(),
        source: text(record, "source").into(),
        timestamp: time(&record["timestamp"]),
        expiry: time(&record["expiry"]),
        port: record["port"].as_u64().map(|port| port as u16),
    }
}
