//! The index: tables over an opened snapshot, searched in batches.
//!
//! | key | table | cache lines read for a miss |
//! | --- | --- | --- |
//! | digest | [`digests`]: buckets of fingerprints, see [`probe`] | 1 |
//! | its first 8 bytes | the same | 1 |
//! | its first 4 bytes | the same, without the fingerprints | 1, and the digests of a bucket: 3 to 5 |
//! | web address | [`web`]: the same over a hash of each expression | 1 per expression |
//! | prefix of an expression's SHA-256 | [`expressions`]: the same, built at the first lookup | 1; 2 or 3 for 4 bytes |
//! | IPv4 | [`ipv4`]: segments of the address space | 1 |
//!
//! The index deals with keys, records and sections, not with frames, sockets or clocks: the current time is an
//! argument. The entry point is [`Layer::answer`].

mod digests;
mod expressions;
mod ipv4;
mod kernel;
mod prefetch;
mod probe;
mod records;
mod web;

use std::{
    ops::{ControlFlow, Range},
    sync::{Arc, OnceLock},
};

use sha2::{Digest as _, Sha256};

use self::{
    digests::DigestTable,
    expressions::TextHashes,
    ipv4::Ipv4Index,
    prefetch::prefetch,
    probe::{Found, Scratch},
    records::{Match, Records, SingleRecord, emit},
    web::WebTable,
};
use crate::{
    batch::{Column, Detail, Matched, Position, Sink, Texts, Unanswered},
    key::{AddressParts, DigestKind, Ipv4Block, PrefixWidth, Scope, ScopeSet},
    record::Specificity,
    snapshot::{
        Snapshot,
        layout::{BlockRow, SectionKind, Table},
    },
    timestamp::Timestamp,
};

/// A snapshot with the immutable search structures that are derived from it.
#[derive(Debug)]
pub(crate) struct Layer {
    snapshot: Arc<Snapshot>,
    ipv4: Ipv4Index,
    /// Built at the first lookup by SHA-256 of an expression.
    text_hashes: OnceLock<TextHashes>,
}

impl Layer {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        let ipv4 = Ipv4Index::new(snapshot.rows::<BlockRow>(Table::Ipv4, SectionKind::Blocks));
        Self { snapshot, ipv4, text_hashes: OnceLock::new() }
    }

    /// Builds what `other` has built at the first lookup that needed it, so that no lookup waits for it again.
    pub(crate) fn build_as(&self, other: &Self) {
        if other.text_hashes.get().is_some() {
            self.text_hashes.get_or_init(|| TextHashes::of(&WebTable::of(&self.snapshot)));
        }
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Answers rows of a column by calls of `sink`. Returns `Break` with the first unanswered row if the sink stops.
    pub(crate) fn answer(
        &self,
        number: u16,
        column: &Column<'_>,
        rows: Range<u32>,
        detail: Detail,
        now: Timestamp,
        sink: &mut impl Sink,
    ) -> ControlFlow<u32> {
        let rows = rows.start as usize..(rows.end as usize).min(column.rows());
        if !self.snapshot.has(column.kind()) {
            // Not listed and not read are different answers.
            return rows.map(|row| row as u32).try_for_each(|row| {
                let at = Position { column: number, row };
                sink.unanswered(at, Unanswered::Unsupported).map_break(|()| row)
            });
        }
        let mut query = Query { layer: self, number, detail, now, sink };
        match *column {
            Column::Digests { kind, bytes } => match kind.width() {
                16 => query.digests::<16, 16>(kind, bytes, rows),
                20 => query.digests::<20, 20>(kind, bytes, rows),
                _ => query.digests::<32, 32>(kind, bytes, rows),
            },
            Column::Prefixes { kind, width: PrefixWidth::Eight, bytes } => query.prefixes::<8>(kind, bytes, rows),
            Column::Prefixes { kind, width: PrefixWidth::Four, bytes } => query.prefixes::<4>(kind, bytes, rows),
            Column::Web(texts) => query.web(&texts, rows),
            Column::WebPrefixes { width: PrefixWidth::Eight, bytes } => query.expressions::<8>(bytes, rows),
            Column::WebPrefixes { width: PrefixWidth::Four, bytes } => query.expressions::<4>(bytes, rows),
            Column::Ipv4(addresses) => query.ipv4(addresses, rows),
        }
    }
}

/// A query for one column. Buffers are allocated once per call and reused for all chunks; there is no allocation per
/// key.
struct Query<'a, 's, S> {
    layer: &'a Layer,
    number: u16,
    detail: Detail,
    now: Timestamp,
    sink: &'s mut S,
}

