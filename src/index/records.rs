//! From the number of a key to its records.

use std::ops::ControlFlow;

use super::{prefetch::prefetch, probe::Found};
use crate::{
    batch::{Detail, Hit, Matched, Position, Sink},
    record::{RecordType, Specificity, Standing, sort_by_precedence},
    snapshot::{
        NameTable, Snapshot,
        layout::{ClassRow, RecordRow, Role, RunRow, Table},
    },
    timestamp::Timestamp,
};

/// The records of one table.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    rows: &'a [RecordRow],
    runs: &'a [RunRow],
    more: &'a [RecordRow],
    shared: Shared<'a>,
}

/// What the records of all tables refer to.
#[derive(Clone, Copy)]
struct Shared<'a> {
    classes: &'a [ClassRow],
    names: NameTable<'a>,
    snapshot: &'a Snapshot,
}

/// One record that matches a key, with what of it matched.
#[derive(Clone, Copy)]
pub(super) struct Match<'a> {
    row: &'a RecordRow,
    class: &'a ClassRow,
    specificity: Specificity,
    matched: Matched<'a>,
    shared: Shared<'a>,
}

impl<'a> Records<'a> {
    pub(super) fn of(snapshot: &'a Snapshot, table: Table) -> Self {
        Self {
            rows: snapshot.rows(table, Role::Records),
            runs: snapshot.rows(table, Role::Runs),
            more: snapshot.rows(table, Role::MoreRecords),
            shared: Shared { classes: snapshot.rows(Table::Shared, Role::Classes), names: snapshot.names(), snapshot },
        }
    }

    /// Asks for the first record of a key. A row may lie on two cache lines.
    #[inline]
    pub(super) fn prefetch(&self, key: usize) {
        if let Some(row) = self.rows.get(key) {
            let bytes = zerocopy::IntoBytes::as_bytes(row);
            prefetch(bytes, 0);
            prefetch(bytes, bytes.len() - 1);
        }
    }

    /// Asks for the names of the keys that were found, whose records are there already: first where the names end, then
    /// their text. Each pass asks for lines that the one before has told.
    pub(super) fn prefetch_names(&self, found: &[Found]) {
        let Shared { names, .. } = self.shared;
        let name_of = |found: &Found| self.rows.get(found.key as usize).map_or(0, |row| row.name.get());
        found.iter().for_each(|found| prefetch(names.ends(), name_of(found) as usize));
        for name in found.iter().map(name_of) {
            prefetch(names.text(), names.start(name));
            // A name may lie on two cache lines.
            prefetch(names.text(), names.start(name + 1).saturating_sub(1));
        }
    }

    /// The record of a key that has no other and counts at `now`.
    #[inline]
    pub(super) fn only(&self, key: usize, now: Timestamp) -> Only<'a> {
        let row = &self.rows[key];
        match row.class.get() {
            class if class & RecordRow::HAS_MORE != 0 => Only::Several,
            class => match self.shared.counting(class, now) {
                Some(class) => Only::One(row, class),
                None => Only::None,
            },
        }
    }

    /// A record as a sink takes it.
    #[inline]
    pub(super) fn hit(&self, row: &'a RecordRow, class: &'a ClassRow, matched: Matched<'a>) -> Hit<'a> {
        self.shared.hit(row, class, matched)
    }

    /// Adds every record of a key that counts at `now`.
    #[inline]
    pub(super) fn matches_of(
        &self,
        key: usize,
        matched: Matched<'a>,
        specificity: Specificity,
        now: Timestamp,
        matches: &mut Vec<Match<'a>>,
    ) {
        let shared = self.shared;
        let mut push = |row: &'a RecordRow, class: u32| {
            if let Some(class) = shared.counting(class, now) {
                matches.push(Match { row, class, specificity, matched, shared });
            }
        };
        let row = &self.rows[key];
        let class = row.class.get();
        if class & RecordRow::HAS_MORE == 0 {
            push(row, class);
            return;
        }
        let run = &self.runs[(class & !RecordRow::HAS_MORE) as usize];
        push(row, run.class.get());
        let more = &self.more[run.first.get() as usize..][..run.count.get() as usize];
        more.iter().for_each(|row| push(row, row.class.get()));
    }
}

/// What [`Records::only`] finds.
pub(super) enum Only<'a> {
    One(&'a RecordRow, &'a ClassRow),
    None,
    Several,
}

impl<'a> Shared<'a> {
    /// A class, unless its records have expired.
    #[inline]
    fn counting(&self, class: u32, now: Timestamp) -> Option<&'a ClassRow> {
        let class = &self.classes[class as usize];
        let expiry = class.expiry.get();
        (expiry == 0 || expiry > now.seconds()).then_some(class)
    }

    #[inline]
    fn hit(&self, row: &'a RecordRow, class: &'a ClassRow, matched: Matched<'a>) -> Hit<'a> {
        let (name, source) = (row.name.get(), class.source.get());
        Hit {
            id: row.id.get(),
            record_type: record_type(class),
            name: self.names.get(name),
            name_number: name,
            source: self.snapshot.source_name(source),
            source_number: source,
            timestamp: Timestamp::from_seconds(row.timestamp.get()),
            expiry: Timestamp::from_seconds(class.expiry.get()),
            port: Some(class.port.get()).filter(|&port| port != 0),
            matched,
        }
    }
}

impl Match<'_> {
    /// Sources are numbered in the order of their names.
    fn standing(&self) -> Standing<u16> {
        Standing {
            record_type: record_type(self.class),
            specificity: self.specificity,
            timestamp: Timestamp::from_seconds(self.row.timestamp.get()),
            source: self.class.source.get(),
            id: self.row.id.get(),
        }
    }
}

/// Hands the matches of one key to the sink, the winner first, and empties them.
pub(super) fn emit(
    at: Position,
    matches: &mut Vec<Match<'_>>,
    detail: Detail,
    sink: &mut impl Sink,
) -> ControlFlow<u32> {
    if matches.len() > 1 {
        sort_by_precedence(matches, Match::standing);
    }
    let answered = match detail {
        Detail::Winner => matches.len().min(1),
        Detail::All => matches.len(),
    };
    for found in &matches[..answered] {
        let hit = found.shared.hit(found.row, found.class, found.matched);
        sink.hit(at, &hit).map_break(|()| at.row)?;
    }
    matches.clear();
    ControlFlow::Continue(())
}

fn record_type(class: &ClassRow) -> RecordType {
    RecordType::from_number(class.record_type).unwrap_or(RecordType::Other)
}
