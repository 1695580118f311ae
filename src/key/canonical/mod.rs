//! Canonical web addresses, as Safe Browsing has them.
//!
//! This is not what a browser does with an address (WHATWG's URL standard): there, `http://host/%41` and
//! `http://host/A` are two addresses; here they are one, because a list that can be evaded by an escape is none.
//!
//! The rules are those of Google's *URLs and Hashing* pages, where the one for v4 and the one for v5 agree, on top of
//! the syntax of RFC 3986. What only v5 says (IPv6) is followed; where Google's Go client differs from the pages, the
//! pages are.
//!
//! 1. Outer spaces are trimmed; raw TAB, CR and LF are deleted (their escapes are not).
//! 2. The text is cut at the first literal `#`.
//! 3. Escapes are undone until none is left. So `%2F` is a separator and `%3F` starts a query.
//! 4. The scheme is read; a missing one means http.
//! 5. User info and port are dropped. The host loses outer dots and runs of dots, is put in lower case and Punycode;
//!    numbers become a dotted quad, IPv6 is compressed (RFC 5952), IPv4-mapped and NAT64 IPv6 becomes IPv4.
//! 6. In the path `/./` and `/../` are resolved, then runs of slashes are collapsed. The query is left alone.
//! 7. Bytes up to 0x20, from 0x7F on, `#` and `%` are escaped with upper-case hexadecimal.
//!
//! What the pages leave open is decided here, so that **canonical text is a fixed point**: a client and a server may
//! both canonicalise, and a key that is printed reads back as itself.
//!
//! | found | decided | because |
//! | --- | --- | --- |
//! | `\` before the query | it is `/`, also as `%5C` | every browser reads `http://evil.example\@good.example` so; what `%2F` is, `%5C` is |
//! | `//host/path` | a missing scheme | RFC 3986, section 4.2 |
//! | `http:host`, `mailto:a@b`, `C:\x`, `\\server\x` | an error | no authority; `///host` must fail too in Google's vectors |
//! | `host:123` | host and port | without `//` behind it, a number up to 65535 is a port |
//! | `https://https://host/` | the host `https`, the path `/host/` | it is what the syntax says and what browsers do |
//! | `%zz`, `%4`, `%` | the percent sign itself, `%25` | the page's own table |
//! | `/a//../b` | `/a/b` | dots are resolved before slashes are collapsed, in the page's order |
//! | `276.2.3`, `1.2.3.09` | host names | no legal form of an IPv4 address |
//! | an IDN that IDNA refuses (NBSP, joiners out of place, no UTF-8) | its bytes escaped | the page's `%01%80.com` |
//! | an IDN with zero-width spaces, soft hyphens, full-width letters | as IDNA maps them | browsers go there |
//! | `[` or `]` in a host that is no IPv6 literal; `(.)`, `{dot}` and their like | an error | no such name exists, and undoing defanged forms would change it |
//! | a host of more than 253 characters | an error | DNS cannot carry it |
//! | an IPv6 zone (`%25eth0`) | an error | it means something on one machine only |

mod escape;
mod host;
mod path;
mod plain;

use self::escape::{escape_into, unescape};
use crate::limits::WEB_ADDRESS_BYTES_MAX;

pub(super) use self::host::{DEFANGED_DOTS, HOST_BYTES_MAX};

/// Why a text is no web address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebAddressError {
    /// There is no host.
    #[error("expected a web address with a host, found none in {found:?}; write host/path or scheme://host/path")]
    NoHost {
        /// The text, cut to 80 characters.
        found: String,
    },
    /// What has a colon is neither `scheme://…` nor `host:port`.
    #[error("expected `://` or a port behind `{word}:`, found {found:?}; write scheme://host/path")]
    NoAuthority {
        /// The word before the colon.
        word: String,
        /// What follows it, cut to 80 characters.
        found: String,
    },
    /// The port is no port.
    #[error("expected a port of 0 to 65535 behind the host, found {found:?}; correct or omit it")]
    Port {
        /// What stands where the port should.
        found: String,
    },
    /// The brackets enclose no IPv6 address.
    #[error("expected an IPv6 address without zone in brackets, found {found:?}; a host name takes no brackets")]
    Ipv6 {
        /// The host.
        found: String,
    },
    /// The host holds a dot written so that nobody follows it.
    #[error("expected a host, found {found:?}, whose dots are defanged; write plain dots")]
    Defanged {
        /// The host.
        found: String,
    },
    /// The host is longer than DNS can carry.
    #[error("expected a host of up to {} characters, found {found}; no such name can exist", host::HOST_BYTES_MAX)]
    HostTooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// The address, as given or in canonical form, is too long.
    #[error("expected a web address of up to {WEB_ADDRESS_BYTES_MAX} bytes, found {found}; ask for its host instead")]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
}

/// The canonical form without scheme: `host/path[?query]`, where an empty query is none. Addresses that are canonical
/// but for scheme, port and case of the host take a path that allocates nothing but the result.
pub(super) fn canonicalise(text: &[u8]) -> Result<String, WebAddressError> {
    match plain::canonicalise(text) {
        Some(address) => Ok(address),
        None => canonicalise_any(text),
    }
}

