//! Opening a snapshot: everything is validated once, so that lookups need no further checks.

use std::{fs::File, path::Path};

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, little_endian::U32};

use super::{
    error::OpenError,
    file::read_file_header,
    info::is_dataset_name,
    layout::{SectionKind, Table, TableSet},
    manifest::{FORMAT_VERSION, Header, MAGIC, MANIFEST_BYTES_MAX, Manifest, SectionEntry, SourceEntry},
    memory::Memory,
    name_table::NameTable,
    section_map::SectionMap,
};
use crate::{
    key::{Hex, KeyKind, ScopeSet},
    timestamp::Timestamp,
};

/// An opened and validated snapshot.
pub struct Snapshot {
    pub(super) memory: Memory,
    pub(super) manifest: Manifest,
    root: [u8; 32],
    created: Timestamp,
    /// The size of the file.
    bytes: u64,
    /// The positions of the sections in memory.
    sections: SectionMap,
    /// The tables whose sections are in memory.
    pub(super) tables: TableSet,
}

/// A source of records in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceInfo<'a> {
    /// The name.
    pub name: &'a str,
    /// The number of records.
    pub records: u64,
    /// The timestamp of the newest record.
    pub newest: Option<Timestamp>,
}

impl Manifest {
    /// Returns the number of keys (indicators) of a kind.
    pub(super) fn keys(&self, kind: KeyKind) -> u64 {
        self.count(kind, &[SectionKind::Records])
    }

    /// Returns the number of records of a kind.
    pub(super) fn records(&self, kind: KeyKind) -> u64 {
        self.count(kind, &[SectionKind::Records, SectionKind::MoreRecords])
    }

    /// Returns the number of rows of these sections.
    fn count(&self, kind: KeyKind, of: &[SectionKind]) -> u64 {
        let sections = self.sections.iter().filter(|section| {
            let (table, section) = (Table::from_number(section.table), SectionKind::from_number(section.kind));
            table.and_then(Table::kind) == Some(kind) && section.is_some_and(|section| of.contains(&section))
        });
        sections.map(SectionEntry::rows).sum()
    }
}

impl SourceEntry {
    pub(super) fn info(&self) -> SourceInfo<'_> {
        SourceInfo { name: &self.name, records: self.records, newest: Timestamp::from_seconds(self.newest) }
    }
}

/// A section of a snapshot, as shown by `ksn inspect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionInfo {
    /// The kind of key that the section belongs to; `None` if it is shared by all kinds.
    pub kind: Option<KeyKind>,
    /// The section kind.
    pub section: String,
    /// The offset in bytes.
    pub offset: u64,
    /// The length in bytes.
    pub bytes: u64,
    /// The number of rows.
    pub rows: u64,
    /// The BLAKE3 of the section.
    pub blake3: [u8; 32],
}

