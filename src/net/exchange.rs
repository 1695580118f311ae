//! Reads and writes frames on a QUIC stream. A header is validated before anything is allocated for its body.

use std::{future::poll_fn, pin::pin, task::Poll};

use bytes::Bytes;
use quinn::{ConnectionError, ReadError, ReadExactError, RecvStream, SendStream, VarInt, WriteError};

use crate::{
    limits::CONTROL_BYTES_MAX,
    wire::{HEADER_BYTES, Header, WireError},
};

/// Why a frame could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("malformed frame: {0}")]
    Wire(#[from] WireError),
    #[error("the stream ended within a frame")]
    Truncated,
    #[error("the peer aborted the stream with code {0}")]
    Aborted(VarInt),
    #[error(transparent)]
    Connection(ConnectionError),
}

/// Reads and parses a frame header.
pub(crate) async fn read_header(stream: &mut RecvStream) -> Result<Header, ExchangeError> {
    let mut bytes = [0; HEADER_BYTES];
    read_exact(stream, &mut bytes).await?;
    Ok(Header::parse(&bytes)?)
}

async fn read_exact(stream: &mut RecvStream, bytes: &mut [u8]) -> Result<(), ExchangeError> {
    stream.read_exact(bytes).await.map_err(|e| match e {
        ReadExactError::FinishedEarly(_) => ExchangeError::Truncated,
        ReadExactError::ReadError(e) => e.into(),
    })
}

/// Reads the body of a control frame (hello, welcome, notice), which other frames MAY follow on its stream. Its length
/// was checked with the header.
pub(crate) async fn read_control_body(stream: &mut RecvStream, header: &Header) -> Result<Vec<u8>, ExchangeError> {
    let length = header.body_bytes as usize;
    if length > CONTROL_BYTES_MAX {
        return Err(WireError::body_too_long(CONTROL_BYTES_MAX as u64, length as u64).into());
    }
    let mut bytes = vec![0; length];
    read_exact(stream, &mut bytes).await?;
    Ok(bytes)
}

/// Reads the whole body of the last frame of a stream.
pub(crate) async fn read_body(stream: &mut RecvStream, header: &Header) -> Result<Vec<u8>, ExchangeError> {
    let mut body = BodyReader::new(header);
    while !body.is_complete() {
        body.read_more(stream).await?;
    }
    Ok(body.into_bytes())
}

/// The body of the last frame of a stream, read as it arrives, so that the reader can count what it holds and look at
/// the head before the rest has arrived. An announced length alone allocates nothing.
#[derive(Debug)]
pub(crate) struct BodyReader {
    bytes: Vec<u8>,
    length: usize,
}

impl BodyReader {
    pub(crate) fn new(header: &Header) -> Self {
        Self { bytes: Vec::new(), length: header.body_bytes as usize }
    }

    /// Returns the bytes that have arrived.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.bytes.len() == self.length
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Waits for more bytes and appends them. Fails with [`WireError::Trailing`] when more arrive than were announced.
    pub(crate) async fn read_more(&mut self, stream: &mut RecvStream) -> Result<(), ExchangeError> {
        // Chunks are copied out at once: a `Bytes` that is kept would pin the whole receive buffer that contains it.
        let mut chunks: [Bytes; CHUNKS] = Default::default();
        let count = stream.read_chunks(&mut chunks).await?.ok_or(ExchangeError::Truncated)?;
        let arrived = self.bytes.len() + chunks[..count].iter().map(Bytes::len).sum::<usize>();
        if arrived > self.length {
            return Err(WireError::Trailing { found: (arrived - self.length) as u64 }.into());
        }
        if arrived > self.bytes.capacity() {
            // Once a step has arrived, the announced length is credible.
            let wanted = if arrived >= STEP_BYTES { self.length } else { arrived };
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        for chunk in &mut chunks[..count] {
            self.bytes.extend_from_slice(&std::mem::take(chunk));
        }
        Ok(())
    }
}

/// Waits for the end of a stream after its last frame. Fails with [`WireError::Trailing`] when more bytes follow.
pub(crate) async fn read_end(stream: &mut RecvStream) -> Result<(), ExchangeError> {
    match stream.read_chunk(usize::MAX, true).await? {
        None => Ok(()),
        Some(chunk) => Err(WireError::Trailing { found: chunk.bytes.len() as u64 }.into()),
    }
}

/// Writes a whole frame without copying it.
pub(crate) async fn write_frame(stream: &mut SendStream, frame: Bytes) -> Result<(), ExchangeError> {
    Ok(stream.write_chunk(frame).await?)
}

/// Writes as many of the bytes as there is room for, without waiting, and removes them.
pub(crate) async fn write_now(stream: &mut SendStream, bytes: &mut Bytes) -> Result<(), ExchangeError> {
    while !bytes.is_empty() {
        let mut chunks = [std::mem::take(bytes)];
        let written = poll_once(stream.write_chunks(&mut chunks)).await;
        [*bytes] = chunks;
        match written {
            Poll::Ready(written) => drop(written?),
            Poll::Pending => break,
        }
    }
    Ok(())
}

/// Polls a future once and drops it.
async fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

impl From<WriteError> for ExchangeError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::Aborted(code),
            WriteError::ConnectionLost(e) => Self::Connection(e),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Truncated,
        }
    }
}

impl From<ReadError> for ExchangeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Aborted(code),
            ReadError::ConnectionLost(e) => Self::Connection(e),
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => Self::Truncated,
        }
    }
}

/// The bytes of a body that must have arrived before memory is allocated for all of it.
const STEP_BYTES: usize = 64 << 10;

/// Chunks read from a stream at a time: each read locks the connection once.
const CHUNKS: usize = 32;
