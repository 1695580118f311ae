//! The rows that sections are made of.
//!
//! Every row is a fixed number of bytes of explicit little-endian integers with alignment 1, so that a section is used
//! where it was read, on any machine.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

use crate::key::{DigestKind, KeyKind};

/// Fingerprints in a bucket.
pub(crate) const BUCKET_SLOTS: usize = 15;

/// Keys a bucket holds on average. With 15 slots and 8 keys, 0.2 % of the keys overflow into the next bucket.
pub(crate) const BUCKET_KEYS_MEAN: u64 = 8;

/// Keys in one table: a bucket numbers its first key with 30 bits.
pub(crate) const TABLE_KEYS_MAX: u64 = 1 << 30;

/// A cache line of a digest table: the fingerprints of the keys that belong here, and the number of the first.
///
/// A key belongs in bucket `first four bytes (big-endian) * buckets >> 32`; its fingerprint is the next four bytes. The
/// key in slot `i` is key number `first_key() + i` of the table, so that digests and records lie densely in the order
/// of buckets. What does not fit goes behind the keys of the next bucket; what fits in neither goes to the tail of the
/// table, which is sorted and searched by halving. Slots that hold no key are zero: a fingerprint only proposes, the
/// whole key decides. Behind the buckets stands one row more, whose first key is the first of the tail.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Bucket {
    pub(crate) fingerprints: [U32; BUCKET_SLOTS],
    pub(crate) meta: U32,
}

impl Bucket {
    /// Some of the keys that belong here are in the next bucket.
    pub(crate) const OVERFLOWS: u32 = 1 << 31;
    /// Some of the keys that belong here are in the tail.
    pub(crate) const HAS_TAIL: u32 = 1 << 30;

    /// The number of the key in slot 0.
    #[inline]
    pub(crate) fn first_key(&self) -> u32 {
        self.meta.get() & !(Self::OVERFLOWS | Self::HAS_TAIL)
    }
}

/// The bucket that a key belongs in, from its first four bytes.
#[inline]
pub(crate) fn bucket_of(prefix: [u8; 8], buckets: usize) -> usize {
    let [a, b, c, d, ..] = prefix;
    ((u64::from(u32::from_be_bytes([a, b, c, d])) * buckets as u64) >> 32) as usize
}

/// The fingerprint of a key, from its next four bytes.
#[inline]
pub(crate) fn fingerprint_of(prefix: [u8; 8]) -> u32 {
    let [.., a, b, c, d] = prefix;
    u32::from_be_bytes([a, b, c, d])
}

/// One record. Key number `n` of a table has its first record in row `n`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct RecordRow {
    pub(crate) id: U64,
    /// Seconds since 1970, or 0.
    pub(crate) timestamp: U32,
    /// Row of the names.
    pub(crate) name: U32,
    /// Row of the classes; with [`HAS_MORE`](Self::HAS_MORE), row of the runs instead.
    pub(crate) class: U32,
}

impl RecordRow {
    /// The key has further records: the rest of the field is a row of the runs.
    pub(crate) const HAS_MORE: u32 = 1 << 31;
}

/// The further records of one key: `count` rows of the table's further records, from `first`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct RunRow {
    /// The class of the key's first record.
    pub(crate) class: U32,
    pub(crate) first: U32,
    pub(crate) count: U32,
}

/// What many records have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct ClassRow {
    /// Row of the sources in the manifest.
    pub(crate) source: U16,
    /// The number of a [`RecordType`](crate::record::RecordType).
    pub(crate) record_type: u8,
    /// Zero.
    pub(crate) reserved: u8,
    /// The port that the feed gave, or 0.
    pub(crate) port: U16,
    /// Zero.
    pub(crate) reserved_too: U16,
    /// Seconds since 1970, or 0.
    pub(crate) expiry: U32,
}

/// A block of IPv4 addresses, both ends included.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct BlockRow {
    pub(crate) first: U32,
    pub(crate) last: U32,
}

const _: () = {
    assert!(size_of::<Bucket>() == 64);
    assert!(size_of::<RecordRow>() == 20);
    assert!(size_of::<RunRow>() == 12);
    assert!(size_of::<ClassRow>() == 12);
    assert!(size_of::<BlockRow>() == 8);
};

