//! PhishTank's CSV export (<https://phishtank.org/developer_info.php>).
//!
//! A row lists a URL (scope exact) as phishing under the feed's `phish_id`, at its verification time, named by the
//! target. Unverified rows are withheld: anybody can submit them. PhishTank's JSON has the same fields.

use super::{
    error::FeedError,
    input::Input,
    row_sink::RowSink,
    sample::{Confidence, Sample},
    table::{self, Table, Wanted},
    value,
};
use crate::record::RecordType;

const COLUMNS: [Wanted; 6] = [
    (&["phish_id"], Some(0)),
    (&["url"], Some(1)),
    (&["submission_time"], Some(3)),
    (&["verified"], Some(4)),
    (&["verification_time"], Some(5)),
    (&["target"], Some(7)),
];

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    if table::has_header(sample, &["phish_id", "url", "verified"]) {
        return Some(Confidence::Certain);
    }
    let rows = table::rows_are(sample, |cells| cells.len() == 8 && cells.get(2).contains("phishtank.org/phish_detail"));
    rows.then_some(Confidence::Likely)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let mut table = Table::new(input, &COLUMNS);
    while let Some(row) = table.next(sink)? {
        let Some(url) = row.get(1) else {
            sink.reject("expected a URL in the column url, found none");
            continue;
        };
        if !row.get(3).is_some_and(|verified| verified.eq_ignore_ascii_case("yes")) {
            sink.withhold("not verified");
            continue;
        }
        match value::web_exact(url) {
            Ok((indicator, port)) => {
                let mut draft = sink.draft(indicator, RecordType::Phishing, row.get(5).unwrap_or_default());
                draft.id = row.get(0).and_then(|id| id.parse().ok());
                draft.timestamp = row.get(4).and_then(value::time).or_else(|| row.get(2).and_then(value::time));
                draft.port = port;
                sink.list(draft);
            }
            Err(e) => sink.value_error(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::feed::{Format, testing::collect};

    #[test]
    fn unverified_rows_are_withheld() {
        let feed = "phish_id,url,phish_detail_url,submission_time,verified,verification_time,online,target\r\n\
                    11,\"http://a.example.com/login?a=1,2\",http://www.phishtank.com/phish_detail.php?phish_id=11,\
                    2026-01-02T03:04:05+00:00,yes,2026-01-02T04:00:00+00:00,yes,Some Bank\r\n\
                    12,http://b.example.com/,http://www.phishtank.com/phish_detail.php?phish_id=12,\
                    2026-01-02T03:04:05+00:00,no,,yes,Other\r\n";
        let (entries, report) = collect(feed.as_bytes(), "", None);
        assert_eq!(report.format, Format::PhishTank);
        assert_eq!(entries, ["exact:a.example.com/login?a=1,2 phishing \"Some Bank\" at 2026-01-02T04:00:00Z #11"]);
        assert_eq!((report.rows, report.withheld), (2, 1));
    }
}
