//! One established connection: what is known about it, whoever sends over it.

use std::sync::{Mutex, PoisonError};

use quinn::Connection;
use tokio::{
    runtime::Handle,
    time::{self, Instant},
};

use super::{activity::Activity, error::LookupError};
use crate::wire::ServerLimits;

/// A connection whose hello was accepted.
#[derive(Debug)]
pub(super) struct ClientSession {
    pub(super) connection: Connection,
    pub(super) limits: ServerLimits,
    pub(super) activity: Activity,
    /// The runtime of the connection.
    pub(super) runtime: Handle,
    /// The end of the pause that the server requested, if any.
    paused_until: Mutex<Option<Instant>>,
}

impl ClientSession {
    /// Creates the session of a connection.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime; it must be called in the runtime of the connection.
    pub(super) fn new(connection: Connection, limits: ServerLimits) -> Self {
        Self {
            connection,
            limits,
            activity: Activity::default(),
            runtime: Handle::current(),
            paused_until: Mutex::default(),
        }
    }

    /// Makes all later batches wait until then, as the server requested.
    pub(super) fn pause(&self, until: Instant) {
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Waits for the end of a pause. Fails with [`LookupError::Paused`] at once when it ends only after the deadline.
    pub(super) async fn wait_for_pause(&self, deadline: Instant) -> Result<(), LookupError> {
        let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = until else { return Ok(()) };
        if until > deadline {
            return Err(LookupError::Paused { pause: until.saturating_duration_since(Instant::now()) });
        }
        time::sleep_until(until).await;
        Ok(())
    }
}
