//! Which handshakes a worker does at the same time.
//!
//! A server that has restarted gets the handshakes of all its clients at once. If it did a little of each, none would
//! finish before nearly all of them have; one after the other, the first are done at once. Clients whose address is
//! validated do not wait for others, whose addresses may be forged.

use std::{sync::Arc, time::Duration};

use quinn::{Connection, ConnectionError, Incoming, ServerConfig};
use tokio::{sync::Semaphore, time};

/// The handshakes of one worker.
#[derive(Debug)]
pub(super) struct Handshakes {
    /// Those of clients whose address is validated.
    validated: Semaphore,
    others: Semaphore,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { validated: Semaphore::new(AT_ONCE), others: Semaphore::new(AT_ONCE) }
    }
}

impl Handshakes {
    /// Completes a handshake, when its turn has come.
    pub(super) async fn complete(
        &self,
        incoming: Incoming,
        settings: Arc<ServerConfig>,
    ) -> Result<Connection, ConnectionError> {
        let queue = if incoming.remote_address_validated() { &self.validated } else { &self.others };
        // The semaphore is never closed.
        let turn = queue.acquire().await;
        // Accepting reads the first packet, and fails at once if its TLS is refused.
        let mut connecting = incoming.accept_with(settings)?;
        if let Ok(connected) = time::timeout(TURN, &mut connecting).await {
            return connected;
        }
        // A peer that is far away, or does not exist, does not keep others from their turn.
        drop(turn);
        connecting.await
    }
}

/// Handshakes of one queue at the same time. One takes a third of a millisecond of work on either side, and a round trip:
/// enough of them to keep the core busy, few enough that each is done in some tens of milliseconds.
const AT_ONCE: usize = 64;

/// The time after which a handshake that is not complete lets the next one begin.
const TURN: Duration = Duration::from_millis(100);
