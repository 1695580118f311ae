//! Spamhaus DROP as NDJSON: <https://www.spamhaus.org/blocklists/do-not-route-or-peer/>.
//!
//! ```text
//! {"cidr":"192.0.2.0/24","sblid":"SBL1234","rir":"ripencc"}
//! {"type":"metadata","timestamp":1709006105,"size":17905,"records":201,…}
//! ```
//!
//! The metadata line that closes a list is no row. ASN-DROP has the same shape with autonomous systems, of which no key
//! can be made: such a list is refused as a whole, and such a line within a list counted.

use super::{
    FeedError,
    cell::{self, Why},
    input::Input,
    intake::Intake,
    json::{self, Json},
    recognise::{Likeness, Refusal, Sample},
};
use crate::record::RecordType;

/// Why a list of autonomous systems is no feed.
const AUTONOMOUS_SYSTEMS: Refusal = Refusal {
    what: "Spamhaus ASN-DROP",
    why: "it lists autonomous systems, and addresses are looked up without their routes",
    instead: "use the DROP list of blocks (drop_v4.json)",
};

pub(super) fn recognise(sample: &Sample<'_>) -> Option<Likeness> {
    let first = json::parse(sample.data_lines().next()?.as_bytes()).ok()?;
    let block = first.get("cidr").text().is_some() && !first.get("sblid").is_null();
    (block || is_autonomous_system(&first)).then_some(Likeness::Certain)
}

pub(super) fn read(input: &mut Input<'_>, intake: &mut Intake<'_>) -> Result<(), FeedError> {
    let mut first = true;
    while let Some(line) = input.next_line()? {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            continue;
        }
        let row = json::parse(text.as_bytes());
        if row.as_ref().is_ok_and(|row| row.get("type").text() == Some("metadata")) {
            continue;
        }
        if std::mem::take(&mut first) && row.as_ref().is_ok_and(is_autonomous_system) {
            return Err(FeedError::Refused(AUTONOMOUS_SYSTEMS));
        }
        intake.row_of(&line);
        match row.map_err(|e| Why::Rejected(e.to_string())).and_then(|row| block(&row, intake)) {
            Ok(()) => {}
            Err(why) => intake.say(why),
        }
    }
    Ok(())
}

fn block(row: &Json<'_>, intake: &mut Intake<'_>) -> Result<(), Why> {
    if is_autonomous_system(row) {
        return Err(Why::Unsupported("an autonomous system"));
    }
    let cidr = row.get("cidr").text().ok_or_else(|| Why::Rejected("expected a field cidr".into()))?;
    let (indicator, _) = cell::ipv4_port(cidr)?;
    let name = row.get("sblid").text().unwrap_or_default();
    intake.list(intake.draft(indicator, RecordType::MaliciousAddress, name));
    Ok(())
}

fn is_autonomous_system(row: &Json<'_>) -> bool {
    row.get("asn").natural().is_some() && row.get("cidr").is_null()
}

#[cfg(test)]
mod tests {
    use crate::feed::testing;

    #[test]
    fn blocks_and_the_line_that_closes_them() {
        let list = concat!(
            "\u{feff}{\"cidr\":\"203.0.112.0/24\",\"sblid\":\"SBL1\",\"rir\":\"ripencc\"}\r\n",
            "{\"cidr\":\"2001:db8::/32\",\"sblid\":\"SBL2\",\"rir\":\"ripencc\"}\n",
            "{\"cidr\":\"203.0.112.1/24\",\"sblid\":\"SBL3\"}\n",
            "{\"cidr\":5}\n{\n\n{\"asn\":64500,\"asname\":\"X\"}\n",
            "{\"type\":\"metadata\",\"timestamp\":1709006105,\"records\":5}\n",
        );
        let (listings, report) = testing::collect(list.as_bytes(), "drop_v4.json", None);
        assert_eq!(listings, ["ipv4:203.0.112.0/24 malicious-address \"SBL1\""]);
        assert_eq!((report.rows, report.unsupported, report.rejected), (6, 2, 3));
        assert_eq!(report.refusals.iter().map(|r| r.line).collect::<Vec<_>>(), [2, 3, 4, 5, 7]);
    }

    #[test]
    fn autonomous_systems_are_refused() {
        let list = "{\"asn\":64500,\"rir\":\"arin\",\"domain\":\"x.example\",\"cc\":\"US\",\"asname\":\"X\"}\n";
        let error = testing::try_collect(list.as_bytes(), "asndrop.json", None, &testing::options()).unwrap_err();
        assert!(error.to_string().starts_with("this is Spamhaus ASN-DROP: "), "{error}");
    }
}
