//! Parsing of keys from text.

use std::{
    borrow::Cow,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::{Digest, DigestError, DigestKind, Ipv4Block, Key, WebAddress, WebAddressError, canonical::DEFANGED_DOTS};

/// An error in the text of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is empty or blank.
    #[error("expected a key, found empty text")]
    Empty,
    /// The text is valid, but no record of its kind can exist.
    #[error("expected {KINDS}, found {what}, which is not supported")]
    Unsupported {
        /// A description of the kind found.
        what: &'static str,
    },
    /// The length of hexadecimal without a prefix is not that of an object hash.
    #[error(
        "expected 32 (MD5), 40 (SHA-1) or 64 (SHA-256) hexadecimal digits, found {found}; other digests need a prefix \
         such as `cert-sha1:` or `blake3:`"
    )]
    HexLength {
        /// The number of digits found.
        found: usize,
    },
    /// The text after the prefix of a digest is invalid.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The text is a block of addresses, but a key is one address.
    #[error("expected one IPv4 address, found the block {text}; write `url:{text}` if it is a path")]
    Block {
        /// The text of the block.
        text: String,
    },
    /// The text after `ipv4:`, or what looks like an address without it, is not an address.
    #[error(
        "expected an IPv4 address of four decimal numbers up to 255, found {found:?}; write `url:…` if it is the host \
         of a web address in another notation"
    )]
    Ipv4 {
        /// The text, truncated to 80 characters.
        found: String,
    },
    /// The text has white space in it, such as a comment after a key.
    #[error(
        "expected one key, found white space in {found:?}; write each key and each comment on a line of its own, and \
         `%20` for a space in a web address"
    )]
    WhiteSpace {
        /// The text, truncated to 80 characters.
        found: String,
    },
    /// The text has a dot, but its start is not a host name.
    #[error(
        "expected a host name of letters, digits, `-`, `_` and dots, found {found:?}; write `url:…` if it is a web \
         address"
    )]
    Host {
        /// The host in canonical form, truncated to 80 characters.
        found: String,
    },
    /// The text looks like a mail address.
    #[error("expected a key, found {text}, which looks like a mail address; write `url:…` if it is a web address")]
    Mail {
        /// The text.
        text: String,
    },
    /// The text is not a web address.
    #[error(transparent)]
    Web(#[from] WebAddressError),
    /// The text is none of the accepted forms.
    #[error("expected {KINDS}, found {text:?}")]
    UnknownFormat {
        /// The text, truncated to 80 characters.
        text: String,
    },
}

impl KeyError {
    /// Returns whether the text is valid but no record of its kind can exist (the status `unsupported`), as opposed to
    /// not being a key at all.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. })
    }
}

/// Parses a key.
///
/// - `sha256:`, `sha1:`, `md5:`, `blake3:`, `cert-sha256:`, `cert-sha1:`, `cert-md5:`, `spki-sha256:`, `spki-sha1:`
///   with hexadecimal of either case, also as `AA:BB:…`; `url:`, `ipv4:`.
/// - Without a prefix, hexadecimal of 32, 40 or 64 digits is an object's MD5, SHA-1 or SHA-256, and `AA:BB:…` of those
///   lengths is a certificate fingerprint, as certificate tools print it.
/// - A dotted quad is an IPv4 address.
/// - Other text that has a scheme, or a dot in its host, is a web address if it parses as one. Without a scheme or
///   `url:` the host must be a DNS name or a dotted quad: `999.1.1.1`, `1.2.3` and `a.example,b.example` are errors.
/// - White space is an error, except around a key and, after `url:`, in a path or query: a comment after a key must not
///   become a part of it.
/// - Defanged forms (`hxxp://`, `evil[.]example`, `1[.]2[.]3[.]4`) are accepted.
impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        match prefixed(text) {
            Some(key) => key,
            None => unprefixed(text),
        }
    }
}

/// Parses a key with a prefix. Returns `None` when the text has no known prefix.
fn prefixed(text: &str) -> Option<Result<Key, KeyError>> {
    if let Some(digest) = prefixed_digest(text) {
        return Some(digest.map(Key::Digest));
    }
    let (prefix, rest) = text.split_once(':')?;
    if rest.starts_with("//") {
        return None;
    }
    match prefix.to_ascii_lowercase().as_str() {
        "url" => Some(prefixed_web(rest.trim())),
        "ipv4" => Some(ipv4(&refang(rest.trim()))),
        _ => None,
    }
}

