//! The progress bar of a build.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ksn::compile::FeedFile;

/// A progress bar on standard error, shown when that is a terminal and the build takes long.
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

/// Before this, a bar would only flicker.
const SHOW_AFTER: Duration = Duration::from_millis(500);

impl Progress {
    pub(super) fn new<'a>(files: impl Iterator<Item = &'a FeedFile>) -> Self {
        let bytes = files.filter_map(|file| fs::metadata(&file.path).ok()).map(|m| m.len()).sum();
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {bytes}/{total_bytes} {eta} {wide_msg}") {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now() }
    }

    pub(super) fn begin(&self, file: &Path) {
        self.bar.set_message(file.display().to_string());
    }

    pub(super) fn advance(&self, bytes: u64) {
        if self.bar.is_hidden() && self.started.elapsed() > SHOW_AFTER {
            // It stays hidden when standard error is not a terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(bytes);
    }

    pub(super) fn restart(&self) {
        self.bar.set_position(0);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
