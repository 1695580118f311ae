//! Whether an address is canonical, without canonicalising it: a server checks every address that it receives.
//!
//! Text is canonical exactly if [`canonicalise`](super::canonicalise) returns it unchanged. Nothing is
//! allocated. All bytes are classified without a branch; what needs a closer look is rare.

use std::{
    fmt::{self, Write},
    net::Ipv6Addr,
};

use super::{
    escape::{canonical_escape, must_escape},
    host::{self, HOST_BYTES_MAX},
};
use crate::{key::find::find, limits::WEB_ADDRESS_BYTES_MAX};

/// Returns whether a text is canonical, given the offsets at which its path starts and ends: those of the first slash
/// and of the first question mark, or the end. `is_ipv4` is whether the host is a canonical dotted quad.
#[inline]
pub(in crate::key) fn is_canonical(text: &[u8], path_start: usize, path_end: usize, is_ipv4: bool) -> bool {
    let (host, tail) = text.split_at(path_start);
    let path = &text[path_start..path_end];
    // An empty query is dropped.
    text.len() <= WEB_ADDRESS_BYTES_MAX
        && path_end + 1 != text.len()
        && (is_ipv4 || is_host(host))
        && is_escaped_tail(tail, path)
        && (!has_adjacent_separators(&text[..path_end]) || (has_no_empty_label(host) && is_resolved(path)))
}

/// Returns whether a host is canonical, except for empty labels after the first. Excludes dotted quads.
#[inline]
fn is_host(host: &[u8]) -> bool {
    let class = |byte: u8, _| {
        let is_letter = byte.wrapping_sub(b'a') < 26;
        let is_plain = is_letter | (byte.wrapping_sub(b'-') < 13) | (byte == b'_');
        u8::from(!is_plain | (byte == b'/'))
    };
    match host.first() {
        None | Some(b'.') => return false,
        Some(b'[') => return is_ipv6(host),
        Some(_) => {}
    }
    if host.len() > HOST_BYTES_MAX || (fold(host, host, class) != 0 && !is_escaped_name(host)) {
        return false;
    }
    let last_label = host.iter().rposition(|&b| b == b'.').map_or(0, |at| at + 1);
    // The last number of an IPv4 address starts with a digit in all notations.
    !host.get(last_label).is_some_and(u8::is_ascii_digit)
        || std::str::from_utf8(host).is_ok_and(|name| host::parse_ipv4(name).is_none())
}

/// Returns whether all bytes of a path and query that need an escape have one, and no others. A backslash is a slash in
/// the path.
#[inline]
fn is_escaped_tail(tail: &[u8], path: &[u8]) -> bool {
    const NEVER: u8 = 1;
    const PERCENT: u8 = 2;
    const BACKSLASH: u8 = 4;
    let classes = fold(tail, tail, |byte, _| {
        let never = (byte <= 0x20) | (byte >= 0x7F) | (byte == b'#');
        (u8::from(never) * NEVER) | (u8::from(byte == b'%') * PERCENT) | (u8::from(byte == b'\\') * BACKSLASH)
    });
    classes & NEVER == 0
        && (classes & PERCENT == 0 || has_canonical_escapes(tail))
        && (classes & BACKSLASH == 0 || find(path, b'\\').is_none())
}

/// Returns whether each percent sign begins a canonical escape.
fn has_canonical_escapes(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = find(rest, b'%') {
        if canonical_escape(&rest[at..]).is_none() {
            return false;
        }
        rest = &rest[at + 3..];
    }
    true
}

/// Returns whether a slash or a dot follows a slash or a dot. Only then can a host have an empty label, or a path an
/// empty segment, `.` or `..`.
#[inline]
fn has_adjacent_separators(text: &[u8]) -> bool {
    let is_separator = |byte: u8| u8::from(byte | 1 == b'/');
    let Some((_, next)) = text.split_first() else { return false };
    fold(&text[..next.len()], next, |byte, next| is_separator(byte) & is_separator(next)) != 0
}

fn has_no_empty_label(host: &[u8]) -> bool {
    host.split(|&b| b == b'.').all(|label| !label.is_empty())
}

/// Combines the classes of all pairs of bytes of two texts of the same length. Compiles to vector instructions without a
/// loop over the last bytes, which would take longer than all others.
#[inline(always)]
fn fold(text: &[u8], other: &[u8], class: impl Fn(u8, u8) -> u8) -> u8 {
    let mut classes = [0; LANES];
    let mut add = |bytes: &[u8; LANES], other: &[u8; LANES]| {
        for ((all, &byte), &other) in classes.iter_mut().zip(bytes).zip(other) {
            *all |= class(byte, other);
        }
    };
    match (text.last_chunk(), other.last_chunk()) {
        (Some(last), Some(last_other)) => {
            text.as_chunks().0.iter().zip(other.as_chunks().0).for_each(|(bytes, other)| add(bytes, other));
            add(last, last_other);
        }
        _ => {
            // A letter is in no class.
            let (mut bytes, mut others) = ([b'a'; LANES], [b'a'; LANES]);
            bytes[..text.len()].copy_from_slice(text);
            others[..other.len()].copy_from_slice(other);
            add(&bytes, &others);
        }
    }
    classes.into_iter().fold(0, |all, class| all | class)
}

/// Returns whether a host name with unusual bytes is canonical, apart from its dots and numbers.
fn is_escaped_name(name: &[u8]) -> bool {
    let mut decoded = [0; HOST_BYTES_MAX];
    let mut len = 0;
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let is_changed = matches!(byte, b'A'..=b'Z' | b'@' | b':' | b'[' | b']' | b'\\' | b'?');
        let (byte, after) = match byte {
            b'%' => match canonical_escape(rest) {
                Some(byte) => (byte, &rest[3..]),
                None => return false,
            },
            _ if is_changed || must_escape(byte) => return false,
            _ => (byte, after),
        };
        decoded[len] = byte;
        len += 1;
        rest = after;
    }
    let is_defanged = std::str::from_utf8(name).is_ok_and(host::is_defanged);
    !is_defanged && !host::is_idn(&decoded[..len])
}

/// Returns whether no segment of a path is empty (but the last may be), `.` or `..`.
fn is_resolved(path: &[u8]) -> bool {
    let mut segments = path.split(|&b| b == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if matches!(segment, b"." | b"..") || (segment.is_empty() && !is_last) {
            return false;
        }
    }
    true
}

/// Returns whether a host is an IPv6 address in the form of RFC 5952, which embeds no IPv4 address.
fn is_ipv6(host: &[u8]) -> bool {
    let [b'[', text @ .., b']'] = host else { return false };
    let Some(address) = std::str::from_utf8(text).ok().and_then(|text| text.parse::<Ipv6Addr>().ok()) else {
        return false;
    };
    let mut expected = Expected(text);
    host::embedded_ipv4(address).is_none() && write!(expected, "{address}").is_ok() && expected.0.is_empty()
}

/// A writer that fails unless exactly this text is written, as far as it was written.
struct Expected<'a>(&'a [u8]);

impl Write for Expected<'_> {
    fn write_str(&mut self, written: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(written.as_bytes()).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// The number of bytes that are classified at once.
const LANES: usize = 16;
