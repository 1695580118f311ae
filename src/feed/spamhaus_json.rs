//! Spamhaus DROP as NDJSON: <https://www.spamhaus.org/blocklists/do-not-route-or-peer/>.
//!
//! ```text
//! {"cidr":"192.0.2.0/24","sblid":"SBL1234","rir":"ripencc"}
//! {"type":"metadata","timestamp":1709006105,"size":17905,"records":201,…}
//! ```
//!
//! The metadata line at the end of a list is not a row. ASN-DROP has the same syntax with autonomous systems, for which
//! there is no key: an ASN-DROP list is refused as a whole, and an ASN-DROP line in another list is unsupported.

use super::{
    error::{FeedError, Refusal},
    input::Input,
    json::{self, Json},
    row_sink::RowSink,
    sample::{Confidence, Sample},
    value::{self, ValueError},
};
use crate::record::RecordType;

/// The refusal of a list of autonomous systems.
const AUTONOMOUS_SYSTEMS: Refusal = Refusal {
    what: "Spamhaus ASN-DROP",
    why: "it lists autonomous systems, and addresses are looked up without routing data",
    instead: "use the DROP list of blocks (drop_v4.json)",
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let first = json::parse(sample.data_lines().next()?.as_bytes()).ok()?;
    let block = first.get("cidr").text().is_some() && !first.get("sblid").is_null();
    (block || is_autonomous_system(&first)).then_some(Confidence::Certain)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
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
        sink.row_of(&line);
        match row.map_err(|e| ValueError::Rejected(e.to_string())).and_then(|row| block(&row, sink)) {
            Ok(()) => {}
            Err(e) => sink.value_error(e),
        }
    }
    Ok(())
}

fn block(row: &Json<'_>, sink: &mut RowSink<'_>) -> Result<(), ValueError> {
    if is_autonomous_system(row) {
        return Err(ValueError::Unsupported("an autonomous system"));
    }
    let cidr =
        row.get("cidr").text().ok_or_else(|| ValueError::Rejected("expected a string in the field cidr".into()))?;
    let (indicator, _) = value::ipv4_port(cidr)?;
    let name = row.get("sblid").text().unwrap_or_default();
    sink.list(sink.draft(indicator, RecordType::MaliciousAddress, name));
    Ok(())
}

fn is_autonomous_system(row: &Json<'_>) -> bool {
    row.get("asn").natural().is_some() && row.get("cidr").is_null()
}

#[cfg(test)]
mod tests {
    use crate::feed::testing;

    #[test]
    fn blocks_and_the_metadata_line() {
        let list = concat!(
            "\u{feff}{\"cidr\":\"203.0.112.0/24\",\"sblid\":\"SBL1\",\"rir\":\"ripencc\"}\r\n",
            "{\"cidr\":\"2001:db8::/32\",\"sblid\":\"SBL2\",\"rir\":\"ripencc\"}\n",
            "{\"cidr\":\"203.0.112.1/24\",\"sblid\":\"SBL3\"}\n",
            "{\"cidr\":5}\n{\n\n{\"asn\":64500,\"asname\":\"X\"}\n",
            "{\"type\":\"metadata\",\"timestamp\":1709006105,\"records\":5}\n",
        );
        let (entries, report) = testing::collect(list.as_bytes(), "drop_v4.json", None);
        assert_eq!(entries, ["ipv4:203.0.112.0/24 malicious-address \"SBL1\""]);
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
