//! All tables of a snapshot during a build.

use std::{
    collections::HashSet,
    mem,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use rayon::iter::{IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelIterator};

use super::{
    dedup::Ids,
    error::BuildError,
    layout::{RecordRow, TABLE_KEYS_MAX},
    manifest::SourceEntry,
    sort_entries::{BuildContext, SortEntries, TableKey, WebKey},
};
use crate::key::{Digest, DigestKind, Indicator, Ipv4Block};

/// The records of every table.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// The digests by kind.
    pub(super) digests: [SortEntries<[u8; 32]>; DigestKind::ALL.len()],
    pub(super) web: SortEntries<WebKey>,
    pub(super) web_sha256: SortEntries<[u8; 32]>,
    pub(super) ipv4: SortEntries<Ipv4Block>,
}

/// The final numbers of names and classes, indexed by the preliminary numbers in rows.
pub(super) struct Numbers {
    pub(super) names: Vec<u32>,
    pub(super) classes: Vec<u32>,
    /// The source of each final class.
    pub(super) sources: Vec<u16>,
}

impl Tables {
    /// Replaces duplicate IDs by derived ones and returns whether any was replaced.
    pub(super) fn make_ids_unique(&mut self, context: &BuildContext<'_>, sources: &[String]) -> bool {
        let mut ids = Ids { context, sources, seen: HashSet::new(), changed: false };
        for (kind, table) in DigestKind::ALL.into_iter().zip(&mut self.digests) {
            ids.make_unique(table, |key| {
                Indicator::Digest(Digest::new(kind, &key[..kind.width()]).expect("a digest is as wide as its kind"))
            });
        }
        ids.make_unique(&mut self.web, |key| Indicator::Web { scope: key.0, expression: key.1.clone() });
        ids.make_unique(&mut self.web_sha256, |key| Indicator::WebSha256(*key));
        ids.make_unique(&mut self.ipv4, |key| Indicator::Ipv4(*key));
        ids.changed
    }

    /// Returns the number of records, including duplicates before [`sort_and_dedup`](Self::sort_and_dedup).
    pub(super) fn len(&self) -> u64 {
        let digests: u64 = self.digests.iter().map(|entries| entries.len).sum();
        digests + self.web.len + self.web_sha256.len + self.ipv4.len
    }

    /// Sorts and deduplicates all tables, and adds the number of duplicates per input to `duplicates`.
    pub(super) fn sort_and_dedup(&mut self, context: &BuildContext<'_>, duplicates: &mut Vec<u64>) {
        self.digests.iter_mut().for_each(|table| table.sort_and_dedup(context, duplicates));
        self.web.sort_and_dedup(context, duplicates);
        self.web_sha256.sort_and_dedup(context, duplicates);
        self.ipv4.sort_and_dedup(context, duplicates);
    }

    /// Keeps the `limit` best records of every key and adds the number of the others per input to `over_limit`.
    pub(super) fn limit_per_key(&mut self, limit: usize, context: &BuildContext<'_>, over_limit: &mut Vec<u64>) {
        self.digests.iter_mut().for_each(|table| table.limit_per_key(limit, context, over_limit));
        self.web.limit_per_key(limit, context, over_limit);
        self.web_sha256.limit_per_key(limit, context, over_limit);
        self.ipv4.limit_per_key(limit, context, over_limit);
    }

