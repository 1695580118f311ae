//! Synthetic seeds for the fuzz targets: `KSN_WRITE_SEEDS=1 cargo test --test fuzz_regressions` writes them to
//! `fuzz/seeds`.

use std::ops::ControlFlow;

use ksn::{
    Key,
    batch::{Detail, Position, Sink as _, Unanswered},
    engine::Index,
    key::{DigestKind, KeyKind, PrefixWidth},
    snapshot::Snapshot,
    timestamp::Timestamp,
    wire::{
        AnswerCaps, AnswerMeta, AnswerWriter, ErrorFrame, Hello, Notice, RequestOptions, ServerLimits, Welcome,
        write_request,
    },
};

use super::{fuzzed, lookup::Keys};

/// One seed: its target, its name and its bytes.
pub(crate) type Seed = (&'static str, String, Vec<u8>);

pub(crate) fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: String, bytes: Vec<u8>| seeds.push((target, name, bytes));
    for (n, text) in KEYS.iter().enumerate() {
        add("key_text", format!("key-{n:02}"), (*text).into());
    }
    for (n, text) in ADDRESSES.iter().enumerate() {
        add("web_address", format!("address-{n:02}"), (*text).into());
    }
    for (name, text) in FEEDS {
        // Detected, without options and with all of them.
        add("feeds", name.to_string(), [&[0xff, 0], text.as_bytes()].concat());
        add("feeds", format!("{name}-options"), [&[0xff, 0x7d], text.as_bytes()].concat());
    }
    for n in 0..6u32 {
        // Choices for rows and keys: any bytes are valid.
        let choices = (0..40 * (n + 1)).map(|at| (at.wrapping_mul(2_654_435_761 + n) >> 13) as u8).collect();
        add("engine", format!("choices-{n}"), choices);
    }
    add("snapshot_open", "sound".into(), [&[0], fuzzed::sample_snapshot()].concat());
    add("snapshot_open", "header".into(), [&[0], &fuzzed::sample_snapshot()[..128]].concat());
    add("snapshot_open", "forged-offset".into(), vec![1, 4, 0, 0, 1, 0, 0]);
    add(
        "snapshot_open",
        "forged-row".into(),
        vec![1, 3, 5, 3, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 5, 6, 1, 0, 0, 0, 9, 9, 9, 9],
    );
    add("snapshot_open", "forged-manifest".into(), vec![1, 255, 0, 2, 255, 3, 255, 4]);
    requests().into_iter().for_each(|(name, frame)| add("wire_request", name.into(), frame));
    answers().into_iter().for_each(|(name, frame)| add("wire_answer", name.into(), frame));
    seeds
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let mut columns = Vec::new();
    for kind in KeyKind::ALL {
        let keys: Vec<Key> = fuzzed::sample_keys().into_iter().filter(|key| key.kind() == kind).collect();
        columns.push((kind, Keys::new(kind, &keys)));
    }
    let columns: Vec<_> = columns.iter().map(|(kind, keys)| keys.column(*kind)).collect();
    let options = RequestOptions { detail: Detail::All, deadline_ms: 250, generation_min: 7, sequence_min: 0 };
    let prefixes = prefixes();
    let mut unknown = write_request(&options, &columns[9..10]);
    // The kind of its first column, 40 bytes after the header.
    unknown[16 + 40] = 99;
    vec![
        ("all-kinds", write_request(&options, &columns)),
        ("empty", write_request(&RequestOptions::default(), &[])),
        ("unknown-kind", unknown),
        ("prefixes", write_request(&options, &prefixes.each_ref().map(|keys| keys.column(MD5)))),
        ("expressions", write_request(&options, &expressions().each_ref().map(|keys| keys.column(KeyKind::Web)))),
        ("digests", write_request(&RequestOptions::default(), &columns[..1])),
    ]
}

const MD5: KeyKind = KeyKind::Digest(DigestKind::Md5);

/// Returns prefixes of eight and of four bytes of the same digests.
fn prefixes() -> [Keys; 2] {
    let keys: Vec<Key> = fuzzed::sample_keys().into_iter().filter(|key| key.kind() == MD5).collect();
    [PrefixWidth::Eight, PrefixWidth::Four].map(|width| Keys::prefixes(width, &keys[..4]))
}

