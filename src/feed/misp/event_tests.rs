use super::*;
use crate::feed::{Report, testing};

fn md5() -> String {
    "0123456789abcdef".repeat(2)
}

fn sha1() -> String {
    "01234567".repeat(5)
}

fn sha256() -> String {
    "0123456789abcdef".repeat(4)
}

fn attribute(kind: &str, value: &str, more: &str) -> String {
    format!(r#"{{"type": "{kind}", "value": "{value}", "category": "Network activity", "to_ids": true{more}}}"#)
}

fn event(attributes: &[String]) -> String {
    format!(r#"{{"Event": {{"info": "An event", "Attribute": [{}]}}}}"#, attributes.join(","))
}

fn read_text(document: &str) -> (Vec<String>, Report) {
    testing::collect(document.as_bytes(), "x.json", None)
}

#[test]
fn attributes_by_type() {
    let (md5, sha1, sha256) = (md5(), sha1(), sha256());
    let (entries, report) = read_text(&event(&[
        attribute("md5", &md5.to_uppercase(), ""),
        attribute("sha256", &sha256, r#", "timestamp": "1755989538""#),
        attribute("filename|sha1", &format!("a|b.exe|{sha1}"), ""),
        attribute("malware-sample", &format!("b.exe|{md5}"), ""),
        attribute("x509-fingerprint-sha1", &sha1, ""),
        attribute("url", "hxxp://bad[.]example:8080/a", ""),
        attribute("domain", "bad.example", ""),
        attribute("hostname", "www.bad.example", ""),
        attribute("domain|ip", "bad.example|198.18.0.1", ""),
        attribute("ip-dst", "203.0.112.0/24", ""),
        attribute("ip-dst|port", "8.8.4.4|443", r#", "category": "Payload delivery""#),
    ]));
    assert_eq!(
        entries,
        [
            format!("md5:{md5} malware \"An event\""),
            format!("sha256:{sha256} malware \"An event\" at 2025-08-23T22:52:18Z"),
            format!("sha1:{sha1} malware \"An event\""),
            format!("md5:{md5} malware \"An event\""),
            format!("cert-sha1:{sha1} bad-certificate \"An event\""),
            "exact:bad.example/a malicious-address \"An event\" port 8080".into(),
            "domain:bad.example malicious-address \"An event\"".into(),
            "host:www.bad.example malicious-address \"An event\"".into(),
            "domain:bad.example malicious-address \"An event\"".into(),
            "ipv4:203.0.112.0/24 malicious-address \"An event\"".into(),
            "ipv4:8.8.4.4 malware \"An event\" port 443".into(),
        ]
    );
    // The address of `domain|ip` is a benchmarking address.
    assert_eq!((report.rows, report.withheld, report.rejected), (11, 1, 0));
}

#[test]
fn attributes_not_for_detection_are_withheld() {
    let (_, report) = read_text(&event(&[
        attribute("md5", &md5(), r#", "to_ids": false"#),
        attribute("md5", &md5(), r#", "to_ids": "0""#),
        attribute("md5", &md5(), r#", "deleted": true"#),
        attribute("md5", &md5(), r#", "deleted": "1""#),
        r#"{"type": "domain", "value": "bad.example"}"#.into(),
    ]));
    assert_eq!((report.records, report.withheld), (0, 5));
    let object = format!(
        r#"{{"Event": {{"info": "", "Object": [{{"Attribute": [{}], "deleted": true}}]}}}}"#,
        attribute("md5", &md5(), "")
    );
    assert_eq!(read_text(&object).1.withheld, 1);
}

#[test]
fn other_hashes_are_unsupported() {
    let (md5, sha256) = (md5(), sha256());
    let kinds = [
        "imphash",
        "filename|imphash",
        "authentihash",
        "ja3-fingerprint-md5",
        "pehash",
        "impfuzzy",
        "tlsh",
        "hassh-md5",
    ];
    let mut attributes: Vec<_> = kinds.iter().map(|kind| attribute(kind, &md5, "")).collect();
    attributes.push(attribute("sha512/256", &sha256, ""));
    attributes.push(attribute("email-src", "a@b.example", ""));
    attributes.push(attribute("uri", "/a", ""));
    let (entries, report) = read_text(&event(&attributes));
    assert!(entries.is_empty());
    assert_eq!(report.unsupported, report.rows);
}

#[test]
fn objects_determine_the_kind_of_their_hashes() {
    let hash = attribute("sha1", &sha1(), "");
    let certificate = attribute("sha1", &sha1(), r#", "object_relation": "certificate""#);
    let name = r#"{"type": "text", "value": "An app", "object_relation": "name", "to_ids": false}"#;
    let document = format!(
        r#"{{"uuid": "x", "info": "i", "Object": [
            {{"name": "pe-section", "Attribute": [{hash}]}},
            {{"name": "android-app", "Attribute": [{certificate}, {name}]}},
            {{"name": "x509", "Attribute": [{hash}]}},
            {{"name": "file", "Attribute": [{hash}]}}, 7]}}"#
    );
    let (entries, report) = read_text(&document);
    assert_eq!(
        entries,
        [
            format!("cert-sha1:{} bad-certificate \"An app\"", sha1()),
            format!("cert-sha1:{} bad-certificate \"i\"", sha1()),
            format!("sha1:{} malware \"i\"", sha1()),
        ]
    );
    assert_eq!((report.rows, report.unsupported, report.rejected), (6, 2, 1));
}

#[test]
fn names_and_types_come_from_tags() {
    let tagged = |tags: &[&str]| {
        let tags: Vec<_> = tags.iter().map(|tag| format!(r#"{{"name": "{tag}"}}"#)).collect();
        attribute("domain", "bad.example", &format!(r#", "Tag": [{}]"#, tags.join(",")))
    };
    let document = format!(
        r#"{{"response": [{{"Event": {{"Attribute": [{}, {}, {}], "info": "one", "Tag": [{{"name": "phishing"}}]}}}},
            {{"Event": {{"Attribute": [{}], "info": "two",
              "Galaxy": [{{"type": "malpedia", "GalaxyCluster": [{{"value": "Family"}}]}}]}}}}]}}"#,
        tagged(&["C2", "ExampleRat"]),
        tagged(&["malware", "tlp:clear"]),
        tagged(&[]),
        tagged(&["misp-galaxy:threat-actor=x"]),
    );
    assert_eq!(
        read_text(&document).0,
        [
            "domain:bad.example botnet-cc \"ExampleRat\"",
            "domain:bad.example malware \"one\"",
            "domain:bad.example phishing \"one\"",
            "domain:bad.example malicious-address \"Family\"",
        ]
    );
}

#[test]
fn invalid_elements_affect_only_themselves() {
    let (entries, report) = read_text(&event(&[
        "null".into(),
        "[]".into(),
        r#"{"type": 5, "value": "x"}"#.into(),
        r#"{"type": "md5", "value": ["x"], "to_ids": true}"#.into(),
        attribute("md5", &sha1(), ""),
        attribute("filename|md5", &md5(), ""),
        attribute("url", "http://", ""),
        attribute("domain", "bad.example", r#", "Tag": {"name": 1}, "Galaxy": [[1]], "timestamp": {}"#),
    ]));
    assert_eq!(entries.len(), 1);
    assert_eq!((report.rows, report.rejected), (8, 7));
    assert_eq!(report.refusals.iter().map(|r| r.line).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn value_hashes_are_refused() {
    let line = format!("{},5a68ab4e-0ba0-4a3e-8d4f-111122223333\r\n", md5());
    for format in [None, Some(Format::MispEvent)] {
        let error =
            testing::try_collect(line.repeat(3).as_bytes(), "hashes.csv", format, &testing::options()).unwrap_err();
        assert!(error.to_string().contains("values of attributes"), "{error}");
    }
}

#[test]
fn malformed_documents_are_errors() {
    for document in ["", "{\"Event\": ", "{\"Event\": {\"Attribute\": [{]}}", "x"] {
        let read = testing::try_collect(document.as_bytes(), "", Some(Format::MispEvent), &testing::options());
        assert!(matches!(read, Err(FeedError::Malformed { .. })), "{document}");
    }
}
