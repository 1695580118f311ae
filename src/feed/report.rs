//! The report of reading a feed, and the errors.

use std::{collections::BTreeMap, sync::Arc};

use super::format::Format;

/// The default of [`Options::refusals_max`](super::Options::refusals_max).
pub const REFUSALS_MAX: usize = 20;

/// Maximum number of reasons that a report counts separately; further ones are counted as one.
const REASONS_MAX: usize = 64;

/// Maximum length in bytes of a refusal's excerpt.
pub(super) const EXCERPT_BYTES_MAX: usize = 100;

/// The report of one feed. It accounts for every row: each yielded at least one record, or was withheld, unsupported or
/// rejected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The format that the feed was read as.
    pub format: Format,
    /// Data rows, without comments, headers and blank lines.
    pub rows: u64,
    /// Records passed to the sink.
    pub records: u64,
    /// Duplicate records. The reader cannot know them: the caller that sorts the records sets this field.
    pub duplicates: u64,
    /// Records left out because their key has [`RECORDS_PER_KEY_MAX`](crate::limits::RECORDS_PER_KEY_MAX) better ones. Set
    /// like [`duplicates`](Self::duplicates).
    pub over_limit: u64,
    /// Items excluded by the filter, the options or the guards, or retracted by the feed.
    pub withheld: u64,
    /// Items of a kind that records do not support.
    pub unsupported: u64,
    /// Items that could not be parsed.
    pub rejected: u64,
    /// Names truncated to [`NAME_BYTES_MAX`](crate::limits::NAME_BYTES_MAX).
    pub names_cut: u64,
    /// Domains narrowed to one host, because anybody can register below them.
    pub narrowed: u64,
    /// The first items that yielded no record, at most [`Options::refusals_max`](super::Options::refusals_max).
    pub refusals: Vec<RowRefusal>,
    /// The number of items per outcome and reason.
    pub reasons: BTreeMap<(Outcome, String), u64>,
    /// Skipped archive members, as name and reason.
    pub skipped: Vec<(String, String)>,
    refusals_max: usize,
}

/// The outcome of an item that yielded no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Excluded deliberately.
    Withheld,
    /// Of a kind that records do not support.
    Unsupported,
    /// It could not be parsed.
    Rejected,
}

/// An item that yielded no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRefusal {
    /// The archive member that it is in; `None` if the file is not an archive.
    pub member: Option<Arc<str>>,
    /// The line at which its row starts, from 1; for JSON the element number.
    pub line: u64,
    /// The outcome.
    pub outcome: Outcome,
    /// The reason.
    pub reason: String,
    /// The beginning of the row.
    pub excerpt: String,
}

impl Report {
    pub(super) fn new(format: Format, refusals_max: usize) -> Self {
        Self {
            format,
            rows: 0,
            records: 0,
            duplicates: 0,
            over_limit: 0,
            withheld: 0,
            unsupported: 0,
            rejected: 0,
            names_cut: 0,
            narrowed: 0,
            refusals: Vec::new(),
            reasons: BTreeMap::new(),
            skipped: Vec::new(),
            refusals_max,
        }
    }

    /// Returns the number of items that yielded no record.
    pub fn refused(&self) -> u64 {
        self.withheld + self.unsupported + self.rejected
    }

    /// Sets the archive member that the refusals are in.
    pub(super) fn set_member(&mut self, name: &str) {
        let name: Arc<str> = name.into();
        self.refusals.iter_mut().for_each(|refusal| refusal.member = Some(Arc::clone(&name)));
    }

    /// Counts an item that yielded no record.
    pub(super) fn refuse(&mut self, line: u64, outcome: Outcome, reason: &str, excerpt: &str) {
        match outcome {
            Outcome::Withheld => self.withheld += 1,
            Outcome::Unsupported => self.unsupported += 1,
            Outcome::Rejected => self.rejected += 1,
        }
        self.count(outcome, reason, 1);
        if self.refusals.len() < self.refusals_max {
            let excerpt = cut(excerpt, EXCERPT_BYTES_MAX).into();
            self.refusals.push(RowRefusal { member: None, line, outcome, reason: reason.into(), excerpt });
        }
    }

    fn count(&mut self, outcome: Outcome, reason: &str, times: u64) {
        let key = (outcome, reason.to_owned());
        if self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&key) {
            *self.reasons.entry(key).or_default() += times;
        } else {
            *self.reasons.entry((outcome, "other reasons".into())).or_default() += times;
        }
    }

    /// Adds the report of another member of the same archive.
    pub(super) fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.records += other.records;
        self.withheld += other.withheld;
        self.unsupported += other.unsupported;
        self.rejected += other.rejected;
        self.names_cut += other.names_cut;
        self.narrowed += other.narrowed;
        let room = self.refusals_max.saturating_sub(self.refusals.len());
        self.refusals.extend(other.refusals.into_iter().take(room));
        for ((outcome, reason), times) in other.reasons {
            self.count(outcome, &reason, times);
        }
        self.skipped.extend(other.skipped);
    }
}

/// Truncates `text` to at most `bytes_max` bytes, at a character boundary.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
