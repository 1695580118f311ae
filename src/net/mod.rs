//! What client and server share of the network: trust, transport, and frames on a stream.

pub mod bare;
pub(crate) mod exchange;
pub(crate) mod steer;
pub(crate) mod tls;
pub(crate) mod transport;

pub use self::tls::{Pin, PinError, TlsError};