impl Snapshot {
    /// Reads a snapshot into memory and validates it. The file may be replaced afterwards.
    ///
    /// Fails with [`OpenError`] when the file cannot be read or is not a valid snapshot.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let mut file = File::open(path)?;
        // The header is checked before memory is allocated for the rest.
        let header = read_file_header(&mut file)?;
        Self::read(&file, &header)
    }

    /// Reads and validates the whole of a file with this header.
    pub(super) fn read(file: &File, header: &Header) -> Result<Self, OpenError> {
        let found = header.file_bytes.get();
        let bytes = usize::try_from(found)
            .map_err(|_| OpenError::invalid(format!("its {found} bytes exceed the address space")))?;
        Self::check(Memory::read(file, bytes)?)
    }

    /// Maps a snapshot into memory instead of reading it, and validates it. Its pages are shared between processes.
    ///
    /// # Safety
    ///
    /// The file must not be modified or truncated while the snapshot exists: its content is validated only once, and
    /// accessing a truncated page kills the process. Replacing the file by renaming another one over it is safe.
    #[allow(unsafe_code)]
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Self::check(Memory::Owned(Vec::new()));
        }
        // SAFETY: the caller guarantees that the file is not modified.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Self::check(Memory::Mapped(map))
    }

    /// Validates a snapshot that is in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, OpenError> {
        Self::check(Memory::Owned(bytes))
    }

    fn check(memory: Memory) -> Result<Self, OpenError> {
        let header = read_header(&memory, memory.len() as u64)?;
        let sections_end = header.sections_end()?;
        let manifest = parse_manifest(&header, &memory[sections_end..])?;
        let (sections, gaps) = SectionMap::of(&manifest, sections_end)?;
        if let Some(gap) = gaps.into_iter().find(|gap| memory[gap.clone()].iter().any(|&b| b != 0)) {
            return Err(OpenError::invalid(format!("bytes of no section follow offset {}", gap.start)));
        }
        Self::new(memory, &header, manifest, sections, TableSet::ALL)
    }

    /// Validates the sections of some tables, which are in memory.
    pub(super) fn new(
        memory: Memory,
        header: &Header,
        manifest: Manifest,
        sections: SectionMap,
        tables: TableSet,
    ) -> Result<Self, OpenError> {
        let created =
            Timestamp::from_seconds(manifest.created).ok_or_else(|| OpenError::invalid("it has no creation time"))?;
        let bytes = header.file_bytes.get();
        let snapshot = Self { memory, manifest, root: header.root, created, bytes, sections, tables };
        snapshot.check_checksums()?;
        snapshot.check_content()?;
        Ok(snapshot)
    }

    /// Returns the name of the dataset.
    pub fn dataset(&self) -> &str {
        &self.manifest.dataset
    }

    /// Returns the generation number.
    pub fn generation(&self) -> u64 {
        self.manifest.generation
    }

    /// Returns the creation time.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Returns the root checksum, which covers the whole file.
    pub fn root(&self) -> [u8; 32] {
        self.root
    }

    /// Returns the size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether keys of a kind can be looked up: always, unless only the sections of other kinds were read (see
    /// [`SnapshotFile::read`](super::SnapshotFile::read)).
    pub fn has(&self, kind: KeyKind) -> bool {
        self.tables.is_superset(TableSet::of(&[kind]))
    }

    /// Returns the sources, sorted by name. A record's source number is an index into them.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = SourceInfo<'_>> {
        self.manifest.sources.iter().map(SourceEntry::info)
    }

    /// Returns the names and versions of compiled-in data.
    pub fn compiled_with(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.manifest.compiled_with.iter().map(|(name, version)| (&**name, &**version))
    }

    /// Returns the sections.
    pub fn sections(&self) -> impl ExactSizeIterator<Item = SectionInfo> {
        self.manifest.sections.iter().map(|s| SectionInfo {
            kind: Table::from_number(s.table).and_then(Table::kind),
            section: SectionKind::from_number(s.kind).map(|kind| format!("{kind:?}")).unwrap_or_default(),
            offset: s.offset,
            bytes: s.bytes,
            rows: s.rows(),
            blake3: s.blake3,
        })
    }

    /// Returns the number of keys (indicators) of a kind.
    pub fn keys(&self, kind: KeyKind) -> u64 {
        self.manifest.keys(kind)
    }

    /// Returns the number of records of a kind.
    pub fn records(&self, kind: KeyKind) -> u64 {
        self.manifest.records(kind)
    }

    pub(crate) fn web_seed(&self) -> u64 {
        self.manifest.web_seed
    }

    pub(crate) fn web_scopes(&self) -> ScopeSet {
        ScopeSet::from_bits(self.manifest.web_scopes).unwrap_or_default()
    }

    pub(crate) fn source_name(&self, number: u16) -> &str {
        &self.manifest.sources[usize::from(number)].name
    }

    /// Returns the detection names.
    #[allow(unsafe_code)]
    pub(crate) fn names(&self) -> NameTable<'_> {
        let (ends, text) = self.name_sections();
        // SAFETY: `check_content` accepted these sections when the snapshot was opened.
        unsafe { NameTable::of_checked(ends, text) }
    }

    pub(super) fn name_sections(&self) -> (&[U32], &[u8]) {
        (self.rows(Table::Shared, SectionKind::NameEnds), self.section(Table::Shared, SectionKind::NameText))
    }

    /// Returns the bytes of a section, which are empty if there is no such section or it was not read.
    pub(crate) fn section(&self, table: Table, kind: SectionKind) -> &[u8] {
        let (offset, length) = self.sections.get(table, kind);
        &self.memory[offset..offset + length]
    }

    /// Returns the rows of a section, which are empty if there is no such section.
    pub(crate) fn rows<T: FromBytes + Immutable + KnownLayout + Unaligned>(
        &self,
        table: Table,
        kind: SectionKind,
    ) -> &[T] {
        <[T]>::ref_from_bytes(self.section(table, kind)).expect("the length was checked when it was opened")
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("dataset", &self.manifest.dataset)
            .field("generation", &self.manifest.generation)
            .field("root", &format_args!("{}", Hex(&self.root)))
            .finish_non_exhaustive()
    }
}

