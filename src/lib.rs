//! Reputation lookups of hashes, certificates, web addresses and IPv4 addresses, in process or over QUIC.
//!
//! ```text
//!  feeds ──feed──▶ records ──snapshot──▶ FILE ──▶ Index ──┐
//!                                                         ▼
//!  scanner ─keys─▶ Client ══ QUIC, a frame a batch ══▶ Server ──▶ answers ──▶ scanner
//!  scanner ─keys─▶ Index in its own process ─────────────────────▶ answers
//! ```
//!
//! A scanner has [`Key`]s in hand. It asks an [`Index`] that it opened itself ([`Index::lookup`]) or a server through a
//! `Client`, and gets an [`Answer`] for every key, by position: [known](Status::Known) with the [`Record`]s that match,
//! [unknown](Status::Unknown) (asked, and not listed, which is not the same as clean), or why it was not answered.
//! An index is opened from a [snapshot] file, which `ksn build` (or `compile::Compiler`) makes of indicator feeds.
//!
//! # Layers
//!
//! A module uses only what stands above it here; a test holds it to that.
//!
//! | layer | modules | |
//! | --- | --- | --- |
//! | vocabulary | [`key`], [`record`], [`batch`], [`answer`], [`limits`], [`timestamp`] | no files, sockets or clocks |
//! | formats | [`wire`], [`snapshot`], `feed` | bytes to vocabulary and back; strangers to one another |
//! | index | `index` | tables over a snapshot |
//! | engine | [`engine`], `compile` | a batch and a view in, answers out; feeds in, snapshot out |
//! | network | `net`, `server`, `client` | the only code with sockets |
//! | faces | the program `ksn` | uses what is public here and no more |
//!
//! # Features
//!
//! `net` has the client and the server, `feed` the reading of feeds, `cli` (on by default) the program. With none of them
//! this crate links no tokio.

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
#[doc(hidden)]
pub use net::bare;
#[cfg(feature = "net")]
pub use net::{Pin, PinError, TlsError};
#[cfg(feature = "net")]
pub use server::{Certificate, Server, ServerConfig, ServerError};

/// The examples of the README, which must compile.
#[cfg(all(doctest, feature = "net"))]
#[doc = include_str!("../README.md")]
struct Readme;
