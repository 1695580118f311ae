//! What stands in one cell of a row, for all readers: nulls, times, digests, addresses.

use std::{
    borrow::Cow,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::token::{Shape, shape};
use crate::{
    key::{
        Digest, DigestKind, Indicator, Ipv4Block, KeyError, Scope, WebAddress, colon_fingerprint, prefixed_digest,
        refang,
    },
    record::RecordType,
    timestamp::Timestamp,
};

/// Why a cell gives no indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueError {
    /// No record can exist for it here; what it is, with its article.
    Unsupported(&'static str),
    /// It could not be read.
    Rejected(String),
}

impl ValueError {
    fn rejected(why: impl ToString) -> Self {
        Self::Rejected(why.to_string())
    }
}

/// An indicator and the port that stood with it.
pub(crate) type WithPort = (Indicator, Option<u16>);

/// The trimmed text. Most cells have no spaces around them, which shows in their first and last bytes, without
/// going through characters.
#[inline]
pub(crate) fn trim(text: &str) -> &str {
    let is_plain = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    let bytes = text.as_bytes();
    if is_plain(bytes.first()) && is_plain(bytes.last()) { text } else { text.trim() }
}

/// The trimmed text, unless it stands for nothing: empty, `n/a`, `None`, `null`, `-`.
pub(crate) fn null(text: &str) -> Option<&str> {
    let text = trim(text);
    let nothing = ["", "n/a", "none", "null", "nan", "-"];
    (text.len() > 4 || !nothing.iter().any(|none| text.eq_ignore_ascii_case(none))).then_some(text)
}

/// A time; `None` when there is none or it cannot be read: no time is better than a wrong one.
pub(crate) fn time(text: &str) -> Option<Timestamp> {
    null(text)?.parse().ok()
}

/// Returns the record type of an indicator in a list that does not give one: malware for files, bad certificate for
/// certificates and their keys, malicious address for addresses.
pub(crate) fn listed_type(indicator: &Indicator) -> RecordType {
    match indicator {
        Indicator::Digest(digest) if !digest.kind().is_of_object() => RecordType::BadCertificate,
        Indicator::Digest(_) => RecordType::Malware,
        _ => RecordType::MaliciousAddress,
    }
}

/// Parses a digest after the prefix of its kind (`sha256:…`, `blake3:…`, `cert-sha1:…`, `spki-sha256:…`). Returns `None`
/// when the text has no such prefix, and an error when the prefix is that of an unsupported kind (`ssdeep:…`).
pub(crate) fn prefixed(text: &str) -> Option<Result<Indicator, ValueError>> {
    Some(match prefixed_digest(trim(text))? {
        Ok(digest) => Ok(Indicator::Digest(digest)),
        Err(KeyError::Unsupported { what }) => Err(ValueError::Unsupported(what)),
        Err(e) => Err(ValueError::rejected(e)),
    })
}

/// The hash of a file: 32, 40 or 64 hexadecimal digits of either case, or a digest after the prefix of its kind.
pub(crate) fn object_hash(text: &str) -> Result<Indicator, ValueError> {
    match digest(text, DigestKind::of_object, "a file's hash") {
        Err(e) => prefixed(text).unwrap_or(Err(e)),
        found => found,
    }
}

/// The fingerprint of a certificate: 32, 40 or 64 hexadecimal digits of either case, also as `AA:BB:…`, with or without
/// the prefix of its algorithm.
pub(crate) fn certificate(text: &str) -> Result<Indicator, ValueError> {
    of_certificate(text, DigestKind::of_certificate, "a certificate's fingerprint")
}

/// The digest of a public key: 40 or 64 hexadecimal digits of either case, also as `AA:BB:…`, with or without the prefix
/// of its algorithm.
pub(crate) fn public_key(text: &str) -> Result<Indicator, ValueError> {
    let kind = |width| match width {
        20 => Some(DigestKind::SpkiSha1),
        32 => Some(DigestKind::SpkiSha256),
        _ => None,
    };
    of_certificate(text, kind, "a public key's digest")
}

fn of_certificate(
    text: &str,
    kind: impl Fn(usize) -> Option<DigestKind> + Copy,
    what: &str,
) -> Result<Indicator, ValueError> {
    match prefixed(text) {
        // Where certificates stand, `sha1:` names the algorithm only.
        Some(Ok(Indicator::Digest(found))) if found.kind() < DigestKind::Blake3 => {
            digest(text.split_once(':').map_or(text, |(_, hex)| hex), kind, what)
        }
        Some(found) => found,
        None => digest(text, kind, what),
    }
}

fn digest(text: &str, kind: impl Fn(usize) -> Option<DigestKind>, what: &str) -> Result<Indicator, ValueError> {
    let text = trim(text);
    if let Some(Ok(digest)) = kind(text.len() / 2).map(|kind| Digest::from_hex(kind, text)) {
        return Ok(Indicator::Digest(digest));
    }
    let digits = text.bytes().filter(|&b| b != b':').count();
    if digits == 0 {
        return Err(ValueError::Rejected(format!("{what} is missing")));
    }
    if digits == 128 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ValueError::Unsupported("a SHA-512 digest"));
    }
    let kind = kind(digits / 2).filter(|_| digits % 2 == 0);
    let Some(kind) = kind else {
        return Err(ValueError::Rejected(format!(
            "expected {what} of 32, 40 or 64 hexadecimal digits, found {digits}"
        )));
    };
    match Digest::from_hex(kind, text) {
        Ok(digest) => Ok(Indicator::Digest(digest)),
        Err(_) => Err(ValueError::Rejected(format!("expected {what} in hexadecimal"))),
    }
}

