//! Properties that must hold for any input bytes: one function for each fuzz target, of the same name.
//!
//! The targets in `fuzz/` are shims around these functions, and `tests/fuzz_regressions.rs` replays seeds and past
//! crashes through them in a plain `cargo test`. They panic if a property does not hold.

use std::{net::Ipv4Addr, ops::ControlFlow, sync::OnceLock};

use ksn::{
    Key, WebAddress,
    batch::{Column, Detail},
    engine::Index,
    key::{
        AddressParts, Digest, DigestKind, Indicator, Ipv4Block, KeyKind, PrefixWidth, Scope, ScopeSet, canonical_url,
    },
    record::{Entry, RecordType, derived_id},
    refang,
    snapshot::Snapshot,
    timestamp::Timestamp,
    wire::{
        AnswerCaps, AnswerMeta, AnswerView, AnswerWriter, ErrorFrame, FrameKind, Header, Hello, Notice, RequestColumn,
        RequestLimits, RequestView, Welcome, write_request,
    },
};

use super::{
    forge::Forgery,
    lookup::{Keys, build, by_digest, lookup, texts},
    naive::{self, Naive, Row},
};

/// Input bytes that are consumed as choices, from the front; zeros after the end.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const PREFIXES: [PrefixWidth; 2] = [PrefixWidth::Eight, PrefixWidth::Four];

fn seconds(seconds: u32) -> Timestamp {
    Timestamp::from_seconds(seconds).unwrap()
}

// -- Texts ------------------------------------------------------------------------------------------------------------

/// Checks that the text of a key parses to the same key, and likewise for the types that feed readers parse.
pub(crate) fn key_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match text.parse::<Key>() {
        Ok(key) => {
            let written = key.to_string();
            assert_eq!(written.parse().as_ref(), Ok(&key), "{written}");
            assert!(written.starts_with(key.kind().prefix()) && written.is_ascii());
            if let Key::Web(address) = &key {
                assert_eq!(refang(address.as_str()), address.as_str(), "a canonical address is not defanged");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    for kind in DigestKind::ALL {
        match Digest::from_hex(kind, &text) {
            Ok(digest) => assert_eq!(digest.to_string().parse(), Ok(Key::Digest(digest))),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    match text.parse::<Ipv4Block>() {
        Ok(block) => {
            assert_eq!(block.to_string().parse(), Ok(block));
            let pieces: u64 = block.cidr_blocks().map(Ipv4Block::addresses).sum();
            assert_eq!(pieces, block.addresses());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse(), Ok(time));
    }
    if let Ok(record_type) = text.parse::<RecordType>() {
        assert_eq!(record_type.name().parse(), Ok(record_type));
    }
    let plain = refang(&text);
    if let Ok(key) = plain.parse::<Key>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
}

/// Checks that a canonical address is a fixed point and has the expressions of the naive reference.
pub(crate) fn web_address(data: &[u8]) {
    if let Ok(url) = canonical_url(data) {
        assert_eq!(canonical_url(url.as_bytes()).as_deref(), Ok(url.as_str()));
        assert!(url.bytes().all(|b| b > 0x20 && b < 0x7f && b != b'#'), "{url}");
    }
    let parts = AddressParts::split(data);
    let is_canonical = std::str::from_utf8(data)
        .is_ok_and(|text| WebAddress::parse(text).is_ok_and(|address| address.as_str() == text));
    assert_eq!(parts.is_some(), is_canonical, "{}", data.escape_ascii());
    if let Some(parts) = parts {
        // No input takes more probes than the cost of an address.
        let mut tried = 0;
        parts.for_each_expression(ScopeSet::ALL, |_, _| tried += 1);
        assert!(tried <= 2 + 1 + 254 + 30, "{tried} expressions");
    }
    let text = String::from_utf8_lossy(data);
    let Ok(address) = WebAddress::parse(&text) else { return };
    let (mut tried, mut by_text) = (Vec::new(), Vec::new());
    address.parts().for_each_expression(ScopeSet::ALL, |scope, text| tried.push((text, scope)));
    address.parts().for_each_text(|scopes, text| {
        by_text.extend(Scope::ALL.into_iter().filter(|&scope| scopes.contains(scope)).map(|scope| (text, scope)));
    });
    tried.sort();
    by_text.sort();
    assert_eq!(by_text, tried, "every text in all its scopes");
    let (mut once, of_address) = (texts(&address), texts(&address));
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), of_address.len(), "{address} has a duplicate text");
    let canonical = address.as_str();
    assert_eq!(WebAddress::parse(canonical).as_ref(), Ok(&address), "{canonical}");
    assert!(canonical.bytes().all(|b| b > 0x20 && b < 0x7f && b != b'#'), "{canonical}");
    let parts = address.parts();
    let mut whole = [parts.host(), parts.path()].concat();
    if let Some(query) = parts.query() {
        whole.push(b'?');
        whole.extend_from_slice(query);
    }
    assert_eq!(whole, canonical.as_bytes());
    assert!(!parts.host().is_empty() && parts.host().len() <= 253 && parts.path().starts_with(b"/"));
    for scope in Scope::ALL {
        let mut found = Vec::new();
        parts.for_each_expression(ScopeSet::default().with(scope), |of, text| {
            assert_eq!(of, scope);
            found.push(std::str::from_utf8(text).expect("it is ASCII").to_owned());
        });
        let count = found.len();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), count, "{canonical} has a duplicate expression");
        assert!(found.iter().all(|expression| naive::web_matches(scope, expression, canonical)), "{scope} {canonical}");
        if scope == Scope::Expression {
            assert_eq!(found, naive::safe_browsing(canonical));
        }
    }
}

