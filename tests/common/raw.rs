//! A peer that sends any bytes on its streams.
#![allow(dead_code, reason = "each test file uses a part")]

use ksn::{
    Key,
    batch::Column,
    key::DigestKind,
    wire::{
        AnswerView, ErrorCode, ErrorFrame, FrameKind, HEADER_BYTES, Header, Hello, RequestOptions, Welcome,
        write_request,
    },
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};

use super::{MD5_KNOWN, bounded, key};

/// Encodes a request for two MD5 digests, the second of which is listed.
pub(crate) fn request() -> Vec<u8> {
    let mut bytes = vec![0; 16];
    let Key::Digest(known) = key(MD5_KNOWN) else { panic!("a digest") };
    bytes.extend_from_slice(known.bytes());
    write_request(&RequestOptions::default(), &[Column::Digests { kind: DigestKind::Md5, bytes: &bytes }])
}

pub(crate) async fn hello(connection: &Connection) -> (SendStream, RecvStream) {
    let (mut send, mut recv) = bounded(connection.open_bi()).await.unwrap();
    send.write_all(&Hello::new("raw", "1", "test").to_frame()).await.unwrap();
    let (header, body) = read_frame(&mut recv).await;
    assert!(Welcome::parse(&header, &body).is_ok());
    (send, recv)
}

pub(crate) async fn read_frame(recv: &mut RecvStream) -> (Header, Vec<u8>) {
    let mut bytes = [0; HEADER_BYTES];
    bounded(recv.read_exact(&mut bytes)).await.unwrap();
    let header = Header::parse(&bytes).unwrap();
    let mut body = vec![0; header.body_bytes as usize];
    bounded(recv.read_exact(&mut body)).await.unwrap();
    (header, body)
}

/// Opens a stream, sends bytes, and finishes it.
pub(crate) async fn send(connection: &Connection, bytes: &[u8]) -> RecvStream {
    let (mut send, recv) = bounded(connection.open_bi()).await.unwrap();
    // The server may stop the stream early; its reply is read next.
    let _ = bounded(send.write_all(bytes)).await;
    let _ = send.finish();
    recv
}

pub(crate) async fn error_code(recv: &mut RecvStream) -> ErrorCode {
    let (header, body) = read_frame(recv).await;
    assert_eq!(header.kind, FrameKind::Error);
    let error = ErrorFrame::parse(&header, &body).unwrap();
    assert!(!error.message.is_empty());
    ErrorCode::from_number(error.code).unwrap()
}

pub(crate) async fn assert_answered(recv: &mut RecvStream) {
    let (header, body) = read_frame(recv).await;
    let answer = AnswerView::parse(&header, &body).unwrap();
    assert_eq!((answer.hits().len(), answer.hits()[0].position().row), (1, 1));
}

pub(crate) fn closed_with(error: ConnectionError) -> Option<ErrorCode> {
    match error {
        ConnectionError::ApplicationClosed(close) => ErrorCode::from_number(close.error_code.into_inner() as u16),
        other => panic!("{other}"),
    }
}
