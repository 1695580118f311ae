//! Runs the batches of a large lookup over one connection, in the task of the caller.

use tokio::time::Instant;

use super::{
    batcher::Batcher,
    config::LookupOptions,
    error::LookupError,
    exchange::{IN_FLIGHT_MAX, ask},
    in_flight::InFlight,
    key_batch::KeyBatch,
    match_answers::match_answers,
    session::ClientSession,
};
use crate::{answer::Answer, key::Key};

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
        let remaining = match_answers(&answer.view()?, &batch, &mut answers)?;
        retries.extend(batcher.retry(&batch, &remaining));
    }
}
