//! Where the rows of every format come together: accounting, options, screening.
//!
//! A reader calls [`Intake::row`] (or [`Intake::row_of`], which keeps an excerpt for the report) for every data row
//! (comments, headers and blank lines are none), then, for each thing the row holds, exactly one of
//! [`list`](Intake::list), [`withhold`](Intake::withhold), [`unsupported`](Intake::unsupported) and
//! [`reject`](Intake::reject). A row of which nothing was said counts as rejected, so that nothing is lost in silence.

use std::{cell::Cell, fmt, rc::Rc};

use super::{
    FeedError, Format, Guards, Options,
    cell::Why,
    input::{Line, Overlong},
    report::{EXCERPT_BYTES_MAX, Outcome, Report, RowRefusal, cut},
    screen::{self, Screened},
};
use crate::{
    key::Indicator,
    limits::{FEED_LINE_BYTES_MAX, NAME_BYTES_MAX},
    record::{Listing, RecordSink, RecordType, derived_id},
    timestamp::Timestamp,
};

/// One thing that a row lists, before screening.
#[derive(Clone, Debug)]
pub(crate) struct Draft<'a> {
    /// What is listed.
    pub(crate) indicator: Indicator,
    /// The feed's own ID; `None` derives one. Of several drafts of a row only the first keeps it.
    pub(crate) id: Option<u64>,
    /// What the feed says of it (the option `--trusted` overrides it).
    pub(crate) record_type: RecordType,
    /// The detection name, raw.
    pub(crate) name: &'a str,
    /// When it was made or last changed.
    pub(crate) timestamp: Option<Timestamp>,
    /// When it stops counting.
    pub(crate) expiry: Option<Timestamp>,
    /// A port that stood behind the address.
    pub(crate) port: Option<u16>,
    /// How sure the feed is, in percent, for `--min-confidence`.
    pub(crate) confidence: Option<u8>,
    /// How often or how badly it is listed, for `--min-score`.
    pub(crate) score: Option<u32>,
}

impl<'a> Draft<'a> {
    /// With everything else left open.
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

/// Takes what readers find.
pub(crate) struct Intake<'a> {
    options: &'a Options,
    guards: &'a Guards,
    source: &'a str,
    number: u32,
    sink: &'a mut dyn RecordSink,
    report: Report,
    row: Row,
    /// Ends the input's lines.
    stop: Rc<Cell<bool>>,
    failure: Option<FeedError>,
    /// Aside, what gave no record; it is reported later, in the order of rows.
    refusals: Option<Vec<RowRefusal>>,
}

/// What reads rows on another thread, to be taken in the order of rows.
#[derive(Clone, Copy)]
pub(super) struct Aside<'a> {
    format: Format,
    options: &'a Options,
    guards: &'a Guards,
}

/// What rows came to that were read aside.
pub(super) struct Taken {
    report: Report,
    refusals: Vec<RowRefusal>,
    listings: Kept,
    failure: Option<FeedError>,
}

/// Listings with their names in one piece.
#[derive(Default)]
struct Kept {
    listings: Vec<(Listing<'static>, usize)>,
    names: String,
}

/// The row that is being told of.
#[derive(Debug, Default)]
struct Row {
    line: u64,
    excerpt: String,
    open: bool,
    said: bool,
    id_taken: bool,
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        format: Format,
        options: &'a Options,
        guards: &'a Guards,
        number: u32,
        sink: &'a mut dyn RecordSink,
        stop: Rc<Cell<bool>>,
    ) -> Self {
        let source = options.source.as_deref().unwrap_or(format.name());
        let report = Report::new(format);
        let (row, failure, refusals) = Default::default();
        Self { options, guards, source, number, sink, report, row, stop, failure, refusals }
    }

