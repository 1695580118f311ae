//! The row sink: accounting, options and filtering for the rows of every format.
//!
//! A reader MUST call [`RowSink::row`] (or [`RowSink::row_of`], which keeps an excerpt for the report) for every data
//! row (not for comments, headers and blank lines), then, for each item in the row, exactly one of
//! [`list`](RowSink::list), [`withhold`](RowSink::withhold), [`unsupported`](RowSink::unsupported) and
//! [`reject`](RowSink::reject). A row with no recorded outcome is counted as rejected, so that no row is lost silently.

use std::{borrow::Cow, cell::Cell, fmt, rc::Rc};

use super::{
    error::FeedError,
    filter::{self, Filtered},
    format::Format,
    guard::Guards,
    input::{Line, Overlong},
    options::{Expiry, Options},
    report::{EXCERPT_BYTES_MAX, Outcome, Report, RowRefusal, cut},
    source_name::default_source,
    value::ValueError,
};
use crate::{
    key::Indicator,
    limits::{FEED_LINE_BYTES_MAX, NAME_BYTES_MAX},
    record::{Entry, RecordSink, RecordType, derived_id},
    timestamp::Timestamp,
};

/// An entry of a row before filtering.
#[derive(Clone, Debug)]
pub(crate) struct Draft<'a> {
    /// The indicator that is listed.
    pub(crate) indicator: Indicator,
    /// The feed's own ID; `None` derives one. Only the first draft of a row keeps it.
    pub(crate) id: Option<u64>,
    /// The type that the feed assigns (overridden by `--trusted`).
    pub(crate) record_type: RecordType,
    /// The detection name as found in the feed.
    pub(crate) name: &'a str,
    /// When the entry was created or last modified.
    pub(crate) timestamp: Option<Timestamp>,
    /// When the entry expires.
    pub(crate) expiry: Option<Timestamp>,
    /// The port given with the address.
    pub(crate) port: Option<u16>,
    /// The feed's confidence in percent, for `--min-confidence`.
    pub(crate) confidence: Option<u8>,
    /// The feed's score (number of lists or severity), for `--min-score`.
    pub(crate) score: Option<u32>,
}

impl<'a> Draft<'a> {
    /// Creates a draft with all optional fields unset.
    pub(crate) fn new(indicator: Indicator, record_type: RecordType, name: &'a str) -> Self {
        Self {
            indicator,
            id: None,
            record_type,
            name,
            timestamp: None,
            expiry: None,
            port: None,
            confidence: None,
            score: None,
        }
    }
}

/// Receives the outcomes of rows from a reader.
pub(crate) struct RowSink<'a> {
    options: &'a Options,
    guards: &'a Guards,
    source: Cow<'a, str>,
    number: u32,
    sink: &'a mut dyn RecordSink,
    report: Report,
    row: Row,
    /// Set to stop the input from returning further lines.
    stop: Rc<Cell<bool>>,
    failure: Option<FeedError>,
    /// In a worker, the items that yielded no record; they are reported later, in row order.
    refusals: Option<Vec<RowRefusal>>,
}

/// Reads rows on another thread; the resulting chunks are taken in row order.
#[derive(Clone, Copy)]
pub(super) struct Worker<'a> {
    format: Format,
    options: &'a Options,
    guards: &'a Guards,
}

/// The result of rows that a [`Worker`] read.
pub(super) struct Chunk {
    report: Report,
    refusals: Vec<RowRefusal>,
    entries: KeptEntries,
    failure: Option<FeedError>,
}

/// Entries with their names concatenated; each entry holds the end offset of its name.
#[derive(Default)]
struct KeptEntries {
    entries: Vec<(Entry<'static>, usize)>,
    names: String,
}

/// The current row.
#[derive(Debug, Default)]
struct Row {
    line: u64,
    excerpt: String,
    open: bool,
    has_outcome: bool,
    id_taken: bool,
}

impl<'a> RowSink<'a> {
    pub(super) fn new(
        format: Format,
        options: &'a Options,
        guards: &'a Guards,
        number: u32,
        sink: &'a mut dyn RecordSink,
        stop: Rc<Cell<bool>>,
    ) -> Self {
        let source = default_source(options, format).into();
        let report = Report::new(format, options.refusals_max);
        let (row, failure, refusals) = Default::default();
        Self { options, guards, source, number, sink, report, row, stop, failure, refusals }
    }

