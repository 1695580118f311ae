//! IDs that occur once: a record is known by (source, ID).

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::{
    drafts::{Draft, Drafts, Meaning},
    layout::RecordRow,
    part::Part,
};
use crate::{key::Indicator, record::derived_id};

/// Which IDs may occur twice, without keeping any: a bit where each falls, and one where a second fell.
#[derive(Debug)]
pub(super) struct IdFilter {
    first: Vec<AtomicU64>,
    second: Vec<AtomicU64>,
}

/// Bits a record in each half. With 8, some 12 % of IDs that occur once fall where another fell; they are then looked at
/// one by one. Numbers that follow one another fall apart.
const BITS_PER_RECORD: usize = 8;

/// Loads that a processor has under way at the same time, and some more.
const IDS_AT_ONCE: usize = 32;

impl IdFilter {
    pub(super) fn new(records: usize) -> Self {
        let empty = || (0..records * BITS_PER_RECORD / 64 + 1).map(|_| AtomicU64::new(0)).collect();
        Self { first: empty(), second: empty() }
    }

    /// Marks IDs, a few at once: the words of all are loaded before the first is changed, as an atomic change waits for
    /// its word alone, and there is none in a cache.
    pub(super) fn mark(&self, ids: impl Iterator<Item = (u32, u64)>) {
        let mut ids = ids.map(|(source, id)| self.place(source, id));
        loop {
            let mut places = [(0, 0, 0); IDS_AT_ONCE];
            let mut count = 0;
            for (place, (word, bit)) in places.iter_mut().zip(&mut ids) {
                *place = (word, bit, self.first[word].load(Relaxed));
                count += 1;
            }
            for &(word, bit, seen) in &places[..count] {
                if seen & bit != 0 || self.first[word].fetch_or(bit, Relaxed) & bit != 0 {
                    self.second[word].fetch_or(bit, Relaxed);
                }
            }
            if count < IDS_AT_ONCE {
                return;
            }
        }
    }

    fn may_occur_twice(&self, source: u32, id: u64) -> bool {
        let (word, bit) = self.place(source, id);
        self.second[word].load(Relaxed) & bit != 0
    }

    fn place(&self, source: u32, id: u64) -> (usize, u64) {
        // 2^64 over the golden ratio: multiples of it, and so the places of consecutive numbers, are spread evenly.
        let hash = (id ^ u64::from(source).rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bit = (u128::from(hash) * (self.first.len() as u128 * 64)) >> 64;
        (bit as usize / 64, 1 << (bit % 64))
    }
}

/// Whether a record's ID is its feed's own. Derived ones hold their indicator already.
pub(super) fn is_own(row: &RecordRow) -> bool {
    row.id.get() >> 63 == 0
}

/// Gives records IDs of their own, table by table.
pub(super) struct Ids<'a> {
    pub(super) meaning: &'a Meaning<'a>,
    /// Names of sources by rank.
    pub(super) sources: &'a [String],
    /// Of the IDs that may occur twice, those that were seen.
    pub(super) seen: HashSet<(u32, u64)>,
    pub(super) changed: bool,
}

impl Ids<'_> {
    /// Where a feed gives one ID to several indicators, the first keeps it and the others get derived ones.
    pub(super) fn make_unique<K: Send + Sync>(&mut self, table: &mut Drafts<K>, indicator: impl Fn(&K) -> Indicator) {
        let Meaning { tags, ids: filter, .. } = *self.meaning;
        let source = |row: &RecordRow| tags[row.class.get() as usize].source;
        let suspects = |part: &Part<Draft<K>>| -> Vec<u32> {
            let rows = part.iter().map(|draft| &draft.row).zip(0..);
            let suspect = |row: &RecordRow| is_own(row) && filter.may_occur_twice(source(row), row.id.get());
            rows.filter(|(row, _)| suspect(row)).map(|(_, at)| at).collect()
        };
        let suspects: Vec<_> = table.parts.par_iter().map(suspects).collect();
        for (part, suspects) in table.parts.iter_mut().zip(suspects) {
            for at in suspects {
                let draft = part.get_mut(at as usize);
                let source = source(&draft.row);
                if !self.seen.insert((source, draft.row.id.get())) {
                    let name = self.meaning.names.text(draft.row.name.get());
                    draft.row.id = derived_id(&self.sources[source as usize], &indicator(&draft.key), name).into();
                    self.changed = true;
                }
            }
        }
    }
}
