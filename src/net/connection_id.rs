//! Connection IDs of a server: they route to the endpoint of their connection, and a restarted server recognizes them.
//!
//! | at | bytes | |
//! | --- | --- | --- |
//! | 0 | 1 | modulo the number of endpoints, the number of the endpoint: see [`reuseport`](super::reuseport) |
//! | 1 | 11 | random |
//! | 12 | 4 | keyed BLAKE3 of the bytes before |
//!
//! A server answers packets of unknown connections with a stateless reset (RFC 9000, section 10.3), so that the clients
//! of a server that crashed need not wait for their idle timeout. It sends resets only for IDs whose check is right:
//! other packets are not of clients that it had, and cost one hash. The check does not cover the number of endpoints,
//! which a restart may change.

use std::time::Duration;

use quinn::{ConnectionId, ConnectionIdGenerator};
use quinn_proto::InvalidCid;
use rustls::crypto::SecureRandom;

use super::tls;

/// The key of the check, the same for all endpoints of a server.
pub(super) type ConnectionIdKey = [u8; 32];

/// Generates and validates the connection IDs of one endpoint.
pub(super) struct ConnectionIds {
    key: ConnectionIdKey,
    number: u8,
    endpoints: u8,
    random: &'static dyn SecureRandom,
}

impl ConnectionIds {
    /// Creates the generator of endpoint `number` of `endpoints`, of which there are at most 255.
    pub(super) fn new(key: ConnectionIdKey, number: usize, endpoints: usize) -> Self {
        debug_assert!(number < endpoints && endpoints <= usize::from(u8::MAX));
        Self { key, number: number as u8, endpoints: endpoints as u8, random: tls::provider().secure_random }
    }

    fn check(&self, id: &[u8; CHECK_AT]) -> [u8; CHECK_BYTES] {
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&blake3::keyed_hash(&self.key, id).as_bytes()[..CHECK_BYTES]);
        check
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CHECK_AT];
        // Without randomness IDs could be guessed, but then TLS has already failed.
        let _ = self.random.fill(&mut id);
        let rounds = u8::MAX / self.endpoints;
        id[0] = (id[0] % rounds) * self.endpoints + self.number;
        let mut whole = [0; ID_BYTES];
        whole[..CHECK_AT].copy_from_slice(&id);
        whole[CHECK_AT..].copy_from_slice(&self.check(&id));
        ConnectionId::new(&whole)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let (id, check) = id.split_first_chunk::<CHECK_AT>().ok_or(InvalidCid)?;
        // Not in constant time: whoever guesses a check may have a reset for it.
        if check == self.check(id) { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

const ID_BYTES: usize = 16;

/// One in 4 billion wrong packets is answered with a reset, which is shorter than the packet and authenticates nothing.
const CHECK_BYTES: usize = 4;

const CHECK_AT: usize = ID_BYTES - CHECK_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_route_to_their_endpoint() {
        for endpoints in [1, 2, 3, 64] {
            for number in 0..endpoints {
                let mut ids = ConnectionIds::new([7; 32], number, endpoints);
                let some: Vec<ConnectionId> = (0..200).map(|_| ids.generate_cid()).collect();
                assert!(some.iter().all(|id| usize::from(id[0]) % endpoints == number && id.len() == ID_BYTES));
                assert!(some.iter().any(|id| id != &some[0]));
            }
        }
    }

    /// Prevents a restarted server, also one with another number of cores, from ignoring the connections that it had.
    #[test]
    fn ids_are_recognized_by_their_key_alone() {
        let id = ConnectionIds::new([7; 32], 1, 2).generate_cid();
        for (number, endpoints) in [(0, 1), (0, 2), (1, 2), (5, 64)] {
            assert!(ConnectionIds::new([7; 32], number, endpoints).validate(&id).is_ok());
            assert!(ConnectionIds::new([8; 32], number, endpoints).validate(&id).is_err());
        }
        for at in 0..ID_BYTES {
            let mut wrong = id.to_vec();
            wrong[at] ^= 1;
            assert!(ConnectionIds::new([7; 32], 0, 1).validate(&ConnectionId::new(&wrong)).is_err(), "{at}");
        }
        for length in [0, 8, 15, 20] {
            let other = ConnectionId::new(&[id.to_vec(), vec![0; 8]].concat()[..length]);
            assert!(ConnectionIds::new([7; 32], 0, 1).validate(&other).is_err(), "{length}");
        }
    }
}
