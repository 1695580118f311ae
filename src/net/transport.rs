//! UDP sockets and QUIC transport settings.
//!
//! Bulk lookups are bound by bytes per second, and those by packets per second: each packet costs a header, an
//! authentication tag and a pass through the kernel, whatever its size. Measured on loopback, with one stream per 4,096
//! keys of 32 bytes, eight streams at a time, one bit per key in the answer, client and server on one core each:
//!
//! | packet size | keys per second | |
//! | --- | --- | --- |
//! | 1,452 bytes, socket buffers of 212,992 (the default) | 31 M | 0.5 % of the packets lost |
//! | 1,452 bytes, socket buffers of 8 MiB | 38–40 M | none lost |
//! | 3,000 / 4,500 bytes | 66 / 86 M | |
//! | 6,000 bytes | 99–113 M | |
//! | 6,000 bytes, socket buffers of 212,992 | 0.7 M | throughput collapses due to loss |
//! | 6,500 bytes | 91 M | |
//! | 6,551 bytes and more | | ten of them exceed a UDP datagram: silently lost |
//!
//! Therefore packets may grow to [`PACKET_BYTES_MAX`] if the socket buffers are large. Loopback carries them
//! immediately; elsewhere path MTU discovery (RFC 8899) finds the size: 6,000 with jumbo frames, about 1,450 on the
//! internet. The settings that depend on the peer are those of its [`Profile`].

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use quinn::{AckFrequencyConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt, congestion};
use socket2::{Domain, Protocol, Type};

use crate::limits::{ANSWER_BYTES_MAX, EARLY_BATCHES_MAX, IDLE_TIMEOUT_MS, PACKET_BYTES_MAX, REQUEST_BYTES_MAX};

/// The largest packet with small socket buffers: that of Ethernet.
const PACKET_BYTES_SMALL: u16 = 1_452;

/// The packet size that every QUIC path carries (RFC 9000, section 14).
const PACKET_BYTES_MIN: u16 = 1_200;

/// The connection window of a client before its hello is accepted, over all streams.
pub(crate) const EARLY_WINDOW_BYTES: u32 = 256 << 10;

/// Streams that a client may open before its hello is accepted: the control stream, the batches that wait, and some
/// more that are rejected with an error frame instead of being blocked.
pub(crate) const EARLY_STREAMS: u32 = EARLY_BATCHES_MAX as u32 + 12;

/// The class of a peer's network path, derived from its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// This machine: loopback carries packets of any size, so MTU discovery is skipped. Its probes are tens of
    /// kilobytes of padding, of which quinn parses each byte as a frame; that was a third of the cost of a connection
    /// until its first batch.
    Local,
    /// A private network: a large initial window does not harm other traffic.
    Near,
    /// The internet: the standard initial window (RFC 9002, section 7.2).
    Far,
}

impl Profile {
    /// Returns the profile of a peer address.
    pub(crate) fn of(peer: IpAddr) -> Self {
        let peer = peer.to_canonical();
        let is_private = match peer {
            IpAddr::V4(peer) => peer.is_private() || peer.is_link_local(),
            IpAddr::V6(peer) => peer.is_unique_local() || peer.is_unicast_link_local(),
        };
        match (peer.is_loopback(), is_private) {
            (true, _) => Self::Local,
            (false, true) => Self::Near,
            (false, false) => Self::Far,
        }
    }

    /// Returns the round-trip time to assume before the first sample; `None` for that of RFC 9002, section 6.2.2, with
    /// which a lost first packet is sent again after a second. Both values are well above those of such networks, so
    /// that few packets are sent twice without need.
    fn initial_rtt(self) -> Option<Duration> {
        match self {
            Self::Local => Some(Duration::from_millis(10)),
            Self::Near => Some(Duration::from_millis(50)),
            Self::Far => None,
        }
    }
}

/// A UDP socket with large buffers.
#[derive(Debug)]
pub(crate) struct Socket {
    udp: UdpSocket,
    /// The smaller of the two buffers granted by the kernel, in usable bytes.
    buffer_bytes: usize,
}

