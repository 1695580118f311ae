//! Who may connect: so many in all, so many from one address.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use dashmap::DashMap;

/// Counts connections. An address without any takes no memory.
#[derive(Debug)]
pub(super) struct Admission {
    total: AtomicUsize,
    total_max: usize,
    per_address: DashMap<IpAddr, usize>,
    per_address_max: usize,
}

/// One connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(super) fn new(total_max: usize, per_address_max: usize) -> Self {
        Self { total: AtomicUsize::new(0), total_max, per_address: DashMap::new(), per_address_max }
    }

    /// Connections at the moment.
    pub(super) fn total(&self) -> usize {
        self.total.load(Relaxed)
    }

    /// A place for a connection from that address, if there is one.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = whole_host(address);
        self.total.fetch_update(Relaxed, Relaxed, |total| (total < self.total_max).then_some(total + 1)).ok()?;
        let mut count = self.per_address.entry(address).or_insert(0);
        if *count >= self.per_address_max {
            drop(count);
            self.total.fetch_sub(1, Relaxed);
            return None;
        }
        *count += 1;
        Some(Place { admission: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.total.fetch_sub(1, Relaxed);
        self.admission.per_address.remove_if_mut(&self.address, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

/// One host has a whole /64 of IPv6 addresses to come from.
fn whole_host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => IpAddr::from((u128::from(address) & !u128::from(u64::MAX)).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let admission = Arc::new(Admission::new(3, 2));
        let [a, b] = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap());
        let places = [admission.admit(a), admission.admit(a)];
        assert!(places.iter().all(Option::is_some));
        assert!(admission.admit(a).is_none());
        let third = admission.admit(b);
        assert!(third.is_some() && admission.admit(b).is_none());
        drop(third);
        // Mapped into IPv6, the address is still the same.
        assert!(admission.admit("::ffff:192.0.2.1".parse().unwrap()).is_none());
        drop(places);
        assert!(admission.per_address.is_empty() && admission.total() == 0);
        assert_eq!(whole_host(b), whole_host("2001:db8::ffff".parse().unwrap()));
    }
}
