//! The snapshot: one immutable file that holds a generation of records in the layout that is searched.
//!
//! ```text
//! offset  bytes
//!      0    128  header
//!    128         sections, each at a multiple of 64; the gaps are zero
//!      m         manifest (rkyv archive), to the end of the file
//!
//! header
//!      0      8  89 4b 53 4e 0d 0a 1a 0a
//!      8      4  format version, 1
//!     12      4  bits that a reader must understand, 0
//!     16      8  bytes of the file
//!     24      8  offset of the manifest, m
//!     32      4  bytes of the manifest
//!     36     60  zero
//!     96     32  root: BLAKE3 of the 96 bytes before it and of the manifest
//! ```
//!
//! All integers are little-endian. The manifest holds dataset, generation, creation time, sources, versions of what was
//! compiled in, and for each section its table, role, row size, offset, length and BLAKE3; so the root stands for every
//! byte of the file. What the sections hold is told in `layout.rs`, at the types
//! of their rows.
//!
//! The bytes are a function of the set of records and of what [`SnapshotInfo`] says: the same feeds in any order give
//! the same file.

mod build;
mod check;
mod drafts;
mod error;
mod info;
pub(crate) mod layout;
mod manifest;
mod memory;
mod name_table;
mod names;
mod open;
mod output;
mod part;
mod place;
mod sections;
mod tables;
mod unique;
mod walk;
mod write;

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use self::{
    build::SnapshotBuilder,
    error::{BuildError, OpenError},
    info::SnapshotInfo,
    open::{SectionInfo, Snapshot, SourceInfo},
    write::{BuildSummary, BuiltSnapshot},
};
pub(crate) use self::{name_table::NameTable, place::place};
use crate::key::Scope;

/// The hash that a web expression is found by: XXH3 with a seed that differs by scope, so that the same text in two
/// scopes is two keys. Big-endian, so that its bytes are used as a digest's are.
#[inline]
pub(crate) fn web_hash(seed: u64, scope: Scope, expression: &[u8]) -> [u8; 8] {
    // An odd constant with scattered bits; any would do.
    xxh3_64_with_seed(expression, seed ^ (scope as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes()
}
