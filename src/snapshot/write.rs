//! A finished snapshot, and its way into a file.

use std::{
    fs,
    io::{self, Cursor, Seek, SeekFrom, Write},
    path::Path,
};

use zerocopy::IntoBytes;

use super::{
    error::BuildError,
    manifest::{FORMAT_VERSION, Header, MAGIC, Manifest, SECTION_ALIGNMENT},
    output::Output,
    sections::Content,
};

/// What became of the records that were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildSummary {
    /// Records in the snapshot.
    pub records: u64,
    /// Records that were another one's equal, by the number of the input that they came from.
    pub duplicates: Vec<u64>,
}

/// A finished snapshot: sorted, and laid out as it is written.
#[derive(Debug)]
pub struct BuiltSnapshot {
    content: Content,
    /// Without the hashes of sections.
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

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.manifest_offset + self.manifest_bytes
    }

    /// The bytes of the file, in memory: for small ones.
    ///
    /// # Panics
    ///
    /// When there is not enough memory, as a vector does.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::with_capacity(self.bytes() as usize));
        self.lay_out(&mut bytes).expect("writing to memory does not fail");
        bytes.into_inner()
    }

    /// Writes the bytes of the file to where nobody can seek. Large ones go through a temporary file.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut file = tempfile::spooled_tempfile(SPOOLED_BYTES_MAX);
        self.lay_out(&mut file)?;
        file.rewind()?;
        io::copy(&mut file, out).map(drop)
    }

    /// What became of the records.
    pub fn summary(&self) -> &BuildSummary {
        &self.summary
    }

    /// Writes the file so that it is there whole or not at all: a temporary file beside it is written, synced and
    /// renamed.
    pub fn write(&self, path: &Path) -> Result<(), BuildError> {
        self.write_beside(path).map_err(|error| BuildError::Write { path: path.into(), bytes: self.bytes(), error })
    }

    fn write_beside(&self, path: &Path) -> io::Result<()> {
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".ksn-").suffix(".tmp").tempfile_in(directory)?;
        self.lay_out(file.as_file_mut())?;
        file.as_file().sync_all()?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Temporary files are private; a snapshot is read by a server that runs as another user.
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path).map_err(|e| e.error)?;
        #[cfg(unix)]
        fs::File::open(directory)?.sync_all()?;
        Ok(())
    }

    fn lay_out(&self, out: &mut (impl Write + Seek + Send)) -> io::Result<()> {
        let mut manifest = self.manifest.clone();
        let places: Vec<_> = manifest.sections.iter().map(|section| (section.table, section.role)).collect();
        Output::write(out, &mut manifest.sections, |output| {
            self.content.lay_out(manifest.web_seed, output, |table, role| {
                places.iter().position(|&place| place == (table.number(), role as u8))
            });
        })?;
        manifest.sections.sort_by_key(|s| (s.table, s.role));
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

/// Bytes that are held in memory on their way to a pipe.
const SPOOLED_BYTES_MAX: usize = 64 << 20;

fn archive(manifest: &Manifest) -> io::Result<rkyv::util::AlignedVec> {
    rkyv::to_bytes::<rkyv::rancor::Error>(manifest).map_err(io::Error::other)
}
