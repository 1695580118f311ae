//! Lists of IPv4 addresses: FireHOL's `.ipset` and `.netset`, Spamhaus DROP as text (`block ; SBL1`), ipsum
//! (`address<TAB>lists`), plain addresses, CIDR blocks and ranges (`a.b.c.d-e.f.g.h`).
//!
//! These lists do not classify addresses: records are malicious addresses, unless the header comment names
//! command-and-control or phishing servers. An SBL number is the name; a plain number after an address (ipsum: the
//! number of lists that contain it) is the score, for `--min-score`.
//!
//! A block with host bits set (`192.0.2.7/24`) is rejected: it may mean the address or the network, and a wrong guess
//! would list 255 neighbours. IPv6 rows are unsupported.

use super::{
    error::FeedError,
    headings::Headings,
    input::Input,
    row_sink::{Draft, RowSink},
    sample::{Confidence, Sample},
    value::{self, ValueError},
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let mut rows = 0u32;
    let mut valid = 0u32;
    for line in sample.data_lines() {
        rows += 1;
        let (key, rest) = split(line);
        valid += u32::from(is_key(key) && is_rest(rest));
    }
    // A list with any name is a list of domains, which may hold addresses too.
    (rows > 0 && valid * 100 >= rows * SHARE_PERCENT_MIN && !sample.data_lines().any(is_name))
        .then_some(Confidence::Likely)
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
        if let Some(reason) = headings.withholds() {
            sink.withhold(reason);
            continue;
        }
        let (key, rest) = split(text);
        match value::ipv4_port(key) {
            Ok((indicator, port)) => {
                let (name, score) = match rest.parse::<u32>() {
                    Ok(score) => ("", Some(score)),
                    Err(_) => (rest, None),
                };
                sink.list(Draft { port, score, ..Draft::new(indicator, headings.record_type(), name) });
            }
            Err(ValueError::Rejected(_)) if !key.starts_with(|c: char| c.is_ascii_digit()) => {
                sink.reject("expected an IPv4 address, a block or a range");
            }
            Err(e) => sink.value_error(e),
        }
    }
    Ok(())
}

/// Splits a line into the address and the rest after white space, `;`, `#` or `,`.
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

/// Returns whether `key` consists of digits, dots, a prefix length or a range, or is IPv6.
fn is_key(key: &str) -> bool {
    let is_valid = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'/' | b'-' | b' ');
    (key.bytes().filter(|&b| b == b'.').count() >= 3 && key.bytes().all(is_valid))
        || (key.bytes().filter(|&b| b == b':').count() >= 2
            && key.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'/' | b'.')))
}

/// Returns whether the rest of a line is empty, a number, or a reference such as `SBL123`.
fn is_rest(rest: &str) -> bool {
    rest.bytes().all(|b| b.is_ascii_digit()) || (rest.len() <= 16 && rest.starts_with("SBL"))
}

/// Returns whether a line starts with a name, which has letters in its last label; otherwise it is an address in
/// hexadecimal.
fn is_name(line: &str) -> bool {
    let name = line.split([' ', '\t', '/', ':', '#', ';']).next().unwrap_or_default();
    name.rsplit_once('.').is_some_and(|(_, top)| has_letters(top))
}

/// Returns whether a label is not part of an address in decimal, octal or hexadecimal.
pub(super) fn has_letters(label: &str) -> bool {
    !label.starts_with("0x") && label.bytes().any(|b| !b.is_ascii_digit())
}

/// Minimum percentage of valid rows; the rest allows for typing errors.
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
    fn rows_without_records() {
        let text =
            "2a12:2640::/29\n93.184.216.7/24\n185.55..243.110\n10.1.2.3\n93.0.0.0/7\nword\n93.184.216.9-93.184.216.1\n";
        let (entries, report) = collect(text.as_bytes(), "x", Some(Format::Ipv4List));
        assert_eq!(entries, Vec::<String>::new());
        let outcomes: Vec<_> = report.refusals.iter().map(|r| r.outcome).collect();
        use Outcome::*;
        assert_eq!(outcomes, [Unsupported, Rejected, Rejected, Withheld, Rejected, Rejected, Rejected]);
    }

    #[test]
    fn header_comments_and_detection() {
        let (entries, report) = collect(b"#\n# botnet C&C servers\n#\n93.184.216.34\n", "x.ipset", None);
        assert_eq!((report.format, entries[0].as_str()), (Format::Ipv4List, "ipv4:93.184.216.34 botnet-cc"));
        let (_, report) = collect(b"2a12:2640::/29 ; SBL1\n2a12:2641::/32 ; SBL2\n", "x", None);
        assert_eq!((report.format, report.unsupported), (Format::Ipv4List, 2));
    }
}
