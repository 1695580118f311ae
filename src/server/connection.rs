//! Serves one connection: the handshake, the notices, and the streams of batches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    task::JoinSet,
    time::{self, Instant},
};

use super::{ServerState, batch, close_code, report_panic};
use crate::{
    key::KeyKind,
    net::{exchange, transport},
    wire::{self, ErrorCode, ErrorFrame, FrameKind, Header, Hello, Notice, Welcome, WireError},
};

/// The state that the streams of one connection share.
pub(super) struct ServerSession {
    pub(super) shared: Arc<ServerState>,
    pub(super) connection: Connection,
    /// Whether a hello was received: a second one is an error.
    hello_received: AtomicBool,
    /// Whether the hello was accepted.
    pub(super) hello_accepted: watch::Sender<bool>,
    /// Number of batches received before the hello was accepted.
    pub(super) early: AtomicUsize,
}

/// The control stream, and the flow-control windows that were opened for its connection.
struct ControlStream {
    send: SendStream,
    recv: RecvStream,
    windows: Option<OwnedSemaphorePermit>,
}

/// Why a stream failed.
pub(super) enum Failure {
    /// An error frame is sent to the peer.
    Reply { code: ErrorCode, detail: u64, message: String },
    /// The peer has disconnected or aborted the stream: no error frame can be sent.
    Disconnected,
}

/// Serves a connection until it ends.
pub(super) async fn serve(shared: Arc<ServerState>, connection: Connection) {
    let session = Arc::new(ServerSession {
        shared: shared.clone(),
        connection: connection.clone(),
        hello_received: AtomicBool::new(false),
        hello_accepted: watch::Sender::new(false),
        early: AtomicUsize::new(0),
    });
    let mut streams = JoinSet::new();
    let mut notices = JoinSet::new();
    // Held for the lifetime of the connection, which may exceed that of its control stream.
    let mut _windows = None;
    let mut going_away = shared.going_away.subscribe();
    let mut is_draining = false;
    let hello_by = time::sleep(shared.config.hello_deadline);
    let drain = time::sleep(Duration::MAX);
    tokio::pin!(hello_by, drain);
    loop {
        tokio::select! {
            accepted = connection.accept_bi() => match accepted {
                Ok((send, recv)) => drop(streams.spawn(stream(session.clone(), send, recv))),
                Err(error) => {
                    tracing::debug!(address = %connection.remote_address(), %error, "connection ended");
                    break;
                }
            },
            Some(ended) = streams.join_next(), if !streams.is_empty() => {
                if let Some(Some(mut control)) = report_panic(ended) {
                    _windows = control.windows.take();
                    notices.spawn(notify(session.clone(), control));
                }
            }
            () = &mut hello_by, if !*session.hello_accepted.borrow() => {
                connection.close(close_code(ErrorCode::HelloMissing), b"no hello within the deadline");
                break;
            }
            _ = going_away.wait_for(|going| *going), if !is_draining => {
                is_draining = true;
                drain.as_mut().reset(Instant::now() + drain_delay(&connection));
            }
            // Batches that the client sent before it received the notice are still answered.
            () = &mut drain, if is_draining => {
                if streams.is_empty() {
                    connection.close(close_code(ErrorCode::GoingAway), b"the server is shutting down");
                    break;
                }
                drain.as_mut().reset(Instant::now() + drain_delay(&connection));
            }
        }
    }
}

/// Returns the drain delay: the time for the going-away notice to reach the client, and for the batches that it sent
/// until then to arrive.
fn drain_delay(connection: &Connection) -> Duration {
    (connection.rtt() * 3).clamp(Duration::from_millis(50), Duration::from_secs(1))
}

/// Serves one stream up to its answer. Returns the control stream, once its hello is accepted.
async fn stream(session: Arc<ServerSession>, mut send: SendStream, mut recv: RecvStream) -> Option<ControlStream> {
    let deadline = Instant::now() + Duration::from_millis(session.shared.config.limits.deadline_ms.into());
    let header = within(deadline, exchange::read_header(&mut recv)).await;
    let result = match header {
        Ok(header) => match header.kind {
            FrameKind::Request => batch::answer(&session, &header, &mut send, &mut recv, deadline).await,
            FrameKind::Hello => match handshake(&session, &header, &mut send, &mut recv, deadline).await {
                Ok(windows) => return Some(ControlStream { send, recv, windows }),
                Err(failure) => Err(failure),
            },
            kind => Err(WireError::FrameKind { expected: "hello or request", found: kind as u8 }.into()),
        },
        Err(failure) => Err(failure),
    };
    if let Err(Failure::Reply { code, detail, message }) = result {
        let address = session.connection.remote_address();
        tracing::debug!(%address, code = code.number(), message, "refused");
        let retry_after_ms = if code == ErrorCode::Overloaded { RETRY_AFTER_MS } else { 0 };
        let frame = ErrorFrame { code: code.number(), retry_after_ms, detail, message: &message }.to_frame();
        // The peer need not send the rest of its request.
        let _ = recv.stop(close_code(code));
        let reply = async {
            exchange::write_frame(&mut send, frame.into()).await.ok()?;
            send.finish().ok()?;
            send.stopped().await.ok()
        };
        let _ = time::timeout(REPLY_TIMEOUT, reply).await;
    }
    None
}

