//! Access to the records of a key by its number.

use std::ops::ControlFlow;

use super::{prefetch::prefetch, probe::Found};
use crate::{
    batch::{Detail, Hit, Matched, Position, Sink},
    record::{PrecedenceKey, RecordType, Specificity, sort_by_precedence, winner_by_precedence},
    snapshot::{
        NameTable, Snapshot,
        layout::{ClassRow, RecordRow, RunRow, SectionKind, Table},
    },
    timestamp::Timestamp,
};

/// The records of one table.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    rows: &'a [RecordRow],
    runs: &'a [RunRow],
    more: &'a [RecordRow],
    context: RecordContext<'a>,
}

/// The data that the records of all tables refer to.
#[derive(Clone, Copy)]
struct RecordContext<'a> {
    classes: &'a [ClassRow],
    names: NameTable<'a>,
    snapshot: &'a Snapshot,
}

/// A record that matches a key, with the part that matched.
#[derive(Clone, Copy)]
pub(super) struct Match<'a> {
    row: &'a RecordRow,
    class: &'a ClassRow,
    specificity: Specificity,
    matched: Matched<'a>,
    context: RecordContext<'a>,
}

impl<'a> Records<'a> {
    pub(super) fn of(snapshot: &'a Snapshot, table: Table) -> Self {
        Self {
            rows: snapshot.rows(table, SectionKind::Records),
            runs: snapshot.rows(table, SectionKind::Runs),
            more: snapshot.rows(table, SectionKind::MoreRecords),
            context: RecordContext {
                classes: snapshot.rows(Table::Shared, SectionKind::Classes),
                names: snapshot.names(),
                snapshot,
            },
        }
    }

    /// Prefetches the first record of a key. A row may span two cache lines.
    #[inline]
    pub(super) fn prefetch(&self, key: usize) {
        if let Some(row) = self.rows.get(key) {
            let bytes = zerocopy::IntoBytes::as_bytes(row);
            prefetch(bytes, 0);
            prefetch(bytes, bytes.len() - 1);
        }
    }

    /// Prefetches the names of found keys, whose records must be prefetched already: first the end offsets of the
    /// names, then their text. Each pass prefetches the addresses that the previous pass computed.
    pub(super) fn prefetch_names(&self, found: &[Found]) {
        let RecordContext { names, .. } = self.context;
        let name_of = |found: &Found| self.rows.get(found.key as usize).map_or(0, |row| row.name.get());
        found.iter().for_each(|found| prefetch(names.ends(), name_of(found) as usize));
        for name in found.iter().map(name_of) {
            prefetch(names.text(), names.start(name));
            // A name may span two cache lines.
            prefetch(names.text(), names.start(name + 1).saturating_sub(1));
        }
    }

    /// Returns the record of a key if the key has only one and it has not expired at `now`.
    #[inline]
    pub(super) fn single_record(&self, key: usize, now: Timestamp) -> SingleRecord<'a> {
        let row = &self.rows[key];
        match row.class.get() {
            class if class & RecordRow::HAS_MORE != 0 => SingleRecord::Several,
            class => match self.context.unexpired(class, now) {
                Some(class) => SingleRecord::One(row, class),
                None => SingleRecord::None,
            },
        }
    }

    /// Returns the number of records of a key, expired ones included.
    #[inline]
    pub(super) fn count(&self, key: usize) -> usize {
        match self.rows[key].class.get() {
            class if class & RecordRow::HAS_MORE == 0 => 1,
            class => 1 + self.runs[(class & !RecordRow::HAS_MORE) as usize].count.get() as usize,
        }
    }

    /// Returns a record as a [`Hit`].
    #[inline]
    pub(super) fn hit(&self, row: &'a RecordRow, class: &'a ClassRow, matched: Matched<'a>) -> Hit<'a> {
        self.context.hit(row, class, matched)
    }

    /// Adds every record of a key that has not expired at `now`.
    #[inline]
    pub(super) fn matches_of(
        &self,
        key: usize,
        matched: Matched<'a>,
        specificity: Specificity,
        now: Timestamp,
        matches: &mut Vec<Match<'a>>,
    ) {
        let context = self.context;
        let mut push = |row: &'a RecordRow, class: u32| {
            if let Some(class) = context.unexpired(class, now) {
                matches.push(Match { row, class, specificity, matched, context });
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

/// The result of [`Records::single_record`].
pub(super) enum SingleRecord<'a> {
    One(&'a RecordRow, &'a ClassRow),
    /// The only record has expired.
    None,
    /// The key has several records.
    Several,
}

impl<'a> RecordContext<'a> {
    /// Returns a class, unless its records have expired at `now`.
    #[inline]
    fn unexpired(&self, class: u32, now: Timestamp) -> Option<&'a ClassRow> {
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
    /// Returns the precedence key. Source numbers are in the order of source names.
    fn precedence_key(&self) -> PrecedenceKey<u16> {
        PrecedenceKey {
            record_type: record_type(self.class),
            specificity: self.specificity,
            timestamp: Timestamp::from_seconds(self.row.timestamp.get()),
            source: self.class.source.get(),
            id: self.row.id.get(),
        }
    }
}

/// Emits the matches of one key to the sink, the winner first, and clears them.
pub(super) fn emit(
    at: Position,
    matches: &mut Vec<Match<'_>>,
    detail: Detail,
    sink: &mut impl Sink,
) -> ControlFlow<u32> {
    let answered = match detail {
        Detail::Winner => {
            // Sorting a thousand records for one of them took ten times as long.
            let winner = winner_by_precedence(matches, Match::precedence_key);
            winner.map_or(&[][..], |at| &matches[at..=at])
        }
        Detail::All => {
            sort_by_precedence(matches, Match::precedence_key);
            &matches[..]
        }
    };
    for found in answered {
        let hit = found.context.hit(found.row, found.class, found.matched);
        sink.hit(at, &hit).map_break(|()| at.row)?;
    }
    matches.clear();
    ControlFlow::Continue(())
}

fn record_type(class: &ClassRow) -> RecordType {
    RecordType::from_number(class.record_type).unwrap_or(RecordType::Other)
}
