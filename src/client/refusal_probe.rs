//! Detects that no server listens on an address, which the system knows but a QUIC handshake is not told.
//!
//! One QUIC socket serves many peers, so it is not connected, and the system does not report the ICMP errors of one
//! peer to it: a handshake with a closed port ends with its timeout. A connected UDP socket is told: as "connection
//! refused" (on Windows "connection reset") when the port is closed, and as "unreachable" when there is no route. The
//! probe sends one datagram from such a socket while the handshake runs.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::UdpSocket;

/// The datagram of the probe: one zero byte, which every QUIC endpoint MUST discard without a response.
///
/// - The first bit says "short header" (RFC 9000, section 17.3): a short header has no version field, so there is
///   nothing to answer with a version negotiation packet.
/// - It is shorter than any valid packet with a short header (21 bytes), and than any that MAY be answered with a
///   stateless reset, which has to be shorter than the packet that it answers and has at least 21 bytes (section 10.3).
/// - The fixed bit is 0, so that it is not even a packet of QUIC version 1 (section 17.3.1).
///
/// It is not empty, because some network stacks and firewalls drop datagrams without payload.
const DATAGRAM: [u8; 1] = [0];

/// Completes with the error of the system when no server listens on the address, or the address cannot be reached.
/// Never completes if the system reports nothing, as when a server listens or a firewall drops the datagram.
pub(super) async fn refused(server: SocketAddr) -> io::Error {
    match probe(server).await {
        Err(error) if is_final(error.kind()) => error,
        _ => std::future::pending().await,
    }
}

async fn probe(server: SocketAddr) -> io::Result<usize> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(&DATAGRAM).await?;
    // A server does not answer: this returns when the error is reported.
    socket.recv(&mut [0; 1]).await
}

/// Returns whether the handshake cannot succeed after this error. Others, such as exhausted file descriptors, say
/// nothing about the server.
fn is_final(kind: ErrorKind) -> bool {
    use ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(kind, ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time;

    use super::*;

    #[tokio::test]
    async fn a_closed_port_is_reported_and_an_open_one_is_not() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let silent = time::timeout(Duration::from_millis(100), refused(address)).await;
        assert!(silent.is_err(), "{silent:?}");
        let mut datagram = [0xFF; 8];
        assert_eq!(socket.recv(&mut datagram).await.unwrap(), DATAGRAM.len());
        drop(socket);
        let error = time::timeout(Duration::from_secs(10), refused(address)).await.unwrap();
        assert!(is_final(error.kind()), "{error:?}");
    }
}
