//! TweetFeed (<https://github.com/0xDanielLopez/TweetFeed>): indicators posted by researchers, as CSV without header:
//! `time,user,type,value,#tags,link`.
//!
//! `domain` lists the domain, `url` the URL (scope exact), `ip` the address, `sha256` and `md5` the file (malware). The
//! tags are the name, and determine the type of addresses: phishing and scams are phishing, command-and-control servers
//! and their frameworks are botnet-cc, delivery and families are malware, all others are malicious addresses.

use super::{
    column_content::Content,
    csv,
    csv_layout::{Column, Need, Schema},
    error::FeedError,
    format::Format,
    input::Input,
    row_sink::RowSink,
    sample::{Confidence, Sample},
    type_words::TypeWord,
    value::{self, ValueError, WithPort},
};
use crate::{key::Indicator, record::RecordType};

static SCHEMA: Schema<4> = Schema {
    format: Format::TweetFeed,
    columns: [
        Column::new(&["time", "date"], 0, Content::Time, Need::Optional),
        Column::new(&["type"], 2, Content::Type, Need::Required),
        Column::new(&["value"], 3, Content::Indicator, Need::Key),
        Column::new(&["tags"], 4, Content::Text, Need::Optional),
    ],
    width: 6,
    free_text: None,
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let rows = csv::rows_are(sample, |cells| {
        cells.len() >= SCHEMA.width
            && value::time(cells.get(0)).is_some()
            && TypeWord::of(cells.get(2)).is_some_and(TypeWord::is_supported)
            && cells.get(5).starts_with("https://")
    });
    rows.then_some(Confidence::Certain)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    csv::read(input, sink, &SCHEMA, |row, sink| {
        if row.is_truncated() {
            // The value may be truncated too, and a truncated name is a different name.
            sink.reject("the row is truncated: it has fewer columns than the others");
            return;
        }
        // A quote within a URL marks its end in the post.
        let value = row.get(2).and_then(|value| value.split('"').next()).unwrap_or_default();
        match indicator(row.get(1).unwrap_or_default(), value) {
            Ok((indicator, port)) => {
                let tags = row.get(3).unwrap_or_default();
                let record_type = record_type(tags, &indicator);
                let mut draft = sink.draft(indicator, record_type, tags);
                draft.timestamp = row.get(0).and_then(value::time);
                draft.port = port;
                sink.list(draft);
            }
            Err(e) => sink.value_error(e),
        }
    })
}

fn indicator(kind: &str, value: &str) -> Result<WithPort, ValueError> {
    match TypeWord::of(kind) {
        Some(kind) => kind.read_one(value),
        None => Err(ValueError::Rejected("expected the type url, domain, ip, sha256 or md5".into())),
    }
}

fn record_type(tags: &str, indicator: &Indicator) -> RecordType {
    if matches!(indicator, Indicator::Digest(_)) {
        return value::listed_type(indicator);
    }
    let tagged = |known: &[&str]| {
        let mut tags = tags.split([' ', ',']).map(|tag| tag.trim_start_matches('#').to_ascii_lowercase());
        tags.any(|tag| known.contains(&tag.as_str()))
    };
    // The most specific first: a tag for a server is more specific than one for the campaign.
    if tagged(&["c2", "c&c", "cobaltstrike", "cobalt_strike", "sliver", "metasploit", "botnet", "havoc", "bruteratel"])
    {
        RecordType::BotnetCc
    } else if tagged(&["phishing", "scam", "cryptoscam", "smishing", "vishing", "spearphishing", "phishingkit"]) {
        RecordType::Phishing
    } else if tagged(MALWARE_TAGS) {
        RecordType::Malware
    } else {
        RecordType::MaliciousAddress
    }
}

const MALWARE_TAGS: &[&str] =
    &["malware", "ransomware", "stealer", "infostealer", "trojan", "opendir", "maldoc", "loader"];

#[cfg(test)]
mod tests {
    use crate::feed::{Format, testing::collect};

    #[test]
    fn tags_determine_the_type() {
        let hash = "0e".repeat(16);
        let feed = format!(
            "2026-08-16 01:04:58,someone,domain,a.example.com,#phishing,https://x.com/1\r\n\
             2026-08-16 01:04:58,someone,url,https://b.example.com/x?y=1,#C2 #malware,https://x.com/2\r\n\
             2026-08-16 01:04:58,someone,ip,9.9.9.9,,https://x.com/3\r\n\
             2026-08-16 01:04:58,someone,md5,{hash},#phishing,https://x.com/4\r\n\
             2026-08-16 01:04:58,someone,url,\"https://c.example.com/d\"\",#tag\",#scam,https://x.com/5\r\n\
             2026-08-16 01:04:58,someone,domain,d.exam"
        );
        let (entries, report) = collect(feed.as_bytes(), "20260816.csv", Some(Format::TweetFeed));
        let at = "at 2026-08-16T01:04:58Z";
        assert_eq!(
            entries,
            [
                format!("domain:a.example.com phishing \"#phishing\" {at}"),
                format!("exact:b.example.com/x?y=1 botnet-cc \"#C2 #malware\" {at}"),
                format!("ipv4:9.9.9.9 malicious-address {at}"),
                format!("md5:{hash} malware \"#phishing\" {at}"),
                format!("exact:c.example.com/d phishing \"#scam\" {at}"),
            ]
        );
        assert_eq!((report.rows, report.rejected), (6, 1));
    }
}
