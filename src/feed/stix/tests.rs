use super::*;
use crate::feed::{Report, testing};

fn sha256() -> String {
    "0123456789abcdef".repeat(4)
}

fn indicator(pattern: &str, more: &str) -> String {
    let pattern = pattern.replace('\\', r"\\").replace('"', "\\\"");
    format!(r#"{{"type": "indicator", "id": "indicator--1", "pattern": "{pattern}"{more}}}"#)
}

fn bundle(objects: &[String]) -> String {
    format!(r#"{{"type": "bundle", "id": "bundle--1", "objects": [{}]}}"#, objects.join(","))
}

fn read_text(document: &str) -> (Vec<String>, Report) {
    testing::collect(document.as_bytes(), "x.json", None)
}

fn listed(pattern: &str) -> Vec<String> {
    read_text(&bundle(&[indicator(pattern, "")])).0
}

#[test]
fn values_that_patterns_list() {
    let (md5, sha1, sha256) = ("ab".repeat(16), "AB".repeat(20), sha256());
    for spelling in ["sha256", "SHA256", "'SHA-256'", "\"SHA-256\"", "SHA-256"] {
        assert_eq!(
            listed(&format!("[file:hashes.{spelling} = '{sha256}']")),
            [format!("sha256:{sha256} malware")],
            "{spelling}"
        );
    }
    assert_eq!(listed(&format!("[file:hashes.MD5='{md5}']")), [format!("md5:{md5} malware")]);
    let sha1_lower = sha1.to_lowercase();
    for path in ["x509-certificate:hashes.'SHA-1'", "app:cert.sha1"] {
        assert_eq!(listed(&format!("[{path} = '{sha1}']")), [format!("cert-sha1:{sha1_lower} bad-certificate")]);
    }
    assert_eq!(listed("[url:value = 'http://bad.example:81/a']"), ["exact:bad.example/a malicious-address port 81"]);
    assert_eq!(listed("[domain-name:value = 'bad.example']"), ["domain:bad.example malicious-address"]);
    for pattern in ["[ipv4-addr:value ISSUBSET '203.0.112.0/24']", "[ipv4-addr:value = '203.0.112.0/24']"] {
        assert_eq!(listed(pattern), ["ipv4:203.0.112.0/24 malicious-address"]);
    }
    assert_eq!(listed("[network-traffic:dst_ref.value = '8.8.4.4']"), ["ipv4:8.8.4.4 malicious-address"]);
    assert_eq!(
        listed("[domain-name:value = 'a.example' OR url:value = 'b.example/x'] OR [ipv4-addr:value = '8.8.4.4']").len(),
        3
    );
}

#[test]
fn narrowing_and_negation_are_withheld() {
    for (pattern, more) in [
        ("[domain-name:value = 'a.example' AND ipv4-addr:value = '8.8.4.4']", ""),
        ("[domain-name:value != 'a.example']", ""),
        ("[domain-name:value NOT = 'a.example']", ""),
        ("[url:value LIKE '%a.example%']", ""),
        ("[url:value MATCHES '^http']", ""),
        ("[domain-name:value = 'a.example'] FOLLOWEDBY [domain-name:value = 'b.example']", ""),
        ("[domain-name:value = 'a.example']", r#", "revoked": true"#),
        ("[domain-name:value = 'a.example']", r#", "indicator_types": ["benign"]"#),
        ("[domain-name:value = 'a.example']", r#", "labels": ["Benign"]"#),
        ("[domain-name:value = 'a.example']", r#", "valid_until": "2026-11-22T00:00:00.000Z""#),
    ] {
        let (_, report) = read_text(&bundle(&[indicator(pattern, more)]));
        assert_eq!((report.records, report.withheld), (0, 1), "{pattern} {more}");
    }
}

#[test]
fn properties_without_keys_are_unsupported() {
    for (pattern, more) in [
        ("[ipv6-addr:value = '2001:db8::1']", ""),
        ("[email-addr:value = 'a@b.example']", ""),
        ("[file:name = 'x.exe']", ""),
        ("[file:size = 5]", ""),
        ("[file:hashes.SSDEEP = '3::']", ""),
        ("[file:extensions.'windows-pebinary-ext'.sections[*].hashes.MD5 = '00']", ""),
        ("[app:id = 'com.example']", ""),
        ("rule a { condition: true }", r#", "pattern_type": "yara""#),
    ] {
        let (_, report) = read_text(&bundle(&[indicator(pattern, more)]));
        assert_eq!((report.records, report.unsupported, report.rejected), (0, 1, 0), "{pattern}");
    }
}

#[test]
fn invalid_elements_affect_only_themselves() {
    let hash = sha256();
    let (entries, report) = read_text(&bundle(&[
        "5".into(),
        r#"{"type": "indicator", "id": "indicator--0"}"#.into(),
        indicator("[file:hashes.MD5 = 5]", ""),
        indicator(&format!("[file:hashes.MD5 = '{hash}']"), ""),
        indicator("[file:hashes.MD5 = ", ""),
        r#"{"type": "file", "id": "file--0", "hashes": {"MD5": "x"}}"#.into(),
        indicator("[domain-name:value = 'a.example']", r#", "labels": {"x": 1}, "confidence": "high", "modified": 5"#),
    ]));
    assert_eq!(entries, ["domain:a.example malicious-address"]);
    assert_eq!((report.rows, report.rejected), (5, 4));
    assert_eq!(report.refusals.iter().map(|r| r.line).collect::<Vec<_>>(), [2, 3, 4, 5]);
}

#[test]
fn names_types_and_times() {
    let objects = [
        r#"{"type": "malware", "id": "malware--1", "name": "Family"}"#.to_owned(),
        r#"{"type": "relationship", "id": "relationship--1", "relationship_type": "indicates",
            "source_ref": "indicator--1", "target_ref": "malware--1"}"#
            .to_owned(),
        indicator(
            "[domain-name:value = 'a.example']",
            r#", "name": "n", "created": "2026-01-01T00:00:00Z", "modified": "2026-01-02T00:00:00.5Z",
              "valid_until": "2027-01-01T00:00:00Z", "kill_chain_phases": [{"phase_name": "Command and Control"}]"#,
        ),
    ];
    assert_eq!(
        read_text(&bundle(&objects)).0,
        ["domain:a.example botnet-cc \"Family\" at 2026-01-02T00:00:00Z until 2027-01-01T00:00:00Z"]
    );
    let named = |more: &str| read_text(&indicator("[domain-name:value = 'a.example']", more)).0;
    assert_eq!(named(r#", "labels": ["phishing", "ExampleKit"]"#), ["domain:a.example phishing \"ExampleKit\""]);
    assert_eq!(named(r#", "labels": ["malicious-activity", "phishing"]"#), ["domain:a.example phishing \"phishing\""]);
    assert_eq!(named(r#", "name": "A thing""#), ["domain:a.example malicious-address \"A thing\""]);
    assert_eq!(named(r#", "name": "FQDN a.example""#), ["domain:a.example malicious-address"]);
    let report = r#"{"type": "report", "id": "report--1", "name": "A report"}"#.to_owned();
    let objects = [report, indicator("[domain-name:value = 'a.example']", "")];
    assert_eq!(read_text(&bundle(&objects)).0, ["domain:a.example malicious-address \"A report\""]);
}

#[test]
fn only_the_newest_version_counts() {
    let version = |time: &str, more: &str| {
        indicator("[domain-name:value = 'a.example']", &format!(r#", "modified": "2026-01-01T00:00:{time}Z"{more}"#))
    };
    let (entries, report) = read_text(&bundle(&[version("02.5", ""), version("02", ""), version("01", "")]));
    assert_eq!((entries.len(), report.withheld), (1, 2));
    let (entries, report) = read_text(&bundle(&[version("01", ""), version("02", r#", "revoked": true"#)]));
    assert_eq!((entries.len(), report.withheld), (0, 2));
}

#[test]
fn containers() {
    let hash = format!("[file:hashes.MD5 = '{}']", "ab".repeat(16));
    let one = indicator(&hash, "");
    for document in [
        one.clone(),
        format!("[{one}]"),
        format!(r#"{{"more": false, "objects": [{one}]}}"#),
        format!(r#"{{"id": "bundle--1", "objects": [{one}], "spec_version": "2.0", "type": "bundle"}}"#),
        format!("\u{feff}{}", bundle(std::slice::from_ref(&one))),
    ] {
        assert_eq!(read_text(&document).0.len(), 1, "{document}");
    }
    let read = testing::try_collect(br#"{"type": "bundle", "objects": [{"#, "", None, &testing::options());
    assert!(matches!(read, Err(FeedError::Malformed { .. })));
}