impl Socket {
    /// Binds a socket and warns about small buffers. Linux silently clamps buffers to `net.core.rmem_max`, so the size
    /// is read back.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::bind_with(address, |_| Ok(())).inspect(Self::warn_of_small_buffers)
    }

    /// Binds a socket to a port that several sockets share (`SO_REUSEPORT`). The caller MUST warn about small buffers,
    /// once for all of them.
    #[cfg(target_os = "linux")]
    pub(super) fn bind_reuseport(address: SocketAddr) -> io::Result<Self> {
        Self::bind_with(address, |socket| socket.set_reuse_port(true))
    }

    fn bind_with(address: SocketAddr, set: impl Fn(&socket2::Socket) -> io::Result<()>) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // Not supported everywhere; IPv6 alone is sufficient.
            let _ = socket.set_only_v6(false);
        }
        let (_, _) = (socket.set_recv_buffer_size(SOCKET_BYTES), socket.set_send_buffer_size(SOCKET_BYTES));
        set(&socket)?;
        socket.bind(&address.into())?;
        let (receive, send) = (usable(socket.recv_buffer_size()?), usable(socket.send_buffer_size()?));
        Ok(Self { udp: socket.into(), buffer_bytes: receive.min(send) })
    }

    pub(super) fn warn_of_small_buffers(&self) {
        let bytes = self.buffer_bytes;
        if bytes < SOCKET_BYTES_WANTED {
            tracing::warn!(
                bytes,
                "small UDP buffers: packets stay small and get lost under load; \
                 expected at least {SOCKET_BYTES_WANTED} bytes: raise {SYSCTL}"
            );
        } else {
            tracing::debug!(bytes, "UDP buffers");
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// Returns the transport settings for this socket, with packets of at most `packet_bytes_max` bytes.
    pub(crate) fn transport(&self, packet_bytes_max: u16) -> Transport {
        let large = self.buffer_bytes >= SOCKET_BYTES_WANTED;
        let packet_bytes = packet_bytes_max.min(if large { PACKET_BYTES_MAX } else { PACKET_BYTES_SMALL });
        Transport {
            packet_bytes: packet_bytes.max(PACKET_BYTES_MIN),
            // The bytes that one peer may have in flight fit the receive buffer.
            window_bytes: (self.buffer_bytes as u32).clamp(EARLY_WINDOW_BYTES, WINDOW_BYTES_MAX),
        }
    }

    /// Creates an endpoint on the socket, in the current Tokio runtime.
    pub(crate) fn endpoint(
        self,
        transport: Transport,
        mut config: EndpointConfig,
        server: Option<quinn::ServerConfig>,
    ) -> io::Result<quinn::Endpoint> {
        config.max_udp_payload_size(transport.packet_bytes.max(PACKET_BYTES_SMALL)).expect("within 1,200 and 65,527");
        quinn::Endpoint::new(config, server, self.udp, Arc::new(quinn::TokioRuntime))
    }

    #[cfg(test)]
    pub(super) fn into_std(self) -> UdpSocket {
        self.udp
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for Socket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.udp.as_raw_fd()
    }
}

/// Returns the usable bytes of a buffer. Linux reports twice that: the other half is for its bookkeeping (socket(7),
/// `SO_RCVBUF`).
fn usable(reported: usize) -> usize {
    if cfg!(target_os = "linux") { reported / 2 } else { reported }
}

/// The transport settings that the connections on a socket share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transport {
    /// The largest packet, in bytes of UDP payload.
    packet_bytes: u16,
    /// The receive window of a server's connection after the hello, within the server's budget, in bytes. Also its send
    /// window: the answers that the server buffers until the client reads them.
    pub(crate) window_bytes: u32,
}

impl Transport {
    /// Returns the settings of a server's connections. Their windows start small; [`open_windows`] grows them.
    pub(crate) fn server(&self, profile: Profile) -> TransportConfig {
        let mut config = self.common(profile, REQUEST_BYTES_MAX as u32 + FRAME_SLACK);
        config
            .receive_window(VarInt::from_u32(EARLY_WINDOW_BYTES))
            .max_concurrent_bidi_streams(VarInt::from_u32(EARLY_STREAMS))
            .send_window(u64::from(self.window_bytes));
        config
    }

    /// Returns the settings of a client's connections. A client trusts its server, so its windows start large.
    pub(crate) fn client(&self, profile: Profile) -> TransportConfig {
        let mut config = self.common(profile, ANSWER_BYTES_MAX as u32 + FRAME_SLACK);
        config
            .receive_window(VarInt::from_u32(CLIENT_WINDOW_BYTES))
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .send_window(u64::from(CLIENT_WINDOW_BYTES))
            .keep_alive_interval(Some(Duration::from_millis(IDLE_TIMEOUT_MS / 3)));
        config
    }

