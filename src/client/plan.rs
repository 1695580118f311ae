//! A list of keys as batches that a server accepts, and its answers back in the order of the list.

use std::sync::Arc;

use crate::{
    answer::{Answer, Origin, Record, Status},
    batch::{Column, ColumnBuf},
    key::{DigestKind, Key, KeyKind, PrefixWidth},
    wire::{AnswerView, HitRow, ServerLimits, WireError, request_bytes},
};

/// Some of a list of keys, by kind.
#[derive(Debug)]
pub(super) struct Batch {
    columns: Vec<BatchColumn>,
    load: Load,
}

/// What keys weigh against the limits of a server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    keys: usize,
    cost: u64,
    /// Bytes of keys and columns.
    bytes: usize,
    /// The kinds, a bit each.
    kinds: u16,
    /// How many bytes of a digest are asked, if not all.
    prefix: Option<PrefixWidth>,
}

impl Load {
    /// The same with some keys more.
    pub(super) fn with<'k>(mut self, keys: impl IntoIterator<Item = &'k Key>) -> Self {
        keys.into_iter().for_each(|key| self.add(key));
        self
    }

    fn add(&mut self, key: &Key) {
        let kind = 1 << key.kind().number();
        self.bytes += if self.kinds & kind == 0 { COLUMN_BYTES } else { 0 };
        self.kinds |= kind;
        self.keys += 1;
        self.cost += key.kind().cost();
        self.bytes += match key {
            Key::Digest(digest) => self.prefix.map_or(digest.bytes().len(), PrefixWidth::bytes),
            Key::Ipv4(_) => 4,
            Key::Web(address) => 4 + address.as_str().len(),
        };
    }

    pub(super) fn is_within(&self, limits: &ServerLimits) -> bool {
        self.keys <= limits.keys as usize
            && self.cost <= limits.cost
            && request_bytes(&[]) + self.bytes <= limits.request_bytes as usize
            && self.kinds.count_ones() <= limits.columns.into()
    }
}

/// Whether a server accepts a key at all.
pub(super) fn is_askable(key: &Key, limits: &ServerLimits) -> bool {
    let short = match key {
        Key::Web(address) => address.as_str().len() <= limits.address_bytes as usize,
        Key::Digest(_) | Key::Ipv4(_) => true,
    };
    short && Load::default().with([key]).is_within(limits)
}

/// The keys of one kind.
#[derive(Debug)]
struct BatchColumn {
    /// Where each stands in the list.
    keys: Vec<u32>,
    /// All of them, whole.
    whole: ColumnBuf,
    /// What is asked of digests, where that is not the whole.
    prefixes: Option<Prefixes>,
}

#[derive(Debug)]
struct Prefixes {
    kind: DigestKind,
    width: PrefixWidth,
    bytes: Vec<u8>,
}

impl Batch {
    /// A batch without keys. Those that are digests will be asked by so many bytes, if not whole.
    pub(super) fn new(prefix: Option<PrefixWidth>) -> Self {
        Self { columns: Vec::new(), load: Load { prefix, ..Load::default() } }
    }

    /// The columns as a request has them.
    pub(super) fn columns(&self) -> Vec<Column<'_>> {
        self.columns.iter().map(BatchColumn::column).collect()
    }

    /// The kinds of its keys.
    pub(super) fn kinds(&self) -> impl Iterator<Item = KeyKind> {
        self.columns.iter().map(|column| column.whole.kind())
    }

    /// How many keys.
    pub(super) fn len(&self) -> usize {
        self.load.keys
    }

    pub(super) fn load(&self) -> Load {
        self.load
    }

    /// Adds a key that stands at a place of its list.
    pub(super) fn push(&mut self, at: u32, key: &Key) {
        self.load.add(key);
        let kind = key.kind();
        let index = match self.columns.iter().position(|column| column.whole.kind() == kind) {
            Some(index) => index,
            None => {
                self.columns.push(BatchColumn::new(kind, self.load.prefix));
                self.columns.len() - 1
            }
        };
        let column = &mut self.columns[index];
        column.keys.push(at);
        column.whole.push(key);
        if let (Some(prefixes), Key::Digest(digest)) = (&mut column.prefixes, key) {
            prefixes.bytes.extend_from_slice(&digest.bytes()[..prefixes.width.bytes()]);
        }
    }
}

