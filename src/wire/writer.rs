//! The answer writer.

use std::{io::Write, ops::ControlFlow};

use zerocopy::IntoBytes;

use super::{
    FrameKind, HEADER_BYTES, Header,
    answer::{AnswerHead, AnswerMeta, CANDIDATES_CUT, HitRow, LIST_CUT, TRUNCATED, UnansweredRow, WHOLE_COLUMN},
    intern::{Interner, NumberClass},
    raw,
};
use crate::{
    batch::{Hit, Matched, Position, Sink, Unanswered},
    limits::{ANSWER_BYTES_MAX, ANSWER_TEXT_BYTES_MAX, RECORDS_PER_KEY_MAX},
    timestamp::Timestamp,
};

/// The size limits at which an answer is truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerCaps {
    /// Maximum length of the body, in bytes.
    pub body_bytes: usize,
    /// Maximum length of all texts, in bytes.
    pub text_bytes: usize,
    /// Maximum number of records of one key; for a prefix, of each candidate.
    pub records_per_key: usize,
}

/// Returns the values of [`limits`](crate::limits).
impl Default for AnswerCaps {
    fn default() -> Self {
        Self { body_bytes: ANSWER_BYTES_MAX, text_bytes: ANSWER_TEXT_BYTES_MAX, records_per_key: RECORDS_PER_KEY_MAX }
    }
}

/// A reusable writer of answers. Hits are written directly into the frame, and the tables are reused, so that a batch
/// allocates its frame but nothing per key.
///
/// The first key with a hit or an unanswered row always fits, if necessary with its records truncated, so that a client
/// that requests the rest of a truncated answer always makes progress.
#[derive(Debug)]
pub struct AnswerWriter {
    caps: AnswerCaps,
    frame: Vec<u8>,
    columns: usize,
    unanswered: Vec<UnansweredRow>,
    suffixes: Vec<u8>,
    texts: Interner,
    /// Scratch buffer for the text of a block that matched.
    block: Vec<u8>,
    /// The key of the last hit.
    last: Option<Last>,
    hits: usize,
    truncated: bool,
    /// The length of the last frame in bytes: the next is likely as long, and growing it step by step copies it each
    /// time.
    last_frame_bytes: usize,
}

impl AnswerWriter {
    /// Creates a writer of answers within these limits.
    pub fn new(caps: AnswerCaps) -> Self {
        let mut writer = Self {
            caps,
            frame: Vec::new(),
            columns: 0,
            unanswered: Vec::new(),
            suffixes: Vec::new(),
            texts: Interner::new(),
            block: Vec::new(),
            last: None,
            hits: 0,
            truncated: false,
            last_frame_bytes: 0,
        };
        writer.begin(0);
        writer
    }

    /// Starts the answer to a request with `columns` columns.
    pub fn begin(&mut self, columns: u16) {
        self.columns = usize::from(columns);
        self.frame.clear();
        self.frame.reserve(self.last_frame_bytes.min(FRAME_BYTES_AHEAD));
        self.frame.resize(HITS_AT + 4 * self.columns, 0);
        self.unanswered.clear();
        self.suffixes.clear();
        self.texts.clear();
        self.last = None;
        self.hits = 0;
        self.truncated = false;
    }

    /// Sets how many rows of a column are answered, from row 0. The default is none.
    ///
    /// # Panics
    ///
    /// Panics if the column does not exist.
    pub fn answered(&mut self, column: u16, rows: u32) {
        assert!(usize::from(column) < self.columns, "column {column} of {}", self.columns);
        let at = HITS_AT + 4 * usize::from(column);
        self.frame[at..at + 4].copy_from_slice(&rows.to_le_bytes());
    }

    /// Marks a whole column as unanswered. Returns `Break` when there is no room.
    pub fn mark_column_unanswered(&mut self, column: u16, unanswered: Unanswered) -> ControlFlow<()> {
        self.push_unanswered(column, WHOLE_COLUMN, unanswered)
    }

