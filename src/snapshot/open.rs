//! Opening a snapshot: everything is checked once, so that nothing has to be checked per lookup.

use std::{fs::File, path::Path, thread};

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

use super::{
    error::OpenError,
    info::is_dataset_name,
    layout::{BUCKET_KEYS_MEAN, BlockRow, Bucket, ClassRow, RecordRow, Role, RunRow, TABLE_KEYS_MAX, Table},
    manifest::{FORMAT_VERSION, Header, MAGIC, MANIFEST_BYTES_MAX, Manifest, SECTION_ALIGNMENT, SectionEntry},
    memory::Memory,
    name_table::NameTable,
};
use crate::{
    key::{Hex, KeyKind, Scope, ScopeSet},
    record::RecordType,
    timestamp::Timestamp,
};

/// A snapshot that was opened and found sound.
pub struct Snapshot {
    memory: Memory,
    manifest: Manifest,
    root: [u8; 32],
    created: Timestamp,
    /// Offset and length of each section, by table and role.
    sections: [[(usize, usize); ROLES]; TABLES],
}

const TABLES: usize = 13;
const ROLES: usize = 12;

/// A source of records, as a snapshot knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its records.
    pub records: u64,
    /// The time of its newest record.
    pub newest: Option<Timestamp>,
}

/// A section, as `ksn inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionInfo {
    /// The kind of key it belongs to; `None` for what all kinds share.
    pub kind: Option<KeyKind>,
    /// What it holds.
    pub role: String,
    /// Where it starts.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// The BLAKE3 of its bytes.
    pub blake3: [u8; 32],
}

impl Snapshot {
    /// Reads a snapshot into memory of its own and checks it. The file may be replaced afterwards.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let mut file = File::open(path)?;
        let found = file.metadata()?.len();
        // The header is checked before memory is taken for the rest.
        let mut head = [0; size_of::<Header>()];
        let mut filled = 0;
        while filled < head.len() {
            match std::io::Read::read(&mut file, &mut head[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        read_header(&head[..filled], found)?;
        std::io::Seek::rewind(&mut file)?;
        let bytes = usize::try_from(found).map_err(|_| OpenError::invalid("it is larger than memory can address"))?;
        Self::check(Memory::read(file, bytes)?)
    }

    /// Maps a snapshot instead of reading it: it is there at once and its pages are shared between processes.
    ///
    /// # Safety
    ///
    /// The file must not be changed or truncated as long as the snapshot lives: its content was checked once, and a
    /// page that is gone kills the process. Replacing it by renaming another over it is safe.
    #[allow(unsafe_code)]
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Self::check(Memory::Owned(Vec::new()));
        }
        // SAFETY: the caller promises that the file stays as it is.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Self::check(Memory::Mapped(map))
    }

