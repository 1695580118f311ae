//! Fast path for addresses that are almost canonical, as most are.

use std::net::Ipv4Addr;

use super::host::HOST_BYTES_MAX;
use crate::limits::WEB_ADDRESS_BYTES_MAX;

/// Returns the canonical form of an address that is canonical except for scheme, port, case of the host and a missing
/// path; `None` for all others, valid or not. The only allocation is the result, of its exact length.
///
/// The checks of path and query are folds without early exit, which compile to vector instructions.
pub(super) fn canonicalise(text: &[u8]) -> Option<String> {
    if text.len() > WEB_ADDRESS_BYTES_MAX {
        return None;
    }
    let rest = text.strip_prefix(b"http://").or_else(|| text.strip_prefix(b"https://")).unwrap_or(text);
    let host = &rest[..host_len(rest)?];
    let mut tail = strip_port(&rest[host.len()..])?;
    let path_len = tail.iter().position(|&b| b == b'?').unwrap_or(tail.len());
    if !needs_no_escape(tail) || !is_resolved(&tail[..path_len]) {
        return None;
    }
    if path_len + 1 == tail.len() && tail[path_len] == b'?' {
        tail = &tail[..path_len];
    }
    let root = if path_len == 0 { &b"/"[..] } else { b"" };
    let len = host.len() + root.len() + tail.len();
    if len > WEB_ADDRESS_BYTES_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(host);
    out.make_ascii_lowercase();
    out.extend_from_slice(root);
    out.extend_from_slice(tail);
    String::from_utf8(out).ok()
}

/// Returns the length of a host in bytes, if it consists of non-empty labels of letters, digits, `-` and `_`, or is a
/// dotted quad without leading zeros.
fn host_len(rest: &[u8]) -> Option<usize> {
    let mut label_start = 0;
    let mut len = rest.len();
    for (at, &byte) in rest.iter().enumerate() {
        if byte == b'.' {
            if at == label_start {
                return None;
            }
            label_start = at + 1;
        } else if !IN_LABEL[usize::from(byte)] {
            len = at;
            break;
        }
    }
    if label_start == len || len > HOST_BYTES_MAX {
        return None;
    }
    // The last number of an IPv4 address starts with a digit in all notations.
    if rest[label_start].is_ascii_digit() {
        std::str::from_utf8(&rest[..len]).ok()?.parse::<Ipv4Addr>().ok()?;
    }
    Some(len)
}

/// Returns what follows the host, without a port; `None` when it does not start with a port, path or query.
fn strip_port(tail: &[u8]) -> Option<&[u8]> {
    let tail = match tail {
        [b':', after @ ..] => {
            let digits = after.iter().take(6).take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 || !super::is_port(&after[..digits]) {
                return None;
            }
            &after[digits..]
        }
        _ => tail,
    };
    matches!(tail.first(), None | Some(b'/' | b'?')).then_some(tail)
}

fn needs_no_escape(tail: &[u8]) -> bool {
    tail.iter().fold(true, |ok, &b| ok & (b > 0x20) & (b < 0x7F) & (b != b'#') & (b != b'%') & (b != b'\\'))
}

/// Returns whether no slash is followed by another slash or by a dot. This excludes `/.` and `/..`, but also
/// `/.well-known`.
fn is_resolved(path: &[u8]) -> bool {
    let next = path.get(1..).unwrap_or_default();
    path.iter().zip(next).fold(true, |ok, (&b, &n)| ok & !((b == b'/') & ((n == b'/') | (n == b'.'))))
}

const IN_LABEL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'-' || byte as u8 == b'_';
        byte += 1;
    }
    table
};
