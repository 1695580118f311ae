//! Whether an address is canonical, without canonicalising it: a server checks every address that it receives.
//!
//! Text is canonical exactly if [`canonicalise`](super::canonicalise) returns it unchanged. Usual addresses take a fast
//! path of folds without early exit; the rest of this module is for the others. Nothing is allocated.

use std::{
    fmt::{self, Write},
    net::Ipv6Addr,
};

use super::{
    escape::{canonical_escape, must_escape},
    host::{self, HOST_BYTES_MAX},
    plain,
};

/// Returns whether a host is canonical. A canonical dotted quad MUST be excluded before.
#[inline]
pub(in crate::key) fn is_host(host: &[u8]) -> bool {
    if host.first() == Some(&b'[') {
        return is_ipv6(host);
    }
    let mut label_start = 0;
    let mut is_plain = true;
    for (at, &byte) in host.iter().enumerate() {
        if byte == b'.' {
            if at == label_start {
                return false;
            }
            label_start = at + 1;
        }
        is_plain &= IS_PLAIN[usize::from(byte)];
    }
    // An empty host has an empty last label, too.
    if label_start == host.len() || host.len() > HOST_BYTES_MAX || !(is_plain || is_escaped_name(host)) {
        return false;
    }
    // The last number of an IPv4 address starts with a digit in all notations.
    !host[label_start].is_ascii_digit() || std::str::from_utf8(host).is_ok_and(|name| host::parse_ipv4(name).is_none())
}

/// Returns whether a path, which starts with a slash, and a query without its question mark are canonical.
#[inline]
pub(in crate::key) fn is_path(path: &[u8], query: Option<&[u8]>) -> bool {
    let text = query.unwrap_or_default();
    // An empty query is dropped.
    if query.is_some() && text.is_empty() {
        return false;
    }
    (plain::needs_no_escape(path) && plain::is_resolved(path) && plain::needs_no_escape(text))
        || (is_resolved(path) && !path.contains(&b'\\') && is_escaped(path) && is_escaped(text))
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

/// Returns whether all bytes that need an escape have one, and no others.
fn is_escaped(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'%' if canonical_escape(rest).is_some() => &rest[3..],
            _ if must_escape(byte) => return false,
            _ => after,
        };
    }
    true
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

/// The bytes of names without escapes, upper case and brackets.
const IS_PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = matches!(byte as u8, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        byte += 1;
    }
    table
};
