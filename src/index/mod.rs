//! The index: tables over an opened snapshot, searched by the batch.
//!
//! | key | table | lines of memory for a key that is not listed |
//! | --- | --- | --- |
//! | digest | [`digests`]: buckets of fingerprints | 1 |
//! | web address | [`web`]: the same over a hash of each expression | 1 an expression |
//! | IPv4 | [`ipv4`]: segments of the address space | 1 |
//!
//! It knows keys, records and sections; it knows nothing of frames, sockets or clocks: what counts now is an argument.
//! The entry is [`Base::answer`].

mod bucket;
mod digests;
mod ipv4;
mod prefetch;
mod records;
mod web;

use std::{
    net::Ipv4Addr,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use self::{
    bucket::Candidate,
    digests::DigestTable,
    ipv4::Ipv4Index,
    records::{Match, Records},
    web::WebTable,
};
use crate::{
    batch::{Column, Detail, Exception, Matched, Position, Sink, Texts},
    key::{AddressParts, DigestKind, Ipv4Block, Scope, ScopeSet},
    record::{Specificity, sort_by_precedence},
    snapshot::{
        Snapshot,
        layout::{BlockRow, Role, Table},
    },
    timestamp::Timestamp,
};

/// A snapshot with what is made of it when it is opened. Immutable.
#[derive(Debug)]
pub(crate) struct Base {
    snapshot: Arc<Snapshot>,
    ipv4: Ipv4Index,
}

/// Rows that are searched in one go: their candidates stay in the first-level cache, and a slice of work stays well
/// below 50 µs.
const CHUNK_ROWS: usize = 1024;

impl Base {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        let ipv4 = Ipv4Index::new(snapshot.rows::<BlockRow>(Table::Ipv4, Role::Blocks));
        Self { snapshot, ipv4 }
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Answers rows of a column into a sink. `Break` holds the first row that was not answered.
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
        let mut answer = Answering { base: self, number, detail, now, sink, candidates: Vec::new() };
        for start in rows.clone().step_by(CHUNK_ROWS) {
            let chunk = start..(start + CHUNK_ROWS).min(rows.end);
            match *column {
                Column::Digests { kind, bytes } => answer.digests(kind, bytes, chunk)?,
                Column::Web(texts) => answer.web(&texts, chunk)?,
                Column::Ipv4(addresses) => answer.ipv4(addresses, chunk)?,
            }
        }
        ControlFlow::Continue(())
    }
}

/// One column being answered.
struct Answering<'a, 's, S> {
    base: &'a Base,
    number: u16,
    detail: Detail,
    now: Timestamp,
    sink: &'s mut S,
    candidates: Vec<Candidate>,
}

