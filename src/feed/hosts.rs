//! Hosts files: `0.0.0.0 name`, `127.0.0.1 name`, several names a line, inline comments.
//!
//! The syntax is that of hosts(5). Blocklists map blocked names to a non-routable address; a row that maps to any other
//! address names a machine and is rejected. A name matches that host only ([`Scope::Host`]), as in a hosts file. The
//! boilerplate (`localhost`, `broadcasthost`, `ip6-allnodes`) is withheld by the filter.

use super::{
    error::FeedError,
    headings::Headings,
    input::Input,
    row_sink::{Draft, RowSink},
    sample::{Confidence, Sample},
    value,
};
use crate::key::Scope;

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let is_row = |line: &str| {
        let mut fields = fields(line);
        fields.next().is_some_and(is_non_routable) && fields.next().is_some()
    };
    (sample.share(is_row) >= SHARE_MIN).then_some(Confidence::Likely)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let mut headings = Headings::default();
    while let Some(line) = input.next_line()? {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            headings.comment_or_blank(text.trim_matches(['#', ';']));
            continue;
        }
        headings.row();
        sink.row_of(&line);
        let mut names = fields(text);
        if !names.next().is_some_and(is_non_routable) {
            sink.reject("expected a non-routable address (0.0.0.0, 127.0.0.1, ::), then host names");
            continue;
        }
        if let Some(reason) = headings.withholds() {
            sink.withhold(reason);
            continue;
        }
        for name in names {
            match value::domain(name, Scope::Host) {
                Ok(indicator) => {
                    sink.list(Draft::new(indicator, headings.record_type(), ""));
                }
                Err(e) => sink.value_error(e),
            }
        }
    }
    Ok(())
}

/// Returns the fields of a row without its comment.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    line.split('#').next().unwrap_or_default().split_whitespace()
}

/// Returns whether blocklists or the boilerplate of hosts files map names to an address.
fn is_non_routable(address: &str) -> bool {
    matches!(address, "0.0.0.0" | "127.0.0.1" | "0" | "::" | "::1" | "255.255.255.255")
        || ["127.", "fe80::", "fe00::", "ff00::", "ff02::"].iter().any(|prefix| address.starts_with(prefix))
}

/// Minimum share of valid rows.
const SHARE_MIN: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::super::{Format, Outcome, testing::collect};

    #[test]
    fn names_and_boilerplate() {
        let text = "# Title: Some list\n127.0.0.1 localhost\n::1\tlocalhost ip6-localhost\n255.255.255.255 broadcasthost\n\
                    0.0.0.0 0.0.0.0\n0.0.0.0 evil.com www.evil.com # why\r\n127.0.0.1\tEVIL.net#x\n10.1.2.3 machine.net\n\
                    0.0.0.0 93.184.216.34\n0.0.0.0\n";
        let (entries, report) = collect(text.as_bytes(), "x", Some(Format::Hosts));
        let expected = [
            "host:evil.com malicious-address",
            "host:www.evil.com malicious-address",
            "host:evil.net malicious-address",
            "ipv4:93.184.216.34 malicious-address",
        ];
        assert_eq!(entries, expected);
        assert_eq!((report.rows, report.withheld, report.rejected), (9, 5, 2), "{report:?}");
        assert!(report.refusals.iter().all(|r| r.outcome != Outcome::Unsupported));
    }

    #[test]
    fn detected_by_its_rows() {
        let (_, report) = collect(b"# x\n0.0.0.0 evil.com\n0.0.0.0 evil.net\n", "x", None);
        assert_eq!(report.format, Format::Hosts);
    }
}
