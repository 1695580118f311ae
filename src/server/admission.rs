//! Admission control: limits the number of connections in total and per address, and of unfinished handshakes.
//!
//! A connection counts against its address only once the address is validated: the first packet of a handshake can be
//! sent with anybody's address, and would lock its owner out. Handshakes with addresses that are not validated have a
//! bound of their own; beyond it, clients must validate their address first (QUIC Retry).

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use dashmap::DashMap;

/// Counts connections and handshakes. An address without connections takes no memory.
#[derive(Debug)]
pub(super) struct Admission {
    total: AtomicUsize,
    total_max: usize,
    per_address: DashMap<IpAddr, usize>,
    per_address_max: usize,
    handshakes: AtomicUsize,
    handshakes_max: usize,
}

/// The permit of one connection, released when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    admission: Arc<Admission>,
    address: IpAddr,
}

/// The permit of one handshake with an address that is not validated, released when dropped.
#[derive(Debug)]
pub(super) struct HandshakePermit(Arc<Admission>);

/// The limit that a connection would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    /// The number of connections in total.
    Total,
    /// The number of connections from one address.
    Address,
}

impl Admission {
    pub(super) fn new(total_max: usize, per_address_max: usize, handshakes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            total: AtomicUsize::new(0),
            total_max,
            per_address: DashMap::new(),
            per_address_max,
            handshakes: AtomicUsize::new(0),
            handshakes_max,
        })
    }

    /// Returns the current number of connections.
    pub(super) fn total(&self) -> usize {
        self.total.load(Relaxed)
    }

    /// Fails when a connection from an address would exceed a limit now.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), Exceeded> {
        let own = self.per_address.get(&client_network(address)).map_or(0, |count| *count);
        match () {
            () if self.total() >= self.total_max => Err(Exceeded::Total),
            () if own >= self.per_address_max => Err(Exceeded::Address),
            () => Ok(()),
        }
    }

    /// Returns a permit for a connection from a validated address.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<ConnectionPermit, Exceeded> {
        let address = client_network(address);
        increase(&self.total, self.total_max).ok_or(Exceeded::Total)?;
        let mut count = self.per_address.entry(address).or_insert(0);
        if *count >= self.per_address_max {
            drop(count);
            self.total.fetch_sub(1, Relaxed);
            return Err(Exceeded::Address);
        }
        *count += 1;
        Ok(ConnectionPermit { admission: self.clone(), address })
    }

    /// Returns a permit for a handshake with an address that is not validated; `None` if there are too many.
    pub(super) fn begin_handshake(self: &Arc<Self>) -> Option<HandshakePermit> {
        increase(&self.handshakes, self.handshakes_max)?;
        Some(HandshakePermit(self.clone()))
    }
}

/// Adds one; `None` if the maximum is reached.
fn increase(count: &AtomicUsize, max: usize) -> Option<()> {
    count.fetch_update(Relaxed, Relaxed, |count| (count < max).then_some(count + 1)).ok().map(drop)
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.admission.total.fetch_sub(1, Relaxed);
        self.admission.per_address.remove_if_mut(&self.address, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Relaxed);
    }
}

/// Returns the key that an address is counted by: IPv6 addresses by their /64, because one host has all of it.
fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => IpAddr::from((u128::from(address) & !u128::from(u64::MAX)).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_bounded_and_released() {
        let admission = Admission::new(3, 2, 1);
        let [a, b] = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap());
        let permits = [admission.admit(a), admission.admit(a)];
        assert!(permits.iter().all(Result::is_ok));
        assert_eq!((admission.check(a), admission.check(b)), (Err(Exceeded::Address), Ok(())));
        assert_eq!(admission.admit(a).unwrap_err(), Exceeded::Address);
        let third = admission.admit(b);
        assert!(third.is_ok());
        assert_eq!((admission.check(b), admission.admit(b).unwrap_err()), (Err(Exceeded::Total), Exceeded::Total));
        drop(third);
        // An IPv4-mapped IPv6 address counts as the IPv4 address.
        assert!(admission.admit("::ffff:192.0.2.1".parse().unwrap()).is_err());
        drop(permits);
        assert!(admission.per_address.is_empty() && admission.total() == 0);
        assert_eq!(client_network(b), client_network("2001:db8::ffff".parse().unwrap()));
    }

    #[test]
    fn handshakes_do_not_count_as_connections() {
        let admission = Admission::new(1, 1, 1);
        let handshake = admission.begin_handshake();
        assert!(handshake.is_some() && admission.begin_handshake().is_none());
        assert!(admission.admit("192.0.2.1".parse().unwrap()).is_ok());
        drop(handshake);
        assert!(admission.begin_handshake().is_some());
    }
}