/// Parses a digest with the prefix of its kind. Returns `None` when the text has no such prefix, and an error when the
/// prefix is that of a kind for which no record can exist (`ssdeep:`, `ipv6:`).
pub(crate) fn prefixed_digest(text: &str) -> Option<Result<Digest, KeyError>> {
    let (prefix, rest) = text.split_once(':')?;
    // `sha256://…` is a scheme, not a prefix.
    if rest.starts_with("//") {
        return None;
    }
    if let Some(kind) = DigestKind::ALL.into_iter().find(|kind| kind.prefix().eq_ignore_ascii_case(prefix)) {
        return Some(Digest::from_hex(kind, rest.trim()).map_err(KeyError::from));
    }
    let unsupported = UNSUPPORTED_PREFIXES.iter().find(|(name, _)| name.eq_ignore_ascii_case(prefix));
    unsupported.map(|&(_, what)| Err(KeyError::Unsupported { what }))
}

fn unprefixed(text: &str) -> Result<Key, KeyError> {
    if text.contains(char::is_whitespace) {
        return Err(KeyError::WhiteSpace { found: excerpt(text) });
    }
    if text.len() >= 24 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return unprefixed_hex(text);
    }
    if let Some(fingerprint) = colon_fingerprint(text) {
        return Ok(Key::Digest(fingerprint?));
    }
    let text = refang(text);
    if text.parse::<Ipv4Addr>().is_ok() {
        return ipv4(&text);
    }
    if is_block(&text) {
        return Err(KeyError::Block { text: text.into_owned() });
    }
    let address = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(&text);
    if address.split(['/', '%']).next().is_some_and(|a| a.parse::<Ipv6Addr>().is_ok()) {
        return Err(KeyError::Unsupported { what: "an IPv6 address" });
    }
    if has_scheme(&text) {
        return Ok(Key::Web(WebAddress::parse(&text)?));
    }
    let authority = authority(&text);
    if let Some((user, host)) = authority.split_once('@')
        && !user.contains(':')
        && host.contains('.')
        && authority.len() == text.len()
    {
        return Err(KeyError::Mail { text: text.into_owned() });
    }
    match WebAddress::parse(&text) {
        Ok(address) => guessed_web(&text, address),
        Err(error) if authority.contains('.') => Err(error.into()),
        Err(_) => Err(KeyError::UnknownFormat { text: excerpt(&text) }),
    }
}

/// Checks the host of a web address that has no scheme. The text may be anything, and a key that cannot be listed must
/// not be answered as unknown.
fn guessed_web(text: &str, address: WebAddress) -> Result<Key, KeyError> {
    let parts = address.parts();
    let host = String::from_utf8_lossy(parts.host());
    let authority = authority(text);
    if parts.ipv4().is_some() {
        let written = authority.rsplit('@').next().unwrap_or_default();
        let quad = written.split(':').next().unwrap_or_default().trim_matches('.');
        // `1234` and `0xdeadbeef` are addresses in browsers, but words elsewhere.
        return match written.starts_with('[') || quad.parse::<Ipv4Addr>().is_ok() {
            true => Ok(Key::Web(address)),
            false if authority.contains('.') => Err(KeyError::Ipv4 { found: excerpt(written) }),
            false => Err(KeyError::UnknownFormat { text: excerpt(text) }),
        };
    }
    // The dot may be in the host of the raw text or of the canonical one (`evil%2Eexample`).
    let Some((_, last_label)) = host.rsplit_once('.') else {
        return Err(KeyError::UnknownFormat { text: excerpt(text) });
    };
    // No top-level domain is a number, so this is a mistyped address (as in the URL standard of WHATWG).
    if last_label.bytes().all(|b| b.is_ascii_digit()) {
        return Err(KeyError::Ipv4 { found: excerpt(&host) });
    }
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(KeyError::Host { found: excerpt(&host) });
    }
    Ok(Key::Web(address))
}

fn unprefixed_hex(text: &str) -> Result<Key, KeyError> {
    match DigestKind::of_object(text.len() / 2).filter(|_| text.len().is_multiple_of(2)) {
        Some(kind) => Ok(Key::Digest(Digest::from_hex(kind, text)?)),
        None if text.len() == 128 => Err(KeyError::Unsupported { what: "a SHA-512 digest" }),
        None => Err(KeyError::HexLength { found: text.len() }),
    }
}

