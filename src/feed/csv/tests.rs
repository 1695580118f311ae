//! Prevents values of one column from being read as those of another, and rows from being lost between batches.

use crate::feed::{CsvColumn, FeedError, Format, Report, column_content::Content, testing::*};

const TIME: &str = "2025-04-21 12:35:06";

/// Each known format: its header and two rows.
fn feeds() -> Vec<(Format, Vec<Vec<String>>)> {
    let feed = |text: String| text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect();
    let (md5, sha1, sha256) = ("0a".repeat(16), "0b".repeat(20), "0c".repeat(32));
    let (md5_b, sha1_b, sha256_b) = ("1a".repeat(16), "1b".repeat(20), "1c".repeat(32));
    vec![
        (
            Format::Urlhaus,
            feed(format!(
                "id|dateadded|url|url_status|last_online|threat|tags|urlhaus_link|reporter\n\
                 7|{TIME}|http://a.example.com/a,b|online|2025-04-22 12:00:00|malware_download|elf,Mozi|\
                 https://urlhaus.abuse.ch/url/7/|x\n\
                 8|{TIME}|http://b.example.com/|offline||malware_download|None|https://urlhaus.abuse.ch/url/8/|y"
            )),
        ),
        (
            Format::MalwareBazaar,
            feed(format!(
                "first_seen_utc|sha256_hash|md5_hash|sha1_hash|reporter|file_name|signature|clamav|imphash\n\
                 {TIME}|{sha256}|{md5}|{sha1}|x|y.exe|Family|n/a|{md5_b}\n\
                 {TIME}|{sha256_b}|n/a|{sha1_b}|x|z.exe|n/a|Win.Trojan.X-1-0|n/a"
            )),
        ),
        (
            Format::ThreatFoxCsv,
            feed(format!(
                "first_seen_utc|ioc_id|ioc_value|ioc_type|threat_type|fk_malware|malware_alias|malware_printable|\
                 last_seen_utc|confidence_level|reference|tags\n\
                 {TIME}|1|http://a.example.com/|url|payload_delivery|win.x|None|Family|{TIME}|75|http://r.example.com/|a\n\
                 {TIME}|2|9.9.9.9:443|ip:port|botnet_cc|win.x|None|None||50||b"
            )),
        ),
        (
            Format::PhishTank,
            feed(format!(
                "phish_id|url|phish_detail_url|submission_time|verified|verification_time|online|target\n\
                 11|http://a.example.com/|http://www.phishtank.com/phish_detail.php?phish_id=11|{TIME}|yes|{TIME}|yes|Bank\n\
                 12|http://b.example.com/|http://www.phishtank.com/phish_detail.php?phish_id=12|{TIME}|no||yes|Other"
            )),
        ),
        (
            Format::Feodo,
            feed(format!(
                "first_seen_utc|dst_ip|dst_port|c2_status|last_online|malware\n\
                 {TIME}|9.9.9.9|443|online|2025-04-22|Family\n{TIME}|9.9.9.10|80|offline|2025-04-23|Other"
            )),
        ),
        (
            Format::Sslbl,
            feed(format!(
                "Listingdate|SHA1|Listingreason\n{TIME}|{sha1}|Family C&C, second\n{TIME}|{sha1_b}|Other C&C"
            )),
        ),
        (Format::SslblIp, feed(format!("Firstseen|DstIP|DstPort\n{TIME}|9.9.9.9|443\n{TIME}|9.9.9.10|80"))),
        (
            Format::Cscb,
            feed(format!(
                "time_stamp_utc|serial_number|thumbprint|thumbprint_algorithm|subject_cn|issuer_cn|valid_from|valid_to|\
                 cscb_reason\n\
                 {TIME}|00e1|{sha256}|SHA256|Some, Inc.|An \"Issuer\"|{TIME}|{TIME}|Family\n\
                 {TIME}|00e2|{sha1}|SHA1|Other|Issuer, Ltd.|{TIME}|{TIME}|Other"
            )),
        ),
        (
            Format::Nsrl,
            feed(format!(
                "SHA-1|MD5|CRC32|FileName|FileSize|ProductCode|OpSystemCode|SpecialCode\n\
                 {sha1}|{md5}|0B0B0B0B|a, b.txt|10|1|358|\n{sha1_b}|{md5_b}|0B0B0B0C|c.exe|11|2|358|M"
            )),
        ),
    ]
}

fn text(rows: &[Vec<String>], order: &[usize]) -> String {
    let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
    let line = |row: &Vec<String>| order.iter().map(|&at| quoted(&row[at])).collect::<Vec<_>>().join(",");
    rows.iter().map(|row| line(row) + "\n").collect()
}

