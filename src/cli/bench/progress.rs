//! Progress bar of a run.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::control::Lengths;

/// A progress bar on standard error, shown when that is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    start: Instant,
    warmup: Duration,
}

impl Progress {
    pub(super) fn new(start: Instant, lengths: Lengths) -> Self {
        let length = (lengths.warmup + lengths.measured).as_millis() as u64;
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {elapsed} {msg}") {
            bar.set_style(style);
        }
        Self { bar, start, warmup: lengths.warmup }
    }

    /// Waits for a tick, then updates the bar.
    pub(super) async fn tick(&self) {
        tokio::time::sleep(TICK).await;
        let elapsed = self.start.elapsed();
        self.bar.set_position(elapsed.as_millis() as u64);
        self.bar.set_message(if elapsed < self.warmup { "warming up" } else { "measuring, Ctrl-C ends the run" });
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Update interval: frequent enough to look alive, rare enough to have no cost.
const TICK: Duration = Duration::from_millis(250);
