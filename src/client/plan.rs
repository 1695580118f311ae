//! A list of keys as batches that a server accepts, and its answers back in the order of the list.

use std::sync::Arc;

use zerocopy::little_endian::U32;

use crate::{
    answer::{Answer, Origin, Record, Status},
    batch::{Column, Texts},
    key::{DigestKind, Key, KeyKind},
    wire::{AnswerView, HitRow, ServerLimits, WireError, request_bytes},
};

/// Some of a list of keys, by kind.
#[derive(Debug, Default)]
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
            Key::Digest(digest) => digest.bytes().len(),
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
    content: Content,
}

#[derive(Debug)]
enum Content {
    Digests(DigestKind, Vec<u8>),
    Web(Vec<U32>, Vec<u8>),
    Ipv4(Vec<[u8; 4]>),
}

impl Batch {
    /// The columns as a request has them.
    pub(super) fn columns(&self) -> Vec<Column<'_>> {
        self.columns.iter().map(BatchColumn::column).collect()
    }

    /// The kinds of its keys.
    pub(super) fn kinds(&self) -> impl Iterator<Item = KeyKind> {
        self.columns.iter().map(|column| column.column().kind())
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
        let index = match self.columns.iter().position(|column| column.column().kind() == kind) {
            Some(index) => index,
            None => {
                self.columns.push(BatchColumn::new(kind));
                self.columns.len() - 1
            }
        };
        let column = &mut self.columns[index];
        column.keys.push(at);
        match (&mut column.content, key) {
            (Content::Digests(_, bytes), Key::Digest(digest)) => bytes.extend_from_slice(digest.bytes()),
            (Content::Ipv4(addresses), Key::Ipv4(address)) => addresses.push(address.octets()),
            (Content::Web(ends, bytes), Key::Web(address)) => {
                bytes.extend_from_slice(address.as_str().as_bytes());
                ends.push(U32::new(bytes.len() as u32));
            }
            _ => debug_assert!(false, "the column was found by the kind of the key"),
        }
    }
}

impl BatchColumn {
    fn new(kind: KeyKind) -> Self {
        let content = match kind {
            KeyKind::Digest(kind) => Content::Digests(kind, Vec::new()),
            KeyKind::Web => Content::Web(Vec::new(), Vec::new()),
            KeyKind::Ipv4 => Content::Ipv4(Vec::new()),
        };
        Self { keys: Vec::new(), content }
    }

    fn column(&self) -> Column<'_> {
        match &self.content {
            Content::Digests(kind, bytes) => Column::Digests { kind: *kind, bytes },
            Content::Web(ends, bytes) => Column::Web(Texts::new(ends, bytes).unwrap_or_default()),
            Content::Ipv4(addresses) => Column::Ipv4(addresses),
        }
    }
}

/// Takes a list apart, batch by batch.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    keys: &'a [Key],
    next: usize,
    limits: ServerLimits,
}

impl<'a> Planner<'a> {
    pub(super) fn new(keys: &'a [Key], limits: ServerLimits) -> Self {
        Self { keys, next: 0, limits }
    }

    /// The batch of some keys of the list, which have been in one batch before.
    pub(super) fn again(&self, keys: &[u32]) -> Batch {
        let mut batch = Batch::default();
        keys.iter().for_each(|&at| batch.push(at, &self.keys[at as usize]));
        batch
    }
}

impl Iterator for Planner<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
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
    for hit in view.hits() {
        let position = hit.position();
        let column = usize::from(position.column);
        let rows = answered[column];
        if position.row >= rows {
            return Err(PlaceError::Row { column, row: position.row, rows });
        }
        let answer = &mut answers[batch.columns[column].keys[position.row as usize] as usize];
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
        batch::{Exception, Position, Sink},
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
            for batch in Planner::new(&keys, limits) {
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
        let asked: usize = Planner::new(&keys, limits).flat_map(|b| b.columns).map(|c| c.keys.len()).sum();
        assert_eq!(asked, 20);
    }

    #[test]
    fn answers_that_do_not_fit_the_request_are_refused() {
        let keys = keys();
        let batch = Planner::new(&keys, ServerLimits::default()).next().unwrap();
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
}
