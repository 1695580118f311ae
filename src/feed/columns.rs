//! The contents of the columns of a generic CSV: their names on the command line, and their words in headers.

use std::str::FromStr;

use super::type_words::{TypeWord, WORD_BYTES_MAX, normalize};
use crate::key::DigestKind;

macro_rules! columns {
    ($($(#[$doc:meta])* $variant:ident = $name:literal [$($header:literal),*];)*) => {
        /// What a column of a generic CSV holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CsvColumn { $($(#[$doc])* $variant,)* }

        /// Each column: its name on the command line, and its words in headers, normalized. The words for types are in
        /// [`TypeWord`].
        const COLUMNS: &[(CsvColumn, &str, &[&str])] = &[$((CsvColumn::$variant, $name, &[$($header),*]),)*];
    };
}

columns! {
    /// Nothing that is used.
    Ignored = "-" [];
    /// Indicators: of the type that the column [`Type`](Self::Type) names, else of the types that they look like.
    Key = "key" [
        "indicator", "indicators", "indicatorvalue", "ioc", "iocs", "iocvalue", "value", "c2", "c2s", "c2server",
        "c2servers", "c2address", "observable", "observablevalue", "entity", "address", "addresses", "data", "key"
    ];
    /// The type of the key.
    Type = "type" [
        "type", "indicatortype", "ioctype", "entitytype", "observabletype", "attributetype", "valuetype", "datatype",
        "kind"
    ];
    /// Hashes of files, by their length.
    Hash = "hash" [];
    /// Certificate fingerprints, by their length.
    Certificate = "certificate" [];
    /// BLAKE3 digests of files.
    Blake3 = "blake3" [];
    /// Digests of public keys (SubjectPublicKeyInfo), by their length.
    PublicKey = "spki" [];
    /// URLs: exactly these.
    Url = "url" [];
    /// Names with their subdomains.
    Domain = "domain" [];
    /// Names without their subdomains.
    Host = "host" [];
    /// IPv4 addresses, blocks or ranges, with or without a port.
    Ip = "ip" [];
    /// The port.
    Port = "port" ["port", "dstport"];
    /// The detection name.
    Name = "name" [
        "signature", "malware", "malwarefamily", "family", "threatname", "detection", "detectionname", "yarahit", "name",
        "app", "threat", "malwarename", "malwareprintable"
    ];
    /// When it was created or last modified.
    Time = "time" [
        "firstseen", "firstseenutc", "timestamp", "time", "date", "datetime", "dateadded", "created", "createdat",
        "lastreportedat"
    ];
    /// When it expires.
    Expiry = "expiry" ["expiry", "expires", "validuntil", "expiration", "expirationdate"];
    /// The feed's own number of the record.
    Id = "id" [];
    /// The confidence of the feed, in percent.
    Confidence = "confidence" ["confidence", "confidencelevel", "confidencescore", "abuseconfidencescore"];
    /// How often or how badly it is listed.
    Score = "score" ["score"];
    /// The record type: `malware`, `phishing`, …
    RecordType = "record-type" ["recordtype"];
    /// A verdict: one of goodness (`benign`, `false positive`) withholds the row.
    Status = "status" ["status", "verdict", "classification", "disposition", "determination", "reputation", "assessment"];
    /// Whether it is meant for detection: `0` and `false` withhold the row.
    ToIds = "to-ids" ["toids", "ids", "fordetection"];
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
    /// Returns the column that a word in a header names; that of a type for which no record can exist is not used.
    pub(super) fn of_header(word: &str) -> Self {
        let mut buffer = [0; WORD_BYTES_MAX];
        let Some(normalized) = normalize(word, &mut buffer) else { return Self::Ignored };
        if let Some((column, ..)) = COLUMNS.iter().find(|(_, _, words)| words.contains(&normalized)) {
            return *column;
        }
        let Some(kind) = TypeWord::of(normalized) else { return Self::Ignored };
        match kind {
            TypeWord::Digest(DigestKind::Blake3) => Self::Blake3,
            TypeWord::Digest(DigestKind::SpkiSha1 | DigestKind::SpkiSha256) | TypeWord::PublicKey => Self::PublicKey,
            TypeWord::Digest(kind) if kind > DigestKind::Blake3 => Self::Certificate,
            TypeWord::Digest(_) | TypeWord::Hash => Self::Hash,
            TypeWord::Certificate => Self::Certificate,
            TypeWord::Url | TypeWord::Uri => Self::Url,
            TypeWord::Domain => Self::Domain,
            TypeWord::Host | TypeWord::HostPort => Self::Host,
            TypeWord::Ip | TypeWord::IpPort => Self::Ip,
            TypeWord::NamedDigest(_) | TypeWord::DomainIp | TypeWord::Link | TypeWord::Unsupported(_) => Self::Ignored,
        }
    }

    /// Returns the type of the indicators that it holds; `None` if a type column or their form determines it.
    pub(super) fn key_type(self) -> Option<TypeWord> {
        match self {
            Self::Hash => Some(TypeWord::Hash),
            Self::Certificate => Some(TypeWord::Certificate),
            Self::Blake3 => Some(TypeWord::Digest(DigestKind::Blake3)),
            Self::PublicKey => Some(TypeWord::PublicKey),
            Self::Url => Some(TypeWord::Url),
            Self::Domain => Some(TypeWord::Domain),
            Self::Host => Some(TypeWord::Host),
            Self::Ip => Some(TypeWord::Ip),
            _ => None,
        }
    }

    /// Returns the name on the command line.
    pub(super) fn name(self) -> &'static str {
        COLUMNS.iter().find(|(column, ..)| *column == self).map_or("-", |(_, name, _)| name)
    }

    /// Returns whether it holds indicators.
    pub(super) fn is_key(self) -> bool {
        self == Self::Key || self.key_type().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_headers() {
        for (word, column) in [
            ("SHA256 Hash", CsvColumn::Hash),
            ("FileHash-MD5", CsvColumn::Hash),
            ("ipAddress", CsvColumn::Ip),
            ("ip_address", CsvColumn::Ip),
            ("Indicator_type", CsvColumn::Type),
            ("entity_type", CsvColumn::Type),
            ("abuse_confidence_score", CsvColumn::Confidence),
            ("Malware Family", CsvColumn::Name),
            ("to_ids", CsvColumn::ToIds),
            ("Verdict", CsvColumn::Status),
            ("imphash", CsvColumn::Ignored),
            ("link", CsvColumn::Ignored),
            ("Reference", CsvColumn::Ignored),
            ("", CsvColumn::Ignored),
        ] {
            assert_eq!(CsvColumn::of_header(word), column, "{word}");
        }
    }
}
