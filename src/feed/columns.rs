//! What the columns of a generic CSV hold: their names on the command line, and their words in headers.

use std::str::FromStr;

macro_rules! columns {
    ($($(#[$doc:meta])* $variant:ident = $name:literal [$($header:literal),*];)*) => {
        /// What a column of a generic CSV holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CsvColumn { $($(#[$doc])* $variant,)* }

        /// Each column: its name on the command line, and its words in headers.
        const COLUMNS: &[(CsvColumn, &str, &[&str])] = &[$((CsvColumn::$variant, $name, &[$($header),*]),)*];
    };
}

columns! {
    /// Nothing that is used.
    Ignored = "-" [];
    /// An indicator: of the type that the column [`Type`](Self::Type) says, else of the type it looks like.
    Key = "key" ["indicator", "indicators", "indicator value", "indicator_value", "ioc", "iocs", "ioc_value", "value", "c2", "c2 server"];
    /// What kind of indicator the key is.
    Type = "type" ["type", "indicator type", "indicator_type", "ioc type", "ioc_type"];
    /// A hash of a file, by its length.
    Hash = "hash" [
        "sha256", "sha-256", "sha256 hash", "sha256_hash", "sha1", "sha-1", "sha1 hash", "sha1_hash", "md5", "md5 hash",
        "md5_hash", "hash", "file hash", "file_hash", "filehash"
    ];
    /// A certificate's fingerprint, by its length.
    Certificate = "certificate" [
        "certificate", "cert", "thumbprint", "fingerprint", "certificate fingerprint", "cert_sha1", "cert_sha256"
    ];
    /// An address: exactly that one.
    Url = "url" ["url", "urls", "uri"];
    /// A name with its subdomains.
    Domain = "domain" ["domain", "domains", "domain name", "domain_name", "fqdn"];
    /// A name without its subdomains.
    Host = "host" ["host", "hostname"];
    /// An IPv4 address, block or range, with or without a port.
    Ip = "ip" ["ip", "ips", "ipv4", "ip address", "ip_address", "dst_ip", "dst ip", "cidr"];
    /// The port.
    Port = "port" ["port", "dst_port"];
    /// The detection name.
    Name = "name" [
        "signature", "malware", "malware family", "malware_family", "family", "threat name", "threat_name", "detection",
        "yara hit", "name", "app", "threat", "malware name"
    ];
    /// When it was made or last changed.
    Time = "time" [
        "first_seen", "first seen", "first_seen_utc", "timestamp", "time", "date", "date added", "dateadded", "created"
    ];
    /// When it stops counting.
    Expiry = "expiry" ["expiry", "expires", "valid_until"];
    /// The feed's own number of the record.
    Id = "id" [];
    /// How sure the feed is, in percent.
    Confidence = "confidence" ["confidence", "confidence_level"];
    /// How often or how badly it is listed.
    Score = "score" ["score"];
    /// The record type: `malware`, `phishing`, …
    RecordType = "record-type" ["record_type", "record type", "record-type"];
}

/// The text is not the name of a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found {found:?}", COLUMNS.iter().map(|(_, name, _)| *name).collect::<Vec<_>>().join(", "))]
pub struct ColumnError {
    found: String,
}

/// Reads the name of a column, or a word for it in headers (`sha256`); nothing and `-` for one that is not used.
impl FromStr for CsvColumn {
    type Err = ColumnError;

    fn from_str(text: &str) -> Result<Self, ColumnError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::Ignored);
        }
        let named = COLUMNS.iter().find(|(_, name, _)| name.eq_ignore_ascii_case(text)).map(|(column, ..)| *column);
        let named = named.or(Some(Self::of_header(text)).filter(|&column| column != Self::Ignored));
        named.ok_or_else(|| ColumnError { found: text.into() })
    }
}

impl CsvColumn {
    /// Returns the column that a word in a header names.
    pub(super) fn of_header(word: &str) -> Self {
        let known = COLUMNS.iter().find(|(_, _, words)| words.iter().any(|known| word.eq_ignore_ascii_case(known)));
        known.map_or(Self::Ignored, |(column, ..)| *column)
    }

    /// Returns whether it holds an indicator.
    pub(super) fn is_key(self) -> bool {
        matches!(self, Self::Key | Self::Hash | Self::Certificate | Self::Url | Self::Domain | Self::Host | Self::Ip)
    }
}