    /// Returns the memory that the records take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let digests: usize = self.digests.iter().map(SortEntries::bytes).sum();
        digests + self.web.bytes() + self.web_sha256.bytes() + self.ipv4.bytes()
    }

    /// Returns which of this many names and classes the records refer to.
    pub(super) fn used(&self, names: usize, classes: usize) -> Used {
        let unused = |count| (0..count).map(|_| AtomicBool::new(false)).collect();
        let (names, classes): (Vec<_>, Vec<_>) = (unused(names), unused(classes));
        let mark = |row: &RecordRow| {
            names[row.name.get() as usize].store(true, Relaxed);
            classes[row.class.get() as usize].store(true, Relaxed);
        };
        self.digests.iter().for_each(|table| for_each_row(table, mark));
        for_each_row(&self.web, mark);
        for_each_row(&self.web_sha256, mark);
        for_each_row(&self.ipv4, mark);
        let used = |marks: Vec<AtomicBool>| marks.into_iter().map(AtomicBool::into_inner).collect();
        Used { names: used(names), classes: used(classes) }
    }

    /// Changes every row.
    pub(super) fn update_rows(&mut self, update: impl Fn(&mut RecordRow) + Copy + Sync + Send) {
        self.digests.iter_mut().for_each(|table| update_rows(table, update));
        update_rows(&mut self.web, update);
        update_rows(&mut self.web_sha256, update);
        update_rows(&mut self.ipv4, update);
    }

    /// Assigns the final numbers of names and classes, and counts the records of each source and the keys of each
    /// table.
    ///
    /// Fails with [`BuildError::TooMany`] when a table has too many records.
    pub(super) fn number(&mut self, numbers: &Numbers, sources: &mut [SourceEntry]) -> Result<(), BuildError> {
        self.digests.iter_mut().try_for_each(|table| number(table, numbers, sources))?;
        number(&mut self.web, numbers, sources)?;
        number(&mut self.web_sha256, numbers, sources)?;
        number(&mut self.ipv4, numbers, sources)
    }
}

/// Which names and classes records refer to, by number.
pub(super) struct Used {
    pub(super) names: Vec<bool>,
    pub(super) classes: Vec<bool>,
}

fn for_each_row<K: TableKey>(table: &SortEntries<K>, each: impl Fn(&RecordRow) + Sync + Send) {
    table.partitions.par_iter().for_each(|partition| partition.iter().for_each(|entry| each(&entry.row)));
}

fn update_rows<K: TableKey>(table: &mut SortEntries<K>, update: impl Fn(&mut RecordRow) + Sync + Send) {
    let all = table.partitions.par_iter_mut();
    all.for_each(|partition| partition.iter_mut().for_each(|entry| update(&mut entry.row)));
}

/// The counts of one or several partitions.
#[derive(Default)]
struct Tally {
    /// For each source, the number of records and the newest timestamp.
    sources: Vec<(u64, u32)>,
    keys: u64,
    shared_keys: u64,
}

fn number<K: TableKey>(
    table: &mut SortEntries<K>,
    numbers: &Numbers,
    sources: &mut [SourceEntry],
) -> Result<(), BuildError> {
    too_many("records of one kind of key", table.len, TABLE_KEYS_MAX)?;
    let tally = table.partitions.par_iter_mut().fold(Tally::default, |mut tally, partition| {
        tally.sources.resize(sources.len(), (0, 0));
        let mut last: Option<(&K, bool)> = None;
        for entry in partition.iter_mut() {
            let row = &mut entry.row;
            row.name = numbers.names[row.name.get() as usize].into();
            row.class = numbers.classes[row.class.get() as usize].into();
            let source = &mut tally.sources[usize::from(numbers.sources[row.class.get() as usize])];
            source.0 += 1;
            source.1 = source.1.max(row.timestamp.get());
            // A key is counted at its first record, and as shared at its second.
            match &mut last {
                Some((key, is_shared)) if **key == entry.key => {
                    tally.shared_keys += u64::from(!mem::replace(is_shared, true));
                }
                _ => {
                    tally.keys += 1;
                    last = Some((&entry.key, false));
                }
            }
        }
        tally
    });
    let tally = tally.reduce(Tally::default, Tally::add);
    (table.keys, table.shared_keys) = (tally.keys, tally.shared_keys);
    for (entry, (records, newest)) in sources.iter_mut().zip(tally.sources) {
        entry.records += records;
        entry.newest = entry.newest.max(newest);
    }
    Ok(())
}

impl Tally {
    fn add(mut self, other: Self) -> Self {
        self.sources.resize(self.sources.len().max(other.sources.len()), (0, 0));
        for (sum, (records, newest)) in self.sources.iter_mut().zip(other.sources) {
            *sum = (sum.0 + records, sum.1.max(newest));
        }
        self.keys += other.keys;
        self.shared_keys += other.shared_keys;
        self
    }
}

/// Fails with [`BuildError::TooMany`] when `found` exceeds `most`.
pub(super) fn too_many(what: &'static str, found: u64, most: u64) -> Result<(), BuildError> {
    if found > most {
        return Err(BuildError::TooMany { what, found, most });
    }
    Ok(())
}
