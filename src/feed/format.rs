//! The names of the formats.

use std::{fmt, str::FromStr};

macro_rules! formats {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// The formats that can be read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Format { $($(#[$doc])* $variant,)* }

        impl Format {
            /// Every format, in the order in which help texts list them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns its name, for `--format` and as the default source.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

formats! {
    /// MalwareBazaar, CSV.
    MalwareBazaar = "malwarebazaar";
    /// ThreatFox, CSV.
    ThreatFoxCsv = "threatfox-csv";
    /// ThreatFox, JSON.
    ThreatFoxJson = "threatfox-json";
    /// URLhaus, CSV.
    Urlhaus = "urlhaus";
    /// PhishTank, CSV.
    PhishTank = "phishtank";
    /// Feodo Tracker, CSV.
    Feodo = "feodo";
    /// SSLBL certificates, CSV.
    Sslbl = "sslbl";
    /// SSLBL addresses, CSV.
    SslblIp = "sslbl-ip";
    /// Code-signing certificate blocklist of MalwareBazaar, CSV.
    Cscb = "cscb";
    /// TweetFeed, CSV.
    TweetFeed = "tweetfeed";
    /// NSRL reference data set, version 2, CSV.
    Nsrl = "nsrl";
    /// CSV or TSV with well-known or given columns.
    Csv = "csv";
    /// Spamhaus DROP, NDJSON.
    SpamhausJson = "spamhaus-json";
    /// An event of a MISP feed.
    MispEvent = "misp-event";
    /// A MISP warninglist.
    MispWarninglist = "misp-warninglist";
    /// A STIX 2 bundle.
    Stix = "stix";
    /// ClamAV hash signatures (`.hdb`, `.hsb`, `.hdu`, `.hsu`).
    ClamAv = "clamav";
    /// ClamAV false-positive signatures (`.fp`, `.sfp`): trusted.
    ClamAvTrusted = "clamav-trusted";
    /// ClamAV certificate rules (`.crb`).
    ClamAvCrb = "clamav-crb";
    /// ClamAV hashed addresses (`.gdb`).
    ClamAvGdb = "clamav-gdb";
    /// A YAML document with lists of indicators under words for their types.
    Yaml = "yaml";
    /// A list of hashes, addresses and domains, with or without comments.
    IocList = "ioc-list";
    /// A list of IPv4 addresses, blocks and ranges.
    Ipv4List = "ipv4-list";
    /// An rbldnsd `ip4set` zone.
    Ip4Set = "ip4set";
    /// A hosts file.
    Hosts = "hosts";
    /// A domain per line.
    Domains = "domains";
    /// AdBlock rules `||domain^`.
    Adblock = "adblock";
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found {found:?}", names())]
pub struct FormatError {
    found: String,
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let known = Self::ALL.iter().copied().find(|format| format.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| FormatError { found: text.into() })
    }
}

fn names() -> String {
    Format::ALL.iter().map(|format| format.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for &format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert!("exe".parse::<Format>().is_err());
    }
}
