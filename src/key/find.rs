//! Searches for a byte.

/// Returns the offset of the first occurrence of a byte. Compares eight bytes at a time: addresses are too long for a
/// loop over bytes, and too short for anything that needs a setup.
#[inline]
pub(super) fn find(text: &[u8], byte: u8) -> Option<usize> {
    const LOW_BITS: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = LOW_BITS << 7;
    let (words, rest) = text.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let difference = u64::from_le_bytes(*word) ^ (LOW_BITS * u64::from(byte));
        // The lowest bit that is set is that of the first zero; higher ones may be wrong.
        let zeros = difference.wrapping_sub(LOW_BITS) & !difference & HIGH_BITS;
        if zeros != 0 {
            return Some(number * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&b| b == byte).map(|at| words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_the_first(text in prop::collection::vec(prop::sample::select(vec![0, 1, 0x7f, 0x80, 0xff]), 0..40)) {
            for byte in [0, 1, 2, 0x7f, 0x80, 0xff] {
                prop_assert_eq!(find(&text, byte), text.iter().position(|&b| b == byte));
            }
        }
    }
}
