//! The filter: indicators that must never become bad records, whatever a feed lists.
//!
//! These are digests of trivial files (empty, a single newline), the all-zero digest, addresses with a different
//! meaning on every network, and names that belong to no site: a record of these would cause false positives. Trusted
//! records pass: trusting one of these overrides nothing that is more specific.

use std::{net::Ipv4Addr, sync::LazyLock};

use super::{
    guard::Guards,
    public_suffix::{self, Suffix},
};
use crate::{
    key::{Digest, DigestKind, Indicator, Ipv4Block, Scope},
    record::RecordType,
};

/// The version of the compiled-in public suffix list. Snapshots store it because it affects what is withheld.
pub const PUBLIC_SUFFIX_LIST_VERSION: &str = public_suffix::VERSION;

/// The result of filtering an indicator.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filtered {
    /// The indicator is listed unchanged.
    Kept(Indicator),
    /// Anybody can register below the domain: only the host itself is listed.
    Narrowed(Indicator),
    /// The indicator is not listed, with the reason.
    Withheld(&'static str),
}

/// Filters an indicator for a record of type `record_type`.
pub(super) fn filter(indicator: Indicator, record_type: RecordType, guards: &Guards) -> Filtered {
    if record_type == RecordType::Trusted {
        return Filtered::Kept(indicator);
    }
    let reason = match &indicator {
        Indicator::Digest(digest) => never_digest(digest),
        Indicator::Ipv4(block) => never_block(*block),
        Indicator::Web { scope, expression } => never_web(*scope, expression),
        Indicator::WebSha256(_) => None,
    };
    if let Some(reason) = reason.or_else(|| guards.guards(&indicator)) {
        return Filtered::Withheld(reason);
    }
    match indicator {
        Indicator::Web { scope: Scope::Domain, expression }
            if public_suffix::whole(&expression) == Some(Suffix::Private) =>
        {
            Filtered::Narrowed(Indicator::Web { scope: Scope::Host, expression })
        }
        indicator => Filtered::Kept(indicator),
    }
}

fn never_digest(digest: &Digest) -> Option<&'static str> {
    if digest.bytes().iter().all(|&b| b == 0) {
        return Some("an all-zero digest");
    }
    let kind = match digest.kind() {
        DigestKind::CertMd5 => DigestKind::Md5,
        DigestKind::CertSha1 | DigestKind::SpkiSha1 => DigestKind::Sha1,
        DigestKind::CertSha256 | DigestKind::SpkiSha256 => DigestKind::Sha256,
        kind => kind,
    };
    let known = NEVER_DIGESTS.iter().find(|(never, _)| never.kind() == kind && never.bytes() == digest.bytes());
    known.map(|&(_, reason)| reason)
}

fn never_block(block: Ipv4Block) -> Option<&'static str> {
    if block.addresses() > 1 << 24 {
        return Some("a block wider than /8");
    }
    special_purpose(block)
}

/// Returns why a block overlaps addresses that are not globally routable.
fn special_purpose(block: Ipv4Block) -> Option<&'static str> {
    let (first, last) = (u32::from(block.first()), u32::from(block.last()));
    SPECIAL_PURPOSE.iter().find_map(|&(a, b, c, d, bits, reason)| {
        let special = Ipv4Block::containing(Ipv4Addr::new(a, b, c, d), bits);
        (first <= u32::from(special.last()) && u32::from(special.first()) <= last).then_some(reason)
    })
}

fn never_web(scope: Scope, expression: &str) -> Option<&'static str> {
    let host = expression.split('/').next().unwrap_or_default();
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return special_purpose(address.into());
    }
    if host.starts_with('[') {
        return None;
    }
    if !host.contains('.') {
        return Some("a host name with a single label");
    }
    if host.ends_with(".localdomain") || host.ends_with(".localhost") {
        return Some("a local host name");
    }
    if scope == Scope::Domain && public_suffix::whole(host) == Some(Suffix::Icann) {
        return Some("a public suffix, below which anybody can register");
    }
    None
}

/// Digests of the empty file and of a single newline, by every algorithm.
static NEVER_DIGESTS: LazyLock<Vec<(Digest, &str)>> = LazyLock::new(|| {
    let known = NEVER_HEX.iter().filter_map(|&(kind, hex, reason)| Some((Digest::from_hex(kind, hex).ok()?, reason)));
    let blake3 = [(&b""[..], EMPTY), (b"\n", NEWLINE), (b"\r\n", NEWLINE)]
        .into_iter()
        .filter_map(|(bytes, reason)| Some((Digest::new(DigestKind::Blake3, blake3::hash(bytes).as_bytes())?, reason)));
    known.chain(blake3).collect()
});

const EMPTY: &str = "the digest of an empty file";
const NEWLINE: &str = "the digest of a single newline";

