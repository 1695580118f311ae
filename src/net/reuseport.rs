//! Several sockets on one port, one per core, with connection-ID routing: every packet of a connection reaches the same
//! socket.
//!
//! The kernel distributes the packets of a port that several sockets share (`SO_REUSEPORT`) by addresses, so that a
//! client whose address changes reaches a socket that does not know its connection. Connection IDs do not change with
//! addresses: a small BPF filter selects the socket by one byte of the destination connection ID, and each endpoint
//! generates [IDs whose byte identifies it](super::connection_id). The first packets of a client have an ID that it chose at random; the
//! connection stays on the socket that this ID selects.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use super::transport::Socket;

/// The maximum number of endpoints: one byte distinguishes them, with some randomness left.
const ENDPOINTS_MAX: usize = 64;

/// Binds a number of sockets to one address; a single one where packets cannot be routed by connection ID.
pub(crate) fn bind(address: SocketAddr, sockets: usize) -> io::Result<Vec<Socket>> {
    if sockets > 1 {
        // A shared port could also be shared with another server, which would receive half of the packets. Binding an
        // exclusive socket first detects that, and resolves port 0.
        let address = UdpSocket::bind(address)?.local_addr()?;
        match bind_group(address, sockets.min(ENDPOINTS_MAX)) {
            Ok(group) => return Ok(group),
            Err(error) => tracing::info!(%error, "serving on one core: packets cannot be routed to several"),
        }
    }
    Ok(vec![Socket::bind(address)?])
}

#[cfg(target_os = "linux")]
fn bind_group(address: SocketAddr, sockets: usize) -> io::Result<Vec<Socket>> {
    let group: Vec<Socket> = (0..sockets).map(|_| Socket::bind_reuseport(address)).collect::<io::Result<_>>()?;
    attach_filter(&group[0], sockets as u32)?;
    group[0].warn_of_small_buffers();
    Ok(group)
}

#[cfg(not(target_os = "linux"))]
fn bind_group(_: SocketAddr, _: usize) -> io::Result<Vec<Socket>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Attaches the filter that selects one of the sockets of a port by its number, in the order of binding (socket(7),
/// `SO_ATTACH_REUSEPORT_CBPF`).
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn attach_filter(socket: &Socket, sockets: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    // Offsets are relative to the payload of the datagram. The ID starts at 6 in a long header (RFC 9000, section
    // 17.2), at 1 in a short one (section 17.3); the first bit distinguishes them.
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0),
        libc::sock_filter { code: (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16, jt: 0, jf: 2, k: 0x80 },
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 6),
        statement(libc::BPF_JMP | libc::BPF_JA, 1),
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 1),
        statement(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, sockets),
        statement(libc::BPF_RET | libc::BPF_A, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel reads `program` and the filter it points to, both of which outlive the call, and copies them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Pins the calling thread to the core of an endpoint, which keeps caches and queues warm. Does nothing on systems
/// other than Linux.
pub(crate) fn pin_thread(number: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let Ok(allowed) = sched_getaffinity(None) else { return };
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
        let mut one = CpuSet::new();
        if let Some(&core) = cores.get(number % cores.len().max(1)) {
            one.set(core);
            if let Err(error) = sched_setaffinity(None, &one) {
                tracing::debug!(%error, core, "cannot pin the thread to a core");
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = number;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_port_in_use_is_not_shared() {
        let group = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let taken = group[0].local_addr().unwrap();
        for sockets in 1..=2 {
            assert_eq!(bind(taken, sockets).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn packets_are_routed_by_connection_id() {
        let group = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_eq!(group.len(), 3);
        let to = group[0].local_addr().unwrap();
        let receivers: Vec<std::net::UdpSocket> = group.into_iter().map(Socket::into_std).collect();
        for receiver in &receivers {
            receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        // The routing must not depend on the sender's address.
        for byte in 0..=255u8 {
            let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let short = [0x40, byte, 1, 2, 3, 4];
            let long = [0xc0, 0, 0, 0, 1, 8, byte, 9, 9, 9];
            for packet in [&short[..], &long[..]] {
                sender.send_to(packet, to).unwrap();
                let mut found = [0; 32];
                let length = receivers[usize::from(byte % 3)].recv(&mut found).unwrap();
                assert_eq!(&found[..length], packet);
            }
        }
    }
}
