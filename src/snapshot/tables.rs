//! All tables of a snapshot, on their way from drafts to what is written.

use std::{collections::HashSet, mem};

use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

use super::{
    drafts::{Drafts, Meaning, TableKey, WebKey},
    error::BuildError,
    layout::TABLE_KEYS_MAX,
    manifest::SourceEntry,
    unique::Ids,
};
use crate::key::{Digest, DigestKind, Indicator, Ipv4Block};

/// The records of every table.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// By kind.
    pub(super) digests: [Drafts<[u8; 32]>; DigestKind::ALL.len()],
    pub(super) web: Drafts<WebKey>,
    pub(super) web_sha256: Drafts<[u8; 32]>,
    pub(super) ipv4: Drafts<Ipv4Block>,
}

/// The final numbers of names and classes, by those that rows have so far.
pub(super) struct Numbers {
    pub(super) names: Vec<u32>,
    pub(super) classes: Vec<u32>,
    /// The source of each final class.
    pub(super) sources: Vec<u16>,
}

impl Tables {
    /// Gives every record an ID of its own. Whether any was changed.
    pub(super) fn make_ids_unique(&mut self, meaning: &Meaning<'_>, sources: &[String]) -> bool {
        let mut ids = Ids { meaning, sources, seen: HashSet::new(), changed: false };
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

    /// Records, duplicates included until they are settled.
    pub(super) fn len(&self) -> u64 {
        let digests: u64 = self.digests.iter().map(|drafts| drafts.len).sum();
        digests + self.web.len + self.web_sha256.len + self.ipv4.len
    }

    /// Sorts everything and keeps one of each record; duplicates are counted by their input.
    pub(super) fn settle(&mut self, meaning: &Meaning<'_>, duplicates: &mut Vec<u64>) {
        self.digests.iter_mut().for_each(|table| table.settle(meaning, duplicates));
        self.web.settle(meaning, duplicates);
        self.web_sha256.settle(meaning, duplicates);
        self.ipv4.settle(meaning, duplicates);
    }

    /// Gives names and classes their final numbers and counts: the records of each source, the keys of each table.
    pub(super) fn number(&mut self, numbers: &Numbers, sources: &mut [SourceEntry]) -> Result<(), BuildError> {
        self.digests.iter_mut().try_for_each(|table| number(table, numbers, sources))?;
        number(&mut self.web, numbers, sources)?;
        number(&mut self.web_sha256, numbers, sources)?;
        number(&mut self.ipv4, numbers, sources)
    }
}

/// What parts add up to.
#[derive(Default)]
struct Tally {
    /// By source: records, and the time of the newest.
    sources: Vec<(u64, u32)>,
    keys: u64,
    shared_keys: u64,
}

fn number<K: TableKey>(
    table: &mut Drafts<K>,
    numbers: &Numbers,
    sources: &mut [SourceEntry],
) -> Result<(), BuildError> {
    too_many("records under one kind of key", table.len, TABLE_KEYS_MAX)?;
    let tally = table.parts.par_iter_mut().fold(Tally::default, |mut tally, part| {
        tally.sources.resize(sources.len(), (0, 0));
        let mut last: Option<(&K, bool)> = None;
        for draft in part.iter_mut() {
            let row = &mut draft.row;
            row.name = numbers.names[row.name.get() as usize].into();
            row.class = numbers.classes[row.class.get() as usize].into();
            let source = &mut tally.sources[usize::from(numbers.sources[row.class.get() as usize])];
            source.0 += 1;
            source.1 = source.1.max(row.timestamp.get());
            // Each key counts when it begins, and once more when a second record of it is seen.
            match &mut last {
                Some((key, is_shared)) if **key == draft.key => {
                    tally.shared_keys += u64::from(!mem::replace(is_shared, true));
                }
                _ => {
                    tally.keys += 1;
                    last = Some((&draft.key, false));
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

pub(super) fn too_many(what: &'static str, found: u64, most: u64) -> Result<(), BuildError> {
    if found > most {
        return Err(BuildError::TooMany { what, found, most });
    }
    Ok(())
}
