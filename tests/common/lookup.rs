//! Queries a view as its callers do: by columns, with a sink that may be full at any row.

use std::ops::{ControlFlow, Range};

use ksn::{
    Key, WebAddress,
    batch::{Column, Detail, Hit, Position, Sink, Texts, Unanswered},
    engine::View,
    key::{KeyKind, PrefixWidth},
    record::RecordSink as _,
    snapshot::{BuiltSnapshot, SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
};
use sha2::{Digest as _, Sha256};
use zerocopy::little_endian::U32;

use super::naive::{Answer, Matched, Row};

/// Builds a snapshot of these rows, added in this order.
pub(crate) fn build<'a>(rows: impl IntoIterator<Item = &'a Row>) -> BuiltSnapshot {
    let mut builder = SnapshotBuilder::new();
    for (row, input) in rows.into_iter().zip(0..) {
        builder.add(input % 7, row.entry());
    }
    let info = SnapshotInfo {
        dataset: "made-up".into(),
        generation: 7,
        created: Timestamp::from_seconds(1_000_000_000).unwrap(),
        compiled_with: [("list".to_owned(), "3".to_owned())].into(),
    };
    builder.finish(&info).expect("a few rows fit")
}

/// Keys of one kind, stored as a column.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    bytes: Vec<u8>,
    ends: Vec<U32>,
    prefix: Option<PrefixWidth>,
}

impl Keys {
    /// Creates a column of whole keys.
    ///
    /// # Panics
    ///
    /// Panics if a key is of another kind.
    pub(crate) fn new<'a>(kind: KeyKind, keys: impl IntoIterator<Item = &'a Key>) -> Self {
        let mut column = Self::default();
        for key in keys {
            assert_eq!(key.kind(), kind);
            match key {
                Key::Digest(digest) => column.bytes.extend_from_slice(digest.bytes()),
                Key::Web(address) => column.push_text(address.as_str().as_bytes()),
                Key::Ipv4(address) => column.bytes.extend_from_slice(&address.octets()),
            }
        }
        column
    }

    /// Creates a column of the first bytes of digests.
    ///
    /// # Panics
    ///
    /// Panics if a key is not a digest.
    pub(crate) fn prefixes<'a>(width: PrefixWidth, keys: impl IntoIterator<Item = &'a Key>) -> Self {
        let mut column = Self { prefix: Some(width), ..Self::default() };
        for key in keys {
            let Key::Digest(digest) = key else { panic!("{key} has no prefix") };
            column.bytes.extend_from_slice(&digest.bytes()[..width.bytes()]);
        }
        column
    }

    /// Creates a column of the first bytes of the SHA-256 of expressions.
    pub(crate) fn expressions<'a>(width: PrefixWidth, texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut column = Self { prefix: Some(width), ..Self::default() };
        for text in texts {
            column.bytes.extend_from_slice(&Sha256::digest(text)[..width.bytes()]);
        }
        column
    }

    pub(crate) fn push_text(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push((self.bytes.len() as u32).into());
    }

    pub(crate) fn column(&self, kind: KeyKind) -> Column<'_> {
        match (kind, self.prefix) {
            (KeyKind::Digest(kind), None) => Column::Digests { kind, bytes: &self.bytes },
            (KeyKind::Digest(kind), Some(width)) => Column::Prefixes { kind, width, bytes: &self.bytes },
            (KeyKind::Web, Some(width)) => Column::WebPrefixes { width, bytes: &self.bytes },
            (KeyKind::Web, None) => Column::Web(Texts::new(&self.ends, &self.bytes).expect("ends ascend")),
            (KeyKind::Ipv4, _) => Column::Ipv4(self.bytes.as_chunks().0),
        }
    }
}

/// The answers of a view to every row of a range.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) hits: Vec<Vec<Answer>>,
    pub(crate) unanswered: Vec<Option<Unanswered>>,
}

