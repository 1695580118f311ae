//! Keys that scanners look up, and indicators that feeds list.
//!
//! A [`Key`] identifies one observed object or address, an [`Indicator`] identifies what a record applies to: a key is
//! one IPv4 address, an indicator a block of them; a key is a whole web address, an indicator a host, a domain or an
//! expression with a [`Scope`].
//!
//! Nothing here accesses files, sockets or clocks.

mod address;
mod canonical;
mod digest;
mod find;
mod ipv4;
mod text;

use std::{fmt, net::Ipv4Addr};

#[cfg(feature = "feed")]
pub(crate) use self::text::{colon_fingerprint, prefixed_digest};
pub use self::{
    address::{AddressParts, Scope, ScopeSet, WebAddress},
    canonical::{WebAddressError, canonical_url},
    digest::{Digest, DigestError, DigestKind, Hex, PrefixWidth},
    ipv4::{Ipv4Block, Ipv4BlockError},
    text::{KeyError, refang},
};
use crate::limits::{PROBE_COST, web_address_cost};

/// The kind of a key, with its number in frames and snapshots. Numbers MUST NOT be reused; later versions MAY add some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// A digest: numbers 1 to 9, as in [`DigestKind`].
    Digest(DigestKind),
    /// A web address: number 10.
    Web,
    /// An IPv4 address: number 11.
    Ipv4,
}

impl KeyKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 11] = {
        let mut all = [Self::Web; 11];
        let mut i = 0;
        while i < DigestKind::ALL.len() {
            all[i] = Self::Digest(DigestKind::ALL[i]);
            i += 1;
        }
        all[10] = Self::Ipv4;
        all
    };

    /// Returns the kind with a number; `None` for an unknown number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Returns the number of the kind in frames and snapshots, from 1.
    pub fn number(self) -> u8 {
        match self {
            Self::Digest(kind) => kind as u8,
            Self::Web => 10,
            Self::Ipv4 => 11,
        }
    }

    /// Returns the prefix of the text form, before the colon, which is also the name of the kind in reports.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Digest(kind) => kind.prefix(),
            Self::Web => "url",
            Self::Ipv4 => "ipv4",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix())
    }
}

/// One key, in canonical form.
///
/// Its text (`sha256:…`, `url:host/path`, `ipv4:192.0.2.1`) parses back to the same key. For other accepted forms see
/// [`Key::from_str`](enum@Key#impl-FromStr-for-Key).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A digest of an object, a certificate or a public key.
    Digest(Digest),
    /// A web address.
    Web(WebAddress),
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
}

impl Key {
    /// Returns the kind.
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Digest(digest) => KeyKind::Digest(digest.kind()),
            Self::Web(_) => KeyKind::Web,
            Self::Ipv4(_) => KeyKind::Ipv4,
        }
    }

    /// Returns the cost of the whole key, which counts towards [`BATCH_COST_MAX`](crate::limits::BATCH_COST_MAX).
    pub fn cost(&self) -> u64 {
        match self {
            Self::Digest(_) | Self::Ipv4(_) => PROBE_COST,
            Self::Web(address) => web_address_cost(address.as_str().len()),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => write!(f, "{digest}"),
            Self::Web(address) => write!(f, "url:{address}"),
            Self::Ipv4(address) => write!(f, "ipv4:{address}"),
        }
    }
}

impl From<Digest> for Key {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl From<WebAddress> for Key {
    fn from(address: WebAddress) -> Self {
        Self::Web(address)
    }
}

impl From<Ipv4Addr> for Key {
    fn from(address: Ipv4Addr) -> Self {
        Self::Ipv4(address)
    }
}

/// The digest, web expression or block of IPv4 addresses that a record applies to.
///
/// Ordered as in a snapshot: by kind, then by bytes, expression or block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Indicator {
    /// A digest, matched exactly.
    Digest(Digest),
    /// A web expression whose text is known.
    Web {
        /// The addresses that the expression matches.
        scope: Scope,
        /// `host` for the scopes host and domain, `host/path[?query]` for the others; canonical, without scheme.
        expression: Box<str>,
    },
    /// A web expression of which the feed lists only the SHA-256 (scope [`Scope::Expression`]).
    WebSha256([u8; 32]),
    /// A block of IPv4 addresses.
    Ipv4(Ipv4Block),
}

impl Indicator {
    /// Returns the kind of key that the indicator matches.
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Digest(digest) => KeyKind::Digest(digest.kind()),
            Self::Web { .. } | Self::WebSha256(_) => KeyKind::Web,
            Self::Ipv4(_) => KeyKind::Ipv4,
        }
    }
}

/// Writes `sha256:…`, `domain:evil.example`, `exact:evil.example/a`, `expression-sha256:…` or `ipv4:192.0.2.0/24`.
impl fmt::Display for Indicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => write!(f, "{digest}"),
            Self::Web { scope, expression } => write!(f, "{scope}:{expression}"),
            Self::WebSha256(digest) => write!(f, "expression-sha256:{}", Hex(digest)),
            Self::Ipv4(block) => write!(f, "ipv4:{block}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_numbered_densely() {
        for (i, kind) in KeyKind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.number()), i + 1);
            assert_eq!(KeyKind::from_number(kind.number()), Some(kind));
        }
        assert_eq!(KeyKind::from_number(0), None);
        assert_eq!(KeyKind::from_number(12), None);
    }
}
