//! PhishTank's CSV export (<https://phishtank.org/developer_info.php>).
//!
//! A row lists a URL (scope exact) as phishing under the feed's `phish_id`, at its verification time, named by the
//! target. Unverified rows are withheld: anybody can submit them. PhishTank's JSON has the same fields.

use super::{
    column_content::Content,
    csv,
    csv_layout::{Column, Need, Schema},
    error::FeedError,
    format::Format,
    input::Input,
    row_sink::RowSink,
    sample::{Confidence, Sample},
    value,
};
use crate::record::RecordType;

static SCHEMA: Schema<6> = Schema {
    format: Format::PhishTank,
    columns: [
        Column::new(&["phish_id"], 0, Content::Number, Need::Optional),
        Column::new(&["url"], 1, Content::Url("phishtank.com/phish_detail"), Need::Key),
        Column::new(&["submission_time"], 3, Content::Time, Need::Optional),
        Column::new(&["verified"], 4, Content::Words(&["yes", "no"]), Need::Required),
        Column::new(&["verification_time"], 5, Content::Time, Need::Optional),
        Column::new(&["target"], 7, Content::Text, Need::Optional),
    ],
    width: 8,
    free_text: None,
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    if let Some(found) = csv::detect(sample, &SCHEMA, &["phish_id", "url", "verified"]) {
        return Some(found);
    }
    let rows = csv::rows_are(sample, |cells| cells.len() == 8 && cells.get(2).contains("phishtank.org/phish_detail"));
    rows.then_some(Confidence::Likely)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    csv::read(input, sink, &SCHEMA, |row, sink| {
        let Some(url) = row.get(1) else {
            sink.reject("expected a URL in the column url, found none");
            return;
        };
        if !row.get(3).is_some_and(|verified| verified.eq_ignore_ascii_case("yes")) {
            sink.withhold("not verified");
            return;
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
    })
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