// -- Snapshots --------------------------------------------------------------------------------------------------------

/// Returns a few rows that fill every table and section kind.
fn sample_rows() -> Vec<Row> {
    let row = |indicator: Indicator, id: u64, record_type: RecordType| Row {
        name: format!("Name-{}", id % 3),
        source: ["alpha", "beta"][id as usize % 2].into(),
        id,
        indicator,
        record_type,
        timestamp: Timestamp::from_seconds(id as u32),
        expiry: None,
        port: None,
    };
    let mut rows = Vec::new();
    for n in 0..34u8 {
        let mut bytes = [0x11; 16];
        bytes[15] = n;
        rows.push(row(Indicator::Digest(Digest::new(DigestKind::Md5, &bytes).unwrap()), n.into(), RecordType::Malware));
    }
    for (text, scope) in ["a.b/x", "a.b", "b", "a.b/"].into_iter().zip(Scope::ALL) {
        rows.push(row(Indicator::Web { scope, expression: text.into() }, 40 + scope as u64, RecordType::Phishing));
    }
    rows.push(row(Indicator::WebSha256([7; 32]), 50, RecordType::Tracking));
    for (block, id) in [("10.0.0.0/8", 60), ("10.0.0.1-10.0.0.6", 61), ("10.0.0.2", 62)] {
        rows.push(row(Indicator::Ipv4(block.parse().unwrap()), id, RecordType::Trusted));
    }
    for at in [0, 34, 39] {
        rows.push(row(rows[at].indicator.clone(), 70 + at as u64, RecordType::Other));
    }
    rows
}

pub(crate) fn sample_keys() -> Vec<Key> {
    let mut keys: Vec<Key> =
        ["url:a.b/x?y", "url:z.a.b/", "url:10.0.0.2/", "ipv4:10.0.0.2", "ipv4:9.0.0.0", "ipv4:255.255.255.255"]
            .map(|text| text.parse().unwrap())
            .into();
    keys.extend((0..40).map(|n| {
        let mut bytes = [0x11; 16];
        bytes[15] = n;
        Key::Digest(Digest::new(DigestKind::Md5, &bytes).unwrap())
    }));
    keys
}

pub(crate) fn sample_snapshot() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| build(&sample_rows()).into_bytes())
}

fn sample_index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| Index::new(Snapshot::from_bytes(sample_snapshot().to_vec()).unwrap()))
}

