//! Serialization of the sections from tables in final order.

use std::{cmp::Reverse, iter};

use rayon::slice::ParallelSliceMut;
use zerocopy::{
    IntoBytes,
    little_endian::{U32, U64},
};

use super::{
    buckets::{buckets_of, build_buckets},
    chunked_vec::ChunkedVec,
    layout::{BlockRow, ClassRow, RecordRow, RunRow, SectionKind, Table},
    manifest::{Header, Manifest, SECTION_ALIGNMENT, SectionEntry},
    names::SortedNames,
    output::{Output, SectionWriter},
    sort_entries::{SortEntries, SortEntry, TableKey, WebKey},
    tables::Tables,
    web_hash,
};
use crate::key::{DigestKind, Ipv4Block, Scope, ScopeSet};

/// The content of all sections.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) names: SortedNames,
    pub(super) classes: Vec<ClassRow>,
    pub(super) tables: Tables,
}

impl Content {
    /// Adds the layout of all sections, the hash seed and the scopes of web expressions to the manifest. Returns the
    /// end offset of the sections.
    pub(super) fn plan(&self, manifest: &mut Manifest) -> u64 {
        let mut plan = Plan { end: size_of::<Header>() as u64, sections: &mut manifest.sections };
        plan.section(Table::Shared, SectionKind::NameEnds, self.names.len() as u64);
        plan.section(Table::Shared, SectionKind::NameText, self.names.bytes());
        plan.section(Table::Shared, SectionKind::Classes, self.classes.len() as u64);
        for (table, digests) in self.digests() {
            plan.section(table, SectionKind::Buckets, bucket_rows(digests.keys));
            plan.section(table, SectionKind::Digests, digests.keys);
            plan.records(table, digests);
        }
        let web = &self.tables.web;
        plan.section(Table::Web, SectionKind::Buckets, bucket_rows(web.keys));
        plan.section(Table::Web, SectionKind::ExpressionEnds, web.keys);
        plan.section(
            Table::Web,
            SectionKind::ExpressionText,
            expressions(web).map(|(_, text)| text.len() as u64 + 1).sum(),
        );
        plan.records(Table::Web, web);
        plan.section(Table::Ipv4, SectionKind::Blocks, self.tables.ipv4.keys);
        plan.records(Table::Ipv4, &self.tables.ipv4);
        let end = plan.end;
        if web.keys > 0 {
            manifest.web_seed = seed(&manifest.dataset, web);
            manifest.web_scopes = expressions(web).fold(ScopeSet::default(), |all, (scope, _)| all.with(scope)).bits();
        }
        end
    }

    /// Writes every section. `position` returns the index of a section in the plan, if it has one.
    pub(super) fn write(&self, web_seed: u64, output: &Output, position: impl Fn(Table, SectionKind) -> Option<usize>) {
        let writer = |table, kind| output.writer(position(table, kind));
        self.shared(&writer);
        for (table, digests) in self.digests() {
            self.digest_table(&writer, table, digests);
        }
        self.web(&writer, web_seed);
        self.ipv4(&writer);
    }

    /// Returns the tables of digests, in file order.
    fn digests(&self) -> impl Iterator<Item = (Table, &SortEntries<[u8; 32]>)> {
        let of_kinds = DigestKind::ALL.into_iter().map(Table::Digest).zip(&self.tables.digests);
        of_kinds.chain([(Table::WebSha256, &self.tables.web_sha256)])
    }

    fn shared<'o>(&self, writer: &impl Fn(Table, SectionKind) -> SectionWriter<'o>) {
        let (mut ends, mut text) =
            (writer(Table::Shared, SectionKind::NameEnds), writer(Table::Shared, SectionKind::NameText));
        let mut end = 0;
        for name in self.names.iter() {
            text.put(name.as_bytes());
            end += name.len() as u32;
            ends.put(U32::new(end).as_bytes());
        }
        let mut classes = writer(Table::Shared, SectionKind::Classes);
        self.classes.iter().for_each(|class| classes.put(class.as_bytes()));
    }

    fn digest_table<'o>(
        &self,
        writer: &impl Fn(Table, SectionKind) -> SectionWriter<'o>,
        table: Table,
        sorted: &SortEntries<[u8; 32]>,
    ) {
        let mut buckets = writer(table, SectionKind::Buckets);
        let (mut digests, mut records) = (writer(table, SectionKind::Digests), writer(table, SectionKind::Records));
        let width = table.digest_width().unwrap_or_default();
        let mut put = |(key, row): (&[u8; 32], RecordRow)| {
            digests.put(&key[..width]);
            records.put(row.as_bytes());
        };
        let keys = keys(self, writer, table, sorted).map(|(key, row)| (key.prefix().to_be_bytes(), (key, row)));
        let tail = build_buckets(sorted.keys, keys, |bucket, slots| {
            buckets.put(bucket.as_bytes());
            slots.iter().for_each(|&(_, key)| put(key));
        });
        tail.into_iter().for_each(put);
    }

    fn web<'o>(&self, writer: &impl Fn(Table, SectionKind) -> SectionWriter<'o>, seed: u64) {
        let sorted = &self.tables.web;
        let keys: Vec<(&WebKey, RecordRow)> = keys(self, writer, Table::Web, sorted).collect();
        let hashed = keys.iter().zip(0u32..);
        let mut by_hash: Vec<([u8; 8], u32)> =
            hashed.map(|((key, _), n)| (web_hash(seed, key.0, key.1.as_bytes()), n)).collect();
        by_hash.par_sort_unstable();

        let mut buckets = writer(Table::Web, SectionKind::Buckets);
        let (mut ends, mut text) =
            (writer(Table::Web, SectionKind::ExpressionEnds), writer(Table::Web, SectionKind::ExpressionText));
        let mut records = writer(Table::Web, SectionKind::Records);
        let mut end = 0;
        let mut put = |n: u32| {
            let ((scope, expression), row) = keys[n as usize];
            text.put(&[*scope as u8]);
            text.put(expression.as_bytes());
            end += 1 + expression.len() as u64;
            ends.put(U64::new(end).as_bytes());
            records.put(row.as_bytes());
        };
        let tail = build_buckets(sorted.keys, by_hash.into_iter(), |bucket, slots| {
            buckets.put(bucket.as_bytes());
            slots.iter().for_each(|&(_, n)| put(n));
        });
        tail.into_iter().for_each(put);
    }

    fn ipv4<'o>(&self, writer: &impl Fn(Table, SectionKind) -> SectionWriter<'o>) {
        let (mut blocks, mut records) =
            (writer(Table::Ipv4, SectionKind::Blocks), writer(Table::Ipv4, SectionKind::Records));
        for (block, row) in keys(self, writer, Table::Ipv4, &self.tables.ipv4) {
            let block: &Ipv4Block = block;
            let (first, last) = (u32::from(block.first()).into(), u32::from(block.last()).into());
            blocks.put(BlockRow { first, last }.as_bytes());
            records.put(row.as_bytes());
        }
    }
}

