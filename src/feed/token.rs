//! What one token of a list looks like, before it is parsed.
//!
//! Cheap and strict: reading and recognition both ask this of every row, and what is no more than a word, a file name
//! or a version number must not become a web address. A host name therefore needs a top-level domain that exists (the
//! public suffix list's, or one of the alternative roots that malware uses); `invoice.doc` has none.

use super::{public_suffix, sample::is_hex};
use crate::key::{DigestKind, refang};

/// The shape of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// 32, 40 or 64 hexadecimal digits.
    Hash,
    /// 24 hexadecimal digits or more that are no object hash.
    Hex(usize),
    /// A digest after the prefix of its kind: `cert-sha1:…`, `blake3:…`.
    Prefixed,
    /// Behind a scheme.
    Url,
    /// Host and path, without a scheme; with a port or not.
    HostPath,
    /// Digits and dots: an address, a block, a range, with a port or not (or a broken one).
    Ipv4,
    /// A host name with a dot and a known top-level domain, with a port or not.
    Name,
    /// A host name, or a file name with an ending that is a top-level domain as well (`x.zip`, `bins.sh`).
    FileOrName,
    /// What no record can exist for.
    Unsupported(&'static str),
    /// It looks like an indicator and is none.
    Broken(&'static str),
    /// A word, a file name, a number.
    Other,
}

impl Shape {
    /// Whether an indicator can be made of it.
    pub(super) fn is_indicator(self) -> bool {
        matches!(
            self,
            Self::Hash | Self::Prefixed | Self::Url | Self::HostPath | Self::Ipv4 | Self::Name | Self::FileOrName
        )
    }
}

/// Strips what stands around a token in prose and tables: quotes, backticks, emphasis, angle brackets. The asterisk of a
/// wildcard (`*.evil.example`) and of a query (`?id=*`) belongs to the token.
pub(super) fn unwrapped(token: &str) -> &str {
    let token = token.trim_matches(|c| matches!(c, '`' | '"' | '\'' | '“' | '”' | '‘' | '’' | '<' | '>'));
    let unmarked = token.trim_start_matches('*');
    let token = if unmarked.starts_with('.') && token.len() == unmarked.len() + 1 { token } else { unmarked };
    if token.contains(['/', '?']) { token.trim_end_matches("**") } else { token.trim_end_matches('*') }
}

/// The shape of a token without white space.
pub(super) fn shape(token: &str) -> Shape {
    let bytes = token.as_bytes();
    if bytes.len() > 1 && bytes[0] == b'/' && bytes[1] != b'/' {
        return Shape::Unsupported("a path without a host");
    }
    if bytes.len() < 4 {
        return Shape::Other;
    }
    if bytes.len() >= 24 && bytes.iter().all(u8::is_ascii_hexdigit) {
        return hex_shape(bytes.len());
    }
    if !token.is_ascii() && token.contains(is_invisible) {
        return Shape::Broken("it holds an invisible character (zero-width, soft hyphen or a direction mark)");
    }
    if is_simple(bytes) {
        return match name_shape(token) {
            _ if looks_like_ipv4(token) || is_range(token) => Shape::Ipv4,
            Shape::Name if is_file_too(token) => Shape::FileOrName,
            shape => shape,
        };
    }
    if is_prefixed(token) {
        return Shape::Prefixed;
    }
    if is_local(token) {
        return Shape::Unsupported("a path or registry key of a machine");
    }
    let plain = refang(token);
    if let Some((scheme, rest)) = plain.split_once("://") {
        let sound = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b));
        return match (sound, rest.is_empty()) {
            (true, false) => Shape::Url,
            _ => Shape::Other,
        };
    }
    if is_ipv6(&plain) {
        return Shape::Unsupported("an IPv6 address");
    }
    host_shape(&plain, plain.len() != token.len())
}

/// The shape of a refanged token without scheme: a host, perhaps with a port, perhaps with a path.
fn host_shape(plain: &str, defanged: bool) -> Shape {
    let end = plain.find(['/', '?']).unwrap_or(plain.len());
    let (authority, path) = plain.split_at(end);
    if authority.contains('@') {
        return match authority.rsplit_once('@') {
            Some((user, host)) if !user.is_empty() && host.contains('.') => Shape::Unsupported("a mail address"),
            _ => Shape::Other,
        };
    }
    if authority.contains(['|', '^', '$', '+', '{', '}', '\\', '(', '[']) && authority.contains('.') {
        let pattern = authority.contains(['|', '^', '$', '+', '{', '}']) || authority.contains("0-9");
        return if pattern {
            Shape::Unsupported("a regular expression")
        } else {
            Shape::Broken("brackets that are no known way of defanging")
        };
    }
    let bare = !defanged && authority.trim_end_matches(':').chars().all(|c| c != ':' && c != '*');
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some((host, "")) => host,
        Some(_) => return Shape::Other,
        None => authority,
    };
    if looks_like_ipv4(host) {
        let is_block = path.len() <= 3 && path.len() > 1 && path[1..].bytes().all(|b| b.is_ascii_digit());
        return if path.is_empty() || is_block { Shape::Ipv4 } else { Shape::HostPath };
    }
    // `1.2.3.0-1.2.3.9`, and a range with a dash that is none of ASCII's.
    if path.is_empty() && is_range(host) {
        return Shape::Ipv4;
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    if name.contains('*') {
        return if name.contains('.') { Shape::Unsupported("a wildcard pattern") } else { Shape::Other };
    }
    match name_shape(name) {
        // `gate.py:` with its colon is still a bare name.
        Shape::Name if path.is_empty() && bare && is_file_too(name) => Shape::FileOrName,
        Shape::Name if path.is_empty() => Shape::Name,
        Shape::Name => Shape::HostPath,
        other => other,
    }
}

