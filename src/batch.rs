//! A batch of keys as borrowed columns, and the sink that receives the answers.
//!
//! Frames from the network and lists of [`Key`]s in process share one engine: it reads columns in place and writes hits
//! one after the other.

use std::ops::{ControlFlow, Range};

use zerocopy::little_endian::U32;

use crate::{
    key::{DigestKind, Ipv4Block, Key, KeyKind, PrefixWidth, Scope},
    limits::{PROBE_COST, web_address_cost},
    record::RecordType,
    timestamp::Timestamp,
};

/// A column of keys of one kind.
#[derive(Clone, Copy, Debug)]
pub enum Column<'a> {
    /// Whole digests of one kind, [`DigestKind::width`] bytes each, without gaps.
    Digests {
        /// The kind of the digests.
        kind: DigestKind,
        /// The bytes of all keys; their number is a multiple of the width.
        bytes: &'a [u8],
    },
    /// The leading bytes of digests of one kind, without gaps: a key matches every digest that starts with it.
    Prefixes {
        /// The kind of the digests.
        kind: DigestKind,
        /// The bytes per key.
        width: PrefixWidth,
        /// The bytes of all keys; their number is a multiple of the width.
        bytes: &'a [u8],
    },
    /// Canonical web addresses.
    Web(Texts<'a>),
    /// The leading bytes of the SHA-256 of expressions of web addresses, without gaps: a key matches every listed
    /// expression, in any scope, of which the SHA-256 of the text starts with it.
    WebPrefixes {
        /// The bytes per key.
        width: PrefixWidth,
        /// The bytes of all keys; their number is a multiple of the width.
        bytes: &'a [u8],
    },
    /// IPv4 addresses in network byte order.
    Ipv4(&'a [[u8; 4]]),
}

impl Column<'_> {
    /// Returns the number of keys.
    pub fn rows(&self) -> usize {
        match self {
            Self::Digests { kind, bytes } => bytes.len() / kind.width(),
            Self::Prefixes { width, bytes, .. } | Self::WebPrefixes { width, bytes } => bytes.len() / width.bytes(),
            Self::Web(texts) => texts.len(),
            Self::Ipv4(addresses) => addresses.len(),
        }
    }

    /// Returns the kind of the keys.
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Digests { kind, .. } | Self::Prefixes { kind, .. } => KeyKind::Digest(*kind),
            Self::Web(_) | Self::WebPrefixes { .. } => KeyKind::Web,
            Self::Ipv4(_) => KeyKind::Ipv4,
        }
    }

    /// Returns the cost of some rows of this column, which counts towards [`BATCH_COST_MAX`](crate::limits::BATCH_COST_MAX):
    /// [`web_address_cost`] for a whole web address, [`PROBE_COST`] for any other key.
    ///
    /// # Panics
    ///
    /// Panics if a row of a column of web addresses is not below [`rows`](Self::rows).
    pub fn cost(&self, rows: Range<usize>) -> u64 {
        match self {
            Self::Web(texts) => rows.map(|row| web_address_cost(texts.get(row).len())).sum(),
            Self::Digests { .. } | Self::Prefixes { .. } | Self::WebPrefixes { .. } | Self::Ipv4(_) => {
                rows.len() as u64 * PROBE_COST
            }
        }
    }

    /// Returns the end of the longest run of rows from `start` that costs at most `cost`; of one row, if that costs
    /// more. Returns the number of rows if none starts at `start`.
    pub fn rows_within(&self, start: usize, cost: u64) -> usize {
        let rows = self.rows();
        let end = match self {
            Self::Web(texts) => {
                let (mut end, mut left) = (start, cost);
                while end < rows
                    && let Some(rest) = left.checked_sub(web_address_cost(texts.get(end).len()))
                {
                    (end, left) = (end + 1, rest);
                }
                end
            }
            Self::Digests { .. } | Self::Prefixes { .. } | Self::WebPrefixes { .. } | Self::Ipv4(_) => {
                usize::try_from(cost / PROBE_COST).map_or(rows, |count| start.saturating_add(count))
            }
        };
        end.max(start.saturating_add(1)).min(rows)
    }

    /// Returns the number of digest bytes that the keys omit, which [`Matched::Suffix`] and [`Matched::WebSuffix`]
    /// contain; 0 for whole keys.
    pub fn suffix_width(&self) -> usize {
        match self {
            Self::Prefixes { kind, width, .. } => kind.width() - width.bytes(),
            Self::WebPrefixes { width, .. } => EXPRESSION_DIGEST_BYTES - width.bytes(),
            Self::Digests { .. } | Self::Web(_) | Self::Ipv4(_) => 0,
        }
    }
}