/// Checks that a file is opened or refused, and that lookups in an opened one do not panic, even if it was forged with
/// valid checksums.
///
/// If the first byte is even, the rest is the file; if it is odd, the rest are the changes to a valid file.
pub(crate) fn snapshot_open(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let bytes = if first % 2 == 0 { rest.to_vec() } else { forged(&mut Choices(rest)) };
    let snapshot = match Snapshot::from_bytes(bytes) {
        Ok(snapshot) => snapshot,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let records: u64 = KeyKind::ALL.into_iter().map(|kind| snapshot.records(kind)).sum();
    // Runs of a forged file may share records: the iterator may return more of them.
    let _ = snapshot.entries().take(records as usize + 100).count();
    let index = Index::new(snapshot);
    for key in sample_keys() {
        let mut columns = vec![Keys::new(key.kind(), [&key])];
        if let Key::Digest(_) = key {
            columns.extend(PREFIXES.map(|width| Keys::prefixes(width, [&key])));
        }
        if let Key::Web(address) = &key {
            columns.extend(PREFIXES.map(|width| Keys::expressions(width, texts(address))));
        }
        for column in columns {
            lookup(&index.view(), &column.column(key.kind()), 0..u32::MAX, Detail::All, seconds(5), &[]);
        }
    }
}

fn forged(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut forgery = Forgery::of(sample_snapshot());
    while !choices.is_empty() {
        let sections = forgery.manifest.sections.len().max(1);
        let at = usize::from(choices.byte()) % (sections + 1);
        let Some(section) = forgery.manifest.sections.get_mut(at) else {
            let manifest = &mut forgery.manifest;
            match choices.byte() % 6 {
                0 => manifest.web_scopes = choices.byte(),
                1 => manifest.web_seed = choices.u32().into(),
                2 => manifest.created = choices.u32(),
                3 => drop(manifest.sources.pop()),
                4 => drop(manifest.sections.pop()),
                _ => manifest.key_range.1 = choices.u32(),
            }
            continue;
        };
        match choices.byte() % 8 {
            0 => section.offset = choices.u32().into(),
            1 => section.bytes = choices.u32().into(),
            2 => section.table = choices.byte(),
            3 => section.kind = choices.byte(),
            4 => section.bytes = section.bytes.wrapping_sub(choices.byte().into()),
            _ => {
                // Four bytes of its rows.
                let position = section.offset.saturating_add(u64::from(choices.u32() % 0x1000) * 4);
                let value = choices.u32();
                if let Some(bytes) =
                    forgery.body.get_mut(position as usize..).and_then(|body| body.first_chunk_mut::<4>())
                    && position >= 128
                {
                    *bytes = value.to_le_bytes();
                }
            }
        }
    }
    forgery.finish()
}

// -- Engine -----------------------------------------------------------------------------------------------------------

const LABELS: [&str; 4] = ["a", "b", "c", "xn--a"];

fn host(choices: &mut Choices<'_>) -> String {
    let shape = choices.byte();
    match shape {
        0..=30 => Ipv4Addr::from(0x0a00_0000 + u32::from(shape)).to_string(),
        31..=34 => "[2001:db8::1]".into(),
        _ => (0..1 + shape % 8).map(|_| choices.of(&LABELS)).collect::<Vec<_>>().join("."),
    }
}

fn path_and_query(choices: &mut Choices<'_>) -> String {
    let shape = choices.byte();
    let mut text: String = (0..shape % 7).map(|_| choices.of(&["/x", "/y", "/z.html"])).collect();
    if text.is_empty() || shape & 0x10 != 0 {
        text.push('/');
    }
    text + ["", "", "?q", "?q=/x/?"][usize::from(shape >> 6)]
}

fn digest(choices: &mut Choices<'_>) -> Digest {
    let kind = choices.of(&[DigestKind::Md5, DigestKind::Sha1, DigestKind::Sha256]);
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&choices.of(&[0u32, 1, 0x8000_0000, u32::MAX]).to_be_bytes());
    bytes[7] = choices.byte() % 3;
    bytes[kind.width() - 1] = choices.byte();
    Digest::new(kind, &bytes[..kind.width()]).unwrap()
}

fn address(choices: &mut Choices<'_>) -> Ipv4Addr {
    match choices.byte() {
        255 => Ipv4Addr::from(choices.u32()),
        near => Ipv4Addr::from(0x09ff_ffe0 + u32::from(near)),
    }
}

