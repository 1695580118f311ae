//! Frame errors, their numeric codes, and the error frame.

use rend::unaligned::{u16_ule, u32_ule, u64_ule};

use super::{FrameKind, Header, header, raw};
use crate::limits::{ANSWER_BYTES_MAX, ERROR_TEXT_BYTES_MAX};

/// An error in the bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The magic bytes are wrong.
    #[error("magic: expected \"KSN\", found bytes {found:02x?}")]
    Magic {
        /// The bytes found.
        found: [u8; 3],
    },
    /// The version of the protocol is not supported.
    #[error("version: expected {version}, found {found}", version = super::VERSION)]
    Version {
        /// The version found.
        found: u8,
    },
    /// The kind of the frame is unknown, or not the expected one.
    #[error("frame kind: expected {expected}, found {found}")]
    FrameKind {
        /// The kind or kinds that are expected here.
        expected: &'static str,
        /// The number of the kind found.
        found: u8,
    },
    /// The frame ends within a field.
    #[error("{field}: expected {expected} bytes, found {found}")]
    TooShort {
        /// The field.
        field: &'static str,
        /// The bytes that it needs.
        expected: u64,
        /// The bytes that are left.
        found: u64,
    },
    /// There are bytes after the last field.
    #[error("end of the frame: expected no more bytes, found {found}")]
    Trailing {
        /// The number of bytes.
        found: u64,
    },
    /// A frame or field exceeds its limit.
    #[error("{field}: expected at most {max}, found {found}")]
    TooMuch {
        /// The field.
        field: &'static str,
        /// The limit.
        max: u64,
        /// The value found.
        found: u64,
    },
    /// A field contradicts other fields.
    #[error("{field}: expected {expected}, found {found}")]
    Mismatch {
        /// The field.
        field: &'static str,
        /// The value that follows from the other fields.
        expected: u64,
        /// The value found.
        found: u64,
    },
    /// A number has no defined meaning.
    #[error("{field}: expected {expected}, found {found}")]
    Number {
        /// The field.
        field: &'static str,
        /// The values that are allowed.
        expected: &'static str,
        /// The value found.
        found: u64,
    },
    /// The width of a column of digests is below that of its kind, and not that of a prefix.
    #[error("width of a column of kind {kind}: expected {expected} (whole digests), 8 or 4 (prefixes), found {found}")]
    Width {
        /// The number of the kind of key.
        kind: u8,
        /// The width of a whole digest, in bytes.
        expected: u8,
        /// The width of the column, in bytes.
        found: u8,
    },
    /// A text is not UTF-8, or ends within a character; the name of a dataset is not printable ASCII.
    #[error("{field}: expected valid text, found invalid text at byte {at}")]
    Text {
        /// The field.
        field: &'static str,
        /// The offset of the error, in bytes.
        at: u64,
    },
    /// The ends of texts descend, or the last is not the number of bytes.
    #[error("{field}: expected text ends that ascend to the number of bytes")]
    TextEnds {
        /// The field.
        field: &'static str,
    },
    /// The rows of a table do not ascend by column and row.
    #[error("{field}: expected ascending positions, found row {at} out of order")]
    Order {
        /// The field.
        field: &'static str,
        /// The index of the row in the table.
        at: u64,
    },
}

impl WireError {
    /// Returns the code that is sent to the peer.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Version { .. } => ErrorCode::UnsupportedVersion,
            Self::FrameKind { .. } => ErrorCode::UnexpectedFrame,
            Self::Width { .. } => ErrorCode::UnsupportedWidth,
            Self::TooMuch { field, .. } => match *field {
                header::BODY => ErrorCode::TooLong,
                super::request::COLUMNS => ErrorCode::TooManyColumns,
                super::request::KEYS => ErrorCode::TooManyKeys,
                super::request::COST => ErrorCode::TooMuchCost,
                super::request::ADDRESS => ErrorCode::AddressTooLong,
                _ => ErrorCode::Malformed,
            },
            _ => ErrorCode::Malformed,
        }
    }

    /// Creates the error of a body above a limit that is lower than that of the protocol.
    pub fn body_too_long(max: u64, found: u64) -> Self {
        Self::TooMuch { field: header::BODY, max, found }
    }

    /// Returns the limit that was exceeded, or the width of a whole digest; 0 for other errors.
    pub fn limit(&self) -> u64 {
        match self {
            Self::TooMuch { max, .. } => *max,
            Self::Width { expected, .. } => u64::from(*expected),
            _ => 0,
        }
    }
}

