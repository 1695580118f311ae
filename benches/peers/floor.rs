//! The lower bound for an index: one random, prefetched cache line per key.
//!
//! A table larger than the caches needs at least one cache line of memory per key. So this is the cost of the machine,
//! and the rest of the time is the cost of the index.

use memmap2::{MmapMut, MmapOptions};

use crate::Skip;

/// The size of a cache line in bytes.
const LINE: usize = 64;

/// Cache lines like those of an index: anonymous memory in huge pages, all of them touched.
pub(crate) struct Lines(MmapMut);

impl Lines {
    pub(crate) fn new(bytes: usize) -> Result<Self, Skip> {
        let mut map = MmapOptions::new().len(bytes).map_anon().map_err(|e| e.to_string())?;
        // As in `src/snapshot/memory.rs`.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        map.fill(1);
        Ok(Self(map))
    }

    /// Reads the line of each key and returns the sum of the bytes read, so that the reads are not optimized out.
    pub(crate) fn touch<const W: usize>(&self, keys: &[[u8; W]]) -> u64 {
        let (lines, _) = self.0.as_chunks::<LINE>();
        let home = |key: &[u8; W]| home(key.first_chunk().copied().unwrap_or_default(), lines.len());
        let mut sum = 0;
        for key in keys.iter().take(PREFETCH_DISTANCE) {
            prefetch(lines, home(key));
        }
        for (row, key) in keys.iter().enumerate() {
            if let Some(ahead) = keys.get(row + PREFETCH_DISTANCE) {
                prefetch(lines, home(ahead));
            }
            sum += u64::from(lines[home(key)][0]);
        }
        sum
    }
}

/// Returns the line of a key, computed from its first four bytes like the home bucket in an index.
#[inline(always)]
fn home(prefix: [u8; 4], lines: usize) -> usize {
    ((u64::from(u32::from_be_bytes(prefix)) * lines as u64) >> 32) as usize
}

/// The prefetch distance in keys: all values from 64 to 128 are equally fast.
const PREFETCH_DISTANCE: usize = 96;

/// Prefetches a line.
#[inline(always)]
#[allow(unsafe_code)]
fn prefetch(lines: &[[u8; LINE]], at: usize) {
    let Some(line) = lines.get(at) else { return };
    let address = line.as_ptr();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no observable effect, and the address is that of a live line.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: `prfm` is a hint: it reads no register but the address, writes none and cannot fault.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
