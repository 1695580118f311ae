//! `ksn ping`: connects to a server and measures the round-trip time of empty batches.

use std::{
    fmt,
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use ksn::{Client, LookupOptions};
use serde_json::{Value, json};
use tokio::time;

use super::{
    duration,
    exit::Exit,
    output::{self, Plural, plain},
    server_args::ServerArgs,
};

/// Connect to a server, show what it serves, and measure round-trip times.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    server: ServerArgs,

    /// Number of round trips.
    #[arg(long, short = 'c', value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,

    /// Pause between round trips.
    #[arg(long, short = 'i', value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    interval: Duration,

    /// Write one JSON object per round trip.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
A round trip is a batch without keys, which the server answers like any other batch.

Exit codes: 0 when every batch was answered, else 2.

Examples:
  ksn ping
  ksn ping --server ksn.example:4433 --ca ca.pem --timeout 500ms --json
  ksn ping --count 10 --interval 100ms";

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let exit = runtime.block_on(self.ping());
        // Does not wait for the resolver of the system, which may take longer than the timeout.
        runtime.shutdown_background();
        exit
    }

    async fn ping(&self) -> Result<Exit> {
        let config = self.server.config()?;
        let server = config.server.clone();
        let mut out = output::stdout();
        let began = Instant::now();
        let client = match Client::connect(config).await {
            Ok(client) => client,
            Err(error) => {
                if self.json {
                    writeln!(out, "{}", failure(&server, &error))?;
                    out.flush()?;
                }
                eprintln!("ksn: {}", self.server.explain(&error));
                return Ok(Exit::Error);
            }
        };
        let connected_in = began.elapsed();
        if !self.json {
            let welcome = client.welcome().context("the server sent no welcome")?;
            let (dataset, software) = (plain(&welcome.dataset), plain(&welcome.software));
            let generation = welcome.generation;
            writeln!(out, "{server}: {dataset}, generation {generation}, {software}, connected in {connected_in:.1?}")?;
        }
        let mut round_trips: Vec<Duration> = Vec::new();
        for number in 1..=self.count {
            if number > 1 {
                time::sleep(self.interval).await;
            }
            let began = Instant::now();
            let answer = client.exchange(&[], &LookupOptions::default()).await;
            let took = began.elapsed();
            if let Err(error) = &answer {
                eprintln!("ksn: {number}: {error}");
            }
            round_trips.extend(answer.is_ok().then_some(took));
            match (self.json, answer) {
                (true, Ok(_)) => writeln!(out, "{}", answered(&server, number, connected_in, took, &client))?,
                (true, Err(error)) => writeln!(out, "{}", failure(&server, &error))?,
                (false, Ok(_)) => writeln!(out, "{number}: {took:.1?}")?,
                (false, Err(_)) => {}
            }
            out.flush()?;
        }
        client.close().await;
        let answered = round_trips.len() as u64;
        if self.count > 1 && !self.json {
            writeln!(out, "{}", summary(self.count, round_trips))?;
            out.flush()?;
        }
        Ok(if answered == self.count { Exit::Success } else { Exit::Error })
    }
}

fn summary(count: u64, mut round_trips: Vec<Duration>) -> String {
    round_trips.sort();
    let mut text = format!("{} of {} answered", round_trips.len(), Plural(count, "batch"));
    if let (Some(min), Some(max)) = (round_trips.first(), round_trips.last()) {
        let median = round_trips[round_trips.len() / 2];
        text += &format!(", min {min:.1?}, median {median:.1?}, max {max:.1?}");
    }
    text
}

fn answered(server: &str, number: u64, connected_in: Duration, took: Duration, client: &Client) -> Value {
    let welcome = client.welcome();
    json!({
        "server": server,
        "number": number,
        "status": "answered",
        "round_trip_us": took.as_secs_f64() * 1e6,
        "connect_us": connected_in.as_secs_f64() * 1e6,
        "dataset": welcome.as_ref().map(|welcome| &welcome.dataset),
        "generation": welcome.as_ref().map(|welcome| welcome.generation),
        "software": welcome.as_ref().map(|welcome| &welcome.software),
    })
}

fn failure(server: &str, error: &impl fmt::Display) -> Value {
    json!({ "server": server, "status": "error", "reason": error.to_string() })
}
