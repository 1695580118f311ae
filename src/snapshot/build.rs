//! From records in any order to the sorted tables of a snapshot.

use std::{cmp::Reverse, collections::HashMap, mem};

use super::{
    error::BuildError,
    info::{SnapshotInfo, is_dataset_name},
    layout::{ClassRow, RecordRow, RunRow, TABLE_KEYS_MAX, Table},
    manifest::SourceEntry,
    write::{BuildSummary, BuiltSnapshot, Sections, SortedTable},
};
use crate::{
    key::{Digest, Indicator, Ipv4Block, Scope},
    limits::SOURCES_MAX,
    record::{Listing, RecordSink, derived_id},
    timestamp::Timestamp,
};

/// A snapshot under construction: a [`RecordSink`] that keeps all records in memory until they are written.
///
/// The order in which records are added does not matter. Records of the same source and ID under the same indicator
/// are one; the newest is kept.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    names: Interner,
    sources: Interner,
    classes: Vec<Class>,
    class_numbers: HashMap<Class, u32>,
    digests: Vec<Draft<Digest>>,
    web: Vec<Draft<(Scope, Box<str>)>>,
    web_sha256: Vec<Draft<[u8; 32]>>,
    ipv4: Vec<Draft<Ipv4Block>>,
}

/// One record as it waits for the end. Numbers are those of the interners, in order of appearance.
#[derive(Clone, Debug)]
struct Draft<K> {
    key: K,
    id: u64,
    timestamp: u32,
    name: u32,
    class: u32,
    input: u32,
}

/// What many records have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Class {
    source: u32,
    record_type: u8,
    port: u16,
    expiry: u32,
}

impl RecordSink for SnapshotBuilder {
    fn add(&mut self, input: u32, listing: Listing<'_>) {
        let class = Class {
            source: self.sources.number(listing.source),
            record_type: listing.record_type as u8,
            port: listing.port.unwrap_or(0),
            expiry: Timestamp::to_field(listing.expiry),
        };
        let next = self.classes.len() as u32;
        let class = *self.class_numbers.entry(class).or_insert_with(|| {
            self.classes.push(class);
            next
        });
        let (id, name) = (listing.id, self.names.number(listing.name));
        let timestamp = Timestamp::to_field(listing.timestamp);
        match listing.indicator {
            Indicator::Digest(key) => self.digests.push(Draft { key, id, timestamp, name, class, input }),
            Indicator::Web { scope, expression } => {
                self.web.push(Draft { key: (scope, expression), id, timestamp, name, class, input });
            }
            Indicator::WebSha256(key) => self.web_sha256.push(Draft { key, id, timestamp, name, class, input }),
            Indicator::Ipv4(key) => self.ipv4.push(Draft { key, id, timestamp, name, class, input }),
        }
    }
}

