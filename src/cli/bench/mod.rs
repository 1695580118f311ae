//! `ksn bench`: load generator for a server, or for the index in process.

mod batches;
mod control;
mod draw;
mod in_process;
mod network;
mod pace;
mod progress;
mod record;
mod report;
mod settings;

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use ksn::{Index, limits::BATCH_KEYS_MAX, timestamp::Timestamp};

use self::{
    batches::Batches,
    control::Lengths,
    draw::{Draw, Drawn},
    report::{Report, Target},
    settings::Mix,
};
use super::{backend, duration, exit::Exit, output, server_args::ServerArgs};

/// Put load on a server, or on the index in process, and measure throughput and latency.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    server: ServerArgs,

    /// Query the snapshot of --db in process, without a server.
    #[arg(long, requires = "db", conflicts_with_all = ["server", "rate", "in_flight", "connections"])]
    local: bool,

    /// Snapshot that the target serves: known keys are sampled from it, and answers are checked against it.
    #[arg(long, value_name = "FILE", help_heading = KEYS)]
    db: Option<PathBuf>,

    /// Kinds of key by weight, such as `sha256=8,md5=1,web=1,ipv4=1`.
    #[arg(long, value_name = "MIX", default_value = "sha256", help_heading = KEYS)]
    mix: Mix,

    /// Percentage of known keys: `10` and `10%` are ten percent, `0.1` is a thousandth [default: 10, without --db 0].
    #[arg(long, value_name = "PERCENT", requires = "db", value_parser = settings::percentage, help_heading = KEYS)]
    hits: Option<f64>,

    /// Look up the keys in this file, one per line, in the syntax of `ksn lookup -`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mix", "hits"], help_heading = KEYS)]
    keys: Option<PathBuf>,

    /// Number of keys to prepare; they are looked up in rotation.
    #[arg(long, value_name = "KEYS", default_value_t = 1 << 20, help_heading = KEYS)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    distinct: u64,

    /// Random seed; the same seed generates the same keys.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = KEYS)]
    seed: u64,

    /// Keys per batch; 1 looks up single keys, as a scanner does (the client then coalesces them into batches).
    #[arg(long, value_name = "KEYS", default_value_t = 4_096, help_heading = LOAD)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=BATCH_KEYS_MAX as i64))]
    batch: u32,

    /// Batches in flight on each connection [default: 8; with --rate the maximum of the server].
    #[arg(long, value_name = "BATCHES", value_parser = clap::value_parser!(u32).range(1..), help_heading = LOAD)]
    in_flight: Option<u32>,

    /// Number of connections to the server.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = LOAD)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_535))]
    connections: u32,

    /// Number of client threads; connections are distributed among them.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = LOAD)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_024))]
    threads: u32,

    /// Send this many keys per second on a fixed schedule (open loop), instead of as fast as answers arrive.
    #[arg(long, value_name = "KEYS_PER_SECOND", help_heading = LOAD)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,

    /// Measurement time: `10s`, `500ms`, `1m`.
    #[arg(long, value_name = "TIME", default_value = "10s", help_heading = LOAD)]
    #[arg(value_parser = duration::nonzero)]
    duration: Duration,

    /// Warm-up time before the measurement.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse, help_heading = LOAD)]
    warmup: Duration,

    /// Write one JSON document instead of a table.
    #[arg(long)]
    json: bool,
}

const KEYS: &str = "Keys";
const LOAD: &str = "Load";

const EXAMPLES: &str = "\
With --rate, latency is measured from the scheduled send time, so that server stalls are not hidden.
With --db, a batch whose number of known keys differs from the expected one ends the run with an error.
Ctrl-C ends a run early; the results up to then are reported.

Examples:
  ksn bench --db records.ksn                            throughput of the local server
  ksn bench --db records.ksn --batch 1 --in-flight 1    latency of a single key
  ksn bench --db records.ksn --batch 1 --in-flight 256  the same with 256 concurrent callers
  ksn bench --rate 1000000 --server ksn.example:4433 --ca ca.pem
  ksn bench --local --db records.ksn --mix sha256=8,web=1 --hits 1";

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        if !self.local && self.threads > self.connections {
            bail!(
                "expected at least one connection per thread ({} threads), found {}: give --connections {0}",
                self.threads,
                self.connections
            );
        }
        let index = self.db.as_deref().map(backend::open).transpose()?;
        let target = if self.local { None } else { Some(self.server.config()?) };
        let Drawn { keys, distinct, distinct_known } = self.draw(index.as_ref())?;
        let batches = Batches::new(keys, self.batch as usize);
        let lengths = Lengths { warmup: self.warmup, measured: self.duration };
        let threads = self.threads as usize;
        let (target, dataset, generation, summary, record, mismatch) = match (target, &index) {
            (None, Some(index)) => {
                let view = index.view();
                let in_process::Outcome { summary, record, mismatch } =
                    in_process::run(&view, &batches, threads, lengths)?;
                (Target::Local, view.dataset().to_owned(), view.generation(), summary, record, mismatch)
            }
            (Some(config), _) => {
                let address = config.server.clone();
                let load = network::Load {
                    threads,
                    connections: self.connections as usize,
                    in_flight: self.in_flight.map(|batches| batches as usize),
                    rate: self.rate,
                    lengths,
                };
                let explain = |error: &_| self.server.explain(error);
                let outcome = network::run(config, load, batches, explain)?;
                let network::Outcome { welcome, in_flight, summary, record, keys_unsent, mismatch } = outcome;
                let connections = self.connections as usize;
                let target =
                    Target::Server { address: address.clone(), connections, in_flight, rate: self.rate, keys_unsent };
                (target, welcome.dataset.clone(), welcome.generation, summary, record, mismatch)
            }
            (None, None) => bail!("--local needs --db"),
        };
        if let (Some(mismatch), Some(index)) = (mismatch, &index) {
            let view = index.view();
            bail!(
                "{mismatch}: the target has {dataset}, generation {generation}, but --db is {}, generation {}",
                view.dataset(),
                view.generation()
            );
        }
        let exit = if record.failed.batches > 0 { Exit::Error } else { Exit::Success };
        let report = Report {
            target,
            dataset,
            generation,
            keys_from: match &self.keys {
                Some(path) => path.display().to_string(),
                None => self.mix.to_string(),
            },
            distinct,
            distinct_known,
            batch_keys: self.batch,
            threads,
            seed: self.seed,
            warmup: self.warmup,
            summary,
            record,
        };
        let mut out = output::stdout();
        if self.json {
            report.json(&mut out)?
        } else {
            report.text(&mut out)?
        }
        out.flush()?;
        Ok(exit)
    }

    fn draw(&self, index: Option<&Index>) -> Result<Drawn> {
        // A batch is full even when --distinct is smaller.
        let count = usize::try_from(self.distinct)?.max(self.batch as usize);
        if let Some(path) = &self.keys {
            return draw::read(path, count, index);
        }
        if index.is_none() {
            eprintln!("ksn: without --db all keys are random, and answers are not checked");
        }
        let hits = self.hits.unwrap_or(HITS);
        let longest = self.warmup + self.duration + MARGIN;
        let until = i64::from(backend::now().seconds()) + longest.as_secs() as i64;
        let until = Timestamp::from_unix(until).unwrap_or(backend::now());
        Draw { mix: &self.mix, hits, count, seed: self.seed, index, until }.draw()
    }
}

/// Default share of known keys: most files and addresses are unlisted.
const HITS: f64 = 0.1;

/// Allowance for answers in flight at the end, and for clock skew.
const MARGIN: Duration = Duration::from_secs(120);
