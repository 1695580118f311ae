//! Lookups in tables of digests.

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
        layout::{BUCKET_KEYS_MEAN, Bucket, SectionKind, Table},
    },
};

/// A table of digests of `W` bytes.
#[derive(Clone, Copy)]
pub(super) struct DigestTable<'a, const W: usize> {
    buckets: &'a [Bucket],
    digests: &'a [[u8; W]],
    pub(super) records: Records<'a>,
}

impl<'a, const W: usize> DigestTable<'a, W> {
    pub(super) fn of(snapshot: &'a Snapshot, table: Table) -> Self {
        Self {
            buckets: snapshot.rows(table, SectionKind::Buckets),
            digests: snapshot.rows(table, SectionKind::Digests),
            records: Records::of(snapshot, table),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Finds every digest in the table that starts with one of `queries`, in ascending order of rows; if `P` is `W`,
    /// the queries are whole digests. Returns the number of rows that were searched; see [`probe::search`].
    #[inline]
    pub(super) fn search<const P: usize>(
        &self,
        queries: &[[u8; P]],
        scratch: &mut Scratch,
        found: &mut Vec<Found>,
    ) -> usize {
        let keys = DigestKeys { table: self, queries };
        probe::search(self.buckets, queries.len(), |row| prefix_of(&queries[row]), &keys, scratch, found)
    }

    /// Returns the match of a digest with a query of `P` bytes.
    #[inline]
    pub(super) fn matched<const P: usize>(&self, number: usize) -> Matched<'a> {
        if P == W { Matched::Digest } else { Matched::Suffix(self.rest::<P>(number)) }
    }

    /// Returns the bytes of a digest after its first `P`.
    #[inline]
    pub(super) fn rest<const P: usize>(&self, number: usize) -> &'a [u8] {
        &self.digests[number][P..]
    }
}

/// The digests of a table, compared with queries of `P` bytes.
struct DigestKeys<'a, const W: usize, const P: usize> {
    table: &'a DigestTable<'a, W>,
    queries: &'a [[u8; P]],
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
            // Every digest of the bucket is compared, and few are hits.
            (0..BUCKET_KEYS_MEAN as usize * W).step_by(64).for_each(|at| prefetch(self.table.digests, number + at / W));
        }
    }

    #[inline]
    fn is_key(&self, row: usize, number: usize) -> bool {
        self.table.digests[number][..P] == self.queries[row]
    }

    fn search_tail(&self, row: usize, tail: usize) -> Range<usize> {
        let (sorted, query) = (&self.table.digests[tail..], &self.queries[row][..]);
        let start = sorted.partition_point(|digest| &digest[..P] < query);
        let count = sorted[start..].partition_point(|digest| &digest[..P] == query);
        tail + start..tail + start + count
    }
}

/// Returns the first eight bytes of a key, padded with zeros.
#[inline(always)]
pub(super) fn prefix_of<const P: usize>(key: &[u8; P]) -> [u8; 8] {
    const { assert!(P >= 4) };
    let mut prefix = [0; 8];
    let bytes = P.min(8);
    prefix[..bytes].copy_from_slice(&key[..bytes]);
    prefix
}
