//! Reads and writes frames on a QUIC stream. A header is validated before anything is allocated for its body.

use bytes::Bytes;
use quinn::{ConnectionError, ReadError, ReadExactError, RecvStream, SendStream, WriteError};
use tokio::sync::{Semaphore, SemaphorePermit};

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
    Aborted(u64),
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

/// A memory budget that the bodies of many streams share. Bytes are counted in steps as they arrive, so that an
/// announced length alone reserves nothing.
#[derive(Debug)]
pub(crate) struct FrameBudget(Semaphore);

impl FrameBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Semaphore::new((bytes / STEP_BYTES).clamp(1, Semaphore::MAX_PERMITS)))
    }
}

/// A frame body, and its permits of a budget.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    pub(crate) bytes: Vec<u8>,
    _permits: Option<SemaphorePermit<'a>>,
}

/// Reads the body that follows a header. A body of at most [`STEP_BYTES`] is read exactly, so that further frames can
/// follow on the stream; a longer one MUST be the last of its stream.
pub(crate) async fn read_body<'a>(
    stream: &mut RecvStream,
    header: &Header,
    budget: Option<&'a FrameBudget>,
) -> Result<Body<'a>, ExchangeError> {
    let length = header.body_bytes as usize;
    if length <= STEP_BYTES {
        let mut bytes = vec![0; length];
        read_exact(stream, &mut bytes).await?;
        return Ok(Body { bytes, _permits: None });
    }
    let mut bytes = Vec::with_capacity(STEP_BYTES);
    let mut permits: Option<SemaphorePermit<'a>> = None;
    // Chunks are copied out at once: a `Bytes` that is kept would pin the whole receive buffer that contains it.
    let mut chunks: [Bytes; CHUNKS] = Default::default();
    while bytes.len() < length {
        let count = stream.read_chunks(&mut chunks).await?.ok_or(ExchangeError::Truncated)?;
        for chunk in &mut chunks[..count] {
            let chunk = std::mem::take(chunk);
            if bytes.len() + chunk.len() > length {
                let found = (bytes.len() + chunk.len() - length) as u64;
                return Err(WireError::Trailing { found }.into());
            }
            if bytes.len() + chunk.len() > bytes.capacity() {
                // One step has arrived, so the announced length is credible.
                bytes.reserve_exact(length - bytes.len());
            }
            bytes.extend_from_slice(&chunk);
        }
        if let Some(budget) = budget {
            let held = permits.as_ref().map_or(0, SemaphorePermit::num_permits);
            let wanted = bytes.len() / STEP_BYTES;
            if wanted > held {
                // The semaphore is never closed.
                let more = budget.0.acquire_many((wanted - held) as u32).await.map_err(|_| ExchangeError::Truncated)?;
                match &mut permits {
                    Some(permits) => permits.merge(more),
                    None => permits = Some(more),
                }
            }
        }
    }
    Ok(Body { bytes, _permits: permits })
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
    stream.write_chunk(frame).await.map_err(|e| match e {
        WriteError::Stopped(code) => ExchangeError::Aborted(code.into_inner()),
        WriteError::ConnectionLost(e) => ExchangeError::Connection(e),
        WriteError::ClosedStream | WriteError::ZeroRttRejected => ExchangeError::Truncated,
    })
}

impl From<ReadError> for ExchangeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Aborted(code.into_inner()),
            ReadError::ConnectionLost(e) => Self::Connection(e),
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => Self::Truncated,
        }
    }
}

/// Step of the memory budget. Bodies up to this size are allocated before they arrive and are not counted, because the
/// flow-control windows bound them.
const STEP_BYTES: usize = 64 << 10;

const _: () = assert!(CONTROL_BYTES_MAX <= STEP_BYTES);

/// Chunks read from a stream at a time: each read locks the connection once.
const CHUNKS: usize = 32;
