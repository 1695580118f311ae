//! Hosts: names, IPv4 in all notations, IPv6 in brackets.

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
};

use idna::{
    AsciiDenyList,
    uts46::{ErrorPolicy, Hyphens, Uts46},
};

use super::{WebAddressError, escape::escape_into, excerpt, is_port};

/// Maximum length of a host in canonical form, in bytes: what fits into the 255 bytes of a DNS name (RFC 1035, section
/// 2.3.4). An escape counts as its three bytes.
pub(super) const HOST_BYTES_MAX: usize = 253;

/// Maximum length of an IDN in bytes, before Punycode. A character takes at most four bytes in UTF-8 and at least one
/// in Punycode.
const IDN_BYTES_MAX: usize = 4 * HOST_BYTES_MAX;

/// Forms of a dot in a defanged host, in lower case. A canonical host contains none of them, so that refanging does not
/// change it. `[.` and `.]` occur in partially defanged hosts.
pub(in crate::key) const DEFANGED_DOTS: [&str; 10] =
    ["[.]", "(.)", "{.}", "[dot]", "(dot)", "{dot}", "[.", ".]", "[,]", "(,)"];

/// Appends the canonical host of an authority, without user info and port.
pub(super) fn write(out: &mut String, authority: &[u8]) -> Result<(), WebAddressError> {
    let host = authority.iter().rposition(|&b| b == b'@').map_or(authority, |at| &authority[at + 1..]);
    if host.first() == Some(&b'[') {
        return write_ipv6(out, host);
    }
    let host = strip_port(host)?;
    if host.iter().any(|b| matches!(b, b'[' | b']')) {
        return Err(WebAddressError::Ipv6 { found: excerpt(host) });
    }
    let start = out.len();
    let name = normalize_dots_and_case(host);
    match punycode(&name)? {
        // IDNA may have mapped characters to dots and digits.
        Some(name) => escape_into(out, &normalize_dots_and_case(name.as_bytes())),
        None => escape_into(out, &name),
    }
    let found = out.len() - start;
    if found == 0 {
        return Err(WebAddressError::NoHost { found: String::new() });
    }
    if found > HOST_BYTES_MAX {
        return Err(WebAddressError::HostTooLong { found });
    }
    let name = &out[start..];
    if is_defanged(name) {
        return Err(WebAddressError::Defanged { found: name.to_owned() });
    }
    if let Some(address) = parse_ipv4(name) {
        out.truncate(start);
        write_display(out, address);
    }
    Ok(())
}

/// Returns whether a name in lower case, without brackets, contains a defanged dot.
pub(super) fn is_defanged(name: &str) -> bool {
    name.contains(['(', '{']) && DEFANGED_DOTS.iter().any(|form| name.contains(form))
}

/// Returns the host in lower case, without leading, trailing and repeated dots.
fn normalize_dots_and_case(host: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(host.len());
    for label in host.split(|&b| b == b'.').filter(|label| !label.is_empty()) {
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    name
}

/// Returns the name in Punycode; `None` when it is already ASCII, or when IDNA rejects it.
///
/// ASCII names are not passed to IDNA: it would reject some that resolve (`xn--` labels of another version). Its output
/// for other names contains no byte that has a meaning in an address, because of the deny list of WHATWG.
fn punycode(name: &[u8]) -> Result<Option<String>, WebAddressError> {
    if name.is_ascii() {
        return Ok(None);
    }
    if name.len() > IDN_BYTES_MAX {
        return Err(WebAddressError::HostTooLong { found: name.len() });
    }
    let ascii = std::str::from_utf8(name).ok().and_then(|name| {
        let ascii = idna::domain_to_ascii_cow(name.as_bytes(), AsciiDenyList::URL).ok()?;
        Some(ascii.into_owned())
    });
    Ok(ascii)
}

/// Returns whether [`punycode`] returns a name, without allocating it.
pub(super) fn is_idn(name: &[u8]) -> bool {
    struct Discard;
    impl Write for Discard {
        fn write_str(&mut self, _: &str) -> std::fmt::Result {
            Ok(())
        }
    }
    // The options of `idna::domain_to_ascii_cow`.
    let convert = |name: &str| {
        let (hyphens, errors) = (Hyphens::Allow, ErrorPolicy::FailFast);
        Uts46::new().process(name.as_bytes(), AsciiDenyList::URL, hyphens, errors, |_, _, _| false, &mut Discard, None)
    };
    !name.is_ascii() && std::str::from_utf8(name).is_ok_and(|name| convert(name).is_ok())
}

fn strip_port(host: &[u8]) -> Result<&[u8], WebAddressError> {
    let Some(colon) = host.iter().position(|&b| b == b':') else {
        return Ok(host);
    };
    match is_port(&host[colon + 1..]) {
        true => Ok(&host[..colon]),
        false => Err(WebAddressError::Port { found: excerpt(&host[colon + 1..]) }),
    }
}

/// Appends the canonical form of `[address]`, with an optional port. Addresses that embed an IPv4 address are written
/// as that address: mapped ones (`::ffff:0:0/96`) and those of NAT64's well-known prefix (`64:ff9b::/96`, RFC 6052).
/// The deprecated IPv4-compatible ones (`::a.b.c.d`) are not; their dotted form is only another notation.
fn write_ipv6(out: &mut String, host: &[u8]) -> Result<(), WebAddressError> {
    let error = || WebAddressError::Ipv6 { found: excerpt(host) };
    let end = host.iter().position(|&b| b == b']').ok_or_else(error)?;
    match &host[end + 1..] {
        [] => {}
        [b':', port @ ..] if is_port(port) => {}
        [b':', port @ ..] => return Err(WebAddressError::Port { found: excerpt(port) }),
        _ => return Err(error()),
    }
    let text = std::str::from_utf8(&host[1..end]).map_err(|_| error())?;
    let address: Ipv6Addr = text.parse().map_err(|_| error())?;
    match embedded_ipv4(address) {
        Some(address) => write_display(out, address),
        // The standard library compresses as RFC 5952 requires, and writes the dotted form of mapped addresses only.
        None => write_display(out, format_args!("[{address}]")),
    }
    Ok(())
}

/// Returns the IPv4 address that an IPv6 address embeds, see [`write_ipv6`].
pub(super) fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xFFFF, high, low] | [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

/// Parses an IPv4 address of one to four numbers, each in octal, hexadecimal or decimal; the last fills the rest of the
/// 32 bits. A host with numbers that do not fit is a name: nothing is masked.
pub(super) fn parse_ipv4(host: &str) -> Option<Ipv4Addr> {
    let last = host.rsplit('.').next()?;
    if !last.starts_with(|c: char| c.is_ascii_digit()) || host.split('.').count() > 4 {
        return None;
    }
    let mut address = 0_u32;
    let mut free_bits = 32;
    let mut numbers = host.split('.').peekable();
    while let Some(number) = numbers.next() {
        let number = parse_number(number)?;
        let bits = if numbers.peek().is_some() { 8 } else { free_bits };
        if u64::from(number) >> bits != 0 {
            return None;
        }
        free_bits -= bits;
        address |= (u64::from(number) << free_bits) as u32;
    }
    Some(Ipv4Addr::from(address))
}

fn parse_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // `from_str_radix` accepts a sign.
    if digits.starts_with('+') {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

fn write_display(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = write!(out, "{value}");
}
