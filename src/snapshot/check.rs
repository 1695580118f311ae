//! Validation of a snapshot when it is opened, on all processors: the checksums of all sections and every reference in
//! a row, so that lookups need no further checks.

use rayon::{
    iter::{IndexedParallelIterator, ParallelIterator},
    slice::ParallelSlice,
};
use zerocopy::little_endian::U64;

use super::{
    error::OpenError,
    layout::{
        BUCKET_KEYS_MEAN, BUCKET_SLOTS, BlockRow, Bucket, ClassRow, RecordRow, RunRow, SectionKind, TABLE_KEYS_MAX,
        Table,
    },
    name_table::NameTable,
    open::Snapshot,
};
use crate::{
    key::{Hex, Scope, ScopeSet},
    record::RecordType,
};

/// The number of rows per parallel task: large enough that scheduling costs are negligible.
const TASK_ROWS: usize = 16 << 10;

/// Up to this size, in bytes, BLAKE3 is faster on one thread (its documentation states 128 KiB).
const SINGLE_THREAD_HASH_BYTES_MAX: usize = 128 << 10;

impl Snapshot {
    /// Checks that the BLAKE3 of every section that was read is the one in the manifest.
    pub(super) fn check_checksums(&self) -> Result<(), OpenError> {
        self.manifest.sections.iter().try_for_each(|section| {
            let known = Table::from_number(section.table).zip(SectionKind::from_number(section.kind));
            let Some((table, kind)) = known.filter(|&(table, _)| self.tables.contains(table)) else { return Ok(()) };
            let bytes = self.section(table, kind);
            let mut hasher = blake3::Hasher::new();
            match bytes.len() {
                ..=SINGLE_THREAD_HASH_BYTES_MAX => hasher.update(bytes),
                _ => hasher.update_rayon(bytes),
            };
            let found = hasher.finalize();
            if *found.as_bytes() == section.blake3 {
                return Ok(());
            }
            Err(OpenError::Checksum {
                what: format!("section {kind:?} of {table:?}"),
                expected: Hex(&section.blake3).to_string(),
                found: found.to_hex().to_string(),
            })
        })
    }

    /// Checks that every reference in a row is within bounds.
    pub(super) fn check_content(&self) -> Result<(), OpenError> {
        let (names, text) = self.name_sections();
        NameTable::check(names, text)?;
        let classes = self.rows::<ClassRow>(Table::Shared, SectionKind::Classes);
        for (n, class) in classes.iter().enumerate() {
            let known = usize::from(class.source.get()) < self.manifest.sources.len()
                && RecordType::from_number(class.record_type).is_some();
            if !known {
                return Err(OpenError::invalid(format!("class {n} has an unknown source or record type")));
            }
        }
        for table in Table::all() {
            self.check_records(table, names.len(), classes.len())?;
            match table {
                Table::Web => self.check_expressions()?,
                Table::Ipv4 => self.check_blocks()?,
                _ => {
                    let digests = self.section(table, SectionKind::Digests);
                    self.check_key_count(table, digests.len() / table.digest_width().unwrap_or(1))?;
                }
            }
            self.check_buckets(table)?;
        }
        Ok(())
    }

    fn check_records(&self, table: Table, names: usize, classes: usize) -> Result<(), OpenError> {
        let runs = self.rows::<RunRow>(table, SectionKind::Runs);
        let records = self.rows::<RecordRow>(table, SectionKind::Records);
        let more = self.rows::<RecordRow>(table, SectionKind::MoreRecords);
        let out_of_bounds = |what: &str, n: usize| {
            OpenError::invalid(format!("{what} {n} of {table:?} references a row that does not exist"))
        };
        let is_valid = |record: &RecordRow| {
            let class = record.class.get();
            let (number, end) = match class & RecordRow::HAS_MORE {
                0 => (class, classes),
                _ => (class & !RecordRow::HAS_MORE, runs.len()),
            };
            ((number as usize) < end) & ((record.name.get() as usize) < names)
        };
        if let Some(n) = first_invalid(records, is_valid) {
            return Err(out_of_bounds("record", n));
        }
        let is_valid =
            |record: &RecordRow| (record.class.get() as usize) < classes && (record.name.get() as usize) < names;
        if let Some(n) = first_invalid(more, is_valid) {
            return Err(out_of_bounds("further record", n));
        }
        for (n, run) in runs.iter().enumerate() {
            let end = u64::from(run.first.get()) + u64::from(run.count.get());
            if run.class.get() as usize >= classes || end > more.len() as u64 {
                return Err(out_of_bounds("run", n));
            }
        }
        Ok(())
    }

