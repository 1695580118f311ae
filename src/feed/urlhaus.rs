//! URLhaus's CSV export (<https://urlhaus.abuse.ch/api/>).
//!
//! A row lists a URL (scope exact) under the feed's `id`, at `dateadded`, with its port. The threat `malware_download`
//! is malware, any other a malicious address; the name is the tags (which include the families), else the threat.
//! Offline URLs stay listed, because they come back. Older exports lack `last_online`.

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

/// The links of the feed are the publisher's own pages.
static SCHEMA: Schema<5> = Schema {
    format: Format::Urlhaus,
    columns: [
        Column::new(&["id"], 0, Content::Number, Need::Optional),
        Column::new(&["dateadded"], 1, Content::Time, Need::Optional),
        Column::new(&["url"], 2, Content::Url("://urlhaus.abuse.ch/"), Need::Key),
        Column::new(&["threat"], 5, Content::Text, Need::Optional),
        Column::new(&["tags"], 6, Content::Text, Need::Optional),
    ],
    width: 9,
    free_text: None,
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    if let Some(found) = csv::detect(sample, &SCHEMA, &["dateadded", "url", "url_status", "threat"]) {
        return Some(found);
    }
    let rows = csv::rows_are(sample, |cells| cells.len() == 9 && cells.get(7).contains("://urlhaus.abuse.ch/url/"));
    rows.then_some(Confidence::Likely)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    csv::read(input, sink, &SCHEMA, |row, sink| {
        let Some(url) = row.get(2) else {
            sink.reject("expected a URL in the column url, found none");
            return;
        };
        let threat = row.get(3).unwrap_or_default();
        let record_type = match threat {
            "malware_download" => RecordType::Malware,
            _ => RecordType::MaliciousAddress,
        };
        match value::web_exact(url) {
            Ok((indicator, port)) => {
                let mut draft = sink.draft(indicator, record_type, row.get(4).unwrap_or(threat));
                draft.id = row.get(0).and_then(|id| id.parse().ok());
                draft.timestamp = row.get(1).and_then(value::time);
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
    fn both_column_layouts() {
        let expected = [
            "exact:a.example.com/bin.sh malware \"elf,Mozi\" at 2025-04-21T12:35:06Z port 60905 #7",
            "exact:b.example.com/ malware \"malware_download\" at 2025-04-21T12:35:06Z #8",
        ];
        let new = "id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\n\
                   \"7\",\"2025-04-21 12:35:06\",\"http://a.example.com:60905/bin.sh\",\"online\",\"2025-04-21 12:35:06\",\
                   \"malware_download\",\"elf,Mozi\",\"https://urlhaus.abuse.ch/url/7/\",\"x\"\n\
                   \"8\",\"2025-04-21 12:35:06\",\"http://b.example.com\",\"offline\",\"\",\"malware_download\",\"None\",\
                   \"https://urlhaus.abuse.ch/url/8/\",\"x\"\n";
        let headless = new.split_once('\n').unwrap().1;
        let old = "# id,dateadded,url,url_status,threat,tags,urlhaus_link,reporter\r\n\
                   \"7\",\"2025-04-21 12:35:06\",\"http://a.example.com:60905/bin.sh\",\"online\",\"malware_download\",\
                   \"elf,Mozi\",\"https://urlhaus.abuse.ch/url/7/\",\"x\"\r\n\
                   \"8\",\"2025-04-21 12:35:06\",\"http://b.example.com\",\"offline\",\"malware_download\",\"\",\
                   \"https://urlhaus.abuse.ch/url/8/\",\"x\"\r\n";
        for feed in [new, headless, old] {
            let (entries, report) = collect(feed.as_bytes(), "", None);
            assert_eq!(report.format, Format::Urlhaus);
            assert_eq!(entries, expected);
            assert_eq!(report.rows, 2);
        }
    }
}
