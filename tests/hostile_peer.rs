//! Prevents one peer from affecting another: garbage, partial frames, floods and silence cost the peer that sends them
//! its stream or connection, and other peers nothing.
#![cfg(feature = "net")]

mod common;

use std::time::Duration;

use common::{
    MD5_KNOWN, Running, bounded, key,
    raw::{assert_answered, closed_with, error_code, hello, read_frame, request, send},
    sha256,
};
use ksn::{
    Client, ConnectError, Key, Status,
    batch::Column,
    key::DigestKind,
    limits::EARLY_BATCHES_MAX,
    wire::{AnswerView, ErrorCode, HEADER_BYTES, Hello, Notice, RequestOptions, write_request},
};
use quinn::ConnectionError;

/// Sends lookups until `stop` is set, and checks every answer. Returns their number.
async fn lookup_repeatedly(client: Client, stop: tokio::sync::watch::Receiver<bool>) -> u32 {
    let keys: Vec<Key> = (0..1_000).map(|number| sha256(number).into()).collect();
    let mut rounds = 0;
    while !*stop.borrow() {
        let answers = bounded(client.lookup(&keys)).await.unwrap();
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(answer.status == Status::Known, number % 10 == 0);
        }
        rounds += 1;
    }
    rounds
}

#[tokio::test]
async fn a_well_behaved_client_is_answered_beside_hostile_ones() {
    let server = Running::start(|config| config.limits.deadline_ms = 1_000).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let good = tokio::spawn(lookup_repeatedly(bounded(server.client()).await, stopped));

    let raw = server.raw().await;
    let _control = hello(&raw).await;
    // Garbage, and frames of kinds that no client sends.
    for (bytes, code) in [
        (vec![0xff; 5_000], ErrorCode::Malformed),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), ErrorCode::Malformed),
        (Vec::new(), ErrorCode::Malformed),
        (Notice::NewGeneration(7).to_frame(), ErrorCode::UnexpectedFrame),
        (Hello::new("again", "1", "test").to_frame(), ErrorCode::UnexpectedFrame),
        (request()[..40].to_vec(), ErrorCode::Malformed),
        ([request(), vec![0]].concat(), ErrorCode::Malformed),
        (oversized(), ErrorCode::TooLong),
    ] {
        assert_eq!(error_code(&mut send(&raw, &bytes).await).await, code);
    }
    // Half a frame and then silence: the deadline ends it.
    let (mut half, mut reply) = bounded(raw.open_bi()).await.unwrap();
    half.write_all(&request()[..60]).await.unwrap();
    assert_eq!(error_code(&mut reply).await, ErrorCode::Deadline);
    // Only the stream fails: its connection still answers.
    assert_answered(&mut send(&raw, &request()).await).await;

    // A flood of streams that are never finished.
    let flood = server.raw().await;
    let _control = hello(&flood).await;
    let mut held = Vec::new();
    for _ in 0..60 {
        let (mut send, recv) = bounded(flood.open_bi()).await.unwrap();
        send.write_all(&request()[..17]).await.unwrap();
        held.push((send, recv));
    }
    assert_answered(&mut send(&raw, &request()).await).await;
    flood.close(0u32.into(), b"");

    stop.send_replace(true);
    assert!(bounded(good).await.unwrap() > 0);
    server.stop().await;
}