/// Returns prefixes of eight and of four bytes of the same expressions: of listed addresses and of another.
fn expressions() -> [Keys; 2] {
    [PrefixWidth::Eight, PrefixWidth::Four].map(|width| Keys::expressions(width, ["a.b", "b", "a.b/", "a.b/x", "c.d/"]))
}

fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let view = Index::new(Snapshot::from_bytes(fuzzed::sample_snapshot().to_vec()).unwrap()).view();
    let meta = AnswerMeta { dataset: "made-up", generation: 7, sequence: 1, positive_ttl_s: 300, negative_ttl_s: 60 };
    let now = Timestamp::from_seconds(5).unwrap();
    let mut writer = AnswerWriter::new(AnswerCaps::default());
    writer.begin(3);
    for (number, kind) in [(0, KeyKind::Ipv4), (1, KeyKind::Web)] {
        let keys: Vec<Key> = fuzzed::sample_keys().into_iter().filter(|key| key.kind() == kind).collect();
        let column_of_keys = Keys::new(kind, &keys);
        let rows = keys.len() as u32;
        let answered = view.answer(number, &column_of_keys.column(kind), 0..rows, Detail::All, now, &mut writer);
        assert_eq!(answered, ControlFlow::Continue(()));
        writer.answered(number, rows);
    }
    assert!(writer.unanswered(Position { column: 1, row: 3 }, Unanswered::Malformed).is_continue());
    assert!(writer.mark_column_unanswered(2, Unanswered::Unsupported).is_continue());
    let answer = writer.finish(&meta);
    writer.begin(2);
    for (number, keys) in (0..).zip(prefixes()) {
        let answered = view.answer(number, &keys.column(MD5), 0..4, Detail::All, now, &mut writer);
        assert_eq!(answered, ControlFlow::Continue(()));
        writer.answered(number, 4);
    }
    let candidates = writer.finish(&meta);
    writer.begin(2);
    for (number, keys) in (0..).zip(expressions()) {
        let answered = view.answer(number, &keys.column(KeyKind::Web), 0..5, Detail::All, now, &mut writer);
        assert_eq!(answered, ControlFlow::Continue(()));
        writer.answered(number, 5);
    }
    let limits = ServerLimits {
        columns: 32,
        keys: 65_536,
        cost: 262_144,
        request_bytes: 4 << 20,
        answer_bytes: 8 << 20,
        address_bytes: 8_192,
        streams: 64,
        deadline_ms: 10_000,
    };
    let welcome = Welcome {
        version: 1,
        limits,
        dataset: "made-up".into(),
        generation: 7,
        sequence: 0,
        created: Timestamp::from_seconds(9),
        kinds: vec![(3, 1_000), (11, 7)],
        software: "ksn 0.1.0".into(),
    };
    vec![
        ("answer", answer),
        ("candidates", candidates),
        ("expression-candidates", writer.finish(&meta)),
        ("hello", Hello::new("scanner", "1.2.3", "linux").to_frame()),
        ("welcome", welcome.to_frame()),
        ("notice", Notice::NewGeneration(8).to_frame()),
        ("error", ErrorFrame { code: 2, retry_after_ms: 5, detail: 6, message: "too much" }.to_frame()),
    ]
}

const KEYS: [&str; 22] = [
    "md5:44d88612fea8a8f36de82e1278abb02f",
    "44d88612fea8a8f36de82e1278abb02f",
    "SHA1:3395856ce81f2b7382dee72602f798b642f14140",
    "sha256:275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f",
    "cert-sha1:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD",
    "spki-sha256:00",
    "blake3:zz",
    "00000000000000000000000000000000000000000000000000000000",
    "url:http://evil.example/a/b?c#d",
    "hxxp://evil[.]example/x(.)php",
    "1[.]2[.]3[.]4",
    "ipv4:192.0.2.1",
    "192.0.2.0/24",
    "192.0.2.1-192.0.2.9",
    "2001:db8::1",
    "[2001:db8::1]:80",
    "somebody@evil.example",
    "2026-11-22 10:00:00 UTC",
    "1795341600",
    "botnet-cc",
    "sha512:00",
    "  größe.example  ",
];

