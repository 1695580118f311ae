//! SIGTERM, Ctrl-C and SIGHUP.

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

/// The SIGHUP signals of this process, which do not end it from now on.
pub(super) struct Hangups {
    #[cfg(unix)]
    signals: tokio::signal::unix::Signal,
}

impl Hangups {
    /// Starts to receive signals. Must be called in a runtime.
    pub(super) fn receive() -> Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signals: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal; forever where there are none.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        if self.signals.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
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