fn indicator(choices: &mut Choices<'_>) -> Indicator {
    match choices.byte() % 4 {
        0 => Indicator::Digest(digest(choices)),
        1 => {
            let (a, b) = (address(choices), address(choices));
            Indicator::Ipv4(Ipv4Block::new(a.min(b), a.max(b)).unwrap())
        }
        2 => Indicator::Ipv4(Ipv4Block::containing(address(choices), choices.byte() % 33)),
        _ => {
            let scope = choices.of(&Scope::ALL);
            let host = host(choices);
            match scope {
                Scope::Host | Scope::Domain => Indicator::Web { scope, expression: host.into() },
                Scope::Exact | Scope::Expression => {
                    let text = host + &path_and_query(choices);
                    match choices.byte() {
                        0 if scope == Scope::Expression => {
                            Indicator::WebSha256(<sha2::Sha256 as sha2::Digest>::digest(&text).into())
                        }
                        _ => Indicator::Web { scope, expression: text.into() },
                    }
                }
            }
        }
    }
}

fn row(choices: &mut Choices<'_>) -> Row {
    let indicator = indicator(choices);
    let (source, name) = (choices.of(&["alpha", "beta"]), choices.of(&["", "n", "Größe"]));
    let shape = choices.byte();
    let id = match shape % 8 {
        7 => derived_id(source, &indicator, name),
        small => small.into(),
    };
    Row {
        indicator,
        id,
        record_type: choices.of(&RecordType::ALL),
        name: name.into(),
        source: source.into(),
        timestamp: Timestamp::from_seconds(u32::from(shape >> 3) % 3),
        expiry: Timestamp::from_seconds(u32::from(shape >> 5) * 10 % 30),
        port: [None, Some(0), Some(443)][usize::from(shape >> 6) % 3],
    }
}

/// Checks that the engine answers any rows and keys as the naive reference does.
pub(crate) fn engine(data: &[u8]) {
    let mut choices = Choices(data);
    let (now, detail, room) = (choices.byte() % 32, choices.byte(), [choices.byte() % 8, choices.byte() % 8]);
    let (mut rows, mut keys) = (Vec::new(), Vec::new());
    while !choices.is_empty() && rows.len() < 512 {
        match choices.byte() % 4 {
            0 => keys.push(Key::Digest(digest(&mut choices))),
            1 if detail & 2 != 0 => keys.push(Key::Ipv4(address(&mut choices))),
            1 => keys.push(Key::Web(
                WebAddress::parse(&(host(&mut choices) + &path_and_query(&mut choices))).expect("it is canonical"),
            )),
            _ => rows.push(row(&mut choices)),
        }
    }
    let bytes = build(&rows).into_bytes();
    assert!(bytes == build(rows.iter().rev()).into_bytes(), "the bytes depend on the order of rows");
    let snapshot = Snapshot::from_bytes(bytes).expect("a built snapshot can be opened");
    let naive = Naive::new(&rows);
    check_iter(&snapshot, &naive);
    let (view, now) = (Index::new(snapshot).view(), seconds(u32::from(now) + 1));
    let detail = if detail & 1 == 0 { Detail::Winner } else { Detail::All };
    for kind in KeyKind::ALL {
        let keys: Vec<&Key> = keys.iter().filter(|key| key.kind() == kind).collect();
        let column = Keys::new(kind, keys.iter().copied());
        let room = room.map(usize::from);
        let answers = lookup(&view, &column.column(kind), 0..u32::MAX, detail, now, &room);
        for (key, found) in keys.iter().zip(&answers.hits) {
            let mut expected = naive.answer(key, now);
            if detail == Detail::Winner {
                expected.truncate(1);
            }
            assert_eq!(found, &expected, "{key}");
        }
        if let KeyKind::Digest(_) = kind {
            for width in PREFIXES {
                let column = Keys::prefixes(width, keys.iter().copied());
                let answers = lookup(&view, &column.column(kind), 0..u32::MAX, detail, now, &room);
                for (key, found) in keys.iter().zip(&answers.hits) {
                    let Key::Digest(digest) = key else { panic!("{key} is not a digest") };
                    let mut expected = naive.candidates(digest, width, now);
                    if detail == Detail::Winner {
                        expected.iter_mut().for_each(|answers| answers.truncate(1));
                    }
                    assert_eq!(by_digest(found), expected, "{key}, {width:?}");
                }
            }
        }
        for (key, width) in keys.iter().zip(PREFIXES.iter().cycle()) {
            let Key::Web(address) = key else { continue };
            let column = Keys::expressions(*width, texts(address));
            let answers = lookup(&view, &column.column(kind), 0..u32::MAX, detail, now, &room);
            for (text, found) in texts(address).into_iter().zip(&answers.hits) {
                let mut expected = naive.expression_candidates(text, *width, now);
                if detail == Detail::Winner {
                    expected.iter_mut().for_each(|answers| answers.truncate(1));
                }
                assert_eq!(by_digest(found), by_digest(&expected.concat()), "{text}, {width:?}");
            }
        }
    }
}