    /// Takes a snapshot that is in memory already.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, OpenError> {
        Self::check(Memory::Owned(bytes))
    }

    fn check(memory: Memory) -> Result<Self, OpenError> {
        let header = read_header(&memory, memory.len() as u64)?;
        let manifest = read_manifest(&header, &memory)?;
        let created =
            Timestamp::from_seconds(manifest.created).ok_or_else(|| OpenError::invalid("it has no creation time"))?;
        let mut snapshot = Self { memory, manifest, root: header.root, created, sections: [[(0, 0); ROLES]; TABLES] };
        snapshot.check_sections(header.manifest_offset.get() as usize)?;
        snapshot.check_checksums()?;
        snapshot.check_content()?;
        Ok(snapshot)
    }

    /// The dataset that it is a generation of.
    pub fn dataset(&self) -> &str {
        &self.manifest.dataset
    }

    /// The number of its generation.
    pub fn generation(&self) -> u64 {
        self.manifest.generation
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// The checksum that stands for the whole file.
    pub fn root(&self) -> [u8; 32] {
        self.root
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.memory.len() as u64
    }

    /// The sources, by name. A record's source number counts them from 0.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = SourceInfo<'_>> {
        self.manifest.sources.iter().map(|s| SourceInfo {
            name: &s.name,
            records: s.records,
            newest: Timestamp::from_seconds(s.newest),
        })
    }

    /// What was compiled in: name and version.
    pub fn compiled_with(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.manifest.compiled_with.iter().map(|(name, version)| (&**name, &**version))
    }

    /// Its sections.
    pub fn sections(&self) -> impl ExactSizeIterator<Item = SectionInfo> {
        self.manifest.sections.iter().map(|s| SectionInfo {
            kind: Table::from_number(s.table).and_then(Table::kind),
            role: Role::from_number(s.role).map(|role| format!("{role:?}")).unwrap_or_default(),
            offset: s.offset,
            bytes: s.bytes,
            rows: s.bytes / u64::from(s.stride.max(1)),
            blake3: s.blake3,
        })
    }

    /// Keys (indicators) that answer a kind.
    pub fn keys(&self, kind: KeyKind) -> u64 {
        self.count(kind, |table| self.rows::<RecordRow>(table, Role::Records).len())
    }

    /// Records that answer a kind.
    pub fn records(&self, kind: KeyKind) -> u64 {
        self.count(kind, |table| {
            self.rows::<RecordRow>(table, Role::Records).len() + self.rows::<RecordRow>(table, Role::MoreRecords).len()
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

    /// The detection names.
    #[allow(unsafe_code)]
    pub(crate) fn names(&self) -> NameTable<'_> {
        let (ends, text) = self.name_sections();
        // SAFETY: `check_content` accepted these sections when the snapshot was opened.
        unsafe { NameTable::of_checked(ends, text) }
    }

    fn name_sections(&self) -> (&[U32], &[u8]) {
        (self.rows(Table::Shared, Role::NameEnds), self.section(Table::Shared, Role::NameText))
    }

    /// The bytes of a section; none when it is absent.
    pub(crate) fn section(&self, table: Table, role: Role) -> &[u8] {
        let (offset, length) = self.sections[usize::from(table.number())][role as usize];
        &self.memory[offset..offset + length]
    }

    /// The rows of a section; none when it is absent.
    pub(crate) fn rows<T: FromBytes + Immutable + KnownLayout + Unaligned>(&self, table: Table, role: Role) -> &[T] {
        <[T]>::ref_from_bytes(self.section(table, role)).expect("the length was checked when it was opened")
    }

    /// Every section is one that is known, lies whole between header and manifest, overlaps no other, and leaves only
    /// zeros between.
    fn check_sections(&mut self, manifest_offset: usize) -> Result<(), OpenError> {
        let mut end = size_of::<Header>();
        let mut by_offset: Vec<&SectionEntry> = self.manifest.sections.iter().collect();
        by_offset.sort_by_key(|s| s.offset);
        for section in by_offset {
            let (table, role) = Table::from_number(section.table)
                .zip(Role::from_number(section.role))
                .ok_or_else(|| OpenError::invalid(format!("section {}.{} is unknown", section.table, section.role)))?;
            let bad = |what: &str| OpenError::invalid(format!("the section {role:?} of {table:?} {what}"));
            let stride = role.stride(table).ok_or_else(|| bad("has no place in that table"))?;
            if section.stride != stride || section.bytes % u64::from(stride) != 0 || section.bytes == 0 {
                return Err(bad(&format!("has {} bytes, not rows of {stride}", section.bytes)));
            }
            let range = usize::try_from(section.offset)
                .ok()
                .zip(usize::try_from(section.bytes).ok())
                .and_then(|(offset, bytes)| Some((offset, offset.checked_add(bytes)?)));
            let Some((start, section_end)) = range.filter(|&(_, end)| end <= manifest_offset) else {
                return Err(bad("reaches into the manifest or past the end"));
            };
            if start % SECTION_ALIGNMENT as usize != 0 {
                return Err(bad("does not start at a multiple of 64"));
            }
            if start < end {
                return Err(bad("overlaps another"));
            }
            if start - end >= SECTION_ALIGNMENT as usize || self.memory[end..start].iter().any(|&b| b != 0) {
                return Err(bad("has bytes before it that belong to nothing"));
            }
            let place = &mut self.sections[usize::from(section.table)][usize::from(section.role)];
            if place.1 != 0 {
                return Err(bad("occurs twice"));
            }
            *place = (start, section_end - start);
            end = section_end;
        }
        let gap = &self.memory[end..manifest_offset];
        if gap.len() >= SECTION_ALIGNMENT as usize || gap.iter().any(|&b| b != 0) {
            return Err(OpenError::invalid("bytes before the manifest belong to nothing"));
        }
        Ok(())
    }

    /// Every section has its BLAKE3. Two threads, because that is what the smallest server has.
    fn check_checksums(&self) -> Result<(), OpenError> {
        let check = |section: &SectionEntry| {
            let bytes = &self.memory[section.offset as usize..][..section.bytes as usize];
            let found = blake3::hash(bytes);
            if *found.as_bytes() == section.blake3 {
                return Ok(());
            }
            let table = Table::from_number(section.table);
            let role = Role::from_number(section.role);
            Err(OpenError::Checksum {
                what: format!("section {role:?} of {table:?}").replace("Some", ""),
                expected: Hex(&section.blake3).to_string(),
                found: found.to_hex().to_string(),
            })
        };
        if self.memory.len() < 1 << 20 {
            return self.manifest.sections.iter().try_for_each(check);
        }
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            while let Some(section) =
                self.manifest.sections.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
            {
                check(section)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let other = scope.spawn(work);
            work().and(other.join().unwrap_or_else(|_| Err(OpenError::invalid("a check failed"))))
        })
    }

    /// Every number in a row points at something that is there.
    fn check_content(&self) -> Result<(), OpenError> {
        let (names, text) = self.name_sections();
        NameTable::check(names, text)?;
        let classes = self.rows::<ClassRow>(Table::Shared, Role::Classes);
        for (n, class) in classes.iter().enumerate() {
            let known = usize::from(class.source.get()) < self.manifest.sources.len()
                && RecordType::from_number(class.record_type).is_some();
            if !known {
                return Err(OpenError::invalid(format!("class {n} has an unknown source or record type")));
            }
        }
        for table in Table::all() {
            self.check_records(table, names.len(), classes.len())?;
            match table {
                Table::Web => self.check_expressions()?,
                Table::Ipv4 => self.check_blocks()?,
                _ => {
                    let digests = self.section(table, Role::Digests);
                    self.check_key_count(table, digests.len() / table.digest_width().unwrap_or(1))?;
                }
            }
            self.check_buckets(table)?;
        }
        Ok(())
    }

    fn check_records(&self, table: Table, names: usize, classes: usize) -> Result<(), OpenError> {
        let runs = self.rows::<RunRow>(table, Role::Runs);
        let more = self.rows::<RecordRow>(table, Role::MoreRecords);
        let bad = |what: &str, n: usize| OpenError::invalid(format!("{what} {n} of {table:?} points at nothing"));
        for (n, record) in self.rows::<RecordRow>(table, Role::Records).iter().enumerate() {
            let class = record.class.get();
            let sound = match class & RecordRow::HAS_MORE {
                0 => (class as usize) < classes,
                _ => ((class & !RecordRow::HAS_MORE) as usize) < runs.len(),
            };
            if !sound || record.name.get() as usize >= names {
                return Err(bad("record", n));
            }
        }
        for (n, record) in more.iter().enumerate() {
            if record.class.get() as usize >= classes || record.name.get() as usize >= names {
                return Err(bad("further record", n));
            }
        }
        for (n, run) in runs.iter().enumerate() {
            let end = u64::from(run.first.get()) + u64::from(run.count.get());
            if run.class.get() as usize >= classes || end > more.len() as u64 {
                return Err(bad("run", n));
            }
        }
        Ok(())
    }

    fn check_key_count(&self, table: Table, keys: usize) -> Result<(), OpenError> {
        let records = self.rows::<RecordRow>(table, Role::Records).len();
        if keys != records || keys as u64 > TABLE_KEYS_MAX {
            return Err(OpenError::invalid(format!("{table:?} has {keys} keys but {records} records")));
        }
        Ok(())
    }

    /// Bucket `b` starts where the ones before it end; a probe then stays within the table.
    fn check_buckets(&self, table: Table) -> Result<(), OpenError> {
        let buckets = self.rows::<Bucket>(table, Role::Buckets);
        let keys = self.rows::<RecordRow>(table, Role::Records).len();
        let expected = if table == Table::Ipv4 || keys == 0 { 0 } else { (keys as u64).div_ceil(BUCKET_KEYS_MEAN) + 1 };
        if buckets.len() as u64 != expected {
            return Err(OpenError::invalid(format!("{table:?} has {} buckets for {keys} keys", buckets.len())));
        }
        let ascending = buckets.windows(2).all(|w| {
            let (first, next) = (w[0].first_key(), w[1].first_key());
            first <= next && next - first <= super::layout::BUCKET_SLOTS as u32
        });
        let starts = buckets.first().is_none_or(|b| b.first_key() == 0);
        let ends = buckets.last().is_none_or(|b| b.first_key() as usize <= keys);
        if !(ascending && starts && ends) {
            return Err(OpenError::invalid(format!("the buckets of {table:?} are out of order")));
        }
        Ok(())
    }

    fn check_expressions(&self) -> Result<(), OpenError> {
        let ends = self.rows::<U64>(Table::Web, Role::ExpressionEnds);
        let text = self.section(Table::Web, Role::ExpressionText);
        let scopes = ScopeSet::from_bits(self.manifest.web_scopes)
            .ok_or_else(|| OpenError::invalid("its scopes are unknown"))?;
        let mut start = 0;
        for (n, end) in ends.iter().enumerate() {
            let expression = usize::try_from(end.get()).ok().and_then(|end| text.get(start..end));
            let sound = expression.and_then(|e| e.split_first()).is_some_and(|(&scope, text)| {
                Scope::from_number(scope).is_some_and(|scope| scopes.contains(scope)) && text.is_ascii()
            });
            if !sound {
                return Err(OpenError::invalid(format!("web expression {n} is malformed")));
            }
            start = end.get() as usize;
        }
        if start != text.len() {
            return Err(OpenError::invalid("text follows the last web expression"));
        }
        self.check_key_count(Table::Web, ends.len())
    }

    fn check_blocks(&self) -> Result<(), OpenError> {
        let blocks = self.rows::<BlockRow>(Table::Ipv4, Role::Blocks);
        let order = |b: &BlockRow| (b.first.get(), std::cmp::Reverse(b.last.get()));
        if blocks.iter().any(|b| b.first.get() > b.last.get()) || !blocks.is_sorted_by(|a, b| order(a) < order(b)) {
            return Err(OpenError::invalid("the IPv4 blocks are out of order"));
        }
        self.check_key_count(Table::Ipv4, blocks.len())
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

/// Reads and checks the fixed header of a file of `found` bytes.
fn read_header(head: &[u8], found: u64) -> Result<Header, OpenError> {
    let magic = &head[..head.len().min(MAGIC.len())];
    if magic != MAGIC {
        // `\r\n` became `\n`, or the other way round.
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

fn read_manifest(header: &Header, memory: &[u8]) -> Result<Manifest, OpenError> {
    let (offset, bytes) = (header.manifest_offset.get(), header.manifest_bytes.get());
    let fits = bytes <= MANIFEST_BYTES_MAX
        && offset >= size_of::<Header>() as u64
        && offset.checked_add(bytes.into()) == Some(memory.len() as u64);
    if !fits {
        return Err(OpenError::invalid("the manifest does not end with the file"));
    }
    let stored = &memory[offset as usize..];
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
        .map_err(|e| OpenError::invalid(format!("the manifest cannot be read ({e})")))?;
    if !is_dataset_name(&manifest.dataset) {
        return Err(OpenError::invalid("its dataset has no proper name"));
    }
    if manifest.key_range != (0, u32::MAX) {
        return Err(OpenError::invalid("it is a shard, which this version cannot read"));
    }
    Ok(manifest)
}
