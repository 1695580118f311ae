//! The request frame: a batch of keys.

use rend::unaligned::{u16_ule, u32_ule, u64_ule};
use zerocopy::{FromBytes, IntoBytes, little_endian::U32};

use super::{FrameKind, HEADER_BYTES, Header, WireError, raw};
use crate::{
    batch::{Column, Detail, Texts},
    key::{KeyKind, PrefixWidth},
    limits,
};

raw::layout! {
    struct RequestHead: 40 {
        detail: u8,
        reserved: u8,
        columns: u16_ule,
        deadline_ms: u32_ule,
        generation_min: u64_ule,
        sequence_min: u64_ule,
        reserved_too: [u8; 16],
    }
}

raw::layout! {
    struct ColumnRow: 16 {
        kind: u8,
        width: u8,
        flags: u16_ule,
        count: u32_ule,
        offset: u32_ule,
        length: u32_ule,
    }
}

/// The options of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestOptions {
    /// Whether the winning record or all records are returned.
    pub detail: Detail,
    /// Deadline in milliseconds; 0 means the server's.
    pub deadline_ms: u32,
    /// The minimum generation of the dataset; 0 for any.
    pub generation_min: u64,
    /// The minimum sequence within that generation.
    pub sequence_min: u64,
}

/// The limits that a request is checked against; the length of its body is checked with the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Maximum number of columns.
    pub columns: usize,
    /// Maximum number of keys in all columns.
    pub keys: u64,
    /// Maximum cost of the keys.
    pub cost: u64,
    /// Maximum length of a web address, in bytes.
    pub address_bytes: usize,
}

/// Returns the values of [`limits`].
impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            columns: limits::BATCH_COLUMNS_MAX,
            keys: limits::BATCH_KEYS_MAX as u64,
            cost: limits::BATCH_COST_MAX,
            address_bytes: limits::WEB_ADDRESS_BYTES_MAX,
        }
    }
}

/// A column of a received request.
#[derive(Clone, Copy, Debug)]
pub enum RequestColumn<'a> {
    /// Keys of a kind that this version knows.
    Known(Column<'a>),
    /// Keys of an unknown kind, or a column with an unknown flag: unsupported as a whole.
    Unknown {
        /// The number of the kind.
        kind: u8,
        /// The number of keys.
        count: u32,
    },
}

impl RequestColumn<'_> {
    /// Returns the number of keys.
    pub fn rows(&self) -> u32 {
        match self {
            Self::Known(column) => column.rows() as u32,
            Self::Unknown { count, .. } => *count,
        }
    }
}

/// A validated request.
#[derive(Clone, Debug)]
pub struct RequestView<'a> {
    options: RequestOptions,
    columns: Vec<RequestColumn<'a>>,
    keys: u64,
    cost: u64,
}

impl<'a> RequestView<'a> {
    /// Parses the body of a frame. Checks every length, offset and limit.
    pub fn parse(header: &Header, body: &'a [u8], limits: &RequestLimits) -> Result<Self, WireError> {
        let head: &RequestHead = header.head(FrameKind::Request, body, "request head")?;
        let detail = match head.detail {
            0 => Detail::Winner,
            1 => Detail::All,
            found => {
                return Err(WireError::Number { field: "detail", expected: "0 or 1", found: u64::from(found) });
            }
        };
        let mut rest = header.after_head(body)?;
        let count = usize::from(head.columns.to_native());
        at_most(COLUMNS, limits.columns as u64, count as u64)?;
        let rows: &[ColumnRow] = raw::rows(&mut rest, count, "columns")?;
        let mut request = Self {
            options: RequestOptions {
                detail,
                deadline_ms: head.deadline_ms.to_native(),
                generation_min: head.generation_min.to_native(),
                sequence_min: head.sequence_min.to_native(),
            },
            columns: Vec::with_capacity(count),
            keys: 0,
            cost: 0,
        };
        for row in rows {
            let offset = (body.len() - rest.len()) as u64;
            exactly("offset of a column", offset, u64::from(row.offset.to_native()))?;
            let bytes: &[u8] = raw::rows(&mut rest, row.length.to_native() as usize, "keys of a column")?;
            let kind = KeyKind::from_number(row.kind).filter(|_| row.flags == 0);
            let count = row.count.to_native();
            request.keys += u64::from(count);
            at_most(KEYS, limits.keys, request.keys)?;
            let column = column(kind, row, bytes, limits)?;
            request.cost += match &column {
                RequestColumn::Known(column) => column.cost(0..count as usize),
                RequestColumn::Unknown { .. } => u64::from(count) * limits::PROBE_COST,
            };
            at_most(COST, limits.cost, request.cost)?;
            request.columns.push(column);
        }
        raw::end(rest)?;
        Ok(request)
    }

