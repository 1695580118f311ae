//! Prevents canonical text that parses as another address, and different results of the fast path and the general path.

use super::*;
use crate::key::{AddressParts, Key, WebAddress, refang};
use proptest::prelude::*;

fn canonical(text: &str) -> String {
    canonicalise(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn error(text: &str) -> WebAddressError {
    canonicalise(text.as_bytes()).expect_err(text)
}

/// Generates addresses from pieces that reach every branch, which are closer to attacks than random bytes.
fn address() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "http://",
        "HTTPS://",
        "ftp:",
        "//",
        "/",
        "\\",
        "/./",
        "/../",
        "..",
        ".",
        "?",
        "#",
        "%23",
        "%",
        "%25",
        "%2",
        "5",
        "2e",
        "2F",
        "%3F",
        "%00",
        "%C3%BC",
        "ü",
        "\u{a0}",
        "\u{200b}",
        "\u{200d}",
        "\u{ad}",
        "。",
        "１",
        "Ａ",
        "ß",
        "٪",
        "℀",
        "（.）",
        "xn--",
        "xn--mlat-zra",
        "@",
        ":",
        ":80",
        ":99999",
        "[",
        "]",
        "[::1]",
        "[::FFFF:1.2.3.4]",
        "[64:ff9b::1.2.3.4]",
        "[.]",
        "(.)",
        "{dot}",
        "\\.",
        "[:]",
        "hxxp",
        "url:",
        "evil",
        ".com",
        "a",
        "B",
        "x.y.z",
        "127.1",
        "0x7f",
        "010",
        "4294967295",
        "1.2.3.4",
        "c:",
        " ",
        "\t",
        "\r\n",
        "\u{1}",
        "\u{7f}",
        "_",
        "-",
        "~",
        "(",
        "{",
    ]);
    let glued = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes());
    let random = prop::collection::vec(any::<u8>(), 0..40);
    let led = (glued.clone(), random.clone()).prop_map(|(a, b)| [a, b].concat());
    prop_oneof![4 => glued, 1 => random, 1 => led]
}

/// Checks that exactly canonical text is accepted without canonicalisation.
fn check_is_canonical(text: &[u8]) -> Result<(), TestCaseError> {
    let is_canonical = canonicalise_any(text).is_ok_and(|canonical| canonical.as_bytes() == text);
    prop_assert_eq!(AddressParts::split(text).is_some(), is_canonical, "{}", text.escape_ascii());
    Ok(())
}

/// Generates canonical addresses with a small mutation: a piece is inserted, or replaces a byte.
fn almost_canonical() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| vec![byte]);
    let piece = prop::sample::select(vec![
        "", "", "%25", "%2", "%", "%C3%BC", "%e9", "%E9", "%00", "%41", "4", "1", "/", "//", "/.", "/..", "/./", ".",
        "?", "\\", "#", "A", "[", "]", ":", "@", "(.)", "{", "}", "0", "07", "0x", "xn--", " ", "~",
    ]);
    let piece = piece.prop_map(|piece| piece.as_bytes().to_vec());
    (address(), any::<prop::sample::Index>(), prop_oneof![1 => byte, 6 => piece], any::<bool>()).prop_map(
        |(text, at, piece, replace)| {
            let mut text = canonicalise_any(&text).map_or(text, String::into_bytes);
            let at = at.index(text.len() + 1);
            let end = (at + usize::from(replace)).min(text.len());
            text.splice(at..end, piece);
            text
        },
    )
}

