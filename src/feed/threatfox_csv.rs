//! ThreatFox's CSV export (<https://threatfox.abuse.ch/export/>).
//!
//! The header is a comment; dumps with 14 columns lack `is_compromised`. A row is one indicator, of the type that
//! `ioc_type` names: `url` lists the exact address, `domain` the domain, `ip:port` the address with its port, and
//! `md5_hash`, `sha1_hash`, `sha256_hash` the file; other types are unsupported. The record has the feed's `ioc_id`, the
//! time it was first seen, `confidence_level`, and the name `malware_printable`, else `fk_malware`.

use super::{
    FeedError,
    cell::{self, Why, WithPort},
    input::Input,
    intake::Intake,
    recognise::{Likeness, Sample},
    table::{self, Table, Wanted},
};
use crate::{
    key::{Indicator, Scope},
    record::RecordType,
};

const COLUMNS: [Wanted; 8] = [
    (&["first_seen_utc"], Some(0)),
    (&["ioc_id"], Some(1)),
    (&["ioc_value"], Some(2)),
    (&["ioc_type"], Some(3)),
    (&["threat_type"], Some(4)),
    (&["fk_malware"], Some(5)),
    (&["malware_printable"], Some(7)),
    (&["confidence_level"], Some(9)),
];

pub(super) fn recognise(sample: &Sample<'_>) -> Option<Likeness> {
    if table::has_header(sample, &["ioc_id", "ioc_value", "ioc_type", "threat_type"]) {
        return Some(Likeness::Certain);
    }
    let rows = table::rows_are(sample, |cells| {
        let id = cells.get(1);
        matches!(cells.len(), 14 | 15) && id.bytes().all(|b| b.is_ascii_digit()) && is_threat_type(cells.get(4))
    });
    rows.then_some(Likeness::Likely)
}

pub(super) fn read(input: &mut Input<'_>, intake: &mut Intake<'_>) -> Result<(), FeedError> {
    let mut table = Table::new(input, &COLUMNS);
    while let Some(row) = table.next(intake)? {
        let (Some(value), Some(kind)) = (row.get(2), row.get(3)) else {
            intake.reject("the indicator or its type is missing");
            continue;
        };
        match indicator(kind, value) {
            Ok((indicator, port)) => {
                let record_type = record_type(row.get(4).unwrap_or_default(), &indicator);
                let mut draft = intake.draft(indicator, record_type, row.get(6).or(row.get(5)).unwrap_or_default());
                draft.id = row.get(1).and_then(|id| id.parse().ok());
                draft.timestamp = row.get(0).and_then(cell::time);
                draft.confidence = row.get(7).and_then(|confidence| confidence.parse().ok());
                draft.port = port;
                intake.list(draft);
            }
            Err(why) => intake.say(why),
        }
    }
    Ok(())
}

/// The indicator of a value of that `ioc_type`.
pub(super) fn indicator(kind: &str, value: &str) -> Result<WithPort, Why> {
    match kind {
        "url" => cell::web_exact(value),
        "domain" => cell::domain(value, Scope::Domain).map(|name| (name, None)),
        "ip:port" | "ip" => cell::ipv4_port(value),
        "md5_hash" | "sha1_hash" | "sha256_hash" => cell::object_hash(value).map(|hash| (hash, None)),
        "sha3_384_hash" => Err(Why::Unsupported("a SHA-3 digest")),
        _ => Err(Why::Unsupported("an indicator of another type")),
    }
}

/// What a `threat_type` says: `botnet_cc` is one, `payload` and `payload_delivery` are malware, `cc_skimming` steals
/// credentials of payment; others are malicious in some other way. A file is malware whatever it is listed for.
pub(super) fn record_type(threat_type: &str, indicator: &Indicator) -> RecordType {
    match threat_type {
        _ if matches!(indicator, Indicator::Digest(_)) => RecordType::Malware,
        "botnet_cc" => RecordType::BotnetCc,
        "payload" | "payload_delivery" => RecordType::Malware,
        "cc_skimming" => RecordType::Phishing,
        _ => RecordType::MaliciousAddress,
    }
}

fn is_threat_type(text: &str) -> bool {
    ["botnet_cc", "payload", "payload_delivery", "cc_skimming"].contains(&text)
}