/// Returns a request whose header states more bytes than are allowed.
fn oversized() -> Vec<u8> {
    let mut frame = request();
    frame[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    frame
}

#[tokio::test]
async fn a_stream_whose_answer_is_not_read_is_reset() {
    let server = Running::start(|config| config.limits.deadline_ms = 500).await;
    let raw = server.raw().await;
    let _control = hello(&raw).await;
    // 2.4 MB of hits, which is more than the flow control window of a stream that is not read.
    let Key::Digest(known) = key(MD5_KNOWN) else { panic!("a digest") };
    let bytes = known.bytes().repeat(60_000);
    let frame = write_request(&RequestOptions::default(), &[Column::Digests { kind: DigestKind::Md5, bytes: &bytes }]);
    let mut recv = send(&raw, &frame).await;
    let reset = bounded(recv.received_reset()).await.unwrap().map(|code| code.into_inner());
    assert_eq!(reset, Some(u64::from(ErrorCode::Deadline.number())));
    assert_answered(&mut send(&raw, &request()).await).await;
    server.stop().await;
}

#[tokio::test]
async fn exceeded_limits_are_reported_by_error_code() {
    let server = Running::start(|config| {
        config.limits.keys = 10;
        config.limits.request_bytes = 1_000;
    })
    .await;
    let raw = server.raw().await;
    let _control = hello(&raw).await;
    let digests = |count: usize| {
        let bytes = vec![1; 16 * count];
        write_request(&RequestOptions::default(), &[Column::Digests { kind: DigestKind::Md5, bytes: &bytes }])
    };
    assert_eq!(error_code(&mut send(&raw, &digests(11)).await).await, ErrorCode::TooManyKeys);
    assert_eq!(error_code(&mut send(&raw, &digests(1_000)).await).await, ErrorCode::TooLong);
    let mut narrow = digests(1);
    // Eight keys of two bytes: neither whole digests nor prefixes of four or eight.
    (narrow[57], narrow[60]) = (2, 8);
    assert_eq!(error_code(&mut send(&raw, &narrow).await).await, ErrorCode::UnsupportedWidth);
    let behind = RequestOptions { generation_min: 2, ..RequestOptions::default() };
    assert_eq!(error_code(&mut send(&raw, &write_request(&behind, &[])).await).await, ErrorCode::Behind);
    server.stop().await;
}

#[tokio::test]
async fn a_column_of_an_unknown_kind_is_unsupported_and_the_rest_is_answered() {
    let server = Running::start(|_| {}).await;
    let raw = server.raw().await;
    let _control = hello(&raw).await;
    let listed = sha256(10);
    let columns = [
        Column::Digests { kind: DigestKind::Md5, bytes: &[0; 32] },
        Column::Digests { kind: DigestKind::Sha256, bytes: listed.bytes() },
    ];
    let mut frame = write_request(&RequestOptions::default(), &columns);
    frame[HEADER_BYTES + 40] = 99;
    let (header, body) = read_frame(&mut send(&raw, &frame).await).await;
    let answer = AnswerView::parse(&header, &body).unwrap();
    assert_eq!(answer.answered().collect::<Vec<_>>(), [2, 1]);
    assert_eq!(
        (answer.unanswered().len(), answer.unanswered()[0].row(), answer.unanswered()[0].column()),
        (1, None, 0)
    );
    assert_eq!(answer.hits()[0].position().column, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_without_a_hello_is_closed() {
    let server = Running::start(|config| config.hello_deadline = Duration::from_millis(300)).await;
    let raw = server.raw().await;
    assert_eq!(closed_with(bounded(raw.closed()).await), Some(ErrorCode::HelloMissing));
    server.stop().await;
}

#[tokio::test]
async fn a_few_early_batches_wait_and_the_rest_are_refused() {
    let server = Running::start(|_| {}).await;
    let raw = server.raw().await;
    let mut waiting = Vec::new();
    for _ in 0..EARLY_BATCHES_MAX {
        waiting.push(send(&raw, &request()).await);
    }
    // Streams are accepted in order, so that this one exceeds the limit.
    let mut beyond = send(&raw, &request()).await;
    assert_eq!(error_code(&mut beyond).await, ErrorCode::HelloMissing);
    let _control = hello(&raw).await;
    for mut recv in waiting {
        assert_answered(&mut recv).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn an_unsupported_version_is_refused_with_a_message() {
    let server = Running::start(|_| {}).await;
    let raw = server.raw().await;
    let hello = Hello { version_min: 2, version_max: 9, ..Hello::new("raw", "1", "test") };
    // The connection is closed at once, with the code and the message.
    let _recv = send(&raw, &hello.to_frame()).await;
    let ConnectionError::ApplicationClosed(close) = bounded(raw.closed()).await else { panic!("not closed") };
    assert_eq!(close.error_code.into_inner(), u64::from(ErrorCode::UnsupportedVersion.number()));
    let message = String::from_utf8(close.reason.to_vec()).unwrap();
    assert!(message.contains("supports protocol version 1, found 2 to 9"), "{message}");
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_per_address_are_refused() {
    let server = Running::start(|config| {
        config.connections_per_address = 1;
        // Every client must validate its address first.
        config.handshakes = 0;
    })
    .await;
    let client = bounded(server.client()).await;
    let error = bounded(Client::connect(server.client_config())).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused), "{error:?}");
    assert_eq!(bounded(client.lookup(&[key(MD5_KNOWN)])).await.unwrap()[0].status, Status::Known);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_batch_in_flight_is_answered_during_a_shutdown() {
    let mut server = Running::start(|_| {}).await;
    let raw = server.raw().await;
    let (_send, mut notices) = hello(&raw).await;
    let frame = request();
    let (mut half, mut answer) = bounded(raw.open_bi()).await.unwrap();
    half.write_all(&frame[..60]).await.unwrap();
    server.begin_stop();
    let (header, body) = read_frame(&mut notices).await;
    assert_eq!(Notice::parse(&header, &body), Ok(Notice::GoingAway { grace_ms: 5_000 }));
    // The rest is sent well after the server would have closed an idle connection.
    tokio::time::sleep(Duration::from_millis(300)).await;
    half.write_all(&frame[60..]).await.unwrap();
    half.finish().unwrap();
    assert_answered(&mut answer).await;
    assert_eq!(closed_with(bounded(raw.closed()).await), Some(ErrorCode::GoingAway));
    server.stopped().await;
}

#[tokio::test]
async fn a_shutdown_waits_no_longer_than_its_grace_period() {
    let mut server = Running::start(|config| config.grace = Duration::from_millis(300)).await;
    let raw = server.raw().await;
    let _control = hello(&raw).await;
    let (mut half, _recv) = bounded(raw.open_bi()).await.unwrap();
    half.write_all(&request()[..60]).await.unwrap();
    server.begin_stop();
    assert_eq!(closed_with(bounded(raw.closed()).await), Some(ErrorCode::GoingAway));
    server.stopped().await;
}
