//! What is known of a batch of keys, as one frame.

use std::{io::Write, ops::ControlFlow};

use rend::unaligned::{u16_ule, u32_ule, u64_ule};
use zerocopy::IntoBytes;

use super::{
    FrameKind, HEADER_BYTES, Header, WireError,
    intern::{Interner, NumberClass},
    raw,
};
use crate::{
    batch::{Exception, Hit, Matched, Position, Sink, Texts},
    key::Scope,
    limits::{ANSWER_BYTES_MAX, ANSWER_TEXT_BYTES_MAX, DATASET_BYTES_MAX, RECORDS_PER_KEY_MAX},
    record::RecordType,
    timestamp::Timestamp,
};

raw::layout! {
    struct AnswerHead: 80 {
        dataset: [u8; DATASET_BYTES_MAX],
        generation: u64_ule,
        sequence: u64_ule,
        positive_ttl_s: u32_ule,
        negative_ttl_s: u32_ule,
        hits: u32_ule,
        exceptions: u32_ule,
        texts: u32_ule,
        text_bytes: u32_ule,
        columns: u16_ule,
        flags: u16_ule,
        reserved: u32_ule,
    }
}

raw::layout! {
    /// One record of one key.
    pub struct HitRow: 40 {
        row: u32_ule,
        column: u16_ule,
        record_type: u8,
        scope: u8,
        name: u32_ule,
        source: u32_ule,
        matched: u32_ule,
        port: u16_ule,
        flags: u16_ule,
        id: u64_ule,
        timestamp: u32_ule,
        expiry: u32_ule,
    }
}

raw::layout! {
    /// Why one key, or a column, has no answer.
    pub struct ExceptionRow: 8 {
        row: u32_ule,
        column: u16_ule,
        code: u16_ule,
    }
}

impl HitRow {
    /// Which key.
    pub fn position(&self) -> Position {
        Position { column: self.column.to_native(), row: self.row.to_native() }
    }

    /// What the record says.
    pub fn record_type(&self) -> RecordType {
        // `AnswerView::parse` has refused every other number.
        RecordType::from_number(self.record_type).unwrap_or(RecordType::Other)
    }

    /// How the record matched a web address.
    pub fn scope(&self) -> Option<Scope> {
        Scope::from_number(self.scope)
    }

    /// The record's ID, unique within its source.
    pub fn id(&self) -> u64 {
        self.id.to_native()
    }

    /// The port that the feed gave.
    pub fn port(&self) -> Option<u16> {
        Some(self.port.to_native()).filter(|&port| port != 0)
    }

    /// When the record was made or last changed.
    pub fn timestamp(&self) -> Option<Timestamp> {
        Timestamp::from_seconds(self.timestamp.to_native())
    }

    /// When it stops counting.
    pub fn expiry(&self) -> Option<Timestamp> {
        Timestamp::from_seconds(self.expiry.to_native())
    }

    /// Whether this is the last of its key's records here, and there are more.
    pub fn is_cut(&self) -> bool {
        self.flags.to_native() & LIST_CUT != 0
    }

    /// The number of the detection name in the texts of the answer.
    pub fn name_text(&self) -> u32 {
        self.name.to_native()
    }

    /// The number of the source in the texts of the answer.
    pub fn source_text(&self) -> u32 {
        self.source.to_native()
    }

    /// The number of what matched in the texts of the answer.
    pub fn matched_text(&self) -> u32 {
        self.matched.to_native()
    }
}

impl ExceptionRow {
    /// The column.
    pub fn column(&self) -> u16 {
        self.column.to_native()
    }

    /// The row; `None` for the whole column.
    pub fn row(&self) -> Option<u32> {
        Some(self.row.to_native()).filter(|&row| row != WHOLE_COLUMN)
    }

    /// Why. A number that a later version added is taken for [`Exception::Unsupported`].
    pub fn exception(&self) -> Exception {
        Exception::from_number(self.code.to_native()).unwrap_or(Exception::Unsupported)
    }
}

/// Where an answer comes from, and how long it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerMeta<'a> {
    /// The dataset.
    pub dataset: &'a str,
    /// Its generation.
    pub generation: u64,
    /// The sequence within that generation.
    pub sequence: u64,
    /// Seconds for which an answer with a record may be kept.
    pub positive_ttl_s: u32,
    /// Seconds for which an answer without one may be kept.
    pub negative_ttl_s: u32,
}

/// How long an answer may grow before it is truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerCaps {
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Bytes of all texts.
    pub text_bytes: usize,
    /// Records of one key.
    pub records_per_key: usize,
}

/// Those of [`limits`](crate::limits).
impl Default for AnswerCaps {
    fn default() -> Self {
        Self { body_bytes: ANSWER_BYTES_MAX, text_bytes: ANSWER_TEXT_BYTES_MAX, records_per_key: RECORDS_PER_KEY_MAX }
    }
}

