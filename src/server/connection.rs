//! One connection: its hello, its notices, and the streams that batches come on.

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

use super::{Shared, batch, close_code, report_panic};
use crate::{
    key::KeyKind,
    net::{exchange, transport},
    wire::{self, ErrorCode, ErrorFrame, FrameKind, Header, Hello, Notice, Welcome, WireError},
};

/// What the streams of one connection share.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: Connection,
    /// Whether a hello came: there is no second.
    hello_came: AtomicBool,
    /// Whether it was accepted.
    pub(super) greeted: watch::Sender<bool>,
    /// Batches that came before.
    pub(super) early: AtomicUsize,
}

/// A stream that turned out to be the control stream, and the windows that were opened for it.
struct Control {
    send: SendStream,
    recv: RecvStream,
    windows: Option<OwnedSemaphorePermit>,
}

/// Why a stream has no answer.
pub(super) enum Failure {
    /// The peer is told.
    Told { code: ErrorCode, detail: u64, message: String },
    /// There is nobody left to tell.
    Gone,
}

/// Serves a connection until it ends.
pub(super) async fn serve(shared: Arc<Shared>, connection: Connection) {
    let session = Arc::new(Session {
        shared: shared.clone(),
        connection: connection.clone(),
        hello_came: AtomicBool::new(false),
        greeted: watch::Sender::new(false),
        early: AtomicUsize::new(0),
    });
    let mut streams = JoinSet::new();
    let mut notices = JoinSet::new();
    // As long as the connection lasts, which may be longer than its control stream.
    let mut _windows = None;
    let mut going_away = shared.going_away.subscribe();
    let mut leaving = false;
    let hello_by = time::sleep(shared.config.hello_deadline);
    let quiet = time::sleep(Duration::MAX);
    tokio::pin!(hello_by, quiet);
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
            () = &mut hello_by, if !*session.greeted.borrow() => {
                connection.close(close_code(ErrorCode::HelloMissing), b"no hello came");
                break;
            }
            _ = going_away.wait_for(|going| *going), if !leaving => {
                leaving = true;
                quiet.as_mut().reset(Instant::now() + linger(&connection));
            }
            // What the client sent before it heard of it is still answered.
            () = &mut quiet, if leaving => {
                if streams.is_empty() {
                    connection.close(close_code(ErrorCode::GoingAway), b"the server shuts down");
                    break;
                }
                quiet.as_mut().reset(Instant::now() + linger(&connection));
            }
        }
    }
}

/// How long a client takes to hear that the server goes away, and for what it sent until then to arrive.
fn linger(connection: &Connection) -> Duration {
    (connection.rtt() * 3).clamp(Duration::from_millis(50), Duration::from_secs(1))
}

/// One stream, up to its answer; or the control stream, once the hello is accepted.
async fn stream(session: Arc<Session>, mut send: SendStream, mut recv: RecvStream) -> Option<Control> {
    let deadline = Instant::now() + Duration::from_millis(session.shared.config.limits.deadline_ms.into());
    let header = within(deadline, exchange::read_header(&mut recv)).await;
    let result = match header {
        Ok(header) => match header.kind {
            FrameKind::Request => batch::answer(&session, &header, &mut send, &mut recv, deadline).await,
            FrameKind::Hello => match greet(&session, &header, &mut send, &mut recv, deadline).await {
                Ok(windows) => return Some(Control { send, recv, windows }),
                Err(failure) => Err(failure),
            },
            kind => Err(WireError::FrameKind { expected: "hello or request", found: kind as u8 }.into()),
        },
        Err(failure) => Err(failure),
    };
    if let Err(Failure::Told { code, detail, message }) = result {
        let address = session.connection.remote_address();
        tracing::debug!(%address, code = code.number(), message, "refused");
        let retry_after_ms = if code == ErrorCode::Overloaded { RETRY_AFTER_MS } else { 0 };
        let frame = ErrorFrame { code: code.number(), retry_after_ms, detail, message: &message }.to_frame();
        // The peer need not send the rest; it is told why.
        let _ = recv.stop(close_code(code));
        let told = async {
            exchange::write_frame(&mut send, frame.into()).await.ok()?;
            send.finish().ok()?;
            send.stopped().await.ok()
        };
        let _ = time::timeout(TELL_TIMEOUT, told).await;
    }
    None
}