    /// Sets the source of the rows that follow: the publisher that they name, unless the options name the source.
    /// `None` restores the default. Readers that use a [`worker`](Self::worker) MUST NOT call this.
    pub(crate) fn set_publisher(&mut self, publisher: Option<&str>) {
        let default = default_source(self.options, self.report.format);
        let source = publisher.filter(|_| self.options.source.is_none()).unwrap_or(default);
        if self.source != source {
            self.source = source.to_owned().into();
        }
    }

    /// Returns a worker that reads rows for this sink on another thread.
    pub(super) fn worker(&self) -> Worker<'a> {
        Worker { format: self.report.format, options: self.options, guards: self.guards }
    }

    /// Returns whether reading has failed, after which further rows are ignored.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Takes a chunk that a worker read, as if its rows had been read here.
    pub(super) fn take(&mut self, chunk: Chunk) {
        self.end_row();
        if self.failure.is_some() {
            return;
        }
        let mut start = 0;
        for (entry, end) in chunk.entries.entries {
            let name = &chunk.entries.names[start..end];
            self.sink.add(self.number, Entry { name, source: &self.source, ..entry });
            start = end;
        }
        self.report.merge(chunk.report);
        for refusal in chunk.refusals {
            self.report.refuse(refusal.line, refusal.outcome, &refusal.reason, &refusal.excerpt);
        }
        if chunk.failure.is_some() {
            self.failure = chunk.failure;
            self.stop.set(true);
        }
    }

