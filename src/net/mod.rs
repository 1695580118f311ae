//! The network code that client and server share: TLS, transport settings, and frames on a stream.

mod connection_id;
pub(crate) mod exchange;
pub mod raw_transport;
pub(crate) mod reuseport;
pub(crate) mod secret;
mod state_file;
pub(crate) mod tls;
pub(crate) mod transport;

pub use self::tls::{Pin, PinError, TlsError};
