//! From the number of a key to its records.

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
    classes: &'a [ClassRow],
    snapshot: &'a Snapshot,
}

/// One record that matches a key, with what of it matched.
#[derive(Clone, Copy)]
pub(super) struct Match<'a> {
    row: &'a RecordRow,
    class: &'a ClassRow,
    specificity: Specificity,
    matched: Matched<'a>,
    snapshot: &'a Snapshot,
}

impl<'a> Records<'a> {
    pub(super) fn of(snapshot: &'a Snapshot, table: Table) -> Self {
        Self {
            rows: snapshot.rows(table, Role::Records),
            runs: snapshot.rows(table, Role::Runs),
            more: snapshot.rows(table, Role::MoreRecords),
            classes: snapshot.rows(Table::Shared, Role::Classes),
            snapshot,
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
            let class = &self.classes[class as usize];
            let expiry = class.expiry.get();
            if expiry == 0 || expiry > now.seconds() {
                matches.push(Match { row, class, specificity, matched, snapshot: self.snapshot });
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
        let (snapshot, name, source) = (self.snapshot, self.row.name.get(), self.class.source.get());
        Hit {
            id: self.row.id.get(),
            record_type: self.record_type(),
            name: snapshot.name(name),
            name_number: name,
            source: snapshot.source_name(source),
            source_number: source,
            timestamp: Timestamp::from_seconds(self.row.timestamp.get()),
            expiry: Timestamp::from_seconds(self.class.expiry.get()),
            port: Some(self.class.port.get()).filter(|&port| port != 0),
            matched: self.matched,
        }
    }
}
