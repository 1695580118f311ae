//! Lookups of web expressions by prefixes of their SHA-256, for clients that do not reveal the addresses.
//!
//! Whole addresses are looked up by a faster hash; these lookups use prefixes of SHA-256. Their table is built at the
//! first such lookup and kept, so it costs nothing if there is none. It takes 16 bytes per expression, and the same
//! amount again while it is built. Building it for a million expressions of 42 bytes took 0.1 s on two cores, during
//! which concurrent lookups block. Afterwards, a lookup of an eight-byte prefix took 6 to 11 ns for a miss, of a
//! four-byte prefix 50 ns, and 0.3 µs for a hit, because the text of a candidate is hashed again.

use std::{
    num::NonZero,
    ops::{ControlFlow, Range},
    thread,
};

use sha2::{Digest as _, Sha256};

use super::{
    CHUNK_ROWS, Query,
    digests::{DigestTable, prefix_of},
    prefetch::prefetch,
    probe::{self, Found, Keys, Scratch},
    web::WebTable,
};
use crate::{
    batch::{Matched, Sink},
    key::Scope,
    snapshot::{
        build_buckets,
        layout::{BUCKET_KEYS_MEAN, Bucket, Table},
    },
};

impl<S: Sink> Query<'_, '_, S> {
    /// Answers prefixes of `P` bytes with every expression whose SHA-256 starts with them, of both known text and
    /// unknown text.
    pub(super) fn expressions<const P: usize>(&mut self, bytes: &[u8], rows: Range<usize>) -> ControlFlow<u32> {
        let (queries, _) = bytes.as_chunks::<P>();
        let texts = WebTable::of(&self.layer.snapshot);
        let hashes = self.layer.text_hashes.get_or_init(|| TextHashes::of(&texts));
        let sha256 = DigestTable::<32>::of(&self.layer.snapshot, Table::WebSha256);
        let (mut scratch, mut known, mut hashed) = (Scratch::default(), Vec::new(), Vec::new());
        let mut digests = Vec::new();
        let mut start = rows.start;
        while start < rows.end {
            let chunk = &queries[start..(start + CHUNK_ROWS).min(rows.end)];
            let searched = hashes.search(chunk, &mut scratch, &mut known);
            let searched = sha256.search(&chunk[..searched], &mut scratch, &mut hashed);
            known.truncate(known.partition_point(|found: &Found| (found.row as usize) < searched));
            texts.prefetch(&known);
            texts.records.prefetch_names(&known);
            digests.clear();
            digests.extend(known.iter().map(|found| sha256_of(&texts, found.key)));

            let mut matches = Vec::new();
            let mut hashed = hashed.iter().peekable();
            let match_of_hash = |found: &Found| {
                let key = found.key as usize;
                (found.row, key, Matched::WebSuffix(Scope::Expression, sha256.rest::<P>(key)))
            };
            for (found, digest) in known.iter().zip(&digests) {
                while let Some(found) = hashed.next_if(|hashed| hashed.row < found.row) {
                    let (row, key, matched) = match_of_hash(found);
                    self.emit_key(&sha256.records, key, matched, self.position(start + row as usize), &mut matches)?;
                }
                let (row, key) = (found.row as usize, found.key as usize);
                let Some(scope) = texts.scope(key).filter(|_| digest[..P] == chunk[row]) else { continue };
                let matched = Matched::WebSuffix(scope, &digest[P..]);
                self.emit_key(&texts.records, key, matched, self.position(start + row), &mut matches)?;
            }
            for found in hashed {
                let (row, key, matched) = match_of_hash(found);
                self.emit_key(&sha256.records, key, matched, self.position(start + row as usize), &mut matches)?;
            }
            start += searched;
        }
        ControlFlow::Continue(())
    }
}

/// The expressions of known text by their SHA-256: buckets like those of digests, and an entry for each slot.
///
/// Storing whole hashes would take twice the memory. They are recomputed for the few candidates, whose suffixes are
/// needed anyway.
#[derive(Debug)]
pub(super) struct TextHashes {
    buckets: Vec<Bucket>,
    entries: Vec<HashEntry>,
}

