//! Reputation lookups of hashes, certificates, web addresses and IPv4 addresses, in-process or over QUIC.
//!
//! ```text
//!  feeds ──feed──▶ records ──snapshot──▶ FILE ──▶ Index ──┐
//!                                                         ▼
//!  scanner ─keys─▶ Client ══ QUIC, a frame per batch ═▶ Server ─▶ answers ──▶ scanner
//!  scanner ─keys─▶ Index in the same process ────────────────────▶ answers
//! ```
//!
//! A scanner looks up [`Key`]s in an [`Index`] that it opened itself ([`Index::lookup`]) or on a server through a
//! `Client`. It gets an [`Answer`] for every key, by position: [known](Status::Known) with the [`Record`]s that match,
//! [unknown](Status::Unknown) (looked up and not listed, which is not the same as clean), or the reason why it was not
//! answered. An index is opened from a [snapshot] file, which `ksn build` (or `compile::Compiler`) builds from
//! indicator feeds.
//!
//! # Layers
//!
//! A module depends only on modules of the rows above it; a test enforces that.
//!
//! | layer | modules | |
//! | --- | --- | --- |
//! | data types | [`key`], [`record`], [`batch`], [`answer`], [`limits`], [`timestamp`] | no files, sockets or clocks |
//! | formats | [`wire`], [`snapshot`], `feed` | encode and decode the data types; independent of each other |
//! | index | `index` | tables over a snapshot |
//! | engine | [`engine`], [`reload`], `compile` | looks up batches in a view; replaces it; compiles feeds into a snapshot |
//! | network | `net`, `server`, `client` | the only code with sockets |
//! | program | the program `ksn` | uses only the public API of this crate |
//!
//! # Features
//!
//! `net` enables the client and the server, `feed` the feed readers, `cli` (on by default) the program. With none of
//! them this crate does not link tokio.

pub mod answer;
pub mod batch;
#[cfg(feature = "net")]
mod client;
#[cfg(feature = "feed")]
pub mod compile;
pub mod engine;
#[cfg(feature = "feed")]
pub mod feed;
mod in_process;
mod index;
pub mod key;
pub mod limits;
#[cfg(feature = "net")]
mod net;
pub mod record;
pub mod reload;
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
#[doc(hidden)]
pub use net::raw_transport;
#[cfg(feature = "net")]
pub use net::{Pin, PinError, TlsError};
#[cfg(feature = "net")]
pub use server::{Certificate, Server, ServerConfig, ServerError};

/// The examples of the README, which must compile.
#[cfg(all(doctest, feature = "net"))]
#[doc = include_str!("../README.md")]
struct Readme;
