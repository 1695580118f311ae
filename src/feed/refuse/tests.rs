//! What must not happen: another tool's language or a report is read as a list, or a list is refused.

use super::super::{
    FeedError,
    testing::{options, try_collect},
};

fn refused(bytes: &[u8]) -> &'static str {
    match try_collect(bytes, "x", None, &options()) {
        Err(FeedError::Refused(refusal)) => refusal.what,
        other => panic!("{other:?} for {:?}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn each_for_its_reason() {
    for (text, what) in [
        ("<!DOCTYPE html>\n<html>", "an HTML page"),
        ("<?xml version=\"1.0\"?>\n<ioc/>", "an XML document (OpenIOC, an RSS feed, a table)"),
        (
            "# x\nalert http $HOME_NET any -> $EXTERNAL_NET any (msg:\"x\"; sid:1;)\n",
            "a set of Suricata or Snort rules",
        ),
        (
            "; x\n$TTL 30\n@ IN SOA a. b. 1 2 3 4 5\n NS localhost.\nevil.com CNAME .\n*.evil.com CNAME .\n",
            "an RPZ zone",
        ),
        ("# x\naddress=/evil.com/0.0.0.0\n", "a dnsmasq configuration"),
        ("local-zone: \"evil.com\" always_nxdomain\n", "an Unbound configuration"),
        ("create x hash:ip\nadd x 93.184.216.34\n", "a firewall's or web server's configuration"),
        ("rule Evil\n{\n  strings:\n    $a = \"x\"\n  condition:\n    $a\n}\n", "a set of YARA rules"),
        ("- name: Evil\n  type: spy\n  websites:\n  - evil.com\n  - evil.net\n", "a YAML document"),
        (
            "package x\n\nimport (\n\t\"testing\"\n)\n\nfunc Test(t *testing.T) {\n\turl: \"http://evil.com/\",\n}\n",
            "the source of a program",
        ),
        ("dataset = x\n| filter a = 1\n| fields a\n", "a query of a hunting tool"),
        ("// ===BEGIN ICANN DOMAINS===\nac\ncom.ac\n", "the public suffix list"),
        ("com.evil.app\ncom.evil.two.chrome\n", "a list of the names of programs (Android packages)"),
        ("= Evil -- Indicators\n\n----\nevil.com\n----\n", "a report in AsciiDoc"),
        ("# Evil\n\nThis repository contains indicators of public reports.\n", "a text, not a list"),
    ] {
        assert_eq!(refused(text.as_bytes()), what, "{text}");
    }
    for (bytes, what) in [
        (&b"MZ\x90\0"[..], "a Windows program"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\xff\xfea\0", "UTF-16 text"),
        (b"SQLite format 3\0\x10\0", "an SQLite database (the NSRL is published as one since version 3)"),
    ] {
        assert_eq!(refused(bytes), what);
    }
}

#[test]
fn what_only_its_name_gives_away() {
    let list = format!("{}:4096:Evil.Agent\n", "0a".repeat(16));
    let read = |name| try_collect(list.as_bytes(), name, None, &options());
    assert!(matches!(read("x.imp"), Err(FeedError::Refused(refusal)) if refusal.what.contains("import table")));
    assert_eq!(read("x.hdb").unwrap().1.records, 1);
}

#[test]
fn json_that_nobody_knows_is_no_list() {
    let json = "a JSON document without indicators in a form that is known";
    for text in [
        "{\n  \"domains\": [\n\"evil.com\",\n\"evil.net\"\n]\n}\n",
        "[\n\"http://evil.com/\",\n\"http://evil.net/\"\n]",
        "{\"host\": \"evil.com\"}\n{\"host\": \"evil.net\"}\n",
        "{}",
    ] {
        assert_eq!(refused(text.as_bytes()), json, "{text}");
    }
}

#[test]
fn lists_that_read_like_something_else_are_read() {
    let hash = "0a".repeat(32);
    for text in [
        // Sentences for names, in a table and in a generic list.
        format!("sha256,name\n{hash},This is what we found on the first day.\n{hash},And that on the second day.\n"),
        format!("{hash};import of the first kind that we have seen, it is bad;\n").repeat(3),
        // Words of programs in the first column, empty cells at the end.
        format!("name,sha256,,\nimport x,{hash},,\nfrom y,{hash},,\nuse z,{hash},,\n"),
        format!("{hash} null\n").repeat(4),
        format!("== Hashes ==\n{hash}\n== Domains ==\nevil.com\n"),
        format!("[hashes]\n{hash}\n[domains]\nevil.com\n"),
    ] {
        let read = try_collect(text.as_bytes(), "x", None, &options());
        assert!(read.as_ref().is_ok_and(|(listings, _)| listings.len() >= 2), "{read:?} for {text}");
    }
}

#[test]
fn every_refusal_says_what_to_do() {
    let error = try_collect(b"SQLite format 3\0", "x", None, &options()).unwrap_err().to_string();
    assert!(error.contains("sqlite3 FILE -csv"), "{error}");
}
