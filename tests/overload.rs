//! Prevents one peer from taking the work or the memory of a server that others need: answers are cut by work, held
//! memory is bounded per connection and in total, and no stream ends without saying why.
#![cfg(feature = "net")]

mod common;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use common::{
    MD5_KNOWN, Running, bounded, key,
    raw::{assert_answered, closed_with, error_code, hello, read_frame, request, send},
    snapshot_of_one_key,
};
use ksn::{
    Client, ConnectError, Key, LookupOptions, Status,
    batch::{Column, Detail},
    key::DigestKind,
    wire::{AnswerView, ErrorCode, ErrorFrame, FrameKind, Hello, RequestOptions, write_request},
};
use quinn::{Connection, RecvStream, VarInt};
use tokio::time;

/// Encodes a request for all records of the listed digest, as often as stated.
fn heavy(rows: usize, deadline_ms: u32) -> Vec<u8> {
    let Key::Digest(known) = key(MD5_KNOWN) else { panic!("a digest") };
    let options = RequestOptions { detail: Detail::All, deadline_ms, ..RequestOptions::default() };
    write_request(&options, &[Column::Digests { kind: DigestKind::Md5, bytes: &known.bytes().repeat(rows) }])
}

/// Sends heavy batches and leaves their answers unread.
async fn send_unread(connection: &Connection, batches: usize) -> Vec<RecvStream> {
    let mut unread = Vec::new();
    for _ in 0..batches {
        unread.push(send(connection, &heavy(205, 0)).await);
    }
    unread
}

/// Reads what an answer or an error frame says: the number of answered rows, or the code.
async fn outcome(recv: &mut RecvStream) -> Result<u32, (Option<ErrorCode>, u32)> {
    let (header, body) = read_frame(recv).await;
    if header.kind == FrameKind::Error {
        let error = ErrorFrame::parse(&header, &body).unwrap();
        return Err((ErrorCode::from_number(error.code), error.retry_after_ms));
    }
    Ok(AnswerView::parse(&header, &body).unwrap().answered().sum())
}

#[tokio::test]
async fn an_answer_that_takes_too_much_work_is_truncated_and_the_client_requests_the_rest() {
    let server = Running::start_with(snapshot_of_one_key(1_024), |_| {}).await;
    let raw = server.raw().await;
    let _control = hello(&raw).await;
    // Only the winner is wanted, so that the frame has room: 65,536 rows of 1,024 records each are 67 million reads.
    let Key::Digest(known) = key(MD5_KNOWN) else { panic!("a digest") };
    let bytes = known.bytes().repeat(65_536);
    let frame = write_request(&RequestOptions::default(), &[Column::Digests { kind: DigestKind::Md5, bytes: &bytes }]);
    let (header, body) = read_frame(&mut send(&raw, &frame).await).await;
    let answer = AnswerView::parse(&header, &body).unwrap();
    let answered: u32 = answer.answered().sum();
    assert!(answer.is_truncated() && (500..5_000).contains(&answered), "{answered} rows");
    assert_eq!(answer.hits().len() as u32, answered);

    let client = bounded(server.client()).await;
    let keys = vec![key(MD5_KNOWN); 4_000];
    let answers = bounded(client.lookup(&keys)).await.unwrap();
    assert!(answers.iter().all(|answer| answer.status == Status::Known && answer.records.len() == 1));
    let options = LookupOptions { detail: Detail::All, ..LookupOptions::default() };
    let answers = bounded(client.lookup_with(&keys[..300], &options)).await.unwrap();
    assert!(answers.iter().all(|answer| answer.records.len() == 1_024 && !answer.is_cut));
    server.stop().await;
}

#[tokio::test]
async fn a_stopped_answer_stops_its_work() {
    let server = Running::start_with(snapshot_of_one_key(1_024), |_| {}).await;
    let raw = server.raw().await;
    let _control = hello(&raw).await;
    // Some seconds of work, if it is done.
    let mut batches = send_unread(&raw, 60).await;
    time::sleep(Duration::from_millis(20)).await;
    batches.iter_mut().for_each(|recv| recv.stop(VarInt::from_u32(7)).unwrap());
    let started = Instant::now();
    assert_answered(&mut send(&raw, &request()).await).await;
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    server.stop().await;
}

