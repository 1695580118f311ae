//! `ksn bench`: puts load on a server, or on the index in this process, and measures.

mod batches;
mod control;
mod draw;
mod local;
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
    report::{Asked, Report},
    settings::Mix,
};
use super::{
    ask::{self, WhichServer},
    exit::Exit,
    output,
};

/// Put load on a server, or on the index in this process, and measure throughput and latency.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    server: WhichServer,

    /// Ask the snapshot of --db in this process instead, without a server.
    #[arg(long, requires = "db", conflicts_with_all = ["server", "rate", "in_flight", "connections"])]
    local: bool,

    /// The snapshot that answers: keys to be known are drawn from it, and answers checked against it.
    #[arg(long, value_name = "FILE", help_heading = KEYS)]
    db: Option<PathBuf>,

    /// Kinds of key by weight, such as `sha256=8,md5=1,web=1,ipv4=1`.
    #[arg(long, value_name = "MIX", default_value = "sha256", help_heading = KEYS)]
    mix: Mix,

    /// How many of the keys are to be known, in percent [default: 10%, without --db none].
    #[arg(long, value_name = "PERCENT", requires = "db", value_parser = settings::fraction, help_heading = KEYS)]
    hits: Option<f64>,

    /// Ask the keys in this file, one a line, as `ksn lookup -` reads them.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mix", "hits"], help_heading = KEYS)]
    keys: Option<PathBuf>,

    /// Prepare so many keys; none is asked twice until all have been asked.
    #[arg(long, value_name = "KEYS", default_value_t = 1 << 20, help_heading = KEYS)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    distinct: u64,

    /// Draw keys from this random sequence; the same number gives the same keys.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = KEYS)]
    seed: u64,

    /// Keys in a batch; 1 looks up key by key, as a scanner does (the client then makes the batches).
    #[arg(long, value_name = "KEYS", default_value_t = 4_096, help_heading = LOAD)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=BATCH_KEYS_MAX as i64))]
    batch: u32,

    /// Batches on each connection at a time [default: 8; with --rate as many as the server takes].
    #[arg(long, value_name = "BATCHES", value_parser = clap::value_parser!(u32).range(1..), help_heading = LOAD)]
    in_flight: Option<u32>,

    /// Connections to the server.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = LOAD)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_535))]
    connections: u32,

    /// Threads that ask; connections are dealt out among them.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = LOAD)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_024))]
    threads: u32,

    /// Send so many keys a second at fixed times, instead of as fast as answers come.
    #[arg(long, value_name = "KEYS_PER_SECOND", value_parser = clap::value_parser!(u64).range(1..), help_heading = LOAD)]
    rate: Option<u64>,

    /// Measure so long: `10s`, `500ms`, `1m`.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = settings::some_duration, help_heading = LOAD)]
    duration: Duration,

    /// Ask so long before it is measured.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = settings::duration, help_heading = LOAD)]
    warmup: Duration,

    /// Write one JSON document instead of a table.
    #[arg(long)]
    json: bool,
}

const KEYS: &str = "Keys";
const LOAD: &str = "Load";

const EXAMPLES: &str = "\
With --rate, latency counts from when a batch was due, so that a server that stalls is seen to.
With --db, a batch with more or fewer known keys than it should have ends the run with an error.
Ctrl-C ends a run early; what was measured is reported all the same.

Examples:
  ksn bench --db records.ksn                            how much the server of this machine takes
  ksn bench --db records.ksn --batch 1 --in-flight 1    how long a scanner waits for one key
  ksn bench --db records.ksn --batch 1 --in-flight 256  the same, with many that ask at a time
  ksn bench --rate 1000000 --server ksn.example:4433 --ca ca.pem
  ksn bench --local --db records.ksn --mix sha256=8,web=1 --hits 1%";

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        if !self.local && self.threads > self.connections {
            bail!(
                "expected at least a connection for each of {} threads, found {}: give --connections {0}",
                self.threads,
                self.connections
            );
        }
        let index = self.db.as_deref().map(ask::open).transpose()?;
        let asked = if self.local { None } else { Some(self.server.config()?) };
        let Drawn { keys, distinct, distinct_known } = self.draw(index.as_ref())?;
        let batches = Batches::new(keys, self.batch as usize);
        let lengths = Lengths { warmup: self.warmup, measured: self.duration };
        let threads = self.threads as usize;
        let (asked, dataset, generation, course, record, wrong) = match (asked, &index) {
            (None, Some(index)) => {
                let view = index.view();
                let local::Outcome { course, record, wrong } = local::ask(&view, &batches, threads, lengths)?;
                (Asked::Local, view.dataset().to_owned(), view.generation(), course, record, wrong)
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
                let explain = |error: &_| self.server.explain(error, &address);
                let outcome = network::ask(config, load, batches, explain)?;
                let network::Outcome { welcome, in_flight, course, record, keys_unsent, wrong } = outcome;
                let connections = self.connections as usize;
                let asked =
                    Asked::Server { address: address.clone(), connections, in_flight, rate: self.rate, keys_unsent };
                (asked, welcome.dataset.clone(), welcome.generation, course, record, wrong)
            }
            (None, None) => bail!("--local needs --db"),
        };
        if let (Some(wrong), Some(index)) = (wrong, &index) {
            let view = index.view();
            bail!(
                "{wrong}: who answers has {dataset}, generation {generation}, and --db is {}, generation {}",
                view.dataset(),
                view.generation()
            );
        }
        let exit = if record.failed.batches > 0 { Exit::Trouble } else { Exit::Success };
        let report = Report {
            asked,
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
            course,
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
        // A batch is full even where few keys are prepared.
        let count = usize::try_from(self.distinct)?.max(self.batch as usize);
        if let Some(path) = &self.keys {
            return draw::read(path, count, index);
        }
        if index.is_none() {
            eprintln!("ksn: without --db all keys are random, and answers are not checked");
        }
        let hits = self.hits.unwrap_or(HITS);
        let longest = self.warmup + self.duration + MARGIN;
        let until = i64::from(ask::now().seconds()) + longest.as_secs() as i64;
        let until = Timestamp::from_unix(until).unwrap_or(ask::now());
        Draw { mix: &self.mix, hits, count, seed: self.seed, index, until }.draw()
    }
}

/// Of a batch of files or addresses most are listed nowhere.
const HITS: f64 = 0.1;

/// For answers that are on their way at the end, and clocks that differ.
const MARGIN: Duration = Duration::from_secs(120);
