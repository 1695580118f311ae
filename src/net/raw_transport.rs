//! Endpoints with the transport settings of server and client, without the protocol: the baseline of the benches. Not
//! part of the public API.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use quinn::{Endpoint, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use rustls::client::Resumption;

use super::{
    secret::ServerSecret,
    tls::{self, Identity, Pin, Verifier},
    transport::{Profile, Socket},
};
use crate::wire::ServerLimits;

/// The result of creating an endpoint.
pub type Made<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Creates a server endpoint on a free port of loopback, with the windows that a client has after its hello. MUST be
/// called within a Tokio runtime, like [`client`].
///
/// `packet_bytes_max` is [`ServerConfig::packet_bytes_max`](crate::ServerConfig::packet_bytes_max); `idle` is the idle
/// timeout of connections.
pub fn server(packet_bytes_max: u16, idle: Duration) -> Made<(Endpoint, Pin)> {
    let directory = tempfile::tempdir()?;
    let identity = Identity::load_or_create(directory.path())?;
    let pin = identity.pin();
    let socket = Socket::bind(LOOPBACK)?;
    let transport = socket.transport(packet_bytes_max);
    let mut settings = transport.server(Profile::Local);
    settings
        .receive_window(VarInt::from_u32(transport.window_bytes))
        .max_concurrent_bidi_streams(VarInt::from_u32(ServerLimits::default().streams));
    let keys = ServerSecret::random().keys(socket.local_addr()?);
    let mut config = quinn::ServerConfig::new(Arc::new(tls::server_config(identity)?), keys.token_key());
    config.transport_config(Arc::new(with_idle_timeout(settings, idle)?));
    Ok((socket.endpoint(transport, keys.endpoint_config(0, 1), Some(config))?, pin))
}

/// Creates a client endpoint that trusts one certificate and makes a full handshake for each connection. The arguments
/// are those of [`server`].
pub fn client(pin: Pin, packet_bytes_max: u16, idle: Duration) -> Made<Endpoint> {
    let socket = Socket::bind(LOOPBACK)?;
    let transport = socket.transport(packet_bytes_max);
    let tls = tls::client_config(Arc::new(Verifier::with_pin(pin)), Resumption::disabled())?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(with_idle_timeout(transport.client(Profile::Local), idle)?));
    let mut endpoint = socket.endpoint(transport, EndpointConfig::default(), None)?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

fn with_idle_timeout(mut settings: TransportConfig, idle: Duration) -> Made<TransportConfig> {
    settings.max_idle_timeout(Some(IdleTimeout::try_from(idle)?));
    Ok(settings)
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
