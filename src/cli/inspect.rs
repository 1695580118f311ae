//! `ksn inspect`: shows the metadata and contents of a snapshot.

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result};
use ksn::{
    Index,
    key::{Hex, KeyKind},
    snapshot::Snapshot,
};
use serde_json::json;

use super::{exit::Exit, output, verify};

/// Show the metadata and contents of a snapshot. Opening it verifies the checksum of every byte.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ksn inspect records.ksn\n  ksn inspect --verify --json records.ksn")]
pub(super) struct Args {
    /// Also look up every entry: each record must be found by a key that it covers.
    #[arg(long)]
    verify: bool,

    /// Write one JSON document.
    #[arg(long)]
    json: bool,

    /// Snapshot file.
    #[arg(value_name = "FILE")]
    snapshot: PathBuf,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        let snapshot = Snapshot::open(&self.snapshot).with_context(|| self.snapshot.display().to_string())?;
        let index = Index::new(snapshot);
        let view = index.view();
        let verification = self.verify.then(|| verify::in_process(&index));
        if self.json {
            let mut document = document(view.snapshot());
            if let Some(verification) = &verification {
                document["verified"] = verification.to_json();
            }
            let mut out = output::stdout();
            serde_json::to_writer_pretty(&mut out, &document)?;
            writeln!(out)?;
            out.flush()?;
        } else {
            write_text(view.snapshot())?;
            if let Some(verification) = &verification {
                let mut out = output::stdout();
                writeln!(out, "verified       {verification}")?;
                out.flush()?;
            }
        }
        Ok(if verification.is_some_and(|verification| verification.has_misses()) { Exit::Error } else { Exit::Success })
    }
}

fn document(snapshot: &Snapshot) -> serde_json::Value {
    let per_kind = |count: &dyn Fn(KeyKind) -> u64| -> serde_json::Map<_, _> {
        KeyKind::ALL.into_iter().map(|kind| (kind.prefix().to_owned(), count(kind).into())).collect()
    };
    let sources = snapshot.sources().map(|source| {
        json!({
            "name": source.name,
            "records": source.records,
            "newest": source.newest.map(|time| time.to_string()),
        })
    });
    let sections = snapshot.sections().map(|section| {
        json!({
            "kind": section.kind.map(KeyKind::prefix),
            "role": section.section,
            "offset": section.offset,
            "bytes": section.bytes,
            "rows": section.rows,
            "blake3": Hex(&section.blake3).to_string(),
        })
    });
    json!({
        "dataset": snapshot.dataset(),
        "generation": snapshot.generation(),
        "created": snapshot.created().to_string(),
        "root": Hex(&snapshot.root()).to_string(),
        "bytes": snapshot.bytes(),
        "keys": per_kind(&|kind| snapshot.keys(kind)),
        "records": per_kind(&|kind| snapshot.records(kind)),
        "sources": sources.collect::<Vec<_>>(),
        "compiled_with": snapshot.compiled_with().map(|(name, version)| (name.to_owned(), version.into()))
            .collect::<serde_json::Map<_, _>>(),
        "sections": sections.collect::<Vec<_>>(),
    })
}

fn write_text(snapshot: &Snapshot) -> Result<()> {
    let mut out = output::stdout();
    writeln!(out, "dataset        {}", snapshot.dataset())?;
    writeln!(out, "generation     {}", snapshot.generation())?;
    writeln!(out, "created        {}", snapshot.created())?;
    writeln!(out, "root           {}", Hex(&snapshot.root()))?;
    writeln!(out, "bytes          {}", snapshot.bytes())?;
    for (name, version) in snapshot.compiled_with() {
        writeln!(out, "compiled with  {name} {version}")?;
    }
    writeln!(out, "\n{:<14} {:>12} {:>12}", "kind", "keys", "records")?;
    for kind in KeyKind::ALL.into_iter().filter(|&kind| snapshot.records(kind) > 0) {
        writeln!(out, "{:<14} {:>12} {:>12}", kind.prefix(), snapshot.keys(kind), snapshot.records(kind))?;
    }
    writeln!(out, "\n{:<27} {:>12}  newest", "source", "records")?;
    for source in snapshot.sources() {
        let newest = source.newest.map_or("-".into(), |time| time.to_string());
        writeln!(out, "{:<27} {:>12}  {newest}", output::plain(source.name), source.records)?;
    }
    writeln!(out, "\n{:<31} {:>12} {:>12} {:>12}  blake3", "section", "offset", "bytes", "rows")?;
    for section in snapshot.sections() {
        let name = format!("{} {}", section.kind.map_or("shared", KeyKind::prefix), section.section);
        let digest = &Hex(&section.blake3).to_string()[..16];
        writeln!(out, "{name:<31} {:>12} {:>12} {:>12}  {digest}…", section.offset, section.bytes, section.rows)?;
    }
    out.flush()?;
    Ok(())
}
