//! The engine: looks up batches in a view, for all callers.
//!
//! A [`View`] is the immutable data of a lookup: one generation of one dataset. It is replaced as a whole, so that no
//! batch sees a partial change; callers MUST load it once per batch.

use std::{
    ops::{ControlFlow, Range},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use crate::{
    batch::{Column, Detail, Sink},
    index::Layer,
    key::KeyKind,
    snapshot::{OpenError, Snapshot},
    timestamp::Timestamp,
};

/// The records that lookups are answered from. The snapshot can be replaced while the index is in use.
#[derive(Debug)]
pub struct Index {
    view: ArcSwap<View>,
}

/// An immutable view of one generation of a dataset.
#[derive(Debug)]
pub struct View {
    layer: Arc<Layer>,
}

impl Index {
    /// Opens a snapshot file and reads it into memory. Fails with [`OpenError`] when the file cannot be read or is not
    /// a valid snapshot.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Snapshot::open(path).map(Self::new)
    }

    /// Creates an index over an opened snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { view: ArcSwap::from_pointee(View::new(snapshot)) }
    }

    /// Replaces the snapshot, and returns the previous view. Batches that are being answered finish with the view that
    /// they loaded.
    ///
    /// Whoever drops the last reference to the previous view frees its memory, which takes long for gigabytes and may be
    /// a thread that answers lookups; [`View::retire`] prevents that.
    pub fn replace(&self, snapshot: Snapshot) -> Arc<View> {
        let next = View::new(snapshot);
        next.layer.build_as(&self.view.load().layer);
        self.view.swap(Arc::new(next))
    }

    /// Returns the current view. Callers MUST load it once per batch.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }
}

impl View {
    fn new(snapshot: Snapshot) -> Self {
        Self { layer: Arc::new(Layer::new(Arc::new(snapshot))) }
    }

    /// Returns the name of the dataset.
    pub fn dataset(&self) -> &str {
        self.layer.snapshot().dataset()
    }

    /// Returns the generation number.
    pub fn generation(&self) -> u64 {
        self.layer.snapshot().generation()
    }

    /// Returns the number of changes applied on top of the generation: 0, because live updates are not implemented.
    pub fn sequence(&self) -> u64 {
        0
    }

    /// Returns the creation time of the generation.
    pub fn created(&self) -> Timestamp {
        self.layer.snapshot().created()
    }

    /// Returns the snapshot of the view.
    pub fn snapshot(&self) -> &Snapshot {
        self.layer.snapshot()
    }

    /// Waits until no other thread uses a view that was replaced, and frees its memory on the calling thread. Returns
    /// `false` after `patience` if it is still in use; then its last user frees it.
    pub fn retire(mut self: Arc<Self>, patience: Duration) -> bool {
        let started = Instant::now();
        loop {
            match Arc::try_unwrap(self) {
                Ok(_) => return true,
                Err(shared) => self = shared,
            }
            if started.elapsed() >= patience {
                return false;
            }
            thread::sleep(RETIRE_POLL);
        }
    }

    /// Returns the number of records.
    pub fn total_records(&self) -> u64 {
        KeyKind::ALL.iter().map(|&kind| self.records(kind)).sum()
    }

    /// Returns the number of records that can match a kind of key.
    pub fn records(&self, kind: KeyKind) -> u64 {
        self.layer.snapshot().records(kind)
    }

    /// Answers the rows `rows` of a column into a sink. Records that have expired at `now` do not match.
    ///
    /// `number` is the index of the column in its batch, for the positions passed to the sink. Returns `Break` with the
    /// first row that was not answered because the sink had no room.
    pub fn answer(
        &self,
        number: u16,
        column: &Column<'_>,
        rows: Range<u32>,
        detail: Detail,
        now: Timestamp,
        sink: &mut impl Sink,
    ) -> ControlFlow<u32> {
        self.layer.answer(number, column, rows, detail, now, sink)
    }
}

/// The interval at which [`View::retire`] looks for other users of a view: batches take milliseconds.
const RETIRE_POLL: Duration = Duration::from_millis(10);
