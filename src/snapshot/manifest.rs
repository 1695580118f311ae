//! The fixed header and the manifest of a snapshot.

use rkyv::{Archive, Deserialize, Serialize};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

/// The magic, the first bytes of a snapshot. The byte with the high bit, the line endings and the end-of-file character
/// detect transfers in text mode, as in PNG (RFC 2083, section 3.1).
pub(crate) const MAGIC: [u8; 8] = *b"\x89KSN\r\n\x1a\n";

/// The format version that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// The alignment of sections in bytes, so that each bucket is one cache line. Gaps MUST be zero.
pub(crate) const SECTION_ALIGNMENT: u64 = 64;

/// The maximum size of a manifest in bytes. The largest possible one has 65,535 sources of 64 bytes.
pub(crate) const MANIFEST_BYTES_MAX: u32 = 16 << 20;

/// The fixed header, 128 bytes at the start of the file.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    /// [`MAGIC`].
    pub(crate) magic: [u8; 8],
    /// [`FORMAT_VERSION`].
    pub(crate) version: U32,
    /// Feature bits. A reader MUST reject the file if a bit is set that it does not know.
    pub(crate) must_understand: U32,
    /// The size of the file in bytes.
    pub(crate) file_bytes: U64,
    /// The offset of the manifest, which MUST end with the file.
    pub(crate) manifest_offset: U64,
    /// The size of the manifest in bytes.
    pub(crate) manifest_bytes: U32,
    /// MUST be zero.
    pub(crate) reserved: [u8; 60],
    /// The BLAKE3 of the header up to this field, followed by the manifest. The manifest holds the BLAKE3 of every
    /// section, so this covers the whole file.
    pub(crate) root: [u8; 32],
}

impl Header {
    /// Computes the expected [`root`](Self::root).
    pub(crate) fn root_over(&self, manifest: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.as_bytes()[..size_of::<Self>() - 32]);
        hasher.update(manifest);
        *hasher.finalize().as_bytes()
    }
}

/// The manifest, stored as an rkyv archive after the sections. A reader MUST verify its BLAKE3 before parsing it; rkyv
/// then validates its structure.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) dataset: String,
    pub(crate) generation: u64,
    /// The creation time in seconds since 1970. MUST NOT be 0.
    pub(crate) created: u32,
    /// The range of the first four bytes of the digests. MUST be the full range until shards are specified.
    pub(crate) key_range: (u32, u32),
    /// The seed of the hash of web expressions.
    pub(crate) web_seed: u64,
    /// The scopes that occur among the web expressions, one bit each.
    pub(crate) web_scopes: u8,
    /// Sorted by name; [`ClassRow::source`](super::layout::ClassRow::source) is an index into them.
    pub(crate) sources: Vec<SourceEntry>,
    /// Names and versions of compiled-in data, sorted by name.
    pub(crate) compiled_with: Vec<(String, String)>,
    /// Sorted by table and section kind.
    pub(crate) sections: Vec<SectionEntry>,
}

/// One source of records.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceEntry {
    pub(crate) name: String,
    pub(crate) records: u64,
    /// The newest record timestamp in seconds since 1970, or 0 for none.
    pub(crate) newest: u32,
}

/// The location, row size and checksum of a section.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SectionEntry {
    /// The number of a [`Table`](super::layout::Table).
    pub(crate) table: u8,
    /// The number of a [`SectionKind`](super::layout::SectionKind).
    pub(crate) kind: u8,
    /// The row size in bytes.
    pub(crate) stride: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) blake3: [u8; 32],
}

impl SectionEntry {
    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.bytes / u64::from(self.stride.max(1))
    }
}

// A host program that enables other rkyv features (big-endian, unaligned, another pointer width) would change the
// archive format. These assertions fail its build instead.
const _: () = {
    assert!(size_of::<Header>() == 128);
    assert!(size_of::<ArchivedManifest>() == 72 && align_of::<ArchivedManifest>() == 8);
    assert!(size_of::<ArchivedSectionEntry>() == 56);
};
