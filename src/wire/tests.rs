//! Prevents changes of the byte format that other programs and older versions rely on, and untrusted bytes that cause a
//! panic or are misread.

use std::{net::Ipv4Addr, ops::ControlFlow};

use proptest::prelude::*;
use zerocopy::little_endian::U32;

use super::*;
use crate::{
    batch::{Column, Detail, Hit, Matched, Position, Sink, Texts, Unanswered},
    key::{DigestKind, Hex, KeyKind, PrefixWidth, Scope},
    record::RecordType,
    timestamp::Timestamp,
};

fn hex(frame: &[u8]) -> String {
    Hex(frame).to_string()
}

fn joined(parts: &[&str]) -> String {
    parts.concat().replace(' ', "")
}

const OPTIONS: RequestOptions =
    RequestOptions { detail: Detail::All, deadline_ms: 250, generation_min: 7, sequence_min: 3 };

/// One MD5, two addresses, one IPv4 address.
fn sample_request() -> Vec<u8> {
    let ends = [U32::new(4), U32::new(9)];
    let columns = [
        Column::Digests { kind: DigestKind::Md5, bytes: &[0xaa; 16] },
        Column::Web(Texts::new(&ends, b"a.b/c.d/e").unwrap()),
        Column::Ipv4(&[[192, 0, 2, 1]]),
    ];
    write_request(&OPTIONS, &columns)
}

fn hit<'a>(id: u64, name: (&'a str, u32), matched: Matched<'a>) -> Hit<'a> {
    Hit {
        id,
        record_type: RecordType::Phishing,
        name: name.0,
        name_number: name.1,
        source: "feed",
        source_number: 0,
        timestamp: Timestamp::from_seconds(0x5000_0001),
        expiry: None,
        port: Some(8080),
        matched,
    }
}

const META: AnswerMeta<'static> =
    AnswerMeta { dataset: "demo", generation: 7, sequence: 3, positive_ttl_s: 3600, negative_ttl_s: 60 };

fn sample_answer() -> Vec<u8> {
    let mut writer = AnswerWriter::new(AnswerCaps::default());
    writer.begin(3);
    let block = "192.0.2.0/24".parse().unwrap();
    let name = ("Evil", 9);
    assert!(writer.hit(Position { column: 0, row: 0 }, &hit(5, name, Matched::Web(Scope::Host, b"a.b"))).is_continue());
    assert!(writer.hit(Position { column: 2, row: 1 }, &hit(6, name, Matched::Block(block))).is_continue());
    assert!(writer.unanswered(Position { column: 0, row: 1 }, Unanswered::Malformed).is_continue());
    assert!(writer.mark_column_unanswered(1, Unanswered::Unsupported).is_continue());
    for (column, rows) in [(0, 2), (1, 4), (2, 2)] {
        writer.answered(column, rows);
    }
    writer.finish(&META)
}

const PREFIXES: [Column<'static>; 2] = [
    Column::Prefixes { kind: DigestKind::Md5, width: PrefixWidth::Eight, bytes: &[0xaa; 16] },
    Column::Prefixes { kind: DigestKind::CertSha1, width: PrefixWidth::Four, bytes: &[0xbb; 4] },
];

/// Two candidates of one prefix, the first with two records, and one of another prefix.
fn sample_candidates() -> Vec<u8> {
    let mut writer = AnswerWriter::new(AnswerCaps::default());
    writer.begin(2);
    let hits: [(u16, u32, &[u8]); 4] =
        [(0, 1, &[0x11; 8]), (0, 1, &[0x11; 8]), (0, 1, &[0x22; 8]), (1, 0, &[0x33; 16])];
    for (id, (column, row, suffix)) in (5..).zip(hits) {
        let hit = hit(id, ("Evil", 9), Matched::Suffix(suffix));
        assert!(writer.hit(Position { column, row }, &hit).is_continue());
    }
    writer.answered(0, 2);
    writer.answered(1, 1);
    writer.finish(&META)
}

