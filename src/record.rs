//! Records: their types by severity, their IDs, and the precedence of several records that match one key.

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

/// The classification of a key by a record. The numbers are those of frames and snapshots, in order of severity.
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
    /// A key that is listed for another reason.
    Other = 10,
    /// A key that is known to be good.
    Trusted = 11,
}

/// The text is not the name of a record type.
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

    /// Returns the type with a number of a frame or snapshot.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Returns the name: `malware`, `botnet-cc`, …
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

    /// Returns whether a key with a record of this type is bad by default: malware, botnet-cc, phishing,
    /// bad-certificate and malicious-address.
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

/// One record with its indicator, as parsed from a feed and added to a snapshot.
///
/// It is identified by source and ID. The ID is that of the feed if it has one, else [`derived_id`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The indicator that the record applies to.
    pub indicator: Indicator,
    /// The ID of the record, unique within its source.
    pub id: u64,
    /// The type of the record.
    pub record_type: RecordType,
    /// The detection name as written in the feed; empty if there is none.
    pub name: &'a str,
    /// The name of the feed.
    pub source: &'a str,
    /// The time at which the record was created or last changed.
    pub timestamp: Option<Timestamp>,
    /// The time at which the record expires.
    pub expiry: Option<Timestamp>,
    /// The port that the feed lists with an address.
    pub port: Option<u16>,
}

/// Writes the indicator, the type and what else the entry has: `indicator type "name" at time until expiry port 443 #7`,
/// the ID only if it is the feed's own.
impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.indicator, self.record_type)?;
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        if let Some(time) = self.timestamp {
            write!(f, " at {time}")?;
        }
        if let Some(time) = self.expiry {
            write!(f, " until {time}")?;
        }
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        match self.id >> 63 {
            0 => write!(f, " #{}", self.id),
            _ => Ok(()),
        }
    }
}

