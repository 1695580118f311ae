//! From records in any order to the sorted tables of a snapshot.

use std::collections::HashMap;

use super::{
    drafts::{Draft, Meaning, Tag},
    error::BuildError,
    info::{SnapshotInfo, is_dataset_name},
    layout::{ClassRow, RecordRow},
    manifest::SourceEntry,
    names::{Names, SortedNames, Wanted, ranks},
    sections::Content,
    tables::{Numbers, Tables, too_many},
    unique::IdFilter,
    write::{BuildSummary, BuiltSnapshot},
};
use crate::{
    key::Indicator,
    limits::SOURCES_MAX,
    record::{Listing, RecordSink},
    timestamp::Timestamp,
};

/// A snapshot under construction: a [`RecordSink`] that keeps all records in memory until they are written.
///
/// The order in which records are added does not matter. Records of the same source and ID under the same indicator
/// are one; the newest is kept.
///
/// A record takes 52 bytes, and its name what it is long, once for all that share it; nothing is allocated for a single
/// record. So large sets for a benchmark need no more than a loop:
///
/// ```
/// use ksn::{key::{Digest, DigestKind, Indicator}, record::{Listing, RecordSink, RecordType}, snapshot::*};
///
/// let mut builder = SnapshotBuilder::new();
/// for id in 0..10_000u64 {
///     let digest = blake3::hash(&id.to_le_bytes());
///     builder.add(0, Listing {
///         indicator: Indicator::Digest(Digest::new(DigestKind::Sha256, digest.as_bytes()).unwrap()),
///         id,
///         record_type: RecordType::Malware,
///         name: &format!("Trojan.Example.{}", id / 50),
///         source: "made-up",
///         timestamp: None,
///         expiry: None,
///         port: None,
///     });
/// }
/// let created = "2026-11-22".parse()?;
/// let info = SnapshotInfo { dataset: "made-up".into(), generation: 1, created, compiled_with: Default::default() };
/// assert_eq!(builder.finish(&info)?.summary().records, 10_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    names: Names,
    /// The last records, whose names have no number yet.
    unnamed: Vec<(Indicator, RecordRow)>,
    wanted: Wanted,
    sources: Names,
    tags: Vec<Tag>,
    tag_numbers: HashMap<Tag, u32>,
    /// The last tag and its number: most records have that of the one before.
    last_tag: Option<(Tag, u32)>,
    tables: Tables,
    /// An expression that cannot be written.
    not_ascii: Option<Box<str>>,
}

impl RecordSink for SnapshotBuilder {
    fn add(&mut self, input: u32, listing: Listing<'_>) {
        let tag = Tag {
            source: self.sources.number(listing.source),
            record_type: listing.record_type as u8,
            port: listing.port.unwrap_or(0),
            expiry: Timestamp::to_field(listing.expiry),
            input,
        };
        let row = RecordRow {
            id: listing.id.into(),
            timestamp: Timestamp::to_field(listing.timestamp).into(),
            name: 0.into(),
            class: self.tag_number(tag).into(),
        };
        self.wanted.push(listing.name);
        self.unnamed.push((listing.indicator, row));
        if self.unnamed.len() == NAMED_AT_ONCE {
            self.name();
        }
    }
}

/// Records whose names are numbered together.
const NAMED_AT_ONCE: usize = 64;

