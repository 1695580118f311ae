//! `ksn explain`: shows how a key is understood, what it would match, and why one record wins.

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

use super::{ask, exit::Exit, keys::Asked, output};

/// Show how a key is understood: its canonical form, everything that it can match, and which record wins and why.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ksn explain 'hxxp://a.evil[.]example:8080/x/../y?z'\n  ksn explain --db records.ksn 192.0.2.7"
)]
pub(super) struct Args {
    /// Show what of this snapshot matches.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,

    /// The key.
    #[arg(value_name = "KEY")]
    key: String,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        let key = Asked::from_argument(&self.key).key.map_err(|misread| anyhow!(misread.reason))?;
        let records = match &self.db {
            Some(path) => Some(matches(&ask::open(path)?, &key)),
            None => None,
        };
        let mut out = output::stdout();
        writeln!(out, "kind       {}", key.kind())?;
        writeln!(out, "canonical  {key}")?;
        write_tried(&mut out, &key, records.as_deref())?;
        if let Some(records) = &records {
            write_verdict(&mut out, &key, records)?;
        }
        out.flush()?;
        Ok(Exit::Success)
    }
}

/// Every record that matches, in order of precedence.
fn matches(index: &Index, key: &Key) -> Vec<Record> {
    let answers = index.lookup(std::slice::from_ref(key), Detail::All, ask::now());
    answers.into_iter().flat_map(|answer| answer.records).collect()
}

fn write_tried(out: &mut impl Write, key: &Key, records: Option<&[Record]>) -> io::Result<()> {
    match key {
        Key::Digest(_) => {
            writeln!(out, "\ntries      the whole digest, and nothing else")?;
            write_records(out, records, |_| true)
        }
        Key::Ipv4(_) => {
            writeln!(out, "\ntries      every block that contains it, the smallest first")?;
            write_records(out, records, |_| true)
        }
        Key::Web(address) => {
            let parts = address.parts();
            writeln!(out, "host       {}", String::from_utf8_lossy(parts.host()))?;
            writeln!(out, "path       {}", String::from_utf8_lossy(parts.path()))?;
            if let Some(query) = parts.query() {
                writeln!(out, "query      {}", String::from_utf8_lossy(query))?;
            }
            writeln!(out, "\ntries")?;
            let mut tried = Vec::new();
            parts.for_each_expression(ScopeSet::ALL, |scope, text| {
                tried.push((scope, String::from_utf8_lossy(text).into_owned()));
            });
            for (scope, text) in &tried {
                writeln!(out, "  {:<10} {text}", scope.name())?;
                write_records(out, records, |r| r.scope == Some(*scope) && r.matched.as_deref() == Some(&**text))?;
            }
            if let Some(address) = parts.ipv4() {
                writeln!(out, "  {:<10} every block that contains {address}, the smallest first", "ipv4")?;
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

fn write_verdict(out: &mut impl Write, key: &Key, records: &[Record]) -> io::Result<()> {
    match records {
        [] => writeln!(out, "\nunknown    no record matches; that is not the same as clean"),
        [only] => {
            writeln!(out, "\nwins       {} {}\nbecause    it is the only one", only.record_type, output::describe(only))
        }
        [first, second, ..] => {
            writeln!(out, "\nwins       {} {}", first.record_type, output::describe(first))?;
            writeln!(out, "against    {} {}", second.record_type, output::describe(second))?;
            writeln!(out, "because    {}", reason(key, records))
        }
    }
}

/// Which rule of precedence put the first record before the second.
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
        return "it is newer; no time is oldest".into();
    }
    if first.source != second.source {
        return "all else is equal, and its source comes first by name".into();
    }
    "all else is equal, and its ID is lower".into()
}

/// How narrowly a record matches, from what of it matched.
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