/// Parses `AA:BB:…` with the length of a digest: a certificate fingerprint.
pub(crate) fn colon_fingerprint(text: &str) -> Option<Result<Digest, DigestError>> {
    let mut bytes = text.split(':');
    if !bytes.all(|b| b.len() == 2 && b.bytes().all(|b| b.is_ascii_hexdigit())) {
        return None;
    }
    let kind = DigestKind::of_certificate(text.len().div_ceil(3))?;
    Some(Digest::from_hex(kind, text))
}

/// Parses the text after `url:`.
fn prefixed_web(text: &str) -> Result<Key, KeyError> {
    let text = refang(text);
    let before_fragment = text.split('#').next().unwrap_or_default();
    if authority(&text).contains(char::is_whitespace) || before_fragment.ends_with(char::is_whitespace) {
        return Err(KeyError::WhiteSpace { found: excerpt(&text) });
    }
    Ok(Key::Web(WebAddress::parse(&text)?))
}

/// Returns the text between the scheme, if there is one, and the path.
fn authority(text: &str) -> &str {
    let rest = text.split_once("://").filter(|_| has_scheme(text)).map_or(text, |(_, rest)| rest);
    rest.split(['/', '\\', '?', '#']).next().unwrap_or_default()
}

/// Returns the first 80 characters, for error messages.
fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

fn ipv4(text: &str) -> Result<Key, KeyError> {
    if is_block(text) {
        return Err(KeyError::Block { text: text.into() });
    }
    text.parse().map(Key::Ipv4).map_err(|_| KeyError::Ipv4 { found: excerpt(text) })
}

/// Returns whether the text is a block of addresses: `a.b.c.d/len` (also with a length that is too large),
/// `a.b.c.d/mask` or `a.b.c.d-e.f.g.h`.
fn is_block(text: &str) -> bool {
    match text.split_once('/') {
        Some((address, mask)) => {
            let is_length = matches!(mask.len(), 1 | 2) && mask.bytes().all(|b| b.is_ascii_digit());
            address.parse::<Ipv4Addr>().is_ok() && (is_length || mask.parse::<Ipv4Addr>().is_ok())
        }
        None => text.contains('-') && text.parse::<Ipv4Block>().is_ok(),
    }
}

/// Returns whether the text starts with `scheme://` (RFC 3986, section 3.1).
fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b))
    })
}

/// Restores defanged addresses, which reports write so that they are not clickable: `hxxp://`, `[.]`, `(.)`, `{.}`,
/// `[dot]`, `[:]`, `[://]`, `\.`.
///
/// Changes only the part before the path, and the path only if the host or the scheme was defanged: brackets in the
/// path of a real address are kept. A canonical address is returned unchanged: it has no scheme, and its host contains
/// none of these forms.
///
/// ```
/// assert_eq!(ksn::refang("hxxps://evil[.]example/a[.]php"), "https://evil.example/a.php");
/// assert_eq!(ksn::refang("http://good.example/a[.]php"), "http://good.example/a[.]php");
/// ```
pub fn refang(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    let mut defanged = false;
    for form in ["[://]", "[:]//", ":\\\\"] {
        if let Some((scheme, rest)) = text.split_once(form)
            && is_scheme_or_defanged(scheme)
        {
            text = Cow::Owned(format!("{scheme}://{rest}"));
            defanged = true;
        }
    }
    if let Some((scheme, rest)) = text.split_once("://")
        && let Some(plain) = defanged_scheme(scheme)
    {
        text = Cow::Owned(format!("{plain}://{rest}"));
        defanged = true;
    }
    let host_start = text.find("://").filter(|_| has_scheme(&text)).map_or(0, |at| at + 3);
    let (before, rest) = text.split_at(host_start);
    let (host, path) = rest.split_at(host_len(rest));
    let has_escaped_dot = host.contains("\\.");
    if !defanged && !has_escaped_dot && !DEFANGED_DOTS.iter().any(|form| find_in_any_case(host, form).is_some()) {
        return text;
    }
    let mut plain = if has_escaped_dot { host.replace("\\.", ".") } else { host.to_owned() };
    plain.push_str(path);
    for form in DEFANGED_DOTS {
        plain = replace_in_any_case(plain, form, ".");
    }
    Cow::Owned(format!("{before}{}", plain.replace("[:]", ":")))
}

/// Returns the length of host and port in bytes. They end at a slash, a query, a fragment, or a backslash that does not
/// escape a dot.
fn host_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let ends = |at: &usize| match bytes[*at] {
        b'/' | b'?' | b'#' => true,
        b'\\' => !matches!(bytes[at + 1..], [b'.', next, ..] if next.is_ascii_alphanumeric()),
        _ => false,
    };
    (0..bytes.len()).find(ends).unwrap_or(bytes.len())
}

