//! Errors of opening, building and writing snapshots.

use std::{io, path::PathBuf};

/// An error from opening a snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// The file does not start with the magic of a snapshot.
    #[error("not a snapshot: expected magic {expected:02x?}, found {found:02x?}; create one with `ksn build`")]
    Magic {
        /// The magic of a snapshot.
        expected: [u8; 8],
        /// The first bytes of the file, fewer than 8 if the file is shorter.
        found: Vec<u8>,
    },
    /// The file was transferred in text mode.
    #[error("damaged in transfer: line endings were converted; copy the file again in binary mode")]
    TextMode,
    /// The format version is not supported.
    #[error(
        "unsupported snapshot format: expected version {expected}, found {found}; rebuild it from its feeds with this \
         program, or use the program version that wrote it"
    )]
    Version {
        /// The version that this program reads.
        expected: u32,
        /// The version of the file.
        found: u32,
    },
    /// The file requires features that this version does not support.
    #[error("the snapshot requires unsupported features {bits:#010x}; use a newer version")]
    MustUnderstand {
        /// The unknown feature bits.
        bits: u32,
    },
    /// The file is shorter than its header states.
    #[error("truncated: expected {expected} bytes, found {found}; copy the file again")]
    Truncated {
        /// The file size in the header, in bytes.
        expected: u64,
        /// The actual file size, in bytes.
        found: u64,
    },
    /// The file is longer than its header states.
    #[error("{} trailing bytes: expected {expected} bytes, found {found}; copy the file again", found - expected)]
    TrailingBytes {
        /// The file size in the header, in bytes.
        expected: u64,
        /// The actual file size, in bytes.
        found: u64,
    },
    /// A checksum does not match: the file was changed after it was written.
    #[error("corrupt: expected BLAKE3 {expected} of {what}, found {found}; copy the file again or rebuild it")]
    Checksum {
        /// The part of the file that was checked.
        what: String,
        /// The stored checksum, in hexadecimal.
        expected: String,
        /// The checksum of the bytes, in hexadecimal.
        found: String,
    },
    /// The checksums match, but the content violates the format: the file was not written by this program.
    #[error("invalid snapshot: {what}; the file was not written by `ksn build`")]
    Invalid {
        /// What is wrong, and where.
        what: String,
    },
}

impl OpenError {
    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }
}

/// An error from building or writing a snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The manifest cannot be serialized.
    #[error("cannot build the snapshot: {0}")]
    Io(#[from] io::Error),
    /// The file cannot be written.
    #[error("cannot write {}: {error}; {}", path.display(), remedy(error, *bytes))]
    Write {
        /// The file.
        path: PathBuf,
        /// The size of the new file in bytes. A file that it replaces needs its space until then.
        bytes: u64,
        /// The cause.
        error: io::Error,
    },
    /// The dataset name is invalid.
    #[error("invalid dataset name {found:?}: expected 1 to 32 characters of a-z, 0-9, `.`, `_` and `-`")]
    Dataset {
        /// The name.
        found: String,
    },
    /// A web expression is not canonical.
    #[error("invalid web expression {found:?}: expected ASCII in canonical form")]
    Expression {
        /// The expression.
        found: String,
    },
    /// A limit of the format is exceeded.
    #[error("too many {what}: found {found}, a snapshot can hold at most {most}; split the feeds")]
    TooMany {
        /// What was counted.
        what: &'static str,
        /// The count.
        found: u64,
        /// The limit.
        most: u64,
    },
}

/// Returns advice on a file that cannot be written.
fn remedy(error: &io::Error, bytes: u64) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            format!("free {bytes} bytes on its file system, or write it elsewhere; the temporary file was removed")
        }
        io::ErrorKind::NotFound => "create its directory first, or write it elsewhere".into(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "make it and its directory writable, write it elsewhere, or run as another user".into()
        }
        _ => "write it elsewhere".into(),
    }
}