/// An owned column of whole keys, to which keys are added one by one.
#[derive(Clone, Debug)]
pub struct ColumnBuf {
    kind: KeyKind,
    bytes: Vec<u8>,
    /// The end of each text in bytes, for a kind that has texts.
    ends: Vec<U32>,
}

impl ColumnBuf {
    /// Creates an empty column.
    pub fn new(kind: KeyKind) -> Self {
        Self { kind, bytes: Vec::new(), ends: Vec::new() }
    }

    /// Returns the kind of the keys.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Adds a key.
    ///
    /// # Panics
    ///
    /// Panics if the key is of another kind, or if the texts exceed 4 GiB in total, the range of their ends.
    pub fn push(&mut self, key: &Key) {
        assert_eq!(key.kind(), self.kind, "the kind of a key and of its column");
        match key {
            Key::Digest(digest) => self.bytes.extend_from_slice(digest.bytes()),
            Key::Ipv4(address) => self.bytes.extend_from_slice(&address.octets()),
            Key::Web(address) => {
                self.bytes.extend_from_slice(address.as_str().as_bytes());
                let end = u32::try_from(self.bytes.len()).expect("less than 4 GiB of texts");
                self.ends.push(U32::new(end));
            }
        }
    }

    /// Borrows the keys.
    pub fn column(&self) -> Column<'_> {
        match self.kind {
            KeyKind::Digest(kind) => Column::Digests { kind, bytes: &self.bytes },
            KeyKind::Ipv4 => Column::Ipv4(self.bytes.as_chunks().0),
            KeyKind::Web => Column::Web(Texts { ends: &self.ends, bytes: &self.bytes }),
        }
    }
}

/// Texts of varying length: the end of each, and the concatenated bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Texts<'a> {
    ends: &'a [U32],
    bytes: &'a [u8],
}

impl<'a> Texts<'a> {
    /// Creates texts from the end of each, in bytes and ascending, and the concatenated bytes. Returns `None` when the
    /// ends descend or the last is not the number of bytes.
    pub fn new(ends: &'a [U32], bytes: &'a [u8]) -> Option<Self> {
        let ascending = ends.windows(2).all(|w| w[0].get() <= w[1].get());
        let last = ends.last().map_or(0, |end| end.get() as usize);
        (ascending && last == bytes.len()).then_some(Self { ends, bytes })
    }

    /// Returns the number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are no texts.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the end of each text, in bytes.
    pub fn ends(&self) -> &'a [U32] {
        self.ends
    }

    /// Returns the concatenated bytes of all texts.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the text at an index.
    ///
    /// # Panics
    ///
    /// Panics if `at` is not below [`len`](Self::len).
    pub fn get(&self, at: usize) -> &'a [u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1].get() as usize };
        &self.bytes[start..self.ends[at].get() as usize]
    }
}

/// The position of a key in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The index of the column, from 0 in the order of the request.
    pub column: u16,
    /// The index of the row in the column, from 0.
    pub row: u32,
}

/// One record that matches one key, borrowed from the index.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// The ID of the record, unique within its source.
    pub id: u64,
    /// The type of the record.
    pub record_type: RecordType,
    /// The detection name; empty if there is none.
    pub name: &'a str,
    /// The number of the name in its view: equal numbers mean equal names, so that a frame contains each name once.
    pub name_number: u32,
    /// The name of the feed.
    pub source: &'a str,
    /// The number of the source in its view.
    pub source_number: u16,
    /// The time at which the record was created or last changed.
    pub timestamp: Option<Timestamp>,
    /// The time at which the record expires.
    pub expiry: Option<Timestamp>,
    /// The port that the feed lists.
    pub port: Option<u16>,
    /// The part of the record that matched.
    pub matched: Matched<'a>,
}

