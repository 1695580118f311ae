//! Command-line options.

use std::{path::PathBuf, time::Duration};

use crate::QUICK;

pub(crate) struct Options {
    /// Whether cargo runs benchmarks, not tests.
    pub(crate) bench: bool,
    pub(crate) quick: bool,
    rows: Option<Vec<u8>>,
    /// The number of records of rows without their own number.
    pub(crate) records: u64,
    pub(crate) rounds: usize,
    /// The minimum time of each side in a round.
    pub(crate) round_time: Duration,
    pub(crate) out: PathBuf,
    /// Internal: serve this snapshot, for benchmarks with the server in a child process.
    pub(crate) serve: Option<PathBuf>,
}

const USAGE: &str = "\
usage: cargo bench --bench peers -- [--quick] [--rows 1,4] [--records N] [--rounds N] [--out FILE]";

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            bench: false,
            quick: false,
            rows: None,
            records: 10_000_000,
            rounds: 0,
            round_time: Duration::from_millis(400),
            out: target().join("peers.json"),
            serve: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("missing value for {argument}\n{USAGE}"));
            match argument.as_str() {
                "--bench" => options.bench = true,
                "--test" => options.bench = false,
                "--quick" => options.quick = true,
                "--rows" => options.rows = Some(value()?.split(',').map(number).collect::<Result<_, _>>()?),
                "--records" => options.records = number(&value()?)?,
                "--rounds" => options.rounds = number(&value()?)?,
                "--serve" => options.serve = Some(value()?.into()),
                "--out" => options.out = value()?.into(),
                _ => return Err(format!("unknown option {argument}\n{USAGE}")),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 5 } else { 9 };
        }
        if options.quick {
            options.round_time /= 2;
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, row: u8) -> bool {
        match &self.rows {
            Some(rows) => rows.contains(&row),
            None => !self.quick || QUICK.contains(&row),
        }
    }
}

/// Returns cargo's target directory: this program is in its `release/deps`.
pub(crate) fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(3).map_or("target".into(), PathBuf::from)
}

/// Parses a number, which may have `_` between digits.
fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.replace('_', "").parse().map_err(|_| format!("expected a number, found {text:?}\n{USAGE}"))
}
