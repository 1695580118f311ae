//! The connection manager: the task that owns a client's endpoint and one connection.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use quinn::{Connection, ConnectionError, RecvStream, VarInt};
use tokio::{
    sync::watch,
    task,
    time::{self, Instant},
};

use super::{
    activity,
    coalescer::Coalescer,
    connector::{Connected, Connector, ControlStream},
    error::ConnectError,
    in_flight::InFlight,
    schedule::Schedule,
    session::ClientSession,
    status::{ConnectionState, Demand},
};
use crate::{net::exchange, wire::Notice};

/// Watches a connection, and reconnects on demand.
///
/// New batches wait for the next connection as soon as the present one ends, the server is going away, or it does not
/// respond (see [`activity`]). Batches in flight keep their connection as long as it may answer them: one that does not
/// respond is closed when another is established, and its batches are then retried there.
pub(super) struct Manager {
    connector: Connector,
    schedule: Schedule,
    status: Arc<watch::Sender<ConnectionState>>,
    demand: Arc<Demand>,
    /// The connection to begin with.
    current: Option<Established>,
}

/// An established connection.
struct Established {
    session: Arc<ClientSession>,
    coalescer: Arc<Coalescer<ClientSession>>,
    /// Completes when the connection has ended or the server is going away. It is kept while the connection is, because
    /// a notice that was read in part would be lost with it.
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// An established connection that does not respond.
struct Silent {
    established: Established,
    /// Datagrams received until then.
    received: u64,
}

impl Manager {
    /// Creates a manager and publishes the connection to begin with, if any.
    pub(super) fn new(
        connector: Connector,
        status: watch::Sender<ConnectionState>,
        demand: Arc<Demand>,
        connected: Option<Connected>,
    ) -> Self {
        let (schedule, status) = (Schedule::new(Instant::now()), Arc::new(status));
        let current = connected.map(|connected| publish(&status, connected));
        Self { connector, schedule, status, demand, current }
    }

    /// Runs until the last handle is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let mut silent = None;
            if let Some(mut established) = self.current.take() {
                let session = established.session.clone();
                tokio::select! {
                    () = &mut established.ended => {}
                    received = activity::until_silent(&session.connection, &session.activity) => {
                        tracing::debug!("the server does not respond: dialing beside the connection");
                        silent = Some(Silent { established, received });
                    }
                    () = self.status.closed() => return close(&session.connection).await,
                }
                self.status.send_modify(|status| status.coalescer = None);
            }
            self.current = self.dial(silent).await;
            if self.current.is_none() {
                return;
            }
        }
    }

    /// Connects when lookups want a connection, beside one that does not respond but may do so again. Returns the
    /// connection to use from now on; `None` when the last handle is dropped.
    async fn dial(&mut self, mut silent: Option<Silent>) -> Option<Established> {
        let Self { connector, schedule, status, demand, .. } = self;
        let is_answered = AtomicBool::new(false);
        let mut attempts = InFlight::new();
        let mut is_requested = false;
        loop {
            let is_wanted = is_requested
                || demand.is_waiting()
                || silent.as_ref().is_some_and(|silent| silent.established.session.activity.is_busy());
            let may_begin = is_wanted && (attempts.len() == 0 || schedule.is_prompt(Instant::now()));
            tokio::select! {
                Some(connected) = attempts.next() => match connected {
                    Ok(connected) => match silent {
                        Some(silent) if silent.has_responded() => return Some(republish(status, silent.established)),
                        _ => {
                            schedule.connected(Instant::now());
                            let established = publish(status, connected);
                            // After the new one is published, because its batches are now retried.
                            if let Some(silent) = silent {
                                silent.established.session.connection.close(NO_ERROR, b"no response");
                            }
                            return Some(established);
                        }
                    },
                    Err(error) => {
                        tracing::debug!(%error, "cannot connect");
                        is_answered.store(false, Relaxed);
                        let (now, is_permanent) = (Instant::now(), is_permanent(&error));
                        if is_permanent || attempts.len() == 0 || !schedule.is_prompt(now) {
                            schedule.failed(now, is_permanent);
                        }
                        status.send_modify(|status| {
                            status.failure = Some(Arc::new(error));
                            status.fails_until = schedule.fails_until();
                        });
                    }
                },
                () = time::sleep_until(schedule.next_at()), if may_begin => {
                    let now = Instant::now();
                    // A server that runs, and is slow because all its clients reconnect, is not given more to do.
                    if attempts.len() > 0 && is_answered.load(Relaxed) {
                        schedule.delay(now);
                    } else {
                        is_requested = false;
                        schedule.begun(now, attempts.len());
                        attempts.push(connector.connect(&is_answered));
                    }
                }
                () = demand.wanted(), if !is_wanted => is_requested = true,
                event = until_event(&mut silent) => match event {
                    SilentEvent::Responded(established) => return Some(republish(status, established)),
                    // It was reset: the server runs again.
                    SilentEvent::Ended(Some(ConnectionError::Reset)) => {
                        is_answered.store(true, Relaxed);
                        schedule.hasten(Instant::now());
                    }
                    SilentEvent::Ended(_) => {}
                },
                () = status.closed() => {
                    if let Some(silent) = silent {
                        close(&silent.established.session.connection).await;
                    }
                    return None;
                }
            }
        }
    }
}

