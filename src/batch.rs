//! A batch of keys as borrowed columns, and the sink that answers are written to.
//!
//! Callers differ (a frame from the network, a list of [`Key`]s in process), the engine does not: it reads columns where
//! they lie and writes hits one after the other.

use std::ops::ControlFlow;

use zerocopy::little_endian::U32;

use crate::{
    key::{DigestKind, Ipv4Block, Key, KeyKind, PrefixWidth, Scope},
    record::RecordType,
    timestamp::Timestamp,
};

/// Keys of one kind, one after the other.
#[derive(Clone, Copy, Debug)]
pub enum Column<'a> {
    /// Whole digests of one kind, [`DigestKind::width`] bytes each, without gaps.
    Digests {
        /// Their kind.
        kind: DigestKind,
        /// Their bytes: a multiple of the width.
        bytes: &'a [u8],
    },
    /// The first bytes of digests of one kind, without gaps: a key stands for every digest that begins so.
    Prefixes {
        /// Their kind.
        kind: DigestKind,
        /// How many bytes of each.
        width: PrefixWidth,
        /// Their bytes: a multiple of the width.
        bytes: &'a [u8],
    },
    /// Canonical web addresses.
    Web(Texts<'a>),
    /// The first bytes of the SHA-256 of expressions of web addresses, without gaps: a key stands for every expression
    /// that is listed, in whatever scope, and whose text hashes so.
    WebPrefixes {
        /// How many bytes of each.
        width: PrefixWidth,
        /// Their bytes: a multiple of the width.
        bytes: &'a [u8],
    },
    /// IPv4 addresses in network byte order.
    Ipv4(&'a [[u8; 4]]),
}

impl Column<'_> {
    /// How many keys.
    pub fn rows(&self) -> usize {
        match self {
            Self::Digests { kind, bytes } => bytes.len() / kind.width(),
            Self::Prefixes { width, bytes, .. } | Self::WebPrefixes { width, bytes } => bytes.len() / width.bytes(),
            Self::Web(texts) => texts.len(),
            Self::Ipv4(addresses) => addresses.len(),
        }
    }

    /// Their kind.
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Digests { kind, .. } | Self::Prefixes { kind, .. } => KeyKind::Digest(*kind),
            Self::Web(_) | Self::WebPrefixes { .. } => KeyKind::Web,
            Self::Ipv4(_) => KeyKind::Ipv4,
        }
    }

    /// What one of its keys counts for against [limits](crate::limits::BATCH_COST_MAX): what its
    /// [kind](KeyKind::cost) does, but 1 for a prefix of an expression, which is one probe as that of a digest is.
    pub fn key_cost(&self) -> u64 {
        match self {
            Self::WebPrefixes { .. } => 1,
            Self::Digests { .. } | Self::Prefixes { .. } | Self::Web(_) | Self::Ipv4(_) => self.kind().cost(),
        }
    }

    /// How many bytes of a digest its keys leave out: those that [`Matched::Suffix`] and [`Matched::WebSuffix`] have. 0
    /// for whole keys.
    pub fn suffix_width(&self) -> usize {
        match self {
            Self::Prefixes { kind, width, .. } => kind.width() - width.bytes(),
            Self::WebPrefixes { width, .. } => EXPRESSION_DIGEST_BYTES - width.bytes(),
            Self::Digests { .. } | Self::Web(_) | Self::Ipv4(_) => 0,
        }
    }
}

/// Keys of one kind that are gathered one by one, whole.
#[derive(Clone, Debug)]
pub struct ColumnBuf {
    kind: KeyKind,
    bytes: Vec<u8>,
    /// Where each text ends, of a kind that has texts.
    ends: Vec<U32>,
}

impl ColumnBuf {
    /// Without any key.
    pub fn new(kind: KeyKind) -> Self {
        Self { kind, bytes: Vec::new(), ends: Vec::new() }
    }

    /// The kind of its keys.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Adds a key.
    ///
    /// # Panics
    ///
    /// When it is of another kind, or the texts together pass the 4 GiB that their ends can number.
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