/// Writes one answer after the other. Hits go straight into the frame; the tables are kept, so that a batch allocates
/// its frame and nothing for a key.
///
/// The first key with something to say always fits, if need be with its list of records cut, so that asking the rest
/// of a truncated answer again comes to an end.
#[derive(Debug)]
pub struct AnswerWriter {
    caps: AnswerCaps,
    frame: Vec<u8>,
    columns: usize,
    exceptions: Vec<ExceptionRow>,
    texts: Interner,
    matched: Vec<u8>,
    /// The key of the last hit, how many records it has, and where its first lies.
    last: Option<(Position, usize, usize)>,
    /// Whether the list of that key has been cut.
    cut: bool,
    hits: usize,
    truncated: bool,
}

impl AnswerWriter {
    /// A writer of answers within such bounds.
    pub fn new(caps: AnswerCaps) -> Self {
        let mut writer = Self {
            caps,
            frame: Vec::new(),
            columns: 0,
            exceptions: Vec::new(),
            texts: Interner::new(),
            matched: Vec::new(),
            last: None,
            cut: false,
            hits: 0,
            truncated: false,
        };
        writer.begin(0);
        writer
    }

    /// Starts the answer to a request with so many columns.
    pub fn begin(&mut self, columns: u16) {
        self.columns = usize::from(columns);
        self.frame.clear();
        self.frame.resize(HITS_AT + 4 * self.columns, 0);
        self.exceptions.clear();
        self.texts.clear();
        self.last = None;
        self.hits = 0;
        self.truncated = false;
    }

    /// Says how many rows of a column are answered, from row 0. Columns that are not mentioned have none.
    ///
    /// # Panics
    ///
    /// When there is no such column.
    pub fn answered(&mut self, column: u16, rows: u32) {
        assert!(usize::from(column) < self.columns, "column {column} of {}", self.columns);
        let at = HITS_AT + 4 * usize::from(column);
        self.frame[at..at + 4].copy_from_slice(&rows.to_le_bytes());
    }

    /// Says that a whole column has no answer. `Break` when there is no room.
    pub fn except_column(&mut self, column: u16, exception: Exception) -> ControlFlow<()> {
        self.push_exception(column, WHOLE_COLUMN, exception)
    }

    /// Whether something found no room.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The whole frame. The writer is ready for [`begin`](Self::begin).
    pub fn finish(&mut self, meta: &AnswerMeta<'_>) -> Vec<u8> {
        let head = AnswerHead {
            dataset: raw::dataset_field(meta.dataset),
            generation: meta.generation.into(),
            sequence: meta.sequence.into(),
            positive_ttl_s: meta.positive_ttl_s.into(),
            negative_ttl_s: meta.negative_ttl_s.into(),
            hits: (self.hits as u32).into(),
            exceptions: (self.exceptions.len() as u32).into(),
            texts: (self.texts.ends().len() as u32).into(),
            text_bytes: (self.texts.bytes().len() as u32).into(),
            columns: (self.columns as u16).into(),
            flags: (if self.truncated { TRUNCATED } else { 0 }).into(),
            reserved: 0.into(),
        };
        let mut frame = std::mem::take(&mut self.frame);
        frame[HEADER_BYTES..HITS_AT].copy_from_slice(head.as_bytes());
        frame.extend_from_slice(self.exceptions.as_bytes());
        frame.extend_from_slice(self.texts.ends().as_bytes());
        frame.extend_from_slice(self.texts.bytes());
        Header::fill(&mut frame, FrameKind::Answer, size_of::<AnswerHead>());
        frame
    }

    /// The bytes of the body with `more` still to come.
    fn body_bytes(&self, more: usize) -> usize {
        self.frame.len() - HEADER_BYTES
            + self.exceptions.len() * size_of::<ExceptionRow>()
            + self.texts.ends().len() * 4
            + self.texts.bytes().len()
            + more
    }

    fn push_exception(&mut self, column: u16, row: u32, exception: Exception) -> ControlFlow<()> {
        let nothing_yet = self.hits == 0 && self.exceptions.is_empty();
        if !nothing_yet && self.body_bytes(size_of::<ExceptionRow>()) > self.caps.body_bytes {
            self.truncated = true;
            return ControlFlow::Break(());
        }
        self.exceptions.push(ExceptionRow { row: row.into(), column: column.into(), code: (exception as u16).into() });
        ControlFlow::Continue(())
    }

    /// Flags the last hit.
    fn cut_list(&mut self) {
        self.cut = true;
        let at = self.frame.len() - size_of::<HitRow>() + HIT_FLAGS_AT;
        self.frame[at..at + 2].copy_from_slice(&LIST_CUT.to_le_bytes());
    }
}