impl SnapshotBuilder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records added so far, duplicates included.
    pub fn len(&self) -> usize {
        self.tables.len() as usize + self.unnamed.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sorts everything, on all processors, so that the snapshot can be written.
    pub fn finish(mut self, info: &SnapshotInfo) -> Result<BuiltSnapshot, BuildError> {
        self.name();
        if !is_dataset_name(&info.dataset) {
            return Err(BuildError::Dataset { found: info.dataset.clone() });
        }
        if let Some(expression) = self.not_ascii {
            return Err(BuildError::Expression { found: expression.into() });
        }
        too_many("sources", self.sources.len() as u64, SOURCES_MAX as u64)?;
        too_many("bytes of detection names", self.names.bytes(), u64::from(u32::MAX))?;

        let source_order = self.sources.sorted();
        let source_ranks = ranks(&source_order);
        let sources: Vec<String> = source_order.iter().map(|&number| self.sources.text(number).to_owned()).collect();
        self.tags.iter_mut().for_each(|tag| tag.source = source_ranks[tag.source as usize]);

        let filter = IdFilter::new(self.tables.len() as usize);
        let meaning = Meaning { tags: &self.tags, names: &self.names, ids: &filter };
        let (mut tables, mut duplicates) = (self.tables, Vec::new());
        let (name_order, ()) = rayon::join(|| self.names.sorted(), || tables.settle(&meaning, &mut duplicates));
        if tables.make_ids_unique(&meaning, &sources) {
            // Two IDs of one feed under one indicator may have become the same derived one.
            tables.settle(&meaning, &mut duplicates);
        }

        let (classes, class_ranks) = classes(&self.tags);
        let class_sources = classes.iter().map(|class| class.source.get()).collect();
        let numbers = Numbers { names: ranks(&name_order), classes: class_ranks, sources: class_sources };
        let mut entries: Vec<_> = sources.into_iter().map(|name| SourceEntry { name, records: 0, newest: 0 }).collect();
        tables.number(&numbers, &mut entries)?;
        let summary = BuildSummary { records: entries.iter().map(|entry| entry.records).sum(), duplicates };
        let names = SortedNames { names: self.names, order: name_order };
        BuiltSnapshot::new(Content { names, classes, tables }, info.manifest(entries), summary)
    }

    /// Numbers the names of the last records and hands these to their tables.
    fn name(&mut self) {
        let mut numbers = Vec::new();
        self.names.numbers(&self.wanted, &mut numbers);
        self.wanted.clear();
        let tables = &mut self.tables;
        for ((indicator, mut row), name) in self.unnamed.drain(..).zip(numbers) {
            row.name = name.into();
            match indicator {
                Indicator::Digest(digest) => {
                    let mut key = [0; 32];
                    key[..digest.bytes().len()].copy_from_slice(digest.bytes());
                    tables.digests[digest.kind() as usize - 1].push(Draft { key, row });
                }
                Indicator::Web { expression, .. } if !expression.is_ascii() => self.not_ascii = Some(expression),
                Indicator::Web { scope, expression } => tables.web.push(Draft { key: (scope, expression), row }),
                Indicator::WebSha256(key) => tables.web_sha256.push(Draft { key, row }),
                Indicator::Ipv4(key) => tables.ipv4.push(Draft { key, row }),
            }
        }
    }

    fn tag_number(&mut self, tag: Tag) -> u32 {
        if let Some((last, number)) = self.last_tag
            && last == tag
        {
            return number;
        }
        let next = self.tags.len() as u32;
        let number = *self.tag_numbers.entry(tag).or_insert_with(|| {
            self.tags.push(tag);
            next
        });
        self.last_tag = Some((tag, number));
        number
    }
}

/// The classes of tags in their final order, and the class of each tag.
fn classes(tags: &[Tag]) -> (Vec<ClassRow>, Vec<u32>) {
    let class = |tag: &Tag| (tag.source, tag.record_type, tag.port, tag.expiry);
    let mut order: Vec<u32> = (0..tags.len() as u32).collect();
    order.sort_unstable_by_key(|&number| class(&tags[number as usize]));
    let (mut classes, mut ranks) = (Vec::new(), vec![0; tags.len()]);
    // Tags that differ by their input only are of one class.
    for same in order.chunk_by(|&a, &b| class(&tags[a as usize]) == class(&tags[b as usize])) {
        same.iter().for_each(|&number| ranks[number as usize] = classes.len() as u32);
        let (source, record_type, port, expiry) = class(&tags[same[0] as usize]);
        classes.push(ClassRow {
            source: (source as u16).into(),
            record_type,
            reserved: 0,
            port: port.into(),
            reserved_too: 0.into(),
            expiry: expiry.into(),
        });
    }
    (classes, ranks)
}
