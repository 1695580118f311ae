//! What must not happen: a digest or an address from a comment, a description or another column becomes a record.

use super::super::{
    FeedError, Format, Outcome,
    testing::{collect, options, try_collect},
};

fn listed(text: &str) -> Vec<String> {
    collect(text.as_bytes(), "list.txt", Some(Format::IocList)).0
}

/// The outcome and reason of the only row.
fn refused(text: &str) -> (Outcome, String) {
    let (listings, report) = collect(text.as_bytes(), "list.txt", Some(Format::IocList));
    assert_eq!(listings, Vec::<String>::new(), "{text}");
    let refusal = &report.refusals[0];
    (refusal.outcome, refusal.reason.clone())
}

const MD5: &str = "0123456789abcdef0123456789abcde1";
const SHA1: &str = "0123456789abcdef0123456789abcdef01234562";
const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde3";

#[test]
fn hashes_with_names() {
    for (row, expected) in [
        (MD5.to_string(), format!("md5:{MD5} malware")),
        (MD5.to_uppercase(), format!("md5:{MD5} malware")),
        (format!("{SHA1};Evil; by Group - x.exe"), format!("sha1:{SHA1} malware \"Evil; by Group - x.exe\"")),
        (format!("{SHA256}  invoice one.doc"), format!("sha256:{SHA256} malware \"invoice one.doc\"")),
        (format!("{SHA256} - Счёт.zip"), format!("sha256:{SHA256} malware \"Счёт.zip\"")),
        (format!("- {SHA256} (initial)"), format!("sha256:{SHA256} malware \"(initial)\"")),
        (format!("\t{SHA256}\u{a0}\u{a0} C:\\x.dat"), format!("sha256:{SHA256} malware \"C:\\\\x.dat\"")),
        (format!("{SHA256},Trojan.X,12"), format!("sha256:{SHA256} malware \"Trojan.X\"")),
        (format!("{SHA256},N/A"), format!("sha256:{SHA256} malware")),
        (format!("Trojan.X:{SHA256}"), format!("sha256:{SHA256} malware \"Trojan.X\"")),
        (format!("Big Family: {SHA256}"), format!("sha256:{SHA256} malware \"Big Family\"")),
        (format!("SHA256: {SHA256}"), format!("sha256:{SHA256} malware")),
        (format!("- MD5 hash: {MD5}"), format!("md5:{MD5} malware")),
        (format!("md5:{MD5}"), format!("md5:{MD5} malware")),
        (format!("MD5,{MD5},TURNIP"), format!("md5:{MD5} malware \"TURNIP\"")),
        (
            format!("2018-03-25 -- {SHA256} -- 924,672 bytes"),
            format!("sha256:{SHA256} malware at 2018-03-25T00:00:00Z"),
        ),
        (format!("2017-06-13 12:19:42,{SHA256}"), format!("sha256:{SHA256} malware at 2017-06-13T12:19:42Z")),
        (format!("| `{SHA1}` | Win32/Evil.A |"), format!("sha1:{SHA1} malware \"Win32/Evil.A\"")),
        (format!("\"{MD5}\",\"Evil\""), format!("md5:{MD5} malware \"Evil\"")),
        (format!("{MD5} # from a friend"), format!("md5:{MD5} malware \"from a friend\"")),
    ] {
        assert_eq!(listed(&row), [expected], "{row}");
    }
}

#[test]
fn addresses() {
    for (row, expected) in [
        ("evil.com", "domain:evil.com malicious-address"),
        ("evil[.]com:8080", "domain:evil.com malicious-address port 8080"),
        ("- evil[.]com - 93.184.216[.]34", "domain:evil.com malicious-address"),
        ("http://evil.com/a", "exact:evil.com/a malicious-address"),
        ("evil[.]com/gate.php", "exact:evil.com/gate.php malicious-address"),
        (
            "hxxps://evil[.]com/a,2017-07-27 06:20:28,ab",
            "exact:evil.com/a malicious-address \"ab\" at 2017-07-27T06:20:28Z",
        ),
        ("http://evil.com/a,b;c", "exact:evil.com/a,b;c malicious-address"),
        ("93.184.216.34:443", "ipv4:93.184.216.34 malicious-address port 443"),
        ("93.184.216[.]34 port 443 - evil[.]com - HTTPS", "ipv4:93.184.216.34 malicious-address"),
        ("93.184.216.34 # scanner.example", "ipv4:93.184.216.34 malicious-address \"scanner.example\""),
        ("93.184.216.0/24", "ipv4:93.184.216.0/24 malicious-address"),
        ("2017-08-02 16:28:51,api.evil.com", "domain:api.evil.com malicious-address at 2017-08-02T16:28:51Z"),
        (
            "2018-03-25 -- x__1.exe -- 93[.]184[.]216[.]34/a?b=c",
            "exact:93.184.216.34/a?b=c malicious-address at 2018-03-25T00:00:00Z",
        ),
        ("evil.co.za", "domain:evil.co.za malicious-address"),
        ("Domain,evil.com,", "domain:evil.com malicious-address"),
        ("evil.com,Fraud", "domain:evil.com malicious-address \"Fraud\""),
        (
            "- File location: hxxp://evil[.]com/x.rar (encrypted)",
            "exact:evil.com/x.rar malicious-address \"(encrypted)\"",
        ),
    ] {
        assert_eq!(listed(row), [expected], "{row}");
    }
}