/// Parses and checks the header of a file of `found` bytes.
pub(super) fn read_header(head: &[u8], found: u64) -> Result<Header, OpenError> {
    let magic = &head[..head.len().min(MAGIC.len())];
    if magic != MAGIC {
        // `\r\n` was converted to `\n`, or vice versa.
        if magic.starts_with(b"\x89KSN\n") || magic.starts_with(b"\x89KSN\r\r") {
            return Err(OpenError::TextMode);
        }
        return Err(OpenError::Magic { expected: MAGIC, found: magic.to_vec() });
    }
    let Ok((header, _)) = Header::read_from_prefix(head) else {
        return Err(OpenError::Truncated { expected: size_of::<Header>() as u64, found });
    };
    if header.version.get() != FORMAT_VERSION {
        return Err(OpenError::Version { expected: FORMAT_VERSION, found: header.version.get() });
    }
    if header.must_understand.get() != 0 {
        return Err(OpenError::MustUnderstand { bits: header.must_understand.get() });
    }
    let expected = header.file_bytes.get();
    if found < expected {
        return Err(OpenError::Truncated { expected, found });
    }
    if found > expected {
        return Err(OpenError::TrailingBytes { expected, found });
    }
    Ok(header)
}

impl Header {
    /// Returns the offset of the manifest, at which the sections end. Fails if the manifest does not end with the file.
    pub(super) fn sections_end(&self) -> Result<usize, OpenError> {
        let (offset, bytes) = (self.manifest_offset.get(), self.manifest_bytes.get());
        let fits = bytes <= MANIFEST_BYTES_MAX
            && offset >= size_of::<Self>() as u64
            && offset.checked_add(bytes.into()) == Some(self.file_bytes.get());
        usize::try_from(offset)
            .ok()
            .filter(|_| fits)
            .ok_or_else(|| OpenError::invalid("the manifest does not end with the file"))
    }
}

/// Verifies and parses the manifest.
pub(super) fn parse_manifest(header: &Header, stored: &[u8]) -> Result<Manifest, OpenError> {
    let root = header.root_over(stored);
    if root != header.root {
        return Err(OpenError::Checksum {
            what: "header and manifest".into(),
            expected: Hex(&header.root).to_string(),
            found: Hex(&root).to_string(),
        });
    }
    let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(stored.len());
    aligned.extend_from_slice(stored);
    let manifest = rkyv::from_bytes::<Manifest, rkyv::rancor::Error>(&aligned)
        .map_err(|e| OpenError::invalid(format!("the manifest is malformed ({e})")))?;
    if !is_dataset_name(&manifest.dataset) {
        return Err(OpenError::invalid(format!("the dataset name {:?} is invalid", manifest.dataset)));
    }
    if manifest.key_range != (0, u32::MAX) {
        return Err(OpenError::invalid("it is a shard, which this version does not support"));
    }
    Ok(manifest)
}
