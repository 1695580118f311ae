//! The records of one table during a build: partitioned by the leading bits of their keys, then sorted per partition.
//!
//! Partitioning makes building fast: each partition fits a processor's cache, and partitions are sorted in parallel.
//! Duplicates are found within a partition, because equal keys are in the same one.

use std::{cmp::Reverse, mem};

use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

use super::{
    chunked_vec::ChunkedVec,
    dedup::{IdFilter, is_own},
    layout::RecordRow,
    names::Names,
};
use crate::key::{Ipv4Block, Scope};

/// The key that the records of a table are sorted by.
pub(super) trait TableKey: Ord + Send + Sync {
    /// Returns a 64-bit prefix that preserves order: a smaller key never has a larger prefix.
    fn prefix(&self) -> u64;
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

/// Attributes shared by many records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ClassKey {
    pub(super) source: u32,
    pub(super) record_type: u8,
    pub(super) port: u16,
    pub(super) expiry: u32,
    /// The number of the input, used only to count duplicates.
    pub(super) input: u32,
}

/// The data that the numbers in [`SortEntry`] rows refer to.
pub(super) struct BuildContext<'a> {
    /// The classes, whose sources are ranks.
    pub(super) classes: &'a [ClassKey],
    pub(super) names: &'a Names,
    /// The filter that the IDs of retained records are inserted into.
    pub(super) ids: &'a IdFilter,
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
    #[inline]
    pub(super) fn push(&mut self, entry: SortEntry<K>) {
        if self.partitions.is_empty() {
            self.partitions.resize_with(1 << PARTITION_BITS, ChunkedVec::default);
        }
        self.partitions[(entry.key.prefix() >> (u64::BITS - PARTITION_BITS)) as usize].push(entry);
        self.len += 1;
    }

    /// Sorts and deduplicates the records, and adds the number of duplicates per input to `duplicates`.
    pub(super) fn sort_and_dedup(&mut self, context: &BuildContext<'_>, duplicates: &mut Vec<u64>) {
        let more: Vec<Vec<u64>> =
            self.partitions.par_iter_mut().map(|partition| sort_and_dedup_partition(partition, context)).collect();
        more.iter().for_each(|more| add(duplicates, more));
        self.len = self.partitions.iter().map(|partition| partition.len() as u64).sum();
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
                let input = class.input as usize;
                duplicates.resize(duplicates.len().max(input + 1), 0);
                duplicates[input] += 1;
                continue;
            }
        }
        if kept != at {
            partition.swap(kept, at);
        }
        kept += 1;
    }
    partition.truncate(kept);
    let own = partition.iter().map(|entry| &entry.row).filter(|row| is_own(row));
    context.ids.insert(own.map(|row| (context.class(row).source, row.id.get())));
    duplicates
}

/// Sorts prefixes with positions, which are a third of the size of the records, and moves each record once.
fn sort<K: TableKey>(partition: &mut ChunkedVec<SortEntry<K>>, context: &BuildContext<'_>) {
    let mut order: Vec<(u64, u32)> = partition.iter().zip(0..).map(|(entry, at)| (entry.key.prefix(), at)).collect();
    order.sort_unstable_by(|a, b| {
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
    fn class(&self, row: &RecordRow) -> &ClassKey {
        &self.classes[row.class.get() as usize]
    }

    fn compare<K: Ord>(&self, a: &SortEntry<K>, b: &SortEntry<K>) -> std::cmp::Ordering {
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
            .then_with(|| name(a).cmp(name(b)))
            .then_with(|| self.class(a).input.cmp(&self.class(b).input))
    }
}

/// Adds counts per input.
fn add(counts: &mut Vec<u64>, more: &[u64]) {
    counts.resize(counts.len().max(more.len()), 0);
    counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
}