/// A URL, defanged or not: that host and path. The port is dropped from the key and returned.
pub(crate) fn web_exact(text: &str) -> Result<WithPort, ValueError> {
    let text = refang(text.trim());
    let text = refang_ending(&text);
    let address = WebAddress::parse(&text).map_err(ValueError::rejected)?;
    Ok((Indicator::Web { scope: Scope::Exact, expression: address.as_str().into() }, port_of(&text)))
}

/// Refangs the ending of the last part of a path, `/x(.)zip`: publishers defang what a program would run, too.
fn refang_ending(text: &str) -> Cow<'_, str> {
    let last = text.rfind('/').map_or(0, |at| at + 1);
    for dot in ["(.)", "[.]", "{.}"] {
        if let Some(at) = text[last..].rfind(dot)
            && text[last + at + dot.len()..].bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Cow::Owned(format!("{}.{}", &text[..last + at], &text[last + at + dot.len()..]));
        }
    }
    Cow::Borrowed(text)
}

/// A name. With or without a leading `*.`, which means [`Scope::Domain`]; a bare IPv4 address becomes one.
pub(crate) fn domain(text: &str, scope: Scope) -> Result<Indicator, ValueError> {
    let text = refang(text.trim());
    let (name, scope) = match text.strip_prefix("*.").or_else(|| text.strip_prefix('.')) {
        Some(name) => (name, Scope::Domain),
        None => (&*text, scope),
    };
    if name.is_empty() {
        return Err(ValueError::Rejected("the name is missing".into()));
    }
    if name.contains('*') {
        return Err(ValueError::Unsupported("a name with wildcards"));
    }
    if is_ipv6(name) {
        return Err(ValueError::Unsupported("an IPv6 address"));
    }
    if name.contains('@') {
        return Err(ValueError::Unsupported("a mail address"));
    }
    if let Some(odd) = name.chars().find(|&c| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_.".contains(c)) {
        return Err(ValueError::Rejected(format!("expected a name, found one with {odd:?}")));
    }
    let address = WebAddress::parse(name).map_err(ValueError::rejected)?;
    let parts = address.parts();
    if let Some(address) = parts.ipv4() {
        return Ok(Indicator::Ipv4(address.into()));
    }
    let host = std::str::from_utf8(parts.host()).map_err(ValueError::rejected)?;
    if host.len() > 253 || host.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err(ValueError::Rejected("expected a name of up to 253 characters, with labels of 1 to 63".into()));
    }
    Ok(Indicator::Web { scope, expression: host.into() })
}

/// `a.b.c.d`, `a.b.c.d:port`, a CIDR block or a range; defanged or not.
pub(crate) fn ipv4_port(text: &str) -> Result<WithPort, ValueError> {
    let text = refang(text.trim());
    if let Some((address, port)) = text.split_once(':')
        && let Ok(address) = address.parse::<Ipv4Addr>()
    {
        return match port.parse::<u16>() {
            Ok(port) => Ok((Indicator::Ipv4(address.into()), (port != 0).then_some(port))),
            Err(_) => Err(ValueError::Rejected("expected a port from 0 to 65535 behind the address".into())),
        };
    }
    if is_ipv6(&text) {
        return Err(ValueError::Unsupported("an IPv6 address"));
    }
    let block: Ipv4Block = text.parse().map_err(ValueError::rejected)?;
    Ok((Indicator::Ipv4(block), None))
}

