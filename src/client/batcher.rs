//! Splits a list of keys into batches within the limits of a server.
//!
//! A key is one row of its column. The exception is a web address that is sent as prefixes: it has a row for every
//! expression that may match it, and if its host is an IPv4 address, one more row in a column of hosts. All rows of a
//! key are in one batch. The limits of a server count rows.

use std::slice;

use sha2::{Digest as _, Sha256};

use crate::{
    batch::{Column, ColumnBuf, Detail},
    key::{DigestKind, Key, KeyKind, PrefixWidth, ScopeSet, WebAddress},
    limits::PROBE_COST,
    wire::{ServerLimits, request_bytes},
};

/// A batch of keys from a list, in one column per kind.
#[derive(Debug)]
pub(super) struct KeyBatch {
    pub(super) columns: Vec<BatchColumn>,
    /// The detail that the caller requested.
    pub(super) detail: Detail,
    /// Number of keys.
    keys: usize,
    size: BatchSize,
}

/// The size of a batch, as the limits of a server count it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BatchSize {
    rows: usize,
    cost: u64,
    /// Bytes of keys and column headers.
    bytes: usize,
    /// The set of columns, as the bits of [`ColumnKey::bit`].
    columns: u16,
    /// The prefix width; `None` for whole keys.
    prefix: Option<PrefixWidth>,
}

impl BatchSize {
    /// Returns the size of an empty batch.
    fn new(prefix: Option<PrefixWidth>) -> Self {
        Self { prefix, ..Self::default() }
    }

    /// Returns the size after adding keys.
    pub(super) fn with<'k>(mut self, keys: impl IntoIterator<Item = &'k Key>) -> Self {
        keys.into_iter().for_each(|key| self.add(key));
        self
    }

    fn add(&mut self, key: &Key) {
        let own = ColumnKey::Keys(key.kind());
        match (key, self.prefix) {
            (Key::Digest(_), Some(width)) => self.add_rows(own, 1, width.bytes(), key.cost()),
            (Key::Digest(digest), None) => self.add_rows(own, 1, digest.bytes().len(), key.cost()),
            (Key::Ipv4(_), _) => self.add_rows(own, 1, 4, key.cost()),
            (Key::Web(address), None) => self.add_rows(own, 1, 4 + address.as_str().len(), key.cost()),
            (Key::Web(address), Some(width)) => {
                let (parts, mut texts) = (address.parts(), 0);
                parts.for_each_text(|_, _| texts += 1);
                self.add_rows(own, texts, width.bytes(), PROBE_COST);
                if parts.ipv4().is_some() {
                    self.add_rows(ColumnKey::Hosts, 1, 4, PROBE_COST);
                }
            }
        }
    }

    fn add_rows(&mut self, column_key: ColumnKey, rows: usize, row_bytes: usize, row_cost: u64) {
        let column = column_key.bit();
        self.bytes += if self.columns & column == 0 { COLUMN_BYTES } else { 0 };
        self.columns |= column;
        self.rows += rows;
        self.cost += rows as u64 * row_cost;
        self.bytes += rows * row_bytes;
    }

    /// Returns the number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns whether a request of this size is within the limits.
    pub(super) fn is_within(&self, limits: &ServerLimits) -> bool {
        self.rows <= limits.keys as usize
            && self.cost <= limits.cost
            && request_bytes(&[]) + self.bytes <= limits.request_bytes as usize
            && self.columns.count_ones() <= limits.columns.into()
    }
}

/// Returns the size of one batch of all these keys; `None` if it exceeds the limits of the server.
pub(super) fn size_of_batch(keys: &[Key], limits: &ServerLimits, prefix: Option<PrefixWidth>) -> Option<BatchSize> {
    let is_short = |key: &Key| match key {
        // With prefixes, the text of an address is not sent.
        Key::Web(address) => prefix.is_some() || address.as_str().len() <= limits.address_bytes as usize,
        Key::Digest(_) | Key::Ipv4(_) => true,
    };
    let size = BatchSize::new(prefix).with(keys);
    (size.is_within(limits) && keys.iter().all(is_short)).then_some(size)
}

/// Identifies a column within a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ColumnKey {
    /// The column of the keys of one kind.
    Keys(KeyKind),
    /// The column of IPv4 hosts of web addresses whose other rows are in the column of their kind.
    Hosts,
}

impl ColumnKey {
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
    column_key: ColumnKey,
    /// The list index of the key of each row. The rows of one address are adjacent.
    pub(super) keys: Vec<u32>,
    pub(super) rows: Rows,
}

/// The rows of a column.
#[derive(Debug)]
pub(super) enum Rows {
    /// Whole keys.
    Whole(ColumnBuf),
    /// Prefixes of digests.
    Digests(DigestKind, Prefixes),
    /// Prefixes of the SHA-256 of the expressions of web addresses.
    Expressions(Expressions),
    /// The hosts of web addresses, as IPv4 addresses.
    Hosts(ColumnBuf),
}