/// `blake3:HEX`: the prefix of a kind of digest and as many digits as it has.
fn is_prefixed(token: &str) -> bool {
    token.split_once(':').is_some_and(|(prefix, hex)| {
        let kind = DigestKind::ALL.iter().find(|kind| kind.prefix().eq_ignore_ascii_case(prefix));
        kind.is_some_and(|kind| is_hex(hex, 2 * kind.width()))
    })
}

fn hex_shape(digits: usize) -> Shape {
    match digits {
        32 | 40 | 64 => Shape::Hash,
        56 => Shape::Unsupported("a SHA-224 digest"),
        96 => Shape::Unsupported("a SHA-384 digest"),
        128 => Shape::Unsupported("a SHA-512 digest"),
        _ => Shape::Hex(digits),
    }
}

/// Host characters only, so that nothing is defanged and there is neither scheme, port nor path.
fn is_simple(bytes: &[u8]) -> bool {
    bytes.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// Digits and dots, three dots at least: an IPv4 address or what was meant to be one. A version number such as
/// `10.0.1` is none.
fn looks_like_ipv4(host: &str) -> bool {
    let mut dots = 0;
    for b in host.bytes() {
        match b {
            b'.' => dots += 1,
            b'0'..=b'9' => {}
            _ => return false,
        }
    }
    dots >= 3
}

fn is_range(host: &str) -> bool {
    host.split_once(['-', '–']).is_some_and(|(first, last)| looks_like_ipv4(first) && looks_like_ipv4(last))
}

/// Whether a bare name may be a file's: no port, no path, nothing defanged, no `www.` says that it is a host.
fn is_file_too(name: &str) -> bool {
    let ending = name.rsplit('.').next().unwrap_or_default();
    (FILE_ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)) || may_be_package(name))
        && !name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("www."))
}

fn name_shape(name: &str) -> Shape {
    if !name.contains('.') || name.contains("..") || name.starts_with('.') {
        return Shape::Other;
    }
    let sound =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || (!c.is_ascii() && c.is_alphanumeric());
    if !name.chars().all(sound) || !is_known_top(name) || is_package(name) {
        return Shape::Other;
    }
    Shape::Name
}

/// Whether a name ends in a public suffix. Some top-level domains (`.za`, `.np`) are none by themselves.
pub(super) fn is_known_top(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    // Suffixes have up to five labels; one more, so that a name that is none but a suffix is not cut short.
    let start = name.rmatch_indices('.').nth(SUFFIX_LABELS_MAX).map_or(0, |(at, _)| at + 1);
    let tail = &name[start..];
    let ascii = if tail.is_ascii() { None } else { idna::domain_to_ascii(tail).ok() };
    let tail = ascii.as_deref().unwrap_or(tail);
    let mut lower = [0u8; 64 * (SUFFIX_LABELS_MAX + 1)];
    let Some(lower) = lower.get_mut(..tail.len()) else { return false };
    lower.copy_from_slice(tail.as_bytes());
    lower.make_ascii_lowercase();
    let Ok(lower) = std::str::from_utf8(lower) else { return false };
    let top = lower.rsplit('.').next().unwrap_or_default();
    ALTERNATIVE_ROOTS.contains(&top) || public_suffix::ends_known(lower)
}

/// Labels of the longest public suffixes.
const SUFFIX_LABELS_MAX: usize = 5;

/// `com.example.app`: the reversed name that programs for Android and the Java world carry. Such a name may end in
/// what is a top-level domain (`.app`, `.store`) without being a host. It has three labels at least (`com.de` is a
/// host) without dashes, and neither a country nor a domain that only sites have at its end.
fn is_package(name: &str) -> bool {
    let mut labels = name.split('.');
    let first = labels.next().unwrap_or_default();
    let last = labels.next_back().unwrap_or_default();
    ["com", "org", "air"].contains(&first)
        && labels.next().is_some()
        && !name.contains('-')
        && last.len() > 2
        && !SITE_ENDINGS.contains(&last)
}

/// Whether a name begins as the names of programs do that are no more than suspicious: `net.`, `io.`.
fn may_be_package(name: &str) -> bool {
    let mut labels = name.split('.');
    ["net", "io"].contains(&labels.next().unwrap_or_default()) && labels.count() >= 2
}

