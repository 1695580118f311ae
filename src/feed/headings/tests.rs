//! Prevents: a list of what is good that is condemned, and a list of what is bad that is withheld for a word.

use super::*;

#[test]
fn headings_that_list_what_is_good() {
    for heading in [
        "LEGITIMATE DOMAINS USED FOR CONNECTIVITY CHECKS DURING C2 TRAFFIC:",
        "Benign domains",
        "False positive hashes",
        "false positives",
        "Clean",
        "Clean files",
        "Whitelist",
        "Allow list",
        "Known good:",
        "HTTPS TRAFFIC TO LEGITIMATE DOMAINS:",
        "CALLBACKS FROM INFECTED HOSTS TO LEGITIMATE SERVICES",
        "legit Microsoft domains",
        "Title: Allowlist of our partners",
    ] {
        assert!(is_heading(heading) && is_good(heading), "{heading}");
    }
    for heading in [
        "Abused legitimate services",
        "FILES DROPPED FROM LEGITIMATE SITES",
        "Compromised legitimate websites",
        "Fake legit installers",
        "Domains masquerading as legitimate software",
        "Infected but otherwise clean hosts",
        "Clean up of infected hosts",
        "C2 domains",
        "Not legitimate: Emotet",
        "Contains no false positives",
        "False positives: report them to the author",
    ] {
        assert!(!is_good(heading), "{heading}");
    }
}

#[test]
fn sentences_and_rows_are_no_headings() {
    for line in [
        "These domains are legitimate and used by the loader",
        "Legitimate domains were contacted.",
        "Legitimate domains: evil.com",
        "See https://report.com/legitimate",
        "a b c d e f g h i j k l m",
        "",
    ] {
        assert!(!is_heading(line), "{line}");
    }
    assert!(is_heading("THESE DOMAINS ARE LEGITIMATE"));
    assert!(is_heading("These are legitimate:"));
}

#[test]
fn links() {
    for heading in ["REFERENCES", "Reference:", "Read more", "Sources and credits:", "Further reading", "Report"] {
        assert!(is_links(heading), "{heading}");
    }
    for heading in ["Source IPs", "C2 report domains", "Links in the mails", "URLs", "Read me"] {
        assert!(!is_links(heading), "{heading}");
    }
}

#[test]
fn verdicts() {
    for verdict in
        ["clean", "Legitimate", "(legit)", "legitimate site", "false positive", "FP", "is benign", "Known good"]
    {
        assert!(is_good_verdict(verdict), "{verdict}");
    }
    for comment in [
        "trojanized legit app",
        "Fake legit Zoom installer with Lumma",
        "not legitimate: Emotet",
        "legit, abused",
        "Clean up tool",
        "",
        "malicious",
    ] {
        assert!(!is_good_verdict(comment), "{comment}");
    }
}

fn withholds(lines: &[&str]) -> bool {
    let mut headings = Headings::default();
    for line in lines {
        match line.strip_prefix('#') {
            Some(comment) => headings.comment(comment),
            None if *line == "ROW" => headings.row(),
            None => headings.line(line),
        }
    }
    headings.withholds().is_some()
}

#[test]
fn a_section_ends_with_the_next_heading_and_a_title_does_not() {
    assert!(withholds(&["Benign domains:", "", "ROW"]));
    assert!(!withholds(&["Benign domains:", "ROW", "", "C2 domains:", "ROW"]));
    assert!(withholds(&["# Whitelist", "ROW", "# CDN", "ROW"]));
    assert!(withholds(&["Benign domains", "", "Mail", "ROW"]));
    assert!(!withholds(&["C2 domains", "ROW", "Benign domains", "ROW", "More C2 domains", "ROW"]));
}

#[test]
fn a_rule_below_a_heading_is_no_heading() {
    for rule in ["-----", "=====", "```", "* * *"] {
        assert!(withholds(&["Benign domains", rule, "ROW"]), "{rule}");
        assert!(withholds(&["Benign domains:", rule, "ROW"]), "{rule}");
    }
}

#[test]
fn running_text_withholds_nothing() {
    assert!(!withholds(&["# Whitelist", "# of our network", "ROW"]));
    assert!(!withholds(&["#", "# A level of confidence of 90 %", "# Known false positives", "#", "ROW"]));
    assert!(withholds(&["#####", "# Whitelist", "#####", "ROW"]));
    assert!(!withholds(&["It talks to legitimate domains.", "ROW"]));
}