async fn greet(
    session: &Session,
    header: &Header,
    send: &mut SendStream,
    recv: &mut RecvStream,
    deadline: Instant,
) -> Result<Option<OwnedSemaphorePermit>, Failure> {
    if session.hello_came.swap(true, Relaxed) {
        return Err(
            WireError::FrameKind { expected: "request, after the first hello", found: header.kind as u8 }.into()
        );
    }
    let body = within(deadline, exchange::read_body(recv, header, None)).await?;
    let hello = Hello::parse(header, &body.bytes)?;
    if !(hello.version_min..=hello.version_max).contains(&wire::VERSION) {
        return Err(Failure::Told {
            code: ErrorCode::UnsupportedVersion,
            detail: u64::from(wire::VERSION),
            message: format!(
                "this server speaks version {} of the protocol, the client {} to {}",
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
    session.greeted.send_replace(true);
    Ok(windows)
}

fn welcome(shared: &Shared) -> Welcome {
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

/// Grows the windows within the budget of the server; a connection that finds it spent stays with the small ones, which
/// is slower and as right.
fn open_windows(session: &Session) -> Option<OwnedSemaphorePermit> {
    let window_bytes = session.shared.window_bytes;
    let permits = session.shared.windows.clone().try_acquire_many_owned(window_bytes >> 10).ok();
    let bytes = if permits.is_some() { window_bytes } else { transport::EARLY_WINDOW_BYTES };
    transport::open_windows(&session.connection, bytes, session.shared.config.limits.streams + 1);
    permits
}

/// Sends notices as they come, until the connection ends.
async fn notify(session: Arc<Session>, mut control: Control) {
    let mut generation = session.shared.generation.subscribe();
    let mut going_away = session.shared.going_away.subscribe();
    let mut gone = false;
    let mut finished = false;
    loop {
        let notice = tokio::select! {
            Ok(()) = generation.changed() => Notice::NewGeneration(*generation.borrow_and_update()),
            Ok(_) = going_away.wait_for(|going| *going), if !gone => {
                gone = true;
                Notice::GoingAway { grace_ms: session.shared.config.grace.as_millis() as u64 }
            }
            more = exchange::read_end(&mut control.recv), if !finished => {
                if let Err(exchange::ExchangeError::Wire(_)) = more {
                    let code = close_code(ErrorCode::UnexpectedFrame);
                    session.connection.close(code, b"nothing follows the hello on its stream");
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

/// Waits until the deadline at most.
pub(super) async fn within<T>(
    deadline: Instant,
    exchange: impl Future<Output = Result<T, exchange::ExchangeError>>,
) -> Result<T, Failure> {
    match time::timeout_at(deadline, exchange).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(exchange::ExchangeError::Wire(error))) => Err(error.into()),
        Ok(Err(exchange::ExchangeError::Cut)) => Err(Failure::Told {
            code: ErrorCode::Malformed,
            detail: 0,
            message: "the stream ended within a frame".into(),
        }),
        Ok(Err(_)) => Err(Failure::Gone),
        Err(_) => Err(Failure::deadline()),
    }
}

impl Failure {
    pub(super) fn deadline() -> Self {
        Self::Told { code: ErrorCode::Deadline, detail: 0, message: "the batch took longer than its deadline".into() }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::Told { code: error.code(), detail: error.limit(), message: error.to_string() }
    }
}

impl Session {
    /// Whether one more batch may wait for the hello.
    pub(super) fn may_wait(&self) -> bool {
        self.early.fetch_add(1, Relaxed) < self.shared.config.early_batches
    }
}

/// For an error frame to reach the peer.
const TELL_TIMEOUT: Duration = Duration::from_secs(2);

/// What an overloaded server asks for.
const RETRY_AFTER_MS: u32 = 1_000;
