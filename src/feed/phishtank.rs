//! PhishTank's CSV export (<https://phishtank.org/developer_info.php>).
//!
//! A row lists an exact address as phishing under the feed's `phish_id`, at the time of its verification, named by the
//! target. Rows that are not verified are withheld: anybody can submit them. The same columns stand in its JSON.

use super::{
    FeedError, cell,
    input::Input,
    intake::Intake,
    recognise::{Likeness, Sample},
    table::{self, Table, Wanted},
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

pub(super) fn recognise(sample: &Sample<'_>) -> Option<Likeness> {
    if table::has_header(sample, &["phish_id", "url", "verified"]) {
        return Some(Likeness::Certain);
    }
    let rows = table::rows_are(sample, |cells| cells.len() == 8 && cells.get(2).contains("phishtank.org/phish_detail"));
    rows.then_some(Likeness::Likely)
}

pub(super) fn read(input: &mut Input<'_>, intake: &mut Intake<'_>) -> Result<(), FeedError> {
    let mut table = Table::new(input, &COLUMNS);
    while let Some(row) = table.next(intake)? {
        let Some(url) = row.get(1) else {
            intake.reject("the address is missing");
            continue;
        };
        if !row.get(3).is_some_and(|verified| verified.eq_ignore_ascii_case("yes")) {
            intake.withhold("not verified");
            continue;
        }
        match cell::web_exact(url) {
            Ok((indicator, port)) => {
                let mut draft = intake.draft(indicator, RecordType::Phishing, row.get(5).unwrap_or_default());
                draft.id = row.get(0).and_then(|id| id.parse().ok());
                draft.timestamp = row.get(4).and_then(cell::time).or_else(|| row.get(2).and_then(cell::time));
                draft.port = port;
                intake.list(draft);
            }
            Err(why) => intake.say(why),
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
        let (listings, report) = collect(feed.as_bytes(), "", None);
        assert_eq!(report.format, Format::PhishTank);
        assert_eq!(listings, ["exact:a.example.com/login?a=1,2 phishing \"Some Bank\" at 2026-01-02T04:00:00Z #11"]);
        assert_eq!((report.rows, report.withheld), (2, 1));
    }
}
