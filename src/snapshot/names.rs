//! Texts that many records share, each kept once.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use rayon::slice::ParallelSliceMut;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Texts numbered in order of appearance.
///
/// They lie in one piece of memory, and the table holds their numbers only: 10 bytes a text besides itself, and none to
/// allocate, where a map of boxed texts takes 60.
#[derive(Debug)]
pub(super) struct Names {
    text: String,
    /// Where each text ends.
    ends: Vec<u64>,
    numbers: HashTable<u32>,
    /// Of the hash: random, so that no feed can choose names that collide.
    seed: u64,
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
        let Self { text: all, ends, numbers, seed } = self;
        let hash = |text: &str| xxh3_64_with_seed(text.as_bytes(), *seed);
        let hashed = hash(text);
        if let Some(&number) = numbers.find(hashed, |&number| of(all, ends, number) == text) {
            return number;
        }
        let next = ends.len() as u32;
        all.push_str(text);
        ends.push(all.len() as u64);
        numbers.insert_unique(hashed, next, |&number| hash(of(all, ends, number)));
        next
    }

    /// The text of a number.
    pub(super) fn text(&self, number: u32) -> &str {
        of(&self.text, &self.ends, number)
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
        // Sorted with the texts beside them: looking each up again for every comparison takes twice as long.
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

fn of<'a>(text: &'a str, ends: &[u64], number: u32) -> &'a str {
    let start = if number == 0 { 0 } else { ends[number as usize - 1] as usize };
    &text[start..ends[number as usize] as usize]
}

/// What place each number has in an order of all numbers.
pub(super) fn ranks(order: &[u32]) -> Vec<u32> {
    let mut ranks = vec![0; order.len()];
    for (rank, &number) in order.iter().enumerate() {
        ranks[number as usize] = rank as u32;
    }
    ranks
}
