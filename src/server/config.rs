//! The settings of a server.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    limits::{
        BATCH_DEADLINE_MS, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, EARLY_BATCHES_MAX, HELLO_DEADLINE_MS,
        PACKET_BYTES_MAX,
    },
    wire::{AnswerCaps, ServerLimits},
};

/// The certificate with which a server authenticates itself.
#[derive(Clone, Debug)]
pub enum Certificate {
    /// A certificate chain and its private key, in PEM.
    Files {
        /// The file of the server's certificate, followed by the intermediate certificates.
        chain: PathBuf,
        /// The file of the private key.
        key: PathBuf,
    },
    /// A self-signed certificate, kept in a directory and created if it does not exist. Clients pin it.
    SelfSigned {
        /// The state directory.
        state: PathBuf,
    },
}

/// Settings of a [`Server`](super::Server). [`ServerConfig::new`] returns the defaults.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address to listen on; port 0 selects a free port.
    pub listen: SocketAddr,
    /// The certificate of the server.
    pub certificate: Certificate,
    /// The directory of the server's secret, `server.secret`, from which the keys of its QUIC endpoints are derived: a
    /// server that crashed and is started again with the same secret and address tells its former clients that their
    /// connections are gone, and they reconnect at once. `None` for that of a [self-signed](Certificate::SelfSigned)
    /// certificate; without any, the secret is random and ends with the process.
    ///
    /// Servers of one address on several machines MUST NOT share a secret.
    pub state: Option<PathBuf>,
    /// Number of cores to serve on, each with its own endpoint and thread; 0 for all that the process may use. With
    /// one, the server runs in the runtime in which it was bound, which should have the
    /// [`EVENT_INTERVAL`](Self::EVENT_INTERVAL). Where packets cannot be routed to the core of their
    /// connection (on systems other than Linux), it is always one.
    pub cores: usize,
    /// Limits of one batch, and of the concurrent batches of a connection. Values above [`limits`](crate::limits) are
    /// reduced to those.
    pub limits: ServerLimits,
    /// Maximum bytes of texts in one answer.
    pub answer_text_bytes: usize,
    /// Maximum number of records of one key in one answer.
    pub records_per_key: usize,
    /// Maximum number of batches of a connection that may wait for the hello.
    pub early_batches: usize,
    /// Time within which a connection MUST send its hello.
    pub hello_deadline: Duration,
    /// Maximum number of connections.
    pub connections: usize,
    /// Maximum number of connections from one address (IPv6: from one /64).
    pub connections_per_address: usize,
    /// Maximum number of unfinished handshakes with clients whose address is not validated. Beyond it, clients must
    /// validate their address first, with an additional round trip (QUIC Retry).
    pub handshakes: usize,
    /// Memory budget of request bodies, in bytes, over all connections. One connection may hold two of the longest.
    pub request_memory_bytes: usize,
    /// Memory budget of answers that were not acknowledged, in bytes, over all connections. One connection may hold two
    /// of the longest.
    pub answer_memory_bytes: usize,
    /// Memory budget of flow-control windows, in bytes, over all connections: what peers may send ahead of what is
    /// read. Connections get small windows when it is exhausted.
    pub window_bytes: usize,
    /// The largest packet, in bytes of UDP payload: the upper bound of path MTU discovery. Lower it from
    /// [`PACKET_BYTES_MAX`] for paths where discovery is broken.
    pub packet_bytes_max: u16,
    /// Grace period: how long batches are still answered after a shutdown began.
    pub grace: Duration,
    /// How long clients MAY cache an answer with a record.
    pub positive_ttl: Duration,
    /// How long clients MAY cache an answer without a record.
    pub negative_ttl: Duration,
}

impl ServerConfig {
    /// The number of tasks after which the runtime of a server should look for new packets
    /// ([`event_interval`](tokio::runtime::Builder::event_interval)), if other tasks are always ready.
    ///
    /// With Tokio's default of 61, a server that sends long answers to several peers at once received the packets of
    /// another up to 20 ms late. Threads that the server starts itself have it; a runtime that runs a server on one core
    /// should be built with it.
    pub const EVENT_INTERVAL: u32 = 16;

    /// Returns the default settings for an address and a certificate.
    pub fn new(listen: SocketAddr, certificate: Certificate) -> Self {
        let caps = AnswerCaps::default();
        Self {
            listen,
            certificate,
            state: None,
            cores: 1,
            limits: ServerLimits::default(),
            answer_text_bytes: caps.text_bytes,
            records_per_key: caps.records_per_key,
            early_batches: EARLY_BATCHES_MAX,
            hello_deadline: Duration::from_millis(HELLO_DEADLINE_MS),
            connections: CONNECTIONS_MAX,
            connections_per_address: CONNECTIONS_PER_ADDRESS_MAX,
            // A few handshakes are cheap; a flood of forged addresses must not be.
            handshakes: CONNECTIONS_MAX / 16,
            request_memory_bytes: 512 << 20,
            answer_memory_bytes: 512 << 20,
            window_bytes: 1 << 30,
            packet_bytes_max: PACKET_BYTES_MAX,
            grace: Duration::from_millis(BATCH_DEADLINE_MS / 2),
            // Listed keys stay listed; an unknown key may be listed in the next generation.
            positive_ttl: Duration::from_secs(3_600),
            negative_ttl: Duration::from_secs(300),
        }
    }

    /// Returns the directory of the server's secret.
    pub(super) fn state_directory(&self) -> Option<&Path> {
        match (&self.state, &self.certificate) {
            (Some(state), _) | (None, Certificate::SelfSigned { state }) => Some(state),
            (None, Certificate::Files { .. }) => None,
        }
    }

    /// Returns the settings with every limit clamped to those of the protocol.
    pub(super) fn clamped(mut self) -> Self {
        let (limits, max) = (&mut self.limits, ServerLimits::default());
        limits.columns = limits.columns.min(max.columns);
        limits.keys = limits.keys.min(max.keys);
        limits.cost = limits.cost.min(max.cost);
        limits.request_bytes = limits.request_bytes.min(max.request_bytes);
        limits.answer_bytes = limits.answer_bytes.min(max.answer_bytes);
        limits.address_bytes = limits.address_bytes.min(max.address_bytes);
        limits.streams = limits.streams.clamp(1, max.streams);
        self
    }
}
