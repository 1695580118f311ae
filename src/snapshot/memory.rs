//! Where an opened snapshot lies: in anonymous memory, in a mapping of its file, or in a vector.

use std::{
    fs::File,
    io::{self, Read},
    ops::Deref,
};

use memmap2::{Mmap, MmapMut, MmapOptions};

pub(super) enum Memory {
    /// Read into pages of its own: the file may be replaced or truncated meanwhile.
    Anonymous(MmapMut),
    /// The file itself.
    Mapped(Mmap),
    /// Bytes that were in memory already.
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
    /// Reads `bytes` bytes of a file into huge pages where the system has them, and lets go of the page cache's copy.
    pub(super) fn read(mut file: File, bytes: usize) -> io::Result<Self> {
        if bytes == 0 {
            return Ok(Self::Owned(Vec::new()));
        }
        let mut map = MmapOptions::new().len(bytes).map_anon()?;
        // Random reads of a large table miss the TLB on small pages. Advice must come before the first touch; where
        // there are no huge pages it fails, which changes nothing but the speed.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        file.read_exact(&mut map)?;
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(Self::Anonymous(map))
    }
}
