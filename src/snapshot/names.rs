//! Interning of texts that many records share.

use std::{
    hash::{BuildHasher, RandomState},
    iter, mem,
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

    /// Returns the memory that the texts take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + self.len() * (size_of::<u64>() + 2 * size_of::<(u64, u32)>())
    }

    /// Removes the texts that are not used, and returns the new number of each text.
    pub(super) fn retain(&mut self, used: &[bool]) -> Vec<u32> {
        let mut text = mem::take(&mut self.text).into_bytes();
        let (mut start, mut end, mut next) = (0, 0, 0);
        let mut numbers = vec![u32::MAX; self.ends.len()];
        for number in 0..self.ends.len() {
            let range = start..self.ends[number] as usize;
            start = range.end;
            if used[number] {
                let length = range.len();
                text.copy_within(range, end);
                end += length;
                self.ends[next] = end as u64;
                numbers[number] = next as u32;
                next += 1;
            }
        }
        text.truncate(end);
        text.shrink_to_fit();
        self.text = String::from_utf8(text).expect("whole texts were removed");
        self.ends.truncate(next);
        self.ends.shrink_to_fit();
        self.numbers.retain(|(_, number)| {
            *number = numbers[*number as usize];
            *number != u32::MAX
        });
        self.numbers.shrink_to_fit(|&(hash, _)| hash);
        numbers
    }

    /// Returns the numbers, sorted by text.
    pub(super) fn sorted(&self) -> Vec<u32> {
        // The texts are sorted together with the numbers, so that comparisons need no lookups.
        let mut texts: Vec<(&str, u32)> = (0..self.len() as u32).map(|number| (self.text(number), number)).collect();
        texts.par_sort_unstable();
        texts.into_iter().map(|(_, number)| number).collect()
    }
}

/// The interned texts that are used, in order.
#[derive(Debug)]
pub(super) struct SortedNames {
    names: Names,
    /// The numbers of the texts, sorted by text.
    order: Vec<u32>,
    /// The total size of the texts.
    bytes: u64,
}

impl SortedNames {
    /// Leaves out the texts that are not used; `sorted` are the numbers of all texts, sorted by text.
    pub(super) fn new(names: Names, mut sorted: Vec<u32>, used: &[bool]) -> Self {
        sorted.retain(|&number| used[number as usize]);
        let numbers = (0..used.len() as u32).filter(|&number| used[number as usize]);
        let bytes = numbers.map(|number| range(&names.ends, number).len() as u64).sum();
        Self { names, order: sorted, bytes }
    }

    /// Returns the number of texts.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns the total size of the texts in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the rank of each number among all texts. The rank of an unused number is 0.
    pub(super) fn ranks(&self) -> Vec<u32> {
        ranks(&self.order, self.names.len())
    }

    /// Returns the texts in sorted order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(|&number| self.names.text(number))
    }
}

fn range(ends: &[u64], number: u32) -> Range<usize> {
    let start = if number == 0 { 0 } else { ends[number as usize - 1] };
    start as usize..ends[number as usize] as usize
}

/// Returns the rank of each of `count` numbers, given the used ones in order. The rank of an unused number is 0.
pub(super) fn ranks(order: &[u32], count: usize) -> Vec<u32> {
    let mut ranks = vec![0; count];
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

        let used: Vec<bool> = (0..batched.len()).map(|number| number % 3 == 1).collect();
        let mut retained = single;
        let numbers = retained.retain(&used);
        for number in (0..used.len() as u32).filter(|&number| used[number as usize]) {
            let text = batched.text(number);
            assert_eq!(retained.text(numbers[number as usize]), text);
            assert_eq!(retained.number(text), numbers[number as usize]);
        }
        assert_eq!(retained.len(), used.iter().filter(|&&used| used).count());
        assert_eq!(retained.number("a new text") as usize + 1, retained.len());
        let (order, all) = (batched.sorted(), vec![true; batched.len()]);
        let names = SortedNames::new(batched, order, &all);
        assert_eq!(names.bytes(), distinct.iter().map(|text| text.len() as u64).sum::<u64>());
        assert!(names.iter().eq(distinct));
    }
}
