//! Structs of unaligned little-endian integers, read from bytes in place.

use rkyv::{
    Portable,
    api::low::{self, LowValidator},
    bytecheck::CheckBytes,
    rancor::Failure,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian::U32};

use super::WireError;
use crate::{batch::Texts, limits::DATASET_BYTES_MAX};

/// Reads the head of a body in place. `head_bytes` is its length according to the header; it may be longer than `T`.
pub(super) fn head<'a, T>(body: &'a [u8], head_bytes: u16, field: &'static str) -> Result<&'a T, WireError>
where
    T: Portable + for<'b> CheckBytes<LowValidator<'b, Failure>>,
{
    let (expected, found) = (size_of::<T>() as u64, u64::from(head_bytes));
    if found < expected {
        return Err(WireError::TooShort { field, expected, found });
    }
    low::access_pos::<T, Failure>(body, 0).map_err(|_| WireError::TooShort {
        field,
        expected,
        found: body.len() as u64,
    })
}

/// Splits `count` rows off the front of `rest`.
pub(super) fn rows<'a, T>(rest: &mut &'a [u8], count: usize, field: &'static str) -> Result<&'a [T], WireError>
where
    T: FromBytes + Immutable + KnownLayout,
{
    let too_short = |found: &[u8]| WireError::TooShort {
        field,
        expected: (count as u64).saturating_mul(size_of::<T>() as u64),
        found: found.len() as u64,
    };
    let (rows, remaining) = <[T]>::ref_from_prefix_with_elems(rest, count).map_err(|_| too_short(rest))?;
    *rest = remaining;
    Ok(rows)
}

/// Splits `count` texts of `bytes` bytes in total off the front of `rest`. Fails unless the ends ascend and each text
/// is UTF-8.
pub(super) fn texts<'a>(
    rest: &mut &'a [u8],
    count: usize,
    bytes: usize,
    field: &'static str,
) -> Result<Texts<'a>, WireError> {
    let ends: &[U32] = rows(rest, count, field)?;
    let bytes: &[u8] = rows(rest, bytes, field)?;
    let all = std::str::from_utf8(bytes).map_err(|e| WireError::Text { field, at: e.valid_up_to() as u64 })?;
    if let Some(end) = ends.iter().find(|end| !all.is_char_boundary(end.get() as usize)) {
        return Err(WireError::Text { field, at: u64::from(end.get()) });
    }
    Texts::new(ends, bytes).ok_or(WireError::TextEnds { field })
}

/// Returns one of [`texts`], which are known to be UTF-8; empty when the index is out of range.
pub(super) fn text<'a>(texts: &Texts<'a>, at: usize) -> &'a str {
    if at >= texts.len() {
        return "";
    }
    std::str::from_utf8(texts.get(at)).unwrap_or("")
}

/// Fails when bytes are left.
pub(super) fn end(rest: &[u8]) -> Result<(), WireError> {
    if rest.is_empty() { Ok(()) } else { Err(WireError::Trailing { found: rest.len() as u64 }) }
}

/// Appends texts: their ends, then their bytes.
pub(super) fn push_texts(out: &mut Vec<u8>, texts: &[&str]) {
    let mut end = 0;
    for text in texts {
        end += text.len() as u32;
        out.extend_from_slice(&end.to_le_bytes());
    }
    texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
}

/// Appends a struct.
pub(super) fn push<T: IntoBytes + Immutable>(out: &mut Vec<u8>, value: &T) {
    out.extend_from_slice(value.as_bytes());
}

/// Truncates a text to at most `bytes_max` bytes, at a character boundary.
pub(super) fn truncate(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

/// Returns the name of a dataset as its fixed-size field, padded with zeros.
pub(super) fn dataset_field(name: &str) -> [u8; DATASET_BYTES_MAX] {
    let mut field = [0; DATASET_BYTES_MAX];
    let name = truncate(name, DATASET_BYTES_MAX).as_bytes();
    field[..name.len()].copy_from_slice(name);
    field
}

/// Returns the name of a dataset from its fixed-size field. Fails unless it is printable ASCII, padded with zeros.
pub(super) fn dataset_name(field: &[u8; DATASET_BYTES_MAX]) -> Result<&str, WireError> {
    let length = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    let (name, padding) = field.split_at(length);
    let valid = name.iter().all(u8::is_ascii_graphic) && padding.iter().all(|&b| b == 0);
    std::str::from_utf8(name).ok().filter(|_| valid).ok_or(WireError::Text { field: "dataset", at: 0 })
}

/// Declares a `repr(C)` struct without padding and of alignment 1, readable in place, and asserts its size.
macro_rules! layout {
    ($(#[$attr:meta])* $vis:vis struct $name:ident: $bytes:literal { $($(#[$field_attr:meta])* $field_vis:vis $field:ident: $type:ty,)* }) => {
        $(#[$attr])*
        #[derive(
            Clone, Copy, Debug, rkyv::Portable, rkyv::bytecheck::CheckBytes,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout, zerocopy::Unaligned,
        )]
        #[bytecheck(crate = rkyv::bytecheck)]
        #[repr(C)]
        $vis struct $name { $($(#[$field_attr])* $field_vis $field: $type,)* }

        const _: () = assert!(size_of::<$name>() == $bytes && align_of::<$name>() == 1);
    };
}
pub(super) use layout;
