//! Counts the work of a batch, so that it can be done in slices of bounded length.
//!
//! The unit is one probe of the index, about 10 ns. What a key costs to look up is known from the request, and bounds
//! what is accepted; how many records it has is known only when they are found. So the work that counts against a slice
//! and against a batch is what was done: probes, records read and bytes written.

use std::ops::ControlFlow;

use crate::{
    batch::{Hit, Position, Sink, Unanswered},
    wire::AnswerWriter,
};

/// The work of one turn: some 50 µs.
pub(super) const TURN_WORK: u64 = 4_096;

/// The probes of one call of the engine, at most: a chunk of its own.
pub(super) const CALL_PROBES: u64 = 2_048;

/// The work of one call of the engine, after which it stops at the next key. Keys with one record each, all of them
/// listed, stay below it: to stop within a chunk costs the probes of its remaining keys.
pub(super) const CALL_WORK: u64 = 16_384;

/// The work of one batch, after which its answer is truncated: the client requests the rest. It is 16 times the work of
/// the costliest batch of which no key is listed, so that few answers are truncated by it before their length is.
pub(super) const BATCH_WORK: u64 = 16 * crate::limits::BATCH_COST_MAX;

/// Reading a record, with its part of the sorting.
const STEP_WORK: u64 = 4;

/// Writing a hit, without its bytes.
const HIT_WORK: u64 = 2;

/// The bytes of an answer that are one unit: copied twice, and encrypted.
const UNIT_BYTES: usize = 16;

/// An answer writer that counts the work, and stops the engine at the first key beyond a limit.
pub(super) struct Metered<'w> {
    writer: &'w mut AnswerWriter,
    work: u64,
    limit: u64,
    /// The key that is being answered: a key is finished, whatever its work.
    current: Option<Position>,
    is_paused: bool,
}

impl<'w> Metered<'w> {
    /// Creates it for one call of the engine, which probes for `probes` first.
    pub(super) fn new(writer: &'w mut AnswerWriter, probes: u64, limit: u64) -> Self {
        Self { writer, work: probes, limit, current: None, is_paused: false }
    }

    /// Returns the work that was done.
    pub(super) fn work(&self) -> u64 {
        self.work
    }

    /// Returns whether the engine was stopped because of its work, not because the answer has no more room.
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    #[inline]
    fn begin(&mut self, at: Position) -> ControlFlow<()> {
        if self.current != Some(at) {
            // The first key is always answered, so that every call makes progress.
            if self.work >= self.limit && self.current.is_some() {
                self.is_paused = true;
                return ControlFlow::Break(());
            }
            self.current = Some(at);
        }
        ControlFlow::Continue(())
    }

    #[inline]
    fn write(&mut self, write: impl FnOnce(&mut AnswerWriter) -> ControlFlow<()>) -> ControlFlow<()> {
        let before = self.writer.bytes();
        let flow = write(self.writer);
        let written = self.writer.bytes().saturating_sub(before);
        self.work += HIT_WORK + (written / UNIT_BYTES) as u64;
        flow
    }
}

impl Sink for Metered<'_> {
    fn announce(&mut self, at: Position, steps: usize) -> ControlFlow<()> {
        self.begin(at)?;
        self.work += steps as u64 * STEP_WORK;
        ControlFlow::Continue(())
    }

    fn hit(&mut self, at: Position, hit: &Hit<'_>) -> ControlFlow<()> {
        self.begin(at)?;
        self.write(|writer| writer.hit(at, hit))
    }

    fn unanswered(&mut self, at: Position, unanswered: Unanswered) -> ControlFlow<()> {
        self.begin(at)?;
        self.write(|writer| writer.unanswered(at, unanswered))
    }
}