    /// Returns the options.
    pub(crate) fn options(&self) -> &'a Options {
        self.options
    }

    /// Begins a data row that starts at line `line` (from 1; for JSON the element number).
    pub(crate) fn row(&mut self, line: u64) {
        self.end_row();
        self.report.rows += 1;
        self.row.excerpt.clear();
        (self.row.line, self.row.open, self.row.has_outcome, self.row.id_taken) = (line, true, false, false);
    }

    /// Begins a data row and keeps an excerpt of `line` for the report.
    pub(crate) fn row_of(&mut self, line: &Line<'_>) {
        self.row_with(line.number, line.text);
    }

    /// Begins a data row at line `line` and keeps `excerpt` for the report.
    pub(crate) fn row_with(&mut self, line: u64, excerpt: &str) {
        self.row(line);
        self.row.excerpt.push_str(cut(excerpt, EXCERPT_BYTES_MAX));
    }

    /// Returns a draft with all optional fields unset.
    pub(crate) fn draft<'d>(&self, indicator: Indicator, record_type: RecordType, name: &'d str) -> Draft<'d> {
        Draft::new(indicator, record_type, name)
    }

    /// Records that the row lists `draft`: filters it and passes it to the record sink.
    pub(crate) fn list(&mut self, mut draft: Draft<'_>) {
        self.row.has_outcome = true;
        if self.failure.is_some() {
            return;
        }
        if draft.id.is_some() && std::mem::replace(&mut self.row.id_taken, true) {
            draft.id = None;
        }
        self.apply_options(&mut draft);
        if let Some(reason) = self.excluded_by_options(&draft) {
            return self.withhold(reason);
        }
        let indicator = match filter::filter(draft.indicator, draft.record_type, self.guards) {
            Filtered::Kept(indicator) => indicator,
            Filtered::Narrowed(indicator) => {
                self.report.narrowed += 1;
                indicator
            }
            Filtered::Withheld(reason) => return self.withhold(reason),
        };
        let name = draft.name.trim();
        let name = if name.len() > NAME_BYTES_MAX {
            self.report.names_cut += 1;
            cut(name, NAME_BYTES_MAX)
        } else {
            name
        };
        // The top bit marks derived IDs: a feed's own ID with that bit set would be indistinguishable from one.
        let feed_id = draft.id.filter(|id| id >> 63 == 0);
        let id = feed_id.unwrap_or_else(|| derived_id(&self.source, &indicator, name));
        self.report.records += 1;
        self.sink.add(
            self.number,
            Entry {
                indicator,
                id,
                record_type: draft.record_type,
                name,
                source: &self.source,
                timestamp: draft.timestamp,
                expiry: draft.expiry,
                port: draft.port,
            },
        );
    }

    /// Records an item that the feed itself retracts (an exception, a false positive, an expired entry).
    pub(crate) fn withhold(&mut self, reason: &'static str) {
        self.refuse(Outcome::Withheld, reason);
    }

    /// Records an item of a kind that records do not support (IPv6, a mail address, a regular expression, an import
    /// hash).
    pub(crate) fn unsupported(&mut self, reason: &'static str) {
        self.refuse(Outcome::Unsupported, reason);
    }

    /// Records a row or item that cannot be parsed.
    pub(crate) fn reject(&mut self, reason: impl fmt::Display) {
        let reason = reason.to_string();
        self.refuse(Outcome::Rejected, &reason);
    }

    /// Records a value that yielded no indicator.
    pub(crate) fn value_error(&mut self, error: ValueError) {
        match error {
            ValueError::Unsupported(reason) => self.unsupported(reason),
            ValueError::Rejected(reason) => self.reject(reason),
        }
    }

    /// Ends the last row, counts the overlong lines as rejected and returns the report.
    pub(super) fn finish(mut self, overlong: Overlong) -> Result<Report, FeedError> {
        self.end_row();
        let reason = format!("the line is longer than {FEED_LINE_BYTES_MAX} bytes");
        for line in overlong.lines {
            self.report.rows += 1;
            self.row.line = line;
            self.row.excerpt.clear();
            self.reject(&reason);
        }
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.report),
        }
    }

    /// Sets what the options state instead of the feed.
    fn apply_options(&self, draft: &mut Draft<'_>) {
        let options = self.options;
        if options.trusted {
            draft.record_type = RecordType::Trusted;
        } else if let Some(record_type) = options.record_type {
            draft.record_type = record_type;
        }
        draft.confidence = draft.confidence.or(options.confidence);
        match options.expiry {
            None => {}
            Some(Expiry::At(time)) => draft.expiry = Some(time),
            Some(Expiry::After(age)) => {
                let start = draft.timestamp.unwrap_or(options.created).seconds();
                draft.expiry = Timestamp::from_seconds(start.saturating_add(age));
            }
        }
    }

    /// Returns why age, expiry, confidence or score exclude the draft.
    fn excluded_by_options(&self, draft: &Draft<'_>) -> Option<&'static str> {
        let options = self.options;
        let created = options.created.seconds();
        if draft.expiry.is_some_and(|expiry| expiry.seconds() <= created) {
            return Some("expired");
        }
        let oldest = options.max_age.map(|age| created.saturating_sub(age));
        if oldest.zip(draft.timestamp).is_some_and(|(oldest, time)| time.seconds() < oldest) {
            return Some("older than the maximum age");
        }
        if options.min_confidence.zip(draft.confidence).is_some_and(|(min, found)| found < min) {
            return Some("confidence below the minimum");
        }
        if options.min_score.zip(draft.score).is_some_and(|(min, found)| found < min) {
            return Some("score below the minimum");
        }
        None
    }

    fn end_row(&mut self) {
        if std::mem::replace(&mut self.row.open, false) && !self.row.has_outcome {
            self.refuse(Outcome::Rejected, "the row holds no indicator");
        }
    }

    fn refuse(&mut self, outcome: Outcome, reason: &str) {
        self.row.has_outcome = true;
        if self.failure.is_some() {
            return;
        }
        let (line, excerpt) = (self.row.line, &self.row.excerpt);
        match &mut self.refusals {
            None => self.report.refuse(line, outcome, reason, excerpt),
            Some(refusals) => {
                let (reason, excerpt) = (reason.into(), excerpt.clone());
                refusals.push(RowRefusal { member: None, line, outcome, reason, excerpt });
            }
        }
        if outcome == Outcome::Rejected && self.options.strict {
            self.failure = Some(FeedError::Strict { line: self.row.line, reason: reason.into() });
            self.stop.set(true);
        }
    }
}