fn parse_request(frame: &[u8]) -> Result<(), WireError> {
    let (header, body) = Header::split(frame)?;
    RequestView::parse(&header, body, &RequestLimits::default()).map(drop)
}

#[test]
fn request_byte_format() {
    let expected = joined(&[
        "4b534e 01 03 00 2800 7d000000 00000000",
        "01 00 0300 fa000000 0700000000000000 0300000000000000 00000000000000000000000000000000",
        "01 10 0000 01000000 58000000 10000000",
        "0a 00 0000 02000000 68000000 11000000",
        "0b 04 0000 01000000 79000000 04000000",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "04000000 09000000 612e622f 632e642f65",
        "c0000201",
    ]);
    let frame = sample_request();
    assert_eq!(hex(&frame), expected);

    let (header, body) = Header::split(&frame).unwrap();
    let request = RequestView::parse(&header, body, &RequestLimits::default()).unwrap();
    assert_eq!((request.keys(), request.cost(), *request.options()), (4, 66, OPTIONS));
    let RequestColumn::Known(Column::Web(texts)) = request.columns()[1] else { panic!("a column of addresses") };
    assert_eq!((texts.get(0), texts.get(1)), (&b"a.b/"[..], &b"c.d/e"[..]));
}

#[test]
fn answer_byte_format() {
    let expected = joined(&[
        "4b534e 01 04 00 5000 e7000000 00000000",
        "64656d6f 00000000000000000000000000000000000000000000000000000000",
        "0700000000000000 0300000000000000 100e0000 3c000000",
        "02000000 02000000 05000000 17000000 0300 0000 00000000",
        "02000000 04000000 02000000",
        "00000000 0000 03 02 01000000 02000000 03000000 901f 0000 0500000000000000 01000050 00000000",
        "01000000 0200 03 00 01000000 02000000 04000000 901f 0000 0600000000000000 01000050 00000000",
        "01000000 0000 0200 ffffffff 0100 0100",
        "00000000 04000000 08000000 0b000000 17000000",
        "4576696c 66656564 612e62 3139322e302e322e302f3234",
    ]);
    let frame = sample_answer();
    assert_eq!(hex(&frame), expected);

    let (header, body) = Header::split(&frame).unwrap();
    let answer = AnswerView::parse(&header, body).unwrap();
    assert_eq!((answer.meta(), answer.is_truncated()), (META, false));
    let [first, second] = answer.hits() else { panic!("two hits") };
    assert_eq!(answer.text(first.name_text()), "Evil");
    assert_eq!((answer.text(first.matched_text()), first.scope()), ("a.b", Some(Scope::Host)));
    assert_eq!((answer.text(second.matched_text()), second.port()), ("192.0.2.0/24", Some(8080)));
    assert_eq!(answer.unanswered()[1].row(), None);
}

#[test]
fn digest_prefix_byte_format() {
    let expected = joined(&[
        "4b534e 01 03 00 2800 5c000000 00000000",
        "01 00 0200 fa000000 0700000000000000 0300000000000000 00000000000000000000000000000000",
        "01 08 0000 02000000 48000000 10000000",
        "06 04 0000 01000000 58000000 04000000",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbb",
    ]);
    let frame = write_request(&OPTIONS, &PREFIXES);
    assert_eq!(hex(&frame), expected);
    let (header, body) = Header::split(&frame).unwrap();
    let request = RequestView::parse(&header, body, &RequestLimits::default()).unwrap();
    assert_eq!((request.keys(), request.cost()), (3, 3));

    let hit = |row, column, id| {
        format!(
            "{row}000000 {column}00 03 00 01000000 02000000 00000000 901f 0000 {id}00000000000000 01000050 00000000"
        )
    };
    let expected = joined(&[
        "4b534e 01 04 00 5000 34010000 00000000",
        "64656d6f 00000000000000000000000000000000000000000000000000000000",
        "0700000000000000 0300000000000000 100e0000 3c000000",
        "04000000 00000000 03000000 08000000 0200 0000 28000000",
        "02000000 01000000",
        &[hit("01", "00", "05"), hit("01", "00", "06"), hit("01", "00", "07"), hit("00", "01", "08")].concat(),
        "1111111111111111 1111111111111111 2222222222222222 33333333333333333333333333333333",
        "00000000 04000000 08000000 4576696c 66656564",
    ]);
    let frame = sample_candidates();
    assert_eq!(hex(&frame), expected);
    let (header, body) = Header::split(&frame).unwrap();
    let answer = AnswerView::parse(&header, body).unwrap();
    let candidates: Vec<_> = answer.candidates(&PREFIXES).unwrap().map(|(hit, suffix)| (hit.id(), suffix)).collect();
    let (first, last) = ([0x11; 8], [0x33; 16]);
    assert_eq!(candidates, [(5, &first[..]), (6, &first), (7, &[0x22; 8]), (8, &last)]);
}

