//! The records of one table during a build: partitioned by the leading bits of their keys, then sorted per partition.
//!
//! Partitioning makes building fast: each partition fits a processor's cache, and partitions are sorted in parallel.
//! Duplicates are found within a partition, because equal keys are in the same one.

use std::{
    cmp::{Ordering, Reverse},
    mem,
};

use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

use super::{
    chunked_vec::ChunkedVec,
    classes::ClassKey,
    dedup::{IdFilter, is_own},
    layout::RecordRow,
    names::Names,
};
use crate::{
    key::{Ipv4Block, Scope},
    record::{PrecedenceKey, RecordType, Specificity, sort_by_precedence},
    timestamp::Timestamp,
};

/// The key that the records of a table are sorted by.
pub(super) trait TableKey: Ord + Send + Sync {
    /// Returns a 64-bit prefix that preserves order: a smaller key never has a larger prefix.
    fn prefix(&self) -> u64;

    /// Returns the size in bytes of what the key has allocated.
    fn allocated_bytes(&self) -> usize {
        0
    }
}

/// A digest of any kind, padded with zeros.
impl TableKey for [u8; 32] {
    fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *self;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// A web expression with its scope.
pub(super) type WebKey = (Scope, Box<str>);

impl TableKey for WebKey {
    fn prefix(&self) -> u64 {
        let mut text = [0; 8];
        let shared = self.1.len().min(8);
        text[..shared].copy_from_slice(&self.1.as_bytes()[..shared]);
        (self.0 as u64 - 1) << 62 | u64::from_be_bytes(text) >> 2
    }

    fn allocated_bytes(&self) -> usize {
        self.1.len()
    }
}

impl TableKey for Ipv4Block {
    fn prefix(&self) -> u64 {
        u64::from(u32::from(self.first())) << 32 | u64::from(!u32::from(self.last()))
    }
}

/// One record: its key and its row. Until the final numbering, the row's class is the number of a [`ClassKey`] and its
/// name is numbered in order of appearance.
#[derive(Clone, Debug)]
pub(super) struct SortEntry<K> {
    pub(super) key: K,
    pub(super) row: RecordRow,
}

/// The data that the numbers in [`SortEntry`] rows refer to.
pub(super) struct BuildContext<'a> {
    /// The classes, whose sources are ranks.
    pub(super) classes: &'a [ClassKey],
    pub(super) names: &'a Names,
    /// The filter that the IDs of retained records are inserted into.
    pub(super) ids: Option<&'a IdFilter>,
}

/// The records of one table: in any order at first; after sorting, deduplicated and ordered by key, source and ID
/// across the partitions.
#[derive(Debug)]
pub(super) struct SortEntries<K> {
    /// Empty before the first record.
    pub(super) partitions: Vec<ChunkedVec<SortEntry<K>>>,
    /// The number of records.
    pub(super) len: u64,
    /// The number of distinct keys; set by the final numbering.
    pub(super) keys: u64,
    /// The number of keys with several records; set by the final numbering.
    pub(super) shared_keys: u64,
}

/// The number of leading prefix bits that select the partition: with 10 million keys, a partition takes 2 MB, the size
/// of a second-level cache.
const PARTITION_BITS: u32 = 8;

impl<K> Default for SortEntries<K> {
    fn default() -> Self {
        Self { partitions: Vec::new(), len: 0, keys: 0, shared_keys: 0 }
    }
}

impl<K: TableKey> SortEntries<K> {
    /// Adds a record and returns the memory that it takes, in bytes.
    #[inline]
    pub(super) fn push(&mut self, entry: SortEntry<K>) -> usize {
        let bytes = size_of::<SortEntry<K>>() + entry.key.allocated_bytes();
        if self.partitions.is_empty() {
            self.partitions.resize_with(1 << PARTITION_BITS, ChunkedVec::default);
        }
        self.partitions[(entry.key.prefix() >> (u64::BITS - PARTITION_BITS)) as usize].push(entry);
        self.len += 1;
        bytes
    }

    /// Sorts and deduplicates the records, and adds the number of duplicates per input to `duplicates`.
    pub(super) fn sort_and_dedup(&mut self, context: &BuildContext<'_>, duplicates: &mut Vec<u64>) {
        self.remove(duplicates, |partition| sort_and_dedup_partition(partition, context));
    }

    /// Keeps the `limit` best records of every key, in order of precedence, and adds the number of the others per input
    /// to `over_limit`. The records must be sorted.
    pub(super) fn limit_per_key(&mut self, limit: usize, context: &BuildContext<'_>, over_limit: &mut Vec<u64>) {
        self.remove(over_limit, |partition| limit_partition(partition, limit, context));
    }

    /// Removes records from every partition and adds their number per input to `removed`.
    fn remove(
        &mut self,
        removed: &mut Vec<u64>,
        from: impl Fn(&mut ChunkedVec<SortEntry<K>>) -> Vec<u64> + Sync + Send,
    ) {
        let more: Vec<Vec<u64>> = self.partitions.par_iter_mut().map(from).collect();
        more.iter().for_each(|more| add(removed, more));
        self.len = self.partitions.iter().map(|partition| partition.len() as u64).sum();
    }

    /// Returns the memory that the records take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let entries = self.partitions.iter().flat_map(ChunkedVec::iter);
        // Only web expressions allocate: for other keys this compiles to a product.
        entries.map(|entry| size_of::<SortEntry<K>>() + entry.key.allocated_bytes()).sum()
    }
}

