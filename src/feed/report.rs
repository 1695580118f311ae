//! What reading a feed came to.

use std::{collections::BTreeMap, io};

use super::{format::Format, recognise::Refusal};

/// Refusals that a report shows one by one.
pub const REFUSALS_MAX: usize = 20;

/// Reasons that a report counts one by one; further ones are counted together.
const REASONS_MAX: usize = 64;

/// Bytes of a row that a refusal shows.
pub(super) const EXCERPT_BYTES_MAX: usize = 100;

/// Every row accounted for: each gave at least one record, or is withheld, unsupported or rejected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The format it was read as.
    pub format: Format,
    /// Data rows: no comments, headers and blank lines.
    pub rows: u64,
    /// Records handed to the sink.
    pub records: u64,
    /// Records that were there before. Reading alone cannot know: whoever sorts the records sets it.
    pub duplicates: u64,
    /// What is never a bad record, what options and guards keep out, and what the feed takes back.
    pub withheld: u64,
    /// What no record can exist for here.
    pub unsupported: u64,
    /// What could not be read.
    pub rejected: u64,
    /// Names that were cut to [`NAME_BYTES_MAX`](crate::limits::NAME_BYTES_MAX).
    pub names_cut: u64,
    /// Domains narrowed to one host, because anybody may register below them.
    pub narrowed: u64,
    /// The first of what gave no record.
    pub refusals: Vec<RowRefusal>,
    /// How often each reason stood.
    pub reasons: BTreeMap<(Outcome, String), u64>,
    /// Members of an archive that were passed over, with the reason.
    pub skipped: Vec<(String, String)>,
}

/// Why something gave no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Kept out on purpose.
    Withheld,
    /// No record can exist for it here.
    Unsupported,
    /// It could not be read.
    Rejected,
}

/// One thing that gave no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRefusal {
    /// The line where its row starts, from 1; of JSON the number of the element.
    pub line: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
    /// The row's beginning.
    pub excerpt: String,
}

impl Report {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            rows: 0,
            records: 0,
            duplicates: 0,
            withheld: 0,
            unsupported: 0,
            rejected: 0,
            names_cut: 0,
            narrowed: 0,
            refusals: Vec::new(),
            reasons: BTreeMap::new(),
            skipped: Vec::new(),
        }
    }

    /// Counts something that gave no record.
    pub(super) fn refuse(&mut self, line: u64, outcome: Outcome, reason: &str, excerpt: &str) {
        match outcome {
            Outcome::Withheld => self.withheld += 1,
            Outcome::Unsupported => self.unsupported += 1,
            Outcome::Rejected => self.rejected += 1,
        }
        self.count(outcome, reason, 1);
        if self.refusals.len() < REFUSALS_MAX {
            let excerpt = cut(excerpt, EXCERPT_BYTES_MAX).into();
            self.refusals.push(RowRefusal { line, outcome, reason: reason.into(), excerpt });
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

    /// Adds what another member of the same archive came to.
    pub(super) fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.records += other.records;
        self.withheld += other.withheld;
        self.unsupported += other.unsupported;
        self.rejected += other.rejected;
        self.names_cut += other.names_cut;
        self.narrowed += other.narrowed;
        let room = REFUSALS_MAX.saturating_sub(self.refusals.len());
        self.refusals.extend(other.refusals.into_iter().take(room));
        for ((outcome, reason), times) in other.reasons {
            self.count(outcome, &reason, times);
        }
        self.skipped.extend(other.skipped);
    }
}

/// Why a feed could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// Reading or unpacking failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No format knows it.
    #[error(
        "the format is not recognised: it looks like {looks}; name it with `--format`, or the columns with `--columns`"
    )]
    Unrecognised {
        /// What it looks like.
        looks: String,
    },
    /// Several formats know it equally well.
    #[error("it could be {}; name one with `--format`", list(candidates))]
    Ambiguous {
        /// The formats.
        candidates: Vec<Format>,
    },
    /// It is known, and gives no records.
    #[error("this is {}: {}; {}", .0.what, .0.why, .0.instead)]
    Refused(Refusal),
    /// Beyond a limit.
    #[error("{what} is over the limit of {limit}")]
    TooLarge {
        /// What was measured.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A document that has to be read whole is malformed.
    #[error("malformed {format}: {why}")]
    Malformed {
        /// What it was read as.
        format: Format,
        /// What is wrong, with the position.
        why: String,
    },
    /// An option does not fit the format.
    #[error("{why}")]
    Options {
        /// What is wrong and what to do.
        why: String,
    },
    /// Under `--strict`, a row that could not be read.
    #[error("line {line}: {reason}")]
    Strict {
        /// The line, from 1.
        line: u64,
        /// Why it was rejected.
        reason: String,
    },
}

/// The text, cut to at most so many bytes between two characters.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn list(formats: &[Format]) -> String {
    formats.iter().map(|format| format.name()).collect::<Vec<_>>().join(" or ")
}
