//! Shared helpers for the tests of readers.

use super::{FeedError, Format, Guards, Options, Report, read};
use crate::record::{Entry, RecordSink};

/// A sink that keeps entries as text.
#[derive(Default)]
pub(crate) struct Collector {
    /// One line per entry.
    pub(crate) entries: Vec<String>,
}

impl RecordSink for Collector {
    fn add(&mut self, _input: u32, entry: Entry<'_>) {
        self.entries.push(entry.to_string());
    }
}

/// Returns options with the creation time 2026-11-22.
pub(crate) fn options() -> Options {
    Options::new("2026-11-22".parse().unwrap())
}

/// Reads a feed without guards and with default options.
pub(crate) fn collect(bytes: &[u8], name: &str, format: Option<Format>) -> (Vec<String>, Report) {
    try_collect(bytes, name, format, &options()).unwrap_or_else(|e| panic!("{e}"))
}

/// Reads a feed without guards.
pub(crate) fn try_collect(
    bytes: &[u8],
    name: &str,
    format: Option<Format>,
    options: &Options,
) -> Result<(Vec<String>, Report), FeedError> {
    collect_guarded(bytes, name, format, options, &Guards::default())
}

/// Reads a feed.
pub(crate) fn collect_guarded(
    bytes: &[u8],
    name: &str,
    format: Option<Format>,
    options: &Options,
    guards: &Guards,
) -> Result<(Vec<String>, Report), FeedError> {
    let mut collector = Collector::default();
    let report = read(bytes, name, format, options, guards, 0, &mut collector)?;
    assert_eq!(report.records, collector.entries.len() as u64);
    let outcomes = report.records + report.withheld + report.unsupported + report.rejected;
    assert!(outcomes >= report.rows, "every row is accounted for: {report:?}");
    Ok((collector.entries, report))
}
