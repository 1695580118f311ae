//! AdBlock filter lists, as far as they block whole domains: `||domain^`, and bare names as hosts-like lists have them.
//!
//! The syntax is that of [Adblock Plus](https://help.adblockplus.org/hc/en-us/articles/360062733293) and
//! [AdGuard](https://adguard.com/kb/general/ad-filtering/create-own-filters/). `||domain^` means the domain with
//! everything below it. A rule with options (`$third-party`, `$all`) does not block everywhere, or not only that, and an
//! exception (`@@`) says that the thing is wanted: both are withheld. What matches a part of an address or of a page
//! (paths, patterns, element hiding, regular expressions) is unsupported.

use super::{
    FeedError, cell,
    heading::Heading,
    input::Input,
    intake::{Draft, Intake},
    recognise::{Likeness, Sample},
};
use crate::key::Scope;

pub(super) fn recognise(sample: &Sample<'_>) -> Option<Likeness> {
    let lines = || sample.lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    if lines().next()?.to_ascii_lowercase().starts_with("[adblock") {
        return Some(Likeness::Certain);
    }
    let (mut rows, mut rules, mut marked) = (0u32, 0u32, false);
    for line in lines() {
        match rule(line) {
            Rule::Comment => marked |= line.starts_with("! ") || line == "!",
            Rule::Blocked(_) => {
                rows += 1;
                rules += 1;
                marked |= line.starts_with("||");
            }
            Rule::Exception | Rule::Optional | Rule::Cosmetic => {
                rows += 1;
                rules += u32::from(line.starts_with("||") || line.starts_with("@@") || line.contains("##"));
                marked |= line.starts_with("||") || line.starts_with("@@||");
            }
            Rule::Expression | Rule::Pattern => {
                rows += 1;
                rules += u32::from(line.starts_with("||"));
            }
        }
    }
    (marked && rules > 0 && rules * 10 >= rows * SHARE_TENTHS_MIN).then_some(Likeness::Likely)
}

pub(super) fn read(input: &mut Input<'_>, intake: &mut Intake<'_>) -> Result<(), FeedError> {
    let mut heading = Heading::default();
    while let Some(line) = input.next_line()? {
        let text = line.text.trim();
        if text.is_empty() {
            continue;
        }
        let rule = rule(text);
        if rule == Rule::Comment {
            heading.comment(text);
            continue;
        }
        heading.end();
        intake.row_of(&line);
        match rule {
            Rule::Comment => {}
            Rule::Blocked(name) => match cell::domain(name, Scope::Domain) {
                Ok(indicator) => {
                    intake.list(Draft::new(indicator, heading.record_type(), ""));
                }
                Err(why) => intake.say(why),
            },
            Rule::Exception => intake.withhold("an exception"),
            Rule::Optional => intake.withhold("a rule with options, which does not block everywhere"),
            Rule::Cosmetic => intake.unsupported("a rule that hides or changes parts of pages"),
            Rule::Expression => intake.unsupported("a regular expression"),
            Rule::Pattern => intake.unsupported("a pattern of an address"),
        }
    }
    Ok(())
}

/// One line of a filter list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule<'a> {
    Comment,
    /// The domain or address is blocked everywhere.
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
            // `####` is a ruler between comments.
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
        let bare = name.strip_prefix("*.").unwrap_or(name);
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || !c.is_ascii();
        !bare.is_empty() && bare.chars().all(|c| sound(c) && !c.is_whitespace())
    };
    // Without the anchor a word is looked for everywhere in an address; a name with a dot is what hosts-like lists have.
    if name_only(name) && (anchored.is_some() || name.contains('.')) { Rule::Blocked(name) } else { Rule::Pattern }
}

/// Rules that have to be of blocked domains, exceptions or with options, of ten; lists against advertisements, which are
/// mostly patterns and element hiding, carry a header.
const SHARE_TENTHS_MIN: u32 = 6;

#[cfg(test)]
mod tests {
    use super::super::{Format, Outcome, testing::collect};

    #[test]
    fn rules() {
        let text = "[Adblock Plus 2.0]\n! Title: x\n# comment\n||evil.com^\n||sub.evil.com^|\nbare.com\n||93.184.216.34^\n\
                    ||*.wild.com^\n||ab.com^$third-party\n||cd.com$all\n@@||good.com^\nsite.com##.ad\n/ads[0-9]+/\n\
                    ||evil.com/path\n&ad_box=\n||co.uk^\n";
        let (listings, report) = collect(text.as_bytes(), "x", None);
        assert_eq!(report.format, Format::Adblock);
        let expected = [
            "domain:evil.com malicious-address",
            "domain:sub.evil.com malicious-address",
            "domain:bare.com malicious-address",
            "ipv4:93.184.216.34 malicious-address",
            "domain:wild.com malicious-address",
        ];
        assert_eq!(listings, expected);
        assert_eq!((report.rows, report.withheld, report.unsupported, report.rejected), (13, 4, 4, 0), "{report:?}");
    }

    #[test]
    fn recognised_by_its_rows() {
        for text in ["# Title\n||evil.com^\n", "! Title\nevil.com\n93.184.216.34\n", "||evil.com$all\n||evil.net$all\n"]
        {
            assert_eq!(collect(text.as_bytes(), "x", None).1.format, Format::Adblock, "{text}");
        }
        let (_, report) = collect(b"# Title\nevil.com\n", "x", None);
        assert_eq!(report.format, Format::Domains);
        assert!(report.refusals.iter().all(|r| r.outcome != Outcome::Rejected));
    }
}