/// The tables of a snapshot. Their numbers are those of the key kinds, and one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    /// Names and classes, which all tables share: number 0.
    Shared,
    /// Digests of one kind: numbers 1 to 9.
    Digest(DigestKind),
    /// Web expressions with their text: number 10.
    Web,
    /// IPv4 blocks: number 11.
    Ipv4,
    /// SHA-256 of web expressions whose text is not known: number 12.
    WebSha256,
}

impl Table {
    /// Every table of keys, in the order of their numbers.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (1..=12).filter_map(Self::from_number)
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Shared => 0,
            Self::Digest(kind) => kind as u8,
            Self::Web => 10,
            Self::Ipv4 => 11,
            Self::WebSha256 => 12,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Shared),
            10 => Some(Self::Web),
            11 => Some(Self::Ipv4),
            12 => Some(Self::WebSha256),
            _ => DigestKind::from_number(number).map(Self::Digest),
        }
    }

    /// The kind of key that the table answers.
    pub(crate) fn kind(self) -> Option<KeyKind> {
        match self {
            Self::Shared => None,
            Self::Digest(kind) => Some(KeyKind::Digest(kind)),
            Self::Web | Self::WebSha256 => Some(KeyKind::Web),
            Self::Ipv4 => Some(KeyKind::Ipv4),
        }
    }

    /// Bytes of one key in the section of keys, for tables of digests.
    pub(crate) fn digest_width(self) -> Option<usize> {
        match self {
            Self::Digest(kind) => Some(kind.width()),
            Self::WebSha256 => Some(32),
            _ => None,
        }
    }
}

/// What a section holds. A section is known by its table and its role; a section without rows is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Role {
    /// Shared: where each name ends in the text of names (4 bytes each).
    NameEnds = 1,
    /// Shared: the text of names, UTF-8.
    NameText = 2,
    /// Shared: [`ClassRow`]s.
    Classes = 3,
    /// [`Bucket`]s of digest and web tables.
    Buckets = 4,
    /// Digests, in the order of buckets, then the tail.
    Digests = 5,
    /// Web: where each expression ends in their text (8 bytes each), in the order of buckets, then the tail.
    ExpressionEnds = 6,
    /// Web: each expression's scope (1 byte), then its text.
    ExpressionText = 7,
    /// IPv4: [`BlockRow`]s, by first address, the larger block first.
    Blocks = 8,
    /// The first [`RecordRow`] of every key.
    Records = 9,
    /// [`RunRow`]s of the keys that have several.
    Runs = 10,
    /// The further [`RecordRow`]s.
    MoreRecords = 11,
}

impl Role {
    const ALL: [Self; 11] = [
        Self::NameEnds,
        Self::NameText,
        Self::Classes,
        Self::Buckets,
        Self::Digests,
        Self::ExpressionEnds,
        Self::ExpressionText,
        Self::Blocks,
        Self::Records,
        Self::Runs,
        Self::MoreRecords,
    ];

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Bytes of one row of this role in this table; `None` when the table has no such section.
    pub(crate) fn stride(self, table: Table) -> Option<u32> {
        let keyed = !matches!(table, Table::Shared);
        let hashed = keyed && table != Table::Ipv4;
        match self {
            Self::NameEnds => (table == Table::Shared).then_some(4),
            Self::NameText => (table == Table::Shared).then_some(1),
            Self::Classes => (table == Table::Shared).then_some(size_of::<ClassRow>() as u32),
            Self::Buckets => hashed.then_some(size_of::<Bucket>() as u32),
            Self::Digests => table.digest_width().map(|width| width as u32),
            Self::ExpressionEnds => (table == Table::Web).then_some(8),
            Self::ExpressionText => (table == Table::Web).then_some(1),
            Self::Blocks => (table == Table::Ipv4).then_some(size_of::<BlockRow>() as u32),
            Self::Records | Self::MoreRecords => keyed.then_some(size_of::<RecordRow>() as u32),
            Self::Runs => keyed.then_some(size_of::<RunRow>() as u32),
        }
    }
}
