//! Canonicalisation of web addresses, as in Safe Browsing.
//!
//! Browsers differ (WHATWG's URL standard): there, `http://host/%41` and `http://host/A` are two addresses; here they
//! are one, because otherwise an escape would evade a list.
//!
//! The rules extend the syntax of RFC 3986 by those on which Google's *URLs and Hashing* pages for v4 and v5 agree.
//! Rules that only v5 has (IPv6) are followed; where Google's Go client differs from the pages, the pages are followed.
//!
//! 1. Outer spaces are trimmed; raw TAB, CR and LF are deleted (their escapes are not).
//! 2. The text is cut at the first literal `#`.
//! 3. Escapes are decoded until none is left. So `%2F` is a separator and `%3F` starts a query.
//! 4. The scheme is parsed; a missing one means http.
//! 5. User info and port are removed, and leading, trailing and repeated dots of the host. The host is converted to
//!    lower case and Punycode; numbers become a dotted quad, IPv6 is compressed (RFC 5952), IPv4-mapped and NAT64 IPv6
//!    becomes IPv4.
//! 6. In the path `/./` and `/../` are resolved, then runs of slashes are collapsed. The query is not changed.
//! 7. Bytes up to 0x20 and from 0x7F, `#` and `%` are escaped with upper-case hexadecimal.
//!
//! The pages do not specify the following cases. They are decided so that **canonical text is a fixed point**: client
//! and server MAY both canonicalise, and a printed key parses as the same key.
//!
//! | input | result | reason |
//! | --- | --- | --- |
//! | `\` before the query | read as `/`, also as `%5C` | browsers do in `http://evil.example\@good.example`; `%2F` is decoded too |
//! | `//host/path` | a missing scheme | RFC 3986, section 4.2 |
//! | `http:host`, `mailto:a@b`, `C:\x`, `\\server\x` | an error | no authority; Google's vectors reject `///host` |
//! | `host:123` | host and port | without `//` after it, a number up to 65535 is a port |
//! | `https://https://host/` | the host `https`, the path `/host/` | the syntax, and what browsers do |
//! | `%zz`, `%4`, `%` | a literal percent sign, `%25` | the table of the page |
//! | `/a//../b` | `/a/b` | dots are resolved before slashes are collapsed, as on the page |
//! | `276.2.3`, `1.2.3.09` | host names | not valid forms of an IPv4 address |
//! | an IDN that IDNA rejects (NBSP, misplaced joiners, not UTF-8) | its bytes escaped | `%01%80.com` on the page |
//! | an IDN with zero-width spaces, soft hyphens, full-width letters | as IDNA maps them | browsers do the same |
//! | `[` or `]` outside an IPv6 literal; `(.)`, `{dot}` etc. | an error | not in DNS; refanging would change it |
//! | a host of more than 253 characters | an error | the limit of DNS |
//! | an IPv6 zone (`%25eth0`) | an error | it is valid on one machine only |

mod check;
mod escape;
mod host;
mod path;
mod plain;

use self::escape::{escape_into, unescape};
use crate::limits::WEB_ADDRESS_BYTES_MAX;

pub(super) use self::{check::is_canonical, host::DEFANGED_DOTS};

/// An error in the text of a web address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebAddressError {
    /// There is no host.
    #[error("expected a web address with a host, found none in {found:?}; write host/path or scheme://host/path")]
    NoHost {
        /// The text, truncated to 80 characters.
        found: String,
    },
    /// The text has a colon but is neither `scheme://…` nor `host:port`.
    #[error("expected `://` or a port after `{word}:`, found {found:?}; write scheme://host/path")]
    NoAuthority {
        /// The word before the colon.
        word: String,
        /// The text after the colon, truncated to 80 characters.
        found: String,
    },
    /// The port is invalid.
    #[error("expected a port of 0 to 65535 after the host, found {found:?}; correct or omit it")]
    Port {
        /// The text in place of the port.
        found: String,
    },
    /// The brackets do not enclose an IPv6 address.
    #[error("expected an IPv6 address without zone in brackets, found {found:?}; write host names without brackets")]
    Ipv6 {
        /// The host.
        found: String,
    },
    /// The host contains a defanged dot.
    #[error("expected a host with plain dots, found {found:?}; replace the defanged dots")]
    Defanged {
        /// The host.
        found: String,
    },
    /// The host is longer than DNS allows.
    #[error("expected a host of up to {} bytes, found {found}; longer DNS names cannot exist", host::HOST_BYTES_MAX)]
    HostTooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// The address is too long, as given or in canonical form.
    #[error("expected a web address of up to {WEB_ADDRESS_BYTES_MAX} bytes, found {found}; look up its host instead")]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
}

/// Returns the canonical form without scheme: `host/path[?query]`, where an empty query is dropped. Addresses that are
/// canonical except for scheme, port and case of the host take a fast path that allocates only the result.
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

/// Returns the canonical URL, `scheme://host/path[?query]`, in ASCII, without user info, port and fragment. This is the
/// form of Safe Browsing's published examples; an empty query keeps its question mark.
///
/// Outer spaces, raw TAB, CR and LF are removed, then everything from the first `#`; escapes are decoded until none is
/// left; a missing scheme is http. Hosts are converted to lower case and Punycode, without leading, trailing and
/// repeated dots, all notations of IPv4 to a dotted quad; IPv6 is compressed. Dot segments and runs of slashes are
/// resolved in the path, never in the query; before the query a backslash is a slash. Bytes up to 0x20 and from 0x7F,
/// `#` and `%` are escaped in upper case.
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

/// Applies rules 1 to 3.
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

/// Splits the text into its scheme and what follows `://`.
fn split_scheme(text: &[u8]) -> Result<(&str, &[u8]), WebAddressError> {
    const DEFAULT: &str = "http";
    if let Some(rest) = text.strip_prefix(b"//") {
        return Ok((DEFAULT, rest));
    }
    let Some(colon) = text.iter().position(|&b| !is_scheme_byte(b)).filter(|&at| text[at] == b':') else {
        return Ok((DEFAULT, text));
    };
    let (word, after) = (std::str::from_utf8(&text[..colon]).unwrap_or_default(), &text[colon + 1..]);
    // A single letter is a drive: no scheme is that short.
    if word.len() > 1
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && let Some(rest) = strip_slashes(after)
    {
        return Ok((word, rest));
    }
    let port = &after[..after.iter().position(|&b| ends_authority(b)).unwrap_or(after.len())];
    if !word.is_empty() && (port.is_empty() || !is_port(port)) {
        return Err(WebAddressError::NoAuthority { word: word.to_owned(), found: excerpt(after) });
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

/// Returns whether the text after the colon of a host is a port; it may be empty (RFC 3986, section 3.2.3).
fn is_port(text: &[u8]) -> bool {
    let number = text.iter().try_fold(0_u32, |number, &b| {
        let digit = b.is_ascii_digit().then(|| u32::from(b - b'0'))?;
        Some(number * 10 + digit).filter(|&number| number <= 0xFFFF)
    });
    number.is_some()
}

/// Returns the first 80 characters, for a message.
fn excerpt(text: &[u8]) -> String {
    // A character has at most four bytes: the rest need not be decoded.
    String::from_utf8_lossy(&text[..text.len().min(320)]).chars().take(80).collect()
}

#[cfg(test)]
mod tests;
