//! The fixed header and the manifest of a snapshot.

use rkyv::{Archive, Deserialize, Serialize};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

/// The first bytes of a snapshot. The high bit, the line ends and the end-of-file mark show up a transfer that took it
/// for text, as in PNG (RFC 2083, section 3.1).
pub(crate) const MAGIC: [u8; 8] = *b"\x89KSN\r\n\x1a\n";

/// The format version that this program reads and writes.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Sections start at multiples of this: a bucket is then one cache line. The gaps are zero.
pub(crate) const SECTION_ALIGNMENT: u64 = 64;

/// Bytes of a manifest. The longest there can be has 65,535 sources of 64 bytes.
pub(crate) const MANIFEST_BYTES_MAX: u32 = 16 << 20;

/// The fixed header, 128 bytes at the start of the file.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    /// [`MAGIC`].
    pub(crate) magic: [u8; 8],
    /// [`FORMAT_VERSION`].
    pub(crate) version: U32,
    /// Bits for what a reader must understand to read on; a set bit that is not known refuses the file.
    pub(crate) must_understand: U32,
    /// Bytes of the whole file.
    pub(crate) file_bytes: U64,
    /// Where the manifest starts; it ends with the file.
    pub(crate) manifest_offset: U64,
    /// Bytes of the manifest.
    pub(crate) manifest_bytes: U32,
    /// Zero.
    pub(crate) reserved: [u8; 60],
    /// BLAKE3 of the header up to here and of the manifest, which holds the BLAKE3 of every section: it stands for the
    /// whole file.
    pub(crate) root: [u8; 32],
}

impl Header {
    /// What [`root`](Self::root) has to be.
    pub(crate) fn root_over(&self, manifest: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.as_bytes()[..size_of::<Self>() - 32]);
        hasher.update(manifest);
        *hasher.finalize().as_bytes()
    }
}

/// What a snapshot says of itself. Stored as an rkyv archive behind the sections; it is read only after its BLAKE3 was
/// checked, and then checked again by rkyv.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) dataset: String,
    pub(crate) generation: u64,
    /// Seconds since 1970.
    pub(crate) created: u32,
    /// The first four bytes of the digests in it: all of them, until there are shards.
    pub(crate) key_range: (u32, u32),
    /// Seed of the hash of web expressions.
    pub(crate) web_seed: u64,
    /// The scopes of web expressions that occur, one bit each.
    pub(crate) web_scopes: u8,
    /// By name; a record's class numbers them from 0.
    pub(crate) sources: Vec<SourceEntry>,
    /// What was compiled in, and its version: name and value, by name.
    pub(crate) compiled_with: Vec<(String, String)>,
    /// By table and role.
    pub(crate) sections: Vec<SectionEntry>,
}

/// One source of records.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceEntry {
    pub(crate) name: String,
    pub(crate) records: u64,
    /// The newest record time in seconds since 1970, or 0.
    pub(crate) newest: u32,
}

/// Where a section lies.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SectionEntry {
    /// The number of a [`Table`](super::layout::Table).
    pub(crate) table: u8,
    /// The number of a [`Role`](super::layout::Role).
    pub(crate) role: u8,
    /// Bytes of a row.
    pub(crate) stride: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) blake3: [u8; 32],
}

// A host program that turns on other rkyv features (big-endian, unaligned, another pointer width) would change the
// archive. This breaks its build instead of its snapshots.
const _: () = {
    assert!(size_of::<Header>() == 128);
    assert!(size_of::<ArchivedManifest>() == 72 && align_of::<ArchivedManifest>() == 8);
    assert!(size_of::<ArchivedSectionEntry>() == 56);
};
