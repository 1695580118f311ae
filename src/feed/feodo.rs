//! Feodo Tracker's CSV (<https://feodotracker.abuse.ch/blocklist/>): command-and-control servers with port and family.
//!
//! The timestamp is the first-seen time. Offline servers stay listed: the feed removes them itself after a while.

use super::{
    error::FeedError,
    input::Input,
    row_sink::RowSink,
    sample::{Confidence, Sample},
    table::{self, Table, Wanted},
    value,
};
use crate::record::RecordType;

const COLUMNS: [Wanted; 4] = [
    (&["first_seen_utc", "firstseen"], Some(0)),
    (&["dst_ip", "dstip"], Some(1)),
    (&["dst_port", "dstport"], Some(2)),
    (&["malware"], Some(5)),
];

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    if table::has_header(sample, &["dst_ip", "dst_port", "malware"])
        || table::has_header(sample, &["dstip", "dstport", "malware"])
    {
        return Some(Confidence::Certain);
    }
    let rows = table::rows_are(sample, |cells| {
        cells.len() == 6 && value::ipv4_port(cells.get(1)).is_ok() && ["online", "offline"].contains(&cells.get(3))
    });
    rows.then_some(Confidence::Likely)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    read_servers(Table::new(input, &COLUMNS), sink)
}

/// Reads first-seen time, address, port and name (columns 0 to 3) of command-and-control servers.
pub(super) fn read_servers(mut table: Table<'_, '_, 4>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    while let Some(row) = table.next(sink)? {
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
    Ok(())
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
