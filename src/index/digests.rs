//! Tables of digests.

use super::{
    bucket::{self, Candidate},
    prefetch::prefetch,
    records::Records,
};
use crate::snapshot::{
    Snapshot,
    layout::{Bucket, Role, Table},
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

    /// Calls `found` with the row and the key number of every digest that is in the table, in ascending order of rows.
    #[inline]
    pub(super) fn search(
        &self,
        digests: &[[u8; W]],
        candidates: &mut Vec<Candidate>,
        mut found: impl FnMut(usize, usize),
    ) {
        bucket::probe(self.buckets, digests.len(), |row| prefix_of(&digests[row]), candidates);
        for at in 0..candidates.len() {
            if let Some(ahead) = candidates.get(at + bucket::PREFETCH_KEYS / 4) {
                bucket::prefetch_key(self.digests, ahead);
                bucket::prefetch_key(self.records.rows, ahead);
            }
            let candidate = &candidates[at];
            let digest = &digests[candidate.row as usize];
            let number = bucket::verify(
                self.buckets,
                self.digests.len(),
                candidate,
                prefix_of(digest),
                |number| self.digests[number] == *digest,
                |tail| self.digests[tail..].binary_search(digest).ok().map(|at| tail + at),
            );
            if let Some(number) = number {
                found(candidate.row as usize, number);
            }
        }
    }

    /// Asks for the records of a key.
    #[inline]
    pub(super) fn prefetch_record(&self, number: usize) {
        prefetch(self.records.rows, number);
    }
}

#[inline]
fn prefix_of<const W: usize>(digest: &[u8; W]) -> [u8; 8] {
    const { assert!(W >= 8) };
    let mut prefix = [0; 8];
    prefix.copy_from_slice(&digest[..8]);
    prefix
}
