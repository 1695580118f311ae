//! The answer frame: its rows, and its parser.

use rend::unaligned::{u16_ule, u32_ule, u64_ule};

use super::{FrameKind, Header, WireError, raw};
use crate::{
    batch::{Column, Position, Texts, Unanswered},
    key::Scope,
    limits::DATASET_BYTES_MAX,
    record::RecordType,
    timestamp::Timestamp,
};

raw::layout! {
    pub(super) struct AnswerHead: 80 {
        pub(super) dataset: [u8; DATASET_BYTES_MAX],
        pub(super) generation: u64_ule,
        pub(super) sequence: u64_ule,
        pub(super) positive_ttl_s: u32_ule,
        pub(super) negative_ttl_s: u32_ule,
        pub(super) hits: u32_ule,
        pub(super) unanswered: u32_ule,
        pub(super) texts: u32_ule,
        pub(super) text_bytes: u32_ule,
        pub(super) columns: u16_ule,
        pub(super) flags: u16_ule,
        pub(super) suffix_bytes: u32_ule,
    }
}

raw::layout! {
    /// One record of one key.
    pub struct HitRow: 40 {
        pub(super) row: u32_ule,
        pub(super) column: u16_ule,
        pub(super) record_type: u8,
        pub(super) scope: u8,
        pub(super) name: u32_ule,
        pub(super) source: u32_ule,
        pub(super) matched: u32_ule,
        pub(super) port: u16_ule,
        pub(super) flags: u16_ule,
        pub(super) id: u64_ule,
        pub(super) timestamp: u32_ule,
        pub(super) expiry: u32_ule,
    }
}

raw::layout! {
    /// A key or a whole column without an answer, and the reason.
    pub struct UnansweredRow: 8 {
        pub(super) row: u32_ule,
        pub(super) column: u16_ule,
        pub(super) code: u16_ule,
    }
}

impl HitRow {
    /// Returns the position of the key.
    pub fn position(&self) -> Position {
        Position { column: self.column.to_native(), row: self.row.to_native() }
    }

    /// Returns the record type.
    pub fn record_type(&self) -> RecordType {
        // `AnswerView::parse` has rejected every other number.
        RecordType::from_number(self.record_type).unwrap_or(RecordType::Other)
    }

    /// Returns the scope in which the record matched a web address.
    pub fn scope(&self) -> Option<Scope> {
        Scope::from_number(self.scope)
    }

    /// Returns the record's ID, unique within its source.
    pub fn id(&self) -> u64 {
        self.id.to_native()
    }

    /// Returns the port that the feed lists.
    pub fn port(&self) -> Option<u16> {
        Some(self.port.to_native()).filter(|&port| port != 0)
    }

    /// Returns the time at which the record was created or last changed.
    pub fn timestamp(&self) -> Option<Timestamp> {
        Timestamp::from_seconds(self.timestamp.to_native())
    }

    /// Returns the time at which the record expires.
    pub fn expiry(&self) -> Option<Timestamp> {
        Timestamp::from_seconds(self.expiry.to_native())
    }

    /// Returns whether this is the last of its key's records in this answer, and there are more.
    pub fn is_cut(&self) -> bool {
        self.flags.to_native() & LIST_CUT != 0
    }

    /// Returns whether this is the last record of its prefix in this answer, and there may be more candidates.
    pub fn is_short_of_candidates(&self) -> bool {
        self.flags.to_native() & CANDIDATES_CUT != 0
    }

    /// Returns the index of the detection name in the texts of the answer.
    pub fn name_text(&self) -> u32 {
        self.name.to_native()
    }

    /// Returns the index of the source in the texts of the answer.
    pub fn source_text(&self) -> u32 {
        self.source.to_native()
    }

    /// Returns the index of the matched expression or block in the texts of the answer.
    pub fn matched_text(&self) -> u32 {
        self.matched.to_native()
    }
}

impl UnansweredRow {
    /// Returns the column.
    pub fn column(&self) -> u16 {
        self.column.to_native()
    }

    /// Returns the row; `None` for the whole column.
    pub fn row(&self) -> Option<u32> {
        Some(self.row.to_native()).filter(|&row| row != WHOLE_COLUMN)
    }

