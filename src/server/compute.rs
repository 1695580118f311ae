//! Looks up one batch in one view of the index, slice by slice.

use std::{
    ops::ControlFlow,
    pin::Pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use quinn::{StoppedError, VarInt};
use tokio::time::{self, Instant};

use super::{
    memory::Held,
    reply::Failure,
    state::ServerSession,
    turns::Turn,
    work::{BATCH_WORK, CALL_PROBES, CALL_WORK, Metered, TURN_WORK},
};
use crate::{
    batch::{Column, Unanswered},
    engine::View,
    timestamp::Timestamp,
    wire::{AnswerMeta, AnswerWriter, ErrorCode, RequestColumn, RequestView},
};

/// Computes the answer to a request. Stops when the deadline has passed, or when the peer stops the answer.
pub(super) async fn compute(
    session: &ServerSession,
    request: &RequestView<'_>,
    stopped: Pin<&mut impl Future<Output = Result<Option<VarInt>, StoppedError>>>,
    deadline: Instant,
) -> Result<(Bytes, Held), Failure> {
    let mut slices = Slices { session, stopped, deadline, turn: None, turn_work: 0, batch_work: 0 };
    // What the answer may take at most is reserved before it is begun.
    let held = slices.wait(session.answers.reserve(session.shared.answer_bytes_max())).await?;
    slices.next_turn().await?;
    // The view is loaded when the batch begins to work: one that waits holds no view.
    let view = session.shared.index.view();
    let mut writer = session.shared.take_writer();
    let result = answer(&mut slices, request, &view, &mut writer, held).await;
    session.shared.keep_writer(writer);
    result
}

async fn answer(
    slices: &mut Slices<'_, impl Future<Output = Result<Option<VarInt>, StoppedError>>>,
    request: &RequestView<'_>,
    view: &View,
    writer: &mut AnswerWriter,
    mut held: Held,
) -> Result<(Bytes, Held), Failure> {
    check_generation(request, view)?;
    let now = now();
    writer.begin(request.columns().len() as u16);
    for (number, column) in (0..).zip(request.columns()) {
        let answered = match column {
            RequestColumn::Known(known) => {
                let query = Query { view, number, request, now };
                query.answer(slices, known, writer, &mut held).await?
            }
            RequestColumn::Unknown { .. } => match writer.mark_column_unanswered(number, Unanswered::Unsupported) {
                ControlFlow::Continue(()) => column.rows(),
                ControlFlow::Break(()) => 0,
            },
        };
        writer.answered(number, answered);
        if answered < column.rows() {
            break;
        }
    }
    let frame = Bytes::from(writer.finish(&meta(slices.session, view)));
    held.grow_to(frame.len())?;
    held.settle();
    Ok((frame, held))
}

fn check_generation(request: &RequestView<'_>, view: &View) -> Result<(), Failure> {
    let least = (request.options().generation_min, request.options().sequence_min);
    let found = (view.generation(), view.sequence());
    if found >= least {
        return Ok(());
    }
    Err(Failure::Reply {
        code: ErrorCode::Behind,
        detail: view.generation(),
        message: format!("expected at least generation {}.{}, found {}.{}", least.0, least.1, found.0, found.1),
    })
}

/// The query of one column.
struct Query<'a> {
    view: &'a View,
    number: u16,
    request: &'a RequestView<'a>,
    now: Timestamp,
}

impl Query<'_> {
    /// Answers a column. Returns the number of rows that were answered: all, unless the answer was truncated.
    async fn answer(
        &self,
        slices: &mut Slices<'_, impl Future<Output = Result<Option<VarInt>, StoppedError>>>,
        column: &Column<'_>,
        writer: &mut AnswerWriter,
        held: &mut Held,
    ) -> Result<u32, Failure> {
        let rows = column.rows() as u32;
        let detail = self.request.options().detail;
        let mut next = 0;
        // The rows of one call of the engine, fewer where keys have many records: the rows that are probed again because
        // the engine stopped before them are bounded by those that it answered.
        let mut rows_at_once = u32::MAX;
        while next < rows {
            if slices.batch_work >= BATCH_WORK {
                writer.truncate();
                break;
            }
            slices.continue_or_yield().await?;
            let within = column.rows_within(next as usize, CALL_PROBES) as u32;
            let end = within.min(next.saturating_add(rows_at_once));
            let probes = column.cost(next as usize..end as usize);
            let mut metered = Metered::new(writer, probes, CALL_WORK);
            let flow = self.view.answer(self.number, column, next..end, detail, self.now, &mut metered);
            let (work, is_paused) = (metered.work(), metered.is_paused());
            slices.count(work);
            held.grow_to(writer.bytes())?;
            match flow {
                ControlFlow::Continue(()) => {
                    next = end;
                    rows_at_once = rows_at_once.saturating_mul(2);
                }
                ControlFlow::Break(row) => {
                    rows_at_once = (row - next).max(1).saturating_mul(2);
                    next = row;
                    if !is_paused {
                        // The answer has no more room.
                        break;
                    }
                }
            }
        }
        Ok(next)
    }
}

/// The slices in which a batch is computed.
struct Slices<'a, S> {
    session: &'a ServerSession,
    /// Completes when the peer stops the answer.
    stopped: Pin<&'a mut S>,
    deadline: Instant,
    turn: Option<Turn>,
    /// The work of this turn, and of the batch.
    turn_work: u64,
    batch_work: u64,
}

impl<S: Future<Output = Result<Option<VarInt>, StoppedError>>> Slices<'_, S> {
    fn count(&mut self, work: u64) {
        self.turn_work += work;
        self.batch_work += work;
    }

    /// Lets others work if the work of this turn is done. The deadline is looked at here, and whether the peer has
    /// stopped the answer.
    async fn continue_or_yield(&mut self) -> Result<(), Failure> {
        if self.turn_work < TURN_WORK {
            return Ok(());
        }
        self.turn = None;
        // Packets are received and sent in between, also if no other batch waits.
        tokio::task::yield_now().await;
        if Instant::now() > self.deadline {
            return Err(Failure::deadline());
        }
        tokio::select! {
            biased;
            stopped = &mut self.stopped => return Err(stopped_failure(stopped)),
            () = std::future::ready(()) => {}
        }
        self.next_turn().await
    }

    async fn next_turn(&mut self) -> Result<(), Failure> {
        let session = self.session;
        self.turn = Some(self.wait(session.turns.next(session.connection.stable_id())).await?);
        self.turn_work = 0;
        Ok(())
    }

    /// Waits for something, until the deadline or until the peer stops the answer. Nearly always it is there: then
    /// nothing else is polled.
    async fn wait<T>(&mut self, wanted: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            value = wanted => Ok(value),
            stopped = &mut self.stopped => Err(stopped_failure(stopped)),
            () = time::sleep_until(self.deadline) => Err(Failure::deadline()),
        }
    }
}

/// Returns why an answer that was stopped fails.
fn stopped_failure(stopped: Result<Option<VarInt>, StoppedError>) -> Failure {
    stopped.ok().flatten().map_or(Failure::Lost, Failure::Aborted)
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