impl BatchColumn {
    fn new(kind: KeyKind, prefix: Option<PrefixWidth>) -> Self {
        let prefixes = match (kind, prefix) {
            (KeyKind::Digest(kind), Some(width)) => Some(Prefixes { kind, width, bytes: Vec::new() }),
            _ => None,
        };
        Self { keys: Vec::new(), whole: ColumnBuf::new(kind), prefixes }
    }

    fn column(&self) -> Column<'_> {
        match &self.prefixes {
            Some(Prefixes { kind, width, bytes }) => Column::Prefixes { kind: *kind, width: *width, bytes },
            None => self.whole.column(),
        }
    }

    /// How the digest of a row goes on behind its prefix; `None` where keys are asked whole.
    fn rest(&self, row: usize) -> Option<&[u8]> {
        match (&self.prefixes, self.whole.column()) {
            (Some(prefixes), Column::Digests { kind, bytes }) => {
                Some(&bytes[row * kind.width()..][prefixes.width.bytes()..kind.width()])
            }
            _ => None,
        }
    }
}

/// Takes a list apart, batch by batch.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    keys: &'a [Key],
    next: usize,
    limits: ServerLimits,
    prefix: Option<PrefixWidth>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(keys: &'a [Key], limits: ServerLimits, prefix: Option<PrefixWidth>) -> Self {
        Self { keys, next: 0, limits, prefix }
    }

    /// The batch of some keys of the list, which have been in one batch before.
    pub(super) fn again(&self, keys: &[u32]) -> Batch {
        let mut batch = Batch::new(self.prefix);
        keys.iter().for_each(|&at| batch.push(at, &self.keys[at as usize]));
        batch
    }
}

impl Iterator for Planner<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let mut batch = Batch::new(self.prefix);
        while let Some(key) = self.keys.get(self.next) {
            if is_askable(key, &self.limits) {
                if !batch.load.with([key]).is_within(&self.limits) {
                    break;
                }
                batch.push(self.next as u32, key);
            }
            self.next += 1;
        }
        (batch.len() > 0).then_some(batch)
    }
}

/// Puts the answers of one frame into their places. What was not answered comes back: the keys to ask again.
///
/// Everything that only the asker knows is checked here: columns, rows, and that the frame came a step further.
pub(super) fn place(view: &AnswerView<'_>, batch: &Batch, answers: &mut [Answer]) -> Result<Vec<u32>, PlaceError> {
    let answered: Vec<u32> = view.answered().collect();
    if answered.len() != batch.columns.len() {
        return Err(PlaceError::Columns { expected: batch.columns.len(), found: answered.len() });
    }
    let generation = view.meta().generation;
    let mut rest = Vec::new();
    for (number, (column, &rows)) in batch.columns.iter().zip(&answered).enumerate() {
        let asked = column.keys.len();
        if rows as usize > asked || ((rows as usize) < asked && !view.is_truncated()) {
            return Err(PlaceError::Rows { column: number, expected: asked, found: rows });
        }
        for &at in &column.keys[..rows as usize] {
            answers[at as usize] = Answer::unknown(Origin::Server, generation);
        }
        rest.extend_from_slice(&column.keys[rows as usize..]);
    }
    if !rest.is_empty() && answered.iter().all(|&rows| rows == 0) {
        return Err(PlaceError::NoProgress);
    }
    let mut texts: Vec<Option<Arc<str>>> = vec![None; view.texts()];
    for (hit, suffix) in view.candidates(&batch.columns())? {
        let position = hit.position();
        let (column, row) = (usize::from(position.column), position.row as usize);
        let rows = answered[column];
        if position.row >= rows {
            return Err(PlaceError::Row { column, row: position.row, rows });
        }
        let column = &batch.columns[column];
        let answer = &mut answers[column.keys[row] as usize];
        if let Some(rest) = column.rest(row) {
            answer.candidates += 1;
            if rest != suffix {
                if hit.is_short_of_candidates() && answer.status == Status::Unknown {
                    // What did not fit may have been the one that was meant.
                    (answer.status, answer.is_cut) = (Status::Error, true);
                }
                continue;
            }
        }
        answer.status = Status::Known;
        answer.is_cut |= hit.is_cut();
        answer.records.push(record(view, hit, &mut texts));
    }
    for exception in view.exceptions() {
        let column = usize::from(exception.column());
        let keys = &batch.columns[column].keys[..answered[column] as usize];
        let told = match exception.row() {
            None => keys,
            Some(row) => {
                let rows = answered[column];
                keys.get(row as usize).map(std::slice::from_ref).ok_or(PlaceError::Row { column, row, rows })?
            }
        };
        for &at in told {
            answers[at as usize] = Answer::exception(exception.exception(), Origin::Server, generation);
        }
    }
    Ok(rest)
}