fn bucket_rows(keys: u64) -> u64 {
    if keys == 0 { 0 } else { buckets_of(keys) as u64 + 1 }
}

/// Returns every distinct expression.
fn expressions(web: &SortEntries<WebKey>) -> impl Iterator<Item = (Scope, &str)> {
    let mut entries = web.partitions.iter().flat_map(ChunkedVec::iter).peekable();
    iter::from_fn(move || {
        let SortEntry { key, .. } = entries.next()?;
        while entries.next_if(|entry| entry.key == *key).is_some() {}
        Some((key.0, &*key.1))
    })
}

/// Derives the hash seed from all expressions, so that the author of a feed cannot predict the bucket of an expression.
fn seed(dataset: &str, web: &SortEntries<WebKey>) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("ksn 2026-11-22 seed of web expressions");
    hasher.update(dataset.as_bytes());
    for (scope, expression) in expressions(web) {
        hasher.update(&[scope as u8]);
        hasher.update(expression.as_bytes());
    }
    let mut seed = [0; 8];
    seed.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(seed)
}

/// The layout of the sections, built in file order.
struct Plan<'m> {
    end: u64,
    sections: &'m mut Vec<SectionEntry>,
}

impl Plan<'_> {
    /// Appends a section, unless it is empty.
    fn section(&mut self, table: Table, kind: SectionKind, rows: u64) {
        if rows == 0 {
            return;
        }
        let stride = kind.stride(table).expect("a section that the table can have");
        let (offset, bytes) = (self.end.next_multiple_of(SECTION_ALIGNMENT), rows * u64::from(stride));
        let (table, kind) = (table.number(), kind as u8);
        self.sections.push(SectionEntry { table, kind, stride, offset, bytes, blake3: [0; 32] });
        self.end = offset + bytes;
    }

    fn records<K: TableKey>(&mut self, table: Table, sorted: &SortEntries<K>) {
        self.section(table, SectionKind::Records, sorted.keys);
        self.section(table, SectionKind::Runs, sorted.shared_keys);
        self.section(table, SectionKind::MoreRecords, sorted.len - sorted.keys);
    }
}

/// Returns the keys of a table, each with its first record, and writes the further records as it advances.
fn keys<'a, 'o, K: TableKey>(
    content: &'a Content,
    writer: &impl Fn(Table, SectionKind) -> SectionWriter<'o>,
    table: Table,
    sorted: &'a SortEntries<K>,
) -> impl Iterator<Item = (&'a K, RecordRow)> {
    let mut entries = sorted.partitions.iter().flat_map(ChunkedVec::iter).peekable();
    let (mut runs, mut more) = (writer(table, SectionKind::Runs), writer(table, SectionKind::MoreRecords));
    let (mut run_count, mut more_count) = (0, 0);
    let mut rows: Vec<RecordRow> = Vec::new();
    iter::from_fn(move || {
        let SortEntry { key, row } = entries.next()?;
        let Some(second) = entries.next_if(|entry| entry.key == *key) else { return Some((key, *row)) };
        rows.clear();
        rows.extend([*row, second.row]);
        while let Some(entry) = entries.next_if(|entry| entry.key == *key) {
            rows.push(entry.row);
        }
        // The likely winner comes first, so that most keys need only the cache line of their first record.
        rows.sort_by_key(|row| {
            let class = &content.classes[row.class.get() as usize];
            (class.record_type, Reverse(row.timestamp.get()), class.source.get())
        });
        let (mut head, count) = (rows[0], rows.len() as u32 - 1);
        runs.put(RunRow { class: head.class, first: U32::new(more_count), count: count.into() }.as_bytes());
        more.put(rows[1..].as_bytes());
        head.class = (run_count | RecordRow::HAS_MORE).into();
        run_count += 1;
        more_count += count;
        Some((key, head))
    })
}
