//! Probing the buckets of a table for a whole batch of keys.
//!
//! One key costs one cache line. What takes the time is neither the work nor the memory but waiting for it, one key
//! after the other, and mispredicted branches: so the line of key `i + 64` is asked for while key `i` is probed, and a
//! key that may be there is noted without a branch (the note is always written, the count of notes grows by one or by
//! nothing). What was noted is a fraction of the keys; it is verified in a second pass, whose lines are asked for in
//! the same way. In trials of this layout with 100 million records that took 4.6 ns a key, against 91 ns for a plain
//! loop and 17 ns where overflowing buckets were a branch; `benches/index.rs` tells what this code takes.

use std::ops::Range;

use super::{
    kernel::{self, Kernel},
    prefetch::prefetch,
};
use crate::snapshot::layout::{BUCKET_SLOTS, Bucket, bucket_of, fingerprint_of};

/// How many keys ahead a line is asked for. Between 64 and 128 all were equally fast in trials, on tables of 10 to 300
/// million records.
pub(super) const PREFETCH_KEYS: usize = 64;

/// How many candidates ahead of their verification their lines are asked for: fewer, as each has three.
const PREFETCH_CANDIDATES: usize = 32;

/// A key that may be in the table: its row in the batch, and key numbers that its fingerprint proposes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) row: u32,
    /// The slots that match, and above them [`OVERFLOWS`](Self::OVERFLOWS) and [`HAS_TAIL`](Self::HAS_TAIL).
    slots: u32,
    /// The number of the key in slot 0 of its bucket.
    first_key: u32,
}

impl Candidate {
    const OVERFLOWS: u32 = 1 << 16;
    const HAS_TAIL: u32 = 1 << 17;

    /// The number of the key that it most likely is.
    #[inline]
    fn likely_key(&self) -> usize {
        (self.first_key + (self.slots & SLOTS).trailing_zeros()) as usize
    }
}

/// A key that is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its row in the batch.
    pub(super) row: u32,
    /// Its number in the table.
    pub(super) key: u32,
}

/// The keys of a table in full, as far as a search needs them.
pub(super) trait Keys {
    /// Whether at most one key of the table matches what is asked: a whole key and not a prefix.
    const IS_UNIQUE: bool;
    /// Whether what is asked tells a fingerprint: more than the four bytes that a bucket depends on.
    const HAS_FINGERPRINT: bool;
    /// How many there are.
    fn len(&self) -> usize;
    /// Asks for what comparing with a key will touch.
    fn prefetch(&self, number: usize);
    /// Whether the key of that number matches that row.
    fn is_key(&self, row: usize, number: usize) -> bool;
    /// The keys that match that row in the sorted tail that starts at a number.
    fn search_tail(&self, row: usize, tail: usize) -> Range<usize>;
}

/// What is kept from one search to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    candidates: Vec<Candidate>,
}

/// Finds the keys that are in a table, in ascending order of rows. `prefix` gives the first eight bytes of a key, or
/// those that there are and zeros.
///
/// Tells for how many rows it did so: all of them, unless rows have so many matches that what is found would grow without
/// bound. The rest is searched once these are answered.
pub(super) fn search<K: Keys>(
    buckets: &[Bucket],
    rows: usize,
    prefix: impl Fn(usize) -> [u8; 8],
    keys: &K,
    scratch: &mut Scratch,
    found: &mut Vec<Found>,
) -> usize {
    found.clear();
    if buckets.is_empty() {
        return rows;
    }
    if scratch.candidates.len() < rows {
        scratch.candidates.resize(rows, Candidate::default());
    }
    let probe = Probe { buckets, rows, prefix: &prefix };
    let noted = match K::HAS_FINGERPRINT {
        true => Kernel::fastest().probe(probe, &mut scratch.candidates),
        // Nothing to compare with: every key of the bucket is verified.
        false => probe.run(&mut scratch.candidates, |_, _| SLOTS),
    };
    let candidates = &scratch.candidates[..noted];
    candidates.iter().take(PREFETCH_CANDIDATES).for_each(|candidate| keys.prefetch(candidate.likely_key()));
    for (at, candidate) in candidates.iter().enumerate() {
        if let Some(ahead) = candidates.get(at + PREFETCH_CANDIDATES) {
            keys.prefetch(ahead.likely_key());
        }
        verify(buckets, candidate, prefix(candidate.row as usize), keys, found);
        if !K::IS_UNIQUE && found.len() >= FOUND_MAX {
            return candidate.row as usize + 1;
        }
    }
    rows
}

/// A table of buckets, and the keys to probe it for.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a, P> {
    buckets: &'a [Bucket],
    rows: usize,
    prefix: P,
}

