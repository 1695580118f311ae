//! The naive reference implementation of the engine: a list of rows, scanned linearly for every key.
//!
//! It shares no matching, ordering or table code with the engine; it implements the documented rules. It is slow and
//! simple on purpose. The fuzz targets include this file too.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ksn::{
    Key,
    key::{Digest, Indicator, PrefixWidth, Scope},
    record::{Entry, RecordType, derived_id},
    timestamp::Timestamp,
};
use sha2::{Digest as _, Sha256};

/// An [`Entry`] that owns its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) indicator: Indicator,
    pub(crate) id: u64,
    pub(crate) record_type: RecordType,
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) expiry: Option<Timestamp>,
    pub(crate) port: Option<u16>,
}

impl Row {
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry {
            indicator: self.indicator.clone(),
            id: self.id,
            record_type: self.record_type,
            name: &self.name,
            source: &self.source,
            timestamp: self.timestamp,
            expiry: self.expiry,
            port: self.port,
        }
    }
}

/// One record of an answer, with all of its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) id: u64,
    pub(crate) record_type: RecordType,
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) expiry: Option<Timestamp>,
    pub(crate) port: Option<u16>,
    pub(crate) matched: Matched,
}

/// The part of a record that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    Digest,
    /// The bytes of a digest after the prefix that was looked up.
    Suffix(Vec<u8>),
    Web(Scope, String),
    /// The scope of an expression, and the bytes of its SHA-256 after the prefix that was looked up.
    WebSuffix(Scope, Vec<u8>),
    Block(Ipv4Addr, Ipv4Addr),
}

/// All records, in a plain list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naive {
    pub(crate) rows: Vec<Row>,
}

impl Naive {
    /// Merges rows of the same record, given in any order, makes the (source, ID) of every record unique, and keeps the
    /// best 1,024 records of every indicator.
    pub(crate) fn new(rows: &[Row]) -> Self {
        let merged = merge(rows.iter().cloned());
        // In the order of indicators, the first record with an ID of the feed keeps it.
        let mut owners = BTreeMap::new();
        let unique = merged.into_iter().map(|mut row| {
            let is_derived = row.id >= 1 << 63;
            let owner = owners.entry((row.source.clone(), row.id)).or_insert_with(|| row.indicator.clone());
            if !is_derived && *owner != row.indicator {
                row.id = derived_id(&row.source, &row.indicator, &row.name);
            }
            row
        });
        let mut by_indicator: BTreeMap<Indicator, Vec<Row>> = BTreeMap::new();
        for row in merge(unique) {
            by_indicator.entry(row.indicator.clone()).or_default().push(row);
        }
        Self { rows: by_indicator.into_values().flat_map(best).collect() }
    }

    /// Returns every record that matches a key, the winner first.
    pub(crate) fn answer(&self, key: &Key, now: Timestamp) -> Vec<Answer> {
        let mut found: Vec<Answer> = self
            .rows
            .iter()
            .filter(|row| row.expiry.is_none_or(|expiry| now < expiry))
            .filter_map(|row| Some(answer(row, matches(&row.indicator, key)?)))
            .collect();
        sort(&mut found);
        found
    }

    /// Returns what [`answer`](Self::answer) returns, for every listed digest with the same prefix, in the order of
    /// their suffixes.
    pub(crate) fn candidates(&self, queried: &Digest, width: PrefixWidth, now: Timestamp) -> Vec<Vec<Answer>> {
        let digests: BTreeSet<Digest> = self
            .rows
            .iter()
            .filter_map(|row| if let Indicator::Digest(digest) = row.indicator { Some(digest) } else { None })
            .filter(|listed| listed.kind() == queried.kind())
            .filter(|listed| listed.bytes()[..width.bytes()] == queried.bytes()[..width.bytes()])
            .collect();
        let mut candidates: Vec<Vec<Answer>> = digests
            .into_iter()
            .map(|digest| {
                let mut answers = self.answer(&Key::Digest(digest), now);
                let suffix = digest.bytes()[width.bytes()..].to_vec();
                answers.iter_mut().for_each(|answer| answer.matched = Matched::Suffix(suffix.clone()));
                answers
            })
            .collect();
        candidates.retain(|answers| !answers.is_empty());
        candidates
    }

    /// Returns the records of every expression whose SHA-256 has the same prefix as that of this text, by indicator:
    /// expressions listed as text before those listed by hash only.
    pub(crate) fn expression_candidates(&self, text: &str, width: PrefixWidth, now: Timestamp) -> Vec<Vec<Answer>> {
        let queried = &Sha256::digest(text)[..width.bytes()];
        let mut by_indicator: BTreeMap<&Indicator, Vec<Answer>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.expiry.is_none_or(|expiry| now < expiry)) {
            let (scope, digest): (_, [u8; 32]) = match &row.indicator {
                Indicator::Web { scope, expression } => (*scope, Sha256::digest(&**expression).into()),
                Indicator::WebSha256(digest) => (Scope::Expression, *digest),
                _ => continue,
            };
            if digest.starts_with(queried) {
                let matched = Matched::WebSuffix(scope, digest[width.bytes()..].to_vec());
                by_indicator.entry(&row.indicator).or_default().push(answer(row, matched));
            }
        }
        let mut candidates: Vec<Vec<Answer>> = by_indicator.into_values().collect();
        candidates.iter_mut().for_each(sort);
        candidates
    }
}