    /// Returns whether rows were left out, because a hit or an unanswered row did not fit or the answer was
    /// [truncated](Self::truncate).
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Marks the answer as truncated: rows are left out although there is room, because they would take too much work.
    pub fn truncate(&mut self) {
        self.truncated = true;
    }

    /// Returns the bytes that the answer takes so far.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.body_bytes(0)
    }

    /// Returns the bytes of the tables that are kept for the next answer.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.unanswered.capacity() * size_of::<UnansweredRow>() + self.suffixes.capacity() + self.texts.kept_bytes()
    }

    /// Returns the whole frame. Call [`begin`](Self::begin) before the next answer.
    pub fn finish(&mut self, meta: &AnswerMeta<'_>) -> Vec<u8> {
        let head = AnswerHead {
            dataset: raw::dataset_field(meta.dataset),
            generation: meta.generation.into(),
            sequence: meta.sequence.into(),
            positive_ttl_s: meta.positive_ttl_s.into(),
            negative_ttl_s: meta.negative_ttl_s.into(),
            hits: (self.hits as u32).into(),
            unanswered: (self.unanswered.len() as u32).into(),
            texts: (self.texts.ends().len() as u32).into(),
            text_bytes: (self.texts.bytes().len() as u32).into(),
            columns: (self.columns as u16).into(),
            flags: (if self.truncated { TRUNCATED } else { 0 }).into(),
            suffix_bytes: (self.suffixes.len() as u32).into(),
        };
        let mut frame = std::mem::take(&mut self.frame);
        frame[HEADER_BYTES..HITS_AT].copy_from_slice(head.as_bytes());
        frame.extend_from_slice(self.unanswered.as_bytes());
        frame.extend_from_slice(&self.suffixes);
        frame.extend_from_slice(self.texts.ends().as_bytes());
        frame.extend_from_slice(self.texts.bytes());
        Header::fill(&mut frame, FrameKind::Answer, size_of::<AnswerHead>());
        self.last_frame_bytes = frame.len();
        frame
    }

    /// Makes room for one more hit. A frame that has become long gets all of the memory that it may need: doubling it
    /// would copy megabytes at a time, in the middle of a slice of work. Memory that is not written takes no space.
    fn make_room(&mut self) {
        let (length, capacity) = (self.frame.len(), self.frame.capacity());
        if capacity - length < size_of::<HitRow>() && length >= FRAME_BYTES_DOUBLED {
            let most = HEADER_BYTES + self.caps.body_bytes + size_of::<HitRow>();
            self.frame.reserve_exact(most.saturating_sub(length).max(size_of::<HitRow>()));
        }
    }

    /// Returns the length of the body in bytes after `more` bytes are added.
    fn body_bytes(&self, more: usize) -> usize {
        self.frame.len() - HEADER_BYTES
            + self.unanswered.len() * size_of::<UnansweredRow>()
            + self.suffixes.len()
            + self.texts.ends().len() * 4
            + self.texts.bytes().len()
            + more
    }

    fn push_unanswered(&mut self, column: u16, row: u32, unanswered: Unanswered) -> ControlFlow<()> {
        let nothing_yet = self.hits == 0 && self.unanswered.is_empty();
        if !nothing_yet && self.body_bytes(size_of::<UnansweredRow>()) > self.caps.body_bytes {
            self.truncated = true;
            return ControlFlow::Break(());
        }
        self.unanswered.push(UnansweredRow {
            row: row.into(),
            column: column.into(),
            code: (unanswered as u16).into(),
        });
        ControlFlow::Continue(())
    }

    /// Sets flags of the last hit.
    fn flag_last(&mut self, flags: u16) {
        let at = self.frame.len() - size_of::<HitRow>() + HIT_FLAGS_AT;
        for (byte, flag) in self.frame[at..].iter_mut().zip(flags.to_le_bytes()) {
            *byte |= flag;
        }
    }
}

/// The key of the last hit, and its part of the answer.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: Position,
    /// The offset of its first hit in the frame, and of its first suffix in the suffixes, in bytes.
    first_at: usize,
    suffixes_at: usize,
    hits: usize,
    /// How many of them are records of the current candidate; all of them unless the key is a prefix.
    candidate_hits: usize,
    /// Whether no more hits of the key fit.
    is_full: bool,
}