impl<'a, S: Sink> Answering<'a, '_, S> {
    fn digests(&mut self, kind: DigestKind, bytes: &[u8], rows: Range<usize>) -> ControlFlow<u32> {
        match kind.width() {
            16 => self.digests_of::<16>(kind, bytes, rows),
            20 => self.digests_of::<20>(kind, bytes, rows),
            _ => self.digests_of::<32>(kind, bytes, rows),
        }
    }

    fn digests_of<const W: usize>(&mut self, kind: DigestKind, bytes: &[u8], rows: Range<usize>) -> ControlFlow<u32> {
        let (digests, _) = bytes.as_chunks::<W>();
        let digests = &digests[rows.clone()];
        let table = DigestTable::<W>::of(&self.base.snapshot, Table::Digest(kind));
        let mut found = Vec::new();
        table.search(digests, &mut self.candidates, |row, key| found.push((row, key)));
        let mut matches = Vec::new();
        for (at, &(row, key)) in found.iter().enumerate() {
            if let Some(&(_, ahead)) = found.get(at + 8) {
                table.prefetch_record(ahead);
            }
            table.records.matches_of(key, Matched::Digest, Specificity::DIGEST, self.now, &mut matches);
            self.emit(rows.start + row, &mut matches)?;
        }
        ControlFlow::Continue(())
    }

    fn ipv4(&mut self, addresses: &[[u8; 4]], rows: Range<usize>) -> ControlFlow<u32> {
        const AHEAD: usize = bucket::PREFETCH_KEYS;
        if self.base.ipv4.is_empty() {
            return ControlFlow::Continue(());
        }
        let addresses = &addresses[rows.clone()];
        addresses.iter().take(AHEAD).for_each(|address| self.base.ipv4.prefetch(*address));
        let mut matches = Vec::new();
        for (row, &address) in addresses.iter().enumerate() {
            if let Some(&ahead) = addresses.get(row + AHEAD) {
                self.base.ipv4.prefetch(ahead);
            }
            self.blocks_of(address.into(), &mut matches);
            self.emit(rows.start + row, &mut matches)?;
        }
        ControlFlow::Continue(())
    }

    /// Adds the records of every block that contains an address.
    fn blocks_of<'m>(&self, address: Ipv4Addr, matches: &mut Vec<Match<'m>>)
    where
        'a: 'm,
    {
        let base = self.base;
        base.ipv4.search(address, |key| {
            let records = Records::of(&base.snapshot, Table::Ipv4);
            let row = &base.snapshot.rows::<BlockRow>(Table::Ipv4, Role::Blocks)[key];
            if let Some(block) = Ipv4Block::new(row.first.get().into(), row.last.get().into()) {
                records.matches_of(key, Matched::Block(block), Specificity::of_block(block), self.now, matches);
            }
        });
    }

    fn web(&mut self, texts: &Texts<'_>, rows: Range<usize>) -> ControlFlow<u32> {
        let table = WebTable::of(&self.base.snapshot);
        let mut wanted = Vec::with_capacity(rows.len() * 8);
        let mut addresses = Vec::with_capacity(rows.len());
        for row in rows.clone() {
            let address = AddressParts::split(texts.get(row));
            if let Some(address) = &address {
                let place = (row - rows.start) as u32;
                address.for_each_expression(table.scopes, |scope, text| {
                    wanted.push(table.wanted(place, scope, text));
                });
            }
            addresses.push(address);
        }
        let mut found = Vec::new();
        table.search(&wanted, &mut self.candidates, |at, key| found.push((wanted[at].row, wanted[at].scope, key)));

        let sha256 = DigestTable::<32>::of(&self.base.snapshot, Table::WebSha256);
        let mut found = found.into_iter().peekable();
        let mut matches = Vec::new();
        for (place, address) in addresses.iter().enumerate() {
            let row = rows.start + place;
            let Some(address) = address else {
                let at = self.position(row);
                self.sink.exception(at, Exception::Malformed).map_break(|()| row as u32)?;
                continue;
            };
            while let Some((_, scope, key)) = found.next_if(|&(of, ..)| of as usize == place) {
                let text = table.text(key);
                let specificity = Specificity::of_web(scope, text);
                table.records.matches_of(key, Matched::Web(scope, text), specificity, self.now, &mut matches);
            }
            if !sha256.records.rows.is_empty() {
                self.hashed_expressions(&sha256, address, &mut matches);
            }
            if let Some(address) = address.ipv4() {
                self.blocks_of(address, &mut matches);
            }
            self.emit(row, &mut matches)?;
        }
        ControlFlow::Continue(())
    }

    /// Adds the records of expressions that are listed by their SHA-256 alone. Hashing thirty expressions costs 2 µs,
    /// so this is done only where there are such records.
    fn hashed_expressions<'m>(
        &mut self,
        table: &DigestTable<'m, 32>,
        address: &AddressParts<'m>,
        matches: &mut Vec<Match<'m>>,
    ) {
        let mut digests = Vec::with_capacity(30);
        let mut texts = Vec::with_capacity(30);
        address.for_each_expression(ScopeSet::default().with(Scope::Expression), |_, text| {
            digests.push(Sha256::digest(text).into());
            texts.push(text);
        });
        let now = self.now;
        table.search(&digests, &mut self.candidates, |at, key| {
            let specificity = Specificity::of_web(Scope::Expression, texts[at]);
            let matched = Matched::Web(Scope::Expression, texts[at]);
            table.records.matches_of(key, matched, specificity, now, matches);
        });
    }

    /// Hands the matches of one key to the sink, the winner first, and empties them.
    #[inline]
    fn emit(&mut self, row: usize, matches: &mut Vec<Match<'_>>) -> ControlFlow<u32> {
        if matches.is_empty() {
            return ControlFlow::Continue(());
        }
        if matches.len() > 1 {
            sort_by_precedence(matches, Match::standing);
        }
        let answered = match self.detail {
            Detail::Winner => 1,
            Detail::All => matches.len(),
        };
        let at = self.position(row);
        for found in &matches[..answered] {
            self.sink.hit(at, &found.hit()).map_break(|()| row as u32)?;
        }
        matches.clear();
        ControlFlow::Continue(())
    }

    fn position(&self, row: usize) -> Position {
        Position { column: self.number, row: row as u32 }
    }
}