#[test]
fn expression_prefix_byte_format() {
    let columns = [
        Column::WebPrefixes { width: PrefixWidth::Eight, bytes: &[0xaa; 16] },
        Column::WebPrefixes { width: PrefixWidth::Four, bytes: &[0xbb; 4] },
    ];
    let expected = joined(&[
        "4b534e 01 03 00 2800 5c000000 00000000",
        "01 00 0200 fa000000 0700000000000000 0300000000000000 00000000000000000000000000000000",
        "0a 08 0000 02000000 48000000 10000000",
        "0a 04 0000 01000000 58000000 04000000",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbb",
    ]);
    let mut frame = write_request(&OPTIONS, &columns);
    assert_eq!(hex(&frame), expected);
    let (header, body) = Header::split(&frame).unwrap();
    let request = RequestView::parse(&header, body, &RequestLimits::default()).unwrap();
    assert_eq!((request.keys(), request.cost()), (3, 3));

    let mut writer = AnswerWriter::new(AnswerCaps::default());
    writer.begin(2);
    let hits: [(u16, u32, Scope, &[u8]); 3] =
        [(0, 1, Scope::Exact, &[0x11; 24]), (0, 1, Scope::Expression, &[0x11; 24]), (1, 0, Scope::Domain, &[0x33; 28])];
    for (id, (column, row, scope, suffix)) in (5..).zip(hits) {
        let hit = hit(id, ("Evil", 9), Matched::WebSuffix(scope, suffix));
        assert!(writer.hit(Position { column, row }, &hit).is_continue());
    }
    writer.answered(0, 2);
    writer.answered(1, 1);
    let expected = joined(&[
        "4b534e 01 04 00 5000 30010000 00000000",
        "64656d6f 00000000000000000000000000000000000000000000000000000000",
        "0700000000000000 0300000000000000 100e0000 3c000000",
        "03000000 00000000 03000000 08000000 0200 0000 4c000000",
        "02000000 01000000",
        "01000000 0000 03 01 01000000 02000000 00000000 901f 0000 0500000000000000 01000050 00000000",
        "01000000 0000 03 04 01000000 02000000 00000000 901f 0000 0600000000000000 01000050 00000000",
        "00000000 0100 03 03 01000000 02000000 00000000 901f 0000 0700000000000000 01000050 00000000",
        &"11".repeat(48),
        &"33".repeat(28),
        "00000000 04000000 08000000 4576696c 66656564",
    ]);
    let answer = writer.finish(&META);
    assert_eq!(hex(&answer), expected);
    let (header, body) = Header::split(&answer).unwrap();
    let answer = AnswerView::parse(&header, body).unwrap();
    let candidates: Vec<_> = answer.candidates(&columns).unwrap().map(|(hit, suffix)| (hit.scope(), suffix)).collect();
    assert_eq!(candidates, hits.map(|(_, _, scope, suffix)| (Some(scope), suffix)));

    // One key of sixteen bytes.
    (frame[16 + 40 + 1], frame[16 + 40 + 4]) = (16, 1);
    let expected = WireError::Mismatch { field: "width of a column", expected: 0, found: 16 };
    assert_eq!(parse_request(&frame), Err(expected));
}

