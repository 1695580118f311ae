//! The row formats of sections.
//!
//! Every row has a fixed size and consists of little-endian integers with alignment 1, so that a section can be used in
//! place on any machine.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

use crate::key::{DigestKind, KeyKind};

/// The number of fingerprints in a bucket.
pub(crate) const BUCKET_SLOTS: usize = 15;

/// The average number of keys per bucket. With 15 slots and 8 keys, 0.2 % of the keys overflow into the next bucket.
pub(crate) const BUCKET_KEYS_MEAN: u64 = 8;

/// The maximum number of keys in one table: a bucket stores the number of its first key in 30 bits.
pub(crate) const TABLE_KEYS_MAX: u64 = 1 << 30;

/// One cache line of a hash table: the fingerprints of its keys and the number of the first key.
///
/// The home bucket of a key is `first four bytes (big-endian) * buckets >> 32`; its fingerprint is the next four bytes.
/// The key in slot `i` is key number `first_key() + i` of the table, so digests and records are stored densely in
/// bucket order. A key that does not fit into its home bucket MUST be stored after the keys of the next bucket, and
/// [`OVERFLOWS`](Self::OVERFLOWS) set in the home bucket. A key that fits into neither MUST be stored in the tail of
/// the table, which is sorted and searched by binary search, and [`HAS_TAIL`](Self::HAS_TAIL) set in the home bucket.
/// Unused slots MUST be zero. A matching fingerprint only marks a candidate; a reader MUST compare the whole key. The
/// buckets are followed by one sentinel row, whose first key is the first key of the tail.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Bucket {
    pub(crate) fingerprints: [U32; BUCKET_SLOTS],
    pub(crate) meta: U32,
}

impl Bucket {
    /// Some keys of this home bucket are stored in the next bucket.
    pub(crate) const OVERFLOWS: u32 = 1 << 31;
    /// Some keys of this home bucket are stored in the tail.
    pub(crate) const HAS_TAIL: u32 = 1 << 30;

    /// Returns the number of the key in slot 0.
    #[inline]
    pub(crate) fn first_key(&self) -> u32 {
        self.meta.get() & !(Self::OVERFLOWS | Self::HAS_TAIL)
    }
}

/// Returns the home bucket of a key, computed from its first four bytes.
#[inline]
pub(crate) fn bucket_of(prefix: [u8; 8], buckets: usize) -> usize {
    let [a, b, c, d, ..] = prefix;
    ((u64::from(u32::from_be_bytes([a, b, c, d])) * buckets as u64) >> 32) as usize
}

/// Returns the fingerprint of a key: its second four bytes.
#[inline]
pub(crate) fn fingerprint_of(prefix: [u8; 8]) -> u32 {
    let [.., a, b, c, d] = prefix;
    u32::from_be_bytes([a, b, c, d])
}

/// One record. Row `n` is the first record of key number `n` of the table.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct RecordRow {
    pub(crate) id: U64,
    /// Seconds since 1970, or 0 for none.
    pub(crate) timestamp: U32,
    /// The row number of the name.
    pub(crate) name: U32,
    /// The row number of the class, or, with [`HAS_MORE`](Self::HAS_MORE) set, of the run.
    pub(crate) class: U32,
}

impl RecordRow {
    /// The key has further records: the other bits of the field are the row number of a [`RunRow`].
    pub(crate) const HAS_MORE: u32 = 1 << 31;
}

/// The further records of one key: `count` rows of [`SectionKind::MoreRecords`], starting at row `first`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct RunRow {
    /// The class of the key's first record.
    pub(crate) class: U32,
    pub(crate) first: U32,
    pub(crate) count: U32,
}

/// Attributes shared by many records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct ClassRow {
    /// The index of the source in the manifest.
    pub(crate) source: U16,
    /// The number of a [`RecordType`](crate::record::RecordType).
    pub(crate) record_type: u8,
    /// MUST be zero.
    pub(crate) reserved: u8,
    /// The port from the feed, or 0 for none.
    pub(crate) port: U16,
    /// MUST be zero.
    pub(crate) reserved_too: U16,
    /// Seconds since 1970, or 0 for never.
    pub(crate) expiry: U32,
}

