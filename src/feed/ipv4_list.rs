//! Lists of IPv4 addresses: FireHOL's `.ipset` and `.netset`, Spamhaus DROP as text (`block ; SBL1`), ipsum
//! (`address<TAB>lists`), plain addresses, CIDR blocks and ranges (`a.b.c.d-e.f.g.h`).
//!
//! Such a list says no more than that an address is bad: records are malicious addresses, unless the heading comments
//! call them servers of command and control or of phishing. An SBL number is the name; a bare number behind an address
//! (ipsum: on how many lists it stands) is the score, for `--min-score`.
//!
//! A block with bits set behind its prefix (`192.0.2.7/24`) is rejected: it may be meant as the address or as the
//! network, and a guess would list 255 neighbours. IPv6 rows are unsupported.

use super::{
    FeedError,
    cell::{self, Why},
    heading::Heading,
    input::Input,
    intake::{Draft, Intake},
    recognise::{Likeness, Sample},
};

pub(super) fn recognise(sample: &Sample<'_>) -> Option<Likeness> {
    let mut rows = 0u32;
    let mut such = 0u32;
    for line in sample.data_lines() {
        rows += 1;
        let (key, rest) = split(line);
        such += u32::from(is_key(key) && is_rest(rest));
    }
    // Not one name, or it is a list of domains: those hold addresses, too.
    (rows > 0 && such * 100 >= rows * SHARE_PERCENT_MIN && !sample.data_lines().any(is_name))
        .then_some(Likeness::Likely)
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
        let (key, rest) = split(text);
        match cell::ipv4_port(key) {
            Ok((indicator, port)) => {
                let (name, score) = match rest.parse::<u32>() {
                    Ok(score) => ("", Some(score)),
                    Err(_) => (rest, None),
                };
                intake.list(Draft { port, score, ..Draft::new(indicator, heading.record_type(), name) });
            }
            Err(Why::Rejected(_)) if !key.starts_with(|c: char| c.is_ascii_digit()) => {
                intake.reject("expected an IPv4 address, a block or a range");
            }
            Err(why) => intake.say(why),
        }
    }
    Ok(())
}

/// The address, and what is said of it: behind white space, `;`, `#` or `,`.
fn split(line: &str) -> (&str, &str) {
    let end = line.find(|c: char| c.is_whitespace() || matches!(c, ';' | '#' | ',')).unwrap_or(line.len());
    let (mut key, mut rest) = line.split_at(end);
    // `1.2.3.0 - 1.2.3.9`
    if let Some(last) = rest.trim_start().strip_prefix('-').map(str::trim_start)
        && last.starts_with(|c: char| c.is_ascii_digit())
    {
        let start = line.len() - last.len();
        let end = last.find(|c: char| c.is_whitespace() || matches!(c, ';' | '#' | ',')).unwrap_or(last.len());
        (key, rest) = (&line[..start + end], &last[end..]);
    }
    (key, rest.trim_matches(|c: char| c.is_whitespace() || matches!(c, ';' | '#' | ',')))
}

/// Digits, dots, a prefix length or a range; or IPv6.
fn is_key(key: &str) -> bool {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'/' | b'-' | b' ');
    (key.bytes().filter(|&b| b == b'.').count() >= 3 && key.bytes().all(plain))
        || (key.bytes().filter(|&b| b == b':').count() >= 2
            && key.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'/' | b'.')))
}

/// What such a list says of an address: nothing, a number, a reference such as `SBL123`.
fn is_rest(rest: &str) -> bool {
    rest.bytes().all(|b| b.is_ascii_digit()) || (rest.len() <= 16 && rest.starts_with("SBL"))
}

/// A name has letters in its last label; what has some only before it is an address in hexadecimal.
fn is_name(line: &str) -> bool {
    let name = line.split([' ', '\t', '/', ':', '#', ';']).next().unwrap_or_default();
    name.rsplit_once('.').is_some_and(|(_, top)| has_letters(top))
}

/// Whether a label is none of an address in decimal, octal or hexadecimal.
pub(super) fn has_letters(label: &str) -> bool {
    !label.starts_with("0x") && label.bytes().any(|b| !b.is_ascii_digit())
}

/// Rows that have to have the shape; the rest is room for typing errors.
const SHARE_PERCENT_MIN: u32 = 95;

#[cfg(test)]
mod tests {
    use super::super::{Format, Outcome, testing::collect};

    fn listed(text: &str) -> Vec<String> {
        collect(text.as_bytes(), "x", Some(Format::Ipv4List)).0
    }

    #[test]
    fn rows() {
        for (row, expected) in [
            ("93.184.216.34", "ipv4:93.184.216.34 malicious-address"),
            ("93.184.216.34 ", "ipv4:93.184.216.34 malicious-address"),
            ("93.184.216.34\t7", "ipv4:93.184.216.34 malicious-address"),
            ("93.184.216.0/24 ; SBL123", "ipv4:93.184.216.0/24 malicious-address \"SBL123\""),
            ("93.184.216.1-93.184.216.3", "ipv4:93.184.216.1-93.184.216.3 malicious-address"),
            ("93.184.216.1 - 93.184.216.3", "ipv4:93.184.216.1-93.184.216.3 malicious-address"),
            ("93.184.216.34#why", "ipv4:93.184.216.34 malicious-address \"why\""),
        ] {
            assert_eq!(listed(row), [expected], "{row}");
        }
    }

    #[test]
    fn what_is_not_listed() {
        let text =
            "2a12:2640::/29\n93.184.216.7/24\n185.55..243.110\n10.1.2.3\n93.0.0.0/7\nword\n93.184.216.9-93.184.216.1\n";
        let (listings, report) = collect(text.as_bytes(), "x", Some(Format::Ipv4List));
        assert_eq!(listings, Vec::<String>::new());
        let outcomes: Vec<_> = report.refusals.iter().map(|r| r.outcome).collect();
        use Outcome::*;
        assert_eq!(outcomes, [Unsupported, Rejected, Rejected, Withheld, Rejected, Rejected, Rejected]);
    }

    #[test]
    fn headings_and_recognition() {
        let (listings, report) = collect(b"#\n# botnet C&C servers\n#\n93.184.216.34\n", "x.ipset", None);
        assert_eq!((report.format, listings[0].as_str()), (Format::Ipv4List, "ipv4:93.184.216.34 botnet-cc"));
        let (_, report) = collect(b"2a12:2640::/29 ; SBL1\n2a12:2641::/32 ; SBL2\n", "x", None);
        assert_eq!((report.format, report.unsupported), (Format::Ipv4List, 2));
    }
}
