//! The floor under an index: a random cache line a key, asked for ahead of time, and touched.
//!
//! No table larger than the caches can answer with less than one line of memory a key. So this is what the machine
//! itself takes, and what an index takes beyond it is the index.

use memmap2::{MmapMut, MmapOptions};

use crate::Skip;

/// Bytes of a line.
const LINE: usize = 64;

/// Lines as an index has them: anonymous memory in huge pages, every page of it touched.
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

    /// Touches the line of each key, and gives what lies there, so that it is not left out.
    pub(crate) fn touch<const W: usize>(&self, keys: &[[u8; W]]) -> u64 {
        let (lines, _) = self.0.as_chunks::<LINE>();
        let home = |key: &[u8; W]| home(key.first_chunk().copied().unwrap_or_default(), lines.len());
        let mut sum = 0;
        for key in keys.iter().take(AHEAD) {
            prefetch(lines, home(key));
        }
        for (row, key) in keys.iter().enumerate() {
            if let Some(ahead) = keys.get(row + AHEAD) {
                prefetch(lines, home(ahead));
            }
            sum += u64::from(lines[home(key)][0]);
        }
        sum
    }
}

/// The line of a key, from its first four bytes, as the buckets of an index are chosen.
#[inline(always)]
fn home(prefix: [u8; 4], lines: usize) -> usize {
    ((u64::from(u32::from_be_bytes(prefix)) * lines as u64) >> 32) as usize
}

/// How many keys ahead a line is asked for: between 64 and 128 all are equally fast.
const AHEAD: usize = 96;

/// Starts loading a line.
#[inline(always)]
#[allow(unsafe_code)]
fn prefetch(lines: &[[u8; LINE]], at: usize) {
    let Some(line) = lines.get(at) else { return };
    let address = line.as_ptr();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect that a program can see, and the address is that of a live line.
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
