//! Feodo Tracker's CSV (<https://feodotracker.abuse.ch/blocklist/>): command-and-control servers with port and family.
//!
//! The timestamp is the first-seen time. Offline servers stay listed: the feed removes them itself after a while.

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

static SCHEMA: Schema<4> = Schema {
    format: Format::Feodo,
    columns: [
        Column::new(&["first_seen_utc", "firstseen"], 0, Content::Time, Need::Optional),
        Column::new(&["dst_ip", "dstip"], 1, Content::Ipv4, Need::Key),
        Column::new(&["dst_port", "dstport"], 2, Content::Number, Need::Optional),
        Column::new(&["malware"], 5, Content::Text, Need::Optional),
    ],
    width: 6,
    free_text: None,
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let names: [&[_]; 2] = [&["dst_ip", "dst_port", "malware"], &["dstip", "dstport", "malware"]];
    if let Some(found) = names.into_iter().find_map(|names| csv::detect(sample, &SCHEMA, names)) {
        return Some(found);
    }
    let rows = csv::rows_are(sample, |cells| {
        cells.len() == 6 && value::ipv4_port(cells.get(1)).is_ok() && ["online", "offline"].contains(&cells.get(3))
    });
    rows.then_some(Confidence::Likely)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    csv::read(input, sink, &SCHEMA, read_server)
}

/// Reads first-seen time, address, port and name (columns 0 to 3) of a command-and-control server.
pub(super) fn read_server(row: &csv::Row<'_, 4>, sink: &mut RowSink<'_>) {
    match value::ipv4_port(row.get(1).unwrap_or_default()) {
        Ok((indicator, port)) => {
            let mut draft = sink.draft(indicator, RecordType::BotnetCc, row.get(3).unwrap_or_default());
            draft.timestamp = row.get(0).and_then(value::time);
            draft.port = row.get(2).and_then(|port| port.parse().ok()).filter(|&port| port != 0).or(port);
            sink.list(draft);
        }
        Err(e) => sink.value_error(e),
    }
}

#[cfg(test)]
mod tests {
    use crate::feed::{Format, testing::collect};

    #[test]
    fn addresses_with_ports() {
        let feed = "#####\r\n# x #\r\n#\r\n\
                    \"first_seen_utc\",\"dst_ip\",\"dst_port\",\"c2_status\",\"last_online\",\"malware\"\r\n\
                    \"2021-01-17 07:44:46\",\"9.9.9.9\",\"4643\",\"online\",\"2021-12-20\",\"Family\"\r\n\
                    \"2021-01-17 07:44:46\",\"10.0.0.1\",\"4643\",\"offline\",\"2021-12-20\",\"Family\"\r\n\
                    \"2021-01-17 07:44:46\",\"9.9.9\",\"4643\",\"offline\",\"2021-12-20\",\"Family\"\r\n\
                    # END 3 entries\r\n";
        let (entries, report) = collect(feed.as_bytes(), "", None);
        assert_eq!(report.format, Format::Feodo);
        assert_eq!(entries, ["ipv4:9.9.9.9 botnet-cc \"Family\" at 2021-01-17T07:44:46Z port 4643"]);
        assert_eq!((report.rows, report.withheld, report.rejected), (3, 1, 1));
    }
}