/// Checks that a snapshot iterates over the records that it was built from.
fn check_iter(snapshot: &Snapshot, naive: &Naive) {
    let order = |row: &Row| (row.indicator.clone(), row.source.clone(), row.id);
    let mut listed: Vec<Row> = snapshot.entries().map(|entry| owned(&entry)).collect();
    listed.sort_by_key(order);
    let mut expected = naive.rows.clone();
    expected.iter_mut().for_each(|row| row.port = row.port.filter(|&port| port != 0));
    assert_eq!(listed, expected);
}

fn owned(entry: &Entry<'_>) -> Row {
    Row {
        indicator: entry.indicator.clone(),
        id: entry.id,
        record_type: entry.record_type,
        name: entry.name.into(),
        source: entry.source.into(),
        timestamp: entry.timestamp,
        expiry: entry.expiry,
        port: entry.port,
    }
}

// -- Frames -----------------------------------------------------------------------------------------------------------

/// Checks that a request is refused, or encodes again to an equal request and gets an answer frame that can be parsed.
pub(crate) fn wire_request(data: &[u8]) {
    let (header, body) = match Header::split(data) {
        Ok(split) => split,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let request = match RequestView::parse(&header, body, &RequestLimits::default()) {
        Ok(request) => request,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let known: Vec<Column<'_>> = request
        .columns()
        .iter()
        .filter_map(|column| match column {
            RequestColumn::Known(column) => Some(*column),
            RequestColumn::Unknown { .. } => None,
        })
        .collect();
    // The deadline is read before the rest has arrived.
    for arrived in [0, body.len() / 2, body.len()] {
        let deadline_ms = RequestView::deadline_ms(&header, &body[..arrived]).unwrap();
        assert!(deadline_ms.is_none_or(|deadline_ms| deadline_ms == request.options().deadline_ms));
        assert!(arrived < body.len() || deadline_ms.is_some());
    }
    let written = write_request(request.options(), &known);
    let (header, body) = Header::split(&written).unwrap();
    let again = RequestView::parse(&header, body, &RequestLimits::default()).unwrap();
    assert_eq!(again.options(), request.options());
    assert_eq!(again.columns().len(), known.len());
    assert!(again.keys() <= request.keys() && again.cost() <= request.cost());
    let columns: Vec<Column<'_>> = again
        .columns()
        .iter()
        .map(|column| match column {
            RequestColumn::Known(column) => *column,
            RequestColumn::Unknown { .. } => panic!("only known columns were written"),
        })
        .collect();
    assert!(write_request(again.options(), &columns) == written);
    answer(&request, &columns);
}

/// Answers a request as a server does, with a small limit on the answer.
fn answer(request: &RequestView<'_>, columns: &[Column<'_>]) {
    let view = sample_index().view();
    let mut writer = AnswerWriter::new(AnswerCaps { body_bytes: 2_000, text_bytes: 300, records_per_key: 2 });
    writer.begin(columns.len() as u16);
    let mut answered = Vec::new();
    for (column, number) in columns.iter().zip(0..) {
        let rows = column.rows() as u32;
        let end = match answered.iter().zip(columns).any(|(&end, c): (&u32, _)| end < c.rows() as u32) {
            true => 0,
            false => match view.answer(number, column, 0..rows, request.options().detail, seconds(5), &mut writer) {
                ControlFlow::Continue(()) => rows,
                ControlFlow::Break(row) => row,
            },
        };
        assert!(end <= rows);
        writer.answered(number, end);
        answered.push(end);
    }
    let meta = AnswerMeta { dataset: "made-up", generation: 7, sequence: 0, positive_ttl_s: 1, negative_ttl_s: 2 };
    let frame = writer.finish(&meta);
    let (header, body) = Header::split(&frame).expect("a written frame can be parsed");
    let read = AnswerView::parse(&header, body).expect("a written frame can be parsed");
    assert_eq!(read.meta(), meta);
    assert_eq!(read.answered().collect::<Vec<_>>(), answered);
    for (hit, suffix) in read.candidates(columns).expect("every hit of a prefix has its suffix") {
        let (column, row) = (usize::from(hit.position().column), hit.position().row);
        assert!(row < answered[column]);
        if let Column::Prefixes { kind, width, bytes } = columns[column] {
            let prefix = &bytes[row as usize * width.bytes()..][..width.bytes()];
            let digest = Digest::new(kind, &[prefix, suffix].concat()).expect("the rest of a digest");
            let listed = sample_rows().iter().any(|row| row.indicator == Indicator::Digest(digest));
            assert!(listed, "{digest} is not listed");
        }
        if let Column::WebPrefixes { width, bytes } = columns[column] {
            let digest = [&bytes[row as usize * width.bytes()..][..width.bytes()], suffix].concat();
            let listed = sample_rows().into_iter().any(|row| match row.indicator {
                Indicator::Web { scope, expression } => {
                    Some(scope) == hit.scope() && <sha2::Sha256 as sha2::Digest>::digest(&*expression)[..] == digest
                }
                Indicator::WebSha256(listed) => hit.scope() == Some(Scope::Expression) && listed[..] == digest,
                _ => false,
            });
            assert!(listed, "{digest:x?} is not listed");
        }
    }
}

/// Checks that an answer, or a frame of the control stream, is refused or is equal after it is encoded and parsed
/// again.
pub(crate) fn wire_answer(data: &[u8]) {
    let (header, body) = match Header::split(data) {
        Ok(split) => split,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    match header.kind {
        FrameKind::Answer => {
            let Ok(view) = AnswerView::parse(&header, body) else { return };
            assert!(view.hits().windows(2).all(|w| w[0].position() <= w[1].position()));
            for hit in view.hits() {
                assert!(usize::from(hit.position().column) < view.answered().len());
                let texts = [hit.name_text(), hit.source_text(), hit.matched_text()].map(|number| view.text(number));
                let _ = (hit.record_type(), hit.scope(), hit.id(), hit.port(), hit.timestamp(), hit.expiry(), texts);
            }
            // For any columns of the request: every suffix is assigned to a hit, or their number is an error.
            let columns: Vec<Column<'_>> = (0..view.answered().len())
                .map(|n| match n % 3 {
                    2 => Column::WebPrefixes { width: PREFIXES[n / 3 % 2], bytes: &[] },
                    n => Column::Prefixes { kind: DigestKind::Md5, width: PREFIXES[n], bytes: &[] },
                })
                .collect();
            match view.candidates(&columns) {
                Ok(mut candidates) => assert!(candidates.all(|(hit, suffix)| {
                    suffix.len() == columns[usize::from(hit.position().column)].suffix_width()
                })),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
            for row in view.unanswered() {
                let _ = (row.row(), row.unanswered());
            }
            assert!(view.text(0).is_empty() && view.meta().dataset.len() <= 32);
        }
        FrameKind::Hello => {
            let Ok(hello) = Hello::parse(&header, body) else { return };
            let frame = hello.to_frame();
            let (header, body) = Header::split(&frame).unwrap();
            let again = Hello::parse(&header, body).unwrap();
            // Long names are truncated when they are encoded.
            assert!(hello.software.starts_with(again.software) && hello.platform.starts_with(again.platform));
            assert_eq!(again.to_frame(), frame);
        }
        FrameKind::Welcome => {
            let Ok(welcome) = Welcome::parse(&header, body) else { return };
            let frame = welcome.to_frame();
            let (header, body) = Header::split(&frame).unwrap();
            assert_eq!(Welcome::parse(&header, body).unwrap().to_frame(), frame);
        }
        FrameKind::Notice => {
            let Ok(notice) = Notice::parse(&header, body) else { return };
            let frame = notice.to_frame();
            let (header, body) = Header::split(&frame).unwrap();
            assert_eq!(Notice::parse(&header, body).unwrap(), notice);
        }
        FrameKind::Error => {
            let Ok(error) = ErrorFrame::parse(&header, body) else { return };
            let frame = error.to_frame();
            let (header, body) = Header::split(&frame).unwrap();
            let again = ErrorFrame::parse(&header, body).unwrap();
            assert!(error.message.starts_with(again.message));
            assert_eq!((again.code, again.detail), (error.code, error.detail));
        }
        FrameKind::Request => {}
    }
}

// -- Feeds ------------------------------------------------------------------------------------------------------------

/// A sink that checks every entry of a feed against what no reader may emit.
#[cfg(feature = "feed")]
struct CheckedSink {
    rows: Vec<Row>,
    trusted: bool,
}

#[cfg(feature = "feed")]
impl ksn::record::RecordSink for CheckedSink {
    fn add(&mut self, input: u32, entry: Entry<'_>) {
        assert_eq!(input, 3);
        assert!(entry.name.len() <= ksn::limits::NAME_BYTES_MAX, "a name of {} bytes", entry.name.len());
        assert!((1..=ksn::limits::SOURCE_BYTES_MAX).contains(&entry.source.len()));
        assert!(!self.trusted || entry.record_type == RecordType::Trusted);
        match &entry.indicator {
            Indicator::Web { scope, expression } => {
                // Every listed expression can be looked up.
                let address = WebAddress::parse(expression).unwrap_or_else(|e| panic!("{expression}: {e}"));
                let canonical = address.as_str();
                let whole = matches!(scope, Scope::Exact | Scope::Expression);
                assert_eq!(canonical.strip_suffix(if whole { "" } else { "/" }), Some(&**expression));
                assert!(naive::web_matches(*scope, expression, canonical), "{scope}:{expression} matches nothing");
            }
            Indicator::Ipv4(block) if entry.record_type.is_bad() => {
                assert!(block.prefix_bits().is_none_or(|bits| bits >= 8), "{block} is too wide");
                assert!(!block.first().is_loopback() && !block.first().is_private(), "{block} is loopback or private");
            }
            Indicator::Digest(digest) if entry.record_type.is_bad() => {
                assert!(digest.bytes().iter().any(|&b| b != 0), "an all-zero digest");
            }
            _ => {}
        }
        self.rows.push(owned(&entry));
    }
}

/// Checks that a feed is refused with a reason, or has every row accounted for and entries that can be built.
///
/// The first byte selects the format (0xff detects it), the second the options, the rest is the feed.
#[cfg(feature = "feed")]
pub(crate) fn feeds(data: &[u8]) {
    use ksn::feed::{self, Format, Guards, Options};

    let [format, shape, feed @ ..] = data else { return };
    let format = (*format != 0xff).then(|| Format::ALL[usize::from(*format) % Format::ALL.len()]);
    let mut options = Options::new(seconds(1_800_000_000));
    options.trusted = shape & 1 != 0;
    options.strict = shape & 2 != 0;
    options.max_age = (shape & 4 != 0).then_some(86_400 * 365);
    options.min_confidence = (shape & 8 != 0).then_some(50);
    options.min_score = (shape & 16 != 0).then_some(3);
    options.source = (shape & 32 != 0).then(|| "made-up".to_owned());
    let mut guards = Guards::default();
    if shape & 64 != 0 {
        let guard = br#"{"name":"n","type":"hostname","list":["guarded.example"],"matching_attributes":["domain"]}"#;
        guards.read(&guard[..], "guard.json").expect("it is a warninglist");
    }
    let mut sink = CheckedSink { rows: Vec::new(), trusted: options.trusted };
    match feed::read(feed, "feed", format, &options, &guards, 3, &mut sink) {
        Ok(report) => {
            assert_eq!(report.records, sink.rows.len() as u64);
            let outcomes = report.records + report.withheld + report.unsupported + report.rejected;
            assert!(report.rows <= outcomes, "{} rows, but {outcomes} outcomes: {report:?}", report.rows);
            assert!(report.refusals.len() <= feed::REFUSALS_MAX);
            let reasons: u64 = report.reasons.values().sum();
            assert_eq!(reasons, report.withheld + report.unsupported + report.rejected, "{report:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if sink.rows.len() < 2_000 {
        Snapshot::from_bytes(build(&sink.rows).into_bytes()).expect("a snapshot of a feed can be opened");
    }
}
