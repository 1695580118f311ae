//! Sockets and the settings of QUIC.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use quinn::{IdleTimeout, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::{ANSWER_BYTES_MAX, EARLY_BATCHES_MAX, IDLE_TIMEOUT_MS, REQUEST_BYTES_MAX};

/// What the server lets a client send before its hello is accepted, over all streams.
pub(crate) const EARLY_WINDOW_BYTES: u32 = 256 << 10;

/// What it lets a client send from then on, while its budget lasts: two of the longest requests. Also what it keeps of
/// answers that a client has not taken yet.
pub(crate) const WINDOW_BYTES: u32 = 8 << 20;

/// Streams that a client may open before its hello is accepted: the control stream, the batches that wait, and some
/// that are refused with an error that says why instead of being held back.
pub(crate) const EARLY_STREAMS: u32 = EARLY_BATCHES_MAX as u32 + 12;

/// Settings of a server's connections. They start small; [`open_windows`] lets go.
pub(crate) fn server() -> TransportConfig {
    let mut config = common(REQUEST_BYTES_MAX as u32 + FRAME_SLACK);
    config
        .receive_window(VarInt::from_u32(EARLY_WINDOW_BYTES))
        .max_concurrent_bidi_streams(VarInt::from_u32(EARLY_STREAMS))
        .send_window(u64::from(WINDOW_BYTES));
    config
}

/// Settings of a client's connections. It has chosen its server, so its windows start large.
pub(crate) fn client() -> TransportConfig {
    let mut config = common(ANSWER_BYTES_MAX as u32 + FRAME_SLACK);
    config
        .receive_window(VarInt::from_u32(CLIENT_WINDOW_BYTES))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .send_window(u64::from(CLIENT_WINDOW_BYTES))
        .keep_alive_interval(Some(Duration::from_millis(IDLE_TIMEOUT_MS / 3)));
    config
}

/// Grows the windows of a connection whose hello was accepted. The window of a single stream cannot be changed once
/// the connection stands; it is that of the longest request from the start, and the smaller connection window is
/// what holds before the hello.
pub(crate) fn open_windows(connection: &quinn::Connection, window_bytes: u32, streams: u32) {
    connection.set_receive_window(VarInt::from_u32(window_bytes));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(streams));
}

fn common(stream_window_bytes: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(VarInt::from_u32(stream_window_bytes))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS as u32))))
        // Batches are answered in the order in which they were begun; splitting packets between them helps none.
        .send_fairness(false);
    config
}

/// Binds a UDP socket with large buffers and says what the kernel gave.
///
/// The default of 212,992 bytes holds fewer than 100 packets; what overflows looks like congestion. Linux clamps
/// silently to `net.core.rmem_max`, so what is asked for is read back.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Not everywhere possible, and IPv6 alone will do.
        let _ = socket.set_only_v6(false);
    }
    let (_, _) = (socket.set_recv_buffer_size(SOCKET_BYTES), socket.set_send_buffer_size(SOCKET_BYTES));
    socket.bind(&address.into())?;
    // Linux reports twice what can be used.
    let (receive, send) = (socket.recv_buffer_size()?, socket.send_buffer_size()?);
    if receive < SOCKET_BYTES_WANTED || send < SOCKET_BYTES_WANTED {
        tracing::warn!(
            receive_bytes = receive,
            send_bytes = send,
            "small UDP buffers will lose packets under load; raise net.core.rmem_max and net.core.wmem_max"
        );
    } else {
        tracing::debug!(receive_bytes = receive, send_bytes = send, "UDP buffers");
    }
    Ok(socket.into())
}

/// An endpoint on a socket of [`bind`]. Packets stay at what QUIC discovers up to 1,452 bytes.
pub(crate) fn endpoint(socket: UdpSocket, server: Option<quinn::ServerConfig>) -> io::Result<quinn::Endpoint> {
    quinn::Endpoint::new(quinn::EndpointConfig::default(), server, socket, Arc::new(quinn::TokioRuntime))
}

/// A header and a little: a whole frame fits the window of its stream.
const FRAME_SLACK: u32 = 1 << 10;

/// Eight of the longest answers: an answer that is read late never keeps an earlier one from arriving.
const CLIENT_WINDOW_BYTES: u32 = 64 << 20;

/// 40 M keys a second were measured with 8 MiB and none lost, 31 M with the default and 0.5 % lost.
const SOCKET_BYTES: usize = 8 << 20;

/// Below this, losses were seen.
const SOCKET_BYTES_WANTED: usize = 1 << 20;