/// Top-level domains that no package ends in.
const SITE_ENDINGS: [&str; 17] = [
    "com", "net", "org", "info", "biz", "xyz", "top", "online", "site", "club", "icu", "pics", "lol", "cfd", "sbs",
    "click", "shop",
];

/// A drive, a share, an environment variable or a registry hive.
fn is_local(token: &str) -> bool {
    let bytes = token.as_bytes();
    (bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && matches!(bytes[2], b'\\' | b'/') && bytes[3] != b'/')
        || token.starts_with("\\\\")
        || (bytes[0] == b'%' && token[1..].contains('%') && token.contains('\\'))
        || ["HKEY_", "HKLM", "HKCU"].iter().any(|hive| token.starts_with(hive))
}

/// `2001:db8::1`, `[2001:db8::1]:443`, `2001:db8::/32`.
fn is_ipv6(token: &str) -> bool {
    let address = match token.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => token.split(['/', '%']).next().unwrap_or_default(),
    };
    address.bytes().filter(|&b| b == b':').count() >= 2 && address.parse::<std::net::Ipv6Addr>().is_ok()
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Endings of files that are top-level domains, too: archives, films, scripts, sources, libraries.
const FILE_ENDINGS: [&str; 12] = ["zip", "mov", "sh", "py", "pl", "ps", "pm", "rs", "md", "so", "cab", "lib"];

/// Roots outside the public one that malware calls home to: Tor, I2P, Namecoin, EmerCoin, OpenNIC and their like.
const ALTERNATIVE_ROOTS: [&str; 25] = [
    "onion", "i2p", "bit", "lib", "emc", "coin", "bazar", "eth", "crypto", "libre", "geek", "oss", "bbs", "chan",
    "cyb", "dyn", "epic", "gopher", "indy", "neo", "oz", "parody", "pirate", "ku", "te",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        use Shape::*;
        for (token, expected) in [
            ("0123456789abcdef0123456789ABCDEF", Hash),
            ("0123456789abcdef0123456789abcde", Hex(31)),
            ("cert-md5:0123456789abcdef0123456789ABCDEF", Prefixed),
            ("cert-sha1:0123456789abcdef0123456789ABCDEF", Other),
            ("evil.example.com", Name),
            ("evil[.]com", Name),
            ("evil[.]com:8080", Name),
            ("*.evil.com", Name),
            ("abc.onion", Name),
            ("пример.рф", Name),
            ("xn--e1afmkfd.xn--p1ai", Name),
            ("evil.COM", Name),
            ("1.2.3.4", Ipv4),
            ("1.2.3.4:80", Ipv4),
            ("1.2.3.0/24", Ipv4),
            ("1.2.3.0-1.2.3.9", Ipv4),
            ("1[.]2[.]3[.]4", Ipv4),
            ("185.55..243.110", Ipv4),
            ("1.2.3.4/gate.php", HostPath),
            ("evil[.]com/gate.php", HostPath),
            ("evil.com:443/a/", HostPath),
            ("evil.com?x=1", HostPath),
            ("hxxps://evil[.]com/a", Url),
            ("tcp://evil.com:1", Url),
            ("/gate.php", Unsupported("a path without a host")),
            ("2400:6180:0:d0::100a:1", Unsupported("an IPv6 address")),
            ("[2001:db8::1]:443", Unsupported("an IPv6 address")),
            ("2001:db8::/32", Unsupported("an IPv6 address")),
            ("someone@evil[.]com", Unsupported("a mail address")),
            ("backdates[0-9]{1,2}\\.(com|net)", Unsupported("a regular expression")),
            ("C:\\ProgramData\\x.dat", Unsupported("a path or registry key of a machine")),
            ("%TEMP%\\x.dat", Unsupported("a path or registry key of a machine")),
            (
                "evil\u{200b}.com",
                Broken("it holds an invisible character (zero-width, soft hyphen or a direction mark)"),
            ),
            ("invoice.doc", Other),
            ("readme.txt", Other),
            ("a.exe", Other),
            ("invoice.zip", FileOrName),
            ("bins.SH", FileOrName),
            ("evil[.]zip", Name),
            ("evil.zip:80", Name),
            ("www.evil.sh", Name),
            ("evil.zip/a", HostPath),
            ("gate.py:", FileOrName),
            ("*.evil.zip", Name),
            ("evil.co.za", Name),
            ("EVIL.com.np/a", HostPath),
            ("a.b.c.d.e.f.evil.co.uk", Name),
            ("/a", Unsupported("a path without a host")),
            ("setup.exe", Other),
            ("com.example.chrome", Other),
            ("com.example.app", Other),
            ("net.example.app", FileOrName),
            ("com.some-shop.app", Name),
            ("evil.pirate", Name),
            ("regsvr32.exe", Other),
            ("10.0.1", Other),
            ("1,234", Other),
            ("word", Other),
            ("http://", Other),
            ("1-661-501-2041", Other),
            ("Win32/Agent.ABC", Other),
        ] {
            assert_eq!(shape(token), expected, "{token}");
        }
    }
}
