//! Reputation lookups of hashes, certificates, web addresses and IPv4 addresses, in process or over QUIC.

pub mod answer;
pub mod batch;
#[cfg(feature = "net")]
mod client;
#[cfg(feature = "feed")]
pub mod compile;
pub mod engine;
#[cfg(feature = "feed")]
pub mod feed;
mod index;
pub mod key;
pub mod limits;
mod local;
#[cfg(feature = "net")]
mod net;
pub mod record;
#[cfg(feature = "net")]
mod server;
pub mod snapshot;
pub mod timestamp;
pub mod wire;

pub use answer::{Answer, Origin, Record, Status};
#[cfg(feature = "net")]
pub use client::{BlockingClient, Client, ClientConfig, ConnectError, LookupError, LookupOptions, RawAnswer, Trust};
pub use engine::{Index, View};
pub use key::{Key, WebAddress, refang};
#[cfg(feature = "net")]
pub use net::{Pin, PinError, TlsError};
#[cfg(feature = "net")]
pub use server::{Certificate, Server, ServerConfig, ServerError};