#[test]
fn suffixes_that_do_not_match_the_request_are_rejected() {
    let frame = sample_candidates();
    let (header, body) = Header::split(&frame).unwrap();
    let answer = AnswerView::parse(&header, body).unwrap();
    let error = |requested: &[Column<'_>]| answer.candidates(requested).err().map(|e| e.to_string());
    assert_eq!(error(&PREFIXES), None);
    assert_eq!(error(&PREFIXES[..1]).unwrap(), "columns of an answer: expected 1, found 2");
    let whole = Column::Digests { kind: DigestKind::Md5, bytes: &[] };
    assert_eq!(error(&[whole, PREFIXES[1]]).unwrap(), "suffixes: expected 16, found 40");
    assert_eq!(error(&[PREFIXES[1], PREFIXES[1]]).unwrap(), "suffixes: expected 64, found 40");
    // More than the frame holds.
    let mut long = frame.clone();
    long[16 + 76] = 0xff;
    assert!(parse_any(&long).is_err());
}

#[test]
fn a_prefix_that_does_not_fit_is_removed_entirely() {
    let room = 80 + 4 + 2 * (40 + 8 + 12 + 5);
    let mut writer = AnswerWriter::new(AnswerCaps { body_bytes: room, ..AnswerCaps::default() });
    writer.begin(1);
    let mut flows = Vec::new();
    for (row, byte) in [(0, 1), (1, 2), (1, 3)] {
        let suffix = [byte; 8];
        let hit = hit(1, ("n", 0), Matched::Suffix(&suffix));
        flows.push(writer.hit(Position { column: 0, row }, &hit).is_continue());
    }
    assert_eq!(flows, [true, true, false]);
    writer.answered(0, 1);
    let frame = writer.finish(&META);
    let (header, body) = Header::split(&frame).unwrap();
    let answer = AnswerView::parse(&header, body).unwrap();
    let remaining: Vec<_> =
        answer.candidates(&PREFIXES[..1]).unwrap().map(|(hit, s)| (hit.position().row, s)).collect();
    assert_eq!((remaining, answer.is_truncated()), (vec![(0, &[1; 8][..])], true));
}

#[test]
fn records_are_limited_per_candidate_and_missing_candidates_are_flagged() {
    let write = |caps: AnswerCaps| {
        let mut writer = AnswerWriter::new(caps);
        writer.begin(1);
        for (id, byte) in (0..).zip([1, 1, 1, 2, 3, 3]) {
            let suffix = [byte; 8];
            let hit = hit(id, ("n", 0), Matched::Suffix(&suffix));
            assert!(writer.hit(Position { column: 0, row: 0 }, &hit).is_continue());
        }
        writer.answered(0, 1);
        let frame = writer.finish(&META);
        let (header, body) = Header::split(&frame).unwrap();
        let answer = AnswerView::parse(&header, body).unwrap();
        let flags = |(hit, suffix): (&HitRow, &[u8])| (suffix[0], hit.is_cut(), hit.is_short_of_candidates());
        answer.candidates(&PREFIXES[..1]).unwrap().map(flags).collect::<Vec<_>>()
    };
    let lists = write(AnswerCaps { records_per_key: 1, ..AnswerCaps::default() });
    assert_eq!(lists, [(1, true, false), (2, false, false), (3, true, false)]);
    assert_eq!(write(AnswerCaps { body_bytes: 1, ..AnswerCaps::default() }), [(1, true, true)]);
}

#[test]
fn control_frame_byte_format() {
    let hello = Hello::new("scan", "1.2", "linux").to_frame();
    let expected = joined(&[
        "4b534e 01 01 00 4000 58000000 00000000",
        "01 01 0300 0c000000",
        &"00".repeat(56),
        "04000000 07000000 0c000000 7363616e 312e32 6c696e7578",
    ]);
    assert_eq!(hex(&hello), expected);

    let welcome = Welcome {
        version: 1,
        limits: ServerLimits::default(),
        dataset: "demo".into(),
        generation: 7,
        sequence: 3,
        created: Timestamp::from_seconds(0x5000_0001),
        kinds: vec![(3, 1000), (11, 2)],
        software: "ksn 0.1".into(),
    };
    let expected = joined(&[
        "4b534e 01 02 00 8000 ab000000 00000000",
        "01 00 0100 07000000 0200 2000 00000100 0000040000000000 00004000 00008000 40000000 10270000",
        "64656d6f 00000000000000000000000000000000000000000000000000000000",
        "0700000000000000 0300000000000000 01000050 00200000",
        &"00".repeat(32),
        "03 00000000000000 e803000000000000 0b 00000000000000 0200000000000000",
        "07000000 6b736e20302e31",
    ]);
    assert_eq!(hex(&welcome.to_frame()), expected);
    let frame = welcome.to_frame();
    let (header, body) = Header::split(&frame).unwrap();
    assert_eq!(Welcome::parse(&header, body).unwrap(), welcome);
    assert_eq!(welcome.records(KeyKind::Digest(DigestKind::Sha256)), 1000);

    let notice = Notice::GoingAway { grace_ms: 500 };
    let expected = "4b534e010500100010000000000000000200000000000000f401000000000000";
    assert_eq!(hex(&notice.to_frame()), expected);

    let error = ErrorFrame { code: 6, retry_after_ms: 0, detail: 65_536, message: "no" };
    let expected = "4b534e01060018001a00000000000000060000000000000000000100000000000200000000000000";
    assert_eq!(hex(&error.to_frame()), joined(&[expected, "6e6f"]));
}

#[test]
fn error_codes_are_numbered_densely() {
    for (i, code) in ErrorCode::ALL.into_iter().enumerate() {
        assert_eq!((usize::from(code.number()), ErrorCode::from_number(code.number())), (i + 1, Some(code)));
    }
    assert_eq!(ErrorCode::from_number(0), None);
}

#[test]
fn unknown_fields_of_a_head_are_skipped() {
    let mut frame = Notice::NewGeneration(9).to_frame();
    frame.extend_from_slice(&[0xff; 8]);
    frame[6] = 24;
    frame[8] = 24;
    let (header, body) = Header::split(&frame).unwrap();
    assert_eq!(Notice::parse(&header, body), Ok(Notice::NewGeneration(9)));
    frame[6] = 15;
    let (header, body) = Header::split(&frame).unwrap();
    assert!(matches!(Notice::parse(&header, body), Err(WireError::TooShort { expected: 16, found: 15, .. })));
}

#[test]
fn errors_state_field_and_code() {
    let cases: [(usize, u8, ErrorCode, &str); 9] = [
        (0, b'x', ErrorCode::Malformed, "magic: expected \"KSN\""),
        (3, 2, ErrorCode::UnsupportedVersion, "version: expected 1, found 2"),
        (4, 9, ErrorCode::UnexpectedFrame, "frame kind: expected a number from 1 to 6, found 9"),
        (4, 4, ErrorCode::UnexpectedFrame, "frame kind: expected request, found 4"),
        (16, 2, ErrorCode::Malformed, "detail: expected 0 or 1, found 2"),
        (57, 8, ErrorCode::Malformed, "length of a column: expected 8, found 16"),
        (64, 0x59, ErrorCode::Malformed, "offset of a column: expected 88, found 89"),
        (62, 1, ErrorCode::TooManyKeys, "keys of a batch: expected at most 65536, found 65537"),
        (120, 10, ErrorCode::Malformed, "web addresses: expected text ends that ascend"),
    ];
    for (at, byte, code, message) in cases {
        let mut frame = sample_request();
        frame[at] = byte;
        if at == 62 {
            frame[57] = 0;
        }
        let error = parse_request(&frame).unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}");
        assert_eq!(error.code(), code, "{error}");
    }
    let mut huge = sample_request();
    huge[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(parse_request(&huge).unwrap_err().code(), ErrorCode::TooLong);
    let mut long = sample_request();
    long.push(0);
    assert_eq!(parse_request(&long), Err(WireError::Trailing { found: 1 }));
}

#[test]
fn unsupported_digest_widths_have_their_own_code() {
    let mut frame = write_request(&OPTIONS, &[Column::Digests { kind: DigestKind::Sha256, bytes: &[1; 32] }]);
    frame[57] = 16;
    frame[60] = 2;
    let error = parse_request(&frame).unwrap_err();
    assert_eq!((error.code(), error.limit()), (ErrorCode::UnsupportedWidth, 32));
    let message = "width of a column of kind 3: expected 32 (whole digests), 8 or 4 (prefixes), found 16";
    assert_eq!(error.to_string(), message);
}

#[test]
fn unknown_kinds_and_flags_parse() {
    for (at, byte) in [(56, 77), (58, 1)] {
        let mut frame = sample_request();
        frame[at] = byte;
        let (header, body) = Header::split(&frame).unwrap();
        let request = RequestView::parse(&header, body, &RequestLimits::default()).unwrap();
        assert!(matches!(request.columns()[0], RequestColumn::Unknown { count: 1, .. }));
    }
}

#[test]
fn a_key_that_does_not_fit_is_removed_entirely() {
    let mut writer = AnswerWriter::new(AnswerCaps { body_bytes: 80 + 4 + 150, ..AnswerCaps::default() });
    writer.begin(1);
    let digest = hit(1, ("n", 0), Matched::Digest);
    assert!(writer.hit(Position { column: 0, row: 0 }, &digest).is_continue());
    assert!(writer.hit(Position { column: 0, row: 3 }, &digest).is_continue());
    assert_eq!(writer.hit(Position { column: 0, row: 3 }, &digest), ControlFlow::Break(()));
    writer.answered(0, 3);
    let frame = writer.finish(&META);
    let (header, body) = Header::split(&frame).unwrap();
    let answer = AnswerView::parse(&header, body).unwrap();
    assert!(answer.is_truncated());
    assert_eq!((answer.hits().len(), answer.answered().next()), (1, Some(3)));
}

#[test]
fn the_first_key_always_fits_with_its_records_truncated() {
    for caps in [
        AnswerCaps { body_bytes: 1, ..AnswerCaps::default() },
        AnswerCaps { text_bytes: 0, ..AnswerCaps::default() },
        AnswerCaps { records_per_key: 1, ..AnswerCaps::default() },
    ] {
        let mut writer = AnswerWriter::new(caps);
        writer.begin(1);
        for id in 0..3 {
            let digest = hit(id, ("n", 0), Matched::Digest);
            assert!(writer.hit(Position { column: 0, row: 0 }, &digest).is_continue());
        }
        let frame = writer.finish(&META);
        let (header, body) = Header::split(&frame).unwrap();
        let answer = AnswerView::parse(&header, body).unwrap();
        assert!(!answer.is_truncated() && answer.hits().len() == 1 && answer.hits()[0].is_cut());
    }
}

/// Parses a frame by the kind in its header.
fn parse_any(frame: &[u8]) -> Result<(), WireError> {
    let (header, body) = Header::split(frame)?;
    match header.kind {
        FrameKind::Hello => Hello::parse(&header, body).map(drop),
        FrameKind::Welcome => Welcome::parse(&header, body).map(drop),
        FrameKind::Request => RequestView::parse(&header, body, &RequestLimits::default()).map(drop),
        FrameKind::Notice => Notice::parse(&header, body).map(drop),
        FrameKind::Error => ErrorFrame::parse(&header, body).map(drop),
        FrameKind::Answer => AnswerView::parse(&header, body).map(|answer| {
            for hit in answer.hits() {
                let texts = [hit.name_text(), hit.source_text(), hit.matched_text()];
                assert!(texts.iter().all(|&text| (text as usize) < answer.texts()));
            }
        }),
    }
}

#[test]
fn flipped_bits_never_panic_and_truncated_frames_are_rejected() {
    let frames = [
        sample_request(),
        sample_answer(),
        write_request(&OPTIONS, &PREFIXES),
        sample_candidates(),
        Hello::new("a", "b", "c").to_frame(),
        Notice::NewGeneration(1).to_frame(),
        ErrorFrame { code: 1, retry_after_ms: 0, detail: 0, message: "m" }.to_frame(),
    ];
    for frame in frames {
        assert_eq!(parse_any(&frame), Ok(()));
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = parse_any(&flipped);
        }
        assert!((0..frame.len()).all(|length| parse_any(&frame[..length]).is_err()));
    }
}

