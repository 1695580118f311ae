//! Expressions of web addresses by the first bytes of their SHA-256, for who does not tell what it asks.
//!
//! Whole addresses find their expressions by a hash that is faster; what is asked here are prefixes of SHA-256. So this
//! table is made when the first of them comes, and kept: who never asks so pays nothing for it. It takes 16 bytes an
//! expression and, for as long as it is made, as many more. A million expressions of 42 bytes took 0.1 s of two cores, and
//! whoever asked meanwhile waited. Then a prefix of eight bytes that is not listed took 6 to 11 ns, one of four bytes 50
//! ns, and one that is listed 0.3 µs, for the text that it proposes is hashed again.

use std::{
    num::NonZero,
    ops::{ControlFlow, Range},
    thread,
};

use sha2::{Digest as _, Sha256};

use super::{
    Answering, CHUNK_ROWS,
    digests::{DigestTable, prefix_of},
    prefetch::prefetch,
    probe::{self, Found, Keys, Scratch},
    web::WebTable,
};
use crate::{
    batch::{Matched, Sink},
    key::Scope,
    snapshot::{
        layout::{BUCKET_KEYS_MEAN, Bucket, Table},
        place,
    },
};

impl<S: Sink> Answering<'_, '_, S> {
    /// Answers prefixes of `P` bytes with every expression whose text hashes so: those of known texts, then those that
    /// are listed by their SHA-256 alone.
    pub(super) fn expressions<const P: usize>(&mut self, bytes: &[u8], rows: Range<usize>) -> ControlFlow<u32> {
        let (asked, _) = bytes.as_chunks::<P>();
        let texts = WebTable::of(&self.base.snapshot);
        let hashes = self.base.text_hashes.get_or_init(|| TextHashes::of(&texts));
        let sha256 = DigestTable::<32>::of(&self.base.snapshot, Table::WebSha256);
        let (mut scratch, mut known, mut hashed) = (Scratch::default(), Vec::new(), Vec::new());
        let mut digests = Vec::new();
        let mut start = rows.start;
        while start < rows.end {
            let chunk = &asked[start..(start + CHUNK_ROWS).min(rows.end)];
            let searched = hashes.search(chunk, &mut scratch, &mut known);
            let searched = sha256.search(&chunk[..searched], &mut scratch, &mut hashed);
            known.truncate(known.partition_point(|found: &Found| (found.row as usize) < searched));
            texts.prefetch(&known);
            texts.records.prefetch_names(&known);
            digests.clear();
            digests.extend(known.iter().map(|found| sha256_of(&texts, found.key)));

            let mut matches = Vec::new();
            let mut hashed = hashed.iter().peekable();
            let listed_by_hash = |found: &Found| {
                let key = found.key as usize;
                (found.row, key, Matched::WebSuffix(Scope::Expression, sha256.rest::<P>(key)))
            };
            for (found, digest) in known.iter().zip(&digests) {
                while let Some(found) = hashed.next_if(|hashed| hashed.row < found.row) {
                    let (row, key, matched) = listed_by_hash(found);
                    self.listed(&sha256.records, key, matched, self.position(start + row as usize), &mut matches)?;
                }
                let (row, key) = (found.row as usize, found.key as usize);
                let Some(scope) = texts.scope(key).filter(|_| digest[..P] == chunk[row]) else { continue };
                let matched = Matched::WebSuffix(scope, &digest[P..]);
                self.listed(&texts.records, key, matched, self.position(start + row), &mut matches)?;
            }
            for found in hashed {
                let (row, key, matched) = listed_by_hash(found);
                self.listed(&sha256.records, key, matched, self.position(start + row as usize), &mut matches)?;
            }
            start += searched;
        }
        ControlFlow::Continue(())
    }
}

/// The known texts by their SHA-256: buckets as those of digests, and what stands in their slots.
///
/// The whole hashes would take twice the room. They are made again of the few texts that are proposed, whose suffixes
/// are needed anyway.
#[derive(Debug)]
pub(super) struct TextHashes {
    buckets: Vec<Bucket>,
    entries: Vec<Entry>,
}

/// One expression.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The first four bytes of the hash; the next four are the fingerprint in the bucket.
    head: [u8; 4],
    /// The number of the expression in its table.
    number: u32,
}

impl TextHashes {
    /// Hashes all texts of a table.
    fn of(texts: &WebTable<'_>) -> Self {
        let mut hashes = vec![([0; 8], 0u32); texts.len()];
        // Plain threads: were a caller's own task run by rayon, it could steal another one that waits for this table.
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let share = hashes.len().div_ceil(threads).max(SHARE_MIN);
        thread::scope(|scope| {
            for (part, first) in hashes.chunks_mut(share).zip((0..).step_by(share)) {
                scope.spawn(move || {
                    for (entry, number) in part.iter_mut().zip(first..) {
                        *entry = (prefix_of(&sha256_of(texts, number)), number);
                    }
                    part.sort_unstable();
                });
            }
        });
        // The stable sort finds the sorted parts and merges them.
        hashes.sort();
        let (mut buckets, mut entries) = (Vec::new(), Vec::with_capacity(hashes.len()));
        let entry_of = |(hash, number): ([u8; 8], u32)| {
            let [a, b, c, d, ..] = hash;
            Entry { head: [a, b, c, d], number }
        };
        let sorted = hashes.iter().map(|&(hash, number)| (hash, (hash, number)));
        let tail = place(hashes.len() as u64, sorted, |bucket, slots| {
            buckets.push(*bucket);
            entries.extend(slots.iter().map(|&(_, entry)| entry_of(entry)));
        });
        entries.extend(tail.into_iter().map(entry_of));
        Self { buckets, entries }
    }

    /// Proposes the expressions whose hash begins as one of `asked`, in ascending order of rows, and tells how many rows
    /// it came to; see [`probe::search`].
    fn search<const P: usize>(&self, asked: &[[u8; P]], scratch: &mut Scratch, found: &mut Vec<Found>) -> usize {
        let keys = EntryKeys { entries: &self.entries, asked };
        let searched = probe::search(&self.buckets, asked.len(), |row| prefix_of(&asked[row]), &keys, scratch, found);
        found.iter_mut().for_each(|found| found.key = self.entries[found.key as usize].number);
        searched
    }
}

/// The entries against the first `P` bytes of the hashes that are asked for.
struct EntryKeys<'a, const P: usize> {
    entries: &'a [Entry],
    asked: &'a [[u8; P]],
}

impl<const P: usize> Keys for EntryKeys<'_, P> {
    // The same text may be listed in several scopes.
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
        self.entries[number].head[..] == self.asked[row][..4]
    }

    /// In the tail four bytes propose, whatever is asked: it is next to empty.
    fn search_tail(&self, row: usize, tail: usize) -> Range<usize> {
        let (sorted, head) = (&self.entries[tail..], &self.asked[row][..4]);
        let start = sorted.partition_point(|entry| entry.head[..] < *head);
        let count = sorted[start..].partition_point(|entry| entry.head[..] == *head);
        tail + start..tail + start + count
    }
}

fn sha256_of(texts: &WebTable<'_>, number: u32) -> [u8; 32] {
    Sha256::digest(texts.text(number as usize)).into()
}

/// Texts that are worth a thread: a millisecond of hashing.
const SHARE_MIN: usize = 8 << 10;
