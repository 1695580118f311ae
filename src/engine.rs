//! The engine: a batch and a view in, answers out, for every caller alike.
//!
//! A [`View`] is everything that a lookup sees: one generation of one dataset. It is immutable and swapped as a whole,
//! so that no batch sees half a change; a caller loads it once per batch.

use std::{
    ops::{ControlFlow, Range},
    path::Path,
    sync::Arc,
};

use arc_swap::ArcSwap;

use crate::{
    batch::{Column, Detail, Sink},
    index::Base,
    key::KeyKind,
    snapshot::{OpenError, Snapshot},
    timestamp::Timestamp,
};

/// The records that lookups are answered from, replaceable while it is in use.
#[derive(Debug)]
pub struct Index {
    view: ArcSwap<View>,
}

/// One generation, as a batch sees it.
#[derive(Debug)]
pub struct View {
    base: Arc<Base>,
}

impl Index {
    /// Opens the snapshot in a file, reading it into memory.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Snapshot::open(path).map(Self::new)
    }

    /// An index over an opened snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { view: ArcSwap::from_pointee(View::new(snapshot)) }
    }

    /// Answers from another snapshot from now on. Batches that are being answered finish on the one they began with.
    pub fn replace(&self, snapshot: Snapshot) {
        self.view.store(Arc::new(View::new(snapshot)));
    }

    /// What lookups see now. Load it once per batch.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }
}

impl View {
    fn new(snapshot: Snapshot) -> Self {
        Self { base: Arc::new(Base::new(Arc::new(snapshot))) }
    }

    /// The dataset.
    pub fn dataset(&self) -> &str {
        self.base.snapshot().dataset()
    }

    /// The number of its generation.
    pub fn generation(&self) -> u64 {
        self.base.snapshot().generation()
    }

    /// How many changes were applied on top of the generation: none, until there are live updates.
    pub fn sequence(&self) -> u64 {
        0
    }

    /// When the generation was made.
    pub fn created(&self) -> Timestamp {
        self.base.snapshot().created()
    }

    /// The snapshot under it.
    pub fn snapshot(&self) -> &Snapshot {
        self.base.snapshot()
    }

    /// Records that answer a kind of key.
    pub fn records(&self, kind: KeyKind) -> u64 {
        self.base.snapshot().records(kind)
    }

    /// Answers the rows `rows` of a column into a sink. `now` decides which records have expired.
    ///
    /// `number` is the column's place in its batch, for the positions that the sink is told. `Break` holds the first
    /// row that was not answered because the sink had no room.
    pub fn answer(
        &self,
        number: u16,
        column: &Column<'_>,
        rows: Range<u32>,
        detail: Detail,
        now: Timestamp,
        sink: &mut impl Sink,
    ) -> ControlFlow<u32> {
        self.base.answer(number, column, rows, detail, now, sink)
    }
}
