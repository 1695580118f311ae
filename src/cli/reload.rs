//! Reloads the snapshot of a server when its file is replaced, and on SIGHUP.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError, SyncSender},
    thread,
    time::Duration,
};

use anyhow::Result;
use ksn::{
    View,
    reload::{Reloaded, Reloader, Replaced},
};

use super::{output::plain, signals::Hangups};

/// Starts a thread that looks at the file each second, reloads it when it has changed, and frees replaced snapshots.
/// Every signal of `hangups` reloads it, too. Must be called in a runtime. The thread ends with the process.
pub(super) fn watch(path: PathBuf, mut reloader: Reloader, mut hangups: Hangups) -> Result<()> {
    let (force, forced) = mpsc::sync_channel(1);
    thread::Builder::new().name("reload".into()).spawn(move || {
        loop {
            let result = match forced.recv_timeout(POLL) {
                Ok(()) => Some(reloader.reload()),
                Err(RecvTimeoutError::Timeout) => reloader.poll(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            match result {
                Some(Ok(Reloaded::Replaced(replaced))) => finish(&path, replaced),
                Some(Ok(Reloaded::Unchanged)) => tracing::info!("{}: unchanged", name(&path)),
                Some(Err(error)) => {
                    let generation = reloader.index().view().generation();
                    tracing::warn!("{}: not loaded: {error}; generation {generation} stays", name(&path));
                }
                None => {}
            }
        }
    })?;
    tokio::spawn(async move { forward(&mut hangups, force).await });
    Ok(())
}

/// Requests a reload for every signal. One that is requested already covers later signals.
async fn forward(hangups: &mut Hangups, force: SyncSender<()>) {
    loop {
        hangups.next().await;
        let _ = force.try_send(());
    }
}

/// Logs a replacement, and frees the memory of the previous snapshot: that takes tens of milliseconds per gigabyte, which
/// no thread that answers may spend.
fn finish(path: &Path, replaced: Replaced) {
    let Replaced { previous, current, elapsed } = replaced;
    log_loaded(path, &current, elapsed);
    let (before, now) = (previous.generation(), current.generation());
    if now <= before {
        let relation = if now == before { "the same as" } else { "lower than" };
        tracing::warn!(
            "{}: generation {now} is {relation} that before, {before}; clients may keep older answers: build with a \
             higher --generation",
            name(path)
        );
    }
    drop(current);
    previous.retire(RETIRE_PATIENCE);
}

/// Logs which snapshot is served from now on.
pub(super) fn log_loaded(path: &Path, view: &View, elapsed: Duration) {
    tracing::info!(
        "{}: loaded dataset {}, generation {}, {} records, in {:.3} s",
        name(path),
        view.dataset(),
        view.generation(),
        view.total_records(),
        elapsed.as_secs_f64()
    );
}

fn name(path: &Path) -> String {
    plain(&path.display().to_string())
}

/// The interval at which the file is looked at.
const POLL: Duration = Duration::from_secs(1);

/// The time after which a snapshot that is still in use is left to its users: more than the longest deadline of a batch.
const RETIRE_PATIENCE: Duration = Duration::from_secs(60);