/// The code of a failure, in error frames and as the application error code that closes a stream or connection (where 0
/// means no error). Numbers MUST NOT be reused; later versions MAY add some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum ErrorCode {
    /// The frame violates the protocol.
    Malformed = 1,
    /// Client and server have no protocol version in common.
    UnsupportedVersion = 2,
    /// A frame of another kind was expected.
    UnexpectedFrame = 3,
    /// The body exceeds its limit.
    TooLong = 4,
    /// The batch has too many columns.
    TooManyColumns = 5,
    /// The batch has too many keys.
    TooManyKeys = 6,
    /// The cost of the batch exceeds its limit.
    TooMuchCost = 7,
    /// A web address exceeds its limit.
    AddressTooLong = 8,
    /// The width of a column of digests is below that of its kind, and not that of a prefix.
    UnsupportedWidth = 9,
    /// Batches arrived without a hello.
    HelloMissing = 10,
    /// The batch took longer than its deadline.
    Deadline = 11,
    /// There are too many connections or batches.
    Overloaded = 12,
    /// The server is shutting down.
    GoingAway = 13,
    /// An internal error of the server.
    Internal = 14,
    /// The client is not permitted to make this request. Not sent by this version.
    Denied = 15,
    /// The dataset is older than the request's minimum generation and sequence.
    Behind = 16,
}

impl ErrorCode {
    /// Every code, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Malformed,
        Self::UnsupportedVersion,
        Self::UnexpectedFrame,
        Self::TooLong,
        Self::TooManyColumns,
        Self::TooManyKeys,
        Self::TooMuchCost,
        Self::AddressTooLong,
        Self::UnsupportedWidth,
        Self::HelloMissing,
        Self::Deadline,
        Self::Overloaded,
        Self::GoingAway,
        Self::Internal,
        Self::Denied,
        Self::Behind,
    ];

    /// Returns the code with a number; `None` for an unknown number, from a later version.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Returns the name of the code, for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnsupportedVersion => "unsupported version",
            Self::UnexpectedFrame => "unexpected frame",
            Self::TooLong => "too long",
            Self::TooManyColumns => "too many columns",
            Self::TooManyKeys => "too many keys",
            Self::TooMuchCost => "too much cost",
            Self::AddressTooLong => "address too long",
            Self::UnsupportedWidth => "unsupported width",
            Self::HelloMissing => "hello missing",
            Self::Deadline => "deadline",
            Self::Overloaded => "overloaded",
            Self::GoingAway => "going away",
            Self::Internal => "internal",
            Self::Denied => "denied",
            Self::Behind => "behind",
        }
    }

    /// Returns the number of the code.
    pub fn number(self) -> u16 {
        self as u16
    }
}

raw::layout! {
    struct ErrorHead: 24 {
        code: u16_ule,
        reserved: u16_ule,
        retry_after_ms: u32_ule,
        detail: u64_ule,
        text_bytes: u32_ule,
        reserved_too: u32_ule,
    }
}

/// The content of an error frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorFrame<'a> {
    /// The number of the code; [`ErrorCode::from_number`] maps those of this version.
    pub code: u16,
    /// The shortest pause before a retry, in milliseconds; 0 for none. Whether a retry makes sense depends on the code,
    /// see the [guide](super::guide#errors).
    pub retry_after_ms: u32,
    /// The limit, or what else the [guide](super::guide#errors) states for the code.
    pub detail: u64,
    /// The message, for humans.
    pub message: &'a str,
}

impl<'a> ErrorFrame<'a> {
    /// Parses the body of a frame.
    pub fn parse(header: &Header, body: &'a [u8]) -> Result<Self, WireError> {
        let head: &ErrorHead = header.head(FrameKind::Error, body, "error head")?;
        let mut rest = header.after_head(body)?;
        let bytes: &[u8] = raw::rows(&mut rest, head.text_bytes.to_native() as usize, MESSAGE)?;
        raw::end(rest)?;
        let message =
            std::str::from_utf8(bytes).map_err(|e| WireError::Text { field: MESSAGE, at: e.valid_up_to() as u64 })?;
        Ok(Self {
            code: head.code.to_native(),
            retry_after_ms: head.retry_after_ms.to_native(),
            detail: head.detail.to_native(),
            message,
        })
    }

    /// Serializes the whole frame. A message that is too long is truncated.
    pub fn to_frame(&self) -> Vec<u8> {
        let message = raw::truncate(self.message, ERROR_TEXT_BYTES_MAX);
        Header::frame(FrameKind::Error, size_of::<ErrorHead>(), |out| {
            raw::push(
                out,
                &ErrorHead {
                    code: self.code.into(),
                    reserved: 0.into(),
                    retry_after_ms: self.retry_after_ms.into(),
                    detail: self.detail.into(),
                    text_bytes: (message.len() as u32).into(),
                    reserved_too: 0.into(),
                },
            );
            out.extend_from_slice(message.as_bytes());
        })
    }
}

/// Returns the code that is sent to the peer.
impl From<&WireError> for ErrorCode {
    fn from(error: &WireError) -> Self {
        error.code()
    }
}

const MESSAGE: &str = "error message";

const _: () = assert!(ERROR_TEXT_BYTES_MAX < ANSWER_BYTES_MAX);
