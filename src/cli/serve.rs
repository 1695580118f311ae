//! `ksn serve`: answers lookups over QUIC.

use std::{io::Write, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use ksn::{Certificate, Server, ServerConfig};
use tracing_subscriber::filter::LevelFilter;

use super::{
    ask,
    exit::Exit,
    output,
    state::{self, Serving},
};

/// Answer lookups over QUIC from a snapshot, until it is told to stop (SIGTERM or Ctrl-C).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The snapshot to answer from.
    #[arg(long, value_name = "FILE")]
    db: PathBuf,

    /// Listen there; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4433")]
    listen: SocketAddr,

    /// Prove who it is with this certificate chain, instead of one that is made and kept.
    #[arg(long, value_name = "PEM", requires = "key")]
    cert: Option<PathBuf>,

    /// The private key of the certificate.
    #[arg(long, value_name = "PEM", requires = "cert")]
    key: Option<PathBuf>,

    /// Serve on so many cores; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    cores: usize,

    /// How much to log on standard error: off, error, warn, info, debug, trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
}

const EXAMPLES: &str = "\
Without --cert a certificate is made once and kept in the state directory; clients elsewhere recognise the
server by the pin that is printed, `ksn lookup` on this machine knows it already.

Examples:
  ksn serve --db records.ksn
  ksn serve --db records.ksn --listen 0.0.0.0:4433 --cert server.pem --key server.key";

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        tracing_subscriber::fmt()
            .with_max_level(self.log)
            .with_writer(std::io::stderr)
            .with_ansi(output::has_colours(&std::io::stderr()))
            .with_target(false)
            .init();
        let index = Arc::new(ask::open(&self.db)?);
        // With several cores the server has a thread on each, and this one only waits.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let shutdown = shutdown()?;
            let (certificate, state) = match (self.cert, self.key) {
                (Some(chain), Some(key)) => (Certificate::Files { chain, key }, state::directory().ok()),
                _ => {
                    let state = state::directory().context("give --cert and --key, or a place for a certificate")?;
                    (Certificate::SelfSigned { state: state.clone() }, Some(state))
                }
            };
            let view = index.view();
            let about = format!("{}, generation {}", view.dataset(), view.generation());
            drop(view);
            let config = ServerConfig { cores: self.cores, ..ServerConfig::new(self.listen, certificate) };
            let server = Server::bind(config, index)?;
            // With a certificate of its own it serves all the same where there is no place for state.
            if let Some(state) = state
                && let Err(e) = Serving::new(server.local_addr(), server.pin()).save(&state)
            {
                eprintln!("ksn: `ksn lookup` will need --server and --pin: {}", super::told(&e));
            }
            let mut out = output::stdout();
            writeln!(out, "listening on {} ({about})\npin {}", server.local_addr(), server.pin())?;
            out.flush()?;
            drop(out);
            server.run(shutdown).await;
            Ok(Exit::Success)
        })
    }
}

/// Ready when the process is asked to end.
fn shutdown() -> Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        // Without a handler there is nothing to wait for: it then runs until it is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