    /// Returns the reason. An unknown number, from a later version, is read as [`Unanswered::Unsupported`].
    pub fn unanswered(&self) -> Unanswered {
        Unanswered::from_number(self.code.to_native()).unwrap_or(Unanswered::Unsupported)
    }
}

/// The dataset that an answer comes from, and how long the answer may be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerMeta<'a> {
    /// The name of the dataset.
    pub dataset: &'a str,
    /// The generation of the dataset.
    pub generation: u64,
    /// The sequence within that generation.
    pub sequence: u64,
    /// Seconds for which an answer with a record may be cached.
    pub positive_ttl_s: u32,
    /// Seconds for which an answer without a record may be cached.
    pub negative_ttl_s: u32,
}

/// A validated answer.
///
/// Not validated, because it depends on the request: that the columns are those of the request, that the rows exist in
/// them, and (until [`candidates`](Self::candidates) is called) that every hit of a prefix has its suffix.
#[derive(Clone, Copy, Debug)]
pub struct AnswerView<'a> {
    head: &'a AnswerHead,
    dataset: &'a str,
    answered: &'a [u32_ule],
    hits: &'a [HitRow],
    unanswered: &'a [UnansweredRow],
    suffixes: &'a [u8],
    texts: Texts<'a>,
}

impl<'a> AnswerView<'a> {
    /// Parses the body of a frame.
    pub fn parse(header: &Header, body: &'a [u8]) -> Result<Self, WireError> {
        let head: &AnswerHead = header.head(FrameKind::Answer, body, "answer head")?;
        let mut rest = header.after_head(body)?;
        let columns = usize::from(head.columns.to_native());
        let answered = raw::rows(&mut rest, columns, "answered rows")?;
        let hits: &[HitRow] = raw::rows(&mut rest, head.hits.to_native() as usize, "hits")?;
        let unanswered: &[UnansweredRow] =
            raw::rows(&mut rest, head.unanswered.to_native() as usize, "unanswered rows")?;
        let suffixes: &[u8] = raw::rows(&mut rest, head.suffix_bytes.to_native() as usize, SUFFIXES)?;
        let (texts, text_bytes) = (head.texts.to_native(), head.text_bytes.to_native());
        let texts = raw::texts(&mut rest, texts as usize, text_bytes as usize, "texts")?;
        raw::end(rest)?;
        if texts.is_empty() || !texts.get(0).is_empty() {
            return Err(WireError::Number {
                field: "texts",
                expected: "text 0 to be empty",
                found: texts.len() as u64,
            });
        }
        check_hits(hits, columns, texts.len())?;
        check_unanswered(unanswered, columns)?;
        Ok(Self { head, dataset: raw::dataset_name(&head.dataset)?, answered, hits, unanswered, suffixes, texts })
    }

