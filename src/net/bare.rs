//! Endpoints with the very settings of server and client, and nothing on top of them: what the benches hold the whole
//! exchange against. Not part of the interface.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use quinn::{Endpoint, IdleTimeout, TransportConfig, VarInt};
use rustls::client::Resumption;

use super::{
    tls::{self, Identity, Pin, Verifier},
    transport::{Profile, Socket},
};
use crate::wire::ServerLimits;

/// What is set up, or why it could not be.
pub type Made<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Listens on a free port of loopback, with the windows that a client has after its hello. To be called within a Tokio
/// runtime, as is the other.
///
/// `packet_bytes_max` is [`ServerConfig::packet_bytes_max`](crate::ServerConfig::packet_bytes_max); a connection ends
/// after being `idle` for so long.
pub fn server(packet_bytes_max: u16, idle: Duration) -> Made<(Endpoint, Pin)> {
    let directory = tempfile::tempdir()?;
    let identity = Identity::kept_in(directory.path())?;
    let pin = identity.pin();
    let socket = Socket::bind(LOOPBACK)?;
    let transport = socket.transport(packet_bytes_max);
    let mut settings = transport.server(Profile::Local);
    settings
        .receive_window(VarInt::from_u32(transport.window_bytes))
        .max_concurrent_bidi_streams(VarInt::from_u32(ServerLimits::default().streams));
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls::server_config(identity)?));
    config.transport_config(Arc::new(patient(settings, idle)?)).migration(false);
    Ok((socket.endpoint(transport, Some(config), (0, 1))?, pin))
}

/// Connects to servers of one certificate, each time with a full handshake. The arguments are those of [`server`].
pub fn client(pin: Pin, packet_bytes_max: u16, idle: Duration) -> Made<Endpoint> {
    let socket = Socket::bind(LOOPBACK)?;
    let transport = socket.transport(packet_bytes_max);
    let tls = tls::client_config(Arc::new(Verifier::with_pin(pin)), Resumption::disabled())?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(patient(transport.client(Profile::Local), idle)?));
    let mut endpoint = socket.endpoint(transport, None, (0, 1))?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

fn patient(mut settings: TransportConfig, idle: Duration) -> Made<TransportConfig> {
    settings.max_idle_timeout(Some(IdleTimeout::try_from(idle)?));
    Ok(settings)
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