/// Some orders of so many columns: all of three, and else the reverse, all rotations and a few others.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 3 {
        return [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].map(Vec::from).to_vec();
    }
    let rotated = |by: usize| (0..count).map(|at| (at + by) % count).collect::<Vec<_>>();
    let strides = [5, 7, 11].into_iter().filter(|&stride| !count.is_multiple_of(stride));
    let strided = |stride: usize| (0..count).map(|at| at * stride % count).collect::<Vec<_>>();
    (0..count).map(rotated).chain([(0..count).rev().collect()]).chain(strides.map(strided)).collect()
}

fn sorted((mut entries, report): (Vec<String>, Report)) -> (Vec<String>, u64) {
    entries.sort();
    (entries, report.withheld)
}

#[test]
fn permuted_columns_with_their_header_give_the_same_records() {
    for (format, rows) in feeds() {
        let expected = sorted(collect(text(&rows, &orders(rows[0].len())[0]).as_bytes(), "", Some(format)));
        assert!(expected.0.len() + expected.1 as usize >= 2, "{format}");
        for order in orders(rows[0].len()) {
            let feed = text(&rows, &order);
            for feed in [feed.clone(), format!("####\n# {feed}")] {
                let (entries, report) = collect(feed.as_bytes(), "", None);
                assert_eq!(report.format, format, "{feed}");
                assert_eq!(sorted((entries, report)), expected, "{feed}");
            }
        }
    }
}

/// The rows of the certificate list in each order, under each header.
#[test]
fn a_header_that_the_rows_contradict_is_not_believed() {
    let (_, rows) = feeds().into_iter().find(|(format, _)| *format == Format::Sslbl).unwrap();
    let expected = sorted(collect(text(&rows, &[0, 1, 2]).as_bytes(), "", None)).0;
    assert!(expected[0].contains("\"Family C&C, second\" at 2025"), "{expected:?}");
    for order in orders(3) {
        for header in orders(3) {
            let feed = format!("# {}{}", text(&rows[..1], &header), text(&rows[1..], &order));
            let (entries, report) = collect(feed.as_bytes(), "", None);
            assert_eq!((report.format, report.rejected), (Format::Sslbl, 0), "{feed}");
            assert_eq!(sorted((entries, report)).0, expected, "{feed}");
        }
        let headless = text(&rows[1..], &order);
        assert_eq!(sorted(collect(headless.as_bytes(), "", Some(Format::Sslbl))).0, expected, "{headless}");
    }
}

#[test]
fn columns_that_cannot_be_told_apart_are_refused_with_the_option_that_names_them() {
    let row = |n: u32| format!("{TIME},{},Family {n}\n", format!("{n:02x}").repeat(16));
    let feed = format!("# Listingdate,SHA1,Listingreason\n{}", (1..30).map(row).collect::<String>());
    for format in [None, Some(Format::Sslbl)] {
        let refused = try_collect(feed.as_bytes(), "", format, &options()).unwrap_err();
        let FeedError::Columns { line, found, columns, .. } = &refused else { panic!("{refused}") };
        assert_eq!((*line, &**columns), (2, "time,certificate,name"));
        assert_eq!(found, "1 (Listingdate) a time, 2 (SHA1) 32 hexadecimal digits, 3 (Listingreason) text");
        assert!(refused.to_string().contains("`--columns time,certificate,name`"), "{refused}");
    }
    let mut options = options();
    options.columns = Some(["time", "certificate", "name"].map(|name| name.parse().unwrap()).to_vec());
    assert_eq!(try_collect(feed.as_bytes(), "", None, &options).unwrap().0.len(), 29);
}

/// A file whose special codes stand elsewhere would be trusted in whole.
#[test]
fn no_file_is_trusted_whose_special_codes_are_not_where_the_header_says() {
    let row = |n: u32| format!("{n:040x},{n:032x},0B0B0B0B,{n}.exe,10,1,358,win,M\n");
    let header = "SHA-1,MD5,CRC32,FileName,FileSize,ProductCode,OpSystemCode,SpecialCode,Other\n";
    let moved = header.to_owned() + &(1..30).map(row).collect::<String>();
    let (entries, report) = collect(moved.as_bytes(), "", None);
    assert_eq!((entries.len(), report.withheld), (0, 29), "found by its content");
    let lost = moved.replace(",M\n", ",x\n");
    let refused = try_collect(lost.as_bytes(), "", None, &options());
    assert!(matches!(refused, Err(FeedError::Columns { .. })), "{refused:?}");
}

