//! The size of keys in a request, as the limits of a server count it.
//!
//! A key is one row of its column. The exception is a web address that is sent as prefixes: it has a row for every
//! expression that may match it, and if its host is an IPv4 address, one more row in a column of hosts. The limits of a
//! server count rows.
//!
//! Every key is weighed once: the sizes of keys add up to the size of a lookup, and those of lookups to the size of
//! their batch.

use std::ops::Add;

use crate::{
    key::{Key, KeyKind, PrefixWidth},
    limits::PROBE_COST,
    wire::{ServerLimits, request_bytes},
};

/// The size of any number of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BatchSize {
    rows: usize,
    cost: u64,
    /// Bytes of the keys, without the headers of their columns.
    key_bytes: usize,
    /// Length of the longest web address that is sent as text, in bytes.
    longest_address: usize,
    /// The set of columns, as the bits of [`ColumnKey::bit`].
    columns: u16,
}

impl BatchSize {
    /// Returns the size of one key. `prefix` is the prefix width; `None` sends whole keys.
    pub(super) fn of(key: &Key, prefix: Option<PrefixWidth>) -> Self {
        let columns = ColumnKey::Keys(key.kind()).bit();
        let row = Self { rows: 1, cost: key.cost(), columns, ..Self::default() };
        match (key, prefix) {
            (Key::Digest(_), Some(width)) => Self { key_bytes: width.bytes(), ..row },
            (Key::Digest(digest), None) => Self { key_bytes: digest.bytes().len(), ..row },
            (Key::Ipv4(_), _) => Self { key_bytes: 4, ..row },
            (Key::Web(address), None) => {
                let longest_address = address.as_str().len();
                Self { key_bytes: 4 + longest_address, longest_address, ..row }
            }
            (Key::Web(address), Some(width)) => {
                let (parts, mut rows) = (address.parts(), 0);
                parts.for_each_text(|_, _| rows += 1);
                let cost = rows as u64 * PROBE_COST;
                let expressions = Self { rows, cost, key_bytes: rows * width.bytes(), columns, longest_address: 0 };
                match parts.ipv4() {
                    None => expressions,
                    Some(host) => {
                        let host = Self::of(&host.into(), prefix);
                        expressions + Self { columns: ColumnKey::Hosts.bit(), ..host }
                    }
                }
            }
        }
    }

    /// Returns the size of all these keys.
    pub(super) fn of_all<'k>(keys: impl IntoIterator<Item = &'k Key>, prefix: Option<PrefixWidth>) -> Self {
        keys.into_iter().fold(Self::default(), |size, key| size + Self::of(key, prefix))
    }

    /// Returns the number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns whether one request of this size is within the limits.
    pub(super) fn is_within(&self, limits: &ServerLimits) -> bool {
        self.rows <= limits.keys as usize
            && self.cost <= limits.cost
            && self.request_bytes() <= limits.request_bytes as usize
            && self.longest_address <= limits.address_bytes as usize
            && self.columns.count_ones() <= limits.columns.into()
    }

    /// Returns the length of one request of this size, in bytes.
    fn request_bytes(&self) -> usize {
        request_bytes(&[]) + self.columns.count_ones() as usize * COLUMN_BYTES + self.key_bytes
    }
}

impl Add for BatchSize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            cost: self.cost + other.cost,
            key_bytes: self.key_bytes + other.key_bytes,
            longest_address: self.longest_address.max(other.longest_address),
            columns: self.columns | other.columns,
        }
    }
}

/// Identifies a column within a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnKey {
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

/// Bytes that a column adds to a request besides its keys.
const COLUMN_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        batch::{Column, Detail},
        client::key_batch::KeyBatch,
        key::DigestKind,
    };

    #[test]
    fn sizes_add_up_to_that_of_the_request() {
        let digest = |kind: DigestKind| Key::from(crate::key::Digest::new(kind, &vec![7; kind.width()]).unwrap());
        let mut keys = vec![digest(DigestKind::Md5), digest(DigestKind::Sha256), digest(DigestKind::Md5)];
        for text in ["ipv4:192.0.2.1", "192.0.2.1/a/b", "a.b.c.example/1/2/3?q", "evil.example/"] {
            keys.push(text.parse().unwrap());
        }
        for prefix in [None, Some(PrefixWidth::Eight), Some(PrefixWidth::Four)] {
            for count in 0..=keys.len() {
                let keys = &keys[..count];
                let size = BatchSize::of_all(keys, prefix);
                let mut batch = KeyBatch::new(Detail::Winner, prefix);
                (0..).zip(keys).for_each(|(at, key)| batch.push(at, key));
                let columns = batch.columns();
                let rows: usize = columns.iter().map(Column::rows).sum();
                assert_eq!((size.rows, size.columns.count_ones() as usize), (rows, columns.len()));
                assert_eq!(size.request_bytes(), request_bytes(&columns));
                let (first, second) = keys.split_at(count / 2);
                assert_eq!(BatchSize::of_all(first, prefix) + BatchSize::of_all(second, prefix), size);
            }
        }
    }

    #[test]
    fn every_limit_counts() {
        let keys: Vec<Key> = ["192.0.2.1/a", "ipv4:192.0.2.1"].map(|text| text.parse().unwrap()).into();
        let size = BatchSize::of_all(&keys, None);
        let exact = ServerLimits {
            columns: 2,
            keys: 2,
            cost: size.cost,
            request_bytes: size.request_bytes() as u32,
            address_bytes: 11,
            ..ServerLimits::default()
        };
        assert!(size.is_within(&exact));
        for limits in [
            ServerLimits { columns: 1, ..exact },
            ServerLimits { keys: 1, ..exact },
            ServerLimits { cost: exact.cost - 1, ..exact },
            ServerLimits { request_bytes: exact.request_bytes - 1, ..exact },
            ServerLimits { address_bytes: 10, ..exact },
        ] {
            assert!(!size.is_within(&limits), "{limits:?}");
        }
    }
}
