//! The snapshot: one immutable file that holds a generation of records in the layout used for lookups.
//!
//! ```text
//! offset  bytes
//!      0    128  header
//!    128         sections, each at a multiple of 64; gaps are zero
//!      m         manifest (rkyv archive), to the end of the file
//!
//! header
//!      0      8  89 4b 53 4e 0d 0a 1a 0a
//!      8      4  format version: 1
//!     12      4  feature bits that a reader must know: 0
//!     16      8  size of the file in bytes
//!     24      8  offset of the manifest, m
//!     32      4  size of the manifest in bytes
//!     36     60  zero
//!     96     32  root: BLAKE3 of bytes 0..96, followed by the manifest
//! ```
//!
//! All integers are little-endian. The manifest holds the dataset, generation, creation time, sources, versions of
//! compiled-in data, and for each section its table, kind, row size, offset, length and BLAKE3; so the root covers
//! every byte of the file. The row formats are specified in `layout.rs`.
//!
//! A reader MUST reject a file whose version, feature bits, sizes or checksums do not match, whose sections overlap or
//! leave bytes other than the zero gaps uncovered, or whose rows reference rows that do not exist. A reader that looks up
//! a few keys MAY read only the header, the manifest, and the sections of the kinds of these keys with the shared ones
//! ([`SnapshotFile`]): it then verifies the root and the checksums and rows of these sections, but neither the other
//! sections nor the gaps.
//!
//! The bytes are a function of the set of records and of [`SnapshotInfo`]: a writer MUST produce the same file from the
//! same feeds in any order.

mod buckets;
mod build;
mod check;
mod chunked_vec;
mod classes;
mod dedup;
mod destination;
mod error;
mod file;
mod growth;
mod info;
mod iter;
pub(crate) mod layout;
mod manifest;
mod memory;
mod name_table;
mod names;
mod open;
mod output;
mod section_map;
mod sections;
mod sort_entries;
mod tables;
mod write;

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) use self::{buckets::build_buckets, name_table::NameTable};
pub use self::{
    build::SnapshotBuilder,
    destination::AbortHandle,
    error::{BuildError, OpenError},
    file::SnapshotFile,
    info::SnapshotInfo,
    manifest::FORMAT_VERSION,
    open::{SectionInfo, Snapshot, SourceInfo},
    write::{BuildSummary, BuiltSnapshot},
};
use crate::key::Scope;

/// Returns the hash of a web expression: XXH3 with a seed that depends on the scope, so that the same text in two
/// scopes is two keys. It is big-endian, so that its bytes are used like those of a digest.
#[inline]
pub(crate) fn web_hash(seed: u64, scope: Scope, expression: &[u8]) -> [u8; 8] {
    // An arbitrary odd constant with scattered bits.
    xxh3_64_with_seed(expression, seed ^ (scope as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes()
}