/// Digests split into the prefixes that are sent and the suffixes that answers are compared with.
#[derive(Debug)]
pub(super) struct Prefixes {
    width: PrefixWidth,
    bytes: Vec<u8>,
    suffixes: Vec<u8>,
}

/// Web addresses and the hashes of their expressions.
#[derive(Debug)]
pub(super) struct Expressions {
    prefixes: Prefixes,
    /// The addresses, each with the number of its first row.
    addresses: Vec<(usize, WebAddress)>,
}

impl KeyBatch {
    /// Creates an empty batch. `prefix` is the prefix width; `None` sends whole keys.
    pub(super) fn new(detail: Detail, prefix: Option<PrefixWidth>) -> Self {
        Self { columns: Vec::new(), detail, keys: 0, size: BatchSize::new(prefix) }
    }

    /// Returns the columns of the request.
    pub(super) fn columns(&self) -> Vec<Column<'_>> {
        self.columns.iter().map(BatchColumn::column).collect()
    }

    /// Returns the detail to request: [`Detail::All`] if the batch has web addresses as prefixes, because their winner
    /// can be chosen only from all records.
    pub(super) fn request_detail(&self) -> Detail {
        let has_expressions = self.columns.iter().any(|column| matches!(column.rows, Rows::Expressions(_)));
        if has_expressions { Detail::All } else { self.detail }
    }

    /// Returns the kinds of the keys.
    pub(super) fn kinds(&self) -> impl Iterator<Item = KeyKind> {
        self.columns.iter().filter_map(|column| match column.column_key {
            ColumnKey::Keys(kind) => Some(kind),
            ColumnKey::Hosts => None,
        })
    }

    /// Returns the number of keys.
    pub(super) fn len(&self) -> usize {
        self.keys
    }

    /// Returns the size of the batch.
    pub(super) fn size(&self) -> BatchSize {
        self.size
    }

    /// Adds the key at index `at` of the list.
    pub(super) fn push(&mut self, at: u32, key: &Key) {
        self.size.add(key);
        self.keys += 1;
        self.column(ColumnKey::Keys(key.kind())).push(at, key);
        if let (Key::Web(address), Some(_)) = (key, self.size.prefix)
            && let Some(host) = address.parts().ipv4()
        {
            self.column(ColumnKey::Hosts).push(at, &host.into());
        }
    }

    fn column(&mut self, column_key: ColumnKey) -> &mut BatchColumn {
        let index = match self.columns.iter().position(|column| column.column_key == column_key) {
            Some(index) => index,
            None => {
                let rows = Rows::new(column_key, self.size.prefix);
                self.columns.push(BatchColumn { column_key, keys: Vec::new(), rows });
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
    fn new(column_key: ColumnKey, prefix: Option<PrefixWidth>) -> Self {
        match (column_key, prefix) {
            (ColumnKey::Keys(KeyKind::Digest(kind)), Some(width)) => Self::Digests(kind, Prefixes::new(width)),
            (ColumnKey::Keys(KeyKind::Web), Some(width)) => {
                Self::Expressions(Expressions { prefixes: Prefixes::new(width), addresses: Vec::new() })
            }
            (ColumnKey::Keys(kind), _) => Self::Whole(ColumnBuf::new(kind)),
            (ColumnKey::Hosts, _) => Self::Hosts(ColumnBuf::new(KeyKind::Ipv4)),
        }
    }

    /// Adds the rows of a key. Returns their number.
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
        Self { width, bytes: Vec::new(), suffixes: Vec::new() }
    }

    fn push(&mut self, digest: &[u8]) {
        let (prefix, rest) = digest.split_at(self.width.bytes());
        self.bytes.extend_from_slice(prefix);
        self.suffixes.extend_from_slice(rest);
    }

    fn rows(&self) -> usize {
        self.bytes.len() / self.width.bytes()
    }

    /// Returns whether the digest of a row continues with `suffix` after its prefix.
    pub(super) fn has_suffix(&self, row: usize, suffix: &[u8]) -> bool {
        let width = self.suffixes.len() / self.rows();
        self.suffixes[row * width..][..width] == *suffix
    }
}

impl Expressions {
    fn push(&mut self, address: &WebAddress) -> usize {
        let first = self.prefixes.rows();
        address.parts().for_each_text(|_, text| self.prefixes.push(&Sha256::digest(text)));
        self.addresses.push((first, address.clone()));
        self.prefixes.rows() - first
    }

    /// Returns the expression of a row, with the scopes in which it may match the address; `None` unless the SHA-256 of
    /// the expression continues with `suffix` after its prefix.
    pub(super) fn text(&self, row: usize, suffix: &[u8]) -> Option<(ScopeSet, &[u8])> {
        if !self.prefixes.has_suffix(row, suffix) {
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

/// An iterator over the batches of a list of keys. Skips keys that exceed the limits by themselves.
#[derive(Debug)]
pub(super) struct Batcher<'a> {
    keys: &'a [Key],
    next: usize,
    limits: ServerLimits,
    detail: Detail,
    prefix: Option<PrefixWidth>,
}

impl<'a> Batcher<'a> {
    pub(super) fn new(keys: &'a [Key], limits: ServerLimits, detail: Detail, prefix: Option<PrefixWidth>) -> Self {
        Self { keys, next: 0, limits, detail, prefix }
    }

    /// Returns the batches that retry the `remaining` keys of a batch: those that were not answered.
    ///
    /// If some keys were answered, the remaining ones fit into one batch that makes progress. If none was, because the
    /// answer to the first address exceeds a frame, they are split in half: a batch of one key always gets an answer.
    pub(super) fn retry(&self, batch: &KeyBatch, remaining: &[u32]) -> impl Iterator<Item = KeyBatch> {
        let most = if remaining.len() == batch.len() { remaining.len().div_ceil(2) } else { remaining.len() };
        remaining.chunks(most.max(1)).map(|keys| {
            let mut batch = KeyBatch::new(self.detail, self.prefix);
            keys.iter().for_each(|&at| batch.push(at, &self.keys[at as usize]));
            batch
        })
    }
}

impl Iterator for Batcher<'_> {
    type Item = KeyBatch;

    fn next(&mut self) -> Option<KeyBatch> {
        let mut batch = KeyBatch::new(self.detail, self.prefix);
        while let Some(key) = self.keys.get(self.next) {
            if size_of_batch(slice::from_ref(key), &self.limits, self.prefix).is_some() {
                if !batch.size.with([key]).is_within(&self.limits) {
                    break;
                }
                batch.push(self.next as u32, key);
            }
            self.next += 1;
        }
        (batch.len() > 0).then_some(batch)
    }
}

/// Bytes that a column adds to a request besides its keys.
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
    fn batches_respect_every_limit_and_contain_every_key() {
        let mut keys = keys();
        keys.extend(
            ["192.0.2.1/a/b/c", "a.b.c.d.e.f.g/1/2/3/4/5?q", &format!("a.b/{}", "c".repeat(300))]
                .map(|text| WebAddress::parse(text).unwrap().into()),
        );
        let default = ServerLimits::default();
        for prefix in [None, Some(PrefixWidth::Eight), Some(PrefixWidth::Four)] {
            for limits in [
                default,
                ServerLimits { keys: 40, ..default },
                ServerLimits { cost: 40, ..default },
                ServerLimits { request_bytes: 500, ..default },
                ServerLimits { columns: 2, ..default },
            ] {
                let mut seen = Vec::new();
                for batch in Batcher::new(&keys, limits, Detail::All, prefix) {
                    let columns = batch.columns();
                    let cost: u64 = columns.iter().map(|c| c.cost(0..c.rows())).sum();
                    let rows: usize = columns.iter().map(Column::rows).sum();
                    assert!(rows as u32 <= limits.keys && cost <= limits.cost);
                    assert_eq!((rows, cost), (batch.size.rows, batch.size.cost));
                    assert!(columns.len() <= limits.columns.into());
                    assert_eq!(request_bytes(&columns), request_bytes(&[]) + batch.size.bytes);
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
    fn keys_over_the_limits_are_skipped() {
        let keys = keys();
        let asked = |limits: ServerLimits, prefix| -> usize {
            Batcher::new(&keys, limits, Detail::Winner, prefix).map(|batch| batch.len()).sum()
        };
        let limits = ServerLimits { address_bytes: 5, ..ServerLimits::default() };
        assert_eq!(asked(limits, None), 20);
        // With prefixes, no text is sent, but an address has three rows.
        assert_eq!(asked(limits, Some(PrefixWidth::Four)), 30);
        let limits = ServerLimits { keys: 2, ..ServerLimits::default() };
        assert_eq!((asked(limits, None), asked(limits, Some(PrefixWidth::Four))), (30, 20));
    }

    #[test]
    fn unanswered_keys_are_retried_in_smaller_batches() {
        let keys = keys();
        let batcher = Batcher::new(&keys, ServerLimits::default(), Detail::All, None);
        let retry = |asked: &[u32], remaining: &[u32]| -> Vec<usize> {
            let mut batch = KeyBatch::new(Detail::All, None);
            asked.iter().for_each(|&at| batch.push(at, &keys[at as usize]));
            batcher.retry(&batch, remaining).map(|batch| batch.len()).collect()
        };
        assert_eq!(retry(&[1, 2, 3, 4, 5], &[]), [0; 0]);
        assert_eq!(retry(&[1, 2, 3, 4, 5], &[2, 3, 4, 5]), [4]);
        assert_eq!(retry(&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]), [3, 2]);
        assert_eq!(retry(&[4, 5], &[4, 5]), [1, 1]);
    }
}