/// Accepts a hello: sends the welcome and opens the windows, whose permit it returns. Fails when the frame is
/// malformed, is a second hello, or supports no common version.
async fn handshake(
    session: &ServerSession,
    header: &Header,
    send: &mut SendStream,
    recv: &mut RecvStream,
    deadline: Instant,
) -> Result<Option<OwnedSemaphorePermit>, Failure> {
    if session.hello_received.swap(true, Relaxed) {
        return Err(WireError::FrameKind { expected: "request after the first hello", found: header.kind as u8 }.into());
    }
    let body = within(deadline, exchange::read_body(recv, header, None)).await?;
    let hello = Hello::parse(header, &body.bytes)?;
    if !(hello.version_min..=hello.version_max).contains(&wire::VERSION) {
        return Err(Failure::Reply {
            code: ErrorCode::UnsupportedVersion,
            detail: u64::from(wire::VERSION),
            message: format!(
                "expected a client that supports protocol version {}, found {} to {}",
                wire::VERSION,
                hello.version_min,
                hello.version_max
            ),
        });
    }
    tracing::debug!(
        address = %session.connection.remote_address(),
        software = hello.software,
        version = hello.software_version,
        platform = hello.platform,
        "hello"
    );
    let frame = Bytes::from(welcome(&session.shared).to_frame());
    let windows = open_windows(session);
    within(deadline, exchange::write_frame(send, frame)).await?;
    session.hello_accepted.send_replace(true);
    Ok(windows)
}

fn welcome(shared: &ServerState) -> Welcome {
    let view = shared.index.view();
    Welcome {
        version: wire::VERSION,
        limits: shared.config.limits,
        dataset: view.dataset().into(),
        generation: view.generation(),
        sequence: view.sequence(),
        created: Some(view.created()),
        kinds: KeyKind::ALL.into_iter().map(|kind| (kind.number(), view.records(kind))).collect(),
        software: concat!("ksn ", env!("CARGO_PKG_VERSION")).into(),
    }
}

/// Grows the windows within the budget of the server. If the budget is exhausted, the connection keeps its small
/// windows: slower, still correct.
fn open_windows(session: &ServerSession) -> Option<OwnedSemaphorePermit> {
    let window_bytes = session.shared.window_bytes;
    let permits = session.shared.windows.clone().try_acquire_many_owned(window_bytes >> 10).ok();
    let bytes = if permits.is_some() { window_bytes } else { transport::EARLY_WINDOW_BYTES };
    transport::open_windows(&session.connection, bytes, session.shared.config.limits.streams + 1);
    permits
}

/// Sends notices on the control stream until the connection ends.
async fn notify(session: Arc<ServerSession>, mut control: ControlStream) {
    let mut generation = session.shared.generation.subscribe();
    let mut going_away = session.shared.going_away.subscribe();
    let mut is_going_away = false;
    let mut finished = false;
    loop {
        let notice = tokio::select! {
            Ok(()) = generation.changed() => Notice::NewGeneration(*generation.borrow_and_update()),
            Ok(_) = going_away.wait_for(|going| *going), if !is_going_away => {
                is_going_away = true;
                Notice::GoingAway { grace_ms: session.shared.config.grace.as_millis() as u64 }
            }
            more = exchange::read_end(&mut control.recv), if !finished => {
                if let Err(exchange::ExchangeError::Wire(_)) = more {
                    let code = close_code(ErrorCode::UnexpectedFrame);
                    session.connection.close(code, b"unexpected frame after the hello on the control stream");
                    return;
                }
                finished = true;
                continue;
            }
            else => return,
        };
        if exchange::write_frame(&mut control.send, notice.to_frame().into()).await.is_err() {
            return;
        }
    }
}

/// Awaits an exchange. Fails with [`Failure::deadline`] when it is not complete at the deadline.
pub(super) async fn within<T>(
    deadline: Instant,
    exchange: impl Future<Output = Result<T, exchange::ExchangeError>>,
) -> Result<T, Failure> {
    match time::timeout_at(deadline, exchange).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(exchange::ExchangeError::Wire(error))) => Err(error.into()),
        Ok(Err(exchange::ExchangeError::Truncated)) => Err(Failure::Reply {
            code: ErrorCode::Malformed,
            detail: 0,
            message: "the stream ended within a frame".into(),
        }),
        Ok(Err(_)) => Err(Failure::Disconnected),
        Err(_) => Err(Failure::deadline()),
    }
}

impl Failure {
    pub(super) fn deadline() -> Self {
        Self::Reply { code: ErrorCode::Deadline, detail: 0, message: "the batch took longer than its deadline".into() }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::Reply { code: error.code(), detail: error.limit(), message: error.to_string() }
    }
}

impl ServerSession {
    /// Counts a batch received before the hello. Returns whether it may wait for the hello.
    pub(super) fn may_wait_for_hello(&self) -> bool {
        self.early.fetch_add(1, Relaxed) < self.shared.config.early_batches
    }
}

/// The time for an error frame to reach the peer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause that an overloaded server requests, in milliseconds.
const RETRY_AFTER_MS: u32 = 1_000;