impl Sink for AnswerWriter {
    fn hit(&mut self, at: Position, hit: &Hit<'_>) -> ControlFlow<()> {
        let (count, first_at) = match self.last {
            Some((last, count, first_at)) if last == at => (count, first_at),
            _ => (0, self.frame.len()),
        };
        self.cut &= count > 0;
        if self.cut {
            return ControlFlow::Continue(());
        }
        if count >= self.caps.records_per_key.max(1) {
            self.cut_list();
            return ControlFlow::Continue(());
        }
        let scope = match hit.matched {
            Matched::Web(scope, _) => scope as u8,
            Matched::Digest | Matched::Block(_) => 0,
        };
        self.matched.clear();
        match hit.matched {
            Matched::Digest => {}
            Matched::Web(_, expression) => self.matched.extend_from_slice(expression),
            // Writing to a vector does not fail.
            Matched::Block(block) => drop(write!(self.matched, "{block}")),
        }
        // Counted as if no text were there yet: exact enough for a cap, and nothing has to be taken back.
        let text_bytes = hit.name.len() + hit.source.len() + self.matched.len();
        let full = self.body_bytes(size_of::<HitRow>() + 3 * 4 + text_bytes) > self.caps.body_bytes
            || self.texts.bytes().len() + text_bytes > self.caps.text_bytes;
        if full {
            let first_key = self.hits == count && self.exceptions.is_empty();
            if !first_key {
                // The key counts as not answered: what it has is taken back, but for its texts.
                self.frame.truncate(first_at);
                self.hits -= count;
                self.last = None;
                self.truncated = true;
                return ControlFlow::Break(());
            }
            if count > 0 {
                self.cut_list();
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
            matched: self.texts.by_text(&self.matched).into(),
            port: hit.port.unwrap_or(0).into(),
            flags: 0.into(),
            id: hit.id.into(),
            timestamp: Timestamp::to_field(hit.timestamp).into(),
            expiry: Timestamp::to_field(hit.expiry).into(),
        };
        raw::push(&mut self.frame, &row);
        self.hits += 1;
        self.last = Some((at, count + 1, first_at));
        ControlFlow::Continue(())
    }

    fn exception(&mut self, at: Position, exception: Exception) -> ControlFlow<()> {
        self.push_exception(at.column, at.row, exception)
    }
}

/// An answer that has been checked.
///
/// What is not checked, because only the one who asked knows it: that the columns are those of the request, and that
/// rows lie in them.
#[derive(Clone, Copy, Debug)]
pub struct AnswerView<'a> {
    head: &'a AnswerHead,
    dataset: &'a str,
    answered: &'a [u32_ule],
    hits: &'a [HitRow],
    exceptions: &'a [ExceptionRow],
    texts: Texts<'a>,
}

impl<'a> AnswerView<'a> {
    /// Reads the body of a frame.
    pub fn parse(header: &Header, body: &'a [u8]) -> Result<Self, WireError> {
        let head: &AnswerHead = header.head(FrameKind::Answer, body, "answer head")?;
        let mut rest = header.behind_head(body)?;
        let columns = usize::from(head.columns.to_native());
        let answered = raw::rows(&mut rest, columns, "answered rows")?;
        let hits: &[HitRow] = raw::rows(&mut rest, head.hits.to_native() as usize, "hits")?;
        let exceptions: &[ExceptionRow] = raw::rows(&mut rest, head.exceptions.to_native() as usize, "exceptions")?;
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
        check_exceptions(exceptions, columns)?;
        Ok(Self { head, dataset: raw::dataset_name(&head.dataset)?, answered, hits, exceptions, texts })
    }

    /// Where the answer comes from, and how long it holds.
    pub fn meta(&self) -> AnswerMeta<'a> {
        AnswerMeta {
            dataset: self.dataset,
            generation: self.head.generation.to_native(),
            sequence: self.head.sequence.to_native(),
            positive_ttl_s: self.head.positive_ttl_s.to_native(),
            negative_ttl_s: self.head.negative_ttl_s.to_native(),
        }
    }

    /// Whether rows were left out because the answer would have grown too long.
    pub fn is_truncated(&self) -> bool {
        self.head.flags.to_native() & TRUNCATED != 0
    }

    /// How many rows of each column are answered, from row 0.
    pub fn answered(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.answered.iter().map(|rows| rows.to_native())
    }

    /// The records that matched, by ascending position.
    pub fn hits(&self) -> &'a [HitRow] {
        self.hits
    }

    /// The keys and columns without an answer.
    pub fn exceptions(&self) -> &'a [ExceptionRow] {
        self.exceptions
    }

    /// A text; empty for a number that there is not.
    pub fn text(&self, number: u32) -> &'a str {
        raw::text(&self.texts, number as usize)
    }

    /// How many texts there are.
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

fn check_exceptions(exceptions: &[ExceptionRow], columns: usize) -> Result<(), WireError> {
    let position = |row: &ExceptionRow| Position { column: row.column(), row: row.row.to_native() };
    for (at, row) in exceptions.iter().enumerate() {
        below("column of an exception", columns, u32::from(row.column()))?;
        if at > 0 && position(&exceptions[at - 1]) >= position(row) {
            return Err(WireError::Order { field: "exceptions", at: at as u64 });
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

const HITS_AT: usize = HEADER_BYTES + size_of::<AnswerHead>();
const HIT_FLAGS_AT: usize = std::mem::offset_of!(HitRow, flags);
const WHOLE_COLUMN: u32 = u32::MAX;
const TRUNCATED: u16 = 1;
const LIST_CUT: u16 = 1;
