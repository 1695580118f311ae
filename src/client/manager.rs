//! The connection manager: the task that owns a client's endpoint and one connection.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::Arc,
    time::Duration,
};

use quinn::{Connection, RecvStream};
use tokio::{
    sync::{Notify, watch},
    task,
    time::{self, Instant},
};

use super::{
    coalescer::Coalescer,
    connector::{Connected, Connector, ControlStream},
    error::ConnectError,
    session::ClientSession,
};
use crate::{
    net::exchange,
    wire::{Notice, Welcome},
};

/// The state of a connection, as its manager publishes it to the handles.
#[derive(Clone, Debug)]
pub(super) struct ConnectionState {
    /// The open batches of the established connection, if there is one.
    pub(super) coalescer: Option<Arc<Coalescer<ClientSession>>>,
    /// The last welcome, updated with the generation of the last notice.
    pub(super) welcome: Arc<Welcome>,
    /// Number of completed connection attempts.
    pub(super) attempts: u64,
    /// The error of the last attempt; `None` if it succeeded.
    pub(super) failure: Option<Arc<ConnectError>>,
    /// The earliest time of the next attempt.
    pub(super) retry_at: Instant,
}

/// Runs the connection manager: watches the connection, and reconnects on demand after a loss. Returns when the last
/// handle is dropped.
pub(super) async fn run(
    mut connector: Connector,
    mut control: ControlStream,
    status: watch::Sender<ConnectionState>,
    demand: Arc<Notify>,
) {
    let mut failures = 0;
    loop {
        let session = status.borrow().coalescer.as_ref().map(|coalescer| coalescer.session().clone());
        let Some(session) = session else { return };
        tokio::select! {
            () = watch_connection(&session, &mut control, &status) => {}
            () = status.closed() => return close(&session.connection).await,
        }
        // Batches in flight keep the old connection; new ones use the next.
        status.send_modify(|status| status.coalescer = None);
        drop(session);
        control = loop {
            let retry_at = status.borrow().retry_at;
            let connecting = async {
                demand.notified().await;
                time::sleep_until(retry_at).await;
                connector.connect().await
            };
            let connected = tokio::select! {
                connected = connecting => connected,
                () = status.closed() => return,
            };
            match connected {
                Ok(Connected { session, welcome, control }) => {
                    failures = 0;
                    status.send_modify(|status| {
                        status.coalescer = Some(Arc::new(Coalescer::new(session)));
                        status.welcome = Arc::new(welcome);
                        status.attempts += 1;
                        status.failure = None;
                        // Prevents a tight loop with a server that accepts connections and drops them.
                        status.retry_at = Instant::now() + BACKOFF_MIN;
                    });
                    break control;
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot connect");
                    let pause = backoff(failures);
                    failures += 1;
                    status.send_modify(|status| {
                        status.attempts += 1;
                        status.failure = Some(Arc::new(error));
                        status.retry_at = Instant::now() + pause;
                    });
                }
            }
        };
    }
}

/// Closes a connection and returns when the close was sent, after at most [`CLOSE_ROUNDS`] milliseconds. The endpoint
/// answers late packets of the server with the close in the background, while the runtime lives: waiting for that would
/// take three round-trip timeouts, about 90 ms on loopback. If the close is lost, the connection ends with its idle
/// timeout.
async fn close(connection: &Connection) {
    let sent = || connection.stats().udp_tx.datagrams;
    let before = sent();
    connection.close(0u32.into(), b"");
    for _ in 0..CLOSE_ROUNDS {
        // On a single-threaded runtime, the endpoint sends the close now.
        task::yield_now().await;
        if sent() > before {
            return;
        }
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// Reads notices until the connection ends or the server announces that it is going away.
async fn watch_connection(
    session: &ClientSession,
    control: &mut ControlStream,
    status: &watch::Sender<ConnectionState>,
) {
    let notices = async {
        loop {
            match read_notice(&mut control.recv).await {
                Ok(Notice::NewGeneration(generation)) => {
                    status.send_modify(|status| Arc::make_mut(&mut status.welcome).generation = generation);
                }
                Ok(Notice::GoingAway { grace_ms }) => {
                    tracing::debug!(grace_ms, "the server is going away");
                    return;
                }
                Ok(Notice::RetryAfter { pause_ms }) => {
                    let until = Instant::now() + Duration::from_millis(pause_ms).min(PAUSE_MAX);
                    session.pause(until);
                }
                Ok(Notice::Unknown(_)) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot read notices");
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = notices => {}
        error = session.connection.closed() => tracing::debug!(%error, "the connection ended"),
    }
}

async fn read_notice(recv: &mut RecvStream) -> Result<Notice, exchange::ExchangeError> {
    let header = exchange::read_header(recv).await?;
    let body = exchange::read_control_body(recv, &header).await?;
    Ok(Notice::parse(&header, &body)?)
}

/// Returns the backoff after consecutive failures: it doubles with each, and half of it is random, so that the clients
/// of a restarted server do not reconnect all at once.
fn backoff(failures: u32) -> Duration {
    let full = BACKOFF_MIN.saturating_mul(1 << failures.min(16)).min(BACKOFF_MAX);
    // A new hasher has a random seed: enough for jitter, without another dependency.
    let random = RandomState::new().build_hasher().finish();
    full / 2 + full.mul_f64(random as f64 / u64::MAX as f64) / 2
}

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The longest pause that a server can impose on a client.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Milliseconds that a close may wait for space in the socket's send buffer.
const CLOSE_ROUNDS: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_within_its_bounds() {
        for failures in 0..40 {
            let pause = backoff(failures);
            assert!(pause >= BACKOFF_MIN / 2 && pause <= BACKOFF_MAX, "{pause:?}");
        }
        assert!(backoff(30) >= BACKOFF_MAX / 2);
    }
}
