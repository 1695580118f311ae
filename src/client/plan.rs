//! A list of keys as batches that a server accepts.
//!
//! A key is one row of its column, but for a web address that is asked by prefixes: it has a row for every text that it
//! may be matched by, and if its host is an IPv4 address, one more in a column of such hosts. All of them are in one
//! batch. What weighs against the limits of a server are rows.

use std::slice;

use sha2::{Digest as _, Sha256};

use crate::{
    batch::{Column, ColumnBuf, Detail},
    key::{DigestKind, Key, KeyKind, PrefixWidth, ScopeSet, WebAddress},
    wire::{ServerLimits, request_bytes},
};

/// Some of a list of keys, by kind.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) columns: Vec<BatchColumn>,
    /// What is wanted of each key.
    pub(super) detail: Detail,
    keys: usize,
    load: Load,
}

/// What keys weigh against the limits of a server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    rows: usize,
    cost: u64,
    /// Bytes of keys and columns.
    bytes: usize,
    /// The columns, a bit each.
    columns: u16,
    /// How many bytes of a digest are asked, if not all.
    prefix: Option<PrefixWidth>,
}

impl Load {
    /// That of no keys, of which so many bytes will be asked, if not all.
    fn new(prefix: Option<PrefixWidth>) -> Self {
        Self { prefix, ..Self::default() }
    }

    /// The same with some keys more.
    pub(super) fn with<'k>(mut self, keys: impl IntoIterator<Item = &'k Key>) -> Self {
        keys.into_iter().for_each(|key| self.add(key));
        self
    }

    fn add(&mut self, key: &Key) {
        let (kind, own) = (key.kind(), Part::Keys(key.kind()));
        match (key, self.prefix) {
            (Key::Digest(_), Some(width)) => self.add_rows(own, 1, width.bytes(), kind.cost()),
            (Key::Digest(digest), None) => self.add_rows(own, 1, digest.bytes().len(), kind.cost()),
            (Key::Ipv4(_), _) => self.add_rows(own, 1, 4, kind.cost()),
            (Key::Web(address), None) => self.add_rows(own, 1, 4 + address.as_str().len(), kind.cost()),
            (Key::Web(address), Some(width)) => {
                let (parts, mut texts) = (address.parts(), 0);
                parts.for_each_text(|_, _| texts += 1);
                self.add_rows(own, texts, width.bytes(), Column::WebPrefixes { width, bytes: &[] }.key_cost());
                if parts.ipv4().is_some() {
                    self.add_rows(Part::Hosts, 1, 4, KeyKind::Ipv4.cost());
                }
            }
        }
    }

    fn add_rows(&mut self, part: Part, rows: usize, row_bytes: usize, row_cost: u64) {
        let column = part.bit();
        self.bytes += if self.columns & column == 0 { COLUMN_BYTES } else { 0 };
        self.columns |= column;
        self.rows += rows;
        self.cost += rows as u64 * row_cost;
        self.bytes += rows * row_bytes;
    }

    /// How many rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn is_within(&self, limits: &ServerLimits) -> bool {
        self.rows <= limits.keys as usize
            && self.cost <= limits.cost
            && request_bytes(&[]) + self.bytes <= limits.request_bytes as usize
            && self.columns.count_ones() <= limits.columns.into()
    }
}

/// What keys weigh in a batch, asked in that way, if a server accepts them in one.
pub(super) fn load_of(keys: &[Key], limits: &ServerLimits, prefix: Option<PrefixWidth>) -> Option<Load> {
    let is_short = |key: &Key| match key {
        // The text of one that is asked by prefixes stays here.
        Key::Web(address) => prefix.is_some() || address.as_str().len() <= limits.address_bytes as usize,
        Key::Digest(_) | Key::Ipv4(_) => true,
    };
    let load = Load::new(prefix).with(keys);
    (load.is_within(limits) && keys.iter().all(is_short)).then_some(load)
}

/// What the rows of a column stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Keys of a kind.
    Keys(KeyKind),
    /// The hosts of web addresses whose other rows are in the column of that kind.
    Hosts,
}

