//! Reputation lookups of hashes, certificates, web addresses and IPv4 addresses, in process or over QUIC.

pub mod answer;
pub mod batch;
pub mod key;
pub mod limits;
pub mod record;
pub mod timestamp;
pub mod wire;

pub use key::{Key, WebAddress, refang};