proptest! {
    #[test]
    fn any_body_after_a_valid_header_never_panics(kind in 1u8..=6, head in 0u16..200, mut body in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut frame = vec![b'K', b'S', b'N', 1, kind, 0];
        frame.extend_from_slice(&head.to_le_bytes());
        frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.append(&mut body);
        let _ = parse_any(&frame);
    }

    #[test]
    fn requests_round_trip(
        digests in prop::collection::vec(any::<[u8; 20]>(), 0..50),
        addresses in prop::collection::vec(any::<u32>(), 0..50),
        texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..30),
    ) {
        let addresses: Vec<[u8; 4]> = addresses.into_iter().map(|a| Ipv4Addr::from(a).octets()).collect();
        let mut end = 0;
        let ends: Vec<U32> = texts.iter().map(|text| { end += text.len() as u32; U32::new(end) }).collect();
        let bytes = texts.concat();
        let columns = [
            Column::Web(Texts::new(&ends, &bytes).unwrap()),
            Column::Digests { kind: DigestKind::SpkiSha1, bytes: digests.as_flattened() },
            Column::Ipv4(&addresses),
            Column::Prefixes { kind: DigestKind::Sha256, width: PrefixWidth::Four, bytes: addresses.as_flattened() },
            Column::WebPrefixes { width: PrefixWidth::Four, bytes: addresses.as_flattened() },
        ];
        let frame = write_request(&OPTIONS, &columns);
        let (header, body) = Header::split(&frame).unwrap();
        let request = RequestView::parse(&header, body, &RequestLimits::default()).unwrap();
        prop_assert_eq!(body.len(), request_bytes(&columns));
        for (sent, found) in columns.iter().zip(request.columns()) {
            let RequestColumn::Known(found) = found else { panic!("a known kind") };
            prop_assert_eq!(format!("{sent:?}"), format!("{found:?}"));
        }
    }

    #[test]
    fn answers_round_trip(keys in prop::collection::vec((0u16..4, 0u32..1000, 1usize..4, 0u32..5), 0..60)) {
        let mut keys = keys;
        keys.sort();
        keys.dedup_by_key(|key| (key.0, key.1));
        let names = ["", "a", "bb", "ccc", "dddd"];
        let mut writer = AnswerWriter::new(AnswerCaps::default());
        // Twice, because the writer is reused.
        for _ in 0..2 {
            writer.begin(4);
            let mut sent = Vec::new();
            for &(column, row, records, name) in &keys {
                for id in 0..records as u64 {
                    let (at, text) = (Position { column, row }, names[name as usize]);
                    let flow = writer.hit(at, &hit(id, (text, name), Matched::Web(Scope::Domain, text.as_bytes())));
                    prop_assert!(flow.is_continue());
                    sent.push((at, id, text));
                }
            }
            let frame = writer.finish(&META);
            let (header, body) = Header::split(&frame).unwrap();
            let answer = AnswerView::parse(&header, body).unwrap();
            let found: Vec<_> = answer.hits().iter().map(|h| (h.position(), h.id(), answer.text(h.name_text()))).collect();
            prop_assert_eq!(found, sent);
            // The empty text, four names, one source and four expressions, which are not shared with the names.
            prop_assert!(answer.texts() <= 1 + 4 + 1 + 4);
        }
    }
}