impl Part {
    fn bit(self) -> u16 {
        match self {
            Self::Keys(kind) => 1 << kind.number(),
            // No kind has the number 0.
            Self::Hosts => 1,
        }
    }
}

/// One column of a batch.
#[derive(Debug)]
pub(super) struct BatchColumn {
    part: Part,
    /// Where the key of each row stands in the list. The rows of one address lie together.
    pub(super) keys: Vec<u32>,
    pub(super) rows: Rows,
}

/// What is asked in a column.
#[derive(Debug)]
pub(super) enum Rows {
    /// Whole keys.
    Whole(ColumnBuf),
    /// Digests by their first bytes.
    Digests(DigestKind, Prefixes),
    /// Web addresses by the first bytes of the SHA-256 of their texts.
    Expressions(Expressions),
    /// The hosts of those that are IPv4 addresses.
    Hosts(ColumnBuf),
}

/// Digests taken apart: what is asked, and what the answer is compared with.
#[derive(Debug)]
pub(super) struct Prefixes {
    width: PrefixWidth,
    bytes: Vec<u8>,
    rests: Vec<u8>,
}

/// Web addresses by their texts.
#[derive(Debug)]
pub(super) struct Expressions {
    prefixes: Prefixes,
    /// Each with its first row.
    addresses: Vec<(usize, WebAddress)>,
}

impl Batch {
    /// A batch without keys, of which so much is wanted. They will be asked by so many bytes, if not whole.
    pub(super) fn new(detail: Detail, prefix: Option<PrefixWidth>) -> Self {
        Self { columns: Vec::new(), detail, keys: 0, load: Load::new(prefix) }
    }

    /// The columns as a request has them.
    pub(super) fn columns(&self) -> Vec<Column<'_>> {
        self.columns.iter().map(BatchColumn::column).collect()
    }

    /// What to ask for. The winner of an address that is asked by prefixes is known only when all its records are.
    pub(super) fn asked_detail(&self) -> Detail {
        let has_expressions = self.columns.iter().any(|column| matches!(column.rows, Rows::Expressions(_)));
        if has_expressions { Detail::All } else { self.detail }
    }

    /// The kinds of its keys.
    pub(super) fn kinds(&self) -> impl Iterator<Item = KeyKind> {
        self.columns.iter().filter_map(|column| match column.part {
            Part::Keys(kind) => Some(kind),
            Part::Hosts => None,
        })
    }

    /// How many keys.
    pub(super) fn len(&self) -> usize {
        self.keys
    }

    pub(super) fn load(&self) -> Load {
        self.load
    }

    /// Adds a key that stands at a place of its list.
    pub(super) fn push(&mut self, at: u32, key: &Key) {
        self.load.add(key);
        self.keys += 1;
        self.column(Part::Keys(key.kind())).push(at, key);
        if let (Key::Web(address), Some(_)) = (key, self.load.prefix)
            && let Some(host) = address.parts().ipv4()
        {
            self.column(Part::Hosts).push(at, &host.into());
        }
    }

    fn column(&mut self, part: Part) -> &mut BatchColumn {
        let index = match self.columns.iter().position(|column| column.part == part) {
            Some(index) => index,
            None => {
                let rows = Rows::new(part, self.load.prefix);
                self.columns.push(BatchColumn { part, keys: Vec::new(), rows });
                self.columns.len() - 1
            }
        };
        &mut self.columns[index]
    }
}

impl BatchColumn {
    fn push(&mut self, at: u32, key: &Key) {
        let rows = self.rows.push(key);
        self.keys.extend(std::iter::repeat_n(at, rows));
    }

    fn column(&self) -> Column<'_> {
        match &self.rows {
            Rows::Whole(whole) | Rows::Hosts(whole) => whole.column(),
            Rows::Digests(kind, Prefixes { width, bytes, .. }) => {
                Column::Prefixes { kind: *kind, width: *width, bytes }
            }
            Rows::Expressions(Expressions { prefixes: Prefixes { width, bytes, .. }, .. }) => {
                Column::WebPrefixes { width: *width, bytes }
            }
        }
    }
}

