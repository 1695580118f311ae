//! Building the sorted tables of a snapshot from records in any order.

use std::collections::HashMap;

use super::{
    dedup::IdFilter,
    error::BuildError,
    info::{SnapshotInfo, is_dataset_name},
    layout::{ClassRow, RecordRow},
    manifest::SourceEntry,
    names::{Names, SortedNames, Wanted, ranks},
    sections::Content,
    sort_entries::{BuildContext, ClassKey, SortEntry},
    tables::{Numbers, Tables, too_many},
    write::{BuildSummary, BuiltSnapshot},
};
use crate::{
    key::Indicator,
    limits::SOURCES_MAX,
    record::{Entry, RecordSink},
    timestamp::Timestamp,
};

/// A snapshot builder: a [`RecordSink`] that keeps all records in memory until the snapshot is written.
///
/// The order in which records are added does not matter. Of records with the same source, ID and indicator, only the
/// newest is kept.
///
/// A record takes 52 bytes; each distinct name is stored once. There is no allocation per record, so a large benchmark
/// data set can be built in a loop:
///
/// ```
/// use ksn::{key::{Digest, DigestKind, Indicator}, record::{Entry, RecordSink, RecordType}, snapshot::*};
///
/// let mut builder = SnapshotBuilder::new();
/// for id in 0..10_000u64 {
///     let digest = blake3::hash(&id.to_le_bytes());
///     builder.add(0, Entry {
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
    /// The most recent records, whose names have not been numbered yet.
    unnamed: Vec<(Indicator, RecordRow)>,
    /// The names of `unnamed`.
    wanted: Wanted,
    sources: Names,
    classes: Vec<ClassKey>,
    class_numbers: HashMap<ClassKey, u32>,
    /// The last class and its number: most records have the class of the previous record.
    last_class: Option<(ClassKey, u32)>,
    tables: Tables,
    /// A web expression that is not ASCII, if one was added.
    not_ascii: Option<Box<str>>,
}

impl RecordSink for SnapshotBuilder {
    fn add(&mut self, input: u32, entry: Entry<'_>) {
        let class = ClassKey {
            source: self.sources.number(entry.source),
            record_type: entry.record_type as u8,
            port: entry.port.unwrap_or(0),
            expiry: Timestamp::to_field(entry.expiry),
            input,
        };
        let row = RecordRow {
            id: entry.id.into(),
            timestamp: Timestamp::to_field(entry.timestamp).into(),
            name: 0.into(),
            class: self.class_number(class).into(),
        };
        self.wanted.push(entry.name);
        self.unnamed.push((entry.indicator, row));
        if self.unnamed.len() == NAMED_AT_ONCE {
            self.name();
        }
    }
}

/// The number of records whose names are numbered in one batch.
const NAMED_AT_ONCE: usize = 64;

impl SnapshotBuilder {
    /// Creates an empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of records added so far, duplicates included.
    pub fn len(&self) -> usize {
        self.tables.len() as usize + self.unnamed.len()
    }

    /// Returns whether no record was added.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sorts all records, on all processors, and returns a snapshot that is ready to be written.
    ///
    /// Fails with [`BuildError`] when the dataset name or a web expression is invalid, or when a limit of the format is
    /// exceeded.
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
        self.classes.iter_mut().for_each(|class| class.source = source_ranks[class.source as usize]);

        let filter = IdFilter::new(self.tables.len() as usize);
        let context = BuildContext { classes: &self.classes, names: &self.names, ids: &filter };
        let (mut tables, mut duplicates) = (self.tables, Vec::new());
        let (name_order, ()) = rayon::join(|| self.names.sorted(), || tables.sort_and_dedup(&context, &mut duplicates));
        if tables.make_ids_unique(&context, &sources) {
            // Two IDs of one feed under one indicator may have been replaced by the same derived ID.
            tables.sort_and_dedup(&context, &mut duplicates);
        }

        let (classes, class_ranks) = class_rows(&self.classes);
        let class_sources = classes.iter().map(|class| class.source.get()).collect();
        let numbers = Numbers { names: ranks(&name_order), classes: class_ranks, sources: class_sources };
        let mut sources: Vec<_> = sources.into_iter().map(|name| SourceEntry { name, records: 0, newest: 0 }).collect();
        tables.number(&numbers, &mut sources)?;
        let summary = BuildSummary { records: sources.iter().map(|source| source.records).sum(), duplicates };
        let names = SortedNames { names: self.names, order: name_order };
        BuiltSnapshot::new(Content { names, classes, tables }, info.manifest(sources), summary)
    }

    /// Numbers the names of the pending records and adds the records to their tables.
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
                    tables.digests[digest.kind() as usize - 1].push(SortEntry { key, row });
                }
                Indicator::Web { expression, .. } if !expression.is_ascii() => self.not_ascii = Some(expression),
                Indicator::Web { scope, expression } => tables.web.push(SortEntry { key: (scope, expression), row }),
                Indicator::WebSha256(key) => tables.web_sha256.push(SortEntry { key, row }),
                Indicator::Ipv4(key) => tables.ipv4.push(SortEntry { key, row }),
            }
        }
    }

    fn class_number(&mut self, class: ClassKey) -> u32 {
        if let Some((last, number)) = self.last_class
            && last == class
        {
            return number;
        }
        let next = self.classes.len() as u32;
        let number = *self.class_numbers.entry(class).or_insert_with(|| {
            self.classes.push(class);
            next
        });
        self.last_class = Some((class, number));
        number
    }
}

/// Returns the class rows in their final order, and the row number of each class key.
fn class_rows(keys: &[ClassKey]) -> (Vec<ClassRow>, Vec<u32>) {
    let fields = |number: u32| {
        let key = &keys[number as usize];
        (key.source, key.record_type, key.port, key.expiry)
    };
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    order.sort_unstable_by_key(|&number| fields(number));
    let (mut rows, mut ranks) = (Vec::new(), vec![0; keys.len()]);
    // Keys that differ only by their input share a row.
    for same in order.chunk_by(|&a, &b| fields(a) == fields(b)) {
        same.iter().for_each(|&number| ranks[number as usize] = rows.len() as u32);
        let (source, record_type, port, expiry) = fields(same[0]);
        rows.push(ClassRow {
            source: (source as u16).into(),
            record_type,
            reserved: 0,
            port: port.into(),
            reserved_too: 0.into(),
            expiry: expiry.into(),
        });
    }
    (rows, ranks)
}
