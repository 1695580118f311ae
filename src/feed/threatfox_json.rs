//! ThreatFox as JSON: <https://threatfox.abuse.ch/export/>.
//!
//! ```text
//! {"1234567": [{"ioc_value": "bad.example:443", "ioc_type": "ip:port", "threat_type": "botnet_cc",
//!   "malware": "win.example", "malware_printable": "Example", "first_seen_utc": "2026-11-22 10:00:00",
//!   "confidence_level": 100, …}], …}
//! ```
//!
//! The responses of its API (`{"query_status": "ok", "data": [{"id": "1234567", "ioc": …}]}`) have the same fields
//! under slightly different names, and are read too. Rows are elements in document order.

use super::{
    error::FeedError,
    format::Format,
    input::Input,
    json::{self, Choice, Json, Path, Step, Walker},
    row_sink::RowSink,
    sample::{Confidence, Sample},
    threatfox_csv, value,
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let shape = json::outline(sample.text);
    let value = shape.iter().any(|(path, _)| path.ends_with("/[]/ioc_value") || path == "data/[]/ioc");
    let kind = shape.iter().any(|(path, _)| path.ends_with("/[]/ioc_type"));
    (value && kind).then_some(Confidence::Certain)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let document = input.document()?;
    json::walk(&document, &mut Elements { sink, rows: 0 })
        .map_err(|e| FeedError::Malformed { format: Format::ThreatFoxJson, why: e.to_string() })
}

struct Elements<'a, 'i> {
    sink: &'a mut RowSink<'i>,
    rows: u64,
}

impl Walker for Elements<'_, '_> {
    fn choose(&mut self, path: &Path<'_>) -> Choice {
        match path.steps() {
            [] | [Step::Field(_)] => Choice::Enter,
            [Step::Field(_), Step::Element(_)] => Choice::Take,
            _ => Choice::Skip,
        }
    }

    fn take(&mut self, path: &Path<'_>, value: Json<'_>) {
        let (key, element) = match path.steps() {
            [Step::Field(key), Step::Element(_)] => (key.parse().ok(), Some(&value)),
            // An entry that is not a list; other fields such as `query_status` are not rows.
            [Step::Field(key)] if key.parse::<u64>().is_ok() => (None, None),
            _ => return,
        };
        self.rows += 1;
        self.sink.row(self.rows);
        match element.filter(|element| element.is_object()) {
            Some(element) => row(self.sink, key, element),
            None => self.sink.reject("expected an object with ioc_value and ioc_type"),
        }
    }
}

fn row(sink: &mut RowSink<'_>, key: Option<u64>, element: &Json<'_>) {
    let field = |name: &str, other: &str| element.get(name).text().or(element.get(other).text());
    let (Some(value), Some(kind)) = (field("ioc_value", "ioc"), field("ioc_type", "")) else {
        return sink.reject("expected strings in ioc_value and ioc_type");
    };
    let (indicator, port) = match threatfox_csv::indicator(kind, value) {
        Ok(found) => found,
        Err(e) => return sink.value_error(e),
    };
    let threat = element.get("threat_type").text().unwrap_or_default();
    let name = [element.get("malware_printable"), element.get("malware")];
    let name = name.into_iter().find_map(|name| name.text().and_then(value::null)).unwrap_or_default();
    let record_type = threatfox_csv::record_type(threat, &indicator);
    let mut draft = sink.draft(indicator, record_type, name);
    draft.id = key.or(element.get("ioc_id").natural()).or(element.get("id").natural()).filter(|id| id >> 63 == 0);
    draft.timestamp = field("first_seen_utc", "first_seen").and_then(value::time);
    draft.confidence = element.get("confidence_level").natural().and_then(|percent| u8::try_from(percent).ok());
    draft.port = port;
    sink.list(draft);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::testing;

    #[test]
    fn an_object_of_lists() {
        let hash = "AB".repeat(32);
        let document = format!(
            r#"{{"7": [{{"ioc_value": "8.8.4.4:443", "ioc_type": "ip:port", "threat_type": "botnet_cc",
                "malware": "win.example", "malware_printable": "Example", "first_seen_utc": "2026-11-20 10:00:00",
                "last_seen_utc": null, "confidence_level": 75, "tags": "a,b"}}],
              "8": [{{"ioc_value": "http://bad.example:81/x", "ioc_type": "url", "threat_type": "payload_delivery",
                "malware_printable": "None", "malware": null}}, {{"ioc_value": "bad.example", "ioc_type": "domain"}}],
              "9": [{{"ioc_value": "{hash}", "ioc_type": "sha256_hash", "threat_type": "payload"}}, null, 5],
              "10": "x", "11": [{{"ioc_value": 5, "ioc_type": "url"}}, {{"ioc_value": "a@b.example", "ioc_type": "body_from"}}],
              "12": [{{"ioc_value": "x", "ioc_type": "what"}}]}}"#
        );
        let (entries, report) = testing::collect(document.as_bytes(), "full.json", None);
        assert_eq!(
            entries,
            [
                "ipv4:8.8.4.4 botnet-cc \"Example\" at 2026-11-20T10:00:00Z port 443 #7".into(),
                "exact:bad.example/x malware port 81 #8".into(),
                "domain:bad.example malicious-address #8".into(),
                format!("sha256:{} malware #9", hash.to_lowercase()),
            ]
        );
        assert_eq!((report.rows, report.rejected, report.unsupported), (10, 4, 2));
    }

    #[test]
    fn an_api_response() {
        let document = r#"{"query_status": "ok", "data": [{"id": "41", "ioc": "bad.example", "ioc_type": "domain",
            "threat_type": "botnet_cc", "malware_printable": "Example", "first_seen": "2026-11-20 10:00:00 UTC"}]}"#;
        let (entries, _) = testing::collect(document.as_bytes(), "", None);
        assert_eq!(entries, ["domain:bad.example botnet-cc \"Example\" at 2026-11-20T10:00:00Z #41"]);
    }

    #[test]
    fn malformed_documents_are_errors() {
        let read = testing::try_collect(br#"{"7": ["#, "", Some(Format::ThreatFoxJson), &testing::options());
        assert!(matches!(read, Err(FeedError::Malformed { .. })));
    }
}
