//! The formats, and which functions recognise and read each.

use std::{fmt, str::FromStr};

use super::{
    FeedError, adblock, clamav, cscb, csv_columns, domains, feodo, hosts,
    input::Input,
    intake::Intake,
    ioc_list, ip4set, ipv4_list, malwarebazaar, misp, nsrl, phishtank,
    recognise::{Likeness, Refusal, Sample},
    refuse, spamhaus_json, sslbl, stix, threatfox_csv, threatfox_json, tweetfeed, urlhaus,
};

/// What one format brings.
pub(super) struct Reader {
    name: &'static str,
    /// How much a sample looks like the format.
    pub(super) recognise: fn(&Sample<'_>) -> Option<Likeness>,
    /// Says what every row holds.
    pub(super) read: fn(&mut Input<'_>, &mut Intake<'_>) -> Result<(), FeedError>,
}

macro_rules! formats {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $recognise:path, $read:path;)*) => {
        /// The syntaxes that are read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Format { $($(#[$doc])* $variant,)* }

        impl Format {
            /// Every format, in the order in which help texts list them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
        }

        const READERS: &[Reader] = &[$(Reader { name: $name, recognise: $recognise, read: $read },)*];
    };
}

formats! {
    /// MalwareBazaar, CSV.
    MalwareBazaar = "malwarebazaar", malwarebazaar::recognise, malwarebazaar::read;
    /// ThreatFox, CSV.
    ThreatFoxCsv = "threatfox-csv", threatfox_csv::recognise, threatfox_csv::read;
    /// ThreatFox, JSON.
    ThreatFoxJson = "threatfox-json", threatfox_json::recognise, threatfox_json::read;
    /// URLhaus, CSV.
    Urlhaus = "urlhaus", urlhaus::recognise, urlhaus::read;
    /// PhishTank, CSV.
    PhishTank = "phishtank", phishtank::recognise, phishtank::read;
    /// Feodo Tracker, CSV.
    Feodo = "feodo", feodo::recognise, feodo::read;
    /// SSLBL certificates, CSV.
    Sslbl = "sslbl", sslbl::recognise_certificates, sslbl::read_certificates;
    /// SSLBL addresses, CSV.
    SslblIp = "sslbl-ip", sslbl::recognise_addresses, sslbl::read_addresses;
    /// Code-signing certificate blocklist of MalwareBazaar, CSV.
    Cscb = "cscb", cscb::recognise, cscb::read;
    /// TweetFeed, CSV.
    TweetFeed = "tweetfeed", tweetfeed::recognise, tweetfeed::read;
    /// NSRL reference data set, version 2, CSV.
    Nsrl = "nsrl", nsrl::recognise, nsrl::read;
    /// CSV or TSV with well-known or given columns.
    Csv = "csv", csv_columns::recognise, csv_columns::read;
    /// Spamhaus DROP, NDJSON.
    SpamhausJson = "spamhaus-json", spamhaus_json::recognise, spamhaus_json::read;
    /// An event of a MISP feed.
    MispEvent = "misp-event", misp::event::recognise, misp::event::read;
    /// A MISP warninglist.
    MispWarninglist = "misp-warninglist", misp::warninglist::recognise, misp::warninglist::read;
    /// A STIX 2 bundle.
    Stix = "stix", stix::recognise, stix::read;
    /// ClamAV hash signatures (`.hdb`, `.hsb`).
    ClamAv = "clamav", clamav::recognise_hashes, clamav::read_hashes;
    /// ClamAV false-positive signatures (`.fp`, `.sfp`): trusted.
    ClamAvTrusted = "clamav-trusted", clamav::recognise_trusted, clamav::read_trusted;
    /// ClamAV certificate rules (`.crb`).
    ClamAvCrb = "clamav-crb", clamav::recognise_certificates, clamav::read_certificates;
    /// ClamAV hashed addresses (`.gdb`).
    ClamAvGdb = "clamav-gdb", clamav::recognise_urls, clamav::read_urls;
    /// A list of hashes, addresses and domains, with or without comments.
    IocList = "ioc-list", ioc_list::recognise, ioc_list::read;
    /// A list of IPv4 addresses, blocks and ranges.
    Ipv4List = "ipv4-list", ipv4_list::recognise, ipv4_list::read;
    /// An rbldnsd `ip4set` zone.
    Ip4Set = "ip4set", ip4set::recognise, ip4set::read;
    /// A hosts file.
    Hosts = "hosts", hosts::recognise, hosts::read;
    /// A domain per line.
    Domains = "domains", domains::recognise, domains::read;
    /// AdBlock rules `||domain^`.
    Adblock = "adblock", adblock::recognise, adblock::read;
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
