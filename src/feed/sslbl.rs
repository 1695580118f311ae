//! SSLBL's lists (<https://sslbl.abuse.ch/blacklist/>): certificates of command servers, and their addresses.
//!
//! Certificates are SHA-1 fingerprints with the reason as name; the reason is not quoted and may hold commas. The JA3
//! list has the shape of MD5 hashes, but a JA3 fingerprint names a kind of TLS client, which good software shares: it is
//! refused.

use super::{
    FeedError, cell, feodo,
    input::Input,
    intake::Intake,
    recognise::{Likeness, Refusal, Sample, is_hex},
    table::{self, Table, Wanted},
};
use crate::record::RecordType;

const CERTIFICATES: [Wanted; 3] = [(&["listingdate"], Some(0)), (&["sha1"], Some(1)), (&["listingreason"], Some(2))];

const ADDRESSES: [Wanted; 4] =
    [(&["firstseen"], Some(0)), (&["dstip"], Some(1)), (&["dstport"], Some(2)), (&["malware"], None)];

pub(super) fn recognise_certificates(sample: &Sample<'_>) -> Option<Likeness> {
    if table::has_header(sample, &["listingdate", "sha1", "listingreason"]) {
        return Some(Likeness::Certain);
    }
    let rows = table::rows_are(sample, |cells| {
        cells.len() >= 3 && is_hex(cells.get(1), 40) && cell::time(cells.get(0)).is_some()
    });
    rows.then_some(Likeness::Likely)
}

pub(super) fn recognise_addresses(sample: &Sample<'_>) -> Option<Likeness> {
    if table::has_header(sample, &["firstseen", "dstip", "dstport"])
        && !table::has_header(sample, &["dstip", "dstport", "malware"])
    {
        return Some(Likeness::Certain);
    }
    let rows = table::rows_are(sample, |cells| {
        cells.len() == 3
            && cell::time(cells.get(0)).is_some()
            && cells.get(1).parse::<std::net::Ipv4Addr>().is_ok()
            && cells.get(2).parse::<u16>().is_ok()
    });
    rows.then_some(Likeness::Likely)
}

pub(super) fn refuse(sample: &Sample<'_>) -> Option<Refusal> {
    let header = sample.comments().chain(sample.data_lines().next()).any(|line| line.starts_with("ja3_md5"));
    let rows = || {
        table::rows_are(sample, |cells| {
            cells.len() >= 4
                && is_hex(cells.get(0), 32)
                && cell::time(cells.get(1)).is_some()
                && cell::time(cells.get(2)).is_some()
        })
    };
    (header || rows()).then_some(Refusal {
        what: "a list of JA3 fingerprints",
        why: "they name kinds of TLS clients, and are hashes of neither files nor certificates",
        instead: "use SSLBL's list of certificates or of addresses",
    })
}

pub(super) fn read_certificates(input: &mut Input<'_>, intake: &mut Intake<'_>) -> Result<(), FeedError> {
    let mut table = Table::new(input, &CERTIFICATES);
    while let Some(row) = table.next(intake)? {
        match cell::certificate(row.get(1).unwrap_or_default()) {
            Ok(indicator) => {
                let mut draft = intake.draft(indicator, RecordType::BadCertificate, row.rest(2));
                draft.timestamp = row.get(0).and_then(cell::time);
                intake.list(draft);
            }
            Err(why) => intake.say(why),
        }
    }
    Ok(())
}

pub(super) fn read_addresses(input: &mut Input<'_>, intake: &mut Intake<'_>) -> Result<(), FeedError> {
    feodo::read_servers(Table::new(input, &ADDRESSES), intake)
}

#[cfg(test)]
mod tests {
    use crate::feed::{FeedError, Format, testing::*};

    #[test]
    fn reasons_hold_commas() {
        let hash = "0a".repeat(20);
        let feed = format!(
            "# x #\r\n# Listingdate,SHA1,Listingreason\r\n2023-11-14 06:52:51,{hash},Family C&C, second stage\r\n\
             2023-11-14 06:52:51,{},X\r\n# END (2) entries",
            &hash[1..]
        );
        let (listings, report) = collect(feed.as_bytes(), "", None);
        assert_eq!(report.format, Format::Sslbl);
        assert_eq!(
            listings,
            [format!("cert-sha1:{hash} bad-certificate \"Family C&C, second stage\" at 2023-11-14T06:52:51Z")]
        );
        assert_eq!((report.rows, report.rejected, report.refusals[0].line), (2, 1, 4));
    }

    #[test]
    fn addresses() {
        for header in ["# Firstseen,DstIP,DstPort\r\n", ""] {
            let feed = format!("{header}2023-11-14 06:52:51,9.9.9.9,443\r\n");
            let (listings, report) = collect(feed.as_bytes(), "", None);
            assert_eq!(report.format, Format::SslblIp);
            assert_eq!(listings, ["ipv4:9.9.9.9 botnet-cc at 2023-11-14T06:52:51Z port 443"]);
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
