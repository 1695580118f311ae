//! Counts what was refused and why, and logs the counts: a line for each refusal would let a peer fill the log.

use std::{
    fmt::Write,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::wire::ErrorCode;

/// An event that concerns a connection, or an answer that could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A connection was refused: there were too many.
    RefusedTotal,
    /// A connection was refused: there were too many from its address.
    RefusedAddress,
    /// A connection was refused: the server was shutting down.
    RefusedLeaving,
    /// A client had to validate its address first, because too many handshakes were unfinished.
    Retry,
    /// A client offered other protocols than ours (ALPN).
    WrongProtocol,
    /// A handshake failed otherwise, such as one of a client that does not trust the certificate.
    HandshakeFailed,
    /// A handshake was not finished in time.
    HandshakeTimeout,
    /// A hello was refused.
    HelloRefused,
    /// A connection was closed because it sent no hello.
    HelloMissing,
    /// An answer was not acknowledged before the deadline.
    AnswerUnread,
    /// A peer stopped an answer, or reset its request.
    GivenUp,
}

impl Event {
    const ALL: [(Self, &str); 11] = [
        (Self::RefusedTotal, "connections refused, too many in total"),
        (Self::RefusedAddress, "connections refused, too many from their address"),
        (Self::RefusedLeaving, "connections refused during the shutdown"),
        (Self::Retry, "clients asked to validate their address"),
        (Self::WrongProtocol, "handshakes with another ALPN protocol"),
        (Self::HandshakeFailed, "handshakes failed"),
        (Self::HandshakeTimeout, "handshakes not finished"),
        (Self::HelloRefused, "hellos refused"),
        (Self::HelloMissing, "connections closed without a hello"),
        (Self::AnswerUnread, "answers not read before the deadline"),
        (Self::GivenUp, "batches given up by the client"),
    ];
}

/// The number of events of each kind, and of error frames by their code.
#[derive(Debug, Default)]
pub(super) struct Counts {
    events: [AtomicU64; Event::ALL.len()],
    errors: [AtomicU64; ErrorCode::ALL.len()],
    /// The numbers when they were last logged.
    logged: Mutex<Vec<u64>>,
}

impl Counts {
    pub(super) fn add(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Relaxed);
    }

    /// Counts an error frame.
    pub(super) fn add_error(&self, code: ErrorCode) {
        self.errors[usize::from(code.number()) - 1].fetch_add(1, Relaxed);
    }

    /// Logs in one line what was counted since the last time, if anything was.
    pub(super) fn log(&self) {
        if let Some(text) = self.since_logged() {
            tracing::info!("{text}");
        }
    }

    /// Returns what was counted since the last call; `None` for nothing.
    fn since_logged(&self) -> Option<String> {
        let now: Vec<u64> = self.events.iter().chain(&self.errors).map(|count| count.load(Relaxed)).collect();
        let names = Event::ALL.iter().map(|(_, name)| (*name).to_owned());
        let names = names.chain(ErrorCode::ALL.iter().map(|code| format!("batches refused, {}", code.name())));
        let mut logged = self.logged.lock().ok()?;
        logged.resize(now.len(), 0);
        let mut text = String::new();
        for ((name, &now), logged) in names.zip(&now).zip(logged.iter_mut()) {
            let more = now - std::mem::replace(logged, now);
            if more > 0 {
                // Writing to a string does not fail.
                let _ = write!(text, "{}{name}: {more}", if text.is_empty() { "" } else { "; " });
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_reported_once() {
        assert!(Event::ALL.iter().enumerate().all(|(at, (event, _))| *event as usize == at));
        let counts = Counts::default();
        assert_eq!(counts.since_logged(), None);
        counts.add(Event::WrongProtocol);
        counts.add(Event::WrongProtocol);
        counts.add_error(ErrorCode::Malformed);
        let text = "handshakes with another ALPN protocol: 2; batches refused, malformed: 1";
        assert_eq!(counts.since_logged().as_deref(), Some(text));
        assert_eq!(counts.since_logged(), None);
        counts.add_error(ErrorCode::Behind);
        assert_eq!(counts.since_logged().as_deref(), Some("batches refused, behind: 1"));
    }
}