#[test]
fn names_of_columns_in_errors_are_those_of_the_option() {
    for (values, expected) in [
        (["0a".repeat(16), "n/a".into()], "hash"),
        (["9.9.9.9".into(), "9.9.9.9:80".into()], "ip"),
        (["http://a.example.com/".into(), "hxxp://b.example.com".into()], "url"),
        (["a.example.com".into(), "b.example.com/x".into()], "key"),
        (["sha256".into(), "URL".into()], "type"),
        ([TIME.into(), "2025-04-21".into()], "time"),
        (["".into(), "None".into()], "-"),
        (["7".into(), "Family".into()], "-"),
    ] {
        let (_, name) = Content::describe(values.iter().map(String::as_str));
        assert_eq!(name, expected, "{values:?}");
        assert!(name.parse::<CsvColumn>().is_ok());
    }
}

#[test]
fn separators_in_free_text_shift_the_columns_after_it_wherever_it_stands() {
    let (hash, other) = ("0a".repeat(20), "0b".repeat(20));
    for feed in [
        format!("# Listingreason,SHA1,Listingdate\nFamily C&C, second,  stage,{hash},{TIME}\nOther,{other},{TIME}\n"),
        format!("# SHA1,Listingreason,Listingdate\n{hash},Family C&C, second,  stage,{TIME}\n{other},Other,{TIME}\n"),
        format!("# SHA1,Listingdate,Listingreason\n{hash},{TIME},Family C&C, second,  stage\n{other},{TIME},Other\n"),
        format!(
            "# SHA1,Listingreason,Listingdate\n{hash},Family C&C, second,  stage,\"{TIME}\"\n{other},Other,{TIME}\n"
        ),
    ] {
        let expected = [(&hash, "Family C&C, second,  stage"), (&other, "Other")]
            .map(|(hash, name)| format!("cert-sha1:{hash} bad-certificate {name:?} at 2025-04-21T12:35:06Z"));
        assert_eq!(collect(feed.as_bytes(), "", None).0, expected, "{feed}");
    }
}

#[test]
fn a_first_row_of_data_is_no_header_and_a_header_is_no_data() {
    let (_, rows) = feeds().into_iter().find(|(format, _)| *format == Format::Sslbl).unwrap();
    let data = text(&rows[1..], &[0, 1, 2]);
    for (header, rejected) in [
        ("", 0),
        ("Date,Fingerprint,Reason\n", 0),
        ("Listing date,SHA-1,Listing reason\n", 0),
        ("2025,xyz,Reason\n", 1),
    ] {
        let (entries, report) = collect((header.to_owned() + &data).as_bytes(), "", Some(Format::Sslbl));
        assert_eq!((entries.len(), report.rejected), (2, rejected), "{header}");
        assert_eq!(report.rows, 2 + rejected);
    }
    // Words of a header in a row of data.
    let feed = format!("id,dateadded,url,url_status,threat,tags\n1,{TIME},http://a.example.com/url,tags,threat,url\n");
    assert_eq!(collect(feed.as_bytes(), "", Some(Format::Urlhaus)).0.len(), 1);
}

/// Rows over many batches, with headers between them that name the columns in another order.
#[test]
fn concatenated_feeds_are_read_by_their_own_headers_in_order() {
    let line = |n: u32, order: &[usize; 3]| {
        let row = [TIME.to_owned(), format!("{n:040x}"), format!("Family, {n}")];
        text(&[row.to_vec()], order)
    };
    let header =
        |order: &[usize; 3]| text(&[["Listingdate", "SHA1", "Listingreason"].map(String::from).to_vec()], order);
    let (mut feed, mut expected, mut bad) = (String::new(), Vec::new(), Vec::new());
    for (number, order) in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 2, 0]].iter().enumerate() {
        feed += &format!("{}{}", if number % 2 == 0 { "# " } else { "" }, header(order));
        for n in (1..).take(if number == 1 { 20_000 } else { 500 }) {
            feed += &line(n, order);
            expected.push(format!("cert-sha1:{n:040x} bad-certificate \"Family, {n}\" at 2025-04-21T12:35:06Z"));
        }
        bad.push(feed.lines().count() as u64 + 1);
        feed += "x,y,z\n";
    }
    let (entries, report) = collect(feed.as_bytes(), "", None);
    assert!(entries == expected, "{} of {}", entries.len(), expected.len());
    assert_eq!(report.refusals.iter().map(|refusal| refusal.line).collect::<Vec<_>>(), bad);
    // A header again, over rows that contradict it: the columns are found all the same.
    let wrong = format!("{}# SHA1,Listingreason,Listingdate\n{}", feed, line(1, &[0, 1, 2]));
    assert_eq!(collect(wrong.as_bytes(), "", None).0.len(), entries.len() + 1);
    // And rows that cannot be read by any layout are rejected, each with its line.
    let lost = format!("{feed}# SHA1,Listingreason,Listingdate\n{}", "x,y,z\n".repeat(3));
    let (_, report) = collect(lost.as_bytes(), "", None);
    assert_eq!(report.rejected, 4 + 3);
}