const NEVER_HEX: [(DigestKind, &str, &str); 9] = [
    (DigestKind::Md5, "d41d8cd98f00b204e9800998ecf8427e", EMPTY),
    (DigestKind::Sha1, "da39a3ee5e6b4b0d3255bfef95601890afd80709", EMPTY),
    (DigestKind::Sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", EMPTY),
    (DigestKind::Md5, "68b329da9893e34099c7d8ad5cb9c940", NEWLINE),
    (DigestKind::Sha1, "adc83b19e793491b1c6ea0fd8b46cd9f32e592fc", NEWLINE),
    (DigestKind::Sha256, "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b", NEWLINE),
    (DigestKind::Md5, "81051bcc2cf1bedf378224b0a93e2877", NEWLINE),
    (DigestKind::Sha1, "ba8ab5a0280b953aa97435ff8946cbcbb2755a27", NEWLINE),
    (DigestKind::Sha256, "7eb70257593da06f682a3ddda54a9d260d4fc514f645237f5ca74b08f8da61a6", NEWLINE),
];

/// The IANA special-purpose address registry (RFC 6890), with multicast (RFC 5771).
const SPECIAL_PURPOSE: &[(u8, u8, u8, u8, u8, &str)] = &[
    (0, 0, 0, 0, 8, "an address of this network (0.0.0.0/8)"),
    (10, 0, 0, 0, 8, "a private address"),
    (100, 64, 0, 0, 10, "a carrier-grade NAT address (100.64.0.0/10)"),
    (127, 0, 0, 0, 8, "a loopback address"),
    (169, 254, 0, 0, 16, "a link-local address"),
    (172, 16, 0, 0, 12, "a private address"),
    (192, 0, 0, 0, 24, "an IETF protocol address (192.0.0.0/24)"),
    (192, 0, 2, 0, 24, "a documentation address"),
    (192, 88, 99, 0, 24, "a 6to4 relay address"),
    (192, 168, 0, 0, 16, "a private address"),
    (198, 18, 0, 0, 15, "a benchmarking address"),
    (198, 51, 100, 0, 24, "a documentation address"),
    (203, 0, 113, 0, 24, "a documentation address"),
    (224, 0, 0, 0, 4, "a multicast address"),
    (240, 0, 0, 0, 4, "a reserved address (240.0.0.0/4)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn filter_malware(indicator: Indicator) -> Filtered {
        filter(indicator, RecordType::Malware, &Guards::default())
    }

    fn withheld(indicator: Indicator) -> bool {
        let trusted = filter(indicator.clone(), RecordType::Trusted, &Guards::default());
        assert_eq!(trusted, Filtered::Kept(indicator.clone()));
        matches!(filter_malware(indicator), Filtered::Withheld(_))
    }

    fn digest(kind: DigestKind, hex: &str) -> Indicator {
        Indicator::Digest(Digest::from_hex(kind, hex).unwrap())
    }

    fn web(scope: Scope, expression: &str) -> Indicator {
        Indicator::Web { scope, expression: expression.into() }
    }

    #[test]
    fn digests_of_trivial_files_are_withheld() {
        assert_eq!(NEVER_DIGESTS.len(), NEVER_HEX.len() + 3);
        for (kind, hex, _) in NEVER_HEX {
            assert!(withheld(digest(kind, hex)), "{hex}");
        }
        for kind in DigestKind::ALL {
            assert!(withheld(digest(kind, &"00".repeat(kind.width()))), "{kind:?}");
            assert!(!withheld(digest(kind, &"01".repeat(kind.width()))), "{kind:?}");
        }
        assert!(withheld(digest(DigestKind::CertSha1, "da39a3ee5e6b4b0d3255bfef95601890afd80709")));
        assert!(withheld(digest(DigestKind::Blake3, blake3::hash(b"\n").to_hex().as_str())));
    }

    #[test]
    fn special_purpose_addresses_are_withheld() {
        for block in [
            "0.1.2.3",
            "10.1.2.3",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.1.1",
            "172.31.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.255.255",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "9.0.0.0-11.0.0.0",
            "192.168.0.0/16",
            "8.0.0.0/7",
            "0.0.0.0/0",
        ] {
            assert!(withheld(Indicator::Ipv4(block.parse().unwrap())), "{block}");
        }
        for block in
            ["1.1.1.1", "9.0.0.0/8", "100.63.255.255", "100.128.0.0", "172.32.0.1", "192.0.3.1", "223.255.255.255"]
        {
            assert!(!withheld(Indicator::Ipv4(block.parse().unwrap())), "{block}");
        }
        assert!(withheld(web(Scope::Exact, "192.168.1.1/x")));
        assert!(!withheld(web(Scope::Exact, "9.9.9.9/x")));
    }

    #[test]
    fn local_names_and_public_suffixes_are_withheld() {
        for (scope, name) in [
            (Scope::Host, "localhost"),
            (Scope::Host, "localhost.localdomain"),
            (Scope::Exact, "https/"),
            (Scope::Domain, "com"),
            (Scope::Domain, "co.uk"),
        ] {
            assert!(withheld(web(scope, name)), "{name}");
        }
        for (scope, name) in [
            (Scope::Host, "co.uk"),
            (Scope::Domain, "a.co.uk"),
            (Scope::Exact, "a.example/"),
            (Scope::Domain, "a.example"),
        ] {
            assert!(!withheld(web(scope, name)), "{name}");
        }
    }

    #[test]
    fn private_suffixes_are_narrowed_to_their_host() {
        let narrowed = filter_malware(web(Scope::Domain, "duckdns.org"));
        assert_eq!(narrowed, Filtered::Narrowed(web(Scope::Host, "duckdns.org")));
        assert!(!withheld(web(Scope::Domain, "a.duckdns.org")));
        let trusted = filter(web(Scope::Domain, "duckdns.org"), RecordType::Trusted, &Guards::default());
        assert_eq!(trusted, Filtered::Kept(web(Scope::Domain, "duckdns.org")));
    }
}
