//! The memory of an opened snapshot: anonymous memory, a mapping of its file, or a vector.

#[cfg(target_os = "linux")]
use std::num::NonZero;
use std::{
    fs::File,
    io,
    ops::{Deref, Range},
};

use memmap2::{Mmap, MmapMut, MmapOptions};
use rayon::{
    iter::{IndexedParallelIterator, ParallelIterator},
    slice::ParallelSliceMut,
};

/// The bytes of a snapshot.
pub(super) enum Memory {
    /// Anonymous pages that the file was read into: the file may be replaced or truncated afterwards.
    Anonymous(MmapMut),
    /// A mapping of the file.
    Mapped(Mmap),
    /// Bytes from the caller.
    Owned(Vec<u8>),
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Anonymous(map) => map,
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// A part of a file to read, and where in memory to.
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) to: Range<usize>,
}

/// The size in bytes from which a snapshot is evicted from the page cache while it is read. A server's gigabytes should not
/// be in memory twice, nor displace what other processes have in the cache. Below this, the second copy is small, and the
/// kernel drops it when it needs the memory; but the next process that opens the file would have to read it from disk:
/// half a second for this size at 500 MB/s, against 50 ms from the cache.
const EVICT_BYTES_MIN: usize = 256 << 20;

impl Memory {
    /// Reads a whole file of `bytes` bytes. A large file is evicted from the page cache.
    pub(super) fn read(file: &File, bytes: usize) -> io::Result<Self> {
        let evict = bytes >= EVICT_BYTES_MIN;
        Self::filled(bytes, |memory| read_parallel(file, memory, 0, evict))
    }

    /// Reads parts of a file into `bytes` bytes, which stay in the page cache.
    pub(super) fn read_parts(file: &File, parts: &[Part], bytes: usize) -> io::Result<Self> {
        Self::filled(bytes, |memory| {
            parts.iter().try_for_each(|part| read_parallel(file, &mut memory[part.to.clone()], part.offset, false))
        })
    }

    /// Fills anonymous memory, in huge pages where available.
    fn filled(bytes: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) -> io::Result<Self> {
        if bytes == 0 {
            return Ok(Self::Owned(Vec::new()));
        }
        let mut map = MmapOptions::new().len(bytes).map_anon()?;
        // Random reads of a large table miss the TLB on small pages. The advice must precede the first access; it fails
        // where there are no huge pages, which affects only the speed.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        fill(&mut map)?;
        Ok(Self::Anonymous(map))
    }
}

/// Reads a part of a file on all processors: most of the time is spent zeroing pages and copying.
fn read_parallel(file: &File, memory: &mut [u8], offset: u64, evict: bool) -> io::Result<()> {
    memory.par_chunks_mut(READ_BYTES).enumerate().try_for_each(|(number, chunk)| {
        let offset = offset + (number * READ_BYTES) as u64;
        read_at(file, chunk, offset)?;
        // Each chunk at once, so that the file is never in memory twice.
        #[cfg(target_os = "linux")]
        if evict {
            let _ = rustix::fs::fadvise(file, offset, NonZero::new(READ_BYTES as u64), rustix::fs::Advice::DontNeed);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = evict;
        Ok(())
    })
}

/// The size of a read in bytes: several huge pages of 2 MB, small enough to occupy all processors.
const READ_BYTES: usize = 8 << 20;

/// Fills a buffer from an offset of a file.
#[cfg(unix)]
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills a buffer from an offset of a file.
#[cfg(windows)]
pub(super) fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => (buffer, offset) = (&mut buffer[count..], offset + count as u64),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