const ADDRESSES: [&str; 18] = [
    "http://www.evil.example/a/../b/./c//d?e=/../f#g",
    "http://%31%36%38%2e%31%38%38%2e%39%39%2e%32%36/%2E%73%65%63%75%72%65/",
    "%25%32%35%32%35",
    "http://3279880203/blah",
    "0x7f.1",
    "http://[::ffff:192.0.2.1]:80/",
    "http://[64:ff9b::c000:201]/x",
    "user:pass@host.example:8080/?q",
    "a.b.c.d.e.f.g.h/1/2/3/4/5.html?x=1",
    "http://größe.example/%C3%BC",
    "http:\\\\evil.example\\a",
    "//evil.example",
    "..evil..example..",
    "http://evil.example/\t\r\nx",
    "evil[.]example",
    "xn--a.example/?",
    "1.2.3.4.5/x",
    "http://evil.example/%23%25%00",
];

/// The name of each feed format, and a few rows in its syntax.
pub(crate) const FEEDS: [(&str, &str); 26] = [
    (
        "malwarebazaar",
        "# \"first_seen_utc\",\"sha256_hash\",\"md5_hash\",\"sha1_hash\",\"reporter\",\"file_name\",\"file_type_guess\",\
         \"mime_type\",\"signature\",\"clamav\",\"vtpercent\",\"imphash\",\"ssdeep\",\"tlsh\"\n\"2024-01-02 03:04:05\", \
         \"1111111111111111111111111111111111111111111111111111111111111111\", \"22222222222222222222222222222222\", \
         \"3333333333333333333333333333333333333333\", \"abuse_ch\", \"a.exe\", \"exe\", \"application/x-dosexec\", \
         \"Example\", \"n/a\", \"n/a\", \"n/a\", \"n/a\", \"n/a\"\n",
    ),
    (
        "threatfox-csv",
        "# \"first_seen_utc\",\"ioc_id\",\"ioc_value\",\"ioc_type\",\"threat_type\",\"fk_malware\",\"malware_alias\",\
         \"malware_printable\",\"last_seen_utc\",\"confidence_level\",\"is_compromised\",\"reference\",\"tags\",\
         \"anonymous\",\"reporter\"\n\"2024-01-02 03:04:05\", \"17\", \"45.51.100.7:443\", \"ip:port\", \"botnet_cc\", \
         \"win.example\", \"None\", \"Example\", \"\", \"75\", \"False\", \"None\", \"x,y\", \"0\", \"somebody\"\n",
    ),
    (
        "threatfox-json",
        "{\"17\":[{\"ioc_value\":\"http://evil.example/a\",\"ioc_type\":\"url\",\"threat_type\":\"payload_delivery\",\
         \"malware\":\"win.example\",\"malware_printable\":\"Example\",\"first_seen_utc\":\"2024-01-02 03:04:05\",\
         \"last_seen_utc\":null,\"confidence_level\":75}]}\n",
    ),
    (
        "urlhaus",
        "# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\n\"17\",\"2024-01-02 03:04:05\",\
         \"http://45.51.100.7:8080/i\",\"online\",\"2024-01-02 03:04:05\",\"malware_download\",\"elf\",\
         \"https://urlhaus.example/17/\",\"somebody\"\n",
    ),
    (
        "phishtank",
        "phish_id,url,phish_detail_url,submission_time,verified,verification_time,online,target\n17,\
         http://evil.example/login,http://www.phishtank.com/phish_detail.php?phish_id=17,2024-01-02T03:04:05+00:00,yes,\
         2024-01-02T03:14:05+00:00,yes,Other\n",
    ),
    (
        "feodo",
        "# \"first_seen_utc\",\"dst_ip\",\"dst_port\",\"c2_status\",\"last_online\",\"malware\"\n\"2024-01-02 03:04:05\",\
         \"45.51.100.7\",\"443\",\"online\",\"2024-01-03\",\"Example\"\n",
    ),
    (
        "sslbl",
        "# Listingdate,SHA1,Listingreason\n2024-01-02 03:04:05,4444444444444444444444444444444444444444,Example, C&C\n",
    ),
    ("sslbl-ip", "# Firstseen,DstIP,DstPort\n2024-01-02 03:04:05,45.51.100.7,443\n"),
    (
        "cscb",
        "# \"time_stamp_utc\",\"serial_number\",\"thumbprint\",\"thumbprint_algorithm\",\"subject_cn\",\"issuer_cn\",\
         \"valid_from\",\"valid_to\",\"cscb_reason\"\n\"2024-01-02 03:04:05\",\"0a\",\
         \"5555555555555555555555555555555555555555555555555555555555555555\",\"SHA256\",\"Example\",\"CA\",\
         \"2023-01-01 00:00:00\",\"2025-01-01 00:00:00\",\"Example\"\n",
    ),
    ("tweetfeed", "2024-01-02 03:04:05,somebody,url,http://evil.example/x,#phishing,https://twitter.com/a/status/1\n"),
    (
        "nsrl",
        "\"SHA-1\",\"MD5\",\"CRC32\",\"FileName\",\"FileSize\",\"ProductCode\",\"OpSystemCode\",\"SpecialCode\"\n\
         \"6666666666666666666666666666666666666666\",\"77777777777777777777777777777777\",\"00000000\",\"a.dll\",1,2,\
         \"3\",\"\"\n",
    ),
    ("csv", "sha256,name\n8888888888888888888888888888888888888888888888888888888888888888,Example\n"),
    (
        "spamhaus-json",
        "{\"cidr\":\"45.51.0.0/16\",\"sblid\":\"SBL1\",\"rir\":\"ripencc\"}\n{\"type\":\"metadata\",\"timestamp\":1700000000,\
         \"size\":1,\"records\":1,\"copyright\":\"x\",\"terms\":\"y\"}\n",
    ),
    (
        "misp-event",
        "{\"Event\":{\"uuid\":\"00000000-0000-4000-8000-000000000000\",\"info\":\"Example\",\"date\":\"2024-01-02\",\
         \"timestamp\":\"1700000000\",\"Attribute\":[{\"uuid\":\"00000000-0000-4000-8000-000000000001\",\"type\":\"md5\",\
         \"category\":\"Payload delivery\",\"to_ids\":true,\"timestamp\":\"1700000000\",\
         \"value\":\"99999999999999999999999999999999\"}]}}\n",
    ),
    (
        "misp-warninglist",
        "{\"name\":\"Example\",\"description\":\"d\",\"version\":1,\"type\":\"string\",\
         \"list\":[\"99999999999999999999999999999999\"],\"matching_attributes\":[\"md5\"]}\n",
    ),
    (
        "stix",
        "{\"type\":\"bundle\",\"id\":\"bundle--0\",\"objects\":[{\"type\":\"indicator\",\"id\":\"indicator--0\",\
         \"created\":\"2024-01-02T03:04:05Z\",\"modified\":\"2024-01-02T03:04:05Z\",\"pattern_type\":\"stix\",\
         \"pattern\":\"[url:value = 'http://evil.example/a' OR domain-name:value = 'evil.example']\",\
         \"valid_from\":\"2024-01-02T03:04:05Z\"}]}\n",
    ),
    (
        "clamav",
        "44d88612fea8a8f36de82e1278abb02f:68:Win.Test.EICAR_HDB-1\n11111111111111111111111111111111:*:Name:73\n",
    ),
    ("clamav-trusted", "44d88612fea8a8f36de82e1278abb02f:68:Win.Test.EICAR_HDB-1\n"),
    (
        "clamav-crb",
        "Example.CA;0;1111111111111111111111111111111111111111;;c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1;010001;1;1;0;0;comment\n",
    ),
    ("clamav-gdb", "S:F:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"),
    (
        "ioc-list",
        "# hashes\n44d88612fea8a8f36de82e1278abb02f;a comment\nhxxp://evil[.]example/x\n45[.]51[.]100[.]7\nevil.example\n",
    ),
    ("ipv4-list", "; list\n45.51.100.0/24 ; SBL1\n46.0.113.5-46.0.113.9\n192.0.2.1\t17\n8.8.8.8\n"),
    ("ip4set", "$SOA 3600 a b 0 1 2 3 4\n:127.0.0.2:listed $\n45.51.100.0/24\n46.0.113\n45.51.100-101\n!45.51.100.7\n"),
    ("hosts", "127.0.0.1 localhost\n0.0.0.0 evil.example\n0.0.0.0 www.evil.example # comment\n"),
    (
        "domains",
        "evil.example.com\nwww.evil.example.net\nduckdns.org\nco.uk\nevil.test.example.org\nlogin.other.example\n",
    ),
    ("adblock", "[Adblock Plus]\n! Title: Example\n||evil.example^\n@@||good.example^\n||a.example^$third-party\n"),
];
