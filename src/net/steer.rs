//! Several sockets on one port, each with a core of its own, and every packet of a connection to the same one.
//!
//! The kernel spreads what arrives on a port that several sockets share (`SO_REUSEPORT`) by addresses, which sends a
//! client whose address changes to a socket that has never heard of it. Connection IDs do not change with addresses: a
//! small filter picks the socket by one byte of the ID that a packet is for, and each endpoint makes IDs whose byte
//! names it. The first packets of a client bear an ID that it chose at random, and stay where that leads.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use rustls::crypto::SecureRandom;

use super::transport::Socket;

/// No more endpoints than a byte can tell apart with some randomness left.
const ENDPOINTS_MAX: usize = 64;

/// Binds so many sockets to one address; one where packets cannot be steered.
pub(crate) fn bind(address: SocketAddr, sockets: usize) -> io::Result<Vec<Socket>> {
    if sockets > 1 {
        // Sockets that share a port share it with those of another server too, which would take half of the packets.
        // One that does not share finds that out, and makes a port of port 0.
        let address = UdpSocket::bind(address)?.local_addr()?;
        match bind_group(address, sockets.min(ENDPOINTS_MAX)) {
            Ok(group) => return Ok(group),
            Err(error) => tracing::info!(%error, "one core serves all: packets cannot be steered to several"),
        }
    }
    Ok(vec![Socket::bind(address)?])
}

#[cfg(target_os = "linux")]
fn bind_group(address: SocketAddr, sockets: usize) -> io::Result<Vec<Socket>> {
    let group: Vec<Socket> = (0..sockets).map(|_| Socket::bind_shared(address)).collect::<io::Result<_>>()?;
    attach_filter(&group[0], sockets as u32)?;
    group[0].warn_of_small_buffers();
    Ok(group)
}

#[cfg(not(target_os = "linux"))]
fn bind_group(_: SocketAddr, _: usize) -> io::Result<Vec<Socket>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives the sockets of a port the filter that picks one of them by its number, which is the order of binding
/// (socket(7), `SO_ATTACH_REUSEPORT_CBPF`).
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn attach_filter(socket: &Socket, sockets: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    // Offsets count from the payload of the datagram. Of a long header (RFC 9000, section 17.2) the ID starts at 6, of a
    // short one (section 17.3) at 1; the first bit tells which it is.
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

/// Makes an endpoint's connection IDs lead to it.
pub(crate) fn steer(config: &mut EndpointConfig, number: usize, endpoints: usize) {
    if endpoints > 1 {
        let random = super::tls::provider().secure_random;
        let (number, endpoints) = (number as u8, endpoints as u8);
        config.cid_generator(move || Box::new(SteeredIds { number, endpoints, random }));
    }
}

/// Random connection IDs of which the first byte, divided by the number of endpoints, leaves the number of this one.
struct SteeredIds {
    number: u8,
    endpoints: u8,
    random: &'static dyn SecureRandom,
}

impl ConnectionIdGenerator for SteeredIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        // Without randomness IDs can be guessed, but TLS has failed long before.
        let _ = self.random.fill(&mut id);
        let rounds = u8::MAX / self.endpoints;
        id[0] = (id[0] % rounds) * self.endpoints + self.number;
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// As many as quinn's own.
const ID_BYTES: usize = 8;

/// Keeps the calling thread on the core of an endpoint: caches and queues stay warm. Does nothing where that cannot be
/// asked for.
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
                tracing::debug!(%error, core, "cannot stay on a core");
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = number;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_to_their_endpoint() {
        let random = crate::net::tls::provider().secure_random;
        for endpoints in [2u8, 3, 64] {
            for number in 0..endpoints {
                let mut ids = SteeredIds { number, endpoints, random };
                let some: Vec<ConnectionId> = (0..200).map(|_| ids.generate_cid()).collect();
                assert!(some.iter().all(|id| id[0] % endpoints == number && id.len() == ID_BYTES));
                assert!(some.iter().any(|id| id != &some[0]));
            }
        }
    }

    #[test]
    fn a_port_that_is_taken_is_not_shared() {
        let group = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let taken = group[0].local_addr().unwrap();
        for sockets in 1..=2 {
            assert_eq!(bind(taken, sockets).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn packets_go_where_their_connection_id_says() {
        let group = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_eq!(group.len(), 3);
        let to = group[0].local_addr().unwrap();
        let receivers: Vec<std::net::UdpSocket> = group.into_iter().map(Socket::into_std).collect();
        for receiver in &receivers {
            receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        // From many addresses: it must not matter.
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
