//! `ksn serve`: answers lookups over QUIC.

use std::{io::Write, net::SocketAddr, path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use ksn::{Certificate, Server, ServerConfig, reload::Reloader};
use tracing_subscriber::filter::LevelFilter;

use super::{
    exit::Exit,
    output, reload, signals,
    state::{self, StartedServer},
};

/// Serve lookups over QUIC from a snapshot until SIGTERM or Ctrl-C.
///
/// The snapshot is reloaded when its file is replaced, which is looked at each second, and on SIGHUP. Build the new file
/// under another name and rename it (`ksn build -o` does). It is verified beside the served one, which stays if the new
/// file is damaged, empty, too small (--max-shrink) or does not fit into memory; a warning in the log states the reason.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Snapshot to serve, and to reload when it is replaced.
    #[arg(long, value_name = "FILE")]
    db: PathBuf,

    /// Address to listen on; port 0 selects a free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4433")]
    listen: SocketAddr,

    /// Certificate chain of the server; the default is a generated self-signed certificate.
    #[arg(long, value_name = "PEM", requires = "key")]
    cert: Option<PathBuf>,

    /// Private key of the certificate.
    #[arg(long, value_name = "PEM", requires = "cert")]
    key: Option<PathBuf>,

    /// Number of cores to serve on; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    cores: usize,

    /// Keep the served snapshot if its replacement has this much fewer records.
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    max_shrink: u8,

    /// Log level on standard error: off, error, warn, info, debug, trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
}

const EXAMPLES: &str = "\
Without --cert a self-signed certificate is generated once and stored in the state directory. Remote clients \
authenticate the server by the printed pin; `ksn lookup` on this machine finds the pin itself.

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
        // With several cores the server runs one thread per core, and this thread only waits.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .event_interval(ServerConfig::EVENT_INTERVAL)
            .enable_all()
            .build()?;
        // First of all: opening a large snapshot takes seconds, and SIGHUP must not end them.
        let hangups = {
            let _in_runtime = runtime.enter();
            signals::Hangups::receive()?
        };
        let started = Instant::now();
        let reloader = Reloader::open(&self.db, self.max_shrink).with_context(|| self.db.display().to_string())?;
        let index = reloader.index().clone();
        reload::log_loaded(&self.db, &index.view(), started.elapsed());
        runtime.block_on(async {
            let termination = signals::termination()?;
            reload::watch(self.db, reloader, hangups)?;
            let (certificate, state) = match (self.cert, self.key) {
                (Some(chain), Some(key)) => (Certificate::Files { chain, key }, state::directory().ok()),
                _ => {
                    let state = state::directory().context(
                        "cannot store a self-signed certificate (set KSN_STATE_DIR, or give --cert and --key)",
                    )?;
                    (Certificate::SelfSigned { state: state.clone() }, Some(state))
                }
            };
            let view = index.view();
            let about = format!("{}, generation {}", view.dataset(), view.generation());
            drop(view);
            let config =
                ServerConfig { cores: self.cores, state: state.clone(), ..ServerConfig::new(self.listen, certificate) };
            let server = Server::bind(config, index)?;
            // With --cert, a missing state directory does not prevent serving.
            let saved = state.map(|state| StartedServer::new(server.local_addr(), server.pin()).save(&state));
            // Held while the server runs.
            let _mark = saved.and_then(|saved| {
                let warn = |e: &anyhow::Error| {
                    let error = super::error_chain(e);
                    eprintln!(
                        "ksn: cannot save the server address, `ksn lookup` will need --server and --pin: {error}"
                    );
                };
                saved.inspect_err(warn).ok()
            });
            let mut out = output::stdout();
            writeln!(out, "listening on {} ({about})\npin {}", server.local_addr(), server.pin())?;
            out.flush()?;
            drop(out);
            let shutdown = async {
                termination.await;
            };
            server.run(shutdown).await;
            Ok(Exit::Success)
        })
    }
}
