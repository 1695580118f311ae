//! The errors of connecting and of lookups.

use std::{error::Error, io, net::SocketAddr, sync::Arc, time::Duration};

use quinn::{ConnectionError, TransportErrorCode};

use crate::{
    net::{
        Pin, TlsError,
        exchange::ExchangeError,
        tls::{Refusal, Verifier, has_no_common_protocol},
    },
    wire::{ErrorCode, ErrorFrame, WireError},
};

/// Why a connection could not be established.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server's address has no port, or its name does not resolve.
    #[error("cannot resolve the server address {server:?}: {source}")]
    Resolve {
        /// [`ClientConfig::server`](super::ClientConfig::server).
        server: String,
        /// The cause.
        source: io::Error,
    },
    /// The file of CA certificates or the server name is invalid.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket could not be opened.
    #[error("cannot open a socket: {0}")]
    Socket(#[source] io::Error),
    /// The server's certificate does not match the pin.
    #[error("wrong server: expected the certificate with pin {expected}, found {found}")]
    WrongPin {
        /// The trusted pin.
        expected: Pin,
        /// The pin of the server's certificate.
        found: Pin,
    },
    /// The server's certificate is not signed by a trusted CA, is for another name, or has expired.
    #[error("wrong server: {source}")]
    WrongCertificate {
        /// The error of the TLS library.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server does not support the protocol.
    #[error("the server does not support the protocol ksn/1 (no common ALPN protocol)")]
    WrongProtocol,
    /// No server listens on the address, or there is no route to it, as the system reports.
    #[error("cannot reach a server at {server}: {source}")]
    Unreachable {
        /// The address.
        server: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The server did not respond in time.
    #[error("no response from {server} within {after:?}")]
    Timeout {
        /// [`ClientConfig::server`](super::ClientConfig::server).
        server: String,
        /// The timeout that expired.
        after: Duration,
    },
    /// The server refuses connections: it has too many, or is shutting down.
    #[error("the server refused the connection")]
    Refused,
    /// The connection was lost.
    #[error("the connection was lost: {0}")]
    Lost(#[source] Box<dyn Error + Send + Sync>),
    /// The server rejected the hello.
    #[error("the server rejected the hello (code {code}): {message}")]
    Server {
        /// The number of an [`ErrorCode`].
        code: u16,
        /// The server's error message.
        message: String,
    },
    /// The server violated the protocol.
    #[error("the server violated the protocol: {0}")]
    Protocol(#[source] Box<dyn Error + Send + Sync>),
}

/// Why a lookup failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// A connection could not be established. Lookups wait for one until their timeout in the first five seconds of an
    /// outage; later they fail with this at once, unless an attempt is due. They also do when the server is not the right
    /// one.
    #[error(transparent)]
    Connect(#[from] Arc<ConnectError>),
    /// The lookup was not answered in time.
    #[error("no answer within {after:?}")]
    Timeout {
        /// The timeout that expired.
        after: Duration,
    },
    /// The connection was lost, twice in a row.
    #[error("the connection was lost: {0}")]
    Lost(#[source] Arc<dyn Error + Send + Sync>),
    /// The server is shutting down, and reconnecting found it shutting down again.
    #[error("the server is going away")]
    GoingAway,
    /// The server requested a pause that ends after the deadline of this lookup.
    #[error("the server requested a pause of {pause:?}, longer than this lookup may take")]
    Paused {
        /// The remaining time of the pause.
        pause: Duration,
    },
    /// The server rejected the batch.
    #[error("the server rejected the batch (code {code}): {message}")]
    Server {
        /// The number of an [`ErrorCode`].
        code: u16,
        /// The limit, when the code is about one.
        detail: u64,
        /// The time after which the client MAY retry.
        retry_after: Option<Duration>,
        /// The server's error message.
        message: String,
    },
    /// The server violated the protocol, or its answer does not fit the request.
    #[error("the server violated the protocol: {0}")]
    Protocol(#[source] Arc<dyn Error + Send + Sync>),
    /// The runtime on which the client was connected has ended.
    #[error("the client was stopped: its runtime has ended")]
    Stopped,
}

impl ConnectError {
    /// Converts a connection error, using the reason that the verifier recorded if it refused the certificate: the
    /// connection then ends with a transport error of the client's own.
    pub(super) fn from_connection(error: ConnectionError, verifier: &Verifier) -> Self {
        if let ConnectionError::TransportError(_) = error {
            match verifier.refusal() {
                Some(Refusal::Pin { expected, found }) => return Self::WrongPin { expected, found },
                Some(Refusal::Certificate(source)) => return Self::WrongCertificate { source: source.into() },
                None => {}
            }
        }
        let is_refused = matches!(&error, ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED);
        match (closed_with(&error), &error) {
            _ if has_no_common_protocol(&error) => Self::WrongProtocol,
            _ if is_refused => Self::Refused,
            (Some(ErrorCode::GoingAway | ErrorCode::Overloaded), _) => Self::Refused,
            (Some(code), ConnectionError::ApplicationClosed(close)) => {
                let message = String::from_utf8_lossy(&close.reason).into_owned();
                Self::Server { code: code.number(), message }
            }
            _ => Self::Lost(error.into()),
        }
    }

    pub(super) fn from_exchange(error: ExchangeError, verifier: &Verifier) -> Self {
        match error {
            ExchangeError::Connection(e) => Self::from_connection(e, verifier),
            e => Self::Protocol(e.into()),
        }
    }
}

impl From<ErrorFrame<'_>> for ConnectError {
    fn from(frame: ErrorFrame<'_>) -> Self {
        Self::Server { code: frame.code, message: frame.message.into() }
    }
}

impl LookupError {
    /// Returns whether a retry over another connection may succeed.
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
        Self::Protocol(Arc::new(error))
    }
}

impl From<ConnectionError> for LookupError {
    fn from(error: ConnectionError) -> Self {
        match closed_with(&error) {
            Some(ErrorCode::GoingAway) => Self::GoingAway,
            _ => Self::Lost(Arc::new(error)),
        }
    }
}

impl From<ExchangeError> for LookupError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Connection(e) => e.into(),
            ExchangeError::Aborted(code) => Self::Server {
                code: u16::try_from(code.into_inner()).unwrap_or(u16::MAX),
                detail: 0,
                retry_after: None,
                message: "the server aborted the stream".into(),
            },
            e => Self::Protocol(Arc::new(e)),
        }
    }
}

/// Returns the code with which the server closed a connection.
fn closed_with(error: &ConnectionError) -> Option<ErrorCode> {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ErrorCode::from_number(u16::try_from(close.error_code.into_inner()).ok()?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::match_answers::MatchError;

    /// Returns the messages of the sources of an error.
    fn sources(error: &dyn Error) -> Vec<String> {
        let (mut messages, mut next) = (Vec::new(), error.source());
        while let Some(source) = next {
            messages.push(source.to_string());
            next = source.source();
        }
        messages
    }

    #[test]
    fn the_error_that_caused_another_is_its_source() {
        let (wire, lost) = (WireError::Version { found: 9 }, ConnectionError::TimedOut);
        let exchange = || ExchangeError::Wire(wire);
        let verifier = Verifier::with_pin(Pin::of_certificate(b""));
        let lookup_errors: [(LookupError, &[String]); 4] = [
            (wire.into(), &[wire.to_string()]),
            (MatchError::NoProgress.into(), &[MatchError::NoProgress.to_string()]),
            (exchange().into(), &[exchange().to_string(), wire.to_string()]),
            (lost.clone().into(), &[lost.to_string()]),
        ];
        for (error, expected) in &lookup_errors {
            assert_eq!(sources(error), *expected, "{error:?}");
            // The message contains that of the source, as before there were sources.
            assert!(error.to_string().ends_with(&expected[0]), "{error}");
            assert_eq!(sources(&error.clone()), *expected);
        }
        let lost_connect = ConnectError::from_connection(lost.clone(), &verifier);
        assert_eq!(sources(&lost_connect), [lost.to_string()]);
        assert_eq!(lost_connect.to_string(), format!("the connection was lost: {lost}"));
        let malformed = ConnectError::from_exchange(exchange(), &verifier);
        assert_eq!(sources(&malformed), [exchange().to_string(), wire.to_string()]);
        assert!(malformed.source().is_some_and(|source| source.is::<ExchangeError>()));
        let socket = ConnectError::Socket(io::ErrorKind::AddrInUse.into());
        assert_eq!(sources(&socket).len(), 1);
        // A lookup that failed because of the connection has the sources of that error.
        assert_eq!(sources(&LookupError::from(Arc::new(lost_connect))), [lost.to_string()]);
    }
}
