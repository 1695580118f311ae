//! What stands in each section, from tables in final order.

use std::{cmp::Reverse, iter};

use rayon::slice::ParallelSliceMut;
use zerocopy::{
    IntoBytes,
    little_endian::{U32, U64},
};

use super::{
    drafts::{Draft, Drafts, TableKey, WebKey},
    layout::{BlockRow, ClassRow, RecordRow, Role, RunRow, Table},
    manifest::{Header, Manifest, SECTION_ALIGNMENT, SectionEntry},
    names::SortedNames,
    output::{Output, Pen},
    part::Part,
    place::{buckets_of, place},
    tables::Tables,
    web_hash,
};
use crate::key::{DigestKind, Ipv4Block, Scope, ScopeSet};

/// Everything that is written into sections.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) names: SortedNames,
    pub(super) classes: Vec<ClassRow>,
    pub(super) tables: Tables,
}

impl Content {
    /// Says in the manifest where each section will lie, and how web expressions are hashed. Gives where the sections
    /// end.
    pub(super) fn plan(&self, manifest: &mut Manifest) -> u64 {
        let mut plan = Plan { end: size_of::<Header>() as u64, sections: &mut manifest.sections };
        plan.section(Table::Shared, Role::NameEnds, self.names.order.len() as u64);
        plan.section(Table::Shared, Role::NameText, self.names.names.bytes());
        plan.section(Table::Shared, Role::Classes, self.classes.len() as u64);
        for (table, digests) in self.digests() {
            plan.section(table, Role::Buckets, bucket_rows(digests.keys));
            plan.section(table, Role::Digests, digests.keys);
            plan.records(table, digests);
        }
        let web = &self.tables.web;
        plan.section(Table::Web, Role::Buckets, bucket_rows(web.keys));
        plan.section(Table::Web, Role::ExpressionEnds, web.keys);
        plan.section(Table::Web, Role::ExpressionText, expressions(web).map(|(_, text)| text.len() as u64 + 1).sum());
        plan.records(Table::Web, web);
        plan.section(Table::Ipv4, Role::Blocks, self.tables.ipv4.keys);
        plan.records(Table::Ipv4, &self.tables.ipv4);
        let end = plan.end;
        if web.keys > 0 {
            manifest.web_seed = seed(&manifest.dataset, web);
            manifest.web_scopes = expressions(web).fold(ScopeSet::default(), |all, (scope, _)| all.with(scope)).bits();
        }
        end
    }

    /// Writes every section. `place` gives the number of a section in the plan.
    pub(super) fn lay_out(&self, web_seed: u64, output: &Output, place: impl Fn(Table, Role) -> Option<usize>) {
        let pen = |table, role| output.pen(place(table, role));
        self.shared(&pen);
        for (table, digests) in self.digests() {
            self.digest_table(&pen, table, digests);
        }
        self.web(&pen, web_seed);
        self.ipv4(&pen);
    }

    /// The tables of digests, in the order of the file.
    fn digests(&self) -> impl Iterator<Item = (Table, &Drafts<[u8; 32]>)> {
        let of_kinds = DigestKind::ALL.into_iter().map(Table::Digest).zip(&self.tables.digests);
        of_kinds.chain([(Table::WebSha256, &self.tables.web_sha256)])
    }

