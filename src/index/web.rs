//! The table of web expressions whose text is known.

use zerocopy::little_endian::U64;

use super::{
    bucket::{self, Candidate},
    records::Records,
};
use crate::{
    key::{Scope, ScopeSet},
    snapshot::{
        Snapshot,
        layout::{Bucket, Role, Table},
        web_hash,
    },
};

/// An expression to look for, with the row of the address that it was made of.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'k> {
    pub(super) row: u32,
    pub(super) scope: Scope,
    pub(super) text: &'k [u8],
    hash: [u8; 8],
}

/// Expressions, found by a hash of 64 bits and verified by their text.
#[derive(Clone, Copy)]
pub(super) struct WebTable<'a> {
    buckets: &'a [Bucket],
    ends: &'a [U64],
    text: &'a [u8],
    seed: u64,
    /// The scopes that occur.
    pub(super) scopes: ScopeSet,
    pub(super) records: Records<'a>,
}

impl<'a> WebTable<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            buckets: snapshot.rows(Table::Web, Role::Buckets),
            ends: snapshot.rows(Table::Web, Role::ExpressionEnds),
            text: snapshot.section(Table::Web, Role::ExpressionText),
            seed: snapshot.web_seed(),
            scopes: snapshot.web_scopes(),
            records: Records::of(snapshot, Table::Web),
        }
    }

    /// An expression with its hash.
    #[inline]
    pub(super) fn wanted<'k>(&self, row: u32, scope: Scope, text: &'k [u8]) -> Wanted<'k> {
        Wanted { row, scope, text, hash: web_hash(self.seed, scope, text) }
    }

    /// Calls `found` with the position in `wanted` and the key number of every expression that is in the table, in
    /// ascending order of positions.
    pub(super) fn search(
        &self,
        wanted: &[Wanted<'_>],
        candidates: &mut Vec<Candidate>,
        mut found: impl FnMut(usize, usize),
    ) {
        bucket::probe(self.buckets, wanted.len(), |at| wanted[at].hash, candidates);
        for at in 0..candidates.len() {
            if let Some(ahead) = candidates.get(at + bucket::PREFETCH_KEYS / 4) {
                bucket::prefetch_key(self.ends, ahead);
                bucket::prefetch_key(self.records.rows, ahead);
            }
            let candidate = &candidates[at];
            let wanted = &wanted[candidate.row as usize];
            let number = bucket::verify(
                self.buckets,
                self.ends.len(),
                candidate,
                wanted.hash,
                |number| self.expression(number) == (wanted.scope as u8, wanted.text),
                |tail| self.search_tail(tail, wanted),
            );
            if let Some(number) = number {
                found(candidate.row as usize, number);
            }
        }
    }

    /// The text of a key, as it lies in the snapshot.
    pub(super) fn text(&self, number: usize) -> &'a [u8] {
        self.expression(number).1
    }

    fn expression(&self, number: usize) -> (u8, &'a [u8]) {
        let start = if number == 0 { 0 } else { self.ends[number - 1].get() as usize };
        match self.text[start..self.ends[number].get() as usize].split_first() {
            Some((&scope, text)) => (scope, text),
            None => (0, &[]),
        }
    }

    /// The tail is sorted by hash. Several expressions may share one.
    fn search_tail(&self, tail: usize, wanted: &Wanted<'_>) -> Option<usize> {
        let hash_of = |number: usize| {
            let (scope, text) = self.expression(number);
            Scope::from_number(scope).map(|scope| web_hash(self.seed, scope, text))
        };
        let (mut low, mut high) = (tail, self.ends.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if hash_of(middle) < Some(wanted.hash) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low..self.ends.len())
            .take_while(|&number| hash_of(number) == Some(wanted.hash))
            .find(|&number| self.expression(number) == (wanted.scope as u8, wanted.text))
    }
}
