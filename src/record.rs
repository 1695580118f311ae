//! Records: what is known about a key, how bad it is, and which record wins when several match.

use std::{
    cmp::Reverse,
    fmt::{self, Write},
    str::FromStr,
    sync::LazyLock,
};

use blake3::hazmat::{self, ContextKey, HasherExt};

use crate::{
    key::{Indicator, Ipv4Block, Scope},
    timestamp::Timestamp,
};

/// What a record says of its key. The numbers are those of frames and snapshots, in order of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RecordType {
    /// A malicious object, or an address that delivers one.
    Malware = 1,
    /// A server that commands infected machines.
    BotnetCc = 2,
    /// An address that steals credentials.
    Phishing = 3,
    /// A certificate or key used by malware.
    BadCertificate = 4,
    /// An address that is malicious in some other or unnamed way.
    MaliciousAddress = 5,
    /// Software that shows unwanted advertising.
    Adware = 6,
    /// Legitimate software that can be used to do harm.
    Riskware = 7,
    /// A source of spam or scans.
    Abuse = 8,
    /// A tracker.
    Tracking = 9,
    /// Listed for another reason.
    Other = 10,
    /// Known to be good.
    Trusted = 11,
}

/// The text names no record type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found {found:?}", RecordType::ALL.map(RecordType::name).join(", "))]
pub struct RecordTypeError {
    found: String,
}

impl RecordType {
    /// Every type, the most severe first, `trusted` last.
    pub const ALL: [Self; 11] = [
        Self::Malware,
        Self::BotnetCc,
        Self::Phishing,
        Self::BadCertificate,
        Self::MaliciousAddress,
        Self::Adware,
        Self::Riskware,
        Self::Abuse,
        Self::Tracking,
        Self::Other,
        Self::Trusted,
    ];

    /// The type of a number of a frame or snapshot.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Its name: `malware`, `botnet-cc`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::Malware => "malware",
            Self::BotnetCc => "botnet-cc",
            Self::Phishing => "phishing",
            Self::BadCertificate => "bad-certificate",
            Self::MaliciousAddress => "malicious-address",
            Self::Adware => "adware",
            Self::Riskware => "riskware",
            Self::Abuse => "abuse",
            Self::Tracking => "tracking",
            Self::Other => "other",
            Self::Trusted => "trusted",
        }
    }

    /// Whether a key with such a record is bad by default: malware, botnet-cc, phishing, bad-certificate and
    /// malicious-address.
    pub fn is_bad(self) -> bool {
        self <= Self::MaliciousAddress
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for RecordType {
    type Err = RecordTypeError;

    fn from_str(text: &str) -> Result<Self, RecordTypeError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| RecordTypeError { found: text.into() })
    }
}

/// One record with its indicator, as a feed gives it and a snapshot is built from it.
///
/// Its identity is (source, ID): unsigned 64 bits, the feed's own where it has one, else [`derived_id`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<'a> {
    /// What it is listed under.
    pub indicator: Indicator,
    /// Unique within its source.
    pub id: u64,
    /// What it says.
    pub record_type: RecordType,
    /// The detection name as the feed writes it; empty when it gives none.
    pub name: &'a str,
    /// Which feed says so.
    pub source: &'a str,
    /// When it was made or last changed.
    pub timestamp: Option<Timestamp>,
    /// When it stops counting.
    pub expiry: Option<Timestamp>,
    /// The port that the feed gave with an address.
    pub port: Option<u16>,
}

/// Takes records as they are read. A snapshot under construction is one.
pub trait RecordSink {
    /// Takes one record from the input of that number, which is used only to say where duplicates came from.
    fn add(&mut self, input: u32, listing: Listing<'_>);
}

/// The ID of a record whose feed gives none: the top bit, and 63 bits of BLAKE3 over source, indicator and name, so
/// that it is the same in every rebuild and cannot collide with a feed's own small numbers.
pub fn derived_id(source: &str, indicator: &Indicator, name: &str) -> u64 {
    // Derived from the context once, not for every record.
    static CONTEXT: LazyLock<ContextKey> =
        LazyLock::new(|| hazmat::hash_derive_key_context("ksn 2026-11-22 derived record ID"));
    // In one piece: short fields are dear to hash one by one.
    let mut fields = String::with_capacity(256);
    let mut put = |field: &dyn fmt::Display| {
        let start = fields.len();
        fields.push_str("\0\0\0\0\0\0\0\0");
        let _ = write!(fields, "{field}");
        start
    };
    let starts = [put(&source), put(indicator), put(&name)];
    let mut bytes = fields.into_bytes();
    let ends = [starts[1], starts[2], bytes.len()];
    for (start, end) in starts.into_iter().zip(ends) {
        bytes[start..start + 8].copy_from_slice(&((end - start - 8) as u64).to_le_bytes());
    }
    let mut id = [0; 8];
    let hash = blake3::Hasher::new_from_context_key(&CONTEXT).update(&bytes).finalize();
    id.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(id) | 1 << 63
}

/// How narrowly a record matches: of two that match the same key, the larger is the more specific.
///
/// All digests are equal. For web addresses the longer host counts, then the longer path, then a query. For IPv4 the
/// smaller block counts; any web expression is more specific than a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity(u64);

impl Specificity {
    /// Of a digest.
    pub const DIGEST: Self = Self(0);