/// An answer that does not fit what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlaceError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("expected an answer to {expected} columns, found {found}")]
    Columns { expected: usize, found: usize },
    #[error("expected answers to {expected} rows of column {column}, found {found}")]
    Rows { column: usize, expected: usize, found: u32 },
    #[error("expected rows below {rows} in column {column}, found {row}")]
    Row { column: usize, row: u32, rows: u32 },
    #[error("expected a truncated answer to answer something")]
    NoProgress,
}

fn record(view: &AnswerView<'_>, hit: &HitRow, texts: &mut [Option<Arc<str>>]) -> Record {
    let mut text = |number: u32| match texts.get_mut(number as usize) {
        Some(slot) => slot.get_or_insert_with(|| view.text(number).into()).clone(),
        None => Arc::default(),
    };
    Record {
        name: text(hit.name_text()),
        id: hit.id(),
        record_type: hit.record_type(),
        source: text(hit.source_text()),
        timestamp: hit.timestamp(),
        expiry: hit.expiry(),
        matched: Some(hit.matched_text()).filter(|&number| number != 0).map(text),
        scope: hit.scope(),
        port: hit.port(),
    }
}

/// What a column adds to a request besides its keys.
const COLUMN_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        batch::{Exception, Hit, Matched, Position, Sink},
        wire::{AnswerCaps, AnswerMeta, AnswerWriter, Header},
    };

    fn keys() -> Vec<Key> {
        (0..10u8)
            .flat_map(|i| {
                let digest = crate::key::Digest::new(DigestKind::Md5, &[i; 16]).unwrap();
                let web = crate::WebAddress::parse(&format!("host{i}.example/")).unwrap();
                [digest.into(), web.into(), std::net::Ipv4Addr::new(192, 0, 2, i).into()]
            })
            .collect()
    }

    #[test]
    fn batches_keep_to_every_limit_and_lose_no_key() {
        let keys = keys();
        let default = ServerLimits::default();
        for limits in [
            default,
            ServerLimits { keys: 4, ..default },
            ServerLimits { cost: 40, ..default },
            ServerLimits { request_bytes: 128, ..default },
            ServerLimits { columns: 1, ..default },
        ] {
            let mut seen = Vec::new();
            for batch in Planner::new(&keys, limits, None) {
                let columns = batch.columns();
                let cost: u64 = columns.iter().map(|c| c.rows() as u64 * c.kind().cost()).sum();
                let rows: usize = columns.iter().map(Column::rows).sum();
                assert!(rows as u32 <= limits.keys && cost <= limits.cost);
                assert!(columns.len() <= limits.columns.into());
                assert!(request_bytes(&columns) <= limits.request_bytes as usize);
                seen.extend(batch.columns.iter().flat_map(|column| column.keys.clone()));
            }
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..keys.len() as u32));
        }
    }

    #[test]
    fn what_cannot_be_asked_is_left_out() {
        let keys = keys();
        let limits = ServerLimits { address_bytes: 5, ..ServerLimits::default() };
        let asked: usize = Planner::new(&keys, limits, None).flat_map(|b| b.columns).map(|c| c.keys.len()).sum();
        assert_eq!(asked, 20);
    }

    #[test]
    fn answers_that_do_not_fit_the_request_are_refused() {
        let keys = keys();
        let batch = Planner::new(&keys, ServerLimits::default(), None).next().unwrap();
        let mut answers = vec![Answer::unknown(Origin::Server, 0); keys.len()];
        let meta = AnswerMeta { dataset: "d", generation: 1, sequence: 0, positive_ttl_s: 0, negative_ttl_s: 0 };
        let mut placed = |columns: u16, rows: u32, row: u32, truncated: bool| {
            let body_bytes = if truncated { 1 } else { 1 << 20 };
            let mut writer = AnswerWriter::new(AnswerCaps { body_bytes, ..AnswerCaps::default() });
            writer.begin(columns);
            (0..columns).for_each(|column| writer.answered(column, rows));
            let _ = writer.exception(Position { column: 0, row }, Exception::Malformed);
            let _ = writer.exception(Position { column: 0, row: row + 1 }, Exception::Malformed);
            let frame = writer.finish(&meta);
            let (header, body) = Header::split(&frame).unwrap();
            place(&AnswerView::parse(&header, body).unwrap(), &batch, &mut answers)
        };
        assert_eq!(placed(3, 10, 0, false), Ok(vec![]));
        assert_eq!(placed(2, 10, 0, false), Err(PlaceError::Columns { expected: 3, found: 2 }));
        assert_eq!(placed(3, 11, 0, false), Err(PlaceError::Rows { column: 0, expected: 10, found: 11 }));
        assert_eq!(placed(3, 9, 0, false), Err(PlaceError::Rows { column: 0, expected: 10, found: 9 }));
        assert_eq!(placed(3, 10, 9, false), Err(PlaceError::Row { column: 0, row: 10, rows: 10 }));
        assert_eq!(placed(3, 0, 0, true), Err(PlaceError::NoProgress));
        assert_eq!(placed(3, 9, 0, true).map(|rest| rest.len()), Ok(3));
    }

    #[test]
    fn candidates_are_compared_and_those_of_a_liar_refused() {
        let key = Key::from(crate::key::Digest::new(DigestKind::Md5, &[7; 16]).unwrap());
        let mut batch = Batch::new(Some(PrefixWidth::Eight));
        batch.push(0, &key);
        let meta = AnswerMeta { dataset: "d", generation: 1, sequence: 0, positive_ttl_s: 0, negative_ttl_s: 0 };
        let placed = |suffixes: &[&[u8]], caps: AnswerCaps| {
            let mut answers = [Answer::not_asked()];
            let mut writer = AnswerWriter::new(caps);
            writer.begin(1);
            for (id, &suffix) in (0..).zip(suffixes) {
                let matched = if suffix.is_empty() { Matched::Digest } else { Matched::Suffix(suffix) };
                let hit = Hit {
                    id,
                    record_type: crate::record::RecordType::Malware,
                    name: "",
                    name_number: 0,
                    source: "s",
                    source_number: 0,
                    timestamp: None,
                    expiry: None,
                    port: None,
                    matched,
                };
                assert!(writer.hit(Position { column: 0, row: 0 }, &hit).is_continue());
            }
            writer.answered(0, 1);
            let frame = writer.finish(&meta);
            let (header, body) = Header::split(&frame).unwrap();
            place(&AnswerView::parse(&header, body).unwrap(), &batch, &mut answers)?;
            let [answer] = answers;
            let ids: Vec<u64> = answer.records.iter().map(|record| record.id).collect();
            Ok::<_, PlaceError>((answer.status, answer.is_cut, answer.candidates, ids))
        };
        let roomy = AnswerCaps::default();
        let (other, own) = (&[8; 8][..], &[7; 8][..]);
        assert_eq!(placed(&[], roomy), Ok((Status::Unknown, false, 0, vec![])));
        assert_eq!(placed(&[other], roomy), Ok((Status::Unknown, false, 1, vec![])));
        assert_eq!(placed(&[other, own, own], roomy), Ok((Status::Known, false, 3, vec![1, 2])));
        // What was cut may have been the one that was meant.
        let tight = AnswerCaps { body_bytes: 1, ..roomy };
        assert_eq!(placed(&[other, own], tight), Ok((Status::Error, true, 1, vec![])));
        assert_eq!(placed(&[own, other], tight), Ok((Status::Known, true, 1, vec![0])));
        for wrong in [&[][..], &[7; 7], &[7; 9], &[7; 16]] {
            let expected = WireError::Mismatch { field: "suffixes", expected: 8, found: wrong.len() as u64 };
            assert_eq!(placed(&[wrong], roomy), Err(PlaceError::Wire(expected)));
        }
    }
}
