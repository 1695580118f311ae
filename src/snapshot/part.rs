//! A vector in pieces.

use std::mem;

/// A vector in pieces of equal size: it never moves what it holds to grow, and so takes no memory twice, nor leaves
/// holes in it where it was.
#[derive(Debug)]
pub(super) struct Part<T> {
    /// All full but the last; none is empty.
    pieces: Vec<Vec<T>>,
}

/// What a piece holds: 200 KB of digests with their records.
const PIECE_BITS: u32 = 12;

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T> Part<T> {
    #[inline]
    pub(super) fn push(&mut self, value: T) {
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < 1 << PIECE_BITS => piece.push(value),
            // Small tables have many parts of few records: the first piece grows as it is filled.
            None => self.pieces.push(vec![value]),
            Some(_) => {
                let mut piece = Vec::with_capacity(1 << PIECE_BITS);
                piece.push(value);
                self.pieces.push(piece);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| ((self.pieces.len() - 1) << PIECE_BITS) + last.len())
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> &T {
        let (piece, at) = place(at);
        &self.pieces[piece][at]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: usize) -> &mut T {
        let (piece, at) = place(at);
        &mut self.pieces[piece][at]
    }

    #[inline]
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        let ((a_piece, a), (b_piece, b)) = (place(a), place(b));
        match self.pieces.get_disjoint_mut([a_piece, b_piece]) {
            Ok([a_piece, b_piece]) => mem::swap(&mut a_piece[a], &mut b_piece[b]),
            Err(_) => self.pieces[a_piece].swap(a, b),
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.pieces.truncate(len.div_ceil(1 << PIECE_BITS));
        if let Some(last) = self.pieces.last_mut()
            && !len.is_multiple_of(1 << PIECE_BITS)
        {
            last.truncate(len % (1 << PIECE_BITS));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pieces.iter_mut().flatten()
    }
}

fn place(at: usize) -> (usize, usize) {
    (at >> PIECE_BITS, at & ((1 << PIECE_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_vector() {
        for len in [0, 1, 4095, 4096, 4097, 8192, 10_000] {
            let mut part = Part::default();
            (0..len).for_each(|value| part.push(value));
            assert_eq!((part.len(), part.iter().count()), (len, len));
            for at in 0..len / 2 {
                part.swap(at, len - 1 - at);
            }
            assert!(part.iter().copied().eq((0..len).rev()));
            for kept in [len, 4097, 4096, 4095, 1, 0].into_iter().filter(|&kept| kept <= len) {
                part.truncate(kept);
                assert_eq!(part.len(), kept);
            }
            part.push(7);
            assert_eq!(*part.get(0), 7);
        }
    }
}
