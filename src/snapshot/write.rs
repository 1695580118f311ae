//! The bytes of a snapshot, from tables in final order.

use std::{fs, io::Write, path::Path};

use zerocopy::{
    IntoBytes,
    little_endian::{U32, U64},
};

use super::{
    error::BuildError,
    info::SnapshotInfo,
    layout::{
        BUCKET_KEYS_MEAN, BUCKET_SLOTS, BlockRow, Bucket, ClassRow, RecordRow, Role, RunRow, Table, bucket_of,
        fingerprint_of,
    },
    manifest::{FORMAT_VERSION, Header, MAGIC, Manifest, SECTION_ALIGNMENT, SectionEntry, SourceEntry},
};
use crate::{
    key::{Ipv4Block, Scope, ScopeSet},
    snapshot::web_hash,
};

/// What became of the records that were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildSummary {
    /// Records in the snapshot.
    pub records: u64,
    /// Records that were another one's equal, by the number of the input that they came from.
    pub duplicates: Vec<u64>,
}

/// A table in final order: keys ascending, each with its records.
#[derive(Debug)]
pub(crate) struct SortedTable<K> {
    pub(crate) keys: Vec<K>,
    /// The first record of every key.
    pub(crate) records: Vec<RecordRow>,
    pub(crate) runs: Vec<RunRow>,
    pub(crate) more: Vec<RecordRow>,
}

/// A finished snapshot in memory.
#[derive(Debug)]
pub struct BuiltSnapshot {
    pub(super) bytes: Vec<u8>,
    pub(super) summary: BuildSummary,
}

impl BuiltSnapshot {
    /// The bytes of the file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the file.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What became of the records.
    pub fn summary(&self) -> &BuildSummary {
        &self.summary
    }

    /// Writes the file so that it is there whole or not at all: a temporary file beside it is written, synced and
    /// renamed.
    pub fn write(&self, path: &Path) -> Result<(), BuildError> {
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".ksn-").suffix(".tmp").tempfile_in(directory)?;
        file.write_all(&self.bytes)?;
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
}

/// The sections written so far.
pub(super) struct Sections {
    bytes: Vec<u8>,
    manifest: Manifest,
}

impl Sections {
    pub(super) fn new(info: &SnapshotInfo, sources: Vec<SourceEntry>) -> Self {
        let manifest = Manifest {
            dataset: info.dataset.clone(),
            generation: info.generation,
            created: info.created.seconds(),
            key_range: (0, u32::MAX),
            web_seed: 0,
            web_scopes: 0,
            sources,
            compiled_with: info.compiled_with.clone().into_iter().collect(),
            sections: Vec::new(),
        };
        Self { bytes: vec![0; size_of::<Header>()], manifest }
    }

    /// Appends a section, unless it is empty.
    fn push(&mut self, table: Table, role: Role, content: &[u8]) {
        if content.is_empty() {
            return;
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(SECTION_ALIGNMENT as usize), 0);
        self.manifest.sections.push(SectionEntry {
            table: table.number(),
            role: role as u8,
            stride: role.stride(table).expect("a table is given only sections that it has"),
            offset: self.bytes.len() as u64,
            bytes: content.len() as u64,
            blake3: *blake3::hash(content).as_bytes(),
        });
        self.bytes.extend_from_slice(content);
    }

    pub(super) fn shared(&mut self, names: &[String], classes: impl Iterator<Item = ClassRow>) {
        let mut ends = Vec::with_capacity(names.len());
        let mut text = Vec::new();
        for name in names {
            text.extend_from_slice(name.as_bytes());
            ends.push(U32::new(text.len() as u32));
        }
        self.push(Table::Shared, Role::NameEnds, ends.as_bytes());
        self.push(Table::Shared, Role::NameText, &text);
        self.push(Table::Shared, Role::Classes, classes.collect::<Vec<_>>().as_bytes());
    }

    pub(super) fn digests<K>(&mut self, table: Table, sorted: SortedTable<K>, bytes: impl Fn(&K) -> &[u8]) {
        let prefix = |key: &K| {
            let mut prefix = [0; 8];
            prefix.copy_from_slice(&bytes(key)[..8]);
            prefix
        };
        let placed = place(sorted.keys.len(), |n| prefix(&sorted.keys[n]));
        let mut digests = Vec::with_capacity(sorted.keys.len() * table.digest_width().unwrap_or(0));
        for &n in &placed.order {
            digests.extend_from_slice(bytes(&sorted.keys[n as usize]));
        }
        self.push(table, Role::Buckets, placed.buckets.as_bytes());
        self.push(table, Role::Digests, &digests);
        self.records(table, &placed.order, &sorted);
    }

