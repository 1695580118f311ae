//! One domain per line, as used by DNS filters (Pi-hole, dnscrypt-proxy, urlhaus-filter).
//!
//! A name matches the domain with its subdomains. Other content is read like a generic list: addresses, `name/path`,
//! inline comments. dnscrypt-proxy's `=name` matches that host only; its wildcards in the middle of a name are
//! unsupported.

use super::{
    error::FeedError,
    input::Input,
    ioc_list::{Census, List},
    ipv4_list::has_letters,
    row_sink::{Draft, RowSink},
    sample::{Confidence, Sample},
    value,
};
use crate::key::{Indicator, Scope};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    // `!` and `|` start lines of AdBlock lists only.
    if sample.lines.iter().any(|line| line.starts_with(['!', '|'])) {
        return None;
    }
    let census = Census::of(sample);
    let names = sample.share(|line| is_name(line.strip_prefix('=').unwrap_or(line)) && !is_address(line));
    let addresses = sample.share(is_address);
    (names > 0.0 && names + addresses >= SHARE_MIN && census.is_list()).then_some(Confidence::Likely)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let mut list = List::of(input);
    while let Some(line) = input.next_line()? {
        let text = line.text.trim();
        let (name, scope) = match text.strip_prefix('=') {
            Some(name) => (name, Scope::Host),
            None => (text, Scope::Domain),
        };
        if !is_name(name) {
            list.take(&line, sink);
            continue;
        }
        list.begin_row(&line, sink);
        if let Some(reason) = list.withholds() {
            sink.withhold(reason);
            continue;
        }
        match value::domain(name, scope) {
            Ok(indicator @ (Indicator::Web { .. } | Indicator::Ipv4(_))) => {
                sink.list(Draft::new(indicator, list.record_type(), ""));
            }
            Ok(_) => sink.reject("expected a host name"),
            Err(e) => sink.value_error(e),
        }
    }
    Ok(())
}

/// Returns whether a line is one name: letters, digits, dashes, with or without a dot (a single label is left to the
/// filter, and may be an address in hexadecimal), optionally with a leading `*.` or `.`.
fn is_name(line: &str) -> bool {
    let name = line.strip_prefix("*.").or_else(|| line.strip_prefix('.')).unwrap_or(line);
    let is_valid =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || (!c.is_ascii() && c.is_alphanumeric());
    // A digest is not a name.
    let is_hex = name.len() >= 24 && name.bytes().all(|b| b.is_ascii_hexdigit());
    !name.is_empty() && name.chars().all(is_valid) && !is_hex
}

/// Returns whether a line is an address in any notation, valid or not.
fn is_address(line: &str) -> bool {
    !line.rsplit('.').next().is_some_and(has_letters)
}

/// Minimum share of names and addresses; a list with ports and paths is left to the generic reader.
const SHARE_MIN: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::super::{Format, testing::collect};

    fn listed(text: &str) -> Vec<String> {
        collect(text.as_bytes(), "x", Some(Format::Domains)).0
    }

    #[test]
    fn rows() {
        for (row, expected) in [
            ("evil.com", "domain:evil.com malicious-address"),
            ("EVIL.com.", "domain:evil.com malicious-address"),
            ("*.evil.com", "domain:evil.com malicious-address"),
            ("=evil.com", "host:evil.com malicious-address"),
            ("93.184.216.34", "ipv4:93.184.216.34 malicious-address"),
            ("evil.com # why", "domain:evil.com malicious-address \"why\""),
            ("evil.com/path", "exact:evil.com/path malicious-address"),
            ("evil.unknowntop", "domain:evil.unknowntop malicious-address"),
        ] {
            assert_eq!(listed(row), [expected], "{row}");
        }
        for row in ["localhost", "ads*.evil.com", "2001:db8::1", "0123456789abcdef01234567", "co.uk"] {
            assert_eq!(listed(row), Vec::<String>::new(), "{row}");
        }
    }

    #[test]
    fn detected_by_its_rows() {
        let (_, report) = collect(b"# Title: phishing\nevil.com\nevil.net\n93.184.216.34\n", "x", None);
        assert_eq!((report.format, report.records), (Format::Domains, 3));
        let (_, report) = collect(b"evil.com:80\nevil.net\n/gate.php\n", "x", None);
        assert_eq!(report.format, Format::IocList);
    }
}