/// Returns the answer for a row that matched.
fn answer(row: &Row, matched: Matched) -> Answer {
    Answer {
        id: row.id,
        record_type: row.record_type,
        name: row.name.clone(),
        source: row.source.clone(),
        timestamp: row.timestamp,
        expiry: row.expiry,
        port: row.port.filter(|&port| port != 0),
        matched,
    }
}

/// Keeps one row of every (indicator, source, ID): the newest, of equally new ones the most severe, then the one that
/// expires last, then the one with the largest port, then the one with the first name. The result is sorted by
/// indicator, source and ID.
fn merge(rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let mut kept: BTreeMap<(Indicator, String, u64), Row> = BTreeMap::new();
    for row in rows {
        let identity = (row.indicator.clone(), row.source.clone(), row.id);
        match kept.get_mut(&identity) {
            Some(other) if replaces(&row, other) => *other = row,
            Some(_) => {}
            None => {
                kept.insert(identity, row);
            }
        }
    }
    kept.into_values().collect()
}

/// Keeps the best records of one indicator, in their order.
fn best(rows: Vec<Row>) -> Vec<Row> {
    if rows.len() <= 1_024 {
        return rows;
    }
    let mut ranked: Vec<Answer> = rows.iter().map(|row| answer(row, Matched::Digest)).collect();
    sort(&mut ranked);
    let kept: BTreeSet<(&str, u64)> = ranked[..1_024].iter().map(|answer| (&*answer.source, answer.id)).collect();
    rows.iter().filter(|row| kept.contains(&(&*row.source, row.id))).cloned().collect()
}

fn replaces(new: &Row, old: &Row) -> bool {
    if new.timestamp != old.timestamp {
        // A row without a timestamp is the oldest.
        return new.timestamp > old.timestamp;
    }
    if new.record_type != old.record_type {
        return (new.record_type as u8) < old.record_type as u8;
    }
    if new.expiry != old.expiry {
        return match (new.expiry, old.expiry) {
            (None, _) => true,
            (_, None) => false,
            (Some(new), Some(old)) => new > old,
        };
    }
    let (new_port, old_port) = (new.port.unwrap_or(0), old.port.unwrap_or(0));
    if new_port != old_port {
        return new_port > old_port;
    }
    new.name < old.name
}

// -- Matching ---------------------------------------------------------------------------------------------------------

fn matches(indicator: &Indicator, key: &Key) -> Option<Matched> {
    match (indicator, key) {
        (Indicator::Digest(listed), Key::Digest(queried)) => (listed == queried).then_some(Matched::Digest),
        (Indicator::Ipv4(block), Key::Ipv4(address)) => in_block(block.first(), block.last(), *address),
        (Indicator::Ipv4(block), Key::Web(address)) => {
            let address: Ipv4Addr = split_address(address.as_str()).0.parse().ok()?;
            in_block(block.first(), block.last(), address)
        }
        (Indicator::Web { scope, expression }, Key::Web(address)) => {
            web_matches(*scope, expression, address.as_str()).then(|| Matched::Web(*scope, expression.to_string()))
        }
        (Indicator::WebSha256(digest), Key::Web(address)) => safe_browsing(address.as_str())
            .into_iter()
            .find(|expression| Sha256::digest(expression.as_bytes())[..] == digest[..])
            .map(|expression| Matched::Web(Scope::Expression, expression)),
        _ => None,
    }
}

fn in_block(first: Ipv4Addr, last: Ipv4Addr, address: Ipv4Addr) -> Option<Matched> {
    (first <= address && address <= last).then_some(Matched::Block(first, last))
}

/// Splits an address or expression into host, path and query.
fn split_address(text: &str) -> (&str, &str, Option<&str>) {
    let (text, query) = match text.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (text, None),
    };
    let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
    (host, path, query)
}

fn is_literal(host: &str) -> bool {
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}

pub(crate) fn web_matches(scope: Scope, expression: &str, address: &str) -> bool {
    let (host, path, query) = split_address(address);
    match scope {
        Scope::Exact => {
            let (listed_host, listed_path, listed_query) = split_address(expression);
            host == listed_host && path == listed_path && (listed_query.is_none() || listed_query == query)
        }
        Scope::Host => host == expression,
        Scope::Domain => host == expression || (!is_literal(host) && host.ends_with(&format!(".{expression}"))),
        Scope::Expression => safe_browsing(address).iter().any(|tried| tried == expression),
    }
}

