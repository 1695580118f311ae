//! Memory budgets: what the server holds for its peers, in requests that have arrived and in answers that were not
//! acknowledged.
//!
//! Two bounds protect different things. The **share** of a connection is a quota: a batch reserves what it may need at
//! most before it begins, and waits while the connection's other batches hold it, so that only the peer that does not
//! read, or does not finish what it sends, waits. The **budget** of the server counts the bytes that are held indeed,
//! over all connections; a batch for which it does not suffice is refused as overloaded.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The memory that all connections share, in bytes.
#[derive(Debug)]
pub(super) struct Budget {
    /// What it is for, for messages.
    name: &'static str,
    held: AtomicUsize,
    max: usize,
}

/// The part of a budget that one connection may hold.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    /// In units of [`UNIT_BYTES`].
    free: Arc<Semaphore>,
}

/// The memory that one batch holds, released when dropped.
#[derive(Debug)]
pub(super) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
    reserved: OwnedSemaphorePermit,
}

/// The budget of the server with this name is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent(pub(super) &'static str);

impl Budget {
    pub(super) fn new(name: &'static str, max: usize) -> Arc<Self> {
        Arc::new(Self { name, held: AtomicUsize::new(0), max })
    }
}

impl Share {
    /// Creates the share of a connection.
    pub(super) fn new(budget: Arc<Budget>, bytes: usize) -> Self {
        Self { budget, free: Arc::new(Semaphore::new(units(bytes) as usize)) }
    }

    /// Reserves bytes of the share, which MUST be at most the share itself. Waits while the other batches of the
    /// connection hold them; those that wait are served in their order.
    pub(super) async fn reserve(&self, bytes: usize) -> Held {
        let reserved = self.free.clone().acquire_many_owned(units(bytes)).await;
        Held { budget: self.budget.clone(), bytes: 0, reserved: reserved.expect("the semaphore is never closed") }
    }
}

impl Held {
    /// Counts that the batch holds as many bytes as stated, at most what it reserved. Fails when the budget is spent.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Spent> {
        if bytes > self.bytes {
            let (more, max) = (bytes - self.bytes, self.budget.max);
            let grow = |held: usize| held.checked_add(more).filter(|&held| held <= max);
            self.budget.held.fetch_update(Relaxed, Relaxed, grow).map_err(|_| Spent(self.budget.name))?;
            self.bytes = bytes;
        }
        Ok(())
    }

    /// Returns to the share what was reserved beyond the bytes that the batch holds: they will not grow any more.
    pub(super) fn settle(&mut self) {
        let surplus = self.reserved.num_permits().saturating_sub(units(self.bytes) as usize);
        drop(self.reserved.split(surplus));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// The unit of shares: far below the length of a packet, so that small answers are counted well enough.
const UNIT_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time;

    use super::*;

    #[tokio::test]
    async fn a_share_makes_its_own_batches_wait_and_a_budget_refuses() {
        let budget = Budget::new("answers", 10_000);
        let (own, other) = (Share::new(budget.clone(), 8_192), Share::new(budget.clone(), 8_192));
        let mut first = own.reserve(4_096).await;
        let second = own.reserve(4_096).await;
        let waits =
            async |share: &Share, bytes| time::timeout(Duration::from_millis(20), share.reserve(bytes)).await.is_err();
        assert!(waits(&own, 256).await);
        // Another connection does not wait, but the bytes are counted together.
        let mut beside = other.reserve(8_192).await;
        assert_eq!(first.grow_to(1_000), Ok(()));
        assert_eq!(beside.grow_to(8_192), Ok(()));
        assert_eq!(first.grow_to(1_900), Err(Spent("answers")));
        assert_eq!(budget.held.load(Relaxed), 9_192);
        // What was reserved and is not needed returns to the share.
        first.settle();
        assert!(!waits(&own, 3_072).await);
        assert!(waits(&own, 3_073).await);
        drop((first, second, beside));
        assert_eq!(budget.held.load(Relaxed), 0);
        assert!(!waits(&own, 8_192).await);
    }
}
