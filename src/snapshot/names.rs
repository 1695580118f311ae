//! Interning of texts that many records share.

use std::{
    hash::{BuildHasher, RandomState},
    iter,
    ops::Range,
};

use hashbrown::HashTable;
use rayon::slice::ParallelSliceMut;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A string interner: texts are numbered in order of appearance.
///
/// All texts are stored in one buffer, and the table holds only hashes and numbers: there is no allocation per text.
#[derive(Debug)]
pub(super) struct Names {
    text: String,
    /// The end offset of each text.
    ends: Vec<u64>,
    /// The hash and the number of each text.
    numbers: HashTable<(u64, u32)>,
    /// The hash seed, which is random so that no feed can choose names that collide.
    seed: u64,
}

/// A batch of texts to intern.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    text: String,
    ends: Vec<usize>,
}

impl Wanted {
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(&start, &end)| &self.text[start..end])
    }
}

impl Default for Names {
    fn default() -> Self {
        Self {
            text: String::new(),
            ends: Vec::new(),
            numbers: HashTable::new(),
            seed: RandomState::new().hash_one("names"),
        }
    }
}

impl Names {
    /// Returns the number of a text, adding the text if it is new.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        let hash = self.hash(text);
        let found = self.numbers.find(hash, |&(other, number)| other == hash && self.text(number) == text);
        if let Some(&(_, number)) = found {
            return number;
        }
        let next = self.ends.len() as u32;
        self.text.push_str(text);
        self.ends.push(self.text.len() as u64);
        self.numbers.insert_unique(hash, (hash, next), |&(hash, _)| hash);
        next
    }

    /// Writes the numbers of a batch of texts to `numbers`, adding new texts.
    ///
    /// With many names, each lookup takes three dependent cache misses: the table slot, the offset of the text, and the
    /// text. Each step is done for all texts of the batch before the next step, so that the misses overlap.
    pub(super) fn numbers(&mut self, wanted: &Wanted, numbers: &mut Vec<u32>) {
        let hashes = wanted.iter().map(|text| self.hash(text));
        let likely = hashes.map(|hash| self.numbers.find(hash, |(other, _)| *other == hash).map(|&(_, number)| number));
        let likely: Vec<Option<u32>> = likely.collect();
        let ranges = likely.iter().map(|likely| likely.map_or(0..0, |number| range(&self.ends, number)));
        let ranges: Vec<Range<usize>> = ranges.collect();
        numbers.clear();
        for ((text, likely), range) in wanted.iter().zip(likely).zip(ranges) {
            let number = likely.filter(|_| self.text[range] == *text);
            numbers.push(number.unwrap_or_else(|| self.number(text)));
        }
    }

    /// Returns the text of a number.
    pub(super) fn text(&self, number: u32) -> &str {
        &self.text[range(&self.ends, number)]
    }

    fn hash(&self, text: &str) -> u64 {
        xxh3_64_with_seed(text.as_bytes(), self.seed)
    }

    /// Returns the number of distinct texts.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the total size of the distinct texts in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// Returns the numbers, sorted by text.
    pub(super) fn sorted(&self) -> Vec<u32> {
        // The texts are sorted together with the numbers, so that comparisons need no lookups.
        let mut texts: Vec<(&str, u32)> = (0..self.len() as u32).map(|number| (self.text(number), number)).collect();
        texts.par_sort_unstable();
        texts.into_iter().map(|(_, number)| number).collect()
    }
}

/// Interned texts with their sort order.
#[derive(Debug)]
pub(super) struct SortedNames {
    pub(super) names: Names,
    pub(super) order: Vec<u32>,
}

impl SortedNames {
    /// Returns the texts in sorted order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(|&number| self.names.text(number))
    }
}

fn range(ends: &[u64], number: u32) -> Range<usize> {
    let start = if number == 0 { 0 } else { ends[number as usize - 1] };
    start as usize..ends[number as usize] as usize
}

/// Returns the rank of each number, given all numbers in order.
pub(super) fn ranks(order: &[u32]) -> Vec<u32> {
    let mut ranks = vec![0; order.len()];
    for (rank, &number) in order.iter().enumerate() {
        ranks[number as usize] = rank as u32;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_and_single_texts_get_the_same_numbers() {
        let texts: Vec<String> =
            (0..3_000u32).map(|n| "x".repeat(n as usize % 7) + &(n * n % 1_009).to_string()).collect();
        let (mut single, mut batched) = (Names::default(), Names::default());
        for texts in texts.chunks(50) {
            let mut wanted = Wanted::default();
            texts.iter().for_each(|text| wanted.push(text));
            let mut numbers = Vec::new();
            batched.numbers(&wanted, &mut numbers);
            let expected: Vec<u32> = texts.iter().map(|text| single.number(text)).collect();
            assert_eq!(numbers, expected);
            assert!(texts.iter().zip(numbers).all(|(text, number)| batched.text(number) == text));
        }
        let distinct: std::collections::BTreeSet<&String> = texts.iter().collect();
        assert_eq!(batched.len(), distinct.len());
        let names = SortedNames { order: batched.sorted(), names: batched };
        assert!(names.iter().eq(distinct));
    }
}
