//! What can be wrong with a frame, the numbered codes that say so, and the frame that carries one.

use rend::unaligned::{u16_ule, u32_ule, u64_ule};

use super::{FrameKind, Header, header, raw};
use crate::limits::{ANSWER_BYTES_MAX, ERROR_TEXT_BYTES_MAX};

/// Why bytes are not the frame that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The first bytes are not those of any frame.
    #[error("magic: expected \"KSN\", found bytes {found:02x?}")]
    Magic {
        /// The bytes.
        found: [u8; 3],
    },
    /// A version of the protocol that this program does not speak.
    #[error("version: expected {version}, found {found}", version = super::VERSION)]
    Version {
        /// The version.
        found: u8,
    },
    /// A kind of frame that is unknown, or not the one that belongs here.
    #[error("frame kind: expected {expected}, found {found}")]
    FrameKind {
        /// What belongs here.
        expected: &'static str,
        /// The number of the kind.
        found: u8,
    },
    /// The frame ends within a field.
    #[error("{field}: expected {expected} bytes, found {found}")]
    TooShort {
        /// The field.
        field: &'static str,
        /// Its bytes.
        expected: u64,
        /// Those that are left.
        found: u64,
    },
    /// Bytes behind the last field.
    #[error("end of the frame: expected no more bytes, found {found}")]
    Trailing {
        /// How many.
        found: u64,
    },
    /// A frame or field above its limit.
    #[error("{field}: expected at most {max}, found {found}")]
    TooMuch {
        /// The field.
        field: &'static str,
        /// The limit.
        max: u64,
        /// What it has.
        found: u64,
    },
    /// A field that does not agree with the others.
    #[error("{field}: expected {expected}, found {found}")]
    Mismatch {
        /// The field.
        field: &'static str,
        /// What follows from the others.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// A number that stands for nothing.
    #[error("{field}: expected {expected}, found {found}")]
    Number {
        /// The field.
        field: &'static str,
        /// What it may have.
        expected: &'static str,
        /// What it has.
        found: u64,
    },
    /// A digest narrower than its kind.
    #[error("width of a column of kind {kind}: expected {expected}, found {found}; only whole digests are supported")]
    Width {
        /// The kind's number.
        kind: u8,
        /// Its width.
        expected: u8,
        /// The column's.
        found: u8,
    },
    /// A text that is not UTF-8, or that ends within a character.
    #[error("{field}: expected text, found something else at byte {at}")]
    Text {
        /// The field.
        field: &'static str,
        /// Where.
        at: u64,
    },
    /// The ends of texts descend, or the last is not the number of bytes.
    #[error("{field}: expected ends of texts to ascend up to the number of bytes")]
    TextEnds {
        /// The field.
        field: &'static str,
    },
    /// Rows that do not ascend by column and row.
    #[error("{field}: expected positions to ascend, found row {at} out of order")]
    Order {
        /// The field.
        field: &'static str,
        /// Which row of the table.
        at: u64,
    },
}

impl WireError {
    /// The code that tells the peer.
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

    /// A body above a limit lower than that of the protocol.
    pub fn body_too_long(max: u64, found: u64) -> Self {
        Self::TooMuch { field: header::BODY, max, found }
    }

    /// The limit that was passed, or 0.
    pub fn limit(&self) -> u64 {
        match self {
            Self::TooMuch { max, .. } => *max,
            Self::Width { expected, .. } => u64::from(*expected),
            _ => 0,
        }
    }
}

/// What went wrong, as a number: in error frames, and as the code with which a stream or connection is closed (there 0
/// means that nothing did). Numbers are only ever added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum ErrorCode {
    /// The frame is not what this protocol allows.
    Malformed = 1,
    /// No version in common.
    UnsupportedVersion = 2,
    /// A frame of another kind belongs here.
    UnexpectedFrame = 3,
    /// The body is longer than allowed.
    TooLong = 4,
    /// More columns than allowed.
    TooManyColumns = 5,
    /// More keys than allowed.
    TooManyKeys = 6,
    /// More cost than allowed.
    TooMuchCost = 7,
    /// A web address longer than allowed.
    AddressTooLong = 8,
    /// A width of keys that this server does not answer.
    UnsupportedWidth = 9,
    /// Batches came, but no hello.
    HelloMissing = 10,
    /// The batch took longer than its deadline.
    Deadline = 11,
    /// Too many connections or batches.
    Overloaded = 12,
    /// The server is shutting down.
    GoingAway = 13,
    /// A defect of the server.
    Internal = 14,
    /// The client may not ask that. Not sent by this version.
    Denied = 15,
    /// The dataset is older than the request demands.
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

    /// The code of a number; `None` for those that a later version added.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Its number.
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
    /// The number of the code; [`ErrorCode::from_number`] knows those of this version.
    pub code: u16,
    /// Milliseconds after which it is worth trying again; 0 when it is not.
    pub retry_after_ms: u32,
    /// The limit, when the code is about one.
    pub detail: u64,
    /// For people.
    pub message: &'a str,
}

impl<'a> ErrorFrame<'a> {
    /// Reads the body of a frame.
    pub fn parse(header: &Header, body: &'a [u8]) -> Result<Self, WireError> {
        let head: &ErrorHead = header.head(FrameKind::Error, body, "error head")?;
        let mut rest = header.behind_head(body)?;
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

    /// The whole frame.
    pub fn to_frame(&self) -> Vec<u8> {
        let message = raw::cut(self.message, ERROR_TEXT_BYTES_MAX);
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

/// What a client is told of a frame that could not be read.
impl From<&WireError> for ErrorCode {
    fn from(error: &WireError) -> Self {
        error.code()
    }
}

const MESSAGE: &str = "error message";

const _: () = assert!(ERROR_TEXT_BYTES_MAX < ANSWER_BYTES_MAX);