/// What becomes of a connection that did not respond.
enum SilentEvent {
    Responded(Established),
    /// It has ended, for this reason; or the server is going away.
    Ended(Option<ConnectionError>),
}

/// Waits for a connection to respond or to end, and takes it. Never completes without one.
async fn until_event(slot: &mut Option<Silent>) -> SilentEvent {
    let Some(silent) = slot else { return std::future::pending().await };
    let connection = &silent.established.session.connection;
    let has_ended = tokio::select! {
        () = &mut silent.established.ended => true,
        () = activity::until_heard(connection, silent.received) => false,
    };
    // The last datagram may be a reset.
    let reason = connection.close_reason();
    match slot.take() {
        Some(silent) if !has_ended && reason.is_none() => SilentEvent::Responded(silent.established),
        _ => SilentEvent::Ended(reason),
    }
}

impl Silent {
    fn has_responded(&self) -> bool {
        let connection = &self.established.session.connection;
        connection.close_reason().is_none() && activity::datagrams(connection) != self.received
    }
}

/// Publishes a new connection to the handles.
fn publish(status: &Arc<watch::Sender<ConnectionState>>, connected: Connected) -> Established {
    let Connected { session, welcome, control } = connected;
    let coalescer = Arc::new(Coalescer::new(session.clone()));
    status.send_modify(|status| {
        status.coalescer = Some(coalescer.clone());
        status.welcome = Some(Arc::new(welcome));
        (status.failure, status.fails_until) = (None, None);
    });
    let ended = Box::pin(until_end(session.clone(), control, status.clone()));
    Established { session, coalescer, ended }
}

/// Publishes a connection again that has responded after all.
fn republish(status: &watch::Sender<ConnectionState>, established: Established) -> Established {
    status.send_modify(|status| {
        status.coalescer = Some(established.coalescer.clone());
        (status.failure, status.fails_until) = (None, None);
    });
    established
}

/// Returns whether connecting fails until a configuration changes: the server has responded, and is not the right one.
fn is_permanent(error: &ConnectError) -> bool {
    use ConnectError::{Protocol, Server, Tls, WrongCertificate, WrongPin, WrongProtocol};
    matches!(error, Tls(_) | WrongPin { .. } | WrongCertificate { .. } | WrongProtocol | Server { .. } | Protocol(_))
}

/// Closes a connection and returns when the close was sent, after at most [`CLOSE_ROUNDS`] milliseconds. The endpoint
/// answers late packets of the server with the close in the background, while the runtime lives: waiting for that would
/// take three round-trip timeouts, about 90 ms on loopback. If the close is lost, the connection ends with its idle
/// timeout.
async fn close(connection: &Connection) {
    let sent = || connection.stats().udp_tx.datagrams;
    let before = sent();
    connection.close(NO_ERROR, b"");
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
async fn until_end(
    session: Arc<ClientSession>,
    mut control: ControlStream,
    status: Arc<watch::Sender<ConnectionState>>,
) {
    let notices = async {
        loop {
            match read_notice(&mut control.recv).await {
                Ok(Notice::NewGeneration(generation)) => {
                    status.send_modify(|status| {
                        if let Some(welcome) = &mut status.welcome {
                            Arc::make_mut(welcome).generation = generation;
                        }
                    });
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

/// The code of a close without an error.
const NO_ERROR: VarInt = VarInt::from_u32(0);

/// The longest pause that a server can impose on a client.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Milliseconds that a close may wait for space in the socket's send buffer.
const CLOSE_ROUNDS: u32 = 100;