impl Rows {
    fn new(part: Part, prefix: Option<PrefixWidth>) -> Self {
        match (part, prefix) {
            (Part::Keys(KeyKind::Digest(kind)), Some(width)) => Self::Digests(kind, Prefixes::new(width)),
            (Part::Keys(KeyKind::Web), Some(width)) => {
                Self::Expressions(Expressions { prefixes: Prefixes::new(width), addresses: Vec::new() })
            }
            (Part::Keys(kind), _) => Self::Whole(ColumnBuf::new(kind)),
            (Part::Hosts, _) => Self::Hosts(ColumnBuf::new(KeyKind::Ipv4)),
        }
    }

    /// Adds the rows of a key, and tells how many.
    fn push(&mut self, key: &Key) -> usize {
        match (self, key) {
            (Self::Whole(whole) | Self::Hosts(whole), key) => whole.push(key),
            (Self::Digests(_, prefixes), Key::Digest(digest)) => prefixes.push(digest.bytes()),
            (Self::Expressions(expressions), Key::Web(address)) => return expressions.push(address),
            (rows, key) => unreachable!("{key} in a column of {rows:?}"),
        }
        1
    }
}

impl Prefixes {
    fn new(width: PrefixWidth) -> Self {
        Self { width, bytes: Vec::new(), rests: Vec::new() }
    }

    fn push(&mut self, digest: &[u8]) {
        let (prefix, rest) = digest.split_at(self.width.bytes());
        self.bytes.extend_from_slice(prefix);
        self.rests.extend_from_slice(rest);
    }

    fn rows(&self) -> usize {
        self.bytes.len() / self.width.bytes()
    }

    /// Whether the digest of a row goes on like this behind its prefix.
    pub(super) fn is_rest(&self, row: usize, suffix: &[u8]) -> bool {
        let width = self.rests.len() / self.rows();
        self.rests[row * width..][..width] == *suffix
    }
}

impl Expressions {
    fn push(&mut self, address: &WebAddress) -> usize {
        let first = self.prefixes.rows();
        address.parts().for_each_text(|_, text| self.prefixes.push(&Sha256::digest(text)));
        self.addresses.push((first, address.clone()));
        self.prefixes.rows() - first
    }

    /// The text of a row, if its SHA-256 goes on like this, with the scopes in which its address tries it.
    pub(super) fn text(&self, row: usize, suffix: &[u8]) -> Option<(ScopeSet, &[u8])> {
        if !self.prefixes.is_rest(row, suffix) {
            return None;
        }
        let at = self.addresses.partition_point(|(first, _)| *first <= row);
        let (first, address) = self.addresses.get(at.checked_sub(1)?)?;
        let (mut found, mut next) = (None, *first);
        address.parts().for_each_text(|scopes, text| {
            if next == row {
                found = Some((scopes, text));
            }
            next += 1;
        });
        found
    }
}

/// Takes a list apart, batch by batch.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    keys: &'a [Key],
    next: usize,
    limits: ServerLimits,
    detail: Detail,
    prefix: Option<PrefixWidth>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(keys: &'a [Key], limits: ServerLimits, detail: Detail, prefix: Option<PrefixWidth>) -> Self {
        Self { keys, next: 0, limits, detail, prefix }
    }

    /// The batches of those keys of one that were not answered.
    ///
    /// If some were, the rest comes further in one batch. If none was, since the first address alone has more to say than
    /// a frame holds, halves of them do, for a batch of one key has an answer in any case.
    pub(super) fn again(&self, batch: &Batch, rest: &[u32]) -> impl Iterator<Item = Batch> {
        let most = if rest.len() == batch.len() { rest.len().div_ceil(2) } else { rest.len() };
        rest.chunks(most.max(1)).map(|keys| {
            let mut batch = Batch::new(self.detail, self.prefix);
            keys.iter().for_each(|&at| batch.push(at, &self.keys[at as usize]));
            batch
        })
    }
}

impl Iterator for Planner<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let mut batch = Batch::new(self.detail, self.prefix);
        while let Some(key) = self.keys.get(self.next) {
            if load_of(slice::from_ref(key), &self.limits, self.prefix).is_some() {
                if !batch.load.with([key]).is_within(&self.limits) {
                    break;
                }
                batch.push(self.next as u32, key);
            }
            self.next += 1;
        }
        (batch.len() > 0).then_some(batch)
    }
}