    pub(super) fn web(&mut self, sorted: SortedTable<(Scope, Box<str>)>) {
        if sorted.keys.is_empty() {
            return;
        }
        // The seed depends on all expressions: who writes one into a feed cannot know where it will land.
        let mut hasher = blake3::Hasher::new_derive_key("ksn 2026-11-22 seed of web expressions");
        hasher.update(self.manifest.dataset.as_bytes());
        for (scope, expression) in &sorted.keys {
            hasher.update(&[*scope as u8]);
            hasher.update(expression.as_bytes());
        }
        let mut seed = [0; 8];
        seed.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        let seed = u64::from_le_bytes(seed);
        self.manifest.web_seed = seed;
        self.manifest.web_scopes =
            sorted.keys.iter().fold(ScopeSet::default(), |scopes, (scope, _)| scopes.with(*scope)).bits();

        let mut by_hash: Vec<([u8; 8], u32)> = sorted
            .keys
            .iter()
            .zip(0..)
            .map(|((scope, expression), n)| (web_hash(seed, *scope, expression.as_bytes()), n))
            .collect();
        by_hash.sort_unstable();
        let placed = place(by_hash.len(), |n| by_hash[n].0);
        let order: Vec<u32> = placed.order.iter().map(|&n| by_hash[n as usize].1).collect();
        let mut ends = Vec::with_capacity(order.len());
        let mut text = Vec::new();
        for &n in &order {
            let (scope, expression) = &sorted.keys[n as usize];
            text.push(*scope as u8);
            text.extend_from_slice(expression.as_bytes());
            ends.push(U64::new(text.len() as u64));
        }
        self.push(Table::Web, Role::Buckets, placed.buckets.as_bytes());
        self.push(Table::Web, Role::ExpressionEnds, ends.as_bytes());
        self.push(Table::Web, Role::ExpressionText, &text);
        self.records(Table::Web, &order, &sorted);
    }

    pub(super) fn ipv4(&mut self, sorted: SortedTable<Ipv4Block>) {
        let blocks: Vec<BlockRow> = sorted
            .keys
            .iter()
            .map(|block| BlockRow { first: u32::from(block.first()).into(), last: u32::from(block.last()).into() })
            .collect();
        let order: Vec<u32> = (0..blocks.len() as u32).collect();
        self.push(Table::Ipv4, Role::Blocks, blocks.as_bytes());
        self.records(Table::Ipv4, &order, &sorted);
    }

    fn records<K>(&mut self, table: Table, order: &[u32], sorted: &SortedTable<K>) {
        let records: Vec<RecordRow> = order.iter().map(|&n| sorted.records[n as usize]).collect();
        self.push(table, Role::Records, records.as_bytes());
        self.push(table, Role::Runs, sorted.runs.as_bytes());
        self.push(table, Role::MoreRecords, sorted.more.as_bytes());
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, BuildError> {
        self.manifest.sections.sort_by_key(|s| (s.table, s.role));
        let manifest = rkyv::to_bytes::<rkyv::rancor::Error>(&self.manifest)
            .map_err(|e| BuildError::Io(std::io::Error::other(e)))?;
        self.bytes.resize(self.bytes.len().next_multiple_of(SECTION_ALIGNMENT as usize), 0);
        let manifest_offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(&manifest);
        let mut header = Header {
            magic: MAGIC,
            version: FORMAT_VERSION.into(),
            must_understand: 0.into(),
            file_bytes: (self.bytes.len() as u64).into(),
            manifest_offset: manifest_offset.into(),
            manifest_bytes: (manifest.len() as u32).into(),
            reserved: [0; 60],
            root: [0; 32],
        };
        header.root = header.root_over(&manifest);
        self.bytes[..size_of::<Header>()].copy_from_slice(header.as_bytes());
        Ok(self.bytes)
    }
}

/// Where keys end up: the buckets, and the keys in their order.
struct Placed {
    buckets: Vec<Bucket>,
    /// Positions in the sorted list of keys, in the order of buckets, then the tail.
    order: Vec<u32>,
}

/// Places keys, given in ascending order of their first eight bytes, into buckets.
fn place(keys: usize, prefix: impl Fn(usize) -> [u8; 8]) -> Placed {
    let count = (keys as u64).div_ceil(BUCKET_KEYS_MEAN) as usize;
    let mut starts = vec![0u32; count + 1];
    for n in 0..keys {
        starts[bucket_of(prefix(n), count) + 1] += 1;
    }
    for b in 0..count {
        starts[b + 1] += starts[b];
    }
    let own = |b: usize| starts.get(b + 1).map_or(BUCKET_SLOTS, |end| (end - starts[b]) as usize);

    let mut buckets = Vec::with_capacity(count);
    let mut order = Vec::with_capacity(keys);
    let mut tail = Vec::new();
    let mut overflow: Vec<u32> = Vec::new();
    for b in 0..count {
        let mut slots: Vec<u32> = (starts[b]..starts[b + 1]).take(BUCKET_SLOTS).collect();
        let rest = (starts[b]..starts[b + 1]).skip(BUCKET_SLOTS);
        slots.append(&mut overflow);
        let room = BUCKET_SLOTS - own(b + 1).min(BUCKET_SLOTS);
        overflow.extend(rest.clone().take(room));
        tail.extend(rest.skip(room));

        let mut fingerprints = [U32::ZERO; BUCKET_SLOTS];
        for (slot, &n) in fingerprints.iter_mut().zip(&slots) {
            *slot = fingerprint_of(prefix(n as usize)).into();
        }
        let mut meta = order.len() as u32;
        if !overflow.is_empty() {
            meta |= Bucket::OVERFLOWS;
        }
        if own(b) > BUCKET_SLOTS + room {
            meta |= Bucket::HAS_TAIL;
        }
        buckets.push(Bucket { fingerprints, meta: meta.into() });
        order.extend(slots);
    }
    if count > 0 {
        buckets.push(Bucket { fingerprints: [U32::ZERO; BUCKET_SLOTS], meta: (order.len() as u32).into() });
    }
    order.extend(tail);
    Placed { buckets, order }
}
