//! SSLBL's lists (<https://sslbl.abuse.ch/blacklist/>): certificates and addresses of
//! command-and-control servers.
//!
//! Certificates are SHA-1 fingerprints with the reason as name; the reason is not quoted and may contain commas. JA3
//! fingerprints look like MD5 hashes, but identify a kind of TLS client, which good software shares: the JA3 list is
//! refused.

use super::{
    column_content::Content,
    csv,
    csv_layout::{Column, Need, Schema},
    error::{FeedError, Refusal},
    feodo,
    format::Format,
    input::Input,
    row_sink::RowSink,
    sample::{Confidence, Sample, is_hex},
    value,
};
use crate::record::RecordType;

static CERTIFICATES: Schema<3> = Schema {
    format: Format::Sslbl,
    columns: [
        Column::new(&["listingdate"], 0, Content::Time, Need::Optional),
        Column::new(&["sha1"], 1, Content::Hex(40), Need::Key),
        Column::new(&["listingreason"], 2, Content::Text, Need::Optional),
    ],
    width: 3,
    free_text: Some(2),
};

static ADDRESSES: Schema<4> = Schema {
    format: Format::SslblIp,
    columns: [
        Column::new(&["firstseen"], 0, Content::Time, Need::Optional),
        Column::new(&["dstip"], 1, Content::Ipv4, Need::Key),
        Column::new(&["dstport"], 2, Content::Number, Need::Optional),
        Column::by_header(&["malware"], Content::Text, Need::Optional),
    ],
    width: 3,
    free_text: None,
};

pub(super) fn detect_certificates(sample: &Sample<'_>) -> Option<Confidence> {
    if let Some(found) = csv::detect(sample, &CERTIFICATES, &["listingdate", "sha1", "listingreason"]) {
        return Some(found);
    }
    let rows = csv::rows_are(sample, |cells| {
        cells.len() >= 3 && is_hex(cells.get(1), 40) && value::time(cells.get(0)).is_some()
    });
    rows.then_some(Confidence::Likely)
}

pub(super) fn detect_addresses(sample: &Sample<'_>) -> Option<Confidence> {
    if !csv::has_header(sample, &["dstip", "dstport", "malware"])
        && let Some(found) = csv::detect(sample, &ADDRESSES, &["firstseen", "dstip", "dstport"])
    {
        return Some(found);
    }
    let rows = csv::rows_are(sample, |cells| {
        cells.len() == 3
            && value::time(cells.get(0)).is_some()
            && cells.get(1).parse::<std::net::Ipv4Addr>().is_ok()
            && cells.get(2).parse::<u16>().is_ok()
    });
    rows.then_some(Confidence::Likely)
}

pub(super) fn refuse(sample: &Sample<'_>) -> Option<Refusal> {
    let header = sample.comments().chain(sample.data_lines().next()).any(|line| line.starts_with("ja3_md5"));
    let rows = || {
        csv::rows_are(sample, |cells| {
            cells.len() >= 4
                && is_hex(cells.get(0), 32)
                && value::time(cells.get(1)).is_some()
                && value::time(cells.get(2)).is_some()
        })
    };
    (header || rows()).then_some(Refusal {
        what: "a list of JA3 fingerprints",
        why: "they identify kinds of TLS clients, not files or certificates",
        instead: "use SSLBL's list of certificates or of addresses",
    })
}

pub(super) fn read_certificates(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    csv::read(input, sink, &CERTIFICATES, |row, sink| match value::certificate(row.get(1).unwrap_or_default()) {
        Ok(indicator) => {
            let mut draft = sink.draft(indicator, RecordType::BadCertificate, row.get(2).unwrap_or_default());
            draft.timestamp = row.get(0).and_then(value::time);
            sink.list(draft);
        }
        Err(e) => sink.value_error(e),
    })
}

pub(super) fn read_addresses(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    csv::read(input, sink, &ADDRESSES, feodo::read_server)
}

#[cfg(test)]
mod tests {
    use crate::feed::{FeedError, Format, testing::*};

    #[test]
    fn reasons_may_contain_commas() {
        let hash = "0a".repeat(20);
        let feed = format!(
            "# x #\r\n# Listingdate,SHA1,Listingreason\r\n2023-11-14 06:52:51,{hash},Family C&C, second stage\r\n\
             2023-11-14 06:52:51,{},X\r\n# END (2) entries",
            &hash[1..]
        );
        let (entries, report) = collect(feed.as_bytes(), "", None);
        assert_eq!(report.format, Format::Sslbl);
        assert_eq!(
            entries,
            [format!("cert-sha1:{hash} bad-certificate \"Family C&C, second stage\" at 2023-11-14T06:52:51Z")]
        );
        assert_eq!((report.rows, report.rejected, report.refusals[0].line), (2, 1, 4));
    }

    #[test]
    fn addresses() {
        for header in ["# Firstseen,DstIP,DstPort\r\n", ""] {
            let feed = format!("{header}2023-11-14 06:52:51,9.9.9.9,443\r\n");
            let (entries, report) = collect(feed.as_bytes(), "", None);
            assert_eq!(report.format, Format::SslblIp);
            assert_eq!(entries, ["ipv4:9.9.9.9 botnet-cc at 2023-11-14T06:52:51Z port 443"]);
        }
    }

    #[test]
    fn ja3_fingerprints_are_refused() {
        for header in ["# ja3_md5,Firstseen,Lastseen,Listingreason\r\n", ""] {
            let feed = format!("{header}{},2017-07-14 18:08:15,2019-07-27 20:42:54,X\r\n", "ab".repeat(16));
            let refused = try_collect(feed.as_bytes(), "", None, &options());
            assert!(matches!(refused, Err(FeedError::Refused(r)) if r.what.contains("JA3")));
        }
    }
}
