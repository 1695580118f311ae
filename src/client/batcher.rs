//! Splits a list of keys into batches within the limits of a server.

use super::{batch_size::BatchSize, key_batch::KeyBatch};
use crate::{
    batch::Detail,
    key::{Key, PrefixWidth},
    wire::ServerLimits,
};

/// An iterator over the batches of a list of keys. Skips keys that exceed the limits by themselves.
#[derive(Debug)]
pub(super) struct Batcher<'a> {
    keys: &'a [Key],
    next: usize,
    /// The size of the next key, if it was weighed for the previous batch, which had no room for it.
    next_size: Option<BatchSize>,
    limits: ServerLimits,
    detail: Detail,
    prefix: Option<PrefixWidth>,
}

impl<'a> Batcher<'a> {
    pub(super) fn new(keys: &'a [Key], limits: ServerLimits, detail: Detail, prefix: Option<PrefixWidth>) -> Self {
        Self { keys, next: 0, next_size: None, limits, detail, prefix }
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
        let (mut batch, mut size) = (KeyBatch::new(self.detail, self.prefix), BatchSize::default());
        while let Some(key) = self.keys.get(self.next) {
            let own = self.next_size.take().unwrap_or_else(|| BatchSize::of(key, self.prefix));
            if (size + own).is_within(&self.limits) {
                size = size + own;
                batch.push(self.next as u32, key);
            } else if own.is_within(&self.limits) {
                self.next_size = Some(own);
                break;
            }
            self.next += 1;
        }
        (batch.len() > 0).then_some(batch)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        batch::Column,
        key::{DigestKind, WebAddress},
        wire::request_bytes,
    };

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
                for batch in Batcher::new(&keys, limits, Detail::All, prefix) {
                    let columns = batch.columns();
                    let cost: u64 = columns.iter().map(|c| c.cost(0..c.rows())).sum();
                    let rows: usize = columns.iter().map(Column::rows).sum();
                    assert!(rows as u32 <= limits.keys && cost <= limits.cost);
                    assert!(columns.len() <= limits.columns.into());
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
