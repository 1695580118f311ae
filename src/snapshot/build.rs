//! Building the sorted tables of a snapshot from records in any order.

use super::{
    classes::{ClassKey, Classes},
    dedup::IdFilter,
    error::BuildError,
    growth::Growth,
    info::{SnapshotInfo, is_dataset_name},
    layout::RecordRow,
    manifest::SourceEntry,
    names::{Names, SortedNames, Wanted, ranks},
    sections::Content,
    sort_entries::{BuildContext, SortEntry},
    tables::{Numbers, Tables, too_many},
    write::{BuildSummary, BuiltSnapshot},
};
use crate::{
    key::Indicator,
    limits::{RECORDS_PER_KEY_MAX, SOURCES_MAX},
    record::{Entry, RecordSink},
    timestamp::Timestamp,
};

/// A snapshot builder: a [`RecordSink`] that keeps all records in memory until the snapshot is written.
///
/// The order in which records are added does not matter. Of records with the same source, ID and indicator, only the
/// newest is kept; of the records of one indicator, the best [`RECORDS_PER_KEY_MAX`].
///
/// A record takes 52 bytes; each distinct name is stored once. Duplicates are removed whenever the collected records
/// have doubled, so that memory grows with distinct records, not with added ones. There is no allocation per record, so
/// a large benchmark data set can be built in a loop:
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
    classes: Classes,
    tables: Tables,
    /// The number of records added.
    added: usize,
    /// The number of duplicates removed so far, by input.
    duplicates: Vec<u64>,
    /// The number of classes that `growth` has counted.
    classes_counted: usize,
    growth: Growth,
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
            class: self.classes.number(class).into(),
        };
        self.added += 1;
        self.wanted.push(entry.name);
        self.unnamed.push((entry.indicator, row));
        if self.unnamed.len() == NAMED_AT_ONCE {
            self.name();
        }
    }
}

/// The maximum number of classes: the upper bit of a row's class marks a run.
const CLASSES_MAX: u32 = 1 << 31;

/// The number of records whose names are numbered in one batch.
const NAMED_AT_ONCE: usize = 64;

impl SnapshotBuilder {
    /// Creates an empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of records added so far, duplicates included.
    pub fn len(&self) -> usize {
        self.added
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

        let source_order = self.sources.sorted();
        let source_ranks = ranks(&source_order, self.sources.len());
        let sources: Vec<String> = source_order.iter().map(|&number| self.sources.text(number).to_owned()).collect();
        self.classes.keys.iter_mut().for_each(|class| class.source = source_ranks[class.source as usize]);

        let filter = IdFilter::new(self.tables.len() as usize);
        let context = BuildContext { classes: &self.classes.keys, names: &self.names, ids: Some(&filter) };
        let (mut tables, mut duplicates) = (self.tables, self.duplicates);
        let (name_order, ()) = rayon::join(|| self.names.sorted(), || tables.sort_and_dedup(&context, &mut duplicates));
        if tables.make_ids_unique(&context, &sources) {
            // Two IDs of one feed under one indicator may have been replaced by the same derived ID.
            tables.sort_and_dedup(&context, &mut duplicates);
        }
        let mut over_limit = Vec::new();
        tables.limit_per_key(RECORDS_PER_KEY_MAX, &context, &mut over_limit);

        // The names and classes of records that were not kept are left out.
        let used = tables.used(self.names.len(), self.classes.len());
        let (classes, class_ranks) = self.classes.rows(&used.classes);
        too_many("combinations of source, type, port and expiry", classes.len() as u64, u64::from(CLASSES_MAX))?;
        let class_sources = classes.iter().map(|class| class.source.get()).collect();
        let names = SortedNames::new(self.names, name_order, &used.names);
        too_many("bytes of detection names", names.bytes(), u64::from(u32::MAX))?;
        let numbers = Numbers { names: names.ranks(), classes: class_ranks, sources: class_sources };
        let mut sources: Vec<_> = sources.into_iter().map(|name| SourceEntry { name, records: 0, newest: 0 }).collect();
        tables.number(&numbers, &mut sources)?;
        let records = sources.iter().map(|source| source.records).sum();
        let summary = BuildSummary { records, duplicates, over_limit };
        BuiltSnapshot::new(Content { names, classes, tables }, info.manifest(sources), summary)
    }