fn canonicalise_any(text: &[u8]) -> Result<String, WebAddressError> {
    let text = unescaped(text)?;
    let (_, rest) = split_scheme(&text)?;
    let mut out = String::with_capacity(rest.len() + 1);
    write_rest(&mut out, rest, EmptyQuery::Drop)?;
    Ok(out)
}

/// The canonical URL, `scheme://host/path[?query]`, in ASCII, without user info, port and fragment. This is the form
/// of Safe Browsing's published examples; an empty query keeps its question mark.
///
/// Outer spaces, raw TAB, CR and LF go, then all from the first `#` on; escapes are undone until none is left; a missing
/// scheme is http. Hosts are put in lower case and Punycode, without outer dots and runs of dots, all spellings of IPv4
/// as a dotted quad, IPv6 compressed. Dot segments and runs of slashes are resolved in the path, never in the query; up
/// to the query a backslash is a slash. Bytes up to 0x20, from 0x7F on, `#` and `%` are escaped in upper case.
///
/// ```
/// use ksn::key::canonical_url;
/// assert_eq!(canonical_url(b"http://3279880203/a/%2e./b#c").unwrap(), "http://195.127.0.11/b");
/// assert_eq!(canonical_url(b"www.google.com/q?").unwrap(), "http://www.google.com/q?");
/// ```
pub fn canonical_url(text: &[u8]) -> Result<String, WebAddressError> {
    let text = unescaped(text)?;
    let (scheme, rest) = split_scheme(&text)?;
    let mut out = String::with_capacity(scheme.len() + rest.len() + 4);
    out.push_str(scheme);
    out.make_ascii_lowercase();
    out.push_str("://");
    write_rest(&mut out, rest, EmptyQuery::Keep)?;
    Ok(out)
}

#[derive(Clone, Copy, PartialEq)]
enum EmptyQuery {
    Keep,
    Drop,
}

/// Rules 1 to 3.
fn unescaped(text: &[u8]) -> Result<Vec<u8>, WebAddressError> {
    if text.len() > WEB_ADDRESS_BYTES_MAX {
        return Err(WebAddressError::TooLong { found: text.len() });
    }
    let is_outer = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let start = text.iter().position(|b| !is_outer(b)).unwrap_or(text.len());
    let end = text.iter().rposition(|b| !is_outer(b)).map_or(start, |last| last + 1);
    let raw = &text[start..end];
    let raw = raw.iter().position(|&b| b == b'#').map_or(raw, |at| &raw[..at]);
    Ok(unescape(raw.iter().copied().filter(|b| !matches!(b, b'\t' | b'\r' | b'\n'))))
}

/// The scheme, and what follows its `://`.
fn split_scheme(text: &[u8]) -> Result<(&str, &[u8]), WebAddressError> {
    const DEFAULT: &str = "http";
    if let Some(rest) = text.strip_prefix(b"//") {
        return Ok((DEFAULT, rest));
    }
    let Some(colon) = text.iter().position(|&b| !is_scheme_byte(b)).filter(|&at| text[at] == b':') else {
        return Ok((DEFAULT, text));
    };
    let (word, behind) = (std::str::from_utf8(&text[..colon]).unwrap_or_default(), &text[colon + 1..]);
    // One letter is a drive: there is no such scheme.
    if word.len() > 1
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && let Some(rest) = strip_slashes(behind)
    {
        return Ok((word, rest));
    }
    let port = &behind[..behind.iter().position(|&b| ends_authority(b)).unwrap_or(behind.len())];
    if !word.is_empty() && (port.is_empty() || !is_port(port)) {
        return Err(WebAddressError::NoAuthority { word: word.to_owned(), found: excerpt(behind) });
    }
    Ok((DEFAULT, text))
}

fn write_rest(out: &mut String, rest: &[u8], empty_query: EmptyQuery) -> Result<(), WebAddressError> {
    let start = out.len();
    let path_start = rest.iter().position(|&b| ends_authority(b)).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(path_start);
    host::write(out, authority).map_err(|error| match error {
        WebAddressError::NoHost { .. } => WebAddressError::NoHost { found: excerpt(rest) },
        other => other,
    })?;
    let path_len = path_and_query.iter().position(|&b| b == b'?').unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(path_len);
    escape_into(out, &path::resolve(path));
    if query.len() > 1 || (query.len() == 1 && empty_query == EmptyQuery::Keep) {
        escape_into(out, query);
    }
    let found = out.len() - start;
    if found > WEB_ADDRESS_BYTES_MAX { Err(WebAddressError::TooLong { found }) } else { Ok(()) }
}

fn strip_slashes(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'/' | b'\\', b'/' | b'\\', rest @ ..] => Some(rest),
        _ => None,
    }
}

fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

fn ends_authority(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\' | b'?')
}

/// Whether the text behind a host's colon is a port; an empty one is (RFC 3986, section 3.2.3).
fn is_port(text: &[u8]) -> bool {
    let number = text.iter().try_fold(0_u32, |number, &b| {
        let digit = b.is_ascii_digit().then(|| u32::from(b - b'0'))?;
        Some(number * 10 + digit).filter(|&number| number <= 0xFFFF)
    });
    number.is_some()
}

/// The first 80 characters, for a message.
fn excerpt(text: &[u8]) -> String {
    // Four bytes a character at most: what lies behind need not be decoded.
    String::from_utf8_lossy(&text[..text.len().min(320)]).chars().take(80).collect()
}

#[cfg(test)]
mod tests;
