//! MalwareBazaar's code-signing certificate blocklist (<https://bazaar.abuse.ch/export/#cscb>).
//!
//! The key is `thumbprint` by `thumbprint_algorithm`; serial numbers are unique within one issuer only and are not
//! keys. The name is `cscb_reason`. The end of the validity is not the expiry: timestamped signatures stay valid after
//! it. Subject and issuer names may contain commas, quoted or not.

use super::{
    column_content::Content,
    csv,
    csv_layout::{Column, Need, Schema},
    error::FeedError,
    format::Format,
    input::Input,
    row_sink::RowSink,
    sample::{Confidence, Sample},
    value::{self, ValueError},
};
use crate::{
    key::{Digest, DigestKind, Indicator},
    record::RecordType,
};

static SCHEMA: Schema<5> = Schema {
    format: Format::Cscb,
    columns: [
        Column::new(&["time_stamp_utc", "time_stamp"], 0, Content::Time, Need::Optional),
        Column::new(&["thumbprint"], 2, Content::Digest, Need::Key),
        Column::new(&["thumbprint_algorithm"], 3, Content::Prefixes(&["md5", "sha"]), Need::IfNamed),
        Column::new(&["cscb_reason", "reason"], 8, Content::Text, Need::Optional),
        Column::new(&["subject_cn"], 4, Content::Text, Need::Optional),
    ],
    width: 9,
    free_text: Some(4),
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    if let Some(found) = csv::detect(sample, &SCHEMA, &["thumbprint", "thumbprint_algorithm"]) {
        return Some(found);
    }
    let rows = csv::rows_are(sample, |cells| {
        cells.len() >= 9 && thumbprint(cells.get(2), Some(cells.get(3))).is_ok() && algorithm(cells.get(3)).is_some()
    });
    rows.then_some(Confidence::Likely)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    csv::read(input, sink, &SCHEMA, |row, sink| match thumbprint(row.get(1).unwrap_or_default(), row.get(2)) {
        Ok(indicator) => {
            let reason = row.get(3).unwrap_or_default();
            let mut draft = sink.draft(indicator, RecordType::BadCertificate, reason);
            draft.timestamp = row.get(0).and_then(value::time);
            sink.list(draft);
        }
        Err(e) => sink.value_error(e),
    })
}

/// Parses a fingerprint by the named algorithm, or else by its length.
fn thumbprint(text: &str, named: Option<&str>) -> Result<Indicator, ValueError> {
    let Some(named) = named else { return value::certificate(text) };
    let kind =
        algorithm(named).ok_or(ValueError::Unsupported("a certificate fingerprint by an unsupported algorithm"))?;
    Digest::from_hex(kind, text).map(Indicator::Digest).map_err(|e| ValueError::Rejected(e.to_string()))
}

fn algorithm(name: &str) -> Option<DigestKind> {
    match name.to_ascii_lowercase().as_str() {
        "md5" => Some(DigestKind::CertMd5),
        "sha1" | "sha-1" => Some(DigestKind::CertSha1),
        "sha256" | "sha-256" => Some(DigestKind::CertSha256),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::feed::{Format, testing::collect};

    #[test]
    fn the_algorithm_determines_the_kind() {
        let (long, short) = ("0b".repeat(32), "0C".repeat(20));
        let feed = format!(
            "# \"time_stamp_utc\",\"serial_number\",\"thumbprint\",\"thumbprint_algorithm\",\"subject_cn\",\
             \"issuer_cn\",\"valid_from\",\"valid_to\",\"cscb_reason\"\r\n\
             \"2021-07-03 00:00:00\", \"00e1\", \"{long}\", \"SHA256\", \"Some, Inc.\", \"An \"\"Issuer\"\", Ltd.\", \
             \"2021-01-01 00:00:00\", \"2022-01-01 00:00:00\", \"Family\"\r\n\
             2021-07-03 00:00:00, 00e1, {short}, SHA1, Some, Inc., Issuer, 2021-01-01, 2022-01-01, Other\r\n\
             2021-07-03 00:00:00, 00e1, {short}, SHA256, Some, Issuer, 2021-01-01, 2022-01-01, Other\r\n\
             2021-07-03 00:00:00, 00e1, {short}, SHA384, Some, Issuer, 2021-01-01, 2022-01-01, Other\r\n"
        );
        let (entries, report) = collect(feed.as_bytes(), "", None);
        assert_eq!(report.format, Format::Cscb);
        let at = "at 2021-07-03T00:00:00Z";
        assert_eq!(
            entries,
            [
                format!("cert-sha256:{long} bad-certificate \"Family\" {at}"),
                format!("cert-sha1:{} bad-certificate \"Other\" {at}", short.to_lowercase()),
            ]
        );
        assert_eq!((report.rows, report.rejected, report.unsupported), (4, 1, 1));
    }
}
