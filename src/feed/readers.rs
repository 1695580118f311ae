//! The registry: which functions detect and read each format, and which refuse files that give no records.

use super::{
    adblock, checksums, clamav, cscb, csv_columns, domains,
    error::{FeedError, Refusal},
    feodo,
    format::Format,
    hosts,
    input::Input,
    ioc_list, ip4set, ipv4_list, malwarebazaar, misp, nsrl, phishtank, refuse,
    row_sink::RowSink,
    sample::{Confidence, Sample},
    spamhaus_json, sslbl, stix, threatfox_csv, threatfox_json, tweetfeed, urlhaus, yaml,
};

/// Returns how much a sample looks like the format; `None` if it does not.
pub(super) type Detect = fn(&Sample<'_>) -> Option<Confidence>;

/// Reads the rows of an input into the sink.
pub(super) type Read = fn(&mut Input<'_>, &mut RowSink<'_>) -> Result<(), FeedError>;

/// Returns why a file gives no records, if it is of a kind that gives none.
pub(super) type Refuse = fn(&Sample<'_>) -> Option<Refusal>;

/// Checked before any format: each of these knows a mark that only its files have.
pub(super) const REFUSERS: &[Refuse] =
    &[refuse::wrapping, checksums::refuse, sslbl::refuse, misp::refuse, clamav::refuse];

/// Checked when no format is certain.
pub(super) const LANGUAGES: &[Refuse] = &[refuse::public_suffix_list, refuse::rules];

/// Checked when only the generic list is left.
pub(super) const PROSE: &[Refuse] = &[refuse::json, refuse::program, ioc_list::refuse, refuse::prose];

/// Returns the functions of a format.
pub(super) fn reader(format: Format) -> (Detect, Read) {
    match format {
        Format::MalwareBazaar => (malwarebazaar::detect, malwarebazaar::read),
        Format::ThreatFoxCsv => (threatfox_csv::detect, threatfox_csv::read),
        Format::ThreatFoxJson => (threatfox_json::detect, threatfox_json::read),
        Format::Urlhaus => (urlhaus::detect, urlhaus::read),
        Format::PhishTank => (phishtank::detect, phishtank::read),
        Format::Feodo => (feodo::detect, feodo::read),
        Format::Sslbl => (sslbl::detect_certificates, sslbl::read_certificates),
        Format::SslblIp => (sslbl::detect_addresses, sslbl::read_addresses),
        Format::Cscb => (cscb::detect, cscb::read),
        Format::TweetFeed => (tweetfeed::detect, tweetfeed::read),
        Format::Nsrl => (nsrl::detect, nsrl::read),
        Format::Csv => (csv_columns::detect, csv_columns::read),
        Format::SpamhausJson => (spamhaus_json::detect, spamhaus_json::read),
        Format::MispEvent => (misp::event::detect, misp::event::read),
        Format::MispWarninglist => (misp::warninglist::detect, misp::warninglist::read),
        Format::Stix => (stix::detect, stix::read),
        Format::ClamAv => (clamav::detect_hashes, clamav::read_hashes),
        Format::ClamAvTrusted => (clamav::detect_trusted, clamav::read_trusted),
        Format::ClamAvCrb => (clamav::detect_certificates, clamav::read_certificates),
        Format::ClamAvGdb => (clamav::detect_urls, clamav::read_urls),
        Format::Yaml => (yaml::detect, yaml::read),
        Format::IocList => (ioc_list::detect, ioc_list::read),
        Format::Ipv4List => (ipv4_list::detect, ipv4_list::read),
        Format::Ip4Set => (ip4set::detect, ip4set::read),
        Format::Hosts => (hosts::detect, hosts::read),
        Format::Domains => (domains::detect, domains::read),
        Format::Adblock => (adblock::detect, adblock::read),
    }
}