/// Whatever it is: a hash, an address, a block, a URL, or a name (which means the domain). Names need a top-level domain
/// that exists, and more than a dot if that is an ending of files, too: see [`ioc_list`](super::ioc_list).
pub(crate) fn any(text: &str) -> Result<WithPort, ValueError> {
    let given = text.trim();
    let text = refang(given);
    if text.is_empty() {
        return Err(ValueError::Rejected("the indicator is missing".into()));
    }
    if text.len() >= 24 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return object_hash(&text).map(|hash| (hash, None));
    }
    if text.contains("://") {
        return web_exact(&text);
    }
    if let Some(digest) = prefixed(&text) {
        return digest.map(|digest| (digest, None));
    }
    if let Some(Ok(fingerprint)) = colon_fingerprint(&text) {
        return Ok((Indicator::Digest(fingerprint), None));
    }
    if is_ipv6(&text) {
        return Err(ValueError::Unsupported("an IPv6 address"));
    }
    if text.chars().any(char::is_whitespace) {
        return Err(ValueError::Rejected("expected one indicator, found words".into()));
    }
    let host_end = text.find(['/', '?', '#']).unwrap_or(text.len());
    let (host, port) = text[..host_end].split_once(':').unwrap_or((&text[..host_end], "0"));
    if text[..host_end].contains('@') {
        return Err(ValueError::Unsupported("a mail address"));
    }
    let first = host.split('-').next().unwrap_or_default();
    if first.parse::<Ipv4Addr>().is_ok() {
        return match is_path(&text[host_end..]) {
            false => ipv4_port(&text),
            true => web_exact(&text),
        };
    }
    if !host.contains('.') {
        return Err(ValueError::Rejected("expected a hash, an address, a URL or a name".into()));
    }
    if host.contains(['\\', '^', '$', '|', '(', ')', '{', '}', '[', ']', '+']) {
        return Err(ValueError::Unsupported("a regular expression"));
    }
    let port: u16 =
        port.parse().map_err(|_| ValueError::Rejected("expected a port from 0 to 65535 behind the name".into()))?;
    // What is no more than a word with a dot in it may be a file's name.
    match shape(given) {
        Shape::Other => {
            return Err(ValueError::Rejected(
                "expected a name below a top-level domain that exists, not a file's".into(),
            ));
        }
        Shape::FileOrName => {
            return Err(ValueError::Rejected("a file's name or a host's: its type has to be given".into()));
        }
        _ => {}
    }
    if host_end < text.len() && text.len() > host_end + 1 {
        return web_exact(&text);
    }
    domain(host, Scope::Domain).map(|name| (name, (port != 0).then_some(port)))
}