#[tokio::test]
async fn unread_answers_make_their_own_connection_wait_and_the_budget_refuses_others() {
    let server = Running::start_with(snapshot_of_one_key(1_024), |config| {
        // The share of a connection is 16 MiB; a second connection gets less.
        config.answer_memory_bytes = 18 << 20;
    })
    .await;
    // Its windows hold little, so that answers stay at the server.
    let greedy = server.raw_with(|config| _ = config.stream_receive_window(VarInt::from_u32(100_000))).await;
    let _control = hello(&greedy).await;
    let mut unread = send_unread(&greedy, 8).await;
    // All of it has arrived.
    time::sleep(Duration::from_millis(300)).await;
    // Its own next batch waits, uncomputed.
    let mut own = send(&greedy, &request()).await;
    let early = time::timeout(Duration::from_millis(500), outcome(&mut own)).await;
    assert!(early.is_err(), "{early:?}");

    let other = server.raw().await;
    let _other_control = hello(&other).await;
    let refused = outcome(&mut send(&other, &heavy(205, 0)).await).await;
    let Err((Some(ErrorCode::Overloaded), retry_after_ms)) = refused else { panic!("{refused:?}") };
    assert!(retry_after_ms > 0);
    // Small answers still have room.
    assert_eq!(outcome(&mut send(&other, &request()).await).await, Ok(2));

    // Once its answers are read, the batches that waited are answered.
    for recv in &mut unread {
        assert!(outcome(recv).await.unwrap() > 10);
    }
    assert_eq!(outcome(&mut own).await, Ok(2));
    assert_eq!(outcome(&mut send(&other, &heavy(205, 0)).await).await.map(|rows| rows > 10), Ok(true));
    server.stop().await;
}

#[tokio::test]
async fn half_sent_requests_make_their_own_connection_wait_and_the_budget_refuses_others() {
    let server = Running::start(|config| config.request_memory_bytes = 1 << 20).await;
    let digests = |keys: usize| {
        let bytes = vec![1; 16 * keys];
        write_request(&RequestOptions::default(), &[Column::Digests { kind: DigestKind::Md5, bytes: &bytes }])
    };
    let frame = digests(65_536);
    let greedy = server.raw().await;
    let _control = hello(&greedy).await;
    let (mut half, mut answer) = bounded(greedy.open_bi()).await.unwrap();
    bounded(half.write_all(&frame[..900 << 10])).await.unwrap();
    time::sleep(Duration::from_millis(200)).await;
    let other = server.raw().await;
    let _other_control = hello(&other).await;
    let refused = outcome(&mut send(&other, &digests(30_000)).await).await;
    assert!(matches!(refused, Err((Some(ErrorCode::Overloaded), 1..))), "{refused:?}");
    assert_eq!(outcome(&mut send(&other, &digests(1_000)).await).await, Ok(1_000));
    // The whole budget is too small for this one request: it is refused as well, and nothing stays held.
    let _ = bounded(half.write_all(&frame[900 << 10..])).await;
    let _ = half.finish();
    assert!(matches!(outcome(&mut answer).await, Err((Some(ErrorCode::Overloaded), 1..))));
    assert_eq!(outcome(&mut send(&other, &digests(30_000)).await).await, Ok(30_000));
    server.stop().await;
}