/// A range of IPv4 addresses, both ends inclusive.
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

/// The tables of a snapshot. The numbers 1 to 11 are those of the key kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    /// The names and classes that all tables share: number 0.
    Shared,
    /// Digests of one kind: numbers 1 to 9.
    Digest(DigestKind),
    /// Web expressions with their text: number 10.
    Web,
    /// IPv4 blocks: number 11.
    Ipv4,
    /// SHA-256 of web expressions of unknown text: number 12.
    WebSha256,
}

impl Table {
    /// Returns all tables with keys, in ascending order of their numbers.
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

    /// Returns the kind of the keys that are looked up in this table.
    pub(crate) fn kind(self) -> Option<KeyKind> {
        match self {
            Self::Shared => None,
            Self::Digest(kind) => Some(KeyKind::Digest(kind)),
            Self::Web | Self::WebSha256 => Some(KeyKind::Web),
            Self::Ipv4 => Some(KeyKind::Ipv4),
        }
    }

    /// Returns whether keys of a kind are looked up in this table. The host of a web address may be an IPv4 address.
    fn is_needed_for(self, kind: KeyKind) -> bool {
        self.kind() == Some(kind) || (kind == KeyKind::Web && self == Self::Ipv4)
    }

    /// Returns the size of a key in bytes, for tables of digests.
    pub(crate) fn digest_width(self) -> Option<usize> {
        match self {
            Self::Digest(kind) => Some(kind.width()),
            Self::WebSha256 => Some(32),
            _ => None,
        }
    }
}

/// A set of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableSet(u16);

impl TableSet {
    /// All tables.
    pub(crate) const ALL: Self = Self(u16::MAX);

    /// Returns the tables that lookups of some kinds of keys need.
    pub(crate) fn of(kinds: &[KeyKind]) -> Self {
        let needed = Table::all().filter(|table| kinds.iter().any(|&kind| table.is_needed_for(kind)));
        // Every record refers to the shared sections.
        let shared = if kinds.is_empty() { 0 } else { 1 << Table::Shared.number() };
        Self(needed.fold(shared, |set, table| set | 1 << table.number()))
    }

    pub(crate) fn contains(self, table: Table) -> bool {
        self.0 & 1 << table.number() != 0
    }

    /// Returns whether this contains every table of `other`.
    pub(crate) fn is_superset(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }
}

/// The kind of a section. A section is identified by its table and its kind. A section without rows MUST be omitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum SectionKind {
    /// Shared: the end offset of each name in the name text (4 bytes each).
    NameEnds = 1,
    /// Shared: the concatenated names. Each name MUST be valid UTF-8.
    NameText = 2,
    /// Shared: [`ClassRow`]s.
    Classes = 3,
    /// Digests and web: [`Bucket`]s.
    Buckets = 4,
    /// Digests: the keys in bucket order, then the tail, which MUST be sorted.
    Digests = 5,
    /// Web: the end offset of each expression in the text (8 bytes each), in bucket order, then the tail, which MUST be
    /// sorted by hash.
    ExpressionEnds = 6,
    /// Web: for each expression its scope (1 byte) and its text, which MUST be ASCII.
    ExpressionText = 7,
    /// IPv4: [`BlockRow`]s, which MUST be sorted by first address, then by descending last address.
    Blocks = 8,
    /// All tables of keys: the first [`RecordRow`] of each key, in the order of keys.
    Records = 9,
    /// All tables of keys: the [`RunRow`]s of keys with several records.
    Runs = 10,
    /// All tables of keys: the further [`RecordRow`]s.
    MoreRecords = 11,
}

impl SectionKind {
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

    /// Returns the row size in bytes of a section of this kind in a table, or `None` if the table cannot have one.
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
