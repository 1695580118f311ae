//! ThreatFox's CSV export (<https://threatfox.abuse.ch/export/>).
//!
//! The header is a comment; dumps with 14 columns lack `is_compromised`. A row is one indicator, of the type
//! `ioc_type`: `url` lists the URL (scope exact), `domain` the domain, `ip:port` the address with its port, and
//! `md5_hash`, `sha1_hash`, `sha256_hash` the file; other types are unsupported. The record has the feed's `ioc_id`,
//! the first-seen time, `confidence_level`, and the name `malware_printable`, else `fk_malware`.

use super::{
    column_content::Content,
    csv,
    csv_layout::{Column, Need, Schema},
    error::FeedError,
    format::Format,
    input::Input,
    row_sink::RowSink,
    sample::{Confidence, Sample},
    type_words::TypeWord,
    value::{self, ValueError, WithPort},
};
use crate::{key::Indicator, record::RecordType};

static SCHEMA: Schema<8> = Schema {
    format: Format::ThreatFoxCsv,
    columns: [
        Column::new(&["first_seen_utc"], 0, Content::Time, Need::Optional),
        Column::new(&["ioc_id"], 1, Content::Number, Need::Optional),
        Column::new(&["ioc_value"], 2, Content::Indicator, Need::Key),
        Column::new(&["ioc_type"], 3, Content::Type, Need::Required),
        Column::new(&["threat_type"], 4, Content::Words(THREAT_TYPES), Need::Optional),
        Column::new(&["fk_malware"], 5, Content::Text, Need::Optional),
        Column::new(&["malware_printable"], 7, Content::Text, Need::Optional),
        Column::new(&["confidence_level"], 9, Content::Number, Need::Optional),
    ],
    width: 15,
    free_text: None,
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    if let Some(found) = csv::detect(sample, &SCHEMA, &["ioc_id", "ioc_value", "ioc_type", "threat_type"]) {
        return Some(found);
    }
    let rows = csv::rows_are(sample, |cells| {
        let id = cells.get(1);
        matches!(cells.len(), 14 | 15) && id.bytes().all(|b| b.is_ascii_digit()) && THREAT_TYPES.contains(&cells.get(4))
    });
    rows.then_some(Confidence::Likely)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    csv::read(input, sink, &SCHEMA, |row, sink| {
        let (Some(value), Some(kind)) = (row.get(2), row.get(3)) else {
            sink.reject("expected ioc_value and ioc_type, found an empty column");
            return;
        };
        match indicator(kind, value) {
            Ok((indicator, port)) => {
                let record_type = record_type(row.get(4).unwrap_or_default(), &indicator);
                let mut draft = sink.draft(indicator, record_type, row.get(6).or(row.get(5)).unwrap_or_default());
                draft.id = row.get(1).and_then(|id| id.parse().ok());
                draft.timestamp = row.get(0).and_then(value::time);
                draft.confidence = row.get(7).and_then(|confidence| confidence.parse().ok());
                draft.port = port;
                sink.list(draft);
            }
            Err(e) => sink.value_error(e),
        }
    })
}

/// Parses a value of the `ioc_type` `kind`.
pub(super) fn indicator(kind: &str, value: &str) -> Result<WithPort, ValueError> {
    match TypeWord::of(kind) {
        Some(kind) => kind.read_one(value),
        None => Err(ValueError::Unsupported("an indicator of an unsupported type")),
    }
}

/// Returns the record type of a `threat_type`: `botnet_cc` is botnet-cc, `payload` and `payload_delivery` are malware,
/// `cc_skimming` (theft of payment credentials) is phishing; others are malicious addresses. A file is always malware.
pub(super) fn record_type(threat_type: &str, indicator: &Indicator) -> RecordType {
    match threat_type {
        _ if matches!(indicator, Indicator::Digest(_)) => value::listed_type(indicator),
        "botnet_cc" => RecordType::BotnetCc,
        "payload" | "payload_delivery" => RecordType::Malware,
        "cc_skimming" => RecordType::Phishing,
        _ => RecordType::MaliciousAddress,
    }
}

const THREAT_TYPES: &[&str] = &["botnet_cc", "payload", "payload_delivery", "cc_skimming"];

#[cfg(test)]
mod tests {
    use crate::{
        feed::{self, Format, Guards, testing::*},
        record::{Entry, RecordSink},
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

    /// A feed's own ID with the top bit set would be taken for a derived ID, and two records could share it.
    #[test]
    fn ids_with_the_top_bit_are_derived() {
        #[derive(Default)]
        struct Ids(Vec<u64>);
        impl RecordSink for Ids {
            fn add(&mut self, _input: u32, entry: Entry<'_>) {
                self.0.push(entry.id);
            }
        }
        let id = u64::MAX.to_string();
        let rows = ["a.example.com", "b.example.com"].map(|d| row(7, d, "domain", "botnet_cc", "x", 50));
        let feed = format!("{HEADER_14}\r\n{}", rows.concat()).replace("\"7\"", &format!("\"{id}\""));
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
        let (entries, report) = collect(feed.as_bytes(), "", None);
        assert_eq!(report.format, Format::ThreatFoxCsv);
        assert_eq!((report.rows, report.records, report.unsupported, report.rejected), (6, 4, 1, 1));
        assert_eq!(report.refusals[1].line, 9);
        let at = "at 2025-12-07T13:05:49Z";
        assert_eq!(
            entries,
            [
                format!("exact:a.example.com/x malware \"Family\" {at} port 8080 #1"),
                format!("domain:b.example.com botnet-cc \"win.family\" {at} #2"),
                format!("ipv4:9.9.9.9 botnet-cc \"Other \\\"one\\\"\" {at} port 443 #3"),
                format!("sha256:{hash} malware \"Family\" {at} #4"),
            ]
        );
        let mut options = options();
        options.min_confidence = Some(75);
        let (entries, report) = try_collect(feed.as_bytes(), "", None, &options).unwrap();
        assert_eq!((entries.len(), report.withheld), (2, 2));
    }

    #[test]
    fn fifteen_columns_without_a_header() {
        let row = row(1, "http://a.example.com/", "url", "botnet_cc", "Family", 75).replace("\"75\"", "\"75\", \"0\"");
        let (entries, report) = collect(row.as_bytes(), "", None);
        assert_eq!(report.format, Format::ThreatFoxCsv);
        assert_eq!(entries, ["exact:a.example.com/ botnet-cc \"Family\" at 2025-12-07T13:05:49Z #1"]);
    }
}
