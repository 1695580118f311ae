//! The build report, as a table or as JSON.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
};

use ksn::{
    compile::{Compiled, FileReport},
    feed::{Outcome, Report},
    limits::RECORDS_PER_KEY_MAX,
};
use serde::Serialize;

use super::output::{Plural, plain};

/// The JSON document. Fields are added, never removed or changed.
#[derive(Debug, Serialize)]
struct Document<'a> {
    output: String,
    bytes: u64,
    /// Records in the snapshot.
    records: u64,
    files: Vec<File<'a>>,
    totals: Counts,
}

#[derive(Debug, Serialize)]
struct File<'a> {
    file: &'a str,
    /// `null` when the file is not a feed.
    format: Option<&'static str>,
    #[serde(flatten)]
    counts: Counts,
    /// Number of rows per reason.
    reasons: BTreeMap<&'a str, u64>,
    /// The first rows that produced no record.
    refusals: Vec<Refusal<'a>>,
    /// Archive members that are not feeds.
    skipped: Vec<Skipped<'a>>,
    /// Why the file is not a feed.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Refusal<'a> {
    line: u64,
    outcome: &'static str,
    reason: &'a str,
    text: &'a str,
}

#[derive(Debug, Serialize)]
struct Skipped<'a> {
    member: &'a str,
    reason: &'a str,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Counts {
    rows: u64,
    /// Records read, including duplicates.
    records: u64,
    duplicates: u64,
    /// Records left out because their key has the maximum number of better ones.
    over_limit: u64,
    withheld: u64,
    unsupported: u64,
    rejected: u64,
    names_cut: u64,
    narrowed: u64,
}

impl Counts {
    fn of(report: &Report) -> Self {
        Self {
            rows: report.rows,
            records: report.records,
            duplicates: report.duplicates,
            over_limit: report.over_limit,
            withheld: report.withheld,
            unsupported: report.unsupported,
            rejected: report.rejected,
            names_cut: report.names_cut,
            narrowed: report.narrowed,
        }
    }

    fn sum(files: &[FileReport]) -> Self {
        files.iter().filter_map(|file| file.report.as_ref().ok()).map(Self::of).fold(Self::default(), |a, b| Self {
            rows: a.rows + b.rows,
            records: a.records + b.records,
            duplicates: a.duplicates + b.duplicates,
            over_limit: a.over_limit + b.over_limit,
            withheld: a.withheld + b.withheld,
            unsupported: a.unsupported + b.unsupported,
            rejected: a.rejected + b.rejected,
            names_cut: a.names_cut + b.names_cut,
            narrowed: a.narrowed + b.narrowed,
        })
    }

    /// Returns the columns of the table.
    fn cells(&self) -> [u64; 6] {
        [self.rows, self.records, self.duplicates, self.withheld, self.unsupported, self.rejected]
    }
}

/// Writes one JSON document to standard output.
pub(super) fn json(compiled: &Compiled, output: &Path) -> io::Result<()> {
    let document = Document {
        output: output.display().to_string(),
        bytes: compiled.snapshot.bytes(),
        records: compiled.snapshot.summary().records,
        files: compiled.files.iter().map(file).collect(),
        totals: Counts::sum(&compiled.files),
    };
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &document)?;
    out.write_all(b"\n")
}

fn file(file: &FileReport) -> File<'_> {
    let mut entry = File {
        file: &file.file,
        format: None,
        counts: Counts::default(),
        reasons: BTreeMap::new(),
        refusals: Vec::new(),
        skipped: Vec::new(),
        error: None,
    };
    match &file.report {
        Err(e) => entry.error = Some(e.to_string()),
        Ok(report) => {
            entry.format = Some(report.format.name());
            entry.counts = Counts::of(report);
            for ((_, reason), count) in &report.reasons {
                *entry.reasons.entry(reason).or_default() += count;
            }
            entry.refusals = report
                .refusals
                .iter()
                .map(|r| Refusal { line: r.line, outcome: word(r.outcome), reason: &r.reason, text: &r.excerpt })
                .collect();
            entry.skipped = report.skipped.iter().map(|(member, reason)| Skipped { member, reason }).collect();
        }
    }
    entry
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Withheld => "withheld",
        Outcome::Unsupported => "unsupported",
        Outcome::Rejected => "rejected",
    }
}

/// Writes a table to standard error: one line per feed, followed by the reasons for rows without a record, and totals.
pub(super) fn text(compiled: &Compiled, output: &Path) {
    let files = &compiled.files;
    let formats = files.iter().filter_map(|file| Some(file.report.as_ref().ok()?.format.name().len()));
    let width = formats.max().unwrap_or(0).max("format".len());
    eprintln!(
        "{:<width$} {:>10} {:>10} {:>10} {:>10} {:>11} {:>10}  file",
        "format", "rows", "records", "duplicates", "withheld", "unsupported", "rejected"
    );
    let line = |first: &str, counts: Counts, last: &str| {
        let [rows, records, duplicates, withheld, unsupported, rejected] = counts.cells();
        eprintln!(
            "{first:<width$} {rows:>10} {records:>10} {duplicates:>10} {withheld:>10} {unsupported:>11} \
             {rejected:>10}  {last}"
        );
    };
    for file in files {
        let Ok(report) = &file.report else { continue };
        line(report.format.name(), Counts::of(report), &plain(&file.file));
        for ((outcome, reason), count) in &report.reasons {
            eprintln!("{:width$} {count:>10} {}: {}", "", word(*outcome), plain(reason));
        }
        if report.over_limit > 0 {
            eprintln!(
                "{:width$} {:>10} over the limit of {RECORDS_PER_KEY_MAX} records per key: left out, the best were kept",
                "", report.over_limit
            );
        }
        for (member, reason) in &report.skipped {
            eprintln!("{:width$} skipped {}: {}", "", plain(member), plain(reason));
        }
    }
    if files.len() > 1 {
        line("", Counts::sum(files), "total");
    }
    refused(files);
    let records = compiled.snapshot.summary().records;
    if records == 0 {
        eprintln!("ksn: the snapshot has no records");
    }
    eprintln!("{} in {}, {} bytes", Plural(records, "record"), output.display(), compiled.snapshot.bytes());
}

/// Lists the files that are not feeds, with the reason.
pub(super) fn refused(files: &[FileReport]) {
    for file in files {
        if let Err(e) = &file.report {
            eprintln!("ksn: {}: {}", plain(&file.file), plain(&e.to_string()));
        }
    }
}
