//! Runs the batches of a lookup over one connection, in the task of the caller.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{self, Instant};

use super::{
    LookupError, LookupOptions,
    batcher::{Batcher, KeyBatch},
    connector::ClientSession,
    in_flight::InFlight,
    match_answers::match_answers,
};
use crate::{
    answer::Answer,
    batch::{Column, Detail},
    key::Key,
    net::exchange,
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

/// Looks up all keys over one connection. Calls `on_batch` with each batch before it is sent.
pub(super) async fn ask_all(
    session: &ClientSession,
    keys: &[Key],
    options: &LookupOptions,
    deadline: Instant,
    mut on_batch: impl FnMut(&KeyBatch),
) -> Result<Vec<Answer>, LookupError> {
    let mut answers = vec![Answer::not_asked(); keys.len()];
    let mut batcher = Batcher::new(keys, session.limits, options.detail, options.prefix);
    let in_flight_max = (session.limits.streams as usize).min(IN_FLIGHT_MAX);
    let mut retries: Vec<KeyBatch> = Vec::new();
    let mut in_flight = InFlight::new();
    loop {
        while in_flight.len() < in_flight_max {
            let Some(batch) = retries.pop().or_else(|| batcher.next()) else { break };
            on_batch(&batch);
            in_flight.push(async move {
                let answer = ask(session, &batch.columns(), batch.request_detail(), deadline).await;
                (batch, answer)
            });
        }
        let Some((batch, answer)) = in_flight.next().await else { return Ok(answers) };
        let answer = answer?;
        let remaining =
            match_answers(&answer.view()?, &batch, &mut answers).map_err(|e| LookupError::Protocol(e.to_string()))?;
        retries.extend(batcher.retry(&batch, &remaining));
    }
}

/// Sends one batch and returns its answer frame. Dropping the future resets the stream.
pub(super) async fn ask(
    session: &ClientSession,
    columns: &[Column<'_>],
    detail: Detail,
    deadline: Instant,
) -> Result<RawAnswer, LookupError> {
    wait_for_pause(session, deadline).await?;
    let _in_flight = session.activity.begin();
    let left = deadline.saturating_duration_since(Instant::now());
    let deadline_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
    let frame = write_request(&RequestOptions { detail, deadline_ms, ..RequestOptions::default() }, columns);
    let (mut send, mut recv) = session.connection.open_bi().await?;
    match exchange::write_frame(&mut send, Bytes::from(frame)).await {
        // Fails only if the server has stopped the stream.
        Ok(()) => drop(send.finish()),
        // The server sends an error frame instead of reading the rest.
        Err(exchange::ExchangeError::Aborted(_)) => {}
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

async fn wait_for_pause(session: &ClientSession, deadline: Instant) -> Result<(), LookupError> {
    let until = session.paused_until.lock().map_or(None, |until| *until);
    let Some(until) = until else { return Ok(()) };
    if until > deadline {
        let pause: Duration = until.saturating_duration_since(Instant::now());
        return Err(LookupError::Paused { pause });
    }
    time::sleep_until(until).await;
    Ok(())
}

/// The maximum number of batches in flight: enough to keep a connection busy, few enough that the longest answers fit
/// its windows all at once.
pub(super) const IN_FLIGHT_MAX: usize = 8;
