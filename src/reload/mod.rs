//! Replaces the snapshot of an index when its file is replaced.
//!
//! A replacement is opened and verified beside the served snapshot, and refused if the service would get worse by it:
//! if it is damaged, empty, much smaller than the served one, or does not fit into memory beside it.

mod memory;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    engine::{Index, View},
    key::KeyKind,
    snapshot::{OpenError, SnapshotFile},
};

/// Keeps an index up to date with a snapshot file.
///
/// All methods block while they read and verify a snapshot: call them on a thread of their own.
///
/// ```
/// # use ksn::{reload::{Reloaded, Reloader}, snapshot::*, timestamp::Timestamp};
/// # use ksn::{key::{Indicator, Scope}, record::{Entry, RecordSink, RecordType}};
/// # use std::time::Duration;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("records.ksn");
/// # let build = |generation| {
/// #     let (created, compiled_with) = (Timestamp::from_seconds(1_795_341_600).unwrap(), Default::default());
/// #     let mut builder = SnapshotBuilder::new();
/// #     builder.add(0, Entry {
/// #         indicator: Indicator::Web { scope: Scope::Domain, expression: "evil.example".into() },
/// #         id: 1, record_type: RecordType::Phishing, name: "", source: "a", timestamp: None, expiry: None, port: None,
/// #     });
/// #     let info = SnapshotInfo { dataset: "local".into(), generation, created, compiled_with };
/// #     builder.finish(&info)?.write(&path)
/// # };
/// # build(1)?;
/// let mut reloader = Reloader::open(&path, 50)?;
/// let index = reloader.index().clone();
/// assert!(reloader.poll().is_none());
/// # build(2)?;
/// // Once the file was replaced:
/// if let Some(Ok(Reloaded::Replaced(replaced))) = reloader.poll() {
///     assert_eq!(index.view().generation(), 2);
///     replaced.previous.retire(Duration::from_secs(10));
/// }
/// # assert_eq!(index.view().generation(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    index: Arc<Index>,
    max_shrink: u8,
    /// The state of the file at the last attempt.
    seen: FileState,
}

/// The result of a reload that did not fail.
#[derive(Debug)]
pub enum Reloaded {
    /// The file holds what the index already has.
    Unchanged,
    /// The index has a new snapshot.
    Replaced(Replaced),
}

/// A replacement of the snapshot of an index.
#[derive(Debug)]
pub struct Replaced {
    /// The previous view. Whoever drops the last reference frees its memory; see [`View::retire`].
    pub previous: Arc<View>,
    /// The current view.
    pub current: Arc<View>,
    /// The time that opening and verifying the snapshot took.
    pub elapsed: Duration,
}

/// Why the file of a snapshot was not loaded. The index keeps its snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The file cannot be read or is not a valid snapshot.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The snapshot has no records.
    #[error("expected records, found none; build it from feeds that have some")]
    Empty,
    /// The snapshot has much fewer records than the current one.
    #[error(
        "{found} of {current} records are left, more than {max_shrink} % fewer; check its feeds, or accept more with a \
         higher --max-shrink"
    )]
    Shrunken {
        /// The number of records in the file.
        found: u64,
        /// The number of records in the index.
        current: u64,
        /// The accepted decrease in percent.
        max_shrink: u8,
    },
    /// There is not enough memory for the snapshot beside the current one.
    #[error(
        "it needs {needed} bytes of memory beside the current one, found {available} available; free memory, raise the \
         limit of the cgroup, or restart with it"
    )]
    Memory {
        /// The memory that it needs, in bytes.
        needed: u64,
        /// The available memory in bytes.
        available: u64,
    },
    /// The path is not that of a regular file. Opening a pipe would wait for a writer.
    #[error("expected a regular file, found something else; rename a snapshot to this name")]
    NotAFile,
    /// The file changed while it was read.
    #[error("the file changed while it was read; write another file and rename it to this name")]
    Changed,
}