impl<'a, S: Sink> Query<'a, '_, S> {
    fn prefixes<const P: usize>(&mut self, kind: DigestKind, bytes: &[u8], rows: Range<usize>) -> ControlFlow<u32> {
        match kind.width() {
            16 => self.digests::<16, P>(kind, bytes, rows),
            20 => self.digests::<20, P>(kind, bytes, rows),
            _ => self.digests::<32, P>(kind, bytes, rows),
        }
    }

    /// Answers keys of `P` bytes from the table of digests of `W` bytes.
    fn digests<const W: usize, const P: usize>(
        &mut self,
        kind: DigestKind,
        bytes: &[u8],
        rows: Range<usize>,
    ) -> ControlFlow<u32> {
        let (queries, _) = bytes.as_chunks::<P>();
        let table = DigestTable::<W>::of(&self.layer.snapshot, Table::Digest(kind));
        let (mut scratch, mut found, mut matches) = (Scratch::default(), Vec::new(), Vec::new());
        let mut start = rows.start;
        while start < rows.end {
            let chunk = start..(start + CHUNK_ROWS).min(rows.end);
            start += table.search(&queries[chunk.clone()], &mut scratch, &mut found);
            table.records.prefetch_names(&found);
            for found in &found {
                let (at, key) = (self.position(chunk.start + found.row as usize), found.key as usize);
                self.emit_key(&table.records, key, table.matched::<P>(key), at, &mut matches)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Emits the records of one key of a table; nearly always there is one.
    #[inline]
    fn emit_key<'m>(
        &mut self,
        records: &Records<'m>,
        key: usize,
        matched: Matched<'m>,
        at: Position,
        matches: &mut Vec<Match<'m>>,
    ) -> ControlFlow<u32> {
        match records.single_record(key, self.now) {
            SingleRecord::One(row, class) => {
                self.sink.hit(at, &records.hit(row, class, matched)).map_break(|()| at.row)
            }
            SingleRecord::None => ControlFlow::Continue(()),
            SingleRecord::Several => {
                self.sink.announce(at, records.count(key)).map_break(|()| at.row)?;
                // All records of one key match with the same specificity.
                records.matches_of(key, matched, Specificity::DIGEST, self.now, matches);
                emit(at, matches, self.detail, self.sink)
            }
        }
    }

    fn ipv4(&mut self, addresses: &[[u8; 4]], rows: Range<usize>) -> ControlFlow<u32> {
        let blocks = Blocks::of(&self.layer.snapshot);
        let (mut covered, mut found, mut matches) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in chunks(rows, CHUNK_ROWS) {
            let addresses = &addresses[chunk.clone()];
            self.layer.ipv4.segments(addresses, &mut covered);
            let mut covered = covered.iter().peekable();
            while covered.peek().is_some() {
                found.clear();
                // An address may lie in any number of blocks, so the number collected at once is limited.
                while let Some(&(row, segment)) = covered.next_if(|_| found.len() < CHUNK_ROWS) {
                    self.layer.ipv4.for_each_block(addresses[row as usize].into(), segment, |key| {
                        blocks.prefetch(key);
                        found.push(Found { row, key: key as u32 });
                    });
                }
                blocks.records.prefetch_names(&found);
                for own in found.chunk_by(|a, b| a.row == b.row) {
                    self.blocks(&blocks, own, self.position(chunk.start + own[0].row as usize), &mut matches)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Emits the records of the blocks that contain an address; nearly always there is one.
    #[inline]
    fn blocks(
        &mut self,
        blocks: &Blocks<'a>,
        found: &[Found],
        at: Position,
        matches: &mut Vec<Match<'a>>,
    ) -> ControlFlow<u32> {
        if let [only] = found
            && let Some(block) = blocks.block(only.key as usize)
        {
            return self.emit_key(&blocks.records, only.key as usize, Matched::Block(block), at, matches);
        }
        let records = found.iter().map(|found| blocks.records.count(found.key as usize)).sum();
        self.sink.announce(at, records).map_break(|()| at.row)?;
        found.iter().for_each(|found| blocks.matches_of(found.key as usize, self.now, matches));
        emit(at, matches, self.detail, self.sink)
    }

    fn web<'k>(&mut self, texts: &Texts<'k>, rows: Range<usize>) -> ControlFlow<u32>
    where
        'a: 'k,
    {
        let table = WebTable::of(&self.layer.snapshot);
        let sha256 = DigestTable::<32>::of(&self.layer.snapshot, Table::WebSha256);
        let blocks = Blocks::of(&self.layer.snapshot);
        let (mut scratch, mut found, mut matches) = (Scratch::default(), Vec::new(), Vec::new());
        let mut hashed = Hashed::default();
        // Capacity for the expressions of addresses of average length; more are rare.
        let rows_at_once = rows.len().min(CHUNK_ADDRESSES);
        let (mut addresses, mut wanted) = (Vec::with_capacity(rows_at_once), Vec::with_capacity(rows_at_once * 8));
        for chunk in chunks(rows, CHUNK_ADDRESSES) {
            addresses.clear();
            wanted.clear();
            for row in chunk.clone() {
                let address = AddressParts::split(texts.get(row));
                if let Some(address) = &address {
                    let address_row = (row - chunk.start) as u32;
                    address.for_each_expression(table.scopes, |scope, text| {
                        wanted.push(table.wanted(address_row, scope, text));
                    });
                }
                addresses.push(address);
            }
            table.search(&wanted, &mut scratch, &mut found);
            table.records.prefetch_names(&found);
            let mut found = found.iter().peekable();
            for (row, address) in chunk.clone().zip(&addresses) {
                let at = self.position(row);
                let Some(address) = address else {
                    self.sink.unanswered(at, Unanswered::Malformed).map_break(|()| at.row)?;
                    continue;
                };
                while let Some(found) = found.next_if(|f| wanted[f.row as usize].row as usize == row - chunk.start) {
                    let (key, scope) = (found.key as usize, wanted[found.row as usize].scope);
                    let text = table.text(key);
                    let specificity = Specificity::of_web(scope, text);
                    self.sink.announce(at, table.records.count(key)).map_break(|()| at.row)?;
                    table.records.matches_of(key, Matched::Web(scope, text), specificity, self.now, &mut matches);
                }
                if !sha256.is_empty() {
                    let steps = hashed.search(&sha256, address, &mut scratch);
                    self.sink.announce(at, steps).map_break(|()| at.row)?;
                    hashed.matches_of(&sha256, self.now, &mut matches);
                }
                if let Some(address) = address.ipv4() {
                    let mut records = 0;
                    self.layer.ipv4.search(address, |key| records += blocks.records.count(key));
                    if records > 0 {
                        self.sink.announce(at, records).map_break(|()| at.row)?;
                        self.layer.ipv4.search(address, |key| blocks.matches_of(key, self.now, &mut matches));
                    }
                }
                emit(at, &mut matches, self.detail, self.sink)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn position(&self, row: usize) -> Position {
        Position { column: self.number, row: row as u32 }
    }
}

/// The IPv4 blocks with their records.
struct Blocks<'a> {
    rows: &'a [BlockRow],
    records: Records<'a>,
}

impl<'a> Blocks<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        Self { rows: snapshot.rows(Table::Ipv4, SectionKind::Blocks), records: Records::of(snapshot, Table::Ipv4) }
    }

    #[inline]
    fn prefetch(&self, key: usize) {
        prefetch(self.rows, key);
        self.records.prefetch(key);
    }

    /// Returns a block. Opening a snapshot rejects blocks that end before they start.
    fn block(&self, key: usize) -> Option<Ipv4Block> {
        let row = &self.rows[key];
        Ipv4Block::new(row.first.get().into(), row.last.get().into())
    }

    /// Adds the matches of a block.
    fn matches_of<'m>(&self, key: usize, now: Timestamp, matches: &mut Vec<Match<'m>>)
    where
        'a: 'm,
    {
        if let Some(block) = self.block(key) {
            self.records.matches_of(key, Matched::Block(block), Specificity::of_block(block), now, matches);
        }
    }
}

/// The expressions of one address with their SHA-256. Hashing thirty of them takes 2 µs, so this is done only if the
/// snapshot has expressions of unknown text.
#[derive(Default)]
struct Hashed<'k> {
    digests: Vec<[u8; 32]>,
    texts: Vec<&'k [u8]>,
    found: Vec<Found>,
}

impl<'k> Hashed<'k> {
    /// Finds the expressions of an address. Returns the work: the texts hashed and the records found.
    fn search(&mut self, table: &DigestTable<'k, 32>, address: &AddressParts<'k>, scratch: &mut Scratch) -> usize {
        self.digests.clear();
        self.texts.clear();
        address.for_each_expression(ScopeSet::default().with(Scope::Expression), |_, text| {
            self.digests.push(Sha256::digest(text).into());
            self.texts.push(text);
        });
        table.search(&self.digests, scratch, &mut self.found);
        let records: usize = self.found.iter().map(|found| table.records.count(found.key as usize)).sum();
        self.texts.len() + records
    }

    /// Adds the matches of the expressions that were found.
    fn matches_of(&self, table: &DigestTable<'k, 32>, now: Timestamp, matches: &mut Vec<Match<'k>>) {
        for found in &self.found {
            let text = self.texts[found.row as usize];
            let specificity = Specificity::of_web(Scope::Expression, text);
            let matched = Matched::Web(Scope::Expression, text);
            table.records.matches_of(found.key as usize, matched, specificity, now, matches);
        }
    }
}

/// Splits a range into chunks of at most `length`.
fn chunks(rows: Range<usize>, length: usize) -> impl Iterator<Item = Range<usize>> {
    rows.clone().step_by(length).map(move |start| start..(start + length).min(rows.end))
}

/// The number of rows per chunk: the candidates stay in the first-level cache, and a chunk takes well below 50 µs.
const CHUNK_ROWS: usize = 2048;

/// The number of web addresses per chunk, which have several expressions each.
const CHUNK_ADDRESSES: usize = 128;
