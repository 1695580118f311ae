//! The records of one table while it is built: parted by the leading bits of their keys, then sorted part by part.
//!
//! Parts are what makes building fast: each fits a processor's cache, and every processor sorts its own. What is the
//! same record is found within a part, as equal keys lie in the same one.

use std::{cmp::Reverse, mem};

use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

use super::{
    layout::RecordRow,
    names::Names,
    part::Part,
    unique::{IdFilter, is_own},
};
use crate::key::{Ipv4Block, Scope};

/// A key that records of one table are sorted by.
pub(super) trait TableKey: Ord + Send + Sync {
    /// 64 bits in the order of the keys: of two keys the smaller never has the larger prefix.
    fn prefix(&self) -> u64;
}

/// A digest of any kind; shorter ones end in zeros.
impl TableKey for [u8; 32] {
    fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *self;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// An expression.
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

/// One record: what it is listed under, and its row. Until the end the row has the number of a [`Tag`] for a class, and
/// a name numbered in order of appearance.
#[derive(Clone, Debug)]
pub(super) struct Draft<K> {
    pub(super) key: K,
    pub(super) row: RecordRow,
}

/// What many records have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tag {
    pub(super) source: u32,
    pub(super) record_type: u8,
    pub(super) port: u16,
    pub(super) expiry: u32,
    /// The number of the input, which only counts duplicates.
    pub(super) input: u32,
}

/// What the numbers in drafts stand for.
pub(super) struct Meaning<'a> {
    /// With sources by rank.
    pub(super) tags: &'a [Tag],
    pub(super) names: &'a Names,
    /// Marked with what is kept.
    pub(super) ids: &'a IdFilter,
}

/// The records of one table: in any order at first, then part by part in the order of keys, sources and IDs, each once.
#[derive(Debug)]
pub(super) struct Drafts<K> {
    /// None before the first record.
    pub(super) parts: Vec<Part<Draft<K>>>,
    pub(super) len: u64,
    /// Keys, and those of them that have several records; known once everything is numbered.
    pub(super) keys: u64,
    pub(super) shared_keys: u64,
}

/// Leading bits of a prefix that a part shares: of 10 million keys, a part then takes 2 MB, a second-level cache.
const PART_BITS: u32 = 8;

impl<K> Default for Drafts<K> {
    fn default() -> Self {
        Self { parts: Vec::new(), len: 0, keys: 0, shared_keys: 0 }
    }
}

impl<K: TableKey> Drafts<K> {
    #[inline]
    pub(super) fn push(&mut self, draft: Draft<K>) {
        if self.parts.is_empty() {
            self.parts.resize_with(1 << PART_BITS, Part::default);
        }
        self.parts[(draft.key.prefix() >> (u64::BITS - PART_BITS)) as usize].push(draft);
        self.len += 1;
    }

    /// Sorts everything and keeps one of each record; duplicates are counted by their input.
    pub(super) fn settle(&mut self, meaning: &Meaning<'_>, duplicates: &mut Vec<u64>) {
        let more: Vec<Vec<u64>> = self.parts.par_iter_mut().map(|part| settle_part(part, meaning)).collect();
        more.iter().for_each(|more| add(duplicates, more));
        self.len = self.parts.iter().map(|part| part.len() as u64).sum();
    }
}

/// Sorts by key, then source and ID, and keeps one of each: the newest, of equally new ones the most severe, then the
/// one that counts longest, then whichever sorts first, so that the order of the inputs cannot show.
fn settle_part<K: TableKey>(part: &mut Part<Draft<K>>, meaning: &Meaning<'_>) -> Vec<u64> {
    sort(part, meaning);
    let mut duplicates = Vec::new();
    let mut kept = 0;
    for at in 0..part.len() {
        let row = &part.get(at).row;
        let tag = meaning.tag(row);
        if kept > 0 {
            let (last, next) = (part.get(kept - 1), part.get(at));
            if next.row.id == last.row.id && next.key == last.key && tag.source == meaning.tag(&last.row).source {
                let input = tag.input as usize;
                duplicates.resize(duplicates.len().max(input + 1), 0);
                duplicates[input] += 1;
                continue;
            }
        }
        if kept != at {
            part.swap(kept, at);
        }
        kept += 1;
    }
    part.truncate(kept);
    let own = part.iter().map(|draft| &draft.row).filter(|row| is_own(row));
    meaning.ids.mark(own.map(|row| (meaning.tag(row).source, row.id.get())));
    duplicates
}

/// Sorts prefixes with positions, which are a third of the bytes of the records, and moves each record once.
fn sort<K: TableKey>(part: &mut Part<Draft<K>>, meaning: &Meaning<'_>) {
    let mut order: Vec<(u64, u32)> = part.iter().zip(0..).map(|(draft, at)| (draft.key.prefix(), at)).collect();
    order.sort_unstable_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| meaning.compare(part.get(a.1 as usize), part.get(b.1 as usize)))
    });
    // Along each cycle of the permutation: what belongs here is swapped in from where it lies.
    for start in 0..order.len() {
        let mut at = start;
        loop {
            let from = mem::replace(&mut order[at].1, at as u32) as usize;
            if from == start {
                break;
            }
            part.swap(at, from);
            at = from;
        }
    }
}

impl Meaning<'_> {
    fn tag(&self, row: &RecordRow) -> &Tag {
        &self.tags[row.class.get() as usize]
    }

    fn compare<K: Ord>(&self, a: &Draft<K>, b: &Draft<K>) -> std::cmp::Ordering {
        let source = |row| self.tag(row).source;
        let rest = |row: &RecordRow| {
            let tag = self.tag(row);
            let expiry = if tag.expiry == 0 { u32::MAX } else { tag.expiry };
            (Reverse(row.timestamp.get()), tag.record_type, Reverse(expiry), Reverse(tag.port))
        };
        let name = |row: &RecordRow| self.names.text(row.name.get());
        let (key, a, b) = (a.key.cmp(&b.key), &a.row, &b.row);
        key.then_with(|| source(a).cmp(&source(b)))
            .then_with(|| a.id.get().cmp(&b.id.get()))
            .then_with(|| rest(a).cmp(&rest(b)))
            .then_with(|| name(a).cmp(name(b)))
            .then_with(|| self.tag(a).input.cmp(&self.tag(b).input))
    }
}

/// Adds counts by input.
fn add(counts: &mut Vec<u64>, more: &[u64]) {
    counts.resize(counts.len().max(more.len()), 0);
    counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
}
