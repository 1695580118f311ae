//! When a build deduplicates what it has collected, so that its memory grows with distinct records and not with rows.

/// The bytes collected since the last deduplication, and those that it retained.
#[derive(Debug)]
pub(super) struct Growth {
    added: usize,
    retained: usize,
    min: usize,
}

/// The number of bytes below which collected records are not deduplicated: 1.3 million digests. Most feeds stay below
/// it and are sorted once. Memory is limited to about twice the retained records, or to this where that is more.
const BYTES_MIN: usize = 64 << 20;

impl Default for Growth {
    fn default() -> Self {
        Self::with_min(BYTES_MIN)
    }
}

impl Growth {
    /// Creates the state of a build that deduplicates after `min` bytes at the earliest.
    pub(super) fn with_min(min: usize) -> Self {
        Self { added: 0, retained: 0, min }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.added += bytes;
    }

    /// Returns whether the collected bytes have doubled since the last deduplication: with this rule, all
    /// deduplications together sort each record about twice.
    pub(super) fn is_due(&self) -> bool {
        self.added >= self.retained.max(self.min)
    }

    /// Starts anew with the bytes that a deduplication retained.
    pub(super) fn reset(&mut self, retained: usize) {
        (self.added, self.retained) = (0, retained);
    }
}