impl SnapshotBuilder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records added so far, duplicates included.
    pub fn len(&self) -> usize {
        self.digests.len() + self.web.len() + self.web_sha256.len() + self.ipv4.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sorts everything and lays out the snapshot, ready to be written.
    pub fn finish(mut self, info: &SnapshotInfo) -> Result<BuiltSnapshot, BuildError> {
        if !is_dataset_name(&info.dataset) {
            return Err(BuildError::Dataset { found: info.dataset.clone() });
        }
        if let Some(draft) = self.web.iter().find(|d| !d.key.1.is_ascii()) {
            return Err(BuildError::Expression { found: draft.key.1.clone().into() });
        }
        let mut summary = BuildSummary::default();

        let (sources, source_ranks) = mem::take(&mut self.sources).into_sorted();
        too_many("sources", sources.len(), SOURCES_MAX as u64)?;
        let (names, name_ranks) = mem::take(&mut self.names).into_sorted();
        too_many("bytes of detection names", names.iter().map(String::len).sum(), u64::from(u32::MAX))?;
        let class_ranks = self.sort_classes(&source_ranks);

        self.digests.iter_mut().for_each(|d| d.renumber(&name_ranks, &class_ranks));
        self.web.iter_mut().for_each(|d| d.renumber(&name_ranks, &class_ranks));
        self.web_sha256.iter_mut().for_each(|d| d.renumber(&name_ranks, &class_ranks));
        self.ipv4.iter_mut().for_each(|d| d.renumber(&name_ranks, &class_ranks));

        let classes = mem::take(&mut self.classes);
        let context = Context { sources: &sources, names: &names, classes: &classes };
        let mut digests = settle(mem::take(&mut self.digests), &context, &mut summary);
        let mut web = settle(mem::take(&mut self.web), &context, &mut summary);
        let mut web_sha256 = settle(mem::take(&mut self.web_sha256), &context, &mut summary);
        let mut ipv4 = settle(mem::take(&mut self.ipv4), &context, &mut summary);
        if make_ids_unique(&context, &mut digests, &mut web, &mut web_sha256, &mut ipv4) {
            // Two IDs of one feed under one indicator may have become the same derived one.
            digests = settle(digests, &context, &mut summary);
            web = settle(web, &context, &mut summary);
            web_sha256 = settle(web_sha256, &context, &mut summary);
            ipv4 = settle(ipv4, &context, &mut summary);
        }

        let mut entries: Vec<_> =
            sources.iter().map(|name| SourceEntry { name: name.clone(), records: 0, newest: 0 }).collect();
        let mut tally = |timestamp: u32, class: u32| {
            let entry = &mut entries[classes[class as usize].source as usize];
            entry.records += 1;
            entry.newest = entry.newest.max(timestamp);
            summary.records += 1;
        };
        digests.iter().for_each(|d| tally(d.timestamp, d.class));
        web.iter().for_each(|d| tally(d.timestamp, d.class));
        web_sha256.iter().for_each(|d| tally(d.timestamp, d.class));
        ipv4.iter().for_each(|d| tally(d.timestamp, d.class));

        let mut sections = Sections::new(info, entries);
        sections.shared(&names, classes.iter().map(Class::row));
        let mut rest = digests.into_iter().peekable();
        while let Some(first) = rest.peek() {
            let kind = first.key.kind();
            let of_kind: Vec<_> = std::iter::from_fn(|| rest.next_if(|d| d.key.kind() == kind)).collect();
            sections.digests(Table::Digest(kind), tabulate(of_kind, &classes)?, |d| d.bytes());
        }
        sections.digests(Table::WebSha256, tabulate(web_sha256, &classes)?, |d| d);
        sections.web(tabulate(web, &classes)?);
        sections.ipv4(tabulate(ipv4, &classes)?);
        Ok(BuiltSnapshot { bytes: sections.finish()?, summary })
    }

    /// Puts the classes in their final order; gives the final number of each former one.
    fn sort_classes(&mut self, source_ranks: &[u32]) -> Vec<u32> {
        self.class_numbers = HashMap::new();
        for class in &mut self.classes {
            class.source = source_ranks[class.source as usize];
        }
        let mut order: Vec<u32> = (0..self.classes.len() as u32).collect();
        order.sort_unstable_by_key(|&n| {
            let class = &self.classes[n as usize];
            (class.source, class.record_type, class.port, class.expiry)
        });
        let mut ranks = vec![0; order.len()];
        for (rank, &number) in order.iter().enumerate() {
            ranks[number as usize] = rank as u32;
        }
        self.classes = order.iter().map(|&n| self.classes[n as usize]).collect();
        ranks
    }
}

impl<K> Draft<K> {
    fn renumber(&mut self, name_ranks: &[u32], class_ranks: &[u32]) {
        self.name = name_ranks[self.name as usize];
        self.class = class_ranks[self.class as usize];
    }

    fn row(&self) -> RecordRow {
        RecordRow {
            id: self.id.into(),
            timestamp: self.timestamp.into(),
            name: self.name.into(),
            class: self.class.into(),
        }
    }
}

impl Class {
    fn row(&self) -> ClassRow {
        ClassRow {
            source: (self.source as u16).into(),
            record_type: self.record_type,
            reserved: 0,
            port: self.port.into(),
            reserved_too: 0.into(),
            expiry: self.expiry.into(),
        }
    }
}

/// What final numbers stand for.
struct Context<'a> {
    sources: &'a [String],
    names: &'a [String],
    classes: &'a [Class],
}

/// Sorts by key, then source and ID, and keeps one of each: the newest, of equally new ones the most severe, then the
/// one that counts longest, then whichever sorts first, so that the order of the inputs cannot show.
fn settle<K: Ord>(mut drafts: Vec<Draft<K>>, context: &Context<'_>, summary: &mut BuildSummary) -> Vec<Draft<K>> {
    let class = |d: &Draft<K>| context.classes[d.class as usize];
    drafts.sort_unstable_by(|a, b| {
        let rest = |d: &Draft<K>| {
            let class = class(d);
            let expiry = if class.expiry == 0 { u32::MAX } else { class.expiry };
            (Reverse(d.timestamp), class.record_type, Reverse(expiry), Reverse(class.port), d.name, d.input)
        };
        a.key
            .cmp(&b.key)
            .then_with(|| class(a).source.cmp(&class(b).source))
            .then_with(|| a.id.cmp(&b.id))
            .then_with(|| rest(a).cmp(&rest(b)))
    });
    drafts.dedup_by(|later, kept| {
        let same = later.key == kept.key && later.id == kept.id && class(later).source == class(kept).source;
        if same {
            let input = later.input as usize;
            if summary.duplicates.len() <= input {
                summary.duplicates.resize(input + 1, 0);
            }
            summary.duplicates[input] += 1;
        }
        same
    });
    drafts
}

