//! Why a client has no connection, or a lookup no answers.

use std::{io, sync::Arc, time::Duration};

use quinn::{ConnectionError, TransportErrorCode};

use crate::{
    net::{
        Pin, TlsError,
        exchange::ExchangeError,
        tls::{Refusal, Verifier},
    },
    wire::{ErrorCode, ErrorFrame, WireError},
};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server's address has no port, or its name no address.
    #[error("cannot find the server {server}: {source}")]
    Resolve {
        /// As it was given.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// The file of authorities, or the name of the server.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No socket.
    #[error("cannot open a socket: {0}")]
    Socket(io::Error),
    /// The server shows another certificate.
    #[error("wrong server: expected the certificate with pin {expected}, found {found}")]
    WrongPin {
        /// What is trusted.
        expected: Pin,
        /// What it has.
        found: Pin,
    },
    /// The server's certificate does not come from the authorities, or is for another name, or has expired.
    #[error("wrong server: {reason}")]
    WrongCertificate {
        /// In the words of the TLS library.
        reason: String,
    },
    /// Something else listens there.
    #[error("the server does not speak ksn/1 (no ALPN protocol in common)")]
    WrongProtocol,
    /// Nobody answers there.
    #[error("no answer from {server} within {after:?}")]
    Timeout {
        /// As it was given.
        server: String,
        /// How long was waited.
        after: Duration,
    },
    /// The server does not take connections: it has too many, or is shutting down.
    #[error("the server refuses connections")]
    Refused,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Lost(String),
    /// The server refused the hello.
    #[error("the server refused the hello (code {code}): {message}")]
    Server {
        /// The number of an [`ErrorCode`].
        code: u16,
        /// In its words.
        message: String,
    },
    /// The server's frames are not those of the protocol.
    #[error("the server breaks the protocol: {0}")]
    Protocol(String),
}

/// Why a lookup has no answers.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] Arc<ConnectError>),
    /// Not in time.
    #[error("no answer within {after:?}")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke, twice in a row.
    #[error("the connection broke: {0}")]
    Lost(String),
    /// The server shuts down, and no other has taken its place.
    #[error("the server is going away")]
    GoingAway,
    /// The server asked not to be asked for a while that is longer than this lookup may take.
    #[error("the server asks for a pause of {pause:?}")]
    Paused {
        /// From now.
        pause: Duration,
    },
    /// The server refused the batch.
    #[error("the server refused the batch (code {code}): {message}")]
    Server {
        /// The number of an [`ErrorCode`].
        code: u16,
        /// The limit, when the code is about one.
        detail: u64,
        /// When it is worth trying again.
        retry_after: Option<Duration>,
        /// In its words.
        message: String,
    },
    /// The server's frames are not those of the protocol, or do not fit the request.
    #[error("the server breaks the protocol: {0}")]
    Protocol(String),
    /// The runtime on which the client was connected has ended.
    #[error("the client was stopped")]
    Stopped,
}

impl ConnectError {
    /// From how a connection failed, and what the verifier remembers of it.
    pub(super) fn from_connection(error: ConnectionError, verifier: &Verifier) -> Self {
        match verifier.take_refusal() {
            Some(Refusal::Pin { expected, found }) => return Self::WrongPin { expected, found },
            Some(Refusal::Certificate(reason)) => return Self::WrongCertificate { reason },
            None => {}
        }
        let code = match &error {
            ConnectionError::TransportError(e) => Some(e.code),
            ConnectionError::ConnectionClosed(close) => Some(close.error_code),
            _ => None,
        };
        match code {
            Some(code) if code == TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) => Self::WrongProtocol,
            Some(TransportErrorCode::CONNECTION_REFUSED) => Self::Refused,
            _ if closed_with(&error) == Some(ErrorCode::GoingAway) => Self::Refused,
            _ => Self::Lost(error.to_string()),
        }
    }

    pub(super) fn from_exchange(error: ExchangeError, verifier: &Verifier) -> Self {
        match error {
            ExchangeError::Connection(e) => Self::from_connection(e, verifier),
            e => Self::Protocol(e.to_string()),
        }
    }
}

impl From<ErrorFrame<'_>> for ConnectError {
    fn from(frame: ErrorFrame<'_>) -> Self {
        Self::Server { code: frame.code, message: frame.message.into() }
    }
}

impl LookupError {
    /// Whether the same may succeed over another connection.
    pub(super) fn is_loss(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::GoingAway)
    }
}

impl From<ErrorFrame<'_>> for LookupError {
    fn from(frame: ErrorFrame<'_>) -> Self {
        if frame.code == ErrorCode::GoingAway.number() {
            return Self::GoingAway;
        }
        let retry_after = Some(Duration::from_millis(frame.retry_after_ms.into())).filter(|after| !after.is_zero());
        Self::Server { code: frame.code, detail: frame.detail, retry_after, message: frame.message.into() }
    }
}

impl From<WireError> for LookupError {
    fn from(error: WireError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<ConnectionError> for LookupError {
    fn from(error: ConnectionError) -> Self {
        match closed_with(&error) {
            Some(ErrorCode::GoingAway) => Self::GoingAway,
            _ => Self::Lost(error.to_string()),
        }
    }
}

impl From<ExchangeError> for LookupError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Connection(e) => e.into(),
            ExchangeError::GivenUp(code) => Self::Server {
                code: u16::try_from(code).unwrap_or(u16::MAX),
                detail: 0,
                retry_after: None,
                message: "it gave up the stream".into(),
            },
            e => Self::Protocol(e.to_string()),
        }
    }
}

/// The code with which a server closed a connection.
fn closed_with(error: &ConnectionError) -> Option<ErrorCode> {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ErrorCode::from_number(u16::try_from(close.error_code.into_inner()).ok()?)
        }
        _ => None,
    }
}

/// The TLS alert.
const NO_APPLICATION_PROTOCOL: u8 = 120;