impl Sink for AnswerWriter {
    fn hit(&mut self, at: Position, hit: &Hit<'_>) -> ControlFlow<()> {
        let (scope, matched, suffix): (u8, &[u8], &[u8]) = match hit.matched {
            Matched::Digest => (0, &[], &[]),
            Matched::Suffix(suffix) => (0, &[], suffix),
            Matched::Web(scope, expression) => (scope as u8, expression, &[]),
            Matched::WebSuffix(scope, suffix) => (scope as u8, &[], suffix),
            Matched::Block(block) => {
                self.block.clear();
                // Writing to a vector does not fail.
                let _ = write!(self.block, "{block}");
                (0, &self.block, &[])
            }
        };
        let mut key = match self.last {
            Some(last) if last.at == at => last,
            _ => Last {
                at,
                first_at: self.frame.len(),
                suffixes_at: self.suffixes.len(),
                hits: 0,
                candidate_hits: 0,
                is_full: false,
            },
        };
        if key.is_full {
            return ControlFlow::Continue(());
        }
        // The next candidate of a prefix has its own records.
        if key.hits > 0 && !self.suffixes.ends_with(suffix) {
            key.candidate_hits = 0;
        }
        if key.candidate_hits >= self.caps.records_per_key.max(1) {
            self.flag_last(LIST_CUT);
            return ControlFlow::Continue(());
        }
        // Counts every text as new: precise enough for a limit, and no text has to be removed again.
        let text_bytes = hit.name.len() + hit.source.len() + matched.len();
        let full = self.body_bytes(size_of::<HitRow>() + suffix.len() + 3 * 4 + text_bytes) > self.caps.body_bytes
            || self.texts.bytes().len() + text_bytes > self.caps.text_bytes;
        if full {
            let is_first_key = self.hits == key.hits && self.unanswered.is_empty();
            if !is_first_key {
                // The key counts as not answered: its hits are removed, but not its texts.
                self.frame.truncate(key.first_at);
                self.suffixes.truncate(key.suffixes_at);
                self.hits -= key.hits;
                self.last = None;
                self.truncated = true;
                return ControlFlow::Break(());
            }
            if key.hits > 0 {
                self.flag_last(if suffix.is_empty() { LIST_CUT } else { LIST_CUT | CANDIDATES_CUT });
                self.last = Some(Last { is_full: true, ..key });
                return ControlFlow::Continue(());
            }
        }
        let row = HitRow {
            row: at.row.into(),
            column: at.column.into(),
            record_type: hit.record_type as u8,
            scope,
            name: self.texts.by_number(NumberClass::Name, hit.name_number, hit.name).into(),
            source: self.texts.by_number(NumberClass::Source, u32::from(hit.source_number), hit.source).into(),
            matched: self.texts.by_text(matched).into(),
            port: hit.port.unwrap_or(0).into(),
            flags: 0.into(),
            id: hit.id.into(),
            timestamp: Timestamp::to_field(hit.timestamp).into(),
            expiry: Timestamp::to_field(hit.expiry).into(),
        };
        self.make_room();
        raw::push(&mut self.frame, &row);
        self.suffixes.extend_from_slice(suffix);
        self.hits += 1;
        self.last = Some(Last { hits: key.hits + 1, candidate_hits: key.candidate_hits + 1, ..key });
        ControlFlow::Continue(())
    }

    fn unanswered(&mut self, at: Position, unanswered: Unanswered) -> ControlFlow<()> {
        self.push_unanswered(at.column, at.row, unanswered)
    }
}

/// The length up to which a frame grows by doubling, in bytes.
const FRAME_BYTES_DOUBLED: usize = 256 << 10;

/// The maximum number of bytes to reserve for an answer in advance.
const FRAME_BYTES_AHEAD: usize = 64 << 10;

const HITS_AT: usize = HEADER_BYTES + size_of::<AnswerHead>();
const HIT_FLAGS_AT: usize = std::mem::offset_of!(HitRow, flags);