    fn common(&self, profile: Profile, stream_window_bytes: u32) -> TransportConfig {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(self.packet_bytes);
        let mut acknowledgements = AckFrequencyConfig::default();
        acknowledgements.ack_eliciting_threshold(VarInt::from_u32(ACK_PACKETS));
        let mut config = TransportConfig::default();
        config
            .mtu_discovery_config(Some(discovery))
            .ack_frequency_config(Some(acknowledgements))
            .stream_receive_window(VarInt::from_u32(stream_window_bytes))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS as u32))))
            // Batches are answered in the order in which they started; interleaving them in packets benefits none.
            .send_fairness(false);
        if let Some(rtt) = profile.initial_rtt() {
            config.initial_rtt(rtt);
        }
        if profile == Profile::Local {
            // If packets of this size are lost, quinn's black hole detection falls back to MTU discovery.
            config.initial_mtu(self.packet_bytes);
        }
        if profile != Profile::Far {
            let mut window = congestion::CubicConfig::default();
            window.initial_window(NEAR_WINDOW_BYTES);
            config.congestion_controller_factory(Arc::new(window));
        }
        config
    }
}

/// Grows the windows of a connection whose hello was accepted. The window of a single stream cannot be changed after
/// the connection is established: it is that of the longest request from the start, and the smaller connection window
/// applies before the hello.
pub(crate) fn open_windows(connection: &quinn::Connection, window_bytes: u32, streams: u32) {
    connection.set_receive_window(VarInt::from_u32(window_bytes));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(streams));
}

/// Stream window beyond the longest body: the header and a margin, so that a whole frame fits.
const FRAME_SLACK: u32 = 1 << 10;

/// Largest receive window of a server's connection: two of the longest requests.
const WINDOW_BYTES_MAX: u32 = 2 * REQUEST_BYTES_MAX as u32;

/// Window of a client's connection: eight of the longest answers, so that an answer that is read late never blocks
/// another one.
const CLIENT_WINDOW_BYTES: u32 = 8 * ANSWER_BYTES_MAX as u32;

/// Packets per acknowledgement (the ACK frequency extension): 38 M keys per second, against 33 M without it.
const ACK_PACKETS: u32 = 100;

/// Initial congestion window for local and near peers. Sixteen times as much made no difference.
const NEAR_WINDOW_BYTES: u64 = 1 << 20;

/// Socket buffer requested from the kernel for each direction.
const SOCKET_BYTES: usize = 8 << 20;

/// Socket buffer below which large packets were lost in measurements.
const SOCKET_BYTES_WANTED: usize = 1 << 20;

/// The system setting that limits socket buffers, for the warning.
const SYSCTL: &str = if cfg!(target_os = "linux") {
    "the sysctls net.core.rmem_max and net.core.wmem_max to 8388608"
} else if cfg!(target_os = "macos") {
    "the sysctl kern.ipc.maxsockbuf to 8388608"
} else {
    "the limits of the system for socket buffers to 8 MiB"
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_follow_the_address_range() {
        for local in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(Profile::of(local.parse().unwrap()), Profile::Local, "{local}");
        }
        for near in ["10.1.2.3", "192.168.0.1", "169.254.1.1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"] {
            assert_eq!(Profile::of(near.parse().unwrap()), Profile::Near, "{near}");
        }
        for far in ["192.0.2.1", "172.32.0.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert_eq!(Profile::of(far.parse().unwrap()), Profile::Far, "{far}");
        }
    }

    #[test]
    fn large_packets_require_large_buffers() {
        let socket = |buffer_bytes| Socket { udp: UdpSocket::bind("127.0.0.1:0").unwrap(), buffer_bytes };
        assert_eq!(socket(4 << 20).transport(u16::MAX).packet_bytes, PACKET_BYTES_MAX);
        assert_eq!(socket(4 << 20).transport(1_452).packet_bytes, 1_452);
        assert_eq!(socket(4 << 20).transport(0).packet_bytes, PACKET_BYTES_MIN);
        assert_eq!(socket(106_496).transport(u16::MAX).packet_bytes, PACKET_BYTES_SMALL);
        assert_eq!(socket(106_496).transport(u16::MAX).window_bytes, EARLY_WINDOW_BYTES);
    }
}