    /// Numbers the names of the pending records and adds the records to their tables. Deduplicates the tables when they
    /// have grown enough.
    fn name(&mut self) {
        let before = self.names.bytes();
        let mut numbers = Vec::new();
        self.names.numbers(&self.wanted, &mut numbers);
        self.wanted.clear();
        let tables = &mut self.tables;
        let mut bytes = self.names.bytes() - before;
        for ((indicator, mut row), name) in self.unnamed.drain(..).zip(numbers) {
            row.name = name.into();
            bytes += match indicator {
                Indicator::Digest(digest) => {
                    let mut key = [0; 32];
                    key[..digest.bytes().len()].copy_from_slice(digest.bytes());
                    tables.digests[digest.kind() as usize - 1].push(SortEntry { key, row })
                }
                Indicator::Web { expression, .. } if !expression.is_ascii() => {
                    self.not_ascii = Some(expression);
                    0
                }
                Indicator::Web { scope, expression } => tables.web.push(SortEntry { key: (scope, expression), row }),
                Indicator::WebSha256(key) => tables.web_sha256.push(SortEntry { key, row }),
                Indicator::Ipv4(key) => tables.ipv4.push(SortEntry { key, row }),
            };
        }
        bytes +=
            (self.classes.len() - std::mem::replace(&mut self.classes_counted, self.classes.len())) * Classes::BYTES;
        self.growth.add(bytes);
        if self.growth.is_due() {
            self.dedup();
        }
    }

    /// Removes duplicates, and the names and classes that only duplicates had.
    fn dedup(&mut self) {
        let context = BuildContext { classes: &self.classes.keys, names: &self.names, ids: None };
        self.tables.sort_and_dedup(&context, &mut self.duplicates);
        let used = self.tables.used(self.names.len(), self.classes.len());
        let is_mostly_unused = |used: &[bool]| used.iter().filter(|&&used| used).count() < used.len() / 2;
        if is_mostly_unused(&used.names) {
            let names = self.names.retain(&used.names);
            self.tables.update_rows(|row| row.name = names[row.name.get() as usize].into());
        }
        if is_mostly_unused(&used.classes) {
            let classes = self.classes.retain(&used.classes);
            self.tables.update_rows(|row| row.class = classes[row.class.get() as usize].into());
        }
        self.classes_counted = self.classes.len();
        self.growth.reset(self.tables.bytes() + self.names.bytes() + self.classes.len() * Classes::BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{Digest, DigestKind, Scope},
        record::RecordType,
    };

    /// Adds records of which most are duplicates, and of which one key has more than a key can have.
    fn add(builder: &mut SnapshotBuilder) {
        for n in 0..20_000u32 {
            let distinct = n % 1_777;
            let indicator = match distinct % 4 {
                0 => Indicator::Ipv4(std::net::Ipv4Addr::from(distinct).into()),
                1 => Indicator::Web { scope: Scope::Host, expression: format!("host{distinct}.example").into() },
                2 => Indicator::Web { scope: Scope::Host, expression: "one.example".into() },
                _ => {
                    let digest = blake3::hash(&distinct.to_le_bytes());
                    Indicator::Digest(Digest::new(DigestKind::Md5, &digest.as_bytes()[..16]).unwrap())
                }
            };
            builder.add(
                n % 3,
                Entry {
                    indicator,
                    id: distinct.into(),
                    record_type: RecordType::ALL[(n % 11) as usize],
                    name: &format!("name {}", n % 5_000),
                    source: ["alpha", "beta"][(distinct % 2) as usize],
                    timestamp: Timestamp::from_seconds(n % 7),
                    expiry: Timestamp::from_seconds(n % 4_999),
                    port: None,
                },
            );
        }
        for n in 0..5_000u32 {
            let indicator = Indicator::Ipv4(std::net::Ipv4Addr::from(7).into());
            let record_type = RecordType::Malware;
            let (name, source, timestamp) = ("many", "gamma", Timestamp::from_seconds(n / 2 + 1));
            let entry =
                Entry { indicator, id: (n / 2).into(), record_type, name, source, timestamp, expiry: None, port: None };
            builder.add(n % 3, entry);
        }
    }

    fn finish(builder: SnapshotBuilder) -> (BuildSummary, Vec<u8>) {
        let created = Timestamp::from_seconds(1).unwrap();
        let info = SnapshotInfo { dataset: "x".into(), generation: 1, created, compiled_with: Default::default() };
        let built = builder.finish(&info).unwrap();
        (built.summary().clone(), built.into_bytes())
    }

    #[test]
    fn deduplicating_while_collecting_changes_neither_bytes_nor_counts() {
        let mut once = SnapshotBuilder::new();
        add(&mut once);
        assert_eq!(once.tables.len() as usize + once.unnamed.len(), 25_000);
        let (summary, bytes) = finish(once);
        let per_input = |counts: &[u64]| counts.iter().sum::<u64>();
        assert_eq!(summary.records + per_input(&summary.duplicates) + per_input(&summary.over_limit), 25_000);
        // The other key with many records has 444, of which a few are replaced in every round.
        assert_eq!(per_input(&summary.over_limit), 2_500 - RECORDS_PER_KEY_MAX as u64);
        for min in [0, 5_000, 50_000, 500_000] {
            let mut builder = SnapshotBuilder { growth: Growth::with_min(min), ..SnapshotBuilder::new() };
            add(&mut builder);
            assert!(builder.tables.len() < 16_000, "{min}: {} records are held", builder.tables.len());
            assert_eq!(builder.len(), 25_000);
            assert!(finish(builder) == (summary.clone(), bytes.clone()), "{min}");
        }
    }
}
