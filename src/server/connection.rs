//! Serves one connection: its control stream, and the streams of its batches.

use std::{sync::Arc, time::Duration};

use quinn::{Connection, RecvStream, SendStream};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

use super::{
    batch,
    control::{self, ControlStream, drain_delay},
    counts::Event,
    reply::{Failure, ReplyStream, close_code, within},
    state::{ServerSession, ServerState},
    turns::Turns,
};
use crate::{
    net::exchange,
    wire::{ErrorCode, FrameKind, WireError},
};

/// Serves a connection until it ends.
pub(super) async fn serve(shared: Arc<ServerState>, turns: Arc<Turns>, connection: Connection) {
    let session = Arc::new(ServerSession::new(shared.clone(), turns, connection.clone()));
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
                    notices.spawn(control::notify(session.clone(), control));
                }
            }
            () = &mut hello_by, if !*session.hello_accepted.borrow() => {
                shared.counts.add(Event::HelloMissing);
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

/// Serves one stream up to its answer. Returns the control stream, once its hello is accepted.
async fn stream(session: Arc<ServerSession>, send: SendStream, mut recv: RecvStream) -> Option<ControlStream> {
    let arrived = Instant::now();
    let deadline = arrived + Duration::from_millis(session.shared.config.limits.deadline_ms.into());
    let mut reply = ReplyStream::new(send);
    let header = within(deadline, exchange::read_header(&mut recv)).await;
    let result = match header {
        Ok(header) => match header.kind {
            FrameKind::Request => batch::answer(&session, &header, &mut reply, &mut recv, (arrived, deadline)).await,
            FrameKind::Hello => match control::accept_hello(&session, &header, &mut reply, &mut recv, deadline).await {
                Ok(windows) => return Some(ControlStream::new(reply, recv, windows)),
                Err(failure) => Err(failure),
            },
            kind => Err(WireError::FrameKind { expected: "hello or request", found: kind as u8 }.into()),
        },
        Err(failure) => Err(failure),
    };
    if let Err(failure) = result {
        let mut retry_after_ms = 0;
        match &failure {
            Failure::Reply { code, message, .. } => {
                session.shared.counts.add_error(*code);
                let address = session.connection.remote_address();
                tracing::debug!(%address, code = code.number(), message, "batch refused");
                if *code == ErrorCode::Overloaded {
                    retry_after_ms = RETRY_AFTER_MS;
                }
                // The peer need not send the rest of its request.
                let _ = recv.stop(close_code(*code));
            }
            Failure::Aborted(_) => session.shared.counts.add(Event::GivenUp),
            Failure::Lost => {}
        }
        reply.fail(failure, retry_after_ms, REPLY_TIMEOUT).await;
    }
    None
}

/// Logs the panic of a task. A panic ends only its own task, but it is a bug.
pub(super) fn report_panic<T>(ended: Result<T, tokio::task::JoinError>) -> Option<T> {
    ended.inspect_err(|error| tracing::error!(%error, "a task panicked")).ok()
}

/// The time for an error frame to reach the peer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause that an overloaded server requests, in milliseconds.
const RETRY_AFTER_MS: u32 = 1_000;