    /// Returns the deadline that a request asks for, in milliseconds (0 for the server's), from the first bytes of its
    /// body; `None` until they contain the head. A receiver applies it to the rest of the body.
    pub fn deadline_ms(header: &Header, arrived: &[u8]) -> Result<Option<u32>, WireError> {
        if arrived.len() < size_of::<RequestHead>() && arrived.len() < header.body_bytes as usize {
            return Ok(None);
        }
        let head: &RequestHead = header.head(FrameKind::Request, arrived, "request head")?;
        Ok(Some(head.deadline_ms.to_native()))
    }

    /// Returns the options.
    pub fn options(&self) -> &RequestOptions {
        &self.options
    }

    /// Returns the columns, in order.
    pub fn columns(&self) -> &[RequestColumn<'a>] {
        &self.columns
    }

    /// Returns the number of keys in all columns.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Returns the cost of all keys.
    pub fn cost(&self) -> u64 {
        self.cost
    }
}

/// Returns the length of the body of a request with these columns, in bytes.
pub fn request_bytes(columns: &[Column<'_>]) -> usize {
    let keys: usize = columns.iter().map(column_bytes).sum();
    size_of::<RequestHead>() + columns.len() * size_of::<ColumnRow>() + keys
}

/// Serializes a whole frame. The caller MUST observe the server's limits, which are far below those of the 32-bit
/// fields.
pub fn write_request(options: &RequestOptions, columns: &[Column<'_>]) -> Vec<u8> {
    let body_bytes = request_bytes(columns);
    let mut frame = Vec::with_capacity(HEADER_BYTES + body_bytes);
    frame.resize(HEADER_BYTES, 0);
    raw::push(
        &mut frame,
        &RequestHead {
            detail: match options.detail {
                Detail::Winner => 0,
                Detail::All => 1,
            },
            reserved: 0,
            columns: (columns.len() as u16).into(),
            deadline_ms: options.deadline_ms.into(),
            generation_min: options.generation_min.into(),
            sequence_min: options.sequence_min.into(),
            reserved_too: [0; 16],
        },
    );
    let mut offset = size_of::<RequestHead>() + columns.len() * size_of::<ColumnRow>();
    for column in columns {
        let length = column_bytes(column);
        let row = ColumnRow {
            kind: column.kind().number(),
            width: match column {
                Column::Prefixes { width, .. } | Column::WebPrefixes { width, .. } => width.bytes() as u8,
                Column::Digests { .. } | Column::Web(_) | Column::Ipv4(_) => width(column.kind()),
            },
            flags: 0.into(),
            count: (column.rows() as u32).into(),
            offset: (offset as u32).into(),
            length: (length as u32).into(),
        };
        raw::push(&mut frame, &row);
        offset += length;
    }
    for column in columns {
        match column {
            Column::Digests { bytes, .. } | Column::Prefixes { bytes, .. } | Column::WebPrefixes { bytes, .. } => {
                frame.extend_from_slice(bytes);
            }
            Column::Ipv4(addresses) => frame.extend_from_slice(addresses.as_flattened()),
            Column::Web(texts) => {
                frame.extend_from_slice(texts.ends().as_bytes());
                frame.extend_from_slice(texts.bytes());
            }
        }
    }
    Header::fill(&mut frame, FrameKind::Request, size_of::<RequestHead>());
    frame
}

fn column<'a>(
    kind: Option<KeyKind>,
    row: &ColumnRow,
    bytes: &'a [u8],
    limits: &RequestLimits,
) -> Result<RequestColumn<'a>, WireError> {
    let count = row.count.to_native();
    let length = u64::from(row.length.to_native());
    // This holds for every column, whatever its kind.
    if row.width > 0 {
        exactly("length of a column", u64::from(count) * u64::from(row.width), length)?;
    }
    let Some(kind) = kind else {
        return Ok(RequestColumn::Unknown { kind: row.kind, count });
    };
    let expected = width(kind);
    let prefix = PrefixWidth::from_bytes(row.width.into());
    if row.width != expected && !(prefix.is_some() && kind != KeyKind::Ipv4) {
        return Err(match kind {
            KeyKind::Digest(_) if row.width > 0 && row.width < expected => {
                WireError::Width { kind: row.kind, expected, found: row.width }
            }
            _ => WireError::Mismatch {
                field: "width of a column",
                expected: u64::from(expected),
                found: u64::from(row.width),
            },
        });
    }
    Ok(RequestColumn::Known(match (kind, prefix) {
        (KeyKind::Digest(kind), Some(width)) => Column::Prefixes { kind, width, bytes },
        (KeyKind::Digest(kind), None) => Column::Digests { kind, bytes },
        (KeyKind::Ipv4, _) => {
            let addresses = <[[u8; 4]]>::ref_from_bytes(bytes);
            let too_short = WireError::TooShort { field: "IPv4 addresses", expected: 4, found: length % 4 };
            Column::Ipv4(addresses.map_err(|_| too_short)?)
        }
        (KeyKind::Web, Some(width)) => Column::WebPrefixes { width, bytes },
        (KeyKind::Web, None) => {
            let mut rest = bytes;
            let ends: &[U32] = raw::rows(&mut rest, count as usize, ADDRESSES)?;
            let texts = Texts::new(ends, rest).ok_or(WireError::TextEnds { field: ADDRESSES })?;
            let longest = (0..texts.len()).map(|at| texts.get(at).len()).max().unwrap_or(0);
            at_most(ADDRESS, limits.address_bytes as u64, longest as u64)?;
            Column::Web(texts)
        }
    }))
}

