//! A snapshot file of which only the needed parts are read.

use std::{fs::File, path::Path};

use super::{
    error::OpenError,
    layout::{SectionKind, Table, TableSet},
    manifest::{Header, Manifest, SECTION_ALIGNMENT, SourceEntry},
    memory::{Memory, Part, read_at},
    open::{Snapshot, SourceInfo, parse_manifest, read_header},
    section_map::SectionMap,
};
use crate::key::KeyKind;

/// A snapshot file of which only the needed sections are read, for a few lookups of a process that soon ends.
///
/// ```
/// # use ksn::{key::KeyKind, snapshot::*, timestamp::Timestamp};
/// # let created = Timestamp::from_seconds(1_795_341_600).unwrap();
/// # let (dataset, compiled_with) = ("local".into(), Default::default());
/// # let info = SnapshotInfo { dataset, generation: 1, created, compiled_with };
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("records.ksn");
/// # SnapshotBuilder::new().finish(&info)?.write(&path)?;
/// let snapshot = SnapshotFile::open(&path)?.read(&[KeyKind::Ipv4])?;
/// assert!(snapshot.has(KeyKind::Ipv4) && !snapshot.has(KeyKind::Web));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SnapshotFile {
    file: File,
    header: Header,
    manifest: Manifest,
}

impl SnapshotFile {
    /// Opens a snapshot file, and reads and verifies its header and its manifest, which hold the checksums of all
    /// sections. The path may be given to another file afterwards; the file itself must not be modified.
    ///
    /// Fails with [`OpenError`] when the file cannot be read or is not a valid snapshot.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let mut file = File::open(path)?;
        let header = read_file_header(&mut file)?;
        let mut manifest = vec![0; header.manifest_bytes.get() as usize];
        read_at(&file, &mut manifest, header.manifest_offset.get())?;
        let manifest = parse_manifest(&header, &manifest)?;
        SectionMap::of(&manifest, header.sections_end()?)?;
        Ok(Self { file, header, manifest })
    }

    /// Returns the root checksum, which covers the whole file.
    pub fn root(&self) -> [u8; 32] {
        self.header.root
    }

    /// Returns the size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.header.file_bytes.get()
    }

    /// Returns the number of keys (indicators) of a kind.
    pub fn keys(&self, kind: KeyKind) -> u64 {
        self.manifest.keys(kind)
    }

    /// Returns the number of records of a kind.
    pub fn records(&self, kind: KeyKind) -> u64 {
        self.manifest.records(kind)
    }

    /// Returns the sources of the records, sorted by name.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = SourceInfo<'_>> {
        self.manifest.sources.iter().map(SourceEntry::info)
    }

    /// Reads and validates the whole file, as [`Snapshot::open`] does.
    pub fn read_all(&self) -> Result<Snapshot, OpenError> {
        Snapshot::read(&self.file, &self.header)
    }

    /// Reads the sections that lookups of some kinds of keys need, and validates them as [`Snapshot::open`] does: their
    /// checksums, and every reference in their rows.
    ///
    /// The sections of the other kinds are neither read nor verified, nor are the gaps between sections. Keys of other
    /// kinds are answered as unsupported, never as unknown.
    pub fn read(&self, kinds: &[KeyKind]) -> Result<Snapshot, OpenError> {
        let tables = TableSet::of(kinds);
        let (mut parts, mut sections, mut end) = (Vec::new(), SectionMap::empty(), 0);
        for section in &self.manifest.sections {
            let known = Table::from_number(section.table).zip(SectionKind::from_number(section.kind));
            let Some((table, kind)) = known.filter(|&(table, _)| tables.contains(table)) else { continue };
            // The manifest was checked: all sections together fit the address space.
            let (start, bytes) = (end, section.bytes as usize);
            sections.set(table, kind, (start, bytes));
            parts.push(Part { offset: section.offset, to: start..start + bytes });
            end = (start + bytes).next_multiple_of(SECTION_ALIGNMENT as usize);
        }
        let memory = Memory::read_parts(&self.file, &parts, end)?;
        Snapshot::new(memory, &self.header, self.manifest.clone(), sections, tables)
    }
}

/// Reads and checks the header at the start of a file.
pub(super) fn read_file_header(file: &mut File) -> Result<Header, OpenError> {
    let found = file.metadata()?.len();
    let mut head = [0; size_of::<Header>()];
    let mut filled = 0;
    while filled < head.len() {
        match std::io::Read::read(file, &mut head[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    read_header(&head[..filled], found)
}
