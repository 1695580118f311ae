//! The two innermost comparisons of lookups, implemented with the widest instructions of the processor.
//!
//! | kernel | a bucket of 15 fingerprints | a line of 26 segment starts |
//! | --- | --- | --- |
//! | portable | 15 comparisons, combined without a branch | 26 comparisons, summed |
//! | AVX2 | 2 | 2 |
//! | AVX-512 | 1 | 1 |
//!
//! The kernel is selected at run time; tests verify that all kernels return the same results. The loops around the
//! comparisons are compiled once per kernel, so that there is no call per key.

use super::{
    ipv4::{Line, LineTable},
    probe::{Candidate, Probe},
};
use crate::snapshot::layout::Bucket;

/// An instruction set that this processor supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kernel(Instructions);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instructions {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    const PORTABLE: Self = Self(Instructions::Portable);

    /// Returns the fastest kernel. This takes a few loads of one word: detection of the features is cached.
    #[inline]
    pub(super) fn fastest() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("popcnt")
            {
                return Self(Instructions::Avx512);
            }
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("popcnt")
            {
                return Self(Instructions::Avx2);
            }
        }
        Self::PORTABLE
    }

    /// Finds the keys that may be in a table of buckets; see [`Probe::run`].
    #[allow(unsafe_code)]
    pub(super) fn probe<P: Fn(usize) -> [u8; 8]>(self, probe: Probe<'_, P>, candidates: &mut [Candidate]) -> usize {
        match self.0 {
            Instructions::Portable => probe.run(candidates, portable::matching_slots),
            // SAFETY: `fastest` detected the instruction set on this processor.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { x86_64::probe_avx2(probe, candidates) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { x86_64::probe_avx512(probe, candidates) },
        }
    }

    /// Finds the addresses that may lie in a block; see [`LineTable::run`].
    #[allow(unsafe_code)]
    pub(super) fn segments(self, lines: LineTable<'_>, addresses: &[[u8; 4]], found: &mut [(u32, u32)]) -> usize {
        match self.0 {
            Instructions::Portable => lines.run(addresses, found, portable::starts_until),
            // SAFETY: `fastest` detected the instruction set on this processor.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { x86_64::segments_avx2(lines, addresses, found) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { x86_64::segments_avx512(lines, addresses, found) },
        }
    }
}

/// Returns every kernel that this processor supports, the portable one first.
#[cfg(test)]
pub(super) fn all() -> Vec<Kernel> {
    let mut all = vec![Kernel::PORTABLE];
    #[cfg(target_arch = "x86_64")]
    {
        let fastest = Kernel::fastest();
        if fastest != Kernel::PORTABLE {
            // Every processor with AVX-512 has AVX2.
            all.push(Kernel(Instructions::Avx2));
        }
        if fastest == Kernel(Instructions::Avx512) {
            all.push(fastest);
        }
    }
    all
}

/// Returns a bit mask of the slots with a fingerprint.
pub(super) fn matching_slots(bucket: &Bucket, fingerprint: u32) -> u32 {
    portable::matching_slots(bucket, fingerprint)
}

/// Returns the number of starts of a line that are at or before an address, given by its low 16 bits. Unused starts are
/// counted too.
pub(super) fn starts_until(line: &Line, low: u16) -> u32 {
    portable::starts_until(line, low)
}

mod portable {
    use zerocopy::little_endian::U32;

    use super::{Bucket, Line};
    use crate::snapshot::layout::BUCKET_SLOTS;

    #[inline(always)]
    pub(super) fn matching_slots(bucket: &Bucket, fingerprint: u32) -> u32 {
        let wanted = U32::new(fingerprint);
        let mut slots = 0;
        for slot in 0..BUCKET_SLOTS {
            slots |= u32::from(bucket.fingerprints[slot] == wanted) << slot;
        }
        slots
    }

    #[inline(always)]
    pub(super) fn starts_until(line: &Line, low: u16) -> u32 {
        line.starts.iter().map(|&start| u32::from(start <= low)).sum()
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86_64 {
    use std::{arch::x86_64::*, ptr};

    use super::{Bucket, Candidate, Line, LineTable, Probe};
    use crate::{index::ipv4::LINE_STARTS, snapshot::layout::BUCKET_SLOTS};

    /// Both are one cache line: the loads below read exactly that line.
    const _: () = assert!(size_of::<Bucket>() == 64 && size_of::<Line>() == 64);
    /// The bits of the slots, excluding the bit of the word after them.
    const SLOTS: u32 = (1 << BUCKET_SLOTS) - 1;
    /// The bits of the starts, excluding those of the three words before them.
    const STARTS: u32 = !0 << (32 - LINE_STARTS);

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    pub(super) fn probe_avx2<P: Fn(usize) -> [u8; 8]>(probe: Probe<'_, P>, candidates: &mut [Candidate]) -> usize {
        probe.run(candidates, |bucket, fingerprint| {
            let wanted = _mm256_set1_epi32(fingerprint as i32);
            let half = ptr::from_ref(bucket).cast::<__m256i>();
            // SAFETY: a bucket has 64 bytes, and the loads need no alignment.
            let (low, high) = unsafe { (_mm256_loadu_si256(half), _mm256_loadu_si256(half.add(1))) };
            let bits = |half| _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(half, wanted))) as u32;
            (bits(low) | bits(high) << 8) & SLOTS
        })
    }

    #[target_feature(enable = "avx512f,avx512bw,bmi1,bmi2,popcnt")]
    pub(super) fn probe_avx512<P: Fn(usize) -> [u8; 8]>(probe: Probe<'_, P>, candidates: &mut [Candidate]) -> usize {
        probe.run(candidates, |bucket, fingerprint| {
            // SAFETY: a bucket has 64 bytes, and the load needs no alignment.
            let line = unsafe { _mm512_loadu_si512(ptr::from_ref(bucket).cast()) };
            u32::from(_mm512_cmpeq_epi32_mask(line, _mm512_set1_epi32(fingerprint as i32))) & SLOTS
        })
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    pub(super) fn segments_avx2(lines: LineTable<'_>, addresses: &[[u8; 4]], found: &mut [(u32, u32)]) -> usize {
        lines.run(addresses, found, |line, low| {
            let wanted = _mm256_set1_epi16(low as i16);
            let half = ptr::from_ref(line).cast::<__m256i>();
            // SAFETY: a line has 64 bytes, and the loads need no alignment.
            let (first, second) = unsafe { (_mm256_loadu_si256(half), _mm256_loadu_si256(half.add(1))) };
            // A start is at or before the address if it is the minimum of the two. There are two bits per start.
            let bits = |half| _mm256_movemask_epi8(_mm256_cmpeq_epi16(_mm256_min_epu16(half, wanted), half)) as u32;
            const HEAD: u32 = (32 - LINE_STARTS as u32) * 2;
            ((bits(first) >> HEAD << HEAD).count_ones() + bits(second).count_ones()) / 2
        })
    }

    #[target_feature(enable = "avx512f,avx512bw,bmi1,bmi2,popcnt")]
    pub(super) fn segments_avx512(lines: LineTable<'_>, addresses: &[[u8; 4]], found: &mut [(u32, u32)]) -> usize {
        lines.run(addresses, found, |line, low| {
            // SAFETY: a line has 64 bytes, and the load needs no alignment.
            let line = unsafe { _mm512_loadu_si512(ptr::from_ref(line).cast()) };
            (_mm512_cmple_epu16_mask(line, _mm512_set1_epi16(low as i16)) & STARTS).count_ones()
        })
    }
}