impl<P: Fn(usize) -> [u8; 8]> Probe<'_, P> {
    /// Notes every key that may be in the table, in ascending order of rows, and tells how many. There is room for all.
    #[inline(always)]
    pub(super) fn run(&self, candidates: &mut [Candidate], matching_slots: impl Fn(&Bucket, u32) -> u32) -> usize {
        let Self { buckets, rows, prefix } = self;
        // The last row is no bucket: it only tells where the tail starts.
        let homes = buckets.len() - 1;
        let candidates = &mut candidates[..*rows];
        for row in 0..(*rows).min(PREFETCH_KEYS) {
            prefetch(buckets, bucket_of(prefix(row), homes));
        }
        let mut noted = 0;
        for row in 0..*rows {
            if row + PREFETCH_KEYS < *rows {
                prefetch(buckets, bucket_of(prefix(row + PREFETCH_KEYS), homes));
            }
            let prefix = prefix(row);
            let bucket = &buckets[bucket_of(prefix, homes)];
            let slots = matching_slots(bucket, fingerprint_of(prefix)) | flags(bucket);
            candidates[noted] = Candidate { row: row as u32, slots, first_key: bucket.first_key() };
            noted += usize::from(slots != 0);
        }
        noted
    }
}

/// Adds the keys that a candidate stands for, if they are in the table.
#[inline]
fn verify<K: Keys>(buckets: &[Bucket], candidate: &Candidate, prefix: [u8; 8], keys: &K, found: &mut Vec<Found>) {
    let row = candidate.row as usize;
    // Whether there is nothing more to find.
    let in_slots = |first_key: u32, mut slots: u32, found: &mut Vec<Found>| {
        while slots != 0 {
            let number = first_key + slots.trailing_zeros();
            if (number as usize) < keys.len() && keys.is_key(row, number as usize) {
                found.push(Found { row: candidate.row, key: number });
                if K::IS_UNIQUE {
                    return true;
                }
            }
            slots &= slots - 1;
        }
        false
    };
    if in_slots(candidate.first_key, candidate.slots & SLOTS, found) {
        return;
    }
    if candidate.slots & Candidate::OVERFLOWS != 0
        && let Some(next) = buckets.get(bucket_of(prefix, buckets.len() - 1) + 1)
    {
        let slots = if K::HAS_FINGERPRINT { kernel::matching_slots(next, fingerprint_of(prefix)) } else { SLOTS };
        if in_slots(next.first_key(), slots, found) {
            return;
        }
    }
    if candidate.slots & Candidate::HAS_TAIL != 0
        && let Some(tail) = buckets.last()
    {
        let numbers = keys.search_tail(row, tail.first_key() as usize);
        found.extend(numbers.map(|number| Found { row: candidate.row, key: number as u32 }));
    }
}

/// A bucket's flags as a candidate holds them.
#[inline(always)]
fn flags(bucket: &Bucket) -> u32 {
    // Bit 31 to bit 16, bit 30 to bit 17.
    let meta = bucket.meta.get();
    (meta & Bucket::OVERFLOWS) >> 15 | (meta & Bucket::HAS_TAIL) >> 13
}

const SLOTS: u32 = (1 << BUCKET_SLOTS) - 1;

/// What is found for prefixes before it is answered, unless one alone has more: several times what one chunk of rows
/// finds where nobody crafted digests that begin alike.
const FOUND_MAX: usize = 16 << 10;

const _: () = {
    assert!(Bucket::OVERFLOWS >> 15 == Candidate::OVERFLOWS);
    assert!(Bucket::HAS_TAIL >> 13 == Candidate::HAS_TAIL);
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::FromBytes;

    use super::*;

    proptest! {
        #[test]
        fn every_kernel_notes_the_same(
            // Few values, so that many match.
            words in prop::collection::vec(0u32..4, 16..16 * 20),
            metas in prop::collection::vec(any::<u32>(), 20),
            keys in prop::collection::vec((any::<u32>(), 0u32..4), 0..300),
        ) {
            let count = words.len() / 16;
            let mut bytes: Vec<u8> = words[..count * 16].iter().flat_map(|word| word.to_le_bytes()).collect();
            for (bucket, meta) in bytes.chunks_mut(64).zip(&metas) {
                bucket[60..].copy_from_slice(&(meta & 0x3fff_ffff | (meta & 1) << 31 | (meta & 2) << 29).to_le_bytes());
            }
            let buckets = <[Bucket]>::ref_from_bytes(&bytes).unwrap();
            let prefix = |row: usize| {
                let mut prefix = [0; 8];
                prefix[..4].copy_from_slice(&keys[row].0.to_be_bytes());
                prefix[4..].copy_from_slice(&keys[row].1.to_be_bytes());
                prefix
            };
            let noted: Vec<Vec<Candidate>> = kernel::all()
                .into_iter()
                .map(|kernel| {
                    let mut candidates = vec![Candidate::default(); keys.len()];
                    let noted = kernel.probe(Probe { buckets, rows: keys.len(), prefix }, &mut candidates);
                    candidates[..noted].to_vec()
                })
                .collect();
            for other in &noted {
                prop_assert_eq!(&noted[0], other);
            }
        }
    }
}