    /// The keys, borrowed.
    pub fn column(&self) -> Column<'_> {
        match self.kind {
            KeyKind::Digest(kind) => Column::Digests { kind, bytes: &self.bytes },
            KeyKind::Ipv4 => Column::Ipv4(self.bytes.as_chunks().0),
            KeyKind::Web => Column::Web(Texts { ends: &self.ends, bytes: &self.bytes }),
        }
    }
}

/// Texts of varying length: where each ends, and all of them one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Texts<'a> {
    ends: &'a [U32],
    bytes: &'a [u8],
}

impl<'a> Texts<'a> {
    /// From the end of each text, ascending, and the bytes; `None` when the ends descend or the last is not the number
    /// of bytes.
    pub fn new(ends: &'a [U32], bytes: &'a [u8]) -> Option<Self> {
        let ascending = ends.windows(2).all(|w| w[0].get() <= w[1].get());
        let last = ends.last().map_or(0, |end| end.get() as usize);
        (ascending && last == bytes.len()).then_some(Self { ends, bytes })
    }

    /// How many texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Where each text ends.
    pub fn ends(&self) -> &'a [U32] {
        self.ends
    }

    /// The bytes of all of them.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The text at a position.
    ///
    /// # Panics
    ///
    /// When `at` is not below [`len`](Self::len).
    pub fn get(&self, at: usize) -> &'a [u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1].get() as usize };
        &self.bytes[start..self.ends[at].get() as usize]
    }
}

/// Which key of a batch: the column, and the row in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The column, from 0 in the order of the request.
    pub column: u16,
    /// The row, from 0.
    pub row: u32,
}

/// One record that matches one key, borrowed from the index.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// Unique within its source.
    pub id: u64,
    /// What the record says.
    pub record_type: RecordType,
    /// The detection name; empty when there is none.
    pub name: &'a str,
    /// The number of the name in its view: equal numbers are equal names, so that a frame carries each once.
    pub name_number: u32,
    /// Which feed said so.
    pub source: &'a str,
    /// The number of the source in its view.
    pub source_number: u16,
    /// When the record was made or last changed.
    pub timestamp: Option<Timestamp>,
    /// When it stops counting.
    pub expiry: Option<Timestamp>,
    /// The port that the feed gave.
    pub port: Option<u16>,
    /// What of the record matched.
    pub matched: Matched<'a>,
}

/// What of a record matched a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched<'a> {
    /// The whole digest.
    Digest,
    /// The prefix that was asked, of a digest that goes on like this.
    Suffix(&'a [u8]),
    /// This expression, with the scope of its record.
    Web(Scope, &'a [u8]),
    /// The prefix that was asked, of an expression of this scope whose SHA-256 goes on like this.
    WebSuffix(Scope, &'a [u8]),
    /// This block.
    Block(Ipv4Block),
}

/// Why a key has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Exception {
    /// No record of its kind can exist here.
    Unsupported = 1,
    /// The key is malformed.
    Malformed = 2,
}

impl Exception {
    /// The exception of a number of a frame.
    pub fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Unsupported),
            2 => Some(Self::Malformed),
            _ => None,
        }
    }
}

/// Takes answers. A key of which it hears nothing is unknown.
///
/// `Break` means that there is no room: the engine stops, and the key whose hit was refused counts as not answered.
pub trait Sink {
    /// Takes one record of the key at that position. Hits of one key come together, the winner first; of a prefix those
    /// of each digest (of each expression in each scope) that begins so come together, one after the other.
    fn hit(&mut self, at: Position, hit: &Hit<'_>) -> ControlFlow<()>;

    /// Takes the exception of the key at that position.
    fn exception(&mut self, at: Position, exception: Exception) -> ControlFlow<()>;
}

/// How much of what is known of a key is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// The record that wins; of a prefix, for each digest (for each expression in each scope) that begins so.
    #[default]
    Winner,
    /// Every record that matches, in order of precedence.
    All,
}

/// Those of the SHA-256 that stands for an expression.
const EXPRESSION_DIGEST_BYTES: usize = 32;