/// Sorts by key, source and ID, and keeps one record of each: the newest, then the most severe, then the one that
/// expires last, then the first in sort order, so that the result does not depend on the order of the inputs. Returns
/// the number of duplicates per input.
fn sort_and_dedup_partition<K: TableKey>(
    partition: &mut ChunkedVec<SortEntry<K>>,
    context: &BuildContext<'_>,
) -> Vec<u64> {
    sort(partition, context);
    let mut duplicates = Vec::new();
    let mut kept = 0;
    for at in 0..partition.len() {
        let row = &partition.get(at).row;
        let class = context.class(row);
        if kept > 0 {
            let (last, next) = (partition.get(kept - 1), partition.get(at));
            if next.row.id == last.row.id && next.key == last.key && class.source == context.class(&last.row).source {
                count(&mut duplicates, class.input);
                continue;
            }
        }
        if kept != at {
            partition.swap(kept, at);
        }
        kept += 1;
    }
    partition.truncate(kept);
    if let Some(ids) = context.ids {
        let own = partition.iter().map(|entry| &entry.row).filter(|row| is_own(row));
        ids.insert(own.map(|row| (context.class(row).source, row.id.get())));
    }
    duplicates
}

/// Keeps the `limit` best records of every key, in their present order. Returns the number of the others per input.
fn limit_partition<K: TableKey>(
    partition: &mut ChunkedVec<SortEntry<K>>,
    limit: usize,
    context: &BuildContext<'_>,
) -> Vec<u64> {
    let mut over_limit = Vec::new();
    if !may_exceed(partition, limit) {
        return over_limit;
    }
    let (mut start, mut kept) = (0, 0);
    while start < partition.len() {
        let key = &partition.get(start).key;
        let end = (start + 1..partition.len()).find(|&at| partition.get(at).key != *key).unwrap_or(partition.len());
        let mut best: Vec<usize> = (start..end).collect();
        if best.len() > limit {
            sort_by_precedence(&mut best, |&at| context.precedence(&partition.get(at).row));
            for &at in &best[limit..] {
                count(&mut over_limit, context.class(&partition.get(at).row).input);
            }
            best.truncate(limit);
            best.sort_unstable();
        }
        for at in best {
            partition.swap(kept, at);
            kept += 1;
        }
        start = end;
    }
    partition.truncate(kept);
    over_limit
}

/// Returns whether a key may have more than `limit` records. Of so many equal keys, which are adjacent, two are at
/// multiples of half the limit: comparing only these takes no time.
fn may_exceed<K: TableKey>(partition: &ChunkedVec<SortEntry<K>>, limit: usize) -> bool {
    let step = (limit / 2).max(1);
    (step..partition.len()).step_by(step).any(|at| partition.get(at).key == partition.get(at - step).key)
}

/// Sorts prefixes with positions, which are a third of the size of the records, and moves each record once. The sort is
/// the one of the standard library that merges runs: most of a partition may be sorted already.
fn sort<K: TableKey>(partition: &mut ChunkedVec<SortEntry<K>>, context: &BuildContext<'_>) {
    let mut order: Vec<(u64, u32)> = partition.iter().zip(0..).map(|(entry, at)| (entry.key.prefix(), at)).collect();
    order.sort_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| context.compare(partition.get(a.1 as usize), partition.get(b.1 as usize)))
    });
    // Follows each cycle of the permutation and swaps the right record into each position.
    for start in 0..order.len() {
        let mut at = start;
        loop {
            let from = mem::replace(&mut order[at].1, at as u32) as usize;
            if from == start {
                break;
            }
            partition.swap(at, from);
            at = from;
        }
    }
}

impl BuildContext<'_> {
    /// Returns the precedence of a record among those of its key, which are equally specific.
    fn precedence(&self, row: &RecordRow) -> PrecedenceKey<u32> {
        let class = self.class(row);
        PrecedenceKey {
            record_type: RecordType::from_number(class.record_type).unwrap_or(RecordType::Other),
            specificity: Specificity::DIGEST,
            timestamp: Timestamp::from_seconds(row.timestamp.get()),
            source: class.source,
            id: row.id.get(),
        }
    }

    fn class(&self, row: &RecordRow) -> &ClassKey {
        &self.classes[row.class.get() as usize]
    }

    fn compare<K: Ord>(&self, a: &SortEntry<K>, b: &SortEntry<K>) -> Ordering {
        let source = |row| self.class(row).source;
        let rest = |row: &RecordRow| {
            let class = self.class(row);
            let expiry = if class.expiry == 0 { u32::MAX } else { class.expiry };
            (Reverse(row.timestamp.get()), class.record_type, Reverse(expiry), Reverse(class.port))
        };
        let name = |row: &RecordRow| self.names.text(row.name.get());
        let (key, a, b) = (a.key.cmp(&b.key), &a.row, &b.row);
        key.then_with(|| source(a).cmp(&source(b)))
            .then_with(|| a.id.get().cmp(&b.id.get()))
            .then_with(|| rest(a).cmp(&rest(b)))
            .then_with(|| if a.name == b.name { Ordering::Equal } else { name(a).cmp(name(b)) })
            .then_with(|| self.class(a).input.cmp(&self.class(b).input))
    }
}

/// Counts a record of an input.
fn count(counts: &mut Vec<u64>, input: u32) {
    let input = input as usize;
    counts.resize(counts.len().max(input + 1), 0);
    counts[input] += 1;
}

/// Adds counts per input.
fn add(counts: &mut Vec<u64>, more: &[u64]) {
    counts.resize(counts.len().max(more.len()), 0);
    counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
}
