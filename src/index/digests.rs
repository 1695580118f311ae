//! Tables of digests.

use std::ops::Range;

use super::{
    prefetch::prefetch,
    probe::{self, Found, Keys, Scratch},
    records::Records,
};
use crate::{
    batch::Matched,
    snapshot::{
        Snapshot,
        layout::{BUCKET_KEYS_MEAN, Bucket, Role, Table},
    },
};

/// One table of digests of `W` bytes.
#[derive(Clone, Copy)]
pub(super) struct DigestTable<'a, const W: usize> {
    buckets: &'a [Bucket],
    digests: &'a [[u8; W]],
    pub(super) records: Records<'a>,
}

impl<'a, const W: usize> DigestTable<'a, W> {
    pub(super) fn of(snapshot: &'a Snapshot, table: Table) -> Self {
        Self {
            buckets: snapshot.rows(table, Role::Buckets),
            digests: snapshot.rows(table, Role::Digests),
            records: Records::of(snapshot, table),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Finds every digest that is in the table and begins as one of `asked`, in ascending order of rows: the digests
    /// themselves if `P` is `W`. Tells how many rows it came to; see [`probe::search`].
    #[inline]
    pub(super) fn search<const P: usize>(
        &self,
        asked: &[[u8; P]],
        scratch: &mut Scratch,
        found: &mut Vec<Found>,
    ) -> usize {
        let keys = DigestKeys { table: self, asked };
        probe::search(self.buckets, asked.len(), |row| prefix_of(&asked[row]), &keys, scratch, found)
    }

    /// What of a digest matched a key of `P` bytes.
    #[inline]
    pub(super) fn matched<const P: usize>(&self, number: usize) -> Matched<'a> {
        if P == W { Matched::Digest } else { Matched::Suffix(self.rest::<P>(number)) }
    }

    /// How a digest goes on behind its first `P` bytes.
    #[inline]
    pub(super) fn rest<const P: usize>(&self, number: usize) -> &'a [u8] {
        &self.digests[number][P..]
    }
}

/// The digests of a table against the first `P` bytes of those that are asked for.
struct DigestKeys<'a, const W: usize, const P: usize> {
    table: &'a DigestTable<'a, W>,
    asked: &'a [[u8; P]],
}

impl<const W: usize, const P: usize> Keys for DigestKeys<'_, W, P> {
    const IS_UNIQUE: bool = P == W;
    const HAS_FINGERPRINT: bool = P >= 8;

    fn len(&self) -> usize {
        self.table.digests.len()
    }

    #[inline]
    fn prefetch(&self, number: usize) {
        if Self::HAS_FINGERPRINT {
            prefetch(self.table.digests, number);
            self.table.records.prefetch(number);
        } else {
            // Every digest of the bucket is compared, and hardly any is a hit.
            (0..BUCKET_KEYS_MEAN as usize * W).step_by(64).for_each(|at| prefetch(self.table.digests, number + at / W));
        }
    }

    #[inline]
    fn is_key(&self, row: usize, number: usize) -> bool {
        self.table.digests[number][..P] == self.asked[row]
    }

    fn search_tail(&self, row: usize, tail: usize) -> Range<usize> {
        let (sorted, asked) = (&self.table.digests[tail..], &self.asked[row][..]);
        let start = sorted.partition_point(|digest| &digest[..P] < asked);
        let count = sorted[start..].partition_point(|digest| &digest[..P] == asked);
        tail + start..tail + start + count
    }
}

/// The first eight bytes, or as many as there are.
#[inline(always)]
pub(super) fn prefix_of<const P: usize>(key: &[u8; P]) -> [u8; 8] {
    const { assert!(P >= 4) };
    let mut prefix = [0; 8];
    let bytes = P.min(8);
    prefix[..bytes].copy_from_slice(&key[..bytes]);
    prefix
}
