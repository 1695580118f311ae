//! The settings of a client and of a lookup.

use std::{path::PathBuf, time::Duration};

use crate::{
    batch::Detail,
    key::PrefixWidth,
    limits::{BATCH_DEADLINE_MS, PACKET_BYTES_MAX},
    net::Pin,
};

/// How a client authenticates the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// By the pin of its certificate, regardless of the certificate's names and dates.
    Pin(Pin),
    /// By a certificate signed by a certification authority (CA).
    Authorities {
        /// The CA certificates, in PEM.
        file: PathBuf,
        /// The name in the server's certificate; `None` for the host of [`ClientConfig::server`].
        server_name: Option<String>,
    },
}

/// Settings of a [`Client`](super::Client). [`ClientConfig::new`] returns the defaults.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The address of the server: `name:port`, `192.0.2.1:port` or `[2001:db8::1]:port`.
    pub server: String,
    /// How the server is authenticated.
    pub trust: Trust,
    /// Number of pooled connections; lookups use them round-robin. One connection saturates a core of the server: use
    /// more with a multi-threaded runtime and a server on several cores.
    pub connections: usize,
    /// Timeout of connecting, over all addresses of the name together: IPv6 and IPv4 addresses are tried in turn, the
    /// next one when the previous has failed or has not responded for a moment.
    pub connect_timeout: Duration,
    /// Default timeout of a lookup, connecting included. [`LookupOptions::timeout`] overrides it.
    pub lookup_timeout: Duration,
    /// The largest packet, in bytes of UDP payload: the upper bound of path MTU discovery. Lower it from
    /// [`PACKET_BYTES_MAX`] for paths where discovery is broken.
    pub packet_bytes_max: u16,
    /// The name of the client software, for the hello.
    pub software: String,
    /// The full version of the client software.
    pub software_version: String,
}

impl ClientConfig {
    /// Returns the default settings for a server.
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

/// Options of one lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupOptions {
    /// Whether to return the winning record or all that match.
    pub detail: Detail,
    /// Timeout of the lookup; `None` for [`ClientConfig::lookup_timeout`].
    pub timeout: Option<Duration>,
    /// Sends only the first bytes of digests and compares the returned candidates locally: the answers are the same,
    /// and [`Answer::candidates`](crate::Answer::candidates) counts the candidates. [`PrefixWidth`] describes what each
    /// width is for and what it hides.
    ///
    /// Of a web address, the first bytes of the SHA-256 of every expression that may match it are sent, mostly 5 to 20
    /// rows per address, which the server's limits count; its text is not sent. Only a host that is an IPv4 address is
    /// revealed, because IPv4 addresses are sent whole. An address with more candidates than a frame holds is answered
    /// with [`Status::Error`](crate::Status::Error) and has to be looked up whole. The first lookup of this kind waits
    /// while the server hashes its expressions.
    ///
    /// [`Client::exchange`](super::Client::exchange) ignores this option.
    pub prefix: Option<PrefixWidth>,
}
