//! Making record IDs unique: a record is identified by (source, ID).

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::{
    chunked_vec::ChunkedVec,
    layout::RecordRow,
    sort_entries::{BuildContext, SortEntries, SortEntry},
};
use crate::{key::Indicator, record::derived_id};

/// A filter for IDs that may occur twice. It stores no IDs: each ID is hashed to a bit in `first`, and to the same bit
/// in `second` if that one was set already.
#[derive(Debug)]
pub(super) struct IdFilter {
    first: Vec<AtomicU64>,
    second: Vec<AtomicU64>,
}

/// Bits per record in each bitmap. With 8, about 12 % of the IDs that occur once are false positives, which are then
/// checked individually. Consecutive IDs do not collide.
const BITS_PER_RECORD: usize = 8;

/// IDs per batch: somewhat more than the number of loads that a processor can have outstanding.
const BATCH_IDS: usize = 32;

impl IdFilter {
    pub(super) fn new(records: usize) -> Self {
        let empty = || (0..records * BITS_PER_RECORD / 64 + 1).map(|_| AtomicU64::new(0)).collect();
        Self { first: empty(), second: empty() }
    }

    /// Inserts IDs in batches: all words of a batch are loaded before the first is modified, because an atomic
    /// read-modify-write does not overlap with other loads and none of the words is in a cache.
    pub(super) fn insert(&self, ids: impl Iterator<Item = (u32, u64)>) {
        let mut ids = ids.map(|(source, id)| self.position(source, id));
        loop {
            let mut positions = [(0, 0, 0); BATCH_IDS];
            let mut count = 0;
            for (position, (word, bit)) in positions.iter_mut().zip(&mut ids) {
                *position = (word, bit, self.first[word].load(Relaxed));
                count += 1;
            }
            for &(word, bit, seen) in &positions[..count] {
                if seen & bit != 0 || self.first[word].fetch_or(bit, Relaxed) & bit != 0 {
                    self.second[word].fetch_or(bit, Relaxed);
                }
            }
            if count < BATCH_IDS {
                return;
            }
        }
    }

    fn may_occur_twice(&self, source: u32, id: u64) -> bool {
        let (word, bit) = self.position(source, id);
        self.second[word].load(Relaxed) & bit != 0
    }

    fn position(&self, source: u32, id: u64) -> (usize, u64) {
        // 2^64 divided by the golden ratio: its multiples, and so the bits of consecutive IDs, are spread evenly.
        let hash = (id ^ u64::from(source).rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bit = (u128::from(hash) * (self.first.len() as u128 * 64)) >> 64;
        (bit as usize / 64, 1 << (bit % 64))
    }
}

/// Returns whether a record's ID was assigned by its feed. Derived IDs depend on the indicator and are unique already.
pub(super) fn is_own(row: &RecordRow) -> bool {
    row.id.get() >> 63 == 0
}

/// The state of making IDs unique, across tables.
pub(super) struct Ids<'a> {
    pub(super) context: &'a BuildContext<'a>,
    /// Source names by rank.
    pub(super) sources: &'a [String],
    /// The IDs seen so far, of those that may occur twice.
    pub(super) seen: HashSet<(u32, u64)>,
    /// Whether any ID was replaced.
    pub(super) changed: bool,
}

impl Ids<'_> {
    /// Replaces duplicate IDs: where a feed uses one ID for several indicators, the first keeps it and the others get
    /// derived IDs.
    pub(super) fn make_unique<K: Send + Sync>(
        &mut self,
        table: &mut SortEntries<K>,
        indicator: impl Fn(&K) -> Indicator,
    ) {
        let BuildContext { classes, ids: Some(filter), .. } = *self.context else { return };
        let source = |row: &RecordRow| classes[row.class.get() as usize].source;
        let suspects = |partition: &ChunkedVec<SortEntry<K>>| -> Vec<u32> {
            let rows = partition.iter().map(|entry| &entry.row).zip(0..);
            let suspect = |row: &RecordRow| is_own(row) && filter.may_occur_twice(source(row), row.id.get());
            rows.filter(|(row, _)| suspect(row)).map(|(_, at)| at).collect()
        };
        let suspects: Vec<_> = table.partitions.par_iter().map(suspects).collect();
        for (partition, suspects) in table.partitions.iter_mut().zip(suspects) {
            for at in suspects {
                let entry = partition.get_mut(at as usize);
                let source = source(&entry.row);
                if !self.seen.insert((source, entry.row.id.get())) {
                    let name = self.context.names.text(entry.row.name.get());
                    entry.row.id = derived_id(&self.sources[source as usize], &indicator(&entry.key), name).into();
                    self.changed = true;
                }
            }
        }
    }
}