/// The part of a record that matched a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched<'a> {
    /// The whole digest.
    Digest,
    /// A digest that starts with the requested prefix; contains the rest of the digest.
    Suffix(&'a [u8]),
    /// An expression, with the scope of its record.
    Web(Scope, &'a [u8]),
    /// An expression of this scope whose SHA-256 starts with the requested prefix; contains the rest of the SHA-256.
    WebSuffix(Scope, &'a [u8]),
    /// A block of IPv4 addresses.
    Block(Ipv4Block),
}

/// The reason why a key is unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Unanswered {
    /// Keys of this kind are not supported.
    Unsupported = 1,
    /// The key is malformed: a web address that is not canonical.
    Malformed = 2,
}

impl Unanswered {
    /// Returns the reason with a number of a frame.
    pub fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Unsupported),
            2 => Some(Self::Malformed),
            _ => None,
        }
    }
}

/// A receiver of answers. A key for which it receives nothing is unknown.
///
/// A sink returns `Break` when it is full: the engine stops, and the key that did not fit counts as not answered.
pub trait Sink {
    /// Announces work on the key at `at` before it is done: `steps` records to read (also those that have expired, and
    /// those that do not win) or texts to hash. May be called several times for one key, before its hits; it is not
    /// called for a key whose only record is passed to [`hit`](Self::hit). A sink that limits the work returns `Break`
    /// to stop before this key. Does nothing by default.
    fn announce(&mut self, at: Position, steps: usize) -> ControlFlow<()> {
        let _ = (at, steps);
        ControlFlow::Continue(())
    }

    /// Receives one record of the key at `at`. Hits of one key are consecutive, the winner first; for a prefix, those
    /// of each digest (of each expression in each scope) that starts with it are consecutive.
    fn hit(&mut self, at: Position, hit: &Hit<'_>) -> ControlFlow<()>;

    /// Receives the reason why the key at `at` is unanswered.
    fn unanswered(&mut self, at: Position, unanswered: Unanswered) -> ControlFlow<()>;
}

/// The records of a key that an answer contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// The winning record; for a prefix, that of each digest (of each expression in each scope) that starts with it.
    #[default]
    Winner,
    /// Every record that matches, in order of precedence.
    All,
}

/// The length in bytes of the SHA-256 of an expression.
const EXPRESSION_DIGEST_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// Prevents long addresses that cost as little as short ones, and runs of rows above a cost.
    #[test]
    fn cost_counts_the_bytes_of_web_addresses() {
        let lengths = [10, 63, 64, 200, 8_192, 127, 128];
        let costs = [32, 32, 33, 35, 160, 33, 34];
        let mut end = 0;
        let ends: Vec<U32> = lengths
            .iter()
            .map(|length| {
                end += length;
                U32::new(end)
            })
            .collect();
        let bytes = vec![b'a'; end as usize];
        let web = Column::Web(Texts::new(&ends, &bytes).unwrap());
        assert!((0..costs.len()).map(|row| web.cost(row..row + 1)).eq(costs));
        assert_eq!((web.cost(0..7), web.cost(3..3)), (costs.iter().sum(), 0));
        let digests = Column::Digests { kind: DigestKind::Md5, bytes: &[0; 16 * 40] };
        assert_eq!(digests.cost(3..40), 37);
        for column in [web, digests] {
            let rows = column.rows();
            for start in 0..rows {
                for cost in [0, 1, 32, 64, 65, 97, 100, u64::MAX] {
                    let end = column.rows_within(start, cost);
                    assert!(end > start && end <= rows);
                    assert!(column.cost(start..end) <= cost || end == start + 1);
                    assert!(end == rows || column.cost(start..end + 1) > cost);
                }
            }
            assert_eq!(column.rows_within(rows, 100), rows);
        }
    }
}