impl Worker<'_> {
    /// Reads rows into a chunk.
    pub(super) fn read(self, read: impl FnOnce(&mut RowSink<'_>)) -> Chunk {
        let mut kept = KeptEntries::default();
        let mut row_sink = RowSink::new(self.format, self.options, self.guards, 0, &mut kept, Rc::default());
        row_sink.refusals = Some(Vec::new());
        read(&mut row_sink);
        row_sink.end_row();
        let RowSink { report, refusals, failure, .. } = row_sink;
        Chunk { report, refusals: refusals.unwrap_or_default(), failure, entries: kept }
    }
}

impl RecordSink for KeptEntries {
    fn add(&mut self, _input: u32, entry: Entry<'_>) {
        self.names.push_str(entry.name);
        self.entries.push((Entry { name: "", source: "", ..entry }, self.names.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::testing::{Collector, options};

    fn take(options: &Options, guards: &Guards, read: impl FnOnce(&mut RowSink<'_>)) -> (Vec<String>, Report) {
        let mut collector = Collector::default();
        let mut row_sink = RowSink::new(Format::Csv, options, guards, 0, &mut collector, Rc::default());
        read(&mut row_sink);
        let report = row_sink.finish(Overlong::default()).unwrap();
        (collector.entries, report)
    }

    fn address(text: &str) -> Indicator {
        Indicator::Ipv4(text.parse().unwrap())
    }

    fn draft(text: &str) -> Draft<'static> {
        Draft::new(address(text), RecordType::Malware, "")
    }

    #[test]
    fn every_row_is_accounted_for() {
        let (_, report) = take(&options(), &Guards::default(), |row_sink| {
            row_sink.row_with(1, "first");
            row_sink.row(2);
            row_sink.list(draft("9.9.9.9"));
            row_sink.unsupported("an IPv6 address");
            row_sink.row(3);
            row_sink.withhold("retracted");
        });
        assert_eq!((report.rows, report.records), (3, 1));
        assert_eq!((report.withheld, report.unsupported, report.rejected), (1, 1, 1));
        let refusal = &report.refusals[0];
        assert_eq!((refusal.line, &*refusal.excerpt, &*refusal.reason), (1, "first", "the row holds no indicator"));
        assert_eq!(report.reasons.values().sum::<u64>(), 3);
    }

    #[test]
    fn only_the_first_draft_of_a_row_keeps_the_id() {
        let (entries, _) = take(&options(), &Guards::default(), |row_sink| {
            for row in 1..3 {
                row_sink.row(row);
                for text in ["9.9.9.9", "9.9.9.10"] {
                    row_sink.list(Draft { id: Some(row), ..draft(text) });
                }
            }
        });
        let expected =
            ["ipv4:9.9.9.9 malware #1", "ipv4:9.9.9.10 malware", "ipv4:9.9.9.9 malware #2", "ipv4:9.9.9.10 malware"];
        assert_eq!(entries, expected);
    }

    #[test]
    fn age_confidence_and_score_exclude() {
        let mut options = options();
        (options.max_age, options.min_confidence, options.min_score) = (Some(86_400), Some(50), Some(3));
        let (entries, report) = take(&options, &Guards::default(), |row_sink| {
            row_sink.row(1);
            row_sink.list(Draft { timestamp: time("2026-11-20"), ..draft("9.9.9.1") });
            row_sink.list(Draft { timestamp: time("2026-11-21"), ..draft("9.9.9.2") });
            row_sink.list(Draft { expiry: time("2026-11-22"), ..draft("9.9.9.3") });
            row_sink.list(Draft { expiry: time("2026-11-23"), ..draft("9.9.9.4") });
            row_sink.list(Draft { confidence: Some(49), ..draft("9.9.9.5") });
            row_sink.list(Draft { confidence: Some(50), ..draft("9.9.9.6") });
            row_sink.list(Draft { score: Some(2), ..draft("9.9.9.7") });
            row_sink.list(draft("9.9.9.8"));
        });
        let kept: Vec<_> = entries.iter().map(|text| &text[..12]).collect();
        assert_eq!(kept, ["ipv4:9.9.9.2", "ipv4:9.9.9.4", "ipv4:9.9.9.6", "ipv4:9.9.9.8"]);
        assert_eq!(report.withheld, 4);
    }

    #[test]
    fn options_override_type_and_expiry_and_supply_confidence() {
        let mut options = options();
        options.record_type = Some(RecordType::Phishing);
        (options.confidence, options.min_confidence) = (Some(40), Some(50));
        options.expiry = Some(Expiry::After(86_400));
        let (entries, report) = take(&options, &Guards::default(), |row_sink| {
            row_sink.row(1);
            row_sink.list(draft("9.9.9.1"));
            row_sink.list(Draft { confidence: Some(60), ..draft("9.9.9.2") });
            let expired = Draft { expiry: time("2026-11-01"), confidence: Some(60), ..draft("9.9.9.3") };
            row_sink.list(Draft { timestamp: time("2026-11-21 12:00:00"), ..expired.clone() });
            row_sink.list(Draft { timestamp: time("2026-11-20"), ..expired });
        });
        let expected = [
            "ipv4:9.9.9.2 phishing until 2026-11-23T00:00:00Z",
            "ipv4:9.9.9.3 phishing at 2026-11-21T12:00:00Z until 2026-11-22T12:00:00Z",
        ];
        assert_eq!((entries.iter().map(String::as_str).collect::<Vec<_>>(), report.withheld), (expected.to_vec(), 2));
        options.expiry = Some(Expiry::At("2026-12-01".parse().unwrap()));
        let (entries, _) = take(&options, &Guards::default(), |row_sink| {
            row_sink.row(1);
            row_sink.list(Draft { confidence: Some(60), expiry: time("2026-11-01"), ..draft("9.9.9.2") });
        });
        assert_eq!(entries, ["ipv4:9.9.9.2 phishing until 2026-12-01T00:00:00Z"]);
    }

    #[test]
    fn refusals_are_listed_up_to_the_limit_of_the_options() {
        let mut options = options();
        for max in [0, 3, 1_000] {
            options.refusals_max = max;
            let (_, report) = take(&options, &Guards::default(), |row_sink| {
                for line in 1..=100 {
                    row_sink.row_with(line, "word");
                    row_sink.reject(format!("reason {line}"));
                }
            });
            let lines: Vec<u64> = report.refusals.iter().map(|refusal| refusal.line).collect();
            assert_eq!(lines, (1..=100.min(max as u64)).collect::<Vec<_>>());
            assert_eq!((report.refused(), report.rejected), (100, 100));
            // However many reasons there are, each listed refusal has its own.
            assert!(report.refusals.iter().all(|refusal| refusal.reason == format!("reason {}", refusal.line)));
        }
    }

    #[test]
    fn trusted_records_are_not_filtered() {
        let mut options = options();
        options.trusted = true;
        let mut guards = Guards::default();
        guards.read(&b"9.9.9.0/24"[..], "").unwrap();
        let (entries, report) = take(&options, &guards, |row_sink| {
            row_sink.row(1);
            row_sink.list(draft("9.9.9.9"));
            row_sink.list(draft("10.0.0.1"));
        });
        assert_eq!((entries.len(), report.withheld), (2, 0));
        assert!(entries[0].ends_with("trusted"));
        options.trusted = false;
        let (entries, report) = take(&options, &guards, |row_sink| {
            row_sink.row(1);
            row_sink.list(draft("9.9.9.9"));
        });
        assert_eq!((entries.len(), report.withheld), (0, 1));
    }

    #[test]
    fn long_names_are_cut_and_counted() {
        let name = "\u{e4}".repeat(NAME_BYTES_MAX);
        let (entries, report) = take(&options(), &Guards::default(), |row_sink| {
            row_sink.row(1);
            row_sink.list(Draft::new(address("9.9.9.9"), RecordType::Malware, &name));
        });
        assert_eq!(report.names_cut, 1);
        assert_eq!(entries[0].matches('\u{e4}').count(), NAME_BYTES_MAX / 2);
    }

    fn time(text: &str) -> Option<Timestamp> {
        text.parse().ok()
    }
}
