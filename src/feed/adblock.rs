//! AdBlock filter lists that block whole domains: `||domain^`, and plain names as in hosts-like lists.
//!
//! The syntax is that of [Adblock Plus](https://help.adblockplus.org/hc/en-us/articles/360062733293) and
//! [AdGuard](https://adguard.com/kb/general/ad-filtering/create-own-filters/). `||domain^` matches the domain with its
//! subdomains. A rule with options (`$third-party`, `$all`) does not block everywhere or has other effects, and an
//! exception (`@@`) allows its subject: both are withheld. Rules that match a part of a URL or of a page (paths,
//! patterns, element hiding, regular expressions) are unsupported.

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
    let lines = || sample.lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    if lines().next()?.to_ascii_lowercase().starts_with("[adblock") {
        return Some(Confidence::Certain);
    }
    let (mut rows, mut rules, mut has_mark) = (0u32, 0u32, false);
    for line in lines() {
        match rule(line) {
            Rule::Comment => has_mark |= line.starts_with("! ") || line == "!",
            Rule::Blocked(_) => {
                rows += 1;
                rules += 1;
                has_mark |= line.starts_with("||");
            }
            Rule::Exception | Rule::Optional | Rule::Cosmetic => {
                rows += 1;
                rules += u32::from(line.starts_with("||") || line.starts_with("@@") || line.contains("##"));
                has_mark |= line.starts_with("||") || line.starts_with("@@||");
            }
            Rule::Expression | Rule::Pattern => {
                rows += 1;
                rules += u32::from(line.starts_with("||"));
            }
        }
    }
    (has_mark && rules > 0 && rules * 10 >= rows * SHARE_TENTHS_MIN).then_some(Confidence::Likely)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let mut headings = Headings::default();
    while let Some(line) = input.next_line()? {
        let text = line.text.trim();
        if text.is_empty() {
            continue;
        }
        let rule = rule(text);
        if rule == Rule::Comment {
            headings.comment(text.trim_matches(['!', '#']));
            continue;
        }
        headings.row();
        sink.row_of(&line);
        if let (Rule::Blocked(_), Some(reason)) = (rule, headings.withholds()) {
            sink.withhold(reason);
            continue;
        }
        match rule {
            Rule::Comment => {}
            Rule::Blocked(name) => match value::domain(name, Scope::Domain) {
                Ok(indicator) => {
                    sink.list(Draft::new(indicator, headings.record_type(), ""));
                }
                Err(e) => sink.value_error(e),
            },
            Rule::Exception => sink.withhold("an exception"),
            Rule::Optional => sink.withhold("a rule with options, which does not block everywhere"),
            Rule::Cosmetic => sink.unsupported("a rule that hides or changes parts of pages"),
            Rule::Expression => sink.unsupported("a regular expression"),
            Rule::Pattern => sink.unsupported("a URL pattern"),
        }
    }
    Ok(())
}

/// One line of a filter list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule<'a> {
    Comment,
    /// A domain or address that is blocked everywhere.
    Blocked(&'a str),
    Exception,
    Optional,
    Cosmetic,
    Expression,
    Pattern,
}

fn rule(line: &str) -> Rule<'_> {
    if line.starts_with('!') || (line.starts_with('[') && line.ends_with(']')) {
        return Rule::Comment;
    }
    if line.starts_with("@@") {
        return Rule::Exception;
    }
    if let Some(at) = line.find('#') {
        let mark = &line[at + 1..];
        if ["#", "@#", "?#", "$#", "%#", "@?#", "@$#", "$?#"].iter().any(|rest| mark.starts_with(rest)) {
            // `####` is a separator between comments.
            return if line.bytes().all(|b| b == b'#') || line.starts_with("###") && line.ends_with("###") {
                Rule::Comment
            } else {
                Rule::Cosmetic
            };
        }
        if at == 0 {
            return Rule::Comment;
        }
    }
    if line.len() > 2 && line.starts_with('/') && (line.ends_with('/') || line.contains("/$")) {
        return Rule::Expression;
    }
    if line.contains('$') {
        return Rule::Optional;
    }
    let anchored = line.strip_prefix("||");
    let name = anchored.map_or(line, |name| name.strip_suffix("^|").or_else(|| name.strip_suffix('^')).unwrap_or(name));
    let name_only = |name: &str| {
        let host = name.strip_prefix("*.").unwrap_or(name);
        let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || !c.is_ascii();
        !host.is_empty() && host.chars().all(|c| is_valid(c) && !c.is_whitespace())
    };
    // Without the anchor a word matches anywhere in a URL; names with a dot occur in hosts-like lists.
    if name_only(name) && (anchored.is_some() || name.contains('.')) { Rule::Blocked(name) } else { Rule::Pattern }
}

/// Minimum number of rules out of ten that block domains, are exceptions or have options; advertisement blocklists,
/// which are mostly patterns and element hiding, have a header.
const SHARE_TENTHS_MIN: u32 = 6;

#[cfg(test)]
mod tests {
    use super::super::{Format, Outcome, testing::collect};

    #[test]
    fn rules() {
        let text = "[Adblock Plus 2.0]\n! Title: x\n# comment\n||evil.com^\n||sub.evil.com^|\nbare.com\n||93.184.216.34^\n\
                    ||*.wild.com^\n||ab.com^$third-party\n||cd.com$all\n@@||good.com^\nsite.com##.ad\n/ads[0-9]+/\n\
                    ||evil.com/path\n&ad_box=\n||co.uk^\n";
        let (entries, report) = collect(text.as_bytes(), "x", None);
        assert_eq!(report.format, Format::Adblock);
        let expected = [
            "domain:evil.com malicious-address",
            "domain:sub.evil.com malicious-address",
            "domain:bare.com malicious-address",
            "ipv4:93.184.216.34 malicious-address",
            "domain:wild.com malicious-address",
        ];
        assert_eq!(entries, expected);
        assert_eq!((report.rows, report.withheld, report.unsupported, report.rejected), (13, 4, 4, 0), "{report:?}");
    }

    #[test]
    fn detected_by_its_rows() {
        for text in ["# Title\n||evil.com^\n", "! Title\nevil.com\n93.184.216.34\n", "||evil.com$all\n||evil.net$all\n"]
        {
            assert_eq!(collect(text.as_bytes(), "x", None).1.format, Format::Adblock, "{text}");
        }
        let (_, report) = collect(b"# Title\nevil.com\n", "x", None);
        assert_eq!(report.format, Format::Domains);
        assert!(report.refusals.iter().all(|r| r.outcome != Outcome::Rejected));
    }
}
