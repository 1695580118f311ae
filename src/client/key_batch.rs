//! A batch of keys in columns, as they are sent, with what matching the answers to them needs.

use sha2::{Digest as _, Sha256};

use super::batch_size::ColumnKey;
use crate::{
    batch::{Column, ColumnBuf, Detail},
    key::{DigestKind, Key, KeyKind, PrefixWidth, ScopeSet, WebAddress},
};

/// A batch of keys from a list, in one column per kind. All rows of a key are in one batch.
#[derive(Debug)]
pub(super) struct KeyBatch {
    pub(super) columns: Vec<BatchColumn>,
    /// The detail that the caller requested.
    pub(super) detail: Detail,
    /// The prefix width; `None` for whole keys.
    prefix: Option<PrefixWidth>,
    /// Number of keys.
    keys: usize,
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
        Self { columns: Vec::new(), detail, prefix, keys: 0 }
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

    /// Adds the key at index `at` of the list. The caller MUST have checked that the batch stays within the limits.
    pub(super) fn push(&mut self, at: u32, key: &Key) {
        self.keys += 1;
        self.column(ColumnKey::Keys(key.kind())).push(at, key);
        if let (Key::Web(address), Some(_)) = (key, self.prefix)
            && let Some(host) = address.parts().ipv4()
        {
            self.column(ColumnKey::Hosts).push(at, &host.into());
        }
    }

    fn column(&mut self, column_key: ColumnKey) -> &mut BatchColumn {
        let index = match self.columns.iter().position(|column| column.column_key == column_key) {
            Some(index) => index,
            None => {
                let rows = Rows::new(column_key, self.prefix);
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
