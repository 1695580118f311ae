//! The command line.

use std::{path::PathBuf, time::Duration};

use crate::QUICK;

pub(crate) struct Options {
    /// Whether cargo asked for benchmarks, and not for tests.
    pub(crate) bench: bool,
    pub(crate) quick: bool,
    rows: Option<Vec<u8>>,
    /// Records, where a row does not say how many.
    pub(crate) records: u64,
    pub(crate) rounds: usize,
    /// How long each side is timed in a round, at least.
    pub(crate) round_time: Duration,
    pub(crate) out: PathBuf,
    /// Not for people: serve this snapshot, for a benchmark that wants the server in a process of its own.
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
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--bench" => options.bench = true,
                "--test" => options.bench = false,
                "--quick" => options.quick = true,
                "--rows" => options.rows = Some(value()?.split(',').map(number).collect::<Result<_, _>>()?),
                "--records" => options.records = number(&value()?)?,
                "--rounds" => options.rounds = number(&value()?)?,
                "--serve" => options.serve = Some(value()?.into()),
                "--out" => options.out = value()?.into(),
                _ => return Err(format!("{argument:?} is no option\n{USAGE}")),
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

/// The folder that cargo builds into: this program lies in `release/deps` of it.
pub(crate) fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(3).map_or("target".into(), PathBuf::from)
}

/// A number, with `_` between digits if wanted.
fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.replace('_', "").parse().map_err(|_| format!("{text:?} is no number\n{USAGE}"))
}