    /// Returns the dataset that the answer comes from, and how long it may be cached.
    pub fn meta(&self) -> AnswerMeta<'a> {
        AnswerMeta {
            dataset: self.dataset,
            generation: self.head.generation.to_native(),
            sequence: self.head.sequence.to_native(),
            positive_ttl_s: self.head.positive_ttl_s.to_native(),
            negative_ttl_s: self.head.negative_ttl_s.to_native(),
        }
    }

    /// Returns whether rows were left out because the answer would have exceeded its size limit.
    pub fn is_truncated(&self) -> bool {
        self.head.flags.to_native() & TRUNCATED != 0
    }

    /// Returns how many rows of each column are answered, from row 0.
    pub fn answered(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.answered.iter().map(|rows| rows.to_native())
    }

    /// Returns the records that matched, by ascending position.
    pub fn hits(&self) -> &'a [HitRow] {
        self.hits
    }

    /// Returns the records that matched, each with the rest of its digest if the key was a prefix (else with an empty
    /// slice): the hit belongs to the key only if the rest of the key's digest is equal to it.
    ///
    /// `requested` are the columns of the request. Fails with [`WireError::Mismatch`] when the answer has a different
    /// number of columns, or not as many suffix bytes as its hits need.
    ///
    /// ```
    /// use ksn::{batch::Column, wire::{AnswerView, WireError}};
    ///
    /// /// Counts the listed SHA-256 digests, of which the first eight bytes each were requested.
    /// fn listed(requested: &Column<'_>, whole: &[[u8; 32]], answer: &AnswerView<'_>) -> Result<usize, WireError> {
    ///     let rest = |row: u32| whole.get(row as usize).map(|digest| &digest[8..]);
    ///     let candidates = answer.candidates(&[*requested])?;
    ///     Ok(candidates.filter(|&(hit, suffix)| rest(hit.position().row) == Some(suffix)).count())
    /// }
    /// ```
    pub fn candidates(
        &self,
        requested: &[Column<'_>],
    ) -> Result<impl ExactSizeIterator<Item = (&'a HitRow, &'a [u8])> + use<'a>, WireError> {
        let mismatch = |field, expected: usize, found: usize| WireError::Mismatch {
            field,
            expected: expected as u64,
            found: found as u64,
        };
        if requested.len() != self.answered.len() {
            return Err(mismatch("columns of an answer", requested.len(), self.answered.len()));
        }
        // Hits ascend by column, so that the end of each column is found by binary search.
        let (mut runs, mut start, mut bytes) = (Vec::new(), 0, 0);
        for (number, column) in (0..).zip(requested) {
            let end = start + self.hits[start..].partition_point(|hit| hit.column.to_native() <= number);
            if end > start {
                runs.push((end, column.suffix_width()));
            }
            bytes += (end - start) * column.suffix_width();
            start = end;
        }
        if bytes != self.suffixes.len() {
            return Err(mismatch(SUFFIXES, bytes, self.suffixes.len()));
        }
        let (mut runs, mut suffixes) = (runs.into_iter(), self.suffixes);
        let (mut end, mut width) = (0, 0);
        Ok(self.hits.iter().enumerate().map(move |(at, hit)| {
            if at == end {
                (end, width) = runs.next().unwrap_or_default();
            }
            let (suffix, rest) = suffixes.split_at(width);
            suffixes = rest;
            (hit, suffix)
        }))
    }

    /// Returns the keys and columns without an answer.
    pub fn unanswered(&self) -> &'a [UnansweredRow] {
        self.unanswered
    }

    /// Returns the text at an index; empty when the index is out of range.
    pub fn text(&self, number: u32) -> &'a str {
        raw::text(&self.texts, number as usize)
    }

    /// Returns the number of texts.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }
}

fn check_hits(hits: &[HitRow], columns: usize, texts: usize) -> Result<(), WireError> {
    let mut last = Position { column: 0, row: 0 };
    for (at, hit) in hits.iter().enumerate() {
        let position = hit.position();
        if position < last {
            return Err(WireError::Order { field: "hits", at: at as u64 });
        }
        last = position;
        below("column of a hit", columns, u32::from(position.column))?;
        for number in [hit.name, hit.source, hit.matched] {
            below("text of a hit", texts, number.to_native())?;
        }
        if RecordType::from_number(hit.record_type).is_none() {
            let found = u64::from(hit.record_type);
            return Err(WireError::Number { field: "record type", expected: "a number from 1 to 11", found });
        }
        if hit.scope != 0 && hit.scope().is_none() {
            let found = u64::from(hit.scope);
            return Err(WireError::Number { field: "scope", expected: "a number from 0 to 4", found });
        }
    }
    Ok(())
}

fn check_unanswered(unanswered: &[UnansweredRow], columns: usize) -> Result<(), WireError> {
    let position = |row: &UnansweredRow| Position { column: row.column(), row: row.row.to_native() };
    for (at, row) in unanswered.iter().enumerate() {
        below("column of an unanswered row", columns, u32::from(row.column()))?;
        if at > 0 && position(&unanswered[at - 1]) >= position(row) {
            return Err(WireError::Order { field: "unanswered rows", at: at as u64 });
        }
    }
    Ok(())
}

fn below(field: &'static str, bound: usize, found: u32) -> Result<(), WireError> {
    if (found as usize) < bound {
        return Ok(());
    }
    Err(WireError::TooMuch { field, max: (bound as u64).saturating_sub(1), found: u64::from(found) })
}

pub(super) const WHOLE_COLUMN: u32 = u32::MAX;
pub(super) const TRUNCATED: u16 = 1;
pub(super) const LIST_CUT: u16 = 1;
pub(super) const CANDIDATES_CUT: u16 = 2;
const SUFFIXES: &str = "suffixes";
