//! How a server is set up.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    limits::{
        BATCH_DEADLINE_MS, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, EARLY_BATCHES_MAX, HELLO_DEADLINE_MS,
        PACKET_BYTES_MAX,
    },
    wire::{AnswerCaps, ServerLimits},
};

/// How the server proves who it is.
#[derive(Clone, Debug)]
pub enum Certificate {
    /// A chain and its key, in PEM.
    Files {
        /// The server's certificate, then those between it and the authority.
        chain: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// A self-signed one, kept in this directory and made when there is none. Clients pin it.
    SelfSigned {
        /// The directory.
        state: PathBuf,
    },
}

/// Settings of a [`Server`](super::Server). [`ServerConfig::new`] gives those that suit most.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How the server proves who it is.
    pub certificate: Certificate,
    /// Cores to serve on, each with an endpoint and a thread of its own; 0 for all that the process may use. With one,
    /// the server runs within the runtime that it was made in. Where packets cannot be steered to the core of their
    /// connection (anywhere but on Linux), it is always one.
    pub cores: usize,
    /// What one batch may hold, and how many batches a connection may have at a time. None of it may pass
    /// [`limits`](crate::limits).
    pub limits: ServerLimits,
    /// Bytes of texts in one answer.
    pub answer_text_bytes: usize,
    /// Records of one key in one answer.
    pub records_per_key: usize,
    /// Batches that may wait for the hello.
    pub early_batches: usize,
    /// How long a connection may go without a hello.
    pub hello_deadline: Duration,
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// Connections beyond which a client must prove its address with a round trip more.
    pub retry_above_connections: usize,
    /// Memory for requests that arrive, over all connections.
    pub frame_bytes: usize,
    /// Memory for the windows of all connections together: what peers may send ahead of what is read. Connections that
    /// find it spent have small windows.
    pub window_bytes: usize,
    /// The longest packets, in bytes of UDP payload: path MTU discovery stays below. [`PACKET_BYTES_MAX`] leaves it to
    /// the path; lower it for paths whose discovery is broken.
    pub packet_bytes_max: u16,
    /// How long batches are still answered after the shutdown began.
    pub grace: Duration,
    /// For how long clients may keep an answer with a record.
    pub positive_ttl: Duration,
    /// For how long clients may keep an answer without one.
    pub negative_ttl: Duration,
}

impl ServerConfig {
    /// The settings that suit most.
    pub fn new(listen: SocketAddr, certificate: Certificate) -> Self {
        let caps = AnswerCaps::default();
        Self {
            listen,
            certificate,
            cores: 1,
            limits: ServerLimits::default(),
            answer_text_bytes: caps.text_bytes,
            records_per_key: caps.records_per_key,
            early_batches: EARLY_BATCHES_MAX,
            hello_deadline: Duration::from_millis(HELLO_DEADLINE_MS),
            connections: CONNECTIONS_MAX,
            connections_per_address: CONNECTIONS_PER_ADDRESS_MAX,
            // A handful of handshakes costs nothing; a flood of forged addresses must.
            retry_above_connections: CONNECTIONS_MAX / 16,
            frame_bytes: 512 << 20,
            window_bytes: 1 << 30,
            packet_bytes_max: PACKET_BYTES_MAX,
            grace: Duration::from_millis(BATCH_DEADLINE_MS / 2),
            // Bad news keeps; what is unknown may be listed with the next delta.
            positive_ttl: Duration::from_secs(3_600),
            negative_ttl: Duration::from_secs(300),
        }
    }

    /// The settings with every limit within what the protocol allows.
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