    fn check_key_count(&self, table: Table, keys: usize) -> Result<(), OpenError> {
        let records = self.rows::<RecordRow>(table, SectionKind::Records).len();
        if keys != records || keys as u64 > TABLE_KEYS_MAX {
            return Err(OpenError::invalid(format!("{table:?} has {keys} keys but {records} records")));
        }
        Ok(())
    }

    /// Checks that the first keys of the buckets ascend by at most one bucket's slots, so that probes stay in bounds.
    fn check_buckets(&self, table: Table) -> Result<(), OpenError> {
        let buckets = self.rows::<Bucket>(table, SectionKind::Buckets);
        let keys = self.rows::<RecordRow>(table, SectionKind::Records).len();
        let expected = if table == Table::Ipv4 || keys == 0 { 0 } else { (keys as u64).div_ceil(BUCKET_KEYS_MEAN) + 1 };
        if buckets.len() as u64 != expected {
            return Err(OpenError::invalid(format!(
                "{table:?} has {} buckets for {keys} keys, expected {expected}",
                buckets.len()
            )));
        }
        let ascending = buckets.par_windows(2).all(|w| {
            let (first, next) = (w[0].first_key(), w[1].first_key());
            first <= next && next - first <= BUCKET_SLOTS as u32
        });
        let starts = buckets.first().is_none_or(|b| b.first_key() == 0);
        let ends = buckets.last().is_none_or(|b| b.first_key() as usize <= keys);
        if !(ascending && starts && ends) {
            return Err(OpenError::invalid(format!("the buckets of {table:?} are out of order")));
        }
        Ok(())
    }

    fn check_expressions(&self) -> Result<(), OpenError> {
        let ends = self.rows::<U64>(Table::Web, SectionKind::ExpressionEnds);
        let text = self.section(Table::Web, SectionKind::ExpressionText);
        let scopes = ScopeSet::from_bits(self.manifest.web_scopes)
            .ok_or_else(|| OpenError::invalid("the manifest lists unknown web scopes"))?;
        let mut start = 0;
        for (n, end) in ends.iter().enumerate() {
            let expression = usize::try_from(end.get()).ok().and_then(|end| text.get(start..end));
            let valid = expression.and_then(|e| e.split_first()).is_some_and(|(&scope, text)| {
                Scope::from_number(scope).is_some_and(|scope| scopes.contains(scope)) && text.is_ascii()
            });
            if !valid {
                return Err(OpenError::invalid(format!("web expression {n} is malformed")));
            }
            start = end.get() as usize;
        }
        if start != text.len() {
            return Err(OpenError::invalid("text follows the last web expression"));
        }
        self.check_key_count(Table::Web, ends.len())
    }

    fn check_blocks(&self) -> Result<(), OpenError> {
        let blocks = self.rows::<BlockRow>(Table::Ipv4, SectionKind::Blocks);
        let order = |b: &BlockRow| (b.first.get(), std::cmp::Reverse(b.last.get()));
        if blocks.iter().any(|b| b.first.get() > b.last.get()) || !blocks.is_sorted_by(|a, b| order(a) < order(b)) {
            return Err(OpenError::invalid("the IPv4 blocks are out of order"));
        }
        self.check_key_count(Table::Ipv4, blocks.len())
    }
}

/// Returns the number of the first row that is not valid. Each task checks its rows without a branch; the row is
/// located only if the check fails.
fn first_invalid<T: Sync>(rows: &[T], is_valid: impl Fn(&T) -> bool + Sync) -> Option<usize> {
    let invalid = |rows: &[T]| rows.iter().fold(false, |invalid, row| invalid | !is_valid(row));
    let (number, rows) = rows.par_chunks(TASK_ROWS).enumerate().find_first(|(_, rows)| invalid(rows))?;
    let at = rows.iter().position(|row| !is_valid(row))?;
    Some(number * TASK_ROWS + at)
}
