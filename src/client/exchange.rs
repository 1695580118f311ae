//! The exchange of one batch: a request and its answer on a stream of their own.

use bytes::Bytes;
use tokio::time::Instant;

use super::{error::LookupError, session::ClientSession};
use crate::{
    batch::{Column, Detail},
    net::exchange::{self, ExchangeError},
    wire::{AnswerView, ErrorFrame, FrameKind, Header, RequestOptions, WireError, write_request},
};

/// One answer frame as received.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    header: Header,
    body: Vec<u8>,
}

impl RawAnswer {
    /// Validates the frame and returns a view of its rows.
    pub fn view(&self) -> Result<AnswerView<'_>, WireError> {
        AnswerView::parse(&self.header, &self.body)
    }
}

/// Sends one batch and returns its answer frame. Dropping the future resets the stream.
pub(super) async fn ask(
    session: &ClientSession,
    columns: &[Column<'_>],
    detail: Detail,
    deadline: Instant,
) -> Result<RawAnswer, LookupError> {
    session.wait_for_pause(deadline).await?;
    let _in_flight = session.activity.begin();
    let left = deadline.saturating_duration_since(Instant::now());
    let deadline_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
    let frame = write_request(&RequestOptions { detail, deadline_ms, ..RequestOptions::default() }, columns);
    let (mut send, mut recv) = session.connection.open_bi().await?;
    match exchange::write_frame(&mut send, Bytes::from(frame)).await {
        // Fails only if the server has stopped the stream.
        Ok(()) => drop(send.finish()),
        // The server sends an error frame instead of reading the rest.
        Err(ExchangeError::Aborted(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let header = exchange::read_header(&mut recv).await?;
    if !matches!(header.kind, FrameKind::Answer | FrameKind::Error) {
        return Err(WireError::FrameKind { expected: "answer or error", found: header.kind as u8 }.into());
    }
    let body = exchange::read_body(&mut recv, &header).await?;
    if header.kind == FrameKind::Error {
        return Err(ErrorFrame::parse(&header, &body)?.into());
    }
    exchange::read_end(&mut recv).await?;
    Ok(RawAnswer { header, body })
}

/// The maximum number of batches in flight over one connection: enough to keep it busy, few enough that the longest
/// answers fit its windows all at once.
pub(super) const IN_FLIGHT_MAX: usize = 8;
