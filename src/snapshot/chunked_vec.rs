//! A growable vector that never moves its elements.

use std::mem;

/// A vector stored in chunks of equal size. It never moves its elements to grow, so growing takes no second copy of the
/// memory and does not fragment the heap.
#[derive(Debug)]
pub(super) struct ChunkedVec<T> {
    /// All chunks but the last are full; none is empty.
    chunks: Vec<Vec<T>>,
}

/// Elements of a chunk, as a power of two: 200 KB of digests with their records.
const CHUNK_BITS: u32 = 12;

impl<T> Default for ChunkedVec<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> ChunkedVec<T> {
    #[inline]
    pub(super) fn push(&mut self, value: T) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < 1 << CHUNK_BITS => chunk.push(value),
            // Small tables have many partitions of few records: the first chunk grows on demand.
            None => self.chunks.push(vec![value]),
            Some(_) => {
                let mut chunk = Vec::with_capacity(1 << CHUNK_BITS);
                chunk.push(value);
                self.chunks.push(chunk);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| ((self.chunks.len() - 1) << CHUNK_BITS) + last.len())
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> &T {
        let (chunk, at) = locate(at);
        &self.chunks[chunk][at]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: usize) -> &mut T {
        let (chunk, at) = locate(at);
        &mut self.chunks[chunk][at]
    }

    #[inline]
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        let ((a_chunk, a), (b_chunk, b)) = (locate(a), locate(b));
        match self.chunks.get_disjoint_mut([a_chunk, b_chunk]) {
            Ok([a_chunk, b_chunk]) => mem::swap(&mut a_chunk[a], &mut b_chunk[b]),
            Err(_) => self.chunks[a_chunk].swap(a, b),
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.chunks.truncate(len.div_ceil(1 << CHUNK_BITS));
        if let Some(last) = self.chunks.last_mut()
            && !len.is_multiple_of(1 << CHUNK_BITS)
        {
            last.truncate(len % (1 << CHUNK_BITS));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flatten()
    }
}

/// Returns the chunk of an element and the element's position in that chunk.
fn locate(at: usize) -> (usize, usize) {
    (at >> CHUNK_BITS, at & ((1 << CHUNK_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_like_a_vec() {
        for len in [0, 1, 4095, 4096, 4097, 8192, 10_000] {
            let mut vec = ChunkedVec::default();
            (0..len).for_each(|value| vec.push(value));
            assert_eq!((vec.len(), vec.iter().count()), (len, len));
            for at in 0..len / 2 {
                vec.swap(at, len - 1 - at);
            }
            assert!(vec.iter().copied().eq((0..len).rev()));
            for kept in [len, 4097, 4096, 4095, 1, 0].into_iter().filter(|&kept| kept <= len) {
                vec.truncate(kept);
                assert_eq!(vec.len(), kept);
            }
            vec.push(7);
            assert_eq!(*vec.get(0), 7);
        }
    }
}