fn find_in_any_case(text: &str, form: &str) -> Option<usize> {
    text.as_bytes().windows(form.len()).position(|window| window.eq_ignore_ascii_case(form.as_bytes()))
}

fn replace_in_any_case(text: String, form: &str, plain: &str) -> String {
    if find_in_any_case(&text, form).is_none() {
        return text;
    }
    let mut replaced = String::with_capacity(text.len());
    let mut rest = &text[..];
    while let Some(at) = find_in_any_case(rest, form) {
        replaced.push_str(&rest[..at]);
        replaced.push_str(plain);
        rest = &rest[at + form.len()..];
    }
    replaced.push_str(rest);
    replaced
}

/// Returns whether the text can be a scheme, plain or defanged (`h**p`). A single letter is a drive.
fn is_scheme_or_defanged(text: &str) -> bool {
    (2..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-*".contains(&b))
}

/// Returns the plain form of `hxxp`, `hXXps`, `h**p`, `meow`, `fxp` and similar schemes.
fn defanged_scheme(scheme: &str) -> Option<&'static str> {
    let scheme = scheme.to_ascii_lowercase();
    Some(match scheme.as_str() {
        "hxxp" | "hxtp" | "htxp" | "h**p" | "hxxxp" | "meow" | "ttp" => "http",
        "hxxps" | "hxtps" | "htxps" | "h**ps" | "hxxxps" | "meows" | "ttps" => "https",
        "fxp" => "ftp",
        _ => return None,
    })
}

const UNSUPPORTED_PREFIXES: [(&str, &str); 10] = [
    ("sha512", "a SHA-512 digest"),
    ("sha384", "a SHA-384 digest"),
    ("sha224", "a SHA-224 digest"),
    ("ssdeep", "a fuzzy hash"),
    ("tlsh", "a fuzzy hash"),
    ("imphash", "an import hash"),
    ("authentihash", "an Authenticode hash"),
    ("ja3", "a JA3 fingerprint"),
    ("ja4", "a JA4 fingerprint"),
    ("ipv6", "an IPv6 address"),
];

