//! Batches that are prepared before the clock starts, so that only lookups are measured.

use ksn::{
    Key,
    batch::{Column, ColumnBuf},
    wire::{HEADER_BYTES, ServerLimits, request_bytes},
};

/// Batches that are sent in rotation.
#[derive(Debug)]
pub(super) struct Batches(Vec<SampleBatch>);

/// A prepared batch.
#[derive(Debug)]
pub(super) struct SampleBatch {
    columns: Vec<ColumnBuf>,
    /// The key, when the batch has only one.
    pub(super) single: Option<Key>,
    /// Number of keys.
    pub(super) keys: u32,
    /// Number of keys that should be known; `None` when there is no expectation.
    pub(super) known: Option<u32>,
    /// Length of the request in bytes.
    pub(super) request_bytes: u64,
}

impl Batches {
    /// Splits keys into batches of `batch_keys`; the last one may be smaller. Each key has a flag whether it should be
    /// known; `None` when there is no expectation.
    pub(super) fn new(keys: impl IntoIterator<Item = (Key, Option<bool>)>, batch_keys: usize) -> Self {
        let mut batches: Vec<SampleBatch> = Vec::new();
        for (key, is_known) in keys {
            match batches.last_mut().filter(|batch| (batch.keys as usize) < batch_keys) {
                Some(batch) => batch.push(key, is_known),
                None => {
                    let mut batch = SampleBatch::default();
                    batch.push(key, is_known);
                    batches.push(batch);
                }
            }
        }
        for batch in &mut batches {
            batch.request_bytes = (HEADER_BYTES + request_bytes(&batch.columns())) as u64;
        }
        Self(batches)
    }

    /// Returns the batch for a sequence number, in rotation.
    ///
    /// # Panics
    ///
    /// Panics if there are no batches.
    pub(super) fn get(&self, number: usize) -> &SampleBatch {
        &self.0[number % self.0.len()]
    }

    /// Returns whether every batch has one key; these are sent as single lookups.
    pub(super) fn are_single(&self) -> bool {
        self.0.iter().all(|batch| batch.single.is_some())
    }

    /// Fails when a batch exceeds a limit of the server.
    pub(super) fn check(&self, limits: &ServerLimits) -> Result<(), String> {
        for batch in &self.0 {
            let columns = batch.columns();
            let cost: u64 = columns.iter().map(|column| column.cost(0..column.rows())).sum();
            let found = [
                ("keys", u64::from(batch.keys), u64::from(limits.keys)),
                ("probes (32 for a web address, and 1 more for every 64 bytes)", cost, limits.cost),
                ("bytes", request_bytes(&columns) as u64, limits.request_bytes.into()),
                ("kinds of key", columns.len() as u64, limits.columns.into()),
            ];
            if let Some((what, found, max)) = found.into_iter().find(|(_, found, max)| found > max) {
                return Err(format!(
                    "the server accepts batches of at most {max} {what}, found one of {found}: give a smaller --batch"
                ));
            }
        }
        Ok(())
    }
}

impl Default for SampleBatch {
    fn default() -> Self {
        Self { columns: Vec::with_capacity(1), single: None, keys: 0, known: Some(0), request_bytes: 0 }
    }
}

impl SampleBatch {
    fn push(&mut self, key: Key, is_known: Option<bool>) {
        let kind = key.kind();
        let at = self.columns.iter().position(|column| column.kind() == kind).unwrap_or_else(|| {
            self.columns.push(ColumnBuf::new(kind));
            self.columns.len() - 1
        });
        self.columns[at].push(&key);
        self.keys += 1;
        self.known = self.known.zip(is_known).map(|(known, is_known)| known + u32::from(is_known));
        self.single = Some(key).filter(|_| self.keys == 1);
    }

    /// Returns an error message if `found`, the number of known keys in an answer, is not the expected one.
    pub(super) fn mismatch(&self, found: u32) -> Option<String> {
        let expected = self.known.filter(|expected| *expected != found)?;
        Some(format!("expected {expected} known keys in a batch of {}, found {found}", self.keys))
    }

    /// Returns the keys by kind.
    pub(super) fn columns(&self) -> Vec<Column<'_>> {
        self.columns.iter().map(ColumnBuf::column).collect()
    }
}

#[cfg(test)]
mod tests {
    use ksn::key::KeyKind;

    use super::*;

    fn keys(count: u8) -> impl Iterator<Item = (Key, Option<bool>)> {
        (0..count).map(|n| {
            let key = if n % 2 == 0 { format!("192.0.2.{n}") } else { format!("host{n}.example/") };
            (key.parse().unwrap(), Some(n % 4 == 0))
        })
    }

    #[test]
    fn no_key_is_lost_and_known_ones_are_counted() {
        let batches = Batches::new(keys(10), 4);
        let sizes: Vec<_> = (0..4).map(|n| (batches.get(n).keys, batches.get(n).known)).collect();
        assert_eq!(sizes, [(4, Some(1)), (4, Some(1)), (2, Some(1)), (4, Some(1))]);
        let rows: Vec<_> = batches.get(2).columns().iter().map(|c| (c.kind(), c.rows())).collect();
        assert_eq!(rows, [(KeyKind::Ipv4, 1), (KeyKind::Web, 1)]);
        assert!(batches.get(0).single.is_none());
        let single = Batches::new(keys(3), 1);
        assert_eq!(single.get(1).single, Some("host1.example/".parse().unwrap()));
        let unchecked = keys(4).map(|(key, _)| (key.clone(), Some(false).filter(|_| key.kind() == KeyKind::Web)));
        assert_eq!(Batches::new(unchecked, 4).get(0).known, None);
    }

    #[test]
    fn an_exceeded_limit_is_named_with_both_numbers() {
        let batches = Batches::new(keys(10), 4);
        let limits = ServerLimits::default();
        assert_eq!(batches.check(&limits), Ok(()));
        let error = batches.check(&ServerLimits { keys: 3, ..limits }).unwrap_err();
        assert!(error.contains("at most 3 keys") && error.contains("one of 4") && error.contains("--batch"), "{error}");
        assert!(batches.check(&ServerLimits { cost: 65, ..limits }).unwrap_err().contains("of 66"));
        assert!(batches.check(&ServerLimits { columns: 1, ..limits }).is_err());
    }
}
