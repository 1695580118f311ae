//! How a client is set up.

use std::{path::PathBuf, time::Duration};

use crate::{
    batch::Detail,
    key::PrefixWidth,
    limits::{BATCH_DEADLINE_MS, PACKET_BYTES_MAX},
    net::Pin,
};

/// Which server is the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// The one with this certificate, whatever names and dates it has.
    Pin(Pin),
    /// One whose certificate comes from an authority.
    Authorities {
        /// The certificates of the authorities, in PEM.
        file: PathBuf,
        /// The name in the server's certificate, where it is not that of [`ClientConfig::server`].
        server_name: Option<String>,
    },
}

/// Settings of a [`Client`](super::Client). [`ClientConfig::new`] gives those that suit most.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where the server is: `name:port`, `192.0.2.1:port` or `[2001:db8::1]:port`.
    pub server: String,
    /// How it is recognised.
    pub trust: Trust,
    /// Connections to the server; lookups take turns. One fills a core of the server: more are for runtimes with several
    /// threads and servers with several cores.
    pub connections: usize,
    /// How long it may take to connect, all addresses of the name together.
    pub connect_timeout: Duration,
    /// How long a lookup may take, connecting included, unless its options say otherwise.
    pub lookup_timeout: Duration,
    /// The longest packets, in bytes of UDP payload: path MTU discovery stays below. [`PACKET_BYTES_MAX`] leaves it to
    /// the path; lower it for paths whose discovery is broken.
    pub packet_bytes_max: u16,
    /// The name of the software that asks, for the hello.
    pub software: String,
    /// Its full version.
    pub software_version: String,
}

impl ClientConfig {
    /// The settings that suit most.
    pub fn new(server: impl Into<String>, trust: Trust) -> Self {
        Self {
            server: server.into(),
            trust,
            connections: 1,
            connect_timeout: Duration::from_secs(5),
            lookup_timeout: Duration::from_millis(BATCH_DEADLINE_MS),
            packet_bytes_max: PACKET_BYTES_MAX,
            software: "ksn".into(),
            software_version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

/// How one lookup is to be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupOptions {
    /// The record that wins, or all that match.
    pub detail: Detail,
    /// How long it may take; `None` for [`ClientConfig::lookup_timeout`].
    pub timeout: Option<Duration>,
    /// Asks digests by their first bytes and compares what comes back: answers are the same, and
    /// [`Answer::candidates`](crate::Answer::candidates) tells how many records were proposed. [`PrefixWidth`] says what
    /// each width is for and what it hides.
    ///
    /// Web addresses are asked by the first bytes of the SHA-256 of everything that they may be matched by, mostly 5 to 20
    /// keys each, which the server's limits count; their text is not sent. Only an address whose host is an IPv4 address
    /// reveals that host, for it is asked whole, as IPv4 addresses are. An address of which more is known than a frame
    /// holds ends as [`Status::Error`](crate::Status::Error) and has to be asked whole. The first of these lookups waits
    /// while the server hashes what it has listed.
    ///
    /// [`Client::exchange`](super::Client::exchange) takes its columns as they are.
    pub prefix: Option<PrefixWidth>,
}