/// Returns the width of a whole key in bytes; 0 for texts.
fn width(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::Digest(kind) => kind.width() as u8,
        KeyKind::Web => 0,
        KeyKind::Ipv4 => 4,
    }
}

fn column_bytes(column: &Column<'_>) -> usize {
    match column {
        Column::Digests { bytes, .. } | Column::Prefixes { bytes, .. } | Column::WebPrefixes { bytes, .. } => {
            bytes.len()
        }
        Column::Ipv4(addresses) => addresses.len() * 4,
        Column::Web(texts) => texts.len() * 4 + texts.bytes().len(),
    }
}

fn at_most(field: &'static str, max: u64, found: u64) -> Result<(), WireError> {
    if found > max { Err(WireError::TooMuch { field, max, found }) } else { Ok(()) }
}

fn exactly(field: &'static str, expected: u64, found: u64) -> Result<(), WireError> {
    if found == expected { Ok(()) } else { Err(WireError::Mismatch { field, expected, found }) }
}

// The fields whose limits have their own error codes.
pub(super) const COLUMNS: &str = "columns of a batch";
pub(super) const KEYS: &str = "keys of a batch";
pub(super) const COST: &str = "cost of a batch";
pub(super) const ADDRESS: &str = "bytes of a web address";

const ADDRESSES: &str = "web addresses";
