//! Admission control: limits the number of connections in total and per address.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use dashmap::DashMap;

/// Counts connections. An address without connections takes no memory.
#[derive(Debug)]
pub(super) struct Admission {
    total: AtomicUsize,
    total_max: usize,
    per_address: DashMap<IpAddr, usize>,
    per_address_max: usize,
}

/// The permit of one connection, released when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(super) fn new(total_max: usize, per_address_max: usize) -> Self {
        Self { total: AtomicUsize::new(0), total_max, per_address: DashMap::new(), per_address_max }
    }

    /// Returns the current number of connections.
    pub(super) fn total(&self) -> usize {
        self.total.load(Relaxed)
    }

    /// Returns a permit for a connection from an address; `None` if a limit is reached.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<ConnectionPermit> {
        let address = client_network(address);
        self.total.fetch_update(Relaxed, Relaxed, |total| (total < self.total_max).then_some(total + 1)).ok()?;
        let mut count = self.per_address.entry(address).or_insert(0);
        if *count >= self.per_address_max {
            drop(count);
            self.total.fetch_sub(1, Relaxed);
            return None;
        }
        *count += 1;
        Some(ConnectionPermit { admission: self.clone(), address })
    }
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
        let admission = Arc::new(Admission::new(3, 2));
        let [a, b] = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap());
        let permits = [admission.admit(a), admission.admit(a)];
        assert!(permits.iter().all(Option::is_some));
        assert!(admission.admit(a).is_none());
        let third = admission.admit(b);
        assert!(third.is_some() && admission.admit(b).is_none());
        drop(third);
        // An IPv4-mapped IPv6 address counts as the IPv4 address.
        assert!(admission.admit("::ffff:192.0.2.1".parse().unwrap()).is_none());
        drop(permits);
        assert!(admission.per_address.is_empty() && admission.total() == 0);
        assert_eq!(client_network(b), client_network("2001:db8::ffff".parse().unwrap()));
    }
}
