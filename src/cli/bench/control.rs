//! The course of a run: all threads start together, and end when time is up, somebody interrupts, or an answer is wrong.

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

/// What those who ask are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// To wait.
    Preparing,
    /// To ask; what is sent from the second time on is measured.
    Asking { start: Instant, measured_from: Instant },
    /// To send no more, but to await what was sent.
    Ending,
    /// To await nothing.
    GivingUp,
}

impl Phase {
    pub(super) fn is_ending(&self) -> bool {
        matches!(self, Self::Ending | Self::GivingUp)
    }
}

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    pub(super) warmup: Duration,
    pub(super) measured: Duration,
}

/// When it was measured, and why it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) measured: Duration,
    /// From the start, warm-up included.
    pub(super) in_all: Duration,
    pub(super) is_interrupted: bool,
}

/// What a run and its threads share.
#[derive(Debug)]
pub(super) struct Control {
    phase: watch::Sender<Phase>,
    wrong: OnceLock<String>,
    is_wrong: Notify,
}

impl Control {
    pub(super) fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Preparing), wrong: OnceLock::new(), is_wrong: Notify::new() }
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Waits for the start: from when on is asked, and measured. `None` when there will be none.
    pub(super) async fn started(&self) -> Option<(Instant, Instant)> {
        match *self.phase().wait_for(|phase| *phase != Phase::Preparing).await.ok()? {
            Phase::Asking { start, measured_from } => Some((start, measured_from)),
            _ => None,
        }
    }

    /// Ends the run: an answer is not what it should be.
    pub(super) fn report_wrong(&self, what: String) {
        let _ = self.wrong.set(what);
        self.is_wrong.notify_one();
    }

    /// The first wrong answer.
    pub(super) fn wrong(&self) -> Option<&str> {
        self.wrong.get().map(String::as_str)
    }

    /// Starts all threads and ends them in time. They have ended when all senders of `done` are gone. Ctrl-C ends them
    /// early, and gives up soon after what is not answered then.
    pub(super) fn conduct(&self, runtime: &Runtime, lengths: Lengths, mut done: mpsc::Receiver<()>) -> Course {
        runtime.block_on(async {
            let interrupted = interrupted();
            tokio::pin!(interrupted);
            let start = Instant::now();
            let measured_from = start + lengths.warmup;
            let end = measured_from + lengths.measured;
            self.phase.send_replace(Phase::Asking { start, measured_from });
            let progress = Progress::new(start, lengths);
            let is_interrupted = loop {
                tokio::select! {
                    () = &mut interrupted => break true,
                    () = self.is_wrong.notified() => break false,
                    _ = done.recv() => break false,
                    () = time::sleep_until(end.into()) => break false,
                    () = progress.tick() => {}
                }
            };
            let ended = Instant::now();
            self.phase.send_replace(Phase::Ending);
            progress.finish();
            if is_interrupted {
                let _ = time::timeout(PATIENCE, done.recv()).await;
            } else {
                tokio::select! {
                    _ = done.recv() => {}
                    () = &mut interrupted => {}
                }
            }
            self.phase.send_replace(Phase::GivingUp);
            done.recv().await;
            let measured = ended.saturating_duration_since(measured_from);
            Course { measured, in_all: ended - start, is_interrupted }
        })
    }
}

/// A runtime of one thread: threads that ask share nothing that they could wait for.
pub(super) fn one_thread() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// Ready when somebody presses Ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// How long answers are awaited by somebody who has pressed Ctrl-C.
const PATIENCE: Duration = Duration::from_secs(1);
