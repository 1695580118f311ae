//! Opening a snapshot: everything is validated once, so that lookups need no further checks.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, little_endian::U32};

use super::{
    error::OpenError,
    info::is_dataset_name,
    layout::{RecordRow, SectionKind, Table},
    manifest::{
        FORMAT_VERSION, Header, MAGIC, MANIFEST_BYTES_MAX, Manifest, SECTION_ALIGNMENT, SectionEntry, SourceEntry,
    },
    memory::Memory,
    name_table::NameTable,
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
    /// The offset and length of each section in bytes, by table and section kind.
    sections: [[(usize, usize); SECTION_KINDS]; TABLES],
}

const TABLES: usize = 13;
const SECTION_KINDS: usize = 12;

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

impl SourceEntry {
    pub(super) fn info(&self) -> SourceInfo<'_> {
        SourceInfo { name: &self.name, records: self.records, newest: Timestamp::from_seconds(self.newest) }
    }
}

/// Reads the number of records of each source from the manifest of a snapshot, without reading its records.
///
/// Fails with [`OpenError`] when the file cannot be read, or its header or manifest is not that of a valid snapshot. The
/// records are not verified.
pub fn read_sources(path: &Path) -> Result<Vec<(String, u64)>, OpenError> {
    let mut file = File::open(path)?;
    let header = read_file_header(&mut file)?;
    let bytes = header.manifest_bytes.get();
    if bytes > MANIFEST_BYTES_MAX {
        return Err(OpenError::invalid("the manifest does not end with the file"));
    }
    let mut stored = Vec::new();
    file.seek(SeekFrom::Start(header.manifest_offset.get()))?;
    file.take(bytes.into()).read_to_end(&mut stored)?;
    let manifest = read_manifest(&header, &stored)?;
    Ok(manifest.sources.into_iter().map(|source| (source.name, source.records)).collect())
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
        read_file_header(&mut file)?;
        let found = file.metadata()?.len();
        let bytes = usize::try_from(found)
            .map_err(|_| OpenError::invalid(format!("its {found} bytes exceed the address space")))?;
        Self::check(Memory::read(&file, bytes)?)
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
        let manifest = usize::try_from(header.manifest_offset.get()).ok().and_then(|start| memory.get(start..));
        let manifest = read_manifest(&header, manifest.unwrap_or_default())?;
        let created =
            Timestamp::from_seconds(manifest.created).ok_or_else(|| OpenError::invalid("it has no creation time"))?;
        let mut snapshot =
            Self { memory, manifest, root: header.root, created, sections: [[(0, 0); SECTION_KINDS]; TABLES] };
        snapshot.check_sections(header.manifest_offset.get() as usize)?;
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
        self.memory.len() as u64
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
            rows: s.bytes / u64::from(s.stride.max(1)),
            blake3: s.blake3,
        })
    }

    /// Returns the number of keys (indicators) of a kind.
    pub fn keys(&self, kind: KeyKind) -> u64 {
        self.count(kind, |table| self.rows::<RecordRow>(table, SectionKind::Records).len())
    }

    /// Returns the number of records of a kind.
    pub fn records(&self, kind: KeyKind) -> u64 {
        self.count(kind, |table| {
            self.rows::<RecordRow>(table, SectionKind::Records).len()
                + self.rows::<RecordRow>(table, SectionKind::MoreRecords).len()
        })
    }

    fn count(&self, kind: KeyKind, of: impl Fn(Table) -> usize) -> u64 {
        Table::all().filter(|table| table.kind() == Some(kind)).map(|table| of(table) as u64).sum()
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

    /// Returns the bytes of a section, which are empty if there is no such section.
    pub(crate) fn section(&self, table: Table, kind: SectionKind) -> &[u8] {
        let (offset, length) = self.sections[usize::from(table.number())][kind as usize];
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

    /// Checks that every section is known, lies between header and manifest and overlaps no other, and that the gaps
    /// are zero.
    fn check_sections(&mut self, manifest_offset: usize) -> Result<(), OpenError> {
        let mut end = size_of::<Header>();
        let mut by_offset: Vec<&SectionEntry> = self.manifest.sections.iter().collect();
        by_offset.sort_by_key(|s| s.offset);
        for section in by_offset {
            let (table, kind) = Table::from_number(section.table)
                .zip(SectionKind::from_number(section.kind))
                .ok_or_else(|| OpenError::invalid(format!("section {}.{} is unknown", section.table, section.kind)))?;
            let bad = |what: &str| OpenError::invalid(format!("the section {kind:?} of {table:?} {what}"));
            let stride = kind.stride(table).ok_or_else(|| bad("is not allowed in that table"))?;
            if section.stride != stride || section.bytes % u64::from(stride) != 0 || section.bytes == 0 {
                return Err(bad(&format!(
                    "has {} bytes with a row size of {}, expected rows of {stride}",
                    section.bytes, section.stride
                )));
            }
            let range = usize::try_from(section.offset)
                .ok()
                .zip(usize::try_from(section.bytes).ok())
                .and_then(|(offset, bytes)| Some((offset, offset.checked_add(bytes)?)));
            let Some((start, section_end)) = range.filter(|&(_, end)| end <= manifest_offset) else {
                return Err(bad("extends past the start of the manifest"));
            };
            if start % SECTION_ALIGNMENT as usize != 0 {
                return Err(bad("does not start at a multiple of 64"));
            }
            if start < end {
                return Err(bad("overlaps another section"));
            }
            if start - end >= SECTION_ALIGNMENT as usize || self.memory[end..start].iter().any(|&b| b != 0) {
                return Err(bad("is preceded by bytes of no section"));
            }
            let entry = &mut self.sections[usize::from(section.table)][usize::from(section.kind)];
            if entry.1 != 0 {
                return Err(bad("occurs twice"));
            }
            *entry = (start, section_end - start);
            end = section_end;
        }
        let gap = &self.memory[end..manifest_offset];
        if gap.len() >= SECTION_ALIGNMENT as usize || gap.iter().any(|&b| b != 0) {
            return Err(OpenError::invalid("the manifest is preceded by bytes of no section"));
        }
        Ok(())
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

/// Reads and checks the header of a file.
fn read_file_header(file: &mut File) -> Result<Header, OpenError> {
    let found = file.metadata()?.len();
    let mut head = Vec::new();
    file.take(size_of::<Header>() as u64).read_to_end(&mut head)?;
    read_header(&head, found)
}

/// Parses and checks the header of a file of `found` bytes.
fn read_header(head: &[u8], found: u64) -> Result<Header, OpenError> {
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

/// Verifies and parses the manifest, whose bytes are the rest of the file.
fn read_manifest(header: &Header, stored: &[u8]) -> Result<Manifest, OpenError> {
    let (offset, bytes) = (header.manifest_offset.get(), header.manifest_bytes.get());
    let fits = bytes <= MANIFEST_BYTES_MAX
        && offset >= size_of::<Header>() as u64
        && offset.checked_add(bytes.into()) == Some(header.file_bytes.get())
        && stored.len() as u64 == u64::from(bytes);
    if !fits {
        return Err(OpenError::invalid("the manifest does not end with the file"));
    }
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