    /// What reads rows for this intake elsewhere.
    pub(super) fn aside(&self) -> Aside<'a> {
        Aside { format: self.report.format, options: self.options, guards: self.guards }
    }

    /// Whether nothing more is taken.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Takes what was read aside, as if it had been read here.
    pub(super) fn take(&mut self, taken: Taken) {
        self.end_row();
        if self.failure.is_some() {
            return;
        }
        let mut start = 0;
        for (listing, end) in taken.listings.listings {
            let name = &taken.listings.names[start..end];
            self.sink.add(self.number, Listing { name, source: self.source, ..listing });
            start = end;
        }
        self.report.merge(taken.report);
        for refusal in taken.refusals {
            self.report.refuse(refusal.line, refusal.outcome, &refusal.reason, &refusal.excerpt);
        }
        if taken.failure.is_some() {
            self.failure = taken.failure;
            self.stop.set(true);
        }
    }

    /// The options, for those that a reader has to know.
    pub(crate) fn options(&self) -> &'a Options {
        self.options
    }

    /// Begins a data row, which starts at this line (from 1; for JSON the number of the element).
    pub(crate) fn row(&mut self, line: u64) {
        self.end_row();
        self.report.rows += 1;
        self.row.excerpt.clear();
        (self.row.line, self.row.open, self.row.said, self.row.id_taken) = (line, true, false, false);
    }

    /// Begins a data row and keeps its beginning for the report.
    pub(crate) fn row_of(&mut self, line: &Line<'_>) {
        self.row_with(line.number, line.text);
    }

    /// Begins a data row of this line, with an excerpt for the report.
    pub(crate) fn row_with(&mut self, line: u64, excerpt: &str) {
        self.row(line);
        self.row.excerpt.push_str(cut(excerpt, EXCERPT_BYTES_MAX));
    }

    /// A draft of the row with everything else left open.
    pub(crate) fn draft<'d>(&self, indicator: Indicator, record_type: RecordType, name: &'d str) -> Draft<'d> {
        Draft::new(indicator, record_type, name)
    }

    /// The row lists this.
    pub(crate) fn list(&mut self, mut draft: Draft<'_>) {
        self.row.said = true;
        if self.failure.is_some() {
            return;
        }
        if draft.id.is_some() && std::mem::replace(&mut self.row.id_taken, true) {
            draft.id = None;
        }
        if self.options.trusted {
            draft.record_type = RecordType::Trusted;
        }
        if let Some(reason) = self.too_old(&draft) {
            return self.withhold(reason);
        }
        let indicator = match screen::screen(draft.indicator, draft.record_type, self.guards) {
            Screened::Kept(indicator) => indicator,
            Screened::Narrowed(indicator) => {
                self.report.narrowed += 1;
                indicator
            }
            Screened::Withheld(reason) => return self.withhold(reason),
        };
        let name = draft.name.trim();
        let name = if name.len() > NAME_BYTES_MAX {
            self.report.names_cut += 1;
            cut(name, NAME_BYTES_MAX)
        } else {
            name
        };
        // The top bit marks derived IDs: a feed's own number that has it could not be told from one.
        let own = draft.id.filter(|id| id >> 63 == 0);
        let id = own.unwrap_or_else(|| derived_id(self.source, &indicator, name));
        self.report.records += 1;
        self.sink.add(
            self.number,
            Listing {
                indicator,
                id,
                record_type: draft.record_type,
                name,
                source: self.source,
                timestamp: draft.timestamp,
                expiry: draft.expiry,
                port: draft.port,
            },
        );
    }

    /// The row lists something that the feed itself takes back (an exception, a false positive, an expired one).
    pub(crate) fn withhold(&mut self, reason: &'static str) {
        self.refuse(Outcome::Withheld, reason);
    }

    /// The row lists something of a kind that no record can exist for here (IPv6, a mail address, a regular
    /// expression, an import hash).
    pub(crate) fn unsupported(&mut self, what: &'static str) {
        self.refuse(Outcome::Unsupported, what);
    }

    /// The row cannot be read.
    pub(crate) fn reject(&mut self, why: impl fmt::Display) {
        let why = why.to_string();
        self.refuse(Outcome::Rejected, &why);
    }

    /// Why a cell gave no indicator.
    pub(crate) fn say(&mut self, why: Why) {
        match why {
            Why::Unsupported(what) => self.unsupported(what),
            Why::Rejected(why) => self.reject(why),
        }
    }

    /// Ends the reading: the last row, and the lines that nobody saw.
    pub(super) fn finish(mut self, overlong: Overlong) -> Result<Report, FeedError> {
        self.end_row();
        let reason = format!("a line of over {FEED_LINE_BYTES_MAX} bytes");
        for at in 0..overlong.count {
            // Only the first lines are known by number; the others follow them.
            let line = usize::try_from(at).ok().and_then(|at| overlong.lines.get(at)).copied().unwrap_or_default();
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

    /// Whether time or confidence keep the draft out.
    fn too_old(&self, draft: &Draft<'_>) -> Option<&'static str> {
        let options = self.options;
        let created = options.created.seconds();
        if draft.expiry.is_some_and(|expiry| expiry.seconds() <= created) {
            return Some("expired");
        }
        let oldest = options.max_age.map(|age| created.saturating_sub(age));
        if oldest.zip(draft.timestamp).is_some_and(|(oldest, time)| time.seconds() < oldest) {
            return Some("older than the age allowed");
        }
        if options.min_confidence.zip(draft.confidence).is_some_and(|(least, given)| given < least) {
            return Some("confidence below the least");
        }
        if options.min_score.zip(draft.score).is_some_and(|(least, given)| given < least) {
            return Some("score below the least");
        }
        None
    }

    fn end_row(&mut self) {
        if std::mem::replace(&mut self.row.open, false) && !self.row.said {
            self.refuse(Outcome::Rejected, "the row holds no indicator");
        }
    }

    fn refuse(&mut self, outcome: Outcome, reason: &str) {
        self.row.said = true;
        if self.failure.is_some() {
            return;
        }
        let (line, excerpt) = (self.row.line, &self.row.excerpt);
        match &mut self.refusals {
            None => self.report.refuse(line, outcome, reason, excerpt),
            Some(refusals) => {
                refusals.push(RowRefusal { line, outcome, reason: reason.into(), excerpt: excerpt.clone() });
            }
        }
        if outcome == Outcome::Rejected && self.options.strict {
            self.failure = Some(FeedError::Strict { line: self.row.line, reason: reason.into() });
            self.stop.set(true);
        }
    }
}

impl Aside<'_> {
    /// Reads rows with an intake of their own.
    pub(super) fn read(self, read: impl FnOnce(&mut Intake<'_>)) -> Taken {
        let mut kept = Kept::default();
        let mut intake = Intake::new(self.format, self.options, self.guards, 0, &mut kept, Rc::default());
        intake.refusals = Some(Vec::new());
        read(&mut intake);
        intake.end_row();
        let Intake { report, refusals, failure, .. } = intake;
        Taken { report, refusals: refusals.unwrap_or_default(), failure, listings: kept }
    }
}

impl RecordSink for Kept {
    fn add(&mut self, _input: u32, listing: Listing<'_>) {
        self.names.push_str(listing.name);
        self.listings.push((Listing { name: "", source: "", ..listing }, self.names.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::testing::{Collector, options};

    fn take(options: &Options, guards: &Guards, tell: impl FnOnce(&mut Intake<'_>)) -> (Vec<String>, Report) {
        let mut collector = Collector::default();
        let mut intake = Intake::new(Format::Csv, options, guards, 0, &mut collector, Rc::default());
        tell(&mut intake);
        let report = intake.finish(Overlong::default()).unwrap();
        (collector.listings, report)
    }

    fn address(text: &str) -> Indicator {
        Indicator::Ipv4(text.parse().unwrap())
    }

    fn listed(text: &str) -> Draft<'static> {
        Draft::new(address(text), RecordType::Malware, "")
    }

    #[test]
    fn every_row_is_accounted_for() {
        let (_, report) = take(&options(), &Guards::default(), |intake| {
            intake.row_with(1, "first");
            intake.row(2);
            intake.list(listed("9.9.9.9"));
            intake.unsupported("an IPv6 address");
            intake.row(3);
            intake.withhold("taken back");
        });
        assert_eq!((report.rows, report.records), (3, 1));
        assert_eq!((report.withheld, report.unsupported, report.rejected), (1, 1, 1));
        let refusal = &report.refusals[0];
        assert_eq!((refusal.line, &*refusal.excerpt, &*refusal.reason), (1, "first", "the row holds no indicator"));
        assert_eq!(report.reasons.values().sum::<u64>(), 3);
    }

    #[test]
    fn only_the_first_of_a_row_has_its_id() {
        let (listings, _) = take(&options(), &Guards::default(), |intake| {
            for row in 1..3 {
                intake.row(row);
                for text in ["9.9.9.9", "9.9.9.10"] {
                    intake.list(Draft { id: Some(row), ..listed(text) });
                }
            }
        });
        let expected =
            ["ipv4:9.9.9.9 malware #1", "ipv4:9.9.9.10 malware", "ipv4:9.9.9.9 malware #2", "ipv4:9.9.9.10 malware"];
        assert_eq!(listings, expected);
    }

    #[test]
    fn age_confidence_and_score() {
        let mut options = options();
        (options.max_age, options.min_confidence, options.min_score) = (Some(86_400), Some(50), Some(3));
        let (listings, report) = take(&options, &Guards::default(), |intake| {
            intake.row(1);
            intake.list(Draft { timestamp: cell_time("2026-11-20"), ..listed("9.9.9.1") });
            intake.list(Draft { timestamp: cell_time("2026-11-21"), ..listed("9.9.9.2") });
            intake.list(Draft { expiry: cell_time("2026-11-22"), ..listed("9.9.9.3") });
            intake.list(Draft { expiry: cell_time("2026-11-23"), ..listed("9.9.9.4") });
            intake.list(Draft { confidence: Some(49), ..listed("9.9.9.5") });
            intake.list(Draft { confidence: Some(50), ..listed("9.9.9.6") });
            intake.list(Draft { score: Some(2), ..listed("9.9.9.7") });
            intake.list(listed("9.9.9.8"));
        });
        let kept: Vec<_> = listings.iter().map(|text| &text[..12]).collect();
        assert_eq!(kept, ["ipv4:9.9.9.2", "ipv4:9.9.9.4", "ipv4:9.9.9.6", "ipv4:9.9.9.8"]);
        assert_eq!(report.withheld, 4);
    }

    #[test]
    fn trust_is_not_screened() {
        let mut options = options();
        options.trusted = true;
        let mut guards = Guards::default();
        guards.read(&b"9.9.9.0/24"[..], "").unwrap();
        let (listings, report) = take(&options, &guards, |intake| {
            intake.row(1);
            intake.list(listed("9.9.9.9"));
            intake.list(listed("10.0.0.1"));
        });
        assert_eq!((listings.len(), report.withheld), (2, 0));
        assert!(listings[0].ends_with("trusted"));
        options.trusted = false;
        let (listings, report) = take(&options, &guards, |intake| {
            intake.row(1);
            intake.list(listed("9.9.9.9"));
        });
        assert_eq!((listings.len(), report.withheld), (0, 1));
    }

    #[test]
    fn long_names_are_cut_and_counted() {
        let name = "\u{e4}".repeat(NAME_BYTES_MAX);
        let (listings, report) = take(&options(), &Guards::default(), |intake| {
            intake.row(1);
            intake.list(Draft::new(address("9.9.9.9"), RecordType::Malware, &name));
        });
        assert_eq!(report.names_cut, 1);
        assert_eq!(listings[0].matches('\u{e4}').count(), NAME_BYTES_MAX / 2);
    }

    fn cell_time(text: &str) -> Option<Timestamp> {
        text.parse().ok()
    }
}
