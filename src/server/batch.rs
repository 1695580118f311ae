//! Answers one batch: reads the request, looks it up in one view of the index, and writes the answer.

use std::{
    ops::ControlFlow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::time::{self, Instant};

use super::connection::{Failure, ServerSession, within};
use crate::{
    batch::Unanswered,
    engine::View,
    net::exchange,
    timestamp::Timestamp,
    wire::{AnswerMeta, AnswerWriter, ErrorCode, Header, RequestColumn, RequestLimits, RequestView, WireError},
};

/// Answers the batch of a stream whose header was read. The deadline covers all of it: the stream of a peer that sends
/// or reads too slowly is reset.
pub(super) async fn answer(
    session: &ServerSession,
    header: &Header,
    send: &mut SendStream,
    recv: &mut RecvStream,
    deadline: Instant,
) -> Result<(), Failure> {
    let started = Instant::now();
    wait_for_hello(session, deadline).await?;
    let limits = &session.shared.config.limits;
    if header.body_bytes > limits.request_bytes {
        let (max, found) = (u64::from(limits.request_bytes), u64::from(header.body_bytes));
        return Err(WireError::body_too_long(max, found).into());
    }
    let body = within(deadline, exchange::read_body(recv, header, Some(&session.shared.frames))).await?;
    within(deadline, exchange::read_end(recv)).await?;
    let request_limits = RequestLimits {
        columns: limits.columns.into(),
        keys: limits.keys.into(),
        cost: limits.cost,
        address_bytes: limits.address_bytes as usize,
    };
    let request = RequestView::parse(header, &body.bytes, &request_limits)?;
    let asked = Duration::from_millis(request.options().deadline_ms.into());
    let deadline = if asked.is_zero() { deadline } else { deadline.min(started + asked) };

    let mut writer = session.shared.take_writer();
    let frame = compute(session, &request, &mut writer, deadline).await;
    session.shared.keep_writer(writer);
    let frame = frame?;
    drop(body);
    let sent = async {
        exchange::write_frame(send, frame).await?;
        // Fails only if the peer has stopped the stream.
        let _ = send.finish();
        Ok(())
    };
    if let Err(failure) = within(deadline, sent).await {
        let _ = send.reset(super::close_code(ErrorCode::Deadline));
        return Err(failure);
    }
    // The batch ends when its answer was acknowledged: a server that shuts down waits for that.
    let _ = time::timeout_at(deadline, send.stopped()).await;
    Ok(())
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

/// Looks up a request in slices, and yields to other batches in between.
async fn compute(
    session: &ServerSession,
    request: &RequestView<'_>,
    writer: &mut AnswerWriter,
    deadline: Instant,
) -> Result<Bytes, Failure> {
    let view = session.shared.index.view();
    let least = (request.options().generation_min, request.options().sequence_min);
    if (view.generation(), view.sequence()) < least {
        return Err(Failure::Reply {
            code: ErrorCode::Behind,
            detail: view.generation(),
            message: format!(
                "expected at least generation {}.{}, found {}.{}",
                least.0,
                least.1,
                view.generation(),
                view.sequence()
            ),
        });
    }
    let now = now();
    writer.begin(request.columns().len() as u16);
    let mut since_yield = 0;
    for (number, column) in (0..).zip(request.columns()) {
        let rows = column.rows();
        let answered = match column {
            RequestColumn::Known(known) => {
                let mut next = 0;
                loop {
                    let end = known.rows_within(next as usize, SLICE_COST) as u32;
                    let stopped = view.answer(number, known, next..end, request.options().detail, now, writer);
                    since_yield += known.cost(next as usize..end as usize);
                    if let ControlFlow::Break(row) = stopped {
                        break row;
                    }
                    next = end;
                    if next == rows {
                        break rows;
                    }
                    if since_yield >= SLICE_COST {
                        since_yield = 0;
                        tokio::task::yield_now().await;
                        if Instant::now() > deadline {
                            return Err(Failure::deadline());
                        }
                    }
                }
            }
            RequestColumn::Unknown { .. } => match writer.mark_column_unanswered(number, Unanswered::Unsupported) {
                ControlFlow::Continue(()) => rows,
                ControlFlow::Break(()) => 0,
            },
        };
        writer.answered(number, answered);
        if answered < rows {
            break;
        }
    }
    Ok(writer.finish(&meta(session, &view)).into())
}

fn meta<'a>(session: &ServerSession, view: &'a View) -> AnswerMeta<'a> {
    let config = &session.shared.config;
    let seconds = |ttl: Duration| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    AnswerMeta {
        dataset: view.dataset(),
        generation: view.generation(),
        sequence: view.sequence(),
        positive_ttl_s: seconds(config.positive_ttl),
        negative_ttl_s: seconds(config.negative_ttl),
    }
}

/// Returns the current time. A clock before 1970 or after 2106 reads as the first second: then no record has expired.
fn now() -> Timestamp {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() as i64);
    Timestamp::from_unix(seconds).unwrap_or(FIRST_SECOND)
}

const FIRST_SECOND: Timestamp = match Timestamp::from_seconds(1) {
    Some(time) => time,
    None => unreachable!(),
};

/// Work between two yields, in probes: about 40 µs, as a probe of a large index takes at most 10 ns.
const SLICE_COST: u64 = 4_096;