    /// Of a web expression.
    pub fn of_web(scope: Scope, expression: &[u8]) -> Self {
        let (host, rest) = match expression.iter().position(|&b| b == b'/') {
            Some(at) => expression.split_at(at),
            None => (expression, &[][..]),
        };
        let path = rest.iter().position(|&b| b == b'?').unwrap_or(rest.len());
        let whole_host = matches!(scope, Scope::Exact | Scope::Host);
        let host = (host.len().min(0x3fff) as u64) << 1 | u64::from(whole_host);
        // An exact path says more than a prefix of the same length.
        let path_bits = (path.min(0x7fff) as u64) << 1 | u64::from(scope == Scope::Exact);
        let query = (rest.len() - path).min(0xffff) as u64;
        Self(1 << 63 | host << 32 | path_bits << 16 | query)
    }

    /// Of a block of IPv4 addresses.
    pub fn of_block(block: Ipv4Block) -> Self {
        Self((1 << 32) - block.addresses())
    }
}

/// What decides between the records that match one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<S> {
    /// What the record says.
    pub record_type: RecordType,
    /// How narrowly it matches.
    pub specificity: Specificity,
    /// When it was made; no time is oldest.
    pub timestamp: Option<Timestamp>,
    /// Its source: the name, or what is ordered as names are.
    pub source: S,
    /// Its ID.
    pub id: u64,
}

/// Sorts the records that match one key by precedence, the winner first.
///
/// A trusted record suppresses a bad one if it is at least as specific; the suppressed come last. Then severity counts,
/// then specificity, then the newest, then source and ID.
pub fn sort_by_precedence<M, S: Ord>(matches: &mut [M], standing: impl Fn(&M) -> Standing<S>) {
    let trust =
        matches.iter().map(&standing).filter(|s| s.record_type == RecordType::Trusted).map(|s| s.specificity).max();
    // Source and ID tell any two apart, so the order is one; a stable sort would allocate.
    matches.sort_unstable_by_key(|m| {
        let s = standing(m);
        let suppressed = s.record_type.is_bad() && trust.is_some_and(|trust| trust >= s.specificity);
        (suppressed, s.record_type, Reverse(s.specificity), Reverse(s.timestamp), s.source, s.id)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(record_type: RecordType, specificity: u64, time: u32, id: u64) -> Standing<u16> {
        Standing {
            record_type,
            specificity: Specificity(specificity),
            timestamp: Timestamp::from_seconds(time),
            source: 0,
            id,
        }
    }

    fn winner(mut matches: Vec<Standing<u16>>) -> u64 {
        sort_by_precedence(&mut matches, |m| *m);
        matches[0].id
    }

    #[test]
    fn types_are_numbered_by_severity() {
        for (i, kind) in RecordType::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, i + 1);
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!(RecordType::ALL.iter().filter(|t| t.is_bad()).count(), 5);
        assert!("bad".parse::<RecordType>().unwrap_err().to_string().starts_with("expected one of malware, botnet-cc"));
    }

    #[test]
    fn trust_suppresses_only_what_is_no_more_specific() {
        use RecordType::*;
        assert_eq!(winner(vec![standing(Malware, 5, 0, 1), standing(Trusted, 5, 0, 2)]), 2);
        assert_eq!(winner(vec![standing(Malware, 6, 0, 1), standing(Trusted, 5, 0, 2)]), 1);
        // Riskware is not bad: it outranks trust by severity.
        assert_eq!(
            winner(vec![standing(Malware, 5, 0, 1), standing(Trusted, 5, 0, 2), standing(Riskware, 1, 0, 3)]),
            3
        );
    }

    #[test]
    fn severity_then_specificity_then_newest_then_id() {
        use RecordType::*;
        assert_eq!(winner(vec![standing(Phishing, 9, 9, 1), standing(Malware, 1, 1, 2)]), 2);
        assert_eq!(winner(vec![standing(Malware, 1, 9, 1), standing(Malware, 2, 1, 2)]), 2);
        assert_eq!(winner(vec![standing(Malware, 1, 0, 1), standing(Malware, 1, 1, 2)]), 2);
        assert_eq!(winner(vec![standing(Malware, 1, 1, 2), standing(Malware, 1, 1, 1)]), 1);
    }

    #[test]
    fn longer_hosts_paths_and_queries_are_more_specific() {
        let ordered = [
            Specificity::of_block("10.0.0.0/8".parse().unwrap()),
            Specificity::of_block("10.0.0.1".parse().unwrap()),
            Specificity::of_web(Scope::Domain, b"b.example"),
            Specificity::of_web(Scope::Expression, b"b.example/"),
            Specificity::of_web(Scope::Expression, b"b.example/a/"),
            Specificity::of_web(Scope::Host, b"b.example"),
            Specificity::of_web(Scope::Exact, b"b.example/a"),
            Specificity::of_web(Scope::Exact, b"b.example/a?q"),
            Specificity::of_web(Scope::Domain, b"a.b.example"),
        ];
        assert!(ordered.windows(2).all(|w| w[0] < w[1]), "{ordered:?}");
    }

    #[test]
    fn derived_ids_are_stable() {
        let indicator = Indicator::Ipv4("192.0.2.1".parse().unwrap());
        let id = derived_id("feed", &indicator, "name");
        assert_eq!(id, derived_id("feed", &indicator, "name"));
        assert!(id >> 63 == 1);
        assert_ne!(id, derived_id("feedn", &indicator, "ame"));
    }
}