const KINDS: &str = "an MD5, SHA-1, SHA-256 or `blake3:` digest, a `cert-…:` fingerprint, a `spki-…:` digest, a web \
                     address or an IPv4 address";

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn error(text: &str) -> KeyError {
        text.parse::<Key>().expect_err(text)
    }

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn accepted_forms() {
        for (text, canonical) in [
            (MD5, "md5:d41d8cd98f00b204e9800998ecf8427e"),
            ("D41D8CD98F00B204E9800998ECF8427E", "md5:d41d8cd98f00b204e9800998ecf8427e"),
            (" MD5: d41d8cd98f00b204e9800998ecf8427e\n", "md5:d41d8cd98f00b204e9800998ecf8427e"),
            ("da39a3ee5e6b4b0d3255bfef95601890afd80709", "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (
                "DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09",
                "cert-sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
            ),
            (
                "spki-sha1:DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09",
                "spki-sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
            ),
            ("192.0.2.1", "ipv4:192.0.2.1"),
            ("192[.]0[.]2[.]1", "ipv4:192.0.2.1"),
            ("ipv4:192.0.2.1", "ipv4:192.0.2.1"),
            ("evil[.]example", "url:evil.example/"),
            ("hxxp://evil[.]example/a[.]php", "url:evil.example/a.php"),
            ("hxxps[:]//evil.example", "url:evil.example/"),
            ("http://localhost/x", "url:localhost/x"),
            ("url:localhost/x", "url:localhost/x"),
        ] {
            assert_eq!(key(text).to_string(), canonical, "{text}");
            assert_eq!(key(canonical), key(text), "{text}");
        }
    }

    #[test]
    fn unsupported_kinds_are_distinguished_from_syntax_errors() {
        for text in ["2001:db8::1", "[2001:db8::1]", "::ffff:1.2.3.4", "sha512:00", "ipv6:::1", &"a".repeat(128)] {
            assert!(error(text).is_unsupported(), "{text}");
        }
    }

    #[test]
    fn ambiguous_texts_are_rejected() {
        assert_eq!(error(""), KeyError::Empty);
        assert_eq!(error(&"a".repeat(31)), KeyError::HexLength { found: 31 });
        assert_eq!(error(&"0".repeat(24)), KeyError::HexLength { found: 24 });
        assert!(matches!(error("192.0.2.0/24"), KeyError::Block { .. }));
        assert!(matches!(error("ipv4:192.0.2.0/24"), KeyError::Block { .. }));
        assert!(matches!(error("192.0.2.1-192.0.2.9"), KeyError::Block { .. }));
        assert!(matches!(error("someone@mail.example"), KeyError::Mail { .. }));
        assert!(matches!(error("word"), KeyError::UnknownFormat { .. }));
        assert!(matches!(error("deadbeef"), KeyError::UnknownFormat { .. }));
        assert!(matches!(error("ipv4:1.2.3"), KeyError::Ipv4 { .. }));
        assert!(matches!(error("sha256:12"), KeyError::Digest(_)));
    }

    #[test]
    fn keys_that_cannot_be_listed_are_errors_and_not_guessed() {
        for text in ["999.1.1.1", "1.2.3", "1.2.3.4.5", "192.168.010.1", "0x7f.0.0.1", "1.2.3.256/a", "host.example.7"]
        {
            assert!(matches!(error(text), KeyError::Ipv4 { .. }), "{text}: {}", error(text));
        }
        for text in [
            "phish.example # c",
            "phish.example comment",
            "phish.example\tmalware",
            "phish.example\u{a0}x",
            "http://phish.example # c",
            "http://phish.example/a malware",
            "192.0.2.1 # c",
            "d41d8cd98f00b204e9800998ecf8427e evil.exe",
            "url:phish.example # c",
            "url:phish.example/a # c",
        ] {
            assert!(matches!(error(text), KeyError::WhiteSpace { .. }), "{text}: {}", error(text));
        }
        for text in
            ["a.example,b.example", "a.example;c2", "\"a.example\"", "*.a.example", "<a.example>", "a%01.example"]
        {
            assert!(matches!(error(text), KeyError::Host { .. }), "{text}: {}", error(text));
        }
        for text in ["1234", "0xdeadbeef", "3279880203/a"] {
            assert!(matches!(error(text), KeyError::UnknownFormat { .. }), "{text}: {}", error(text));
        }
        for text in ["192.0.2.0/33", "192.0.2.0/255.255.255.0", "192[.]0[.]2[.]0/24"] {
            assert!(matches!(error(text), KeyError::Block { .. }), "{text}: {}", error(text));
        }
        // With a scheme or a prefix nothing is guessed.
        for (text, canonical) in [
            ("http://3279880203/", "url:195.127.0.11/"),
            ("http://999.1.1.1/", "url:999.1.1.1/"),
            ("url:0x7f.0.0.1", "url:127.0.0.1/"),
            ("url:a.example/b c", "url:a.example/b%20c"),
            ("user@192.0.2.1:80/a", "url:192.0.2.1/a"),
            ("a_b.example:8080/c,d;e", "url:a_b.example/c,d;e"),
            ("evil%2Eexample", "url:evil.example/"),
            ("b\u{fc}cher.example", "url:xn--bcher-kva.example/"),
        ] {
            assert_eq!(key(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn refanging_keeps_real_addresses() {
        assert_eq!(refang("http://a.example/x[.]y"), "http://a.example/x[.]y");
        assert_eq!(refang("http://a.example/?u=hxxp://b"), "http://a.example/?u=hxxp://b");
        assert_eq!(refang("a[dot]example"), "a.example");
        assert_eq!(refang("hxxp://1.2.3[.]4:80/"), "http://1.2.3.4:80/");
        assert_eq!(refang("HXXP://a[DoT]example\\.net/b\\.c"), "http://a.example.net/b\\.c");
        assert_eq!(refang("http:\\\\a.example\\b"), "http://a.example\\b");
        assert_eq!(refang("c:\\\\a.example\\b"), "c:\\\\a.example\\b");
        assert_eq!(refang("http://a.example\\b[.]c"), "http://a.example\\b[.]c");
        // Not defanged: what looks like a scheme follows a host.
        assert_eq!(refang("a/?[://]x"), "a/?[://]x");
        assert_eq!(refang("a/[:]//b"), "a/[:]//b");
        assert_eq!(refang("a/?:\\\\b"), "a/?:\\\\b");
    }

    #[test]
    fn file_paths_are_not_addresses() {
        for text in ["C:\\Windows\\evil.exe", "\\\\server.example\\share\\evil.exe", "c:\\\\a.example\\b"] {
            assert!(matches!(error(text), KeyError::UnknownFormat { .. } | KeyError::Web(_)), "{text}");
        }
    }
}
