//! Lookups: batches in flight over one connection, in the task of the caller.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use bytes::Bytes;
use tokio::time::{self, Instant};

use super::{
    LookupError, LookupOptions,
    driver::Session,
    place::place,
    plan::{Batch, Planner},
};
use crate::{
    answer::Answer,
    batch::{Column, Detail},
    key::Key,
    net::exchange,
    wire::{AnswerView, ErrorFrame, FrameKind, Header, RequestOptions, WireError, write_request},
};

/// One answer frame as it came.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    header: Header,
    body: Vec<u8>,
}

impl RawAnswer {
    /// Checks the frame and gives it as borrowed rows.
    pub fn view(&self) -> Result<AnswerView<'_>, WireError> {
        AnswerView::parse(&self.header, &self.body)
    }
}

/// Asks all keys over one connection. `kinds` hears of each batch before it is sent.
pub(super) async fn ask_all(
    session: &Session,
    keys: &[Key],
    options: &LookupOptions,
    deadline: Instant,
    mut before: impl FnMut(&Batch),
) -> Result<Vec<Answer>, LookupError> {
    let mut answers = vec![Answer::not_asked(); keys.len()];
    let mut planner = Planner::new(keys, session.limits, options.detail, options.prefix);
    let at_once = (session.limits.streams as usize).min(IN_FLIGHT_MAX);
    let mut again: Vec<Batch> = Vec::new();
    let mut in_flight = InFlight(Vec::with_capacity(1));
    loop {
        while in_flight.0.len() < at_once {
            let Some(batch) = again.pop().or_else(|| planner.next()) else { break };
            before(&batch);
            in_flight.0.push(Box::pin(async move {
                let answer = ask(session, &batch.columns(), batch.asked_detail(), deadline).await;
                (batch, answer)
            }));
        }
        let Some((batch, answer)) = in_flight.next().await else { return Ok(answers) };
        let answer = answer?;
        let rest = place(&answer.view()?, &batch, &mut answers).map_err(|e| LookupError::Protocol(e.to_string()))?;
        again.extend(planner.again(&batch, &rest));
    }
}

/// Asks one batch. Dropping the future gives up the stream.
pub(super) async fn ask(
    session: &Session,
    columns: &[Column<'_>],
    detail: Detail,
    deadline: Instant,
) -> Result<RawAnswer, LookupError> {
    wait_out_pause(session, deadline).await?;
    let left = deadline.saturating_duration_since(Instant::now());
    let deadline_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
    let frame = write_request(&RequestOptions { detail, deadline_ms, ..RequestOptions::default() }, columns);
    let (mut send, mut recv) = session.connection.open_bi().await?;
    match exchange::write_frame(&mut send, Bytes::from(frame)).await {
        // Fails only if the server no longer wants it.
        Ok(()) => drop(send.finish()),
        // It says why instead of taking the rest.
        Err(exchange::ExchangeError::GivenUp(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let header = exchange::read_header(&mut recv).await?;
    if !matches!(header.kind, FrameKind::Answer | FrameKind::Error) {
        return Err(WireError::FrameKind { expected: "answer or error", found: header.kind as u8 }.into());
    }
    let body = exchange::read_body(&mut recv, &header, None).await?.bytes;
    if header.kind == FrameKind::Error {
        return Err(ErrorFrame::parse(&header, &body)?.into());
    }
    exchange::read_end(&mut recv).await?;
    Ok(RawAnswer { header, body })
}

async fn wait_out_pause(session: &Session, deadline: Instant) -> Result<(), LookupError> {
    let until = session.paused_until.lock().map_or(None, |until| *until);
    let Some(until) = until else { return Ok(()) };
    if until > deadline {
        let pause: Duration = until.saturating_duration_since(Instant::now());
        return Err(LookupError::Paused { pause });
    }
    time::sleep_until(until).await;
    Ok(())
}

/// A few futures polled together. All are polled whenever one wakes, which for so few costs less than a list of wakers.
struct InFlight<F>(Vec<Pin<Box<F>>>);

impl<F: Future> InFlight<F> {
    /// The output of whichever is ready first; `None` when there are none.
    async fn next(&mut self) -> Option<F::Output> {
        poll_fn(|context| {
            if self.0.is_empty() {
                return Poll::Ready(None);
            }
            for at in 0..self.0.len() {
                if let Poll::Ready(output) = self.0[at].as_mut().poll(context) {
                    drop(self.0.swap_remove(at));
                    return Poll::Ready(Some(output));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Batches of one lookup on their way: enough to keep a connection busy, few enough that the longest answers fit its
/// windows all at once.
pub(super) const IN_FLIGHT_MAX: usize = 8;