/// What a column adds to a request besides its keys.
const COLUMN_BYTES: usize = 16;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::client) fn keys() -> Vec<Key> {
        (0..10u8)
            .flat_map(|i| {
                let digest = crate::key::Digest::new(DigestKind::Md5, &[i; 16]).unwrap();
                let web = WebAddress::parse(&format!("host{i}.example/")).unwrap();
                [digest.into(), web.into(), std::net::Ipv4Addr::new(192, 0, 2, i).into()]
            })
            .collect()
    }

    #[test]
    fn batches_keep_to_every_limit_and_lose_no_key() {
        let mut keys = keys();
        keys.extend(
            ["192.0.2.1/a/b/c", "a.b.c.d.e.f.g/1/2/3/4/5?q"].map(|text| WebAddress::parse(text).unwrap().into()),
        );
        let default = ServerLimits::default();
        for prefix in [None, Some(PrefixWidth::Eight), Some(PrefixWidth::Four)] {
            for limits in [
                default,
                ServerLimits { keys: 40, ..default },
                ServerLimits { cost: 40, ..default },
                ServerLimits { request_bytes: 400, ..default },
                ServerLimits { columns: 2, ..default },
            ] {
                let mut seen = Vec::new();
                for batch in Planner::new(&keys, limits, Detail::All, prefix) {
                    let columns = batch.columns();
                    let cost: u64 = columns.iter().map(|c| c.rows() as u64 * c.key_cost()).sum();
                    let rows: usize = columns.iter().map(Column::rows).sum();
                    assert!(rows as u32 <= limits.keys && cost <= limits.cost);
                    assert_eq!((rows, cost), (batch.load.rows, batch.load.cost));
                    assert!(columns.len() <= limits.columns.into());
                    assert_eq!(request_bytes(&columns), request_bytes(&[]) + batch.load.bytes);
                    assert!(request_bytes(&columns) <= limits.request_bytes as usize);
                    assert!(batch.columns.iter().zip(&columns).all(|(own, column)| own.keys.len() == column.rows()));
                    let mut own: Vec<u32> = batch.columns.iter().flat_map(|column| column.keys.clone()).collect();
                    own.sort_unstable();
                    own.dedup();
                    assert_eq!(own.len(), batch.len());
                    seen.extend(own);
                }
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..keys.len() as u32), "{limits:?}, {prefix:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_asked_is_left_out() {
        let keys = keys();
        let asked = |limits: ServerLimits, prefix| -> usize {
            Planner::new(&keys, limits, Detail::Winner, prefix).map(|batch| batch.len()).sum()
        };
        let limits = ServerLimits { address_bytes: 5, ..ServerLimits::default() };
        assert_eq!(asked(limits, None), 20);
        // Its text is not sent; it has three of them.
        assert_eq!(asked(limits, Some(PrefixWidth::Four)), 30);
        let limits = ServerLimits { keys: 2, ..ServerLimits::default() };
        assert_eq!((asked(limits, None), asked(limits, Some(PrefixWidth::Four))), (30, 20));
    }

    #[test]
    fn what_was_not_answered_is_asked_again_until_it_is_asked_alone() {
        let keys = keys();
        let planner = Planner::new(&keys, ServerLimits::default(), Detail::All, None);
        let again = |asked: &[u32], rest: &[u32]| -> Vec<usize> {
            let mut batch = Batch::new(Detail::All, None);
            asked.iter().for_each(|&at| batch.push(at, &keys[at as usize]));
            planner.again(&batch, rest).map(|batch| batch.len()).collect()
        };
        assert_eq!(again(&[1, 2, 3, 4, 5], &[]), [0; 0]);
        assert_eq!(again(&[1, 2, 3, 4, 5], &[2, 3, 4, 5]), [4]);
        assert_eq!(again(&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]), [3, 2]);
        assert_eq!(again(&[4, 5], &[4, 5]), [1, 1]);
    }
}
