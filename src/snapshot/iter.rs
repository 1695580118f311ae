//! Iteration over all records of a snapshot, in file order.

use zerocopy::little_endian::U64;

use super::{
    layout::{BlockRow, ClassRow, RecordRow, RunRow, SectionKind, Table},
    open::Snapshot,
};
use crate::{
    key::{Digest, Indicator, Ipv4Block, Scope},
    record::{Entry, RecordType},
    timestamp::Timestamp,
};

impl Snapshot {
    /// Returns an iterator over all records with their indicators: table by table, the records of one indicator
    /// together. Expired records are included; kinds whose sections were not read are not.
    ///
    /// ```
    /// # use ksn::{record::{Entry, RecordSink, RecordType}, snapshot::*, timestamp::Timestamp};
    /// # let created = Timestamp::from_seconds(1_795_341_600).unwrap();
    /// let mut builder = SnapshotBuilder::new();
    /// builder.add(0, Entry {
    ///     indicator: ksn::key::Indicator::Ipv4("198.51.100.0/24".parse().unwrap()),
    ///     id: 7,
    ///     record_type: RecordType::Abuse,
    ///     name: "scanner",
    ///     source: "example",
    ///     timestamp: None,
    ///     expiry: None,
    ///     port: None,
    /// });
    /// # let (dataset, compiled_with) = ("local".into(), Default::default());
    /// # let info = SnapshotInfo { dataset, generation: 1, created, compiled_with };
    /// let snapshot = Snapshot::from_bytes(builder.finish(&info).unwrap().into_bytes()).unwrap();
    /// let listed: Vec<_> = snapshot.entries().map(|entry| (entry.indicator.to_string(), entry.id)).collect();
    /// assert_eq!(listed, [("ipv4:198.51.100.0/24".to_owned(), 7)]);
    /// ```
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        Table::all().flat_map(|table| TableIter::of(self, table).entries())
    }
}

/// One table, with the sections that its rows refer to.
#[derive(Clone, Copy)]
struct TableIter<'a> {
    snapshot: &'a Snapshot,
    table: Table,
    records: &'a [RecordRow],
    runs: &'a [RunRow],
    more: &'a [RecordRow],
    classes: &'a [ClassRow],
}

impl<'a> TableIter<'a> {
    fn of(snapshot: &'a Snapshot, table: Table) -> Self {
        Self {
            snapshot,
            table,
            records: snapshot.rows(table, SectionKind::Records),
            runs: snapshot.rows(table, SectionKind::Runs),
            more: snapshot.rows(table, SectionKind::MoreRecords),
            classes: snapshot.rows(Table::Shared, SectionKind::Classes),
        }
    }

    fn entries(self) -> impl Iterator<Item = Entry<'a>> {
        (0..self.records.len()).flat_map(move |key| self.entries_of(key))
    }

    /// Returns the records of one key. There are none if the key is malformed, which is rejected on opening.
    fn entries_of(self, key: usize) -> impl Iterator<Item = Entry<'a>> {
        let first = &self.records[key];
        let class = first.class.get();
        let (class, more) = match class & RecordRow::HAS_MORE {
            0 => (class, &[][..]),
            _ => {
                let run = &self.runs[(class & !RecordRow::HAS_MORE) as usize];
                (run.class.get(), &self.more[run.first.get() as usize..][..run.count.get() as usize])
            }
        };
        let rows = std::iter::once((first, class)).chain(more.iter().map(|row| (row, row.class.get())));
        let indicator = self.indicator(key);
        rows.filter_map(move |(row, class)| Some(self.entry(indicator.clone()?, row, class)))
    }

    fn entry(&self, indicator: Indicator, row: &'a RecordRow, class: u32) -> Entry<'a> {
        let class = &self.classes[class as usize];
        Entry {
            indicator,
            id: row.id.get(),
            record_type: RecordType::from_number(class.record_type).unwrap_or(RecordType::Other),
            name: self.snapshot.names().get(row.name.get()),
            source: self.snapshot.source_name(class.source.get()),
            timestamp: Timestamp::from_seconds(row.timestamp.get()),
            expiry: Timestamp::from_seconds(class.expiry.get()),
            port: Some(class.port.get()).filter(|&port| port != 0),
        }
    }

    fn indicator(&self, key: usize) -> Option<Indicator> {
        match self.table {
            Table::Shared => None,
            Table::Digest(kind) => Digest::new(kind, self.digest(key, kind.width())?).map(Indicator::Digest),
            Table::WebSha256 => Some(Indicator::WebSha256(self.digest(key, 32)?.try_into().ok()?)),
            Table::Web => self.expression(key),
            Table::Ipv4 => {
                let row = self.snapshot.rows::<BlockRow>(Table::Ipv4, SectionKind::Blocks).get(key)?;
                Ipv4Block::new(row.first.get().into(), row.last.get().into()).map(Indicator::Ipv4)
            }
        }
    }

    fn digest(&self, key: usize, width: usize) -> Option<&'a [u8]> {
        self.snapshot.section(self.table, SectionKind::Digests).chunks_exact(width).nth(key)
    }

    /// Returns a web expression: its scope byte is followed by its text.
    fn expression(&self, key: usize) -> Option<Indicator> {
        let ends = self.snapshot.rows::<U64>(Table::Web, SectionKind::ExpressionEnds);
        let start = if key == 0 { 0 } else { ends.get(key - 1)?.get() as usize };
        let bytes =
            self.snapshot.section(Table::Web, SectionKind::ExpressionText).get(start..ends.get(key)?.get() as usize)?;
        let (&scope, text) = bytes.split_first()?;
        Some(Indicator::Web { scope: Scope::from_number(scope)?, expression: std::str::from_utf8(text).ok()?.into() })
    }
}
