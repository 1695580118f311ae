//! What a build requires of its result: a feed that has failed at its source must not replace a good snapshot.

use std::{collections::BTreeMap, fs, ops::Range, path::Path};

use ksn::{
    compile::{Compiled, FileReport},
    feed::{Outcome, Report},
    snapshot::SnapshotFile,
};

use super::inputs::Input;
use crate::cli::{
    build_report::outcome_name,
    output::{Plural, plain},
};

/// The requirements of the command line.
#[derive(Debug)]
pub(super) struct Requirements {
    /// Whether feeds and the snapshot may have no records.
    pub(super) allow_empty: bool,
    /// The minimum number of records in the snapshot.
    pub(super) min_records: u64,
    /// The maximum decrease of the number of records in percent, per source and in total.
    pub(super) max_shrink: u8,
    /// Whether every file of a folder must yield a record.
    pub(super) strict: bool,
}

/// What was found about a result.
#[derive(Debug, Default)]
pub(in crate::cli) struct Findings {
    /// What the user should know.
    pub(in crate::cli) warnings: Vec<String>,
    /// Why the snapshot must not be written.
    pub(in crate::cli) problems: Vec<String>,
}

/// The number of records of each source.
pub(super) type SourceCounts = BTreeMap<String, u64>;

impl Requirements {
    /// Checks a result. `ranges` are the ranges of the inputs' reports, and `previous` holds the record counts of the
    /// snapshot that would be replaced.
    pub(super) fn check(
        &self,
        inputs: &[Input],
        ranges: &[Range<usize>],
        compiled: &Compiled,
        previous: Option<&SourceCounts>,
    ) -> Findings {
        let mut findings = Findings::default();
        for (input, range) in inputs.iter().zip(ranges) {
            self.check_input(input, &compiled.files[range.clone()], &mut findings);
        }
        let records = compiled.snapshot.summary().records;
        if records == 0 && !self.allow_empty {
            findings.problems.push("the snapshot has no records (--allow-empty writes it nevertheless)".into());
        }
        if records < self.min_records {
            let found = Plural(records, "record");
            findings.problems.push(format!("the snapshot has {found}, expected at least {}", self.min_records));
        }
        if let Some(previous) = previous {
            let sources = compiled.snapshot.sources();
            let found = sources.map(|source| (source.name.to_owned(), source.records)).collect();
            findings.problems.extend(self.shrunk(previous, &found));
        }
        findings
    }

    /// Checks that what was specified yields records: as a whole, because a folder or a MISP feed holds files that need
    /// not yield any.
    fn check_input(&self, input: &Input, files: &[FileReport], findings: &mut Findings) {
        let name = plain(&input.name);
        match Yield::of(files) {
            Yield::Records => {}
            Yield::NoFeed if files.is_empty() => findings.warnings.push(format!("{name}: no further files")),
            Yield::NoFeed => findings.warnings.push(format!("{name}: no feed was found")),
            Yield::NoRows => findings.warnings.push(format!("{name}: no data rows")),
            Yield::Withheld(why) => findings.warnings.push(format!("{name}: {why}")),
            Yield::Nothing(why) if self.allow_empty => findings.warnings.push(format!("{name}: {why}")),
            Yield::Nothing(why) => {
                findings.problems.push(format!("{name}: {why} (--allow-empty accepts it)"));
                return;
            }
        }
        for file in files.iter().filter(|_| files.len() > 1) {
            if let Yield::Nothing(why) = Yield::of(std::slice::from_ref(file)) {
                let list = if self.strict { &mut findings.problems } else { &mut findings.warnings };
                list.push(format!("{}: {why}", plain(&file.file)));
            }
        }
        let records: u64 = files.iter().filter_map(|file| file.report.as_ref().ok()).map(|report| report.records).sum();
        if let Some(min) = input.settings.min_records.filter(|&min| records < min) {
            let found = Plural(records, "record");
            findings.problems.push(format!("{name}: {found}, expected at least {min} (min-records)"));
        }
    }

    /// Returns the problem of every source that has shrunk too much, and of their total.
    fn shrunk(&self, previous: &SourceCounts, found: &SourceCounts) -> Vec<String> {
        let kept = 100 - u128::from(self.max_shrink.min(100));
        let problem = |what: &str, before: u64, now: u64| {
            (u128::from(now) * 100 < u128::from(before) * kept).then(|| {
                let percent = 100 - u128::from(now) * 100 / u128::from(before.max(1));
                let max = self.max_shrink;
                format!("{what}: {now} of {before} records are left, {percent} % fewer, more than --max-shrink {max}")
            })
        };
        let of = |name: &str| found.get(name).copied().unwrap_or_default();
        let shrunk = previous.iter().filter_map(|(name, &before)| problem(&format!("source {name}"), before, of(name)));
        let mut problems: Vec<String> = shrunk.collect();
        let further = problems.len().saturating_sub(SHRUNK_MAX);
        problems.truncate(SHRUNK_MAX);
        if further > 0 {
            problems.push(format!("so has {}", Plural(further as u64, "further source")));
        }
        problems.extend(problem("all sources", previous.values().sum(), found.values().sum()));
        problems
    }
}