    fn shared<'o>(&self, pen: &impl Fn(Table, Role) -> Pen<'o>) {
        let (mut ends, mut text) = (pen(Table::Shared, Role::NameEnds), pen(Table::Shared, Role::NameText));
        let mut end = 0;
        for name in self.names.iter() {
            text.put(name.as_bytes());
            end += name.len() as u32;
            ends.put(U32::new(end).as_bytes());
        }
        let mut classes = pen(Table::Shared, Role::Classes);
        self.classes.iter().for_each(|class| classes.put(class.as_bytes()));
    }

    fn digest_table<'o>(&self, pen: &impl Fn(Table, Role) -> Pen<'o>, table: Table, settled: &Drafts<[u8; 32]>) {
        let mut buckets = pen(table, Role::Buckets);
        let (mut digests, mut records) = (pen(table, Role::Digests), pen(table, Role::Records));
        let width = table.digest_width().unwrap_or_default();
        let mut put = |(key, row): (&[u8; 32], RecordRow)| {
            digests.put(&key[..width]);
            records.put(row.as_bytes());
        };
        let keys = keys(self, pen, table, settled).map(|(key, row)| (key.prefix().to_be_bytes(), (key, row)));
        let tail = place(settled.keys, keys, |bucket, slots| {
            buckets.put(bucket.as_bytes());
            slots.iter().for_each(|&(_, key)| put(key));
        });
        tail.into_iter().for_each(put);
    }

    fn web<'o>(&self, pen: &impl Fn(Table, Role) -> Pen<'o>, seed: u64) {
        let settled = &self.tables.web;
        let keys: Vec<(&WebKey, RecordRow)> = keys(self, pen, Table::Web, settled).collect();
        let hashed = keys.iter().zip(0u32..);
        let mut by_hash: Vec<([u8; 8], u32)> =
            hashed.map(|((key, _), n)| (web_hash(seed, key.0, key.1.as_bytes()), n)).collect();
        by_hash.par_sort_unstable();

        let mut buckets = pen(Table::Web, Role::Buckets);
        let (mut ends, mut text) = (pen(Table::Web, Role::ExpressionEnds), pen(Table::Web, Role::ExpressionText));
        let mut records = pen(Table::Web, Role::Records);
        let mut end = 0;
        let mut put = |n: u32| {
            let ((scope, expression), row) = keys[n as usize];
            text.put(&[*scope as u8]);
            text.put(expression.as_bytes());
            end += 1 + expression.len() as u64;
            ends.put(U64::new(end).as_bytes());
            records.put(row.as_bytes());
        };
        let tail = place(settled.keys, by_hash.into_iter(), |bucket, slots| {
            buckets.put(bucket.as_bytes());
            slots.iter().for_each(|&(_, n)| put(n));
        });
        tail.into_iter().for_each(put);
    }

    fn ipv4<'o>(&self, pen: &impl Fn(Table, Role) -> Pen<'o>) {
        let (mut blocks, mut records) = (pen(Table::Ipv4, Role::Blocks), pen(Table::Ipv4, Role::Records));
        for (block, row) in keys(self, pen, Table::Ipv4, &self.tables.ipv4) {
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

/// Every expression once.
fn expressions(web: &Drafts<WebKey>) -> impl Iterator<Item = (Scope, &str)> {
    let mut drafts = web.parts.iter().flat_map(Part::iter).peekable();
    iter::from_fn(move || {
        let Draft { key, .. } = drafts.next()?;
        while drafts.next_if(|draft| draft.key == *key).is_some() {}
        Some((key.0, &*key.1))
    })
}

/// The seed depends on all expressions: who writes one into a feed cannot know where it will land.
fn seed(dataset: &str, web: &Drafts<WebKey>) -> u64 {
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

struct Plan<'m> {
    end: u64,
    sections: &'m mut Vec<SectionEntry>,
}

impl Plan<'_> {
    /// The next section, unless it is empty.
    fn section(&mut self, table: Table, role: Role, rows: u64) {
        if rows == 0 {
            return;
        }
        let stride = role.stride(table).expect("a table is given only sections that it has");
        let (offset, bytes) = (self.end.next_multiple_of(SECTION_ALIGNMENT), rows * u64::from(stride));
        let (table, role) = (table.number(), role as u8);
        self.sections.push(SectionEntry { table, role, stride, offset, bytes, blake3: [0; 32] });
        self.end = offset + bytes;
    }

    fn records<K: TableKey>(&mut self, table: Table, settled: &Drafts<K>) {
        self.section(table, Role::Records, settled.keys);
        self.section(table, Role::Runs, settled.shared_keys);
        self.section(table, Role::MoreRecords, settled.len - settled.keys);
    }
}

/// The keys of a table, each with its first record. The others are written on the way.
fn keys<'a, 'o, K: TableKey>(
    content: &'a Content,
    pen: &impl Fn(Table, Role) -> Pen<'o>,
    table: Table,
    settled: &'a Drafts<K>,
) -> impl Iterator<Item = (&'a K, RecordRow)> {
    let mut drafts = settled.parts.iter().flat_map(Part::iter).peekable();
    let (mut runs, mut more) = (pen(table, Role::Runs), pen(table, Role::MoreRecords));
    let (mut run_count, mut more_count) = (0, 0);
    let mut rows: Vec<RecordRow> = Vec::new();
    iter::from_fn(move || {
        let Draft { key, row } = drafts.next()?;
        let Some(second) = drafts.next_if(|draft| draft.key == *key) else { return Some((key, *row)) };
        rows.clear();
        rows.extend([*row, second.row]);
        while let Some(draft) = drafts.next_if(|draft| draft.key == *key) {
            rows.push(draft.row);
        }
        // The likely winner first: most keys are then answered from their first record's line.
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
