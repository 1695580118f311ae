//! Prefetching of cache lines.

/// Prefetches the cache line of element `at` of a slice. Does nothing if `at` is out of bounds or the machine has no
/// prefetch instruction; results never depend on it.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) fn prefetch<T>(slice: &[T], at: usize) {
    let Some(element) = slice.get(at) else { return };
    let address = std::ptr::from_ref(element).cast::<i8>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no observable effect, and the address is that of a live element.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: `prfm` is a hint: it reads no register but the address, writes none and cannot fault.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