/// The maximum number of sources that are listed for having shrunk.
const SHRUNK_MAX: usize = 10;

/// Returns the record counts of the snapshot that would be replaced. Warns when there is a file that is not one.
pub(super) fn previous(output: &Path) -> Option<SourceCounts> {
    // Opening a pipe would block.
    if !fs::metadata(output).is_ok_and(|about| about.is_file()) {
        return None;
    }
    match SnapshotFile::open(output) {
        Ok(file) => Some(file.sources().map(|source| (source.name.to_owned(), source.records)).collect()),
        Err(e) => {
            eprintln!("ksn: {}: cannot compare with the snapshot to be replaced: {e}", output.display());
            None
        }
    }
}

/// What a feed, or several together, yielded.
enum Yield {
    Records,
    /// None of the files is a feed.
    NoFeed,
    NoRows,
    /// No record, mostly because rows are withheld deliberately.
    Withheld(String),
    /// No record from rows that look like data.
    Nothing(String),
}

impl Yield {
    fn of(files: &[FileReport]) -> Self {
        let reports: Vec<&Report> = files.iter().filter_map(|file| file.report.as_ref().ok()).collect();
        if reports.iter().any(|report| report.records > 0) {
            return Self::Records;
        }
        let sum = |of: fn(&Report) -> u64| reports.iter().map(|report| of(report)).sum::<u64>();
        let (rows, withheld) = (sum(|report| report.rows), sum(|report| report.withheld));
        if rows == 0 {
            return if reports.is_empty() { Self::NoFeed } else { Self::NoRows };
        }
        let why = format!("no record from {}; {}", Plural(rows, "row"), most_frequent(&reports));
        let unread = sum(Report::refused) - withheld;
        if withheld > unread { Self::Withheld(why) } else { Self::Nothing(why) }
    }
}

/// Describes the most frequent reason: `2 unsupported: an IPv6 address`.
fn most_frequent(reports: &[&Report]) -> String {
    let mut counts: BTreeMap<&(Outcome, String), u64> = BTreeMap::new();
    for (reason, count) in reports.iter().flat_map(|report| &report.reasons) {
        *counts.entry(reason).or_default() += count;
    }
    let most = counts.into_iter().rev().max_by_key(|&(_, count)| count);
    most.map_or_else(String::new, |((outcome, reason), count)| {
        format!("{count} {}: {}", outcome_name(*outcome), plain(reason))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_shrink_or_vanish_are_problems() {
        let counts = |counts: &[(&str, u64)]| counts.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let shrunk = |max_shrink, before: &[(&str, u64)], now: &[(&str, u64)]| {
            let requirements = Requirements { allow_empty: false, min_records: 0, max_shrink, strict: false };
            requirements.shrunk(&counts(before), &counts(now)).len()
        };
        assert_eq!(shrunk(50, &[("a", 100), ("b", 10)], &[("a", 50), ("b", 5), ("c", 1)]), 0);
        assert_eq!(shrunk(50, &[("a", 100), ("b", 10)], &[("a", 49), ("b", 10)]), 1);
        assert_eq!(shrunk(50, &[("a", 100), ("b", 10)], &[("a", 100)]), 1);
        assert_eq!(shrunk(99, &[("a", 100), ("b", 10)], &[("a", 100)]), 1);
        assert_eq!(shrunk(100, &[("a", 100), ("b", 10)], &[]), 0);
        assert_eq!(shrunk(0, &[("a", 100)], &[("a", 99)]), 2);
        // Each source loses half, but the new one does not make up for it.
        assert_eq!(shrunk(40, &[("a", 100), ("b", 100)], &[("a", 60), ("b", 60)]), 0);
        assert_eq!(shrunk(50, &[("a", u64::MAX / 2)], &[("a", 1)]), 2);
        let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(|name| (&**name, 1)).collect();
        assert_eq!(shrunk(50, &many, &[]), SHRUNK_MAX + 2);
        assert_eq!(shrunk(50, &[("empty", 0)], &[]), 0);
    }
}