#[test]
fn only_the_key_counts() {
    for text in [
        format!("# {MD5}\n"),
        format!("// see https://report.com/{SHA256}\n"),
        "port 443 - support.apple.com".into(),
        "- port 80 - www.good.com - GET /a".into(),
        "Reference: https://report.com/a".into(),
        "microsoft.com is where it checks for a connection".into(),
        "Received: from mail.com ([93.184.216.34])".into(),
        "From: Some One <one@evil[.]com>".into(),
        "The loader (see evil.com) is new".into(),
        "regsvr32.exe [filename]".into(),
        "- malspam --> zip --> doc --> DLL".into(),
        "invoice.doc".into(),
        "2021-03-25 - 1-661-501-2041".into(),
    ] {
        assert_eq!(listed(&text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(listed(&format!("{MD5};same as {SHA1}, from evil.com")).len(), 1);
}

#[test]
fn endings_of_files_are_hosts_among_hosts() {
    assert_eq!(listed("x.zip\nbins.sh\n"), Vec::<String>::new());
    assert_eq!(listed("evil.com\nbins.sh\n").len(), 2);
    assert_eq!(listed("Domains:\nevil.py\n"), ["domain:evil.py malicious-address"]);
    assert_eq!(listed("domain,evil.py\n"), ["domain:evil.py malicious-address"]);
    assert_eq!(listed("File names\nevil.py\n"), Vec::<String>::new());
    assert_eq!(listed(&format!("evil.com\n{MD5}\nevil.sh\n")).len(), 2);
    assert_eq!(listed("evil[.]zip\nwww.evil.sh\nevil.py:80\n").len(), 3);
}

#[test]
fn digests_of_other_things() {
    for (text, what) in [
        (format!("imphash: {MD5}"), "an import hash"),
        (format!("Import hash: {MD5}"), "an import hash"),
        (format!("{MD5} (imphash)"), "an import hash"),
        (format!("{MD5},ja3"), "a JA3 fingerprint"),
        (format!("ja3:{MD5}"), "a JA3 fingerprint"),
        (format!("Authentihash {SHA256}"), "an Authenticode hash"),
        (format!("Certificate serial: {MD5}"), "a certificate's serial number"),
        ("a".repeat(128), "a SHA-512 digest"),
        ("/gate.php".into(), "a path without a host"),
        ("2400:6180:0:d0::1008:2001 # scanner".into(), "an IPv6 address"),
        ("backdates[0-9]{1,2}\\.(com|net)".into(), "a regular expression"),
        ("someone@evil.com".into(), "a mail address"),
        ("- C:\\ProgramData\\x.dat".into(), "a path or registry key of a machine"),
        ("- GET /a/b.php?l=c.cab".into(), "a path without a host"),
    ] {
        assert_eq!(refused(&text), (Outcome::Unsupported, what.into()), "{text}");
    }
}

#[test]
fn sections_and_columns_of_other_digests() {
    let text = format!("Imphashes\n\n{MD5}\n\nSHA256 hashes\n\n{SHA256}\n");
    assert_eq!(listed(&text), [format!("sha256:{SHA256} malware")]);
    let text = format!("| Imphash | SHA-1 | Name |\n|---|---|---|\n| {MD5} | {SHA1} | Evil |\n");
    assert_eq!(listed(&text), [format!("sha1:{SHA1} malware")]);
    let text = format!("# imphash;sha256\n{MD5};{SHA256}\n");
    assert_eq!(listed(&text), [format!("sha256:{SHA256} malware")]);
    let text = format!("# imphash;comment\n{MD5};Evil\n");
    assert_eq!(refused(&text), (Outcome::Unsupported, "an import hash".into()));
}

#[test]
fn broken_indicators_are_rejected() {
    for text in [
        "185.55..243.110".to_string(),
        "300.1.2.3".into(),
        "evil\u{200b}.com".into(),
        MD5[1..].to_string(),
        format!("{MD5}0"),
        "93.184.216.34:99999".into(),
        "93.184.216.34/24".into(),
    ] {
        let (outcome, reason) = refused(&text);
        assert_eq!(outcome, Outcome::Rejected, "{text}: {reason}");
        assert!(!reason.contains("sentence"), "{text}: {reason}");
    }
}

#[test]
fn what_the_list_calls_legitimate_is_withheld() {
    assert_eq!(refused("- good.com - legitimate site").0, Outcome::Withheld);
    assert_eq!(refused(&format!("{MD5} (legit)")).0, Outcome::Withheld);
    assert_eq!(refused(&format!("{MD5};false positive")).0, Outcome::Withheld);
    assert_eq!(refused(&format!("Legitimate executable: {MD5}")).0, Outcome::Withheld);
    assert_eq!(listed(&format!("{MD5};Tool that looks legit")).len(), 1);
    let text = "TRAFFIC TO LEGITIMATE DOMAINS:\n\n- good[.]com\n\nDOMAINS:\n\n- evil[.]com\n";
    assert_eq!(listed(text), ["domain:evil.com malicious-address"]);
}

#[test]
fn headings_give_the_type_of_addresses() {
    assert_eq!(listed("# C2 servers\nevil.com\n"), ["domain:evil.com botnet-cc"]);
    assert_eq!(listed("# OpenPhish\nhttp://evil.com/\n"), ["exact:evil.com/ phishing"]);
    assert_eq!(listed("# abuse.ch URLhaus\nhttp://evil.com/a\n"), ["exact:evil.com/a malware"]);
    assert_eq!(listed(&format!("# C2 servers\n{MD5}\n")), [format!("md5:{MD5} malware")]);
}

#[test]
fn lists_are_told_from_prose() {
    let detected = |text: &str| match try_collect(text.as_bytes(), "x", None, &options()) {
        Ok((_, report)) => Some(report.format),
        Err(FeedError::UnknownFormat { .. } | FeedError::Refused(_)) => None,
        Err(e) => panic!("{e}"),
    };
    let appendix =
        format!("APPENDIX B:\n\n2 FILE HASHES OF THE LOADER\n\n{SHA256}\n{SHA1}\n\nRUN METHOD:\n\n- x.exe [a]\n");
    assert_eq!(detected(&appendix), Some(Format::IocList));
    assert_eq!(detected(""), Some(Format::IocList));
    assert_eq!(detected("# only a comment\n\n"), Some(Format::IocList));
    let prose =
        format!("We looked at it.\nIt is bad.\nIts hash is {MD5}.\nThe end of\nthe report.\nSee evil.com for more.\n");
    assert_eq!(detected(&prose), None);
    assert_eq!(detected(&"invoice.doc\n".repeat(9)), None);
}

#[test]
fn every_row_is_accounted_for() {
    let text = format!(
        "\u{feff}APPENDIX\r\n\r\n{SHA256}\r\n,,,\r\n-----\r\n```\r\nSHA256\r\n/a\r\n{MD5}0\r\ncaf\u{e9} bar\r\n"
    );
    let mut bytes = text.into_bytes();
    bytes.extend(b"caf\xe9.com\r\n");
    let (listings, report) = collect(&bytes, "x", Some(Format::IocList));
    assert_eq!(listings[0], format!("sha256:{SHA256} malware"));
    assert_eq!((report.rows, report.records, report.unsupported, report.rejected), (6, 2, 1, 3), "{report:?}");
}

#[test]
fn comments_that_mention_goodness_are_names() {
    for comment in [
        "trojanized legit app",
        "Fake legit Zoom installer with Lumma",
        "not legitimate: Emotet",
        "(legit, abused)",
        "drops a clean file",
    ] {
        assert_eq!(listed(&format!("{MD5} {comment}")), [format!("md5:{MD5} malware {comment:?}")]);
        assert_eq!(listed(&format!("{MD5};{comment}")), [format!("md5:{MD5} malware {comment:?}")]);
    }
}

#[test]
fn good_headings_withhold_up_to_the_next_heading() {
    let text =
        "LEGITIMATE DOMAINS USED FOR CONNECTIVITY CHECKS DURING C2 TRAFFIC:\n- google.com\n\nC2 DOMAINS:\n- evil.com\n";
    let (entries, report) = collect(text.as_bytes(), "x", None);
    assert_eq!(entries, ["domain:evil.com malicious-address"]);
    assert_eq!(report.withheld, 1);
    let title = format!("# Known good hashes\n\n{MD5}\n\n# Tools\n\n{SHA1}\n");
    assert_eq!(listed(&title), Vec::<String>::new());
    let abused = "DOMAINS OF ABUSED LEGITIMATE SERVICES:\n- evil.com\n";
    assert_eq!(listed(abused).len(), 1);
}

#[test]
fn links_are_no_indicators() {
    let text = "INDICATORS:\n\n- evil[.]com\n- hxxp://evil[.]com/a\n\nREFERENCES:\n\n- https://report.com/a\n- blog.report.com\n";
    let (entries, report) = collect(text.as_bytes(), "x", Some(Format::IocList));
    assert_eq!(entries.len(), 2, "{entries:?}");
    assert_eq!(report.withheld, 2);
    assert!(report.reasons.keys().any(|(_, reason)| reason.contains("link")), "{report:?}");
    let mut text = "evil0[.]com\n".to_owned();
    (1..12).for_each(|at| text += &format!("evil{at}[.]com\n"));
    text += "https://report.com/a\n";
    let (entries, report) = collect(text.as_bytes(), "x", Some(Format::IocList));
    assert_eq!((entries.len(), report.withheld), (12, 1));
    for row in
        ["Source: https://report.com/a", "Read more - https://report.com/a", "Credit to @somebody https://x.com/a"]
    {
        assert_eq!(refused(row).0, Outcome::Withheld, "{row}");
    }
    // A plain list of addresses is not one of links.
    assert_eq!(listed("# Sources\nhttp://evil.com/a\nhttp://evil.com/b\n").len(), 2);
}

#[test]
fn all_indicators_of_a_row_count_up_to_the_first_other_word() {
    let hashes: Vec<_> = (0..47).map(|at| format!("{at:064x}")).map(|hex| hex.replacen("0000", "ab12", 1)).collect();
    assert_eq!(listed(&hashes.join(" ")).len(), 47);
    assert_eq!(listed(&hashes.join(",")).len(), 47);
    let row = format!("{SHA256};{SHA1};{MD5};Evil");
    assert_eq!(
        listed(&row),
        [
            format!("sha256:{SHA256} malware \"Evil\""),
            format!("sha1:{SHA1} malware \"Evil\""),
            format!("md5:{MD5} malware \"Evil\""),
        ]
    );
    assert_eq!(listed("evil.com, 93.184.216.34, hxxp://evil[.]net/a").len(), 3);
    assert_eq!(listed("93.184.216.34 # scanner.com"), ["ipv4:93.184.216.34 malicious-address \"scanner.com\""]);
    assert_eq!(listed("93.184.216.34 #scanner.com"), ["ipv4:93.184.216.34 malicious-address \"scanner.com\""]);
    assert_eq!(listed("93.184.216.34 seen with evil.com").len(), 1);
    // Beside a hash, a name is the file's and a plain address the report's.
    assert_eq!(listed(&format!("{MD5} command.com")), [format!("md5:{MD5} malware \"command.com\"")]);
    assert_eq!(listed(&format!("{MD5} https://report.com/a")).len(), 1);
}

#[test]
fn names_in_front_of_and_after_a_colon() {
    let maldet = format!("{MD5}:{{MD5}}php.cmdshell.unclassed.344");
    assert_eq!(listed(&maldet), [format!("md5:{MD5} malware \"{{MD5}}php.cmdshell.unclassed.344\"")]);
    assert_eq!(listed(&format!("{MD5}:1024:Big Family")), [format!("md5:{MD5} malware \"Big Family\"")]);
}

#[test]
fn comments_of_any_words_follow_every_kind_of_key() {
    for key in ["93.184.216.34", "93.184.216.0/24", "evil.com", "evil[.]com/a", "http://evil.com/a"] {
        for separator in ["; ", ";", ", ", "\t", " "] {
            if key.contains("/a") && separator == ";" {
                continue;
            }
            let entries = listed(&format!("{key}{separator}Some scanner we saw"));
            assert_eq!(entries.len(), 1, "{key}{separator}");
            assert!(entries[0].ends_with("\"Some scanner we saw\""), "{entries:?}");
        }
    }
}

#[test]
fn commas_in_urls_separate_where_nearly_all_rows_have_equal_columns() {
    let columns = "http://evil.com/a,Emotet\nhttp://evil.com/b,Qakbot\nhttp://evil.net/c/d,Lumma\n";
    assert_eq!(listed(columns)[2], "exact:evil.net/c/d malicious-address \"Lumma\"");
    let paths = "http://evil.com/a,b\nhttp://evil.com/c\nhttp://evil.net/d,e,f\n";
    assert_eq!(listed(paths)[2], "exact:evil.net/d,e,f malicious-address");
    assert_eq!(listed("http://evil.com/a;b=1;c=2"), ["exact:evil.com/a;b=1;c=2 malicious-address"]);
}

#[test]
fn plain_lists_of_names_with_endings_of_files() {
    let read = |text: &str| try_collect(text.as_bytes(), "x", None, &options());
    let (entries, _) = read("evil.pl\nsub.evil.rs\nbad.zip\n").unwrap();
    assert_eq!(entries.len(), 3, "{entries:?}");
    let (entries, _) = read("bins.sh\nevil.com\n").unwrap();
    assert_eq!(entries.len(), 2, "{entries:?}");
    let refused = read("evil.zip\nbad.mov\ngate.py\n").unwrap_err().to_string();
    assert!(refused.contains("--format domains"), "{refused}");
    assert_eq!(collect(b"evil.zip\nbad.mov\n", "x", Some(Format::Domains)).0.len(), 2);
    let (entries, _) = read("evil.com\nbad.net\n").unwrap();
    assert_eq!(entries.len(), 2);
    let (entries, _) = read("*.evil.com\n*.bad.zip\n*.bad.pl\n").unwrap();
    assert_eq!(entries[1], "domain:bad.zip malicious-address");
}

#[test]
fn endings_are_refanged_and_queries_kept() {
    assert_eq!(listed("hxxp://evil[.]com/x(.)zip"), ["exact:evil.com/x.zip malicious-address"]);
    assert_eq!(listed("http://evil.com/x(.)zip"), ["exact:evil.com/x.zip malicious-address"]);
    assert_eq!(listed("evil[.]com/a/x[.]php"), ["exact:evil.com/a/x.php malicious-address"]);
    assert_eq!(listed("http://evil.com/a?id=*"), ["exact:evil.com/a?id=* malicious-address"]);
    assert_eq!(listed("evil.com/a?id=*"), ["exact:evil.com/a?id=* malicious-address"]);
}

#[test]
fn certificates_and_prefixed_digests() {
    for (row, expected) in [
        (format!("cert-md5:{MD5}"), format!("cert-md5:{MD5} bad-certificate")),
        (format!("cert-sha1:{SHA1} Some CA"), format!("cert-sha1:{SHA1} bad-certificate \"Some CA\"")),
        (format!("spki-sha256:{SHA256}"), format!("spki-sha256:{SHA256} bad-certificate")),
        (format!("blake3:{SHA256}"), format!("blake3:{SHA256} malware")),
        (format!("Thumbprint: {SHA1}"), format!("cert-sha1:{SHA1} bad-certificate")),
        (format!("CERTIFICATES:\n- {SHA1}"), format!("cert-sha1:{SHA1} bad-certificate")),
        (format!("x509-fingerprint-sha1,{SHA1}"), format!("cert-sha1:{SHA1} bad-certificate")),
    ] {
        assert_eq!(listed(&row), [expected], "{row}");
    }
}

#[test]
fn a_cut_hash_is_one_of_the_wrong_length() {
    let (outcome, reason) = refused("deadbeef;somebody cut a line");
    assert_eq!(outcome, Outcome::Rejected);
    assert!(reason.contains("wrong length") && reason.contains("found 8"), "{reason}");
}

#[test]
fn an_underlined_heading_withholds_its_section() {
    let text = "C2\n--\nevil.com\n\nLEGITIMATE DOMAINS\n------------------\ngoogle.com\n```\ngood.com\n```\n";
    assert_eq!(listed(text), ["domain:evil.com malicious-address"]);
}

#[test]
fn words_for_types_may_stand_before_an_indicator() {
    for (row, expected) in [
        ("ip_address: 93.184.216.34".to_owned(), "ipv4:93.184.216.34 malicious-address".to_owned()),
        ("ipaddress,93.184.216.34".into(), "ipv4:93.184.216.34 malicious-address".into()),
        ("ipv4-addr 93.184.216.34".into(), "ipv4:93.184.216.34 malicious-address".into()),
        ("domain-name: evil.py".into(), "domain:evil.py malicious-address".into()),
        (format!("FileHash-SHA256,{SHA256}"), format!("sha256:{SHA256} malware")),
        (format!("filehash-md5 {MD5}"), format!("md5:{MD5} malware")),
    ] {
        assert_eq!(listed(&row), [expected], "{row}");
    }
}

#[test]
fn a_line_of_type_words_ends_a_good_section_after_a_comment() {
    let text = "BENIGN DOMAINS:\ngoogle.com\n# next\nDOMAINS:\nevil.com\n";
    assert_eq!(listed(text), ["domain:evil.com malicious-address"]);
}
