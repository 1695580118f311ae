//! The frame header.

use rend::unaligned::{u16_ule, u32_ule};
use rkyv::{Portable, api::low::LowValidator, bytecheck::CheckBytes, rancor::Failure};

use super::{VERSION, WireError, raw};
use crate::limits::{ANSWER_BYTES_MAX, CONTROL_BYTES_MAX, REQUEST_BYTES_MAX};

/// The length of a header in bytes.
pub const HEADER_BYTES: usize = 16;

/// The kind of a frame. Numbers MUST NOT be reused; later versions MAY add some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// The first frame of the client.
    Hello = 1,
    /// The reply of the server to a hello.
    Welcome = 2,
    /// A batch of keys.
    Request = 3,
    /// The answer to a batch.
    Answer = 4,
    /// A notification from the server, on the control stream.
    Notice = 5,
    /// An error, in place of a welcome or an answer.
    Error = 6,
}

impl FrameKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 6] = [Self::Hello, Self::Welcome, Self::Request, Self::Answer, Self::Notice, Self::Error];

    /// Returns the kind with a number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Returns the name of the kind in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Welcome => "welcome",
            Self::Request => "request",
            Self::Answer => "answer",
            Self::Notice => "notice",
            Self::Error => "error",
        }
    }

    /// Returns the maximum length of a body of this kind, in bytes.
    pub fn body_bytes_max(self) -> usize {
        match self {
            Self::Request => REQUEST_BYTES_MAX,
            Self::Answer => ANSWER_BYTES_MAX,
            Self::Hello | Self::Welcome | Self::Notice | Self::Error => CONTROL_BYTES_MAX,
        }
    }
}

raw::layout! {
    struct RawHeader: 16 {
        magic: [u8; 3],
        version: u8,
        kind: u8,
        flags: u8,
        head_bytes: u16_ule,
        body_bytes: u32_ule,
        reserved: u32_ule,
    }
}

/// A header with valid magic, version, kind and lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The kind of the frame.
    pub kind: FrameKind,
    /// The length of the head in bytes.
    pub head_bytes: u16,
    /// The bytes after the header, including the head: at most [`FrameKind::body_bytes_max`].
    pub body_bytes: u32,
}

impl Header {
    /// Parses a header. It needs no body, so that the length is checked before the body is allocated.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, WireError> {
        let raw: &RawHeader = raw::head(bytes, HEADER_BYTES as u16, "header")?;
        if raw.magic != MAGIC {
            return Err(WireError::Magic { found: raw.magic });
        }
        if raw.version != VERSION {
            return Err(WireError::Version { found: raw.version });
        }
        let kind = FrameKind::from_number(raw.kind)
            .ok_or(WireError::FrameKind { expected: "a number from 1 to 6", found: raw.kind })?;
        let (head_bytes, body_bytes) = (raw.head_bytes.to_native(), raw.body_bytes.to_native());
        let max = kind.body_bytes_max() as u64;
        if u64::from(body_bytes) > max {
            return Err(WireError::TooMuch { field: BODY, max, found: u64::from(body_bytes) });
        }
        if u32::from(head_bytes) > body_bytes {
            let (max, found) = (u64::from(body_bytes), u64::from(head_bytes));
            return Err(WireError::TooMuch { field: "head bytes", max, found });
        }
        Ok(Self { kind, head_bytes, body_bytes })
    }

    /// Splits a whole frame into header and body. Fails when the frame is shorter or longer than the header states.
    pub fn split(frame: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let Some((bytes, body)) = frame.split_first_chunk::<HEADER_BYTES>() else {
            let (expected, found) = (HEADER_BYTES as u64, frame.len() as u64);
            return Err(WireError::TooShort { field: "header", expected, found });
        };
        let header = Self::parse(bytes)?;
        let (expected, found) = (u64::from(header.body_bytes), body.len() as u64);
        if found < expected {
            return Err(WireError::TooShort { field: BODY, expected, found });
        }
        raw::end(&body[header.body_bytes as usize..])?;
        Ok((header, body))
    }

    /// Returns the head of a body. Fails when the frame is of another kind.
    pub(super) fn head<'a, T>(&self, kind: FrameKind, body: &'a [u8], field: &'static str) -> Result<&'a T, WireError>
    where
        T: Portable + for<'b> CheckBytes<LowValidator<'b, Failure>>,
    {
        if self.kind != kind {
            return Err(WireError::FrameKind { expected: kind.name(), found: self.kind as u8 });
        }
        raw::head(body, self.head_bytes, field)
    }

    /// Returns the part of the body after the head.
    pub(super) fn after_head<'a>(&self, body: &'a [u8]) -> Result<&'a [u8], WireError> {
        let (expected, found) = (u64::from(self.head_bytes), body.len() as u64);
        body.get(usize::from(self.head_bytes)..).ok_or(WireError::TooShort { field: "head", expected, found })
    }

    /// Builds a whole frame; `write` appends the body.
    pub(super) fn frame(kind: FrameKind, head_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut frame = vec![0; HEADER_BYTES];
        write(&mut frame);
        Self::fill(&mut frame, kind, head_bytes);
        frame
    }

    /// Writes the header into the first bytes of a frame whose body is complete.
    pub(super) fn fill(frame: &mut [u8], kind: FrameKind, head_bytes: usize) {
        let raw = RawHeader {
            magic: MAGIC,
            version: VERSION,
            kind: kind as u8,
            flags: 0,
            head_bytes: (head_bytes as u16).into(),
            body_bytes: ((frame.len() - HEADER_BYTES) as u32).into(),
            reserved: 0.into(),
        };
        frame[..HEADER_BYTES].copy_from_slice(zerocopy::IntoBytes::as_bytes(&raw));
    }
}

const MAGIC: [u8; 3] = *b"KSN";

/// The field name in the error of an oversized body.
pub(super) const BODY: &str = "body bytes";
