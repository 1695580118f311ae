//! Serializing a finished snapshot.

use std::{
    io::{self, Cursor, Seek, SeekFrom, Write},
    path::Path,
};

use zerocopy::IntoBytes;

use super::{
    destination::{AbortHandle, Destination},
    error::BuildError,
    manifest::{FORMAT_VERSION, Header, MAGIC, Manifest, SECTION_ALIGNMENT, SourceEntry},
    open::SourceInfo,
    output::Output,
    sections::Content,
};

/// The outcome of the records that were added to a builder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildSummary {
    /// The number of records in the snapshot.
    pub records: u64,
    /// The number of duplicate records, by the number of their input.
    pub duplicates: Vec<u64>,
    /// The number of records that were left out because their key has
    /// [`RECORDS_PER_KEY_MAX`](crate::limits::RECORDS_PER_KEY_MAX) better ones, by the number of their input.
    pub over_limit: Vec<u64>,
}

/// A finished snapshot that is ready to be written.
#[derive(Debug)]
pub struct BuiltSnapshot {
    content: Content,
    /// The manifest without the hashes of sections.
    manifest: Manifest,
    manifest_offset: u64,
    manifest_bytes: u64,
    summary: BuildSummary,
}

impl BuiltSnapshot {
    pub(super) fn new(content: Content, mut manifest: Manifest, summary: BuildSummary) -> Result<Self, BuildError> {
        let manifest_offset = content.plan(&mut manifest).next_multiple_of(SECTION_ALIGNMENT);
        let manifest_bytes = archive(&manifest)?.len() as u64;
        Ok(Self { content, manifest, manifest_offset, manifest_bytes, summary })
    }

    /// Returns the size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.manifest_offset + self.manifest_bytes
    }

    /// Returns the content of the file. Intended for small snapshots.
    ///
    /// # Panics
    ///
    /// Panics if there is not enough memory, as [`Vec`] does.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::with_capacity(self.bytes() as usize));
        self.write_sections(&mut bytes).expect("writing to memory does not fail");
        bytes.into_inner()
    }

    /// Writes the file to a writer that cannot seek. Large snapshots are buffered in a temporary file.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut file = tempfile::spooled_tempfile(SPOOLED_BYTES_MAX);
        self.write_sections(&mut file)?;
        file.rewind()?;
        io::copy(&mut file, out).map(drop)
    }

    /// Returns the outcome of the records.
    pub fn summary(&self) -> &BuildSummary {
        &self.summary
    }

    /// Returns the sources of the records, sorted by name.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = SourceInfo<'_>> {
        self.manifest.sources.iter().map(SourceEntry::info)
    }

    /// Writes the snapshot to a file.
    ///
    /// A regular file is replaced atomically: a temporary file in the same directory is written, synced and renamed. The
    /// new file has the mode and the owner of the old one, or without an old one the mode that the umask allows. A
    /// symbolic link is followed, and stays. A pipe or a character device is written to. Other kinds of files are
    /// refused.
    ///
    /// Fails with [`BuildError::Write`] when the file cannot be written, or when its owner cannot be kept.
    pub fn write(&self, path: &Path) -> Result<(), BuildError> {
        self.write_abortable(path, &AbortHandle::default())
    }

    /// Writes the snapshot to a file as [`write`](Self::write) does. Fails when it is aborted through the handle.
    pub fn write_abortable(&self, path: &Path, abort: &AbortHandle) -> Result<(), BuildError> {
        let written = Destination::open(path).and_then(|destination| match destination {
            Destination::Regular(regular) => regular.replace(abort, |file| self.write_sections(file)),
            Destination::Stream(mut file) => self.write_to(&mut file),
        });
        written.map_err(|error| BuildError::Write { path: path.into(), bytes: self.bytes(), error })
    }

    fn write_sections(&self, out: &mut (impl Write + Seek + Send)) -> io::Result<()> {
        let mut manifest = self.manifest.clone();
        let sections: Vec<_> = manifest.sections.iter().map(|section| (section.table, section.kind)).collect();
        Output::write(out, &mut manifest.sections, |output| {
            self.content.write(manifest.web_seed, output, |table, kind| {
                sections.iter().position(|&section| section == (table.number(), kind as u8))
            });
        })?;
        manifest.sections.sort_by_key(|s| (s.table, s.kind));
        let manifest = archive(&manifest)?;
        let mut header = Header {
            magic: MAGIC,
            version: FORMAT_VERSION.into(),
            must_understand: 0.into(),
            file_bytes: self.bytes().into(),
            manifest_offset: self.manifest_offset.into(),
            manifest_bytes: (manifest.len() as u32).into(),
            reserved: [0; 60],
            root: [0; 32],
        };
        header.root = header.root_over(&manifest);
        out.seek(SeekFrom::Start(self.manifest_offset))?;
        out.write_all(&manifest)?;
        out.rewind()?;
        out.write_all(header.as_bytes())
    }
}

/// The size in bytes up to which [`BuiltSnapshot::write_to`] buffers in memory.
const SPOOLED_BYTES_MAX: usize = 64 << 20;

fn archive(manifest: &Manifest) -> io::Result<rkyv::util::AlignedVec> {
    rkyv::to_bytes::<rkyv::rancor::Error>(manifest).map_err(io::Error::other)
}