/// Whether what follows an address is a path rather than the length of a prefix.
fn is_path(rest: &str) -> bool {
    let digits = rest.strip_prefix('/').unwrap_or(rest);
    !rest.is_empty() && !(1..=2).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_ipv6(text: &str) -> bool {
    if text.bytes().filter(|&b| b == b':').count() < 2 {
        return false;
    }
    let bare = text.trim_start_matches('[').split([']', '/', '%']).next().unwrap_or_default();
    bare.parse::<Ipv6Addr>().is_ok()
}

/// The port of a URL.
fn port_of(url: &str) -> Option<u16> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).trim_start_matches('/');
    let authority = authority.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let (host, port) = authority.rsplit_once('@').map_or(authority, |(_, host)| host).rsplit_once(':')?;
    if host.is_empty() || host.contains(':') && !host.ends_with(']') {
        return None;
    }
    port.parse().ok().filter(|&port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(found: Result<WithPort, ValueError>) -> String {
        match found {
            Ok((indicator, None)) => indicator.to_string(),
            Ok((indicator, Some(port))) => format!("{indicator} {port}"),
            Err(ValueError::Unsupported(what)) => what.into(),
            Err(ValueError::Rejected(_)) => "rejected".into(),
        }
    }

    #[test]
    fn nulls_and_times() {
        for nothing in ["", " ", "n/a", "N/A", "None", "null", "-"] {
            assert_eq!(null(nothing), None, "{nothing:?}");
        }
        assert_eq!(null(" x "), Some("x"));
        assert_eq!(time("None"), None);
        assert_eq!(time("yesterday"), None);
        assert!(time("2026-01-02 03:04:05").is_some());
    }

    #[test]
    fn any_token() {
        let (md5, sha512) = ("AB".repeat(16), "ab".repeat(64));
        for (token, expected) in [
            (md5.as_str(), format!("md5:{}", md5.to_lowercase())),
            (&sha512, "a SHA-512 digest".into()),
            (&md5[1..], "rejected".into()),
            ("hxxp://evil[.]example[.]com:8080/a", "exact:evil.example.com/a 8080".into()),
            ("evil.example.com/a?b", "exact:evil.example.com/a?b".into()),
            ("evil[.]example[.]com", "domain:evil.example.com".into()),
            ("*.evil.example.com", "domain:evil.example.com".into()),
            ("evil.*.example.com", "a name with wildcards".into()),
            ("evil.example.com:8080", "domain:evil.example.com 8080".into()),
            ("evil.example.com:x", "rejected".into()),
            ("evil.example.com/", "domain:evil.example.com".into()),
            ("1.2.3.4", "ipv4:1.2.3.4".into()),
            ("1[.]2[.]3[.]4:80", "ipv4:1.2.3.4 80".into()),
            ("1.2.3.4:99999", "rejected".into()),
            ("1.2.3.0/24", "ipv4:1.2.3.0/24".into()),
            ("1.2.3.4-1.2.3.9", "ipv4:1.2.3.4-1.2.3.9".into()),
            ("1.2.3.4/x.exe", "exact:1.2.3.4/x.exe".into()),
            ("1.2.3.4:80/x", "exact:1.2.3.4/x 80".into()),
            ("2001:db8::1", "an IPv6 address".into()),
            ("2001:db8::/32", "an IPv6 address".into()),
            ("a@evil.example.com", "a mail address".into()),
            ("^evil[0-9]+\\.example$", "a regular expression".into()),
            (&format!("cert-md5:{md5}"), format!("cert-md5:{}", md5.to_lowercase())),
            (&format!("CERT-SHA256:{}", "ab".repeat(32)), format!("cert-sha256:{}", "ab".repeat(32))),
            (&format!("spki-sha1:{}", "ab".repeat(20)), format!("spki-sha1:{}", "ab".repeat(20))),
            (&format!("blake3:{}", "ab".repeat(32)), format!("blake3:{}", "ab".repeat(32))),
            (&format!("md5: {md5}"), format!("md5:{}", md5.to_lowercase())),
            (&vec!["AB"; 20].join(":"), format!("cert-sha1:{}", "ab".repeat(20))),
            ("blake3:abcd", "rejected".into()),
            ("imphash:abcd", "an import hash".into()),
            ("word", "rejected".into()),
            ("a.exe", "rejected".into()),
            ("readme.txt", "rejected".into()),
            ("x.zip", "rejected".into()),
            ("bins.sh", "rejected".into()),
            ("com.foo.app", "rejected".into()),
            ("x[.]zip", "domain:x.zip".into()),
            ("x.zip:80", "domain:x.zip 80".into()),
            ("two words.example", "rejected".into()),
            ("", "rejected".into()),
        ] {
            assert_eq!(text(any(token)), expected, "{token}");
        }
    }

    #[test]
    fn names() {
        let name = |text_of: &str| text(domain(text_of, Scope::Host).map(|name| (name, None)));
        assert_eq!(name("Evil.Example."), "host:evil.example");
        assert_eq!(name("bücher.example"), "host:xn--bcher-kva.example");
        assert_eq!(name("1.2.3.4"), "ipv4:1.2.3.4");
        assert_eq!(name("_dmarc.evil.example"), "host:_dmarc.evil.example");
        // The filter withholds names of one label.
        assert_eq!(name("a.."), "host:a");
        for bad in ["", "a b", "a b.example", "a/b", "a,b.example", "..", &format!("{}.example", "a".repeat(64))] {
            assert_eq!(name(bad), "rejected", "{bad}");
        }
    }

    #[test]
    fn digests() {
        assert!(matches!(object_hash("xy"), Err(ValueError::Rejected(_))));
        assert!(matches!(object_hash(&"zz".repeat(16)), Err(ValueError::Rejected(_))));
        let fingerprint = vec!["AB"; 20].join(":");
        let (sha1, sha256) = ("ab".repeat(20), "cd".repeat(32));
        for (found, expected) in [
            (certificate(&fingerprint), format!("cert-sha1:{sha1}")),
            (certificate(&format!("sha1:{sha1}")), format!("cert-sha1:{sha1}")),
            (certificate(&format!("spki-sha1:{sha1}")), format!("spki-sha1:{sha1}")),
            (public_key(&sha256), format!("spki-sha256:{sha256}")),
            (object_hash(&format!("cert-sha1:{sha1}")), format!("cert-sha1:{sha1}")),
            (object_hash(&format!("blake3:{sha256}")), format!("blake3:{sha256}")),
        ] {
            assert_eq!(found.unwrap().to_string(), expected);
        }
        assert!(object_hash("ssdeep:3:ab:cd") == Err(ValueError::Unsupported("a fuzzy hash")));
    }

    #[test]
    fn ports_of_addresses() {
        for (url, port) in [
            ("http://a.example:81/", Some(81)),
            ("http://u:82@a.example/", None),
            ("http://u:p@a.example:83?x", Some(83)),
            ("a.example:84/x", Some(84)),
            ("http://a.example/x:85", None),
            ("http://[2001:db8::1]/", None),
            ("http://[2001:db8::1]:86/", Some(86)),
            ("http://a.example:0/", None),
            ("http://a.example:99999/", None),
        ] {
            assert_eq!(port_of(url), port, "{url}");
        }
    }
}
