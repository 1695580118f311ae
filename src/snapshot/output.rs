//! Writing sections to a file: one thread serializes them, another hashes and writes them.

use std::{
    cell::RefCell,
    io::{self, Seek, SeekFrom, Write},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

use super::manifest::SectionEntry;

/// The output of all sections, which may be written concurrently.
pub(super) struct Output {
    full: SyncSender<Piece>,
    empty: RefCell<Receiver<Vec<u8>>>,
}

/// A buffer of bytes to append to a section.
struct Piece {
    section: usize,
    bytes: Vec<u8>,
}

/// A buffered writer that appends to one section.
pub(super) struct SectionWriter<'o> {
    output: &'o Output,
    /// The index of the section; `None` if the section is omitted because it is empty.
    section: Option<usize>,
    buffer: Vec<u8>,
}

/// The size of a buffer in bytes: enough for BLAKE3 to process many chunks at once, and small enough to remain in the
/// cache until it is written.
const PIECE_BYTES: usize = 256 << 10;

/// The maximum number of queued buffers.
const PIECES_WAITING_MAX: usize = 16;

impl Output {
    /// Writes the sections that `write` produces with its [`SectionWriter`]s, and stores their hashes in `sections`.
    /// The offsets of all sections must be set already.
    pub(super) fn write<W: Write + Seek + Send>(
        out: &mut W,
        sections: &mut [SectionEntry],
        write: impl FnOnce(&Self),
    ) -> io::Result<()> {
        thread::scope(|scope| {
            let (full, pieces) = sync_channel(PIECES_WAITING_MAX);
            let (written, empty) = channel();
            let writer = thread::Builder::new().spawn_scoped(scope, || write_pieces(out, sections, pieces, written))?;
            write(&Self { full, empty: empty.into() });
            writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    pub(super) fn writer(&self, section: Option<usize>) -> SectionWriter<'_> {
        SectionWriter { output: self, section, buffer: Vec::new() }
    }
}

fn write_pieces<W: Write + Seek>(
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
        // The receiver may be gone once all sections are produced.
        let _ = written.send(bytes);
    }
    for (section, hasher) in sections.iter_mut().zip(hashers) {
        assert_eq!(section.bytes, hasher.count(), "a section must have the planned length");
        section.blake3 = *hasher.finalize().as_bytes();
    }
    Ok(())
}

impl SectionWriter<'_> {
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
        // This fails only after a write error, which the writer thread returns.
        let _ = self.output.full.send(Piece { section, bytes });
    }
}

impl Drop for SectionWriter<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
