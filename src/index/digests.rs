//! Tables of digests.

use super::{
    prefetch::prefetch,
    probe::{self, Found, Keys, Scratch},
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

    pub(super) fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Finds every digest that is in the table, in ascending order of rows.
    #[inline]
    pub(super) fn search(&self, asked: &[[u8; W]], scratch: &mut Scratch, found: &mut Vec<Found>) {
        let keys = DigestKeys { table: self, asked };
        probe::search(self.buckets, asked.len(), |row| prefix_of(&asked[row]), &keys, scratch, found);
    }
}

/// The digests of a table against those that are asked for.
struct DigestKeys<'a, const W: usize> {
    table: &'a DigestTable<'a, W>,
    asked: &'a [[u8; W]],
}

impl<const W: usize> Keys for DigestKeys<'_, W> {
    fn len(&self) -> usize {
        self.table.digests.len()
    }

    #[inline]
    fn prefetch(&self, number: usize) {
        prefetch(self.table.digests, number);
        self.table.records.prefetch(number);
    }

    #[inline]
    fn is_key(&self, row: usize, number: usize) -> bool {
        self.table.digests[number] == self.asked[row]
    }

    fn search_tail(&self, row: usize, tail: usize) -> Option<usize> {
        self.table.digests[tail..].binary_search(&self.asked[row]).ok().map(|at| tail + at)
    }
}

#[inline(always)]
fn prefix_of<const W: usize>(digest: &[u8; W]) -> [u8; 8] {
    const { assert!(W >= 8) };
    let mut prefix = [0; 8];
    prefix.copy_from_slice(&digest[..8]);
    prefix
}