#[cfg(test)]
mod tests {
    use crate::{
        feed::{self, Format, Guards, testing::*},
        record::{Listing, RecordSink},
    };

    const HEADER_14: &str = "# \"first_seen_utc\",\"ioc_id\",\"ioc_value\",\"ioc_type\",\"threat_type\",\"fk_malware\",\
                             \"malware_alias\",\"malware_printable\",\"last_seen_utc\",\"confidence_level\",\
                             \"reference\",\"tags\",\"anonymous\",\"reporter\"";

    fn row(id: u32, value: &str, kind: &str, threat: &str, printable: &str, confidence: u8) -> String {
        format!(
            "\"2025-12-07 13:05:49\", \"{id}\", \"{value}\", \"{kind}\", \"{threat}\", \"win.family\", \"None\", \
             \"{printable}\", \"\", \"{confidence}\", \"\", \"a,b\", \"0\", \"someone\"\r\n"
        )
    }

    /// A number of the feed's own with the top bit would pass for a derived ID, and two records could share it.
    #[test]
    fn ids_with_the_top_bit_are_derived() {
        #[derive(Default)]
        struct Ids(Vec<u64>);
        impl RecordSink for Ids {
            fn add(&mut self, _input: u32, listing: Listing<'_>) {
                self.0.push(listing.id);
            }
        }
        let own = u64::MAX.to_string();
        let rows = ["a.example.com", "b.example.com"].map(|d| row(7, d, "domain", "botnet_cc", "x", 50));
        let feed = format!("{HEADER_14}\r\n{}", rows.concat()).replace("\"7\"", &format!("\"{own}\""));
        let mut ids = Ids::default();
        feed::read(feed.as_bytes(), "", None, &options(), &Guards::default(), 0, &mut ids).unwrap();
        assert!(ids.0.len() == 2 && ids.0[0] != ids.0[1] && !ids.0.contains(&u64::MAX), "{:?}", ids.0);
    }

    #[test]
    fn types_ids_and_confidence() {
        let hash = "ab".repeat(32);
        let feed = [
            format!("####\r\n# ThreatFox #\r\n{HEADER_14}\r\n"),
            row(1, "http://a.example.com:8080/x", "url", "payload_delivery", "Family", 100),
            row(2, "b.example.com", "domain", "botnet_cc", "None", 50),
            row(3, "9.9.9.9:443", "ip:port", "botnet_cc", "Other \"\"one\"\"", 50),
            row(4, &hash, "sha256_hash", "payload", "Family", 75),
            row(5, "x@example.com", "envelope_from", "payload_delivery", "Family", 75),
            row(6, "9.9.9.9:x", "ip:port", "botnet_cc", "Family", 75),
            "# Number of entries: 6".into(),
        ]
        .concat();
        let (listings, report) = collect(feed.as_bytes(), "", None);
        assert_eq!(report.format, Format::ThreatFoxCsv);
        assert_eq!((report.rows, report.records, report.unsupported, report.rejected), (6, 4, 1, 1));
        assert_eq!(report.refusals[1].line, 9);
        let at = "at 2025-12-07T13:05:49Z";
        assert_eq!(
            listings,
            [
                format!("exact:a.example.com/x malware \"Family\" {at} port 8080 #1"),
                format!("domain:b.example.com botnet-cc \"win.family\" {at} #2"),
                format!("ipv4:9.9.9.9 botnet-cc \"Other \\\"one\\\"\" {at} port 443 #3"),
                format!("sha256:{hash} malware \"Family\" {at} #4"),
            ]
        );
        let mut options = options();
        options.min_confidence = Some(75);
        let (listings, report) = try_collect(feed.as_bytes(), "", None, &options).unwrap();
        assert_eq!((listings.len(), report.withheld), (2, 2));
    }

    #[test]
    fn fifteen_columns_without_a_header() {
        let row = row(1, "http://a.example.com/", "url", "botnet_cc", "Family", 75).replace("\"75\"", "\"75\", \"0\"");
        let (listings, report) = collect(row.as_bytes(), "", None);
        assert_eq!(report.format, Format::ThreatFoxCsv);
        assert_eq!(listings, ["exact:a.example.com/ botnet-cc \"Family\" at 2025-12-07T13:05:49Z #1"]);
    }
}
