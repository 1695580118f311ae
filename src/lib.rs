//! Reputation lookups of hashes, certificates, web addresses and IPv4 addresses, in process or over QUIC.

pub mod batch;
pub mod engine;
#[cfg(feature = "feed")]
pub mod feed;
mod index;
pub mod key;
pub mod limits;
pub mod record;
pub mod snapshot;
pub mod timestamp;

pub use key::{Key, WebAddress, refang};
