//! Run control: all threads start together, and stop at the end of the run, on Ctrl-C, or at a wrong answer.

use std::{
    io,
    sync::OnceLock,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{self, Runtime},
    sync::{Notify, mpsc, watch},
    time,
};

use super::progress::Progress;

/// Phase of a run, as seen by the client threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Threads wait for the start.
    Preparing,
    /// Threads send; batches sent from `measured_from` on are measured.
    Running { start: Instant, measured_from: Instant },
    /// Threads send no more, but wait for outstanding answers.
    Draining,
    /// Threads do not wait for outstanding answers.
    Aborted,
}

impl Phase {
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Draining | Self::Aborted)
    }
}

/// Durations of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    pub(super) warmup: Duration,
    pub(super) measured: Duration,
}

/// Timing of a finished run.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunSummary {
    /// Duration of the measurement.
    pub(super) measured: Duration,
    /// Duration from the start, including warm-up.
    pub(super) total: Duration,
    pub(super) is_interrupted: bool,
}

/// State shared by a run and its threads.
#[derive(Debug)]
pub(super) struct LoadControl {
    phase: watch::Sender<Phase>,
    mismatch: OnceLock<String>,
    has_mismatch: Notify,
}

impl LoadControl {
    pub(super) fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Preparing), mismatch: OnceLock::new(), has_mismatch: Notify::new() }
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Waits for the start, and returns it with the start of the measurement; `None` when the run was cancelled.
    pub(super) async fn started(&self) -> Option<(Instant, Instant)> {
        match *self.phase().wait_for(|phase| *phase != Phase::Preparing).await.ok()? {
            Phase::Running { start, measured_from } => Some((start, measured_from)),
            _ => None,
        }
    }

    /// Ends the run because of a wrong answer.
    pub(super) fn report_mismatch(&self, what: String) {
        let _ = self.mismatch.set(what);
        self.has_mismatch.notify_one();
    }

    /// Returns the first wrong answer.
    pub(super) fn mismatch(&self) -> Option<&str> {
        self.mismatch.get().map(String::as_str)
    }

    /// Starts all threads and stops them at the end of the run. They have finished when all senders of `done` are
    /// dropped. Ctrl-C stops them early; answers outstanding after [`DRAIN_TIMEOUT`] are then dropped.
    pub(super) fn run(&self, runtime: &Runtime, lengths: Lengths, mut done: mpsc::Receiver<()>) -> RunSummary {
        runtime.block_on(async {
            let interrupted = interrupted();
            tokio::pin!(interrupted);
            let start = Instant::now();
            let measured_from = start + lengths.warmup;
            let end = measured_from + lengths.measured;
            self.phase.send_replace(Phase::Running { start, measured_from });
            let progress = Progress::new(start, lengths);
            let is_interrupted = loop {
                tokio::select! {
                    () = &mut interrupted => break true,
                    () = self.has_mismatch.notified() => break false,
                    _ = done.recv() => break false,
                    () = time::sleep_until(end.into()) => break false,
                    () = progress.tick() => {}
                }
            };
            let ended = Instant::now();
            self.phase.send_replace(Phase::Draining);
            progress.finish();
            if is_interrupted {
                let _ = time::timeout(DRAIN_TIMEOUT, done.recv()).await;
            } else {
                tokio::select! {
                    _ = done.recv() => {}
                    () = &mut interrupted => {}
                }
            }
            self.phase.send_replace(Phase::Aborted);
            done.recv().await;
            let measured = ended.saturating_duration_since(measured_from);
            RunSummary { measured, total: ended - start, is_interrupted }
        })
    }
}

/// Creates a single-threaded runtime: client threads share nothing that they could contend for.
pub(super) fn one_thread() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// Completes on Ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Time to wait for outstanding answers after Ctrl-C.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
