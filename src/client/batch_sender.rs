//! What the coalescer needs of a connection. Tests replace it, to run the coalescer without a network and a clock.

use tokio::time::{self, Instant};

use super::{
    error::LookupError, exchange::ask, key_batch::KeyBatch, match_answers::match_answers, session::ClientSession,
};
use crate::{answer::Answer, wire::ServerLimits};

/// Sends batches, and runs what belongs to them.
pub(super) trait BatchSender: Send + Sync + 'static {
    /// Returns the limits of each batch.
    fn limits(&self) -> ServerLimits;

    /// Sends a batch and returns the answers in the order of its keys. A key that a truncated answer left out is
    /// [not asked](crate::Status::NotAsked). Dropping the future cancels the batch.
    fn send(
        &self,
        batch: &KeyBatch,
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<Answer>, LookupError>> + Send;

    /// Waits until the deadline of a batch.
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send;

    /// Runs a future in a task of its own.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);
}

impl BatchSender for ClientSession {
    fn limits(&self) -> ServerLimits {
        self.limits
    }

    async fn send(&self, batch: &KeyBatch, deadline: Instant) -> Result<Vec<Answer>, LookupError> {
        let raw = ask(self, &batch.columns(), batch.request_detail(), deadline).await?;
        let mut answers = vec![Answer::not_asked(); batch.len()];
        match_answers(&raw.view()?, batch, &mut answers)?;
        Ok(answers)
    }

    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send {
        time::sleep_until(deadline)
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }
}