/// Returns the expressions of Safe Browsing's *URLs and hashing* page: at most five hosts times six paths.
pub(crate) fn safe_browsing(address: &str) -> Vec<String> {
    let (host, path, query) = split_address(address);
    let mut hosts = vec![host.to_owned()];
    if !is_literal(host) {
        let labels: Vec<&str> = host.split('.').collect();
        // From five labels down to two.
        for count in [5, 4, 3, 2] {
            if count < labels.len() {
                hosts.push(labels[labels.len() - count..].join("."));
            }
        }
        hosts.truncate(5);
    }
    let mut paths = Vec::new();
    if let Some(query) = query {
        paths.push(format!("{path}?{query}"));
    }
    paths.push(path.to_owned());
    let mut directory = String::from("/");
    paths.push(directory.clone());
    let components: Vec<&str> = path.split('/').skip(1).collect();
    // The last component is a file, or empty after a trailing slash.
    for component in components.iter().take(components.len().saturating_sub(1)).take(3) {
        directory.push_str(component);
        directory.push('/');
        paths.push(directory.clone());
    }
    let mut tried: Vec<String> =
        hosts.iter().flat_map(|host| paths.iter().map(move |path| format!("{host}{path}"))).collect();
    tried.sort();
    tried.dedup();
    assert!(tried.len() <= 30);
    tried
}

// -- Precedence -------------------------------------------------------------------------------------------------------

/// Sorts by precedence: suppressed records last, then by severity, specificity, newest timestamp, source and ID.
fn sort(found: &mut Vec<Answer>) {
    let trusted: Vec<Matched> =
        found.iter().filter(|a| a.record_type == RecordType::Trusted).map(|a| a.matched.clone()).collect();
    let is_suppressed = |answer: &Answer| {
        let is_bad = matches!(
            answer.record_type,
            RecordType::Malware
                | RecordType::BotnetCc
                | RecordType::Phishing
                | RecordType::BadCertificate
                | RecordType::MaliciousAddress
        );
        is_bad && trusted.iter().any(|trust| compare_specificity(trust, &answer.matched) != Ordering::Less)
    };
    let (mut suppressed, mut active): (Vec<_>, Vec<_>) = found.drain(..).partition(is_suppressed);
    for part in [&mut active, &mut suppressed] {
        part.sort_by(|a, b| {
            (a.record_type as u8)
                .cmp(&(b.record_type as u8))
                .then_with(|| compare_specificity(&b.matched, &a.matched))
                .then_with(|| b.timestamp.cmp(&a.timestamp))
                .then_with(|| a.source.cmp(&b.source))
                .then_with(|| a.id.cmp(&b.id))
        });
    }
    found.extend(active);
    found.extend(suppressed);
}

/// Returns `Greater` if `a` is more specific: the longer host (a single host before a domain of the same length), then
/// the longer path (a whole path before a prefix), then the longer query. A web expression is more specific than a
/// block, and a smaller block than a larger one.
fn compare_specificity(a: &Matched, b: &Matched) -> Ordering {
    match (a, b) {
        (Matched::Web(a_scope, a), Matched::Web(b_scope, b)) => {
            let (a_host, a_path, a_query) = split_address(a);
            let (b_host, b_path, b_query) = split_address(b);
            let whole_host = |scope: &Scope| matches!(scope, Scope::Exact | Scope::Host);
            // A question mark counts: an expression with an empty query is more specific than one without.
            let query_len = |query: Option<&str>| query.map_or(0, |query| query.len() + 1);
            a_host
                .len()
                .cmp(&b_host.len())
                .then_with(|| whole_host(a_scope).cmp(&whole_host(b_scope)))
                .then_with(|| a_path.len().cmp(&b_path.len()))
                .then_with(|| (*a_scope == Scope::Exact).cmp(&(*b_scope == Scope::Exact)))
                .then_with(|| query_len(a_query).cmp(&query_len(b_query)))
        }
        (Matched::Web(..), Matched::Block(..)) => Ordering::Greater,
        (Matched::Block(..), Matched::Web(..)) => Ordering::Less,
        (Matched::Block(a_first, a_last), Matched::Block(b_first, b_last)) => {
            let wider = |first: &Ipv4Addr, last: &Ipv4Addr| u32::from(*last) - u32::from(*first);
            wider(b_first, b_last).cmp(&wider(a_first, a_last))
        }
        (Matched::Digest, Matched::Digest) => Ordering::Equal,
        // Both are of one expression.
        (Matched::WebSuffix(..), Matched::WebSuffix(..)) => Ordering::Equal,
        _ => unreachable!("a digest and something else cannot match the same key"),
    }
}
