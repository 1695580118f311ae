//! Reputation lookups of hashes, certificates, web addresses and IPv4 addresses, in process or over QUIC.

pub mod answer;
pub mod batch;
#[cfg(feature = "feed")]
pub mod compile;
pub mod engine;
#[cfg(feature = "feed")]
pub mod feed;
mod index;
pub mod key;
pub mod limits;
mod local;
pub mod record;
pub mod snapshot;
pub mod timestamp;
pub mod wire;

pub use answer::{Answer, Origin, Record, Status};
pub use engine::{Index, View};
pub use key::{Key, WebAddress, refang};
