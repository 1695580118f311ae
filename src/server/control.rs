//! The control stream of a connection: hello and welcome, then notices.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use quinn::{Connection, RecvStream};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    counts::Event,
    reply::{Failure, ReplyStream, close_code, within},
    state::{ServerSession, ServerState},
};
use crate::{
    key::KeyKind,
    net::{exchange, transport},
    wire::{self, ErrorCode, Header, Hello, Notice, Welcome, WireError},
};

/// The control stream of a connection whose hello was accepted.
pub(super) struct ControlStream {
    send: ReplyStream,
    recv: RecvStream,
    /// The flow-control windows that were opened for the connection.
    pub(super) windows: Option<OwnedSemaphorePermit>,
}

/// Handles a hello: sends the welcome and opens the windows, whose permit it returns.
///
/// Fails when the hello is refused, which closes the connection at once, with the code and the message of the error; or
/// when it is the second hello of the connection, which concerns its stream only.
pub(super) async fn accept_hello(
    session: &ServerSession,
    header: &Header,
    send: &mut ReplyStream,
    recv: &mut RecvStream,
    deadline: Instant,
) -> Result<Option<OwnedSemaphorePermit>, Failure> {
    if session.hello_received.swap(true, Relaxed) {
        return Err(WireError::FrameKind { expected: "request after the first hello", found: header.kind as u8 }.into());
    }
    let welcomed = async {
        let body = within(deadline, exchange::read_control_body(recv, header)).await?;
        check(session, header, &body)?;
        let windows = open_windows(session);
        within(deadline, send.write(Bytes::from(welcome(&session.shared).to_frame()))).await?;
        Ok(windows)
    };
    let (code, message) = match welcomed.await {
        Ok(windows) => {
            session.hello_accepted.send_replace(true);
            return Ok(windows);
        }
        Err(Failure::Reply { code, message, .. }) => (code, message),
        Err(Failure::Aborted(_)) => (ErrorCode::HelloMissing, "the control stream was reset before the welcome".into()),
        Err(Failure::Lost) => return Err(Failure::Lost),
    };
    session.shared.counts.add(Event::HelloRefused);
    tracing::debug!(address = %session.connection.remote_address(), code = code.number(), message, "hello refused");
    session.connection.close(close_code(code), message.as_bytes());
    Err(Failure::Lost)
}

impl ControlStream {
    pub(super) fn new(send: ReplyStream, recv: RecvStream, windows: Option<OwnedSemaphorePermit>) -> Self {
        Self { send, recv, windows }
    }
}

/// Checks a hello. Fails when it is malformed or supports no common version.
fn check(session: &ServerSession, header: &Header, body: &[u8]) -> Result<(), Failure> {
    let hello = Hello::parse(header, body)?;
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
    Ok(())
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
pub(super) async fn notify(session: Arc<ServerSession>, mut control: ControlStream) {
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
        if control.send.write(notice.to_frame().into()).await.is_err() {
            return;
        }
    }
}

/// Returns the drain delay: the time for the going-away notice to reach the client, and for the batches that it sent
/// until then to arrive.
pub(super) fn drain_delay(connection: &Connection) -> Duration {
    (connection.rtt() * 3).clamp(Duration::from_millis(50), Duration::from_secs(1))
}
