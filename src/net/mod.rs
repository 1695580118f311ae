//! The network code that client and server share: TLS, transport settings, and frames on a stream.

pub(crate) mod exchange;
pub mod raw_transport;
pub(crate) mod reuseport;
pub(crate) mod tls;
pub(crate) mod transport;

pub use self::tls::{Pin, PinError, TlsError};
