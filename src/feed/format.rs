//! The formats, and which functions recognise and read each.

use std::{fmt, str::FromStr};

use super::{
    FeedError, adblock, clamav, cscb, csv_columns,
    detect::{Confidence, Refusal, Sample},
    domains, feodo, hosts,
    input::Input,
    ioc_list, ip4set, ipv4_list, malwarebazaar, misp, nsrl, phishtank, refuse,
    row_sink::RowSink,
    spamhaus_json, sslbl, stix, threatfox_csv, threatfox_json, tweetfeed, urlhaus,
};

/// What one format brings.
pub(super) struct Reader {
    name: &'static str,
    /// How much a sample looks like the format.
    pub(super) detect: fn(&Sample<'_>) -> Option<Confidence>,
    /// Says what every row holds.
    pub(super) read: fn(&mut Input<'_>, &mut RowSink<'_>) -> Result<(), FeedError>,
}

macro_rules! formats {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $detect:path, $read:path;)*) => {
        /// The syntaxes that are read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Format { $($(#[$doc])* $variant,)* }

        impl Format {
            /// Every format, in the order in which help texts list them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
        }

        const READERS: &[Reader] = &[$(Reader { name: $name, detect: $detect, read: $read },)*];
    };
}

formats! {
    /// MalwareBazaar, CSV.
    MalwareBazaar = "malwarebazaar", malwarebazaar::detect, malwarebazaar::read;
    /// ThreatFox, CSV.
    ThreatFoxCsv = "threatfox-csv", threatfox_csv::detect, threatfox_csv::read;
    /// ThreatFox, JSON.
    ThreatFoxJson = "threatfox-json", threatfox_json::detect, threatfox_json::read;
    /// URLhaus, CSV.
    Urlhaus = "urlhaus", urlhaus::detect, urlhaus::read;
    /// PhishTank, CSV.
    PhishTank = "phishtank", phishtank::detect, phishtank::read;
    /// Feodo Tracker, CSV.
    Feodo = "feodo", feodo::detect, feodo::read;
    /// SSLBL certificates, CSV.
    Sslbl = "sslbl", sslbl::detect_certificates, sslbl::read_certificates;
    /// SSLBL addresses, CSV.
    SslblIp = "sslbl-ip", sslbl::detect_addresses, sslbl::read_addresses;
    /// Code-signing certificate blocklist of MalwareBazaar, CSV.
    Cscb = "cscb", cscb::detect, cscb::read;
    /// TweetFeed, CSV.
    TweetFeed = "tweetfeed", tweetfeed::detect, tweetfeed::read;
    /// NSRL reference data set, version 2, CSV.
    Nsrl = "nsrl", nsrl::detect, nsrl::read;
    /// CSV or TSV with well-known or given columns.
    Csv = "csv", csv_columns::detect, csv_columns::read;
    /// Spamhaus DROP, NDJSON.
    SpamhausJson = "spamhaus-json", spamhaus_json::detect, spamhaus_json::read;
    /// An event of a MISP feed.
    MispEvent = "misp-event", misp::event::detect, misp::event::read;
    /// A MISP warninglist.
    MispWarninglist = "misp-warninglist", misp::warninglist::detect, misp::warninglist::read;
    /// A STIX 2 bundle.
    Stix = "stix", stix::detect, stix::read;
    /// ClamAV hash signatures (`.hdb`, `.hsb`).
    ClamAv = "clamav", clamav::detect_hashes, clamav::read_hashes;
    /// ClamAV false-positive signatures (`.fp`, `.sfp`): trusted.
    ClamAvTrusted = "clamav-trusted", clamav::detect_trusted, clamav::read_trusted;
    /// ClamAV certificate rules (`.crb`).
    ClamAvCrb = "clamav-crb", clamav::detect_certificates, clamav::read_certificates;
    /// ClamAV hashed addresses (`.gdb`).
    ClamAvGdb = "clamav-gdb", clamav::detect_urls, clamav::read_urls;
    /// A list of hashes, addresses and domains, with or without comments.
    IocList = "ioc-list", ioc_list::detect, ioc_list::read;
    /// A list of IPv4 addresses, blocks and ranges.
    Ipv4List = "ipv4-list", ipv4_list::detect, ipv4_list::read;
    /// An rbldnsd `ip4set` zone.
    Ip4Set = "ip4set", ip4set::detect, ip4set::read;
    /// A hosts file.
    Hosts = "hosts", hosts::detect, hosts::read;
    /// A domain per line.
    Domains = "domains", domains::detect, domains::read;
    /// AdBlock rules `||domain^`.
    Adblock = "adblock", adblock::detect, adblock::read;
}

/// Tells what a file is that gives no records.
pub(super) type Refuser = fn(&Sample<'_>) -> Option<Refusal>;

/// Who is asked before any reader: each knows something that only such files have.
pub(super) const REFUSERS: &[Refuser] = &[refuse::wrapping, sslbl::refuse, misp::refuse, clamav::refuse];

/// Who is asked when no reader is certain.
pub(super) const LANGUAGES: &[Refuser] = &[refuse::known_file, refuse::rules];

/// Who is asked when no reader knows more than that it might be a list.
pub(super) const PROSE: &[Refuser] = &[refuse::json, refuse::program, refuse::prose];

impl Format {
    /// Its name, for `--format` and as the default source.
    pub fn name(self) -> &'static str {
        self.reader().name
    }

    pub(super) fn reader(self) -> &'static Reader {
        &READERS[self as usize]
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no format.
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
