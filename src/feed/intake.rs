//! Where the rows of every format come together: accounting, options, screening.
//!
//! A reader calls [`Intake::row`] for every data row (comments, headers and blank lines are none), then, for each
//! thing the row holds, exactly one of [`list`](Intake::list), [`withhold`](Intake::withhold),
//! [`unsupported`](Intake::unsupported) and [`reject`](Intake::reject). A row of which nothing was said counts as
//! rejected, so that nothing is lost in silence.

use std::fmt;

use crate::{
    key::Indicator,
    record::RecordType,
    timestamp::Timestamp,
};

/// One thing that a row lists, before screening.
#[derive(Clone, Debug)]
pub(crate) struct Draft<'a> {
    /// What is listed.
    pub(crate) indicator: Indicator,
    /// The feed's own ID; `None` derives one.
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

/// Takes what readers find.
pub(crate) struct Intake;

impl Intake {
    /// Begins a data row, which starts at this line (from 1; for JSON the number of the element).
    pub(crate) fn row(&mut self, _line: u64) {}

    /// The row lists this.
    pub(crate) fn list(&mut self, _draft: Draft<'_>) {}

    /// The row lists something that the feed itself takes back (an exception, a false positive, an expired one).
    pub(crate) fn withhold(&mut self, _reason: &'static str) {}

    /// The row lists something of a kind that no record can exist for here (IPv6, a mail address, a regular
    /// expression, an import hash).
    pub(crate) fn unsupported(&mut self, _what: &'static str) {}

    /// The row cannot be read.
    pub(crate) fn reject(&mut self, _why: impl fmt::Display) {}
}
