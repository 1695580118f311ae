//! `ksn verify`: checks that every entry of a snapshot is found by lookup.

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use ksn::{
    Answer, Index, Key, LookupOptions, WebAddress,
    batch::Detail,
    key::{Indicator, Scope},
    record::Entry,
    snapshot::Snapshot,
};

use super::{
    backend::{self, Backend},
    exit::Exit,
    output::{self, Plural},
    server_args::ServerArgs,
};

/// Look up every entry of a snapshot, in process or at a server.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(super) struct Args {
    /// Snapshot file.
    #[arg(long, value_name = "FILE")]
    db: PathBuf,

    #[command(flatten)]
    server: ServerArgs,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        let Self { db, server } = self;
        let verification = if server.server.is_none() {
            in_process(&backend::open(&db)?)
        } else {
            let backend = backend::connect(&server, LookupOptions::default())?;
            let snapshot = Snapshot::open(&db).with_context(|| db.display().to_string())?;
            at_server(&snapshot, &backend)?
        };
        println!("{verification}");
        Ok(if verification.has_misses() { Exit::Error } else { Exit::Success })
    }
}

/// The result of a verification.
#[derive(Debug, Default)]
pub(super) struct Verification {
    records: u64,
    lookups: u64,
    expired: u64,
    /// Records listed by the SHA-256 of their expression only: the addresses that they match are unknown.
    unnameable: u64,
    misses: Vec<String>,
    misses_total: u64,
    took: Duration,
}

/// Misses that are printed individually.
const MISSES_MAX: usize = 1_000;

/// Keys per lookup, at least.
const BATCH_KEYS_MIN: usize = 4_096;

/// Looks up every entry of the index in process.
pub(super) fn in_process(index: &Index) -> Verification {
    let view = index.view();
    let now = backend::now();
    let lookup = |keys: &[Key]| Ok::<_, std::convert::Infallible>(index.lookup(keys, Detail::All, now));
    match look_up_all(view.snapshot(), lookup) {
        Ok(verification) => verification,
        Err(never) => match never {},
    }
}

fn at_server(snapshot: &Snapshot, backend: &Backend) -> Result<Verification> {
    look_up_all(snapshot, |keys| backend.lookup(keys, Detail::All).map_err(anyhow::Error::msg))
}

fn look_up_all<E>(snapshot: &Snapshot, lookup: impl Fn(&[Key]) -> Result<Vec<Answer>, E>) -> Result<Verification, E> {
    let started = Instant::now();
    let now = backend::now();
    let mut verification = Verification::default();
    let mut batch: Vec<(Key, Entry<'_>)> = Vec::new();
    for entry in snapshot.entries() {
        if entry.expiry.is_some_and(|expiry| expiry <= now) {
            verification.expired += 1;
            continue;
        }
        let keys = covered(&entry.indicator);
        if keys.is_empty() {
            verification.unnameable += 1;
            continue;
        }
        verification.records += 1;
        batch.extend(keys.into_iter().map(|key| (key, entry.clone())));
        if batch.len() >= BATCH_KEYS_MIN {
            look_up(&mut batch, &lookup, &mut verification)?;
        }
    }
    look_up(&mut batch, &lookup, &mut verification)?;
    verification.took = started.elapsed();
    Ok(verification)
}

fn look_up<E>(
    batch: &mut Vec<(Key, Entry<'_>)>,
    lookup: impl Fn(&[Key]) -> Result<Vec<Answer>, E>,
    verification: &mut Verification,
) -> Result<(), E> {
    let keys: Vec<Key> = batch.iter().map(|(key, _)| key.clone()).collect();
    let answers = lookup(&keys)?;
    verification.lookups += keys.len() as u64;
    for (at, (key, entry)) in batch.drain(..).enumerate() {
        let has_record = answers.get(at).is_some_and(|answer| contains(answer, &entry));
        if !has_record {
            verification.misses_total += 1;
            if verification.misses.len() < MISSES_MAX {
                let of = format!("{} ({} record {})", entry.indicator, entry.source, entry.id);
                verification.misses.push(format!("{key} does not match {of}"));
            }
        }
    }
    Ok(())
}

/// Returns whether an answer has the record of this entry. Always true for a truncated answer.
fn contains(answer: &Answer, entry: &Entry<'_>) -> bool {
    let is_it = |record: &ksn::Record| {
        record.id == entry.id
            && *record.source == *entry.source
            && *record.name == *entry.name
            && record.record_type == entry.record_type
            && record.timestamp == entry.timestamp
            && record.expiry == entry.expiry
            && record.port == entry.port
    };
    answer.is_cut || answer.records.iter().any(is_it)
}

/// Returns keys that must match a record with this indicator, at its boundaries.
pub(super) fn covered(indicator: &Indicator) -> Vec<Key> {
    match indicator {
        Indicator::Digest(digest) => vec![Key::Digest(*digest)],
        Indicator::WebSha256(_) => Vec::new(),
        Indicator::Ipv4(block) if block.first() == block.last() => vec![Key::Ipv4(block.first())],
        Indicator::Ipv4(block) => vec![Key::Ipv4(block.first()), Key::Ipv4(block.last())],
        Indicator::Web { scope, expression } => covered_addresses(*scope, expression),
    }
}

fn covered_addresses(scope: Scope, expression: &str) -> Vec<Key> {
    let mut texts = match scope {
        Scope::Domain => vec![
            format!("{expression}/"),
            format!("ksn-verify.{expression}/"),
            format!("a.ksn-verify.{expression}/a/b?c"),
            format!("{expression}/a/b.html"),
        ],
        Scope::Host => vec![format!("{expression}/"), format!("{expression}/a/b.html?c")],
        Scope::Exact if expression.contains('?') => vec![expression.to_owned()],
        Scope::Exact => vec![expression.to_owned(), format!("{expression}?ksn=verify")],
        Scope::Expression => vec![expression.to_owned()],
    };
    if expression.parse::<std::net::Ipv4Addr>().is_ok() {
        // An address has no subdomains.
        texts.retain(|text| text.starts_with(expression));
    }
    let address = |text: &String| WebAddress::parse(text).ok().map(Key::Web);
    // A name or path of maximum length has no room for a prefix or suffix; the key for the record itself remains.
    texts.iter().filter_map(address).collect()
}

impl Verification {
    pub(super) fn has_misses(&self) -> bool {
        self.misses_total > 0
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "records": self.records,
            "lookups": self.lookups,
            "misses": self.misses_total,
            "missed": self.misses,
            "expired": self.expired,
            "unnameable": self.unnameable,
        })
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for miss in &self.misses {
            writeln!(f, "missed: {}", output::plain(miss))?;
        }
        let Self { records, lookups, misses_total, expired, took, .. } = self;
        let (records, lookups) = (Plural(*records, "record"), Plural(*lookups, "lookup"));
        let misses = Plural(*misses_total, "miss");
        write!(f, "{records}, {lookups}, {misses} in {took:.1?}; {expired} expired")?;
        if self.unnameable > 0 {
            write!(f, ", {} listed by the SHA-256 of their expression only", self.unnameable)?;
        }
        Ok(())
    }
}
