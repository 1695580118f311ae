//! Hosts files: `0.0.0.0 name`, `127.0.0.1 name`, several names a line, inline comments.
//!
//! The syntax is hosts(5)'s. Blocklists map what they block to an address that leads nowhere; a row that maps to any
//! other address names a machine and is rejected. A name is that host alone ([`Scope::Host`]): that is what a hosts
//! file blocks. The boilerplate (`localhost`, `broadcasthost`, `ip6-allnodes`) is withheld by screening.

use super::{
    FeedError, cell,
    heading::Heading,
    input::Input,
    intake::{Draft, Intake},
    recognise::{Likeness, Sample},
};
use crate::key::Scope;

pub(super) fn recognise(sample: &Sample<'_>) -> Option<Likeness> {
    let is_row = |line: &str| {
        let mut fields = fields(line);
        fields.next().is_some_and(is_nowhere) && fields.next().is_some()
    };
    (sample.share(is_row) >= SHARE_MIN).then_some(Likeness::Likely)
}

pub(super) fn read(input: &mut Input<'_>, intake: &mut Intake<'_>) -> Result<(), FeedError> {
    let mut heading = Heading::default();
    while let Some(line) = input.next_line()? {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            heading.comment(text);
            continue;
        }
        heading.end();
        intake.row_of(&line);
        let mut names = fields(text);
        if !names.next().is_some_and(is_nowhere) {
            intake.reject("expected an address that leads nowhere (0.0.0.0, 127.0.0.1, ::) and names");
            continue;
        }
        for name in names {
            match cell::domain(name, Scope::Host) {
                Ok(indicator) => {
                    intake.list(Draft::new(indicator, heading.record_type(), ""));
                }
                Err(why) => intake.say(why),
            }
        }
    }
    Ok(())
}

/// The fields of a row up to its comment.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    line.split('#').next().unwrap_or_default().split_whitespace()
}

/// Whether an address is one that blocklists and the boilerplate of hosts files map names to.
fn is_nowhere(address: &str) -> bool {
    matches!(address, "0.0.0.0" | "127.0.0.1" | "0" | "::" | "::1" | "255.255.255.255")
        || ["127.", "fe80::", "fe00::", "ff00::", "ff02::"].iter().any(|prefix| address.starts_with(prefix))
}

/// Rows that have to have the shape.
const SHARE_MIN: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::super::{Format, Outcome, testing::collect};

    #[test]
    fn names_and_boilerplate() {
        let text = "# Title: Some list\n127.0.0.1 localhost\n::1\tlocalhost ip6-localhost\n255.255.255.255 broadcasthost\n\
                    0.0.0.0 0.0.0.0\n0.0.0.0 evil.com www.evil.com # why\r\n127.0.0.1\tEVIL.net#x\n10.1.2.3 machine.net\n\
                    0.0.0.0 93.184.216.34\n0.0.0.0\n";
        let (listings, report) = collect(text.as_bytes(), "x", Some(Format::Hosts));
        let expected = [
            "host:evil.com malicious-address",
            "host:www.evil.com malicious-address",
            "host:evil.net malicious-address",
            "ipv4:93.184.216.34 malicious-address",
        ];
        assert_eq!(listings, expected);
        assert_eq!((report.rows, report.withheld, report.rejected), (9, 5, 2), "{report:?}");
        assert!(report.refusals.iter().all(|r| r.outcome != Outcome::Unsupported));
    }

    #[test]
    fn recognised_by_its_rows() {
        let (_, report) = collect(b"# x\n0.0.0.0 evil.com\n0.0.0.0 evil.net\n", "x", None);
        assert_eq!(report.format, Format::Hosts);
    }
}
