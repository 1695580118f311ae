//! `ksn explain`: shows how a key is parsed, what it is matched against, and why one record wins.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Result, anyhow};
use ksn::{
    Index, Key, Record,
    batch::Detail,
    key::{Ipv4Block, Scope, ScopeSet},
    record::Specificity,
};

use super::{backend, exit::Exit, keys::ParsedKey, output};

/// Show how a key is parsed: its canonical form, everything it is matched against, and which record wins and why.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ksn explain 'hxxp://a.evil[.]example:8080/x/../y?z'\n  ksn explain --db records.ksn 192.0.2.7"
)]
pub(super) struct Args {
    /// Show the matching records of this snapshot.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,

    /// Key to explain.
    #[arg(value_name = "KEY")]
    key: String,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        let key = ParsedKey::from_argument(&self.key).key.map_err(|invalid| anyhow!(invalid.reason))?;
        let records = match &self.db {
            Some(path) => Some(matches(&backend::open_for(path, key.kind())?, &key)),
            None => None,
        };
        let mut out = output::stdout();
        writeln!(out, "kind       {}", key.kind())?;
        writeln!(out, "canonical  {key}")?;
        write_lookups(&mut out, &key, records.as_deref())?;
        if let Some(records) = &records {
            write_winner(&mut out, &key, records)?;
        }
        out.flush()?;
        Ok(Exit::Success)
    }
}

/// Returns every matching record in order of precedence.
fn matches(index: &Index, key: &Key) -> Vec<Record> {
    let answers = index.lookup(std::slice::from_ref(key), Detail::All, backend::now());
    answers.into_iter().flat_map(|answer| answer.records).collect()
}

fn write_lookups(out: &mut impl Write, key: &Key, records: Option<&[Record]>) -> io::Result<()> {
    match key {
        Key::Digest(_) => {
            writeln!(out, "\nlookups    the whole digest only")?;
            write_records(out, records, |_| true)
        }
        Key::Ipv4(_) => {
            writeln!(out, "\nlookups    every block that contains it, smallest first")?;
            write_records(out, records, |_| true)
        }
        Key::Web(address) => {
            let parts = address.parts();
            writeln!(out, "host       {}", String::from_utf8_lossy(parts.host()))?;
            writeln!(out, "path       {}", String::from_utf8_lossy(parts.path()))?;
            if let Some(query) = parts.query() {
                writeln!(out, "query      {}", String::from_utf8_lossy(query))?;
            }
            writeln!(out, "\nlookups")?;
            let mut expressions = Vec::new();
            parts.for_each_expression(ScopeSet::ALL, |scope, text| {
                expressions.push((scope, String::from_utf8_lossy(text).into_owned()));
            });
            for (scope, text) in &expressions {
                writeln!(out, "  {:<10} {text}", scope.name())?;
                write_records(out, records, |r| r.scope == Some(*scope) && r.matched.as_deref() == Some(&**text))?;
            }
            if let Some(address) = parts.ipv4() {
                writeln!(out, "  {:<10} every block that contains {address}, smallest first", "ipv4")?;
                write_records(out, records, |r| r.scope.is_none())?;
            }
            Ok(())
        }
    }
}

fn write_records(
    out: &mut impl Write,
    records: Option<&[Record]>,
    is_wanted: impl Fn(&Record) -> bool,
) -> io::Result<()> {
    for record in records.unwrap_or_default().iter().filter(|record| is_wanted(record)) {
        writeln!(out, "    {} {}", record.record_type, output::describe(record))?;
    }
    Ok(())
}

fn write_winner(out: &mut impl Write, key: &Key, records: &[Record]) -> io::Result<()> {
    match records {
        [] => writeln!(out, "\nunknown    no record matches (not listed, which does not mean clean)"),
        [only] => {
            writeln!(
                out,
                "\nwinner     {} {}\nreason     it is the only match",
                only.record_type,
                output::describe(only)
            )
        }
        [first, second, ..] => {
            writeln!(out, "\nwinner     {} {}", first.record_type, output::describe(first))?;
            writeln!(out, "over       {} {}", second.record_type, output::describe(second))?;
            writeln!(out, "reason     {}", reason(key, records))
        }
    }
}

/// Returns the precedence rule that ranks the first record above the second.
fn reason(key: &Key, records: &[Record]) -> String {
    let (first, second) = (&records[0], &records[1]);
    let trust = records.iter().filter(|r| r.record_type == ksn::record::RecordType::Trusted);
    let trust = trust.map(|r| specificity(key, r)).max();
    let is_suppressed = |r: &Record| r.record_type.is_bad() && trust.is_some_and(|t| t >= specificity(key, r));
    if is_suppressed(second) && !is_suppressed(first) {
        return "the other is suppressed by a trusted record that is at least as specific".into();
    }
    if first.record_type != second.record_type {
        return format!("{} is more severe than {}", first.record_type, second.record_type);
    }
    if specificity(key, first) != specificity(key, second) {
        return "it is more specific: the longer host, then path, then query; the smaller block".into();
    }
    if first.timestamp != second.timestamp {
        return "it is newer; a record without a time is oldest".into();
    }
    if first.source != second.source {
        return "all else is equal, and its source name sorts first".into();
    }
    "all else is equal, and its ID is lower".into()
}

/// Returns how specific the match of a record is.
fn specificity(key: &Key, record: &Record) -> Specificity {
    match (&record.matched, record.scope) {
        (Some(matched), Some(scope)) => web_specificity(scope, matched),
        (Some(block), None) => block.parse::<Ipv4Block>().map_or(Specificity::default(), Specificity::of_block),
        (None, _) => match key {
            Key::Ipv4(address) => Specificity::of_block((*address).into()),
            _ => Specificity::DIGEST,
        },
    }
}

fn web_specificity(scope: Scope, expression: &str) -> Specificity {
    Specificity::of_web(scope, expression.as_bytes())
}