/// A record is known by (source, ID). Where a feed gives one ID to several indicators, the first keeps it and the
/// others get derived ones. Says whether there were any.
fn make_ids_unique(
    context: &Context<'_>,
    digests: &mut [Draft<Digest>],
    web: &mut [Draft<(Scope, Box<str>)>],
    web_sha256: &mut [Draft<[u8; 32]>],
    ipv4: &mut [Draft<Ipv4Block>],
) -> bool {
    let mut changed = false;
    let mut seen = std::collections::HashSet::new();
    let mut check = |id: &mut u64, class: u32, name: u32, indicator: &dyn Fn() -> Indicator| {
        let source = context.classes[class as usize].source;
        // Derived IDs hold their indicator already.
        if *id >> 63 == 0 && !seen.insert((source, *id)) {
            *id = derived_id(&context.sources[source as usize], &indicator(), &context.names[name as usize]);
            changed = true;
        }
    };
    for d in digests {
        check(&mut d.id, d.class, d.name, &|| Indicator::Digest(d.key));
    }
    for d in web {
        check(&mut d.id, d.class, d.name, &|| Indicator::Web { scope: d.key.0, expression: d.key.1.clone() });
    }
    for d in web_sha256 {
        check(&mut d.id, d.class, d.name, &|| Indicator::WebSha256(d.key));
    }
    for d in ipv4 {
        check(&mut d.id, d.class, d.name, &|| Indicator::Ipv4(d.key));
    }
    changed
}

/// Groups records by key.
fn tabulate<K: PartialEq>(drafts: Vec<Draft<K>>, classes: &[Class]) -> Result<SortedTable<K>, BuildError> {
    too_many("records under one kind of key", drafts.len(), TABLE_KEYS_MAX)?;
    let mut table = SortedTable { keys: Vec::new(), records: Vec::new(), runs: Vec::new(), more: Vec::new() };
    let mut rest = drafts.into_iter().peekable();
    let mut group = Vec::new();
    while let Some(first) = rest.next() {
        let row = first.row();
        let key = first.key;
        group.clear();
        group.push((first.class, row));
        while let Some(next) = rest.next_if(|d| d.key == key) {
            group.push((next.class, next.row()));
        }
        // The likely winner first: most keys are then answered from their first record's line.
        group.sort_by_key(|(class, row)| {
            (classes[*class as usize].record_type, Reverse(row.timestamp.get()), classes[*class as usize].source)
        });
        let (class, mut head) = group[0];
        if group.len() > 1 {
            head.class = (table.runs.len() as u32 | RecordRow::HAS_MORE).into();
            let first = table.more.len() as u32;
            table.runs.push(RunRow {
                class: class.into(),
                first: first.into(),
                count: (group.len() as u32 - 1).into(),
            });
            table.more.extend(group[1..].iter().map(|(_, row)| *row));
        }
        table.records.push(head);
        table.keys.push(key);
    }
    Ok(table)
}

/// Texts numbered in order of appearance.
#[derive(Debug, Default)]
struct Interner {
    numbers: HashMap<Box<str>, u32>,
}

impl Interner {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let next = self.numbers.len() as u32;
        self.numbers.insert(text.into(), next);
        next
    }

    /// The texts in order, and the rank of each former number.
    fn into_sorted(self) -> (Vec<String>, Vec<u32>) {
        let mut texts: Vec<(Box<str>, u32)> = self.numbers.into_iter().collect();
        texts.sort_unstable();
        let mut ranks = vec![0; texts.len()];
        for (rank, (_, number)) in texts.iter().enumerate() {
            ranks[*number as usize] = rank as u32;
        }
        (texts.into_iter().map(|(text, _)| text.into()).collect(), ranks)
    }
}

fn too_many(what: &'static str, found: usize, most: u64) -> Result<(), BuildError> {
    if found as u64 > most {
        return Err(BuildError::TooMany { what, found: found as u64, most });
    }
    Ok(())
}