/// Groups the hits of one prefix by digest (and scope) and sorts the groups, whatever their order in the answer.
pub(crate) fn by_digest(hits: &[Answer]) -> Vec<Vec<Answer>> {
    let mut candidates: Vec<Vec<Answer>> =
        hits.chunk_by(|a, b| a.matched == b.matched).map(<[Answer]>::to_vec).collect();
    candidates.sort_by_key(|answers| match &answers[0].matched {
        Matched::Suffix(suffix) => (suffix.clone(), None),
        Matched::WebSuffix(scope, suffix) => (suffix.clone(), Some(*scope)),
        other => panic!("{other:?} is not a suffix"),
    });
    candidates
}

/// Returns every text that an address can match, each once.
pub(crate) fn texts(address: &WebAddress) -> Vec<&str> {
    let mut texts = Vec::new();
    address.parts().for_each_text(|_, text| texts.push(std::str::from_utf8(text).expect("it is ASCII")));
    texts
}

/// Looks up a range of rows. The sink is full after `room[0]` calls, after `room[1]` more when the lookup is resumed,
/// and so on; after the last of `room` it accepts all calls.
pub(crate) fn lookup(
    view: &View,
    column: &Column<'_>,
    rows: Range<u32>,
    detail: Detail,
    now: Timestamp,
    room: &[usize],
) -> Answers {
    let number = 5;
    let answered = rows.start as usize..(rows.end as usize).min(column.rows()).max(rows.start as usize);
    let mut sink = Collect {
        number,
        first: rows.start,
        room: usize::MAX,
        refused: None,
        answers: Answers { hits: vec![Vec::new(); answered.len()], unanswered: vec![None; answered.len()] },
    };
    let mut room = room.iter();
    let mut start = rows.start;
    loop {
        sink.room = room.next().copied().unwrap_or(usize::MAX);
        sink.refused = None;
        match view.answer(number, column, start..rows.end, detail, now, &mut sink) {
            ControlFlow::Continue(()) => {
                assert_eq!(sink.refused, None, "the view ignored that the sink was full");
                return sink.answers;
            }
            ControlFlow::Break(row) => {
                assert_eq!(sink.refused, Some(row), "the view must stop at the row that the sink refused");
                assert!(start <= row && row < rows.end);
                // The sink did not take all of its hits: the row counts as not answered.
                let offset = (row - rows.start) as usize;
                sink.answers.hits[offset].clear();
                assert!(sink.answers.hits[offset + 1..].iter().all(Vec::is_empty));
                start = row;
            }
        }
    }
}

struct Collect {
    number: u16,
    first: u32,
    room: usize,
    refused: Option<u32>,
    answers: Answers,
}

impl Collect {
    fn take(&mut self, at: Position) -> ControlFlow<(), usize> {
        assert_eq!(at.column, self.number);
        assert_eq!(self.refused, None, "the view continued after the sink was full");
        if self.room == 0 {
            self.refused = Some(at.row);
            return ControlFlow::Break(());
        }
        self.room -= 1;
        ControlFlow::Continue((at.row - self.first) as usize)
    }
}

impl Sink for Collect {
    fn hit(&mut self, at: Position, hit: &Hit<'_>) -> ControlFlow<()> {
        let offset = self.take(at)?;
        self.answers.hits[offset].push(Answer {
            id: hit.id,
            record_type: hit.record_type,
            name: hit.name.into(),
            source: hit.source.into(),
            timestamp: hit.timestamp,
            expiry: hit.expiry,
            port: hit.port,
            matched: match hit.matched {
                ksn::batch::Matched::Digest => Matched::Digest,
                ksn::batch::Matched::Suffix(suffix) => Matched::Suffix(suffix.into()),
                ksn::batch::Matched::WebSuffix(scope, suffix) => Matched::WebSuffix(scope, suffix.into()),
                ksn::batch::Matched::Web(scope, text) => Matched::Web(scope, String::from_utf8(text.into()).unwrap()),
                ksn::batch::Matched::Block(block) => Matched::Block(block.first(), block.last()),
            },
        });
        ControlFlow::Continue(())
    }

    fn unanswered(&mut self, at: Position, unanswered: Unanswered) -> ControlFlow<()> {
        let offset = self.take(at)?;
        self.answers.unanswered[offset] = Some(unanswered);
        ControlFlow::Continue(())
    }
}
