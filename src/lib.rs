//! Reputation lookups of hashes, certificates, web addresses and IPv4 addresses, in process or over QUIC.

pub mod batch;
#[cfg(feature = "feed")]
pub mod feed;
pub mod key;
pub mod limits;
pub mod record;
pub mod timestamp;

pub use key::{Key, WebAddress, refang};
