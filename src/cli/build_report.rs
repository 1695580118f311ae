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

use super::{
    build::Findings,
    output::{Plural, plain},
};

/// The number of refusals that a report in text needs of each feed: it shows the first lines of every reason.
pub(super) const TEXT_REFUSALS_MAX: usize = 100;

/// The maximum number of lines that a report in text shows of each reason.
const LINES_PER_REASON_MAX: usize = 3;

/// The JSON document. Fields are added, never removed or changed.
#[derive(Debug, Serialize)]
struct Document<'a> {
    output: String,
    /// Whether the snapshot was written: it is not if there are problems.
    written: bool,
    problems: &'a [String],
    warnings: &'a [String],
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
    /// Number of further rows that produced no record.
    refusals_omitted: u64,
    /// Archive members that are not feeds.
    skipped: Vec<Skipped<'a>>,
    /// Why the file is not a feed.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Refusal<'a> {
    /// The archive member that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
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
pub(super) fn json(compiled: &Compiled, output: &Path, findings: &Findings) -> io::Result<()> {
    let document = Document {
        output: output.display().to_string(),
        written: findings.problems.is_empty(),
        problems: &findings.problems,
        warnings: &findings.warnings,
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
        refusals_omitted: 0,
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
                .map(|r| Refusal {
                    member: r.member.as_deref(),
                    line: r.line,
                    outcome: outcome_name(r.outcome),
                    reason: &r.reason,
                    text: &r.excerpt,
                })
                .collect();
            entry.refusals_omitted = report.refused().saturating_sub(report.refusals.len() as u64);
            entry.skipped = report.skipped.iter().map(|(member, reason)| Skipped { member, reason }).collect();
        }
    }
    entry
}

/// Returns the name of an outcome in reports.
pub(super) fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Withheld => "withheld",
        Outcome::Unsupported => "unsupported",
        Outcome::Rejected => "rejected",
    }
}

/// Writes a table to standard error: one line per feed, followed by the reasons for rows without a record and the first
/// of these rows, and totals.
pub(super) fn text(compiled: &Compiled, output: &Path, findings: &Findings) {
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
            eprintln!("{:width$} {count:>10} {}: {}", "", outcome_name(*outcome), plain(reason));
            let rows = report.refusals.iter().filter(|row| row.outcome == *outcome && row.reason == *reason);
            for row in rows.take(LINES_PER_REASON_MAX) {
                let member = row.member.as_deref().map_or_else(String::new, |member| format!("{}, ", plain(member)));
                eprintln!("{:width$} {:>10}   {member}line {}: {}", "", "", row.line, plain(row.excerpt.trim()));
            }
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
    findings.warnings.iter().for_each(|warning| eprintln!("ksn: {warning}"));
    if findings.problems.is_empty() {
        let records = Plural(compiled.snapshot.summary().records, "record");
        eprintln!("{records} in {}, {} bytes", output.display(), compiled.snapshot.bytes());
    }
    findings.problems.iter().for_each(|problem| eprintln!("ksn: {problem}"));
    if !findings.problems.is_empty() {
        eprintln!("ksn: nothing was written: too few records");
    }
}

/// Lists the files that are not feeds, with the reason.
pub(super) fn refused(files: &[FileReport]) {
    for file in files {
        if let Err(e) = &file.report {
            eprintln!("ksn: {}: {}", plain(&file.file), plain(&e.to_string()));
        }
    }
}