/// Checks the invariants that hold for any bytes.
fn check(text: &[u8]) -> Result<(), TestCaseError> {
    check_is_canonical(text)?;
    let any = canonicalise_any(text);
    if let Some(plain) = plain::canonicalise(text) {
        prop_assert_eq!(Ok(&plain), any.as_ref(), "the fast path differs");
    }
    let Ok(canonical) = any else {
        prop_assert!(canonical_url(text).is_err());
        return Ok(());
    };
    check_is_canonical(canonical.as_bytes())?;
    let again = canonicalise(canonical.as_bytes());
    prop_assert_eq!(again.as_ref(), Ok(&canonical), "not a fixed point");
    prop_assert!(canonical.bytes().all(|b| b > 0x20 && b < 0x7F && b != b'#'));
    prop_assert_eq!(refang(&canonical), &canonical[..]);

    let url = canonical_url(text).map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(canonical_url(url.as_bytes()), Ok(url.clone()));
    prop_assert_eq!(canonicalise(url.as_bytes()), Ok(canonical.clone()));

    let key = Key::from(WebAddress::parse(&canonical).map_err(|e| TestCaseError::fail(e.to_string()))?);
    prop_assert_eq!(key.to_string(), format!("url:{canonical}"));
    prop_assert_eq!(key.to_string().parse::<Key>(), Ok(key.clone()));
    let Key::Web(address) = &key else { unreachable!() };
    let parts = address.parts();
    prop_assert!(!parts.host().is_empty() && parts.path().starts_with(b"/"));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn canonical_text_is_a_fixed_point(text in address()) {
        check(&text)?;
    }

    #[test]
    fn plain_addresses_take_the_fast_path(
        text in "(https?://)?([a-zA-Z][a-zA-Z0-9_-]{0,5}\\.){1,3}[a-z]{2,3}(:[0-9]{1,4})?(/[a-zA-Z0-9_~;,@=&$!-][a-z.]{0,3}){0,4}/?(\\?[a-z=&/.?]{0,9})?",
    ) {
        prop_assert!(plain::canonicalise(text.as_bytes()).is_some());
        check(text.as_bytes())?;
    }

    #[test]
    fn exactly_canonical_text_is_accepted(text in almost_canonical()) {
        check_is_canonical(&text)?;
    }

    #[test]
    fn keys_of_any_text_round_trip(text in address()) {
        if let Ok(key) = String::from_utf8_lossy(&text).parse::<Key>() {
            prop_assert_eq!(key.to_string().parse::<Key>(), Ok(key));
        }
    }
}

