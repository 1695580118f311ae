//! Serves the stream of one batch: reads the request, computes the answer, and sends it.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use quinn::RecvStream;
use tokio::time::{self, Instant};

use super::{
    compute::compute,
    counts::Event,
    memory::Held,
    reply::{Failure, ReplyStream, close_code, within},
    state::ServerSession,
};
use crate::{
    net::exchange::{self, BodyReader, ExchangeError},
    wire::{ErrorCode, Header, RequestLimits, RequestView, WireError},
};

/// Answers the batch of a stream whose header was read, and whose first byte arrived at `arrived`. The deadlines, of the
/// server and of the request, count from there and cover all of it: a peer that sends or reads too slowly is cut off.
pub(super) async fn answer(
    session: &ServerSession,
    header: &Header,
    reply: &mut ReplyStream,
    recv: &mut RecvStream,
    (arrived, deadline): (Instant, Instant),
) -> Result<(), Failure> {
    wait_for_hello(session, deadline).await?;
    let (body, deadline) = read(session, header, recv, (arrived, deadline)).await?;
    let limits = &session.shared.config.limits;
    let limits = RequestLimits {
        columns: limits.columns.into(),
        keys: limits.keys.into(),
        cost: limits.cost,
        address_bytes: limits.address_bytes as usize,
    };
    let request = RequestView::parse(header, &body.bytes, &limits)?;
    let (frame, held) = {
        let stopped = pin!(reply.stopped());
        compute(session, &request, stopped, deadline).await?
    };
    drop(body);
    // Until the answer is acknowledged its memory is held, and a server that shuts down waits.
    let sent = time::timeout_at(deadline, send(session, reply, frame)).await;
    drop(held);
    sent.unwrap_or_else(|_| {
        session.shared.counts.add(Event::AnswerUnread);
        reply.reset(close_code(ErrorCode::Deadline));
        Ok(())
    })
}

async fn wait_for_hello(session: &ServerSession, deadline: Instant) -> Result<(), Failure> {
    if *session.hello_accepted.borrow() {
        return Ok(());
    }
    let missing = || Failure::Reply {
        code: ErrorCode::HelloMissing,
        detail: session.shared.config.early_batches as u64,
        message: format!("expected a hello; at most {} batches may wait for it", session.shared.config.early_batches),
    };
    if !session.may_wait_for_hello() {
        return Err(missing());
    }
    let mut hello_accepted = session.hello_accepted.subscribe();
    match time::timeout_at(deadline, hello_accepted.wait_for(|hello_accepted| *hello_accepted)).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(missing()),
    }
}

/// A request body, and the memory that it is counted in.
struct Body {
    bytes: Vec<u8>,
    _held: Held,
}

/// Reads the body of a request, within the connection's share of the memory. Returns it with the deadline of the batch,
/// which applies from the moment at which the head of the request has arrived.
async fn read(
    session: &ServerSession,
    header: &Header,
    recv: &mut RecvStream,
    (arrived, mut deadline): (Instant, Instant),
) -> Result<(Body, Instant), Failure> {
    let limits = &session.shared.config.limits;
    if header.body_bytes > limits.request_bytes {
        let (max, found) = (u64::from(limits.request_bytes), u64::from(header.body_bytes));
        return Err(WireError::body_too_long(max, found).into());
    }
    let reserved = time::timeout_at(deadline, session.requests.reserve(header.body_bytes as usize)).await;
    let mut held = reserved.map_err(|_| Failure::deadline())?;
    let (mut body, mut has_deadline) = (BodyReader::new(header), false);
    while !body.is_complete() {
        within(deadline, body.read_more(recv)).await?;
        held.grow_to(body.bytes().len())?;
        if !has_deadline && let Some(wanted) = RequestView::deadline_ms(header, body.bytes())? {
            has_deadline = true;
            if wanted > 0 {
                deadline = deadline.min(arrived + Duration::from_millis(wanted.into()));
            }
        }
    }
    within(deadline, exchange::read_end(recv)).await?;
    Ok((Body { bytes: body.into_bytes(), _held: held }, deadline))
}

/// Sends an answer and waits until it is acknowledged.
async fn send(session: &ServerSession, reply: &mut ReplyStream, frame: Bytes) -> Result<(), Failure> {
    let last = write_in_turns(session, reply, frame).await?;
    reply.finish(last).await?;
    match reply.stopped().await {
        Ok(None) => Ok(()),
        Ok(Some(code)) => Err(Failure::Aborted(code)),
        Err(_) => Err(Failure::Lost),
    }
}

/// Writes a long answer in pieces, each in a turn, and returns the last piece, which is not written yet.
///
/// Encrypting and sending are work like looking up: if every connection had megabytes to send at once, each step of
/// another batch would wait until all of them had sent a part.
async fn write_in_turns(
    session: &ServerSession,
    reply: &mut ReplyStream,
    mut frame: Bytes,
) -> Result<Bytes, ExchangeError> {
    while frame.len() > PIECE_BYTES {
        let mut piece = frame.split_to(PIECE_BYTES);
        let turn = session.turns.next(session.connection.stable_id()).await;
        reply.write_now(&mut piece).await?;
        if piece.is_empty() {
            // The connection sends the piece before the turn ends.
            tokio::task::yield_now().await;
        }
        drop(turn);
        if !piece.is_empty() {
            // There is no room until the peer reads: others have their turn meanwhile.
            reply.write(piece).await?;
        }
    }
    Ok(frame)
}

/// The bytes of an answer that are sent in one turn: a packet train that the kernel takes at once.
const PIECE_BYTES: usize = 64 << 10;
