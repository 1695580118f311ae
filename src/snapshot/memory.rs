//! The memory of an opened snapshot: anonymous memory, a mapping of its file, or a vector.

#[cfg(target_os = "linux")]
use std::num::NonZero;
use std::{fs::File, io, ops::Deref};

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

impl Memory {
    /// Reads `bytes` bytes of a file into huge pages, where available, and evicts them from the page cache.
    pub(super) fn read(file: &File, bytes: usize) -> io::Result<Self> {
        if bytes == 0 {
            return Ok(Self::Owned(Vec::new()));
        }
        let mut map = MmapOptions::new().len(bytes).map_anon()?;
        // Random reads of a large table miss the TLB on small pages. The advice must precede the first access; it fails
        // where there are no huge pages, which affects only the speed.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        // On all processors: most of the time is spent zeroing pages and copying. Each chunk is evicted from the page
        // cache at once, so that the file is never in memory twice.
        map.par_chunks_mut(READ_BYTES).enumerate().try_for_each(|(number, chunk)| {
            let offset = (number * READ_BYTES) as u64;
            read_at(file, chunk, offset)?;
            #[cfg(target_os = "linux")]
            let _ = rustix::fs::fadvise(file, offset, NonZero::new(READ_BYTES as u64), rustix::fs::Advice::DontNeed);
            Ok::<(), io::Error>(())
        })?;
        Ok(Self::Anonymous(map))
    }
}

/// The size of a read in bytes: several huge pages of 2 MB, small enough to occupy all processors.
const READ_BYTES: usize = 8 << 20;

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
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
