//! What the tests of readers share.

use super::{FeedError, Format, Guards, Options, Report, read};
use crate::record::{Listing, RecordSink};

/// Collects listings as text: `indicator type name [time] [until expiry] [port] #id`, the ID only when it is the feed's.
#[derive(Default)]
pub(crate) struct Collector {
    /// One text for every listing.
    pub(crate) listings: Vec<String>,
}

impl RecordSink for Collector {
    fn add(&mut self, _input: u32, listing: Listing<'_>) {
        let mut text = format!("{} {}", listing.indicator, listing.record_type);
        if !listing.name.is_empty() {
            text += &format!(" {:?}", listing.name);
        }
        if let Some(time) = listing.timestamp {
            text += &format!(" at {time}");
        }
        if let Some(time) = listing.expiry {
            text += &format!(" until {time}");
        }
        if let Some(port) = listing.port {
            text += &format!(" port {port}");
        }
        if listing.id >> 63 == 0 {
            text += &format!(" #{}", listing.id);
        }
        self.listings.push(text);
    }
}

/// Options as of 2026-11-22.
pub(crate) fn options() -> Options {
    Options::new("2026-11-22".parse().unwrap())
}

/// Reads a feed without guards and options.
pub(crate) fn collect(bytes: &[u8], name: &str, format: Option<Format>) -> (Vec<String>, Report) {
    try_collect(bytes, name, format, &options()).unwrap_or_else(|e| panic!("{e}"))
}

/// Reads a feed without guards.
pub(crate) fn try_collect(
    bytes: &[u8],
    name: &str,
    format: Option<Format>,
    options: &Options,
) -> Result<(Vec<String>, Report), FeedError> {
    collect_guarded(bytes, name, format, options, &Guards::default())
}

/// Reads a feed.
pub(crate) fn collect_guarded(
    bytes: &[u8],
    name: &str,
    format: Option<Format>,
    options: &Options,
    guards: &Guards,
) -> Result<(Vec<String>, Report), FeedError> {
    let mut collector = Collector::default();
    let report = read(bytes, name, format, options, guards, 0, &mut collector)?;
    assert_eq!(report.records, collector.listings.len() as u64);
    let outcomes = report.records + report.withheld + report.unsupported + report.rejected;
    assert!(outcomes >= report.rows, "every row is accounted for: {report:?}");
    Ok((collector.listings, report))
}