impl Reloader {
    /// Opens a snapshot file, and creates an index over it. `max_shrink` is the accepted decrease of the number of
    /// records in percent.
    ///
    /// Fails with [`OpenError`] when the file cannot be read or is not a valid snapshot.
    pub fn open(path: impl AsRef<Path>, max_shrink: u8) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        // Before it is opened: a replacement in between is a change.
        let seen = FileState::of(&path);
        let index = Arc::new(Index::open(&path)?);
        Ok(Self { path, index, max_shrink, seen })
    }

    /// Returns the index.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Loads the file if it was replaced or modified since the last attempt. Returns `None` if it was not.
    pub fn poll(&mut self) -> Option<Result<Reloaded, ReloadError>> {
        (FileState::of(&self.path) != self.seen).then(|| self.reload())
    }

    /// Loads the file. Fails with [`ReloadError`], and keeps the snapshot of the index, when the file is no better one.
    pub fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        let started = Instant::now();
        self.seen = FileState::of(&self.path);
        if fs::metadata(&self.path).is_ok_and(|about| !about.is_file()) {
            return Err(ReloadError::NotAFile);
        }
        let file = SnapshotFile::open(&self.path)?;
        let current = self.index.view();
        if file.root() == current.snapshot().root() {
            return Ok(Reloaded::Unchanged);
        }
        self.check_records(&file, &current)?;
        check_memory(needed_memory(&file), memory::available())?;
        drop(current);
        let snapshot = file.read_all()?;
        if snapshot.root() != file.root() {
            return Err(ReloadError::Changed);
        }
        let previous = self.index.replace(snapshot);
        let current = self.index.view();
        Ok(Reloaded::Replaced(Replaced { previous, current, elapsed: started.elapsed() }))
    }

    fn check_records(&self, file: &SnapshotFile, current: &View) -> Result<(), ReloadError> {
        let found = KeyKind::ALL.iter().map(|&kind| file.records(kind)).sum();
        let current = current.total_records();
        let kept = 100 - u128::from(self.max_shrink.min(100));
        match found {
            0 => Err(ReloadError::Empty),
            _ if u128::from(found) * 100 < u128::from(current) * kept => {
                Err(ReloadError::Shrunken { found, current, max_shrink: self.max_shrink })
            }
            _ => Ok(()),
        }
    }
}

/// Returns an estimate of the memory that an index over a file takes, in bytes.
fn needed_memory(file: &SnapshotFile) -> u64 {
    file.bytes() + file.keys(KeyKind::Ipv4) * IPV4_BLOCK_BYTES + file.keys(KeyKind::Web) * EXPRESSION_BYTES
}

fn check_memory(needed: u64, available: Option<u64>) -> Result<(), ReloadError> {
    match available {
        Some(available) if available < needed => Err(ReloadError::Memory { needed, available }),
        _ => Ok(()),
    }
}

/// Identifies a version of a file: the file, or the error of finding it.
#[derive(Debug, PartialEq, Eq)]
struct FileState(Result<(FileId, u64, Option<SystemTime>), io::ErrorKind>);

/// The device and the inode of a file, where there are any.
type FileId = (u64, u64);

impl FileState {
    fn of(path: &Path) -> Self {
        let state = |about: fs::Metadata| (file_id(&about), about.len(), about.modified().ok());
        Self(fs::metadata(path).map(state).map_err(|error| error.kind()))
    }
}

#[cfg(unix)]
fn file_id(about: &fs::Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (about.dev(), about.ino())
}

#[cfg(not(unix))]
fn file_id(_: &fs::Metadata) -> FileId {
    (0, 0)
}

/// Bytes of the search structure per block of IPv4 addresses while it is built, for a list of single networks; ranges
/// that are split into many take more.
const IPV4_BLOCK_BYTES: u64 = 128;

/// Bytes of the table for lookups by SHA-256 per expression while it is built.
const EXPRESSION_BYTES: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_does_not_fit_into_memory_is_refused() {
        assert!(check_memory(10, None).is_ok() && check_memory(10, Some(10)).is_ok());
        let error = check_memory(10, Some(9)).unwrap_err().to_string();
        assert!(error.contains("needs 10 bytes") && error.contains("found 9 available"), "{error}");
    }
}
