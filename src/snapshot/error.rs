//! Why a snapshot cannot be opened or written.

use std::{io, path::PathBuf};

/// Why a snapshot cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// The file does not begin as a snapshot does.
    #[error("not a snapshot: it begins with {found:02x?}, a snapshot with {expected:02x?}; make one with `ksn build`")]
    Magic {
        /// The first bytes of a snapshot.
        expected: [u8; 8],
        /// The first bytes of the file, fewer than 8 when it is shorter.
        found: Vec<u8>,
    },
    /// The transfer took the file for text.
    #[error("damaged in transfer: line ends were rewritten as if it were text; copy it again in binary mode")]
    TextMode,
    /// Another version of the format.
    #[error(
        "snapshot format {found}, this program reads format {expected}; build it again from its feeds with this \
         version, or use the program that wrote it"
    )]
    Version {
        /// The version this program reads.
        expected: u32,
        /// The version of the file.
        found: u32,
    },
    /// The file asks for abilities that this version does not have.
    #[error("the snapshot needs abilities {bits:#010x} that this version does not have; use a newer version")]
    MustUnderstand {
        /// The bits that are not known.
        bits: u32,
    },
    /// The file is shorter than it says.
    #[error("truncated: {found} bytes of {expected}; copy it again")]
    Truncated {
        /// The bytes that the header promises.
        expected: u64,
        /// The bytes there are.
        found: u64,
    },
    /// The file is longer than it says.
    #[error("{} bytes follow the end of the snapshot at byte {expected}; copy it again", found - expected)]
    TrailingBytes {
        /// The bytes that the header promises.
        expected: u64,
        /// The bytes there are.
        found: u64,
    },
    /// A checksum does not match: the bytes are not those that were written.
    #[error("corrupt: the BLAKE3 of {what} is {found}, expected {expected}; copy it again or build it again")]
    Checksum {
        /// What was checked.
        what: String,
        /// The checksum that is stored.
        expected: String,
        /// The checksum of the bytes.
        found: String,
    },
    /// The checksums match but the content breaks a rule of the format: it was not written by this program.
    #[error("invalid: {what}; it was not written by `ksn build`")]
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

/// Why a snapshot cannot be built or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The snapshot cannot be laid out.
    #[error("cannot make the snapshot: {0}")]
    Io(#[from] io::Error),
    /// The file cannot be written.
    #[error("cannot write {}: {error}; {}", path.display(), remedy(error, *bytes))]
    Write {
        /// The file.
        path: PathBuf,
        /// Bytes that it takes, beside those of one that it replaces.
        bytes: u64,
        /// Why.
        error: io::Error,
    },
    /// The dataset's name is unusable.
    #[error("the dataset's name must be 1 to 32 characters of a-z, 0-9, `.`, `_` and `-`, found {found:?}")]
    Dataset {
        /// The name.
        found: String,
    },
    /// A web expression is not canonical.
    #[error("a web expression must be ASCII in canonical form, found {found:?}")]
    Expression {
        /// The expression.
        found: String,
    },
    /// More than a table can number.
    #[error("{found} {what}, more than the {most} that one snapshot can hold; split the feeds")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there can be.
        most: u64,
    },
}

/// What to do about a file that cannot be written.
fn remedy(error: &io::Error, bytes: u64) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            format!("make room for {bytes} bytes in its folder, or write it elsewhere; nothing was left behind")
        }
        io::ErrorKind::NotFound => "make its folder first, or write it elsewhere".into(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "its folder has to be writable; write it elsewhere, or as another user".into()
        }
        _ => "write it elsewhere".into(),
    }
}
