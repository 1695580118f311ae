//! Lookups in the table of web expressions of known text.

use std::ops::Range;

use zerocopy::little_endian::U64;

use super::{
    prefetch::prefetch,
    probe::{self, Found, Keys, Scratch},
    records::Records,
};
use crate::{
    key::{Scope, ScopeSet},
    snapshot::{
        Snapshot,
        layout::{Bucket, SectionKind, Table},
        web_hash,
    },
};

/// An expression to look up, with the row of its address.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'k> {
    pub(super) row: u32,
    pub(super) scope: Scope,
    pub(super) text: &'k [u8],
    hash: [u8; 8],
}

/// The table of expressions, found by a 64-bit hash and verified by their text.
#[derive(Clone, Copy)]
pub(super) struct WebTable<'a> {
    buckets: &'a [Bucket],
    ends: &'a [U64],
    text: &'a [u8],
    seed: u64,
    /// The scopes that occur in the table.
    pub(super) scopes: ScopeSet,
    pub(super) records: Records<'a>,
}

impl<'a> WebTable<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            buckets: snapshot.rows(Table::Web, SectionKind::Buckets),
            ends: snapshot.rows(Table::Web, SectionKind::ExpressionEnds),
            text: snapshot.section(Table::Web, SectionKind::ExpressionText),
            seed: snapshot.web_seed(),
            scopes: snapshot.web_scopes(),
            records: Records::of(snapshot, Table::Web),
        }
    }

    /// Hashes an expression.
    #[inline]
    pub(super) fn wanted<'k>(&self, row: u32, scope: Scope, text: &'k [u8]) -> Wanted<'k> {
        Wanted { row, scope, text, hash: web_hash(self.seed, scope, text) }
    }

    /// Finds every expression that is in the table, in ascending order of indices in `wanted`.
    pub(super) fn search(&self, wanted: &[Wanted<'_>], scratch: &mut Scratch, found: &mut Vec<Found>) {
        let keys = WebKeys { table: self, wanted };
        probe::search(self.buckets, wanted.len(), |at| wanted[at].hash, &keys, scratch, found);
    }

    /// Returns the text of a key.
    pub(super) fn text(&self, number: usize) -> &'a [u8] {
        self.expression(number).1
    }

    /// Returns the scope of a key. Opening a snapshot rejects keys without a valid scope.
    pub(super) fn scope(&self, number: usize) -> Option<Scope> {
        Scope::from_number(self.expression(number).0)
    }

    /// Returns the number of expressions.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Prefetches the texts and records of keys that were found by their SHA-256. The second pass prefetches the
    /// addresses that the first one made available.
    pub(super) fn prefetch(&self, found: &[Found]) {
        for key in found.iter().map(|found| found.key as usize) {
            prefetch(self.ends, key);
            self.records.prefetch(key);
        }
        found.iter().for_each(|found| prefetch(self.text, self.start(found.key as usize)));
    }

    fn start(&self, number: usize) -> usize {
        if number == 0 { 0 } else { self.ends[number - 1].get() as usize }
    }

    fn expression(&self, number: usize) -> (u8, &'a [u8]) {
        match self.text[self.start(number)..self.ends[number].get() as usize].split_first() {
            Some((&scope, text)) => (scope, text),
            None => (0, &[]),
        }
    }
}

/// The expressions of a table, compared with those to look up.
struct WebKeys<'a, 'k> {
    table: &'a WebTable<'a>,
    wanted: &'a [Wanted<'k>],
}

impl Keys for WebKeys<'_, '_> {
    const IS_UNIQUE: bool = true;
    const HAS_FINGERPRINT: bool = true;

    fn len(&self) -> usize {
        self.table.ends.len()
    }

    #[inline]
    fn prefetch(&self, number: usize) {
        prefetch(self.table.ends, number);
        self.table.records.prefetch(number);
    }

    #[inline]
    fn is_key(&self, row: usize, number: usize) -> bool {
        let wanted = &self.wanted[row];
        self.table.expression(number) == (wanted.scope as u8, wanted.text)
    }

    /// Searches the tail, which is sorted by hash. Several expressions may have the same hash.
    fn search_tail(&self, row: usize, tail: usize) -> Range<usize> {
        let (table, hash) = (self.table, self.wanted[row].hash);
        let hash_of = |number: usize| {
            let (scope, text) = table.expression(number);
            Scope::from_number(scope).map(|scope| web_hash(table.seed, scope, text))
        };
        let (mut low, mut high) = (tail, table.ends.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if hash_of(middle) < Some(hash) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut numbers = low..table.ends.len();
        let found = numbers
            .by_ref()
            .take_while(|&number| hash_of(number) == Some(hash))
            .find(|&number| self.is_key(row, number));
        found.map_or(0..0, |number| number..number + 1)
    }
}