#[tokio::test]
async fn the_deadline_of_a_request_cuts_its_half_sent_body() {
    let server = Running::start(|_| {}).await;
    let raw = server.raw().await;
    let _control = hello(&raw).await;
    let frame = heavy(100, 300);
    let started = Instant::now();
    let (mut half, mut answer) = bounded(raw.open_bi()).await.unwrap();
    half.write_all(&frame[..frame.len() / 2]).await.unwrap();
    assert_eq!(error_code(&mut answer).await, ErrorCode::Deadline);
    assert!((300..2_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    server.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_a_frame_or_a_code() {
    let server = Running::start(|_| {}).await;
    // A client that resets its request gets a reset with the same code.
    let raw = server.raw().await;
    let _control = hello(&raw).await;
    let (mut half, mut answer) = bounded(raw.open_bi()).await.unwrap();
    half.write_all(&request()[..60]).await.unwrap();
    time::sleep(Duration::from_millis(100)).await;
    half.reset(VarInt::from_u32(77)).unwrap();
    let reset = bounded(answer.received_reset()).await.unwrap();
    assert_eq!(reset.map(VarInt::into_inner), Some(77));

    // An error frame that the client's window has no room for ends as a reset with the code of the error.
    let narrow = server.raw_with(|config| _ = config.stream_receive_window(VarInt::from_u32(4))).await;
    let mut recv = send(&narrow, &[0xff; 16]).await;
    let reset = bounded(recv.received_reset()).await.unwrap();
    assert_eq!(reset.map(VarInt::into_inner), Some(u64::from(ErrorCode::Malformed.number())));
    server.stop().await;
}

#[tokio::test]
async fn a_refused_hello_closes_the_connection_with_its_code() {
    let server = Running::start(|_| {}).await;
    let raw = server.raw().await;
    let mut frame = Hello::new("raw", "1", "test").to_frame();
    // A text that ends beyond the bytes.
    let end = frame.len() - 9;
    frame[end] = 0xff;
    let started = Instant::now();
    let _recv = send(&raw, &frame).await;
    assert_eq!(closed_with(bounded(raw.closed()).await), Some(ErrorCode::Malformed));
    assert!(started.elapsed() < Duration::from_secs(1));
    server.stop().await;
}

#[tokio::test]
async fn a_dial_during_a_shutdown_is_refused_at_once() {
    let mut server = Running::start(|_| {}).await;
    let raw = server.raw().await;
    let _control = hello(&raw).await;
    let (mut half, _answer) = bounded(raw.open_bi()).await.unwrap();
    half.write_all(&request()[..60]).await.unwrap();
    let config = server.client_config();
    server.begin_stop();
    time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    let error = bounded(Client::connect(config)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    drop(half);
    server.stopped().await;
}

/// Returns the first packets of handshakes that nobody will finish.
async fn initials(count: usize) -> Vec<Vec<u8>> {
    let sink = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = sink.local_addr().unwrap();
    let mut packets = Vec::new();
    while packets.len() < count {
        let endpoint = common::raw_client();
        let dial = tokio::spawn(endpoint.connect(address, "localhost").unwrap().into_future());
        let mut packet = vec![0; 2_000];
        let length = bounded(sink.recv(&mut packet)).await.unwrap();
        packet.truncate(length);
        packets.push(packet);
        dial.abort();
    }
    packets
}

#[tokio::test]
async fn unfinished_handshakes_do_not_lock_an_address_out() {
    let server = Running::start(|config| {
        config.connections_per_address = 4;
        config.handshakes = 8;
    })
    .await;
    let attacker = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for packet in initials(40).await {
        attacker.send_to(&packet, server.address).await.unwrap();
    }
    // Beyond the bound, clients validate their address first, and are served.
    let client = bounded(server.client()).await;
    assert_eq!(bounded(client.lookup(&[key(MD5_KNOWN)])).await.unwrap()[0].status, Status::Known);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn unfinished_handshakes_delay_a_client_by_little() {
    let server = Running::start(|_| {}).await;
    let attacker = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // Below the bound beyond which addresses are validated: the client queues behind all of them.
    for packet in initials(400).await {
        attacker.send_to(&packet, server.address).await.unwrap();
    }
    let started = Instant::now();
    let client = bounded(server.client()).await;
    assert_eq!(bounded(client.lookup(&[key(MD5_KNOWN)])).await.unwrap()[0].status, Status::Known);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    drop(client);
    server.stop().await;
}