#[test]
fn canonical_forms() {
    for (text, expected) in [
        // A backslash is a slash, up to the query.
        ("http:\\\\evil.example\\a\\..\\b", "evil.example/b"),
        ("http://evil.example\\@good.example/", "evil.example/@good.example/"),
        ("http://evil.example%5C@good.example/", "evil.example/@good.example/"),
        ("http://evil.example/a?b\\c", "evil.example/a?b\\c"),
        // Schemes.
        ("//evil.example/a", "evil.example/a"),
        ("evil.example:8080/a", "evil.example/a"),
        ("gopher+x.y-1://evil.example", "evil.example/"),
        ("https://https://evil.example/a", "https/evil.example/a"),
        ("http://http:80/a", "http/a"),
        // User info ends at the last at sign of the authority, and only there.
        ("http://good.example@evil.example:80@evil2.example/", "evil2.example/"),
        ("http://evil.example/@good.example", "evil.example/@good.example"),
        ("http://evil.example?@good.example", "evil.example/?@good.example"),
        ("alice@evil.example/a", "evil.example/a"),
        // Ports.
        ("http://evil.example:/", "evil.example/"),
        ("http://evil.example:00080/", "evil.example/"),
        ("http://evil.example%3A80/", "evil.example/"),
        // Invalid escapes.
        ("http://evil.example/%zz%4%", "evil.example/%25zz%254%25"),
        ("http://evil.example/%\t41", "evil.example/A"),
        ("http://evil.example/%09%0a", "evil.example/%09%0A"),
        ("http://evil.example/%23#x", "evil.example/%23"),
        ("http://evil.example/a%3Fb%2Fc", "evil.example/a?b/c"),
        ("http://evil.example/\u{fc}", "evil.example/%C3%BC"),
        // Spaces are trimmed before the fragment is removed.
        (" \r\n http://evil.example/a #b ", "evil.example/a%20"),
        // Slashes and dots.
        ("http://evil.example/a//../b", "evil.example/a/b"),
        ("http://evil.example/a?b/../c//d", "evil.example/a?b/../c//d"),
        ("http://evil.example?", "evil.example/"),
        ("http://evil.example/a??", "evil.example/a??"),
        // IDN.
        ("http://www.\u{fc}mlat.com/", "www.xn--mlat-zra.com/"),
        ("http://www.%C3%BCmlat.com/", "www.xn--mlat-zra.com/"),
        ("http://WWW.\u{dc}MLAT.COM", "www.xn--mlat-zra.com/"),
        ("http://fa\u{df}.example/", "xn--fa-hia.example/"),
        ("http://\u{ff45}vil\u{3002}example/", "evil.example/"),
        ("http://ev\u{200b}il.exa\u{ad}mple/", "evil.example/"),
        ("http://evil.\u{200b}.example/", "evil.example/"),
        ("http://\u{ff11}\u{ff12}\u{ff17}.1/", "127.0.0.1/"),
        // What IDNA rejects is escaped: browsers cannot open it.
        ("http://ev\u{a0}il.example/", "ev%C2%A0il.example/"),
        ("http://ev\u{200d}il.example/", "ev%E2%80%8Dil.example/"),
        ("http://evil.example\u{ff0f}a/", "evil.example%EF%BC%8Fa/"),
        ("http://\u{ff05}41.example/", "%EF%BC%8541.example/"),
        ("http://XN--\u{fc}.example/", "xn--%C3%BC.example/"),
        // ASCII is not passed to IDNA.
        ("http://xn--a.example/", "xn--a.example/"),
        // IPv4.
        ("http://0X7F.1/", "127.0.0.1/"),
        ("http://0x7f000001", "127.0.0.1/"),
        ("http://017700000001", "127.0.0.1/"),
        ("http://1.2.3.4./", "1.2.3.4/"),
        ("http://1.2.772", "1.2.3.4/"),
        ("http://1.131844", "1.2.3.4/"),
        ("http://0", "0.0.0.0/"),
        ("http://256.1.1.1", "256.1.1.1/"),
        ("http://1.2.3.256", "1.2.3.256/"),
        ("http://1.2.65536", "1.2.65536/"),
        ("http://4294967296", "4294967296/"),
        ("http://1.2.3.09", "1.2.3.09/"),
        ("http://1.2.3.+4", "1.2.3.+4/"),
        ("http://1.2.3.0x", "1.2.3.0x/"),
        ("http://1.2.3.4.5", "1.2.3.4.5/"),
        ("http://1.2.3.4a", "1.2.3.4a/"),
        // IPv6.
        ("http://[2001:0DB8:0:0::0001]:8080/", "[2001:db8::1]/"),
        ("http://[2001:db8:0:1:1:1:1:1]/", "[2001:db8:0:1:1:1:1:1]/"),
        ("http://[2001:0:0:1:0:0:0:1]/", "[2001:0:0:1::1]/"),
        ("http://[::ffff:1.2.3.4]/", "1.2.3.4/"),
        ("http://[::FFFF:102:304]/", "1.2.3.4/"),
        ("http://[64:ff9b::1.2.3.4]/", "1.2.3.4/"),
        ("http://[64:ff9b:1::1.2.3.4]/", "[64:ff9b:1::102:304]/"),
        ("http://[::192.9.5.5]/", "[::c009:505]/"),
        ("http://%5B::1%5D/", "[::1]/"),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
        check(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
    }
}

#[test]
fn rejected() {
    for text in [
        "",
        " \t",
        "http://",
        "http:///a",
        "///a",
        "/a",
        "?a",
        "http://.../",
        "http://@/",
        "http://:80/",
        ":",
        "@",
        "http://\u{ad}/",
        "\\\\server\\share",
        "\\a",
    ] {
        assert!(matches!(error(text), WebAddressError::NoHost { .. }), "{text}");
    }
    for text in [
        "mailto:a@b.example",
        "javascript:alert()",
        "data:text/html;charset=utf-8,%0D%0A",
        "http:evil.example",
        "http:/evil.example",
        "C:\\x.exe",
        "c:/x.exe",
        "user:password@evil.example/",
        "tel:123456",
        "evil.example:/a",
        "c:\\\\a.example",
    ] {
        assert!(matches!(error(text), WebAddressError::NoAuthority { .. }), "{text}");
    }
    for text in ["http://a:b/", "http://a:65536/", "http://a:80:80/", "http://a:-1/", "http://[::1]:x/"] {
        assert!(matches!(error(text), WebAddressError::Port { .. }), "{text}");
    }
    for text in [
        "http://[::1",
        "http://[]/",
        "http://[fe80::1%25eth0]/",
        "http://a]/",
        "http://a[b/",
        "http://[1.2.3.4]/",
        "http://evil[.]example/",
        "http://[::1]a/",
        "http://\u{fc}[/",
        "http://a%5B/",
    ] {
        assert!(matches!(error(text), WebAddressError::Ipv6 { .. }), "{text}");
    }
    for text in
        ["http://evil(.)example/", "http://evil(DOT)example/", "evil%7B.%7Dexample", "\u{fc}.a\u{ff08}.\u{ff09}b"]
    {
        assert!(matches!(error(text), WebAddressError::Defanged { .. }), "{text}");
    }
}

/// Prevents text that is accepted as canonical although canonicalising it would change it, and vice versa.
#[test]
fn accepted_as_canonical() {
    for text in [
        "evil.example/",
        "evil.example/a.b/.c/..d/e../...",
        "evil.example/a?b\\c//d/../?",
        "evil.example/%25zz%254%25",
        "evil.example/%25%25",
        "evil.example/%09%0A%23%C3%BC",
        "ev%C2%A0il.example/",
        "xn--%C3%BC.example/",
        "xn--a.example/",
        "%01%80.com/",
        "%EF%BC%8541.example/",
        "1.2.3.4/",
        "256.1.1.1/",
        "1.2.3.09/",
        "4294967296/",
        "[2001:db8::1]/",
        "[2001:0:0:1::1]/",
        "[::c009:505]/",
        "(a).example/",
    ] {
        assert!(AddressParts::split(text.as_bytes()).is_some(), "{text}");
        check_is_canonical(text.as_bytes()).unwrap();
    }
    for text in [
        "",
        "/",
        "evil.example",
        "evil.example?",
        "evil.example/?",
        "Evil.example/",
        "evil.example./",
        ".evil.example/",
        "evil..example/",
        "evil.example:80/",
        "a@evil.example/",
        "evil.example\\a/",
        "evil.example/a\\b",
        "evil.example/a//b",
        "evil.example/a/./b",
        "evil.example/a/..",
        "evil.example/.",
        "evil.example/%41",
        "evil.example/%c3%bc",
        "evil.example/%2541",
        "evil.example/?%25aF",
        "evil.example/%",
        "evil.example/a#b",
        "evil.example/a b",
        "evil.example/\u{fc}",
        "%C3%BCmlat.com/",
        "\u{fc}mlat.com/",
        "evil(.)example/",
        "evil{dot}example/",
        "evil[.]example/",
        "1.2.3.04/",
        "1.2.772/",
        "0x7f.1/",
        "0/",
        "[2001:DB8::1]/",
        "[2001:db8:0:0::1]/",
        "[::ffff:1.2.3.4]/",
        "[64:ff9b::102:304]/",
        "[::1/",
        "[::1]a/",
        "a[::1]/",
    ] {
        assert!(AddressParts::split(text.as_bytes()).is_none(), "{text}");
        check_is_canonical(text.as_bytes()).unwrap();
    }
    let (host, fill) = ("a.".repeat(126) + "a", "b".repeat(WEB_ADDRESS_BYTES_MAX - 254));
    for (text, is_canonical) in [
        (format!("{host}/{fill}"), true),
        (format!("{host}/{fill}b"), false),
        (format!("{host}a/"), false),
        (format!("{}%01/", &host[..250]), true),
        (format!("{}%01/", &host[..251]), false),
        (format!("a.example/%{}", "25".repeat(4_000)), false),
    ] {
        assert_eq!(AddressParts::split(text.as_bytes()).is_some(), is_canonical, "{} bytes", text.len());
        check_is_canonical(text.as_bytes()).unwrap();
    }
}

#[test]
fn length_limits() {
    let label = "a".repeat(49);
    let host = format!("{label}.{label}.{label}.{label}.{label}.abc");
    assert_eq!(host.len(), 253);
    assert_eq!(canonical(&host), format!("{host}/"));
    assert_eq!(canonical(&format!("http://{}.{host}%2E", "..".repeat(500))), format!("{host}/"));
    assert_eq!(error(&format!("{host}d")), WebAddressError::HostTooLong { found: 254 });
    assert_eq!(error(&format!("\u{1}{}", &host[2..])), WebAddressError::HostTooLong { found: 254 });
    assert!(matches!(error(&"\u{fc}".repeat(1_000)), WebAddressError::HostTooLong { .. }));

    let max = WEB_ADDRESS_BYTES_MAX;
    let fill = |n: usize, with: &str| format!("a.example/{}", with.repeat(n));
    assert_eq!(canonical(&fill(max - 10, "b")).len(), max);
    assert_eq!(error(&fill(max - 9, "b")), WebAddressError::TooLong { found: max + 1 });
    assert!(matches!(error(&fill(max / 2, "\u{1}")), WebAddressError::TooLong { .. }));
    assert_eq!(canonical(&fill((max - 10) / 3, "%01")).len(), 10 + (max - 10) / 3 * 3);
    assert_eq!(canonical(&fill(1, &format!("%{}41", "25".repeat(4_000)))), "a.example/A");
}
