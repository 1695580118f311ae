//! Sections on their way to a file: laid out by one thread, hashed and written by another.

use std::{
    cell::RefCell,
    io::{self, Seek, SeekFrom, Write},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

use super::manifest::SectionEntry;

/// Where sections are written to, all at the same time.
pub(super) struct Output {
    full: SyncSender<Piece>,
    empty: RefCell<Receiver<Vec<u8>>>,
}

/// Bytes of a section.
struct Piece {
    section: usize,
    bytes: Vec<u8>,
}

/// Appends to one section.
pub(super) struct Pen<'o> {
    output: &'o Output,
    /// `None` for a section that is left out as nothing is in it.
    section: Option<usize>,
    buffer: Vec<u8>,
}

/// Bytes of a piece: enough for BLAKE3 to work on many chunks at once, and little enough to be still in the cache when
/// they are written.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces that wait to be written.
const PIECES_WAITING_MAX: usize = 16;

impl Output {
    /// Writes the sections that `lay_out` makes with its pens, and notes their hashes. The places of all sections are
    /// known before.
    pub(super) fn write<W: Write + Seek + Send>(
        out: &mut W,
        sections: &mut [SectionEntry],
        lay_out: impl FnOnce(&Self),
    ) -> io::Result<()> {
        thread::scope(|scope| {
            let (full, pieces) = sync_channel(PIECES_WAITING_MAX);
            let (written, empty) = channel();
            let writer = thread::Builder::new().spawn_scoped(scope, || write(out, sections, pieces, written))?;
            lay_out(&Self { full, empty: empty.into() });
            writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    pub(super) fn pen(&self, section: Option<usize>) -> Pen<'_> {
        Pen { output: self, section, buffer: Vec::new() }
    }
}

fn write<W: Write + Seek>(
    out: &mut W,
    sections: &mut [SectionEntry],
    pieces: Receiver<Piece>,
    written: Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut hashers = vec![blake3::Hasher::new(); sections.len()];
    for Piece { section, mut bytes } in pieces {
        let hasher = &mut hashers[section];
        out.seek(SeekFrom::Start(sections[section].offset + hasher.count()))?;
        out.write_all(&bytes)?;
        hasher.update(&bytes);
        bytes.clear();
        // Nobody waits for it at the end.
        let _ = written.send(bytes);
    }
    for (section, hasher) in sections.iter_mut().zip(hashers) {
        assert_eq!(section.bytes, hasher.count(), "a section is as long as was planned");
        section.blake3 = *hasher.finalize().as_bytes();
    }
    Ok(())
}

impl Pen<'_> {
    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() > PIECE_BYTES {
            self.flush();
        }
        self.buffer.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        let Some(section) = self.section.filter(|_| !self.buffer.is_empty()) else { return };
        let empty = self.output.empty.borrow().try_recv();
        let empty = empty.unwrap_or_else(|_| Vec::with_capacity(PIECE_BYTES));
        let bytes = std::mem::replace(&mut self.buffer, empty);
        // It fails when writing did; the writer says why.
        let _ = self.output.full.send(Piece { section, bytes });
    }
}

impl Drop for Pen<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