/// An expression in [`TextHashes`].
#[derive(Clone, Copy, Debug)]
struct HashEntry {
    /// The first four bytes of the hash; the next four are the fingerprint in the bucket.
    head: [u8; 4],
    /// The number of the expression in its table.
    number: u32,
}

impl TextHashes {
    /// Hashes all expressions of a table.
    pub(super) fn of(texts: &WebTable<'_>) -> Self {
        let mut hashes = vec![([0; 8], 0u32); texts.len()];
        // Plain threads: if the caller runs on a rayon thread, rayon could make it steal a task that waits for this
        // table.
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let share = hashes.len().div_ceil(threads).max(THREAD_TEXTS_MIN);
        thread::scope(|scope| {
            for (chunk, first) in hashes.chunks_mut(share).zip((0..).step_by(share)) {
                scope.spawn(move || {
                    for (entry, number) in chunk.iter_mut().zip(first..) {
                        *entry = (prefix_of(&sha256_of(texts, number)), number);
                    }
                    chunk.sort_unstable();
                });
            }
        });
        // The stable sort detects the sorted chunks and merges them.
        hashes.sort();
        let (mut buckets, mut entries) = (Vec::new(), Vec::with_capacity(hashes.len()));
        let entry_of = |(hash, number): ([u8; 8], u32)| {
            let [a, b, c, d, ..] = hash;
            HashEntry { head: [a, b, c, d], number }
        };
        let sorted = hashes.iter().map(|&(hash, number)| (hash, (hash, number)));
        let tail = build_buckets(hashes.len() as u64, sorted, |bucket, slots| {
            buckets.push(*bucket);
            entries.extend(slots.iter().map(|&(_, entry)| entry_of(entry)));
        });
        entries.extend(tail.into_iter().map(entry_of));
        Self { buckets, entries }
    }

    /// Finds candidates: expressions whose hash may start with one of `queries`, in ascending order of rows. Returns
    /// the number of rows that were searched; see [`probe::search`].
    fn search<const P: usize>(&self, queries: &[[u8; P]], scratch: &mut Scratch, found: &mut Vec<Found>) -> usize {
        let keys = HashKeys { entries: &self.entries, queries };
        let searched =
            probe::search(&self.buckets, queries.len(), |row| prefix_of(&queries[row]), &keys, scratch, found);
        found.iter_mut().for_each(|found| found.key = self.entries[found.key as usize].number);
        searched
    }
}

/// The entries, compared with queries of `P` bytes.
struct HashKeys<'a, const P: usize> {
    entries: &'a [HashEntry],
    queries: &'a [[u8; P]],
}

impl<const P: usize> Keys for HashKeys<'_, P> {
    // The same text may occur in several scopes.
    const IS_UNIQUE: bool = false;
    const HAS_FINGERPRINT: bool = P >= 8;

    fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    fn prefetch(&self, number: usize) {
        prefetch(self.entries, number);
        if !Self::HAS_FINGERPRINT {
            // Every entry of the bucket is compared.
            prefetch(self.entries, number + BUCKET_KEYS_MEAN as usize - 1);
        }
    }

    #[inline]
    fn is_key(&self, row: usize, number: usize) -> bool {
        self.entries[number].head[..] == self.queries[row][..4]
    }

    /// Compares only four bytes, regardless of `P`: the tail is almost empty.
    fn search_tail(&self, row: usize, tail: usize) -> Range<usize> {
        let (sorted, head) = (&self.entries[tail..], &self.queries[row][..4]);
        let start = sorted.partition_point(|entry| entry.head[..] < *head);
        let count = sorted[start..].partition_point(|entry| entry.head[..] == *head);
        tail + start..tail + start + count
    }
}

fn sha256_of(texts: &WebTable<'_>, number: u32) -> [u8; 32] {
    Sha256::digest(texts.text(number as usize)).into()
}

/// The minimum number of texts per thread: a millisecond of hashing.
const THREAD_TEXTS_MIN: usize = 8 << 10;
