//! `ksn verify`: proves that everything a snapshot lists is found again.

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
    record::Listing,
    snapshot::Snapshot,
};

use super::{
    ask::{self, Asker, WhichServer},
    exit::Exit,
    output,
};

/// Look up everything that a snapshot lists, here or at a server.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(super) struct Args {
    /// The snapshot.
    #[arg(long, value_name = "FILE")]
    db: PathBuf,

    #[command(flatten)]
    server: WhichServer,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        let Self { db, server } = self;
        let found = if server.server.is_none() {
            in_process(&ask::open(&db)?)
        } else {
            let asker = server.connect(LookupOptions::default())?;
            let snapshot = Snapshot::open(&db).with_context(|| db.display().to_string())?;
            at_server(&snapshot, &asker)?
        };
        println!("{found}");
        Ok(if found.has_misses() { Exit::Trouble } else { Exit::Success })
    }
}

/// What was found again, and what was not.
#[derive(Debug, Default)]
pub(super) struct Found {
    records: u64,
    lookups: u64,
    expired: u64,
    /// Records of expressions of which only the SHA-256 is known: nobody can say what address they answer.
    unnameable: u64,
    misses: Vec<String>,
    misses_in_all: u64,
    took: Duration,
}

/// Misses that are told one by one.
const MISSES_MAX: usize = 1_000;

/// Records whose keys are asked in one go.
const RECORDS_AT_ONCE: usize = 4_096;

/// Looks up in this process what the index's own snapshot lists.
pub(super) fn in_process(index: &Index) -> Found {
    let view = index.view();
    let now = ask::now();
    let ask = |keys: &[Key]| Ok::<_, std::convert::Infallible>(index.lookup(keys, Detail::All, now));
    match look_up_all(view.snapshot(), ask) {
        Ok(found) => found,
        Err(never) => match never {},
    }
}

fn at_server(snapshot: &Snapshot, asker: &Asker) -> Result<Found> {
    look_up_all(snapshot, |keys| asker.ask(keys, Detail::All).map_err(anyhow::Error::msg))
}

fn look_up_all<E>(snapshot: &Snapshot, ask: impl Fn(&[Key]) -> Result<Vec<Answer>, E>) -> Result<Found, E> {
    let started = Instant::now();
    let now = ask::now();
    let mut found = Found::default();
    let mut batch: Vec<(Key, Listing<'_>)> = Vec::new();
    for listing in snapshot.listings() {
        if listing.expiry.is_some_and(|expiry| expiry <= now) {
            found.expired += 1;
            continue;
        }
        let keys = covered(&listing.indicator);
        if keys.is_empty() {
            found.unnameable += 1;
            continue;
        }
        found.records += 1;
        batch.extend(keys.into_iter().map(|key| (key, listing.clone())));
        if batch.len() >= RECORDS_AT_ONCE {
            look_up(&mut batch, &ask, &mut found)?;
        }
    }
    look_up(&mut batch, &ask, &mut found)?;
    found.took = started.elapsed();
    Ok(found)
}

fn look_up<E>(
    batch: &mut Vec<(Key, Listing<'_>)>,
    ask: impl Fn(&[Key]) -> Result<Vec<Answer>, E>,
    found: &mut Found,
) -> Result<(), E> {
    let keys: Vec<Key> = batch.iter().map(|(key, _)| key.clone()).collect();
    let answers = ask(&keys)?;
    found.lookups += keys.len() as u64;
    for (at, (key, listing)) in batch.drain(..).enumerate() {
        let is_found = answers.get(at).is_some_and(|answer| holds(answer, &listing));
        if !is_found {
            found.misses_in_all += 1;
            if found.misses.len() < MISSES_MAX {
                let of = format!("{} of {} record {}", listing.indicator, listing.source, listing.id);
                found.misses.push(format!("{key} does not find {of}"));
            }
        }
    }
    Ok(())
}

/// Whether an answer has the record. One that was cut may have lost it.
fn holds(answer: &Answer, listing: &Listing<'_>) -> bool {
    let is_it = |record: &ksn::Record| {
        record.id == listing.id
            && *record.source == *listing.source
            && *record.name == *listing.name
            && record.record_type == listing.record_type
            && record.timestamp == listing.timestamp
            && record.expiry == listing.expiry
            && record.port == listing.port
    };
    answer.is_cut || answer.records.iter().any(is_it)
}

/// Keys that a record under this indicator must answer, at its edges.
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
    // A name or path at its longest has no room for what is put before or behind it; the record itself stays.
    texts.iter().filter_map(address).collect()
}

impl Found {
    pub(super) fn has_misses(&self) -> bool {
        self.misses_in_all > 0
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "records": self.records,
            "lookups": self.lookups,
            "misses": self.misses_in_all,
            "missed": self.misses,
            "expired": self.expired,
            "unnameable": self.unnameable,
        })
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for miss in &self.misses {
            writeln!(f, "missed: {}", output::plain(miss))?;
        }
        let Self { records, lookups, misses_in_all, expired, took, .. } = self;
        write!(f, "{records} records, {lookups} lookups, {misses_in_all} misses in {took:.1?}; {expired} expired")?;
        if self.unnameable > 0 {
            write!(f, ", {} listed by the digest of their expression only", self.unnameable)?;
        }
        Ok(())
    }
}
