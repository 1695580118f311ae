//! SIGTERM and Ctrl-C.

use std::{process, thread};

use anyhow::Result;

/// The exit code of a process that a signal ended, as shells report it: 128 and the number of the signal.
pub(super) type SignalExit = i32;

/// Returns a future that completes on SIGTERM or Ctrl-C. Must be called in a runtime.
pub(super) fn termination() -> Result<impl Future<Output = SignalExit>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(async move {
            let kind = tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            };
            128 + kind.as_raw_value()
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        // Without a signal handler the process runs until it is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        130
    })
}

/// Starts a thread that on SIGTERM or Ctrl-C calls `clean_up` and ends the process.
pub(super) fn on_termination(clean_up: impl FnOnce() + Send + 'static) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let termination = {
        let _in_runtime = runtime.enter();
        termination()?
    };
    thread::Builder::new().name("signals".into()).spawn(move || {
        let code = runtime.block_on(termination);
        clean_up();
        process::exit(code)
    })?;
    Ok(())
}
