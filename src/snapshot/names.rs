//! Texts that many records share, each kept once.

use std::{
    hash::{BuildHasher, RandomState},
    iter,
    ops::Range,
};

use hashbrown::HashTable;
use rayon::slice::ParallelSliceMut;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Texts numbered in order of appearance.
///
/// They lie in one piece of memory, and the table holds their hashes and numbers only: nothing is allocated for a text.
#[derive(Debug)]
pub(super) struct Names {
    text: String,
    /// Where each text ends.
    ends: Vec<u64>,
    /// The hash of each text, and its number.
    numbers: HashTable<(u64, u32)>,
    /// Of the hash: random, so that no feed can choose names that collide.
    seed: u64,
}

/// Texts whose numbers are wanted, one after the other.
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
    /// The number of a text, which may be a new one.
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

    /// The numbers of several texts.
    ///
    /// Of many names each takes three reads that no cache holds and that wait for one another: its place in the table,
    /// where its text lies, and the text. Here the same read is done for all texts before the next, so that they wait
    /// together.
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

    /// The text of a number.
    pub(super) fn text(&self, number: u32) -> &str {
        &self.text[range(&self.ends, number)]
    }

    fn hash(&self, text: &str) -> u64 {
        xxh3_64_with_seed(text.as_bytes(), self.seed)
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// The numbers in the order of their texts.
    pub(super) fn sorted(&self) -> Vec<u32> {
        // Sorted with the texts beside them, so that no comparison has to look them up.
        let mut texts: Vec<(&str, u32)> = (0..self.len() as u32).map(|number| (self.text(number), number)).collect();
        texts.par_sort_unstable();
        texts.into_iter().map(|(_, number)| number).collect()
    }
}

/// Texts with their order.
#[derive(Debug)]
pub(super) struct SortedNames {
    pub(super) names: Names,
    pub(super) order: Vec<u32>,
}

impl SortedNames {
    /// The texts, sorted.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(|&number| self.names.text(number))
    }
}

fn range(ends: &[u64], number: u32) -> Range<usize> {
    let start = if number == 0 { 0 } else { ends[number as usize - 1] };
    start as usize..ends[number as usize] as usize
}

/// What place each number has in an order of all numbers.
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
    fn texts_are_numbered_as_they_appear_one_by_one_or_together() {
        let texts: Vec<String> =
            (0..3_000u32).map(|n| "x".repeat(n as usize % 7) + &(n * n % 1_009).to_string()).collect();
        let (mut one_by_one, mut together) = (Names::default(), Names::default());
        for texts in texts.chunks(50) {
            let mut wanted = Wanted::default();
            texts.iter().for_each(|text| wanted.push(text));
            let mut numbers = Vec::new();
            together.numbers(&wanted, &mut numbers);
            let expected: Vec<u32> = texts.iter().map(|text| one_by_one.number(text)).collect();
            assert_eq!(numbers, expected);
            assert!(texts.iter().zip(numbers).all(|(text, number)| together.text(number) == text));
        }
        let distinct: std::collections::BTreeSet<&String> = texts.iter().collect();
        assert_eq!(together.len(), distinct.len());
        let names = SortedNames { order: together.sorted(), names: together };
        assert!(names.iter().eq(distinct));
    }
}