/// A receiver of entries as they are read, such as a snapshot builder.
pub trait RecordSink {
    /// Adds one entry from the input with number `input`, which is used only to report where duplicates are.
    fn add(&mut self, input: u32, entry: Entry<'_>);
}

/// Returns the ID of a record whose feed has none: the top bit, and 63 bits of BLAKE3 over source, indicator and name,
/// so that it is the same in every rebuild and cannot collide with the small numbers of a feed.
pub fn derived_id(source: &str, indicator: &Indicator, name: &str) -> u64 {
    // Derived from the context once, not for each record.
    static CONTEXT: LazyLock<ContextKey> =
        LazyLock::new(|| hazmat::hash_derive_key_context("ksn 2026-11-22 derived record ID"));
    // Concatenated, because hashing many short inputs is slow.
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

/// The specificity of a match: of two records that match the same key, the larger value is more specific.
///
/// All digests are equal. For web addresses the longer host is more specific, then the longer path, then a query. For
/// IPv4 it is the smaller block; any web expression is more specific than a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity(u64);

impl Specificity {
    /// The specificity of a digest.
    pub const DIGEST: Self = Self(0);

    /// Returns the specificity of a web expression.
    pub fn of_web(scope: Scope, expression: &[u8]) -> Self {
        let (host, rest) = match expression.iter().position(|&b| b == b'/') {
            Some(at) => expression.split_at(at),
            None => (expression, &[][..]),
        };
        let path = rest.iter().position(|&b| b == b'?').unwrap_or(rest.len());
        let whole_host = matches!(scope, Scope::Exact | Scope::Host);
        let host = (host.len().min(0x3fff) as u64) << 1 | u64::from(whole_host);
        // An exact path is more specific than a prefix of the same length.
        let path_bits = (path.min(0x7fff) as u64) << 1 | u64::from(scope == Scope::Exact);
        let query = (rest.len() - path).min(0xffff) as u64;
        Self(1 << 63 | host << 32 | path_bits << 16 | query)
    }

    /// Returns the specificity of a block of IPv4 addresses.
    pub fn of_block(block: Ipv4Block) -> Self {
        Self((1 << 32) - block.addresses())
    }
}

/// The properties that determine the precedence of the records that match one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrecedenceKey<S> {
    /// The type of the record.
    pub record_type: RecordType,
    /// The specificity of the match.
    pub specificity: Specificity,
    /// The time at which the record was created or last changed; `None` sorts as oldest.
    pub timestamp: Option<Timestamp>,
    /// The source: its name, or a value that is ordered like the names.
    pub source: S,
    /// The ID of the record.
    pub id: u64,
}

/// Sorts the records that match one key by precedence, the winner first.
///
/// A trusted record suppresses a bad one if it is at least as specific; suppressed records are last. The other criteria
/// are, in this order: severity, specificity, the newest timestamp, source and ID.
pub fn sort_by_precedence<M, S: Ord>(matches: &mut [M], precedence: impl Fn(&M) -> PrecedenceKey<S>) {
    if matches.len() > 1 {
        let trust = trusted_specificity(matches, &precedence);
        // Source and ID are unique, so the order is total; a stable sort would allocate.
        matches.sort_unstable_by_key(|found| precedence(found).rank(trust));
    }
}

/// Returns the index of the record that [`sort_by_precedence`] would sort to the front: the winner. `None` if there are
/// no records.
pub fn winner_by_precedence<M, S: Ord>(matches: &[M], precedence: impl Fn(&M) -> PrecedenceKey<S>) -> Option<usize> {
    if matches.len() <= 1 {
        return (!matches.is_empty()).then_some(0);
    }
    let trust = trusted_specificity(matches, &precedence);
    let ranks = matches.iter().map(|found| precedence(found).rank(trust));
    ranks.enumerate().min_by(|(_, a), (_, b)| a.cmp(b)).map(|(at, _)| at)
}

/// Returns the specificity of the most specific trusted record.
fn trusted_specificity<M, S>(matches: &[M], precedence: impl Fn(&M) -> PrecedenceKey<S>) -> Option<Specificity> {
    let keys = matches.iter().map(precedence);
    keys.filter(|key| key.record_type == RecordType::Trusted).map(|key| key.specificity).max()
}

impl<S: Ord> PrecedenceKey<S> {
    /// Returns a value that sorts the records of one key in the order of precedence. `trust` is the specificity of the
    /// most specific trusted record.
    fn rank(self, trust: Option<Specificity>) -> impl Ord {
        let suppressed = self.record_type.is_bad() && trust.is_some_and(|trust| trust >= self.specificity);
        (suppressed, self.record_type, Reverse(self.specificity), Reverse(self.timestamp), self.source, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn precedence(record_type: RecordType, specificity: u64, time: u32, id: u64) -> PrecedenceKey<u16> {
        PrecedenceKey {
            record_type,
            specificity: Specificity(specificity),
            timestamp: Timestamp::from_seconds(time),
            source: 0,
            id,
        }
    }

    fn winner(mut matches: Vec<PrecedenceKey<u16>>) -> u64 {
        let winner = matches[winner_by_precedence(&matches, |m| *m).unwrap()];
        sort_by_precedence(&mut matches, |m| *m);
        assert_eq!(matches[0], winner);
        winner.id
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
    fn trusted_records_suppress_only_equally_or_less_specific_ones() {
        use RecordType::*;
        assert_eq!(winner(vec![precedence(Malware, 5, 0, 1), precedence(Trusted, 5, 0, 2)]), 2);
        assert_eq!(winner(vec![precedence(Malware, 6, 0, 1), precedence(Trusted, 5, 0, 2)]), 1);
        // Riskware is not bad: it outranks trust by severity.
        assert_eq!(
            winner(vec![precedence(Malware, 5, 0, 1), precedence(Trusted, 5, 0, 2), precedence(Riskware, 1, 0, 3)]),
            3
        );
    }

    #[test]
    fn severity_then_specificity_then_newest_then_id() {
        use RecordType::*;
        assert_eq!(winner(vec![precedence(Phishing, 9, 9, 1), precedence(Malware, 1, 1, 2)]), 2);
        assert_eq!(winner(vec![precedence(Malware, 1, 9, 1), precedence(Malware, 2, 1, 2)]), 2);
        assert_eq!(winner(vec![precedence(Malware, 1, 0, 1), precedence(Malware, 1, 1, 2)]), 2);
        assert_eq!(winner(vec![precedence(Malware, 1, 1, 2), precedence(Malware, 1, 1, 1)]), 1);
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
