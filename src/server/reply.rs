//! The sending side of a stream: it ends with a whole frame or with a reset that has a code, however its task ends.

use bytes::Bytes;
use quinn::{SendStream, VarInt};
use tokio::time::{self, Instant};

use super::memory::Spent;
use crate::{
    net::exchange::{self, ExchangeError},
    wire::{ErrorCode, ErrorFrame, WireError},
};

/// Why a stream failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// An error frame is sent to the peer.
    Reply {
        /// The code.
        code: ErrorCode,
        /// The limit that was exceeded, or another number that the code specifies.
        detail: u64,
        /// The message, for humans.
        message: String,
    },
    /// The peer reset or stopped the stream with this code: there is nobody to tell.
    Aborted(VarInt),
    /// The connection was lost.
    Lost,
}

/// The stream of an answer. It is reset with [`ErrorCode::Internal`] when it is dropped before a frame was finished or
/// it was reset, as by a panic: never finished without a frame.
#[derive(Debug)]
pub(super) struct ReplyStream {
    send: SendStream,
    has_ended: bool,
}

impl ReplyStream {
    pub(super) fn new(send: SendStream) -> Self {
        Self { send, has_ended: false }
    }

    /// Writes a frame that others may follow.
    pub(super) async fn write(&mut self, frame: Bytes) -> Result<(), ExchangeError> {
        exchange::write_frame(&mut self.send, frame).await
    }

    /// Writes as much as there is room for now, and leaves the rest.
    pub(super) async fn write_now(&mut self, bytes: &mut Bytes) -> Result<(), ExchangeError> {
        exchange::write_now(&mut self.send, bytes).await
    }

    /// Writes the last frame.
    pub(super) async fn finish(&mut self, frame: Bytes) -> Result<(), ExchangeError> {
        self.write(frame).await?;
        // Fails only if the peer has stopped the stream.
        let _ = self.send.finish();
        self.has_ended = true;
        Ok(())
    }

    /// Completes when the peer has acknowledged everything (`None`) or has stopped the stream, with its code.
    pub(super) fn stopped(&self) -> impl Future<Output = Result<Option<VarInt>, quinn::StoppedError>> + use<> {
        self.send.stopped()
    }

    /// Resets the stream, also one that is finished: what was not acknowledged is not sent again, and its memory is
    /// free.
    pub(super) fn reset(&mut self, code: VarInt) {
        self.has_ended = true;
        // Fails only if all was acknowledged, or the connection is lost.
        let _ = self.send.reset(code);
    }

    /// Ends the stream after a failure: with an error frame if the peer takes it in time, else with a reset.
    pub(super) async fn fail(&mut self, failure: Failure, retry_after_ms: u32, timeout: time::Duration) {
        match failure {
            Failure::Reply { code, detail, message } => {
                let frame = ErrorFrame { code: code.number(), retry_after_ms, detail, message: &message }.to_frame();
                let told = async {
                    self.finish(frame.into()).await.ok()?;
                    self.stopped().await.ok()
                };
                if !matches!(time::timeout(timeout, told).await, Ok(Some(_))) {
                    self.reset(close_code(code));
                }
            }
            Failure::Aborted(code) => self.reset(code),
            // Nothing can be sent any more.
            Failure::Lost => self.has_ended = true,
        }
    }
}

impl Drop for ReplyStream {
    fn drop(&mut self) {
        if !self.has_ended {
            self.reset(close_code(ErrorCode::Internal));
        }
    }
}

impl Failure {
    pub(super) fn deadline() -> Self {
        Self::Reply { code: ErrorCode::Deadline, detail: 0, message: "the batch took longer than its deadline".into() }
    }
}

impl From<Spent> for Failure {
    fn from(Spent(name): Spent) -> Self {
        Self::Reply {
            code: ErrorCode::Overloaded,
            detail: 0,
            message: format!("the server has no memory left for {name}; retry later"),
        }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::Reply { code: error.code(), detail: error.limit(), message: error.to_string() }
    }
}

impl From<ExchangeError> for Failure {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Wire(error) => error.into(),
            ExchangeError::Truncated => {
                Self::Reply { code: ErrorCode::Malformed, detail: 0, message: "the stream ended within a frame".into() }
            }
            ExchangeError::Aborted(code) => Self::Aborted(code),
            ExchangeError::Connection(_) => Self::Lost,
        }
    }
}

/// Awaits an exchange. Fails with [`Failure::deadline`] when it is not complete at the deadline.
pub(super) async fn within<T>(
    deadline: Instant,
    exchange: impl Future<Output = Result<T, ExchangeError>>,
) -> Result<T, Failure> {
    match time::timeout_at(deadline, exchange).await {
        Ok(result) => result.map_err(Failure::from),
        Err(_) => Err(Failure::deadline()),
    }
}

/// Returns a code as the application error code that closes a stream or connection.
pub(super) fn close_code(code: ErrorCode) -> VarInt {
    VarInt::from_u32(u32::from(code.number()))
}
