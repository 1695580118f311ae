//! From the number of a key to its records.

use zerocopy::little_endian::U32;

use crate::{
    batch::{Hit, Matched},
    record::{RecordType, Specificity, Standing},
    snapshot::{
        Snapshot,
        layout::{ClassRow, RecordRow, Role, RunRow, Table},
    },
    timestamp::Timestamp,
};

/// The records of one table.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    pub(super) rows: &'a [RecordRow],
    runs: &'a [RunRow],
    more: &'a [RecordRow],
    shared: Shared<'a>,
}

/// What all tables share: names, classes and sources.
#[derive(Clone, Copy)]
struct Shared<'a> {
    snapshot: &'a Snapshot,
    name_ends: &'a [U32],
    name_text: &'a [u8],
    classes: &'a [ClassRow],
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
            shared: Shared {
                snapshot,
                name_ends: snapshot.rows(Table::Shared, Role::NameEnds),
                name_text: snapshot.section(Table::Shared, Role::NameText),
                classes: snapshot.rows(Table::Shared, Role::Classes),
            },
        }
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
        let row = &self.rows[key];
        let class = row.class.get();
        let mut push = |row: &'a RecordRow, class: u32| {
            let class = &self.shared.classes[class as usize];
            let expiry = class.expiry.get();
            if expiry == 0 || expiry > now.seconds() {
                matches.push(Match { row, class, specificity, matched, shared: self.shared });
            }
        };
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

impl<'a> Match<'a> {
    pub(super) fn standing(&self) -> Standing {
        Standing {
            record_type: self.record_type(),
            specificity: self.specificity,
            timestamp: Timestamp::from_seconds(self.row.timestamp.get()),
            source: self.class.source.get(),
            id: self.row.id.get(),
        }
    }

    fn record_type(&self) -> RecordType {
        RecordType::from_number(self.class.record_type).unwrap_or(RecordType::Other)
    }

    /// The record as a sink takes it.
    pub(super) fn hit(&self) -> Hit<'a> {
        let Shared { snapshot, name_ends, name_text, .. } = self.shared;
        let name = self.row.name.get() as usize;
        let start = if name == 0 { 0 } else { name_ends[name - 1].get() as usize };
        let name_bytes = &name_text[start..name_ends[name].get() as usize];
        let source = self.class.source.get();
        Hit {
            id: self.row.id.get(),
            record_type: self.record_type(),
            // It was checked when the snapshot was opened; checking it again costs little and spares an `unsafe`.
            name: std::str::from_utf8(name_bytes).unwrap_or_default(),
            name_number: name as u32,
            source: snapshot.source_name(source),
            source_number: source,
            timestamp: Timestamp::from_seconds(self.row.timestamp.get()),
            expiry: Timestamp::from_seconds(self.class.expiry.get()),
            port: Some(self.class.port.get()).filter(|&port| port != 0),
            matched: self.matched,
        }
    }
}
