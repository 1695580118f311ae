//! `ksn build`: compiles feeds into a snapshot.

mod checks;
mod config;
mod guards;
mod help;
mod inputs;
mod progress;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use ksn::{
    compile::{Compiled, Compiler, FeedFiles},
    feed::{CsvColumn, Format, Options},
    snapshot::AbortHandle,
    timestamp::Timestamp,
};

pub(super) use self::checks::Findings;
use self::{
    checks::Requirements,
    config::Config,
    inputs::{Input, Reading, Settings},
};
use super::{backend, build_report, exit::Exit, signals};

/// Compile indicator feeds into a snapshot.
#[derive(Debug, clap::Args)]
#[command(after_help = help::EXAMPLES, after_long_help = help::long())]
pub(super) struct Args {
    /// Where to write the snapshot: a file, a pipe or a character device; `-` is standard output.
    ///
    /// A file is replaced as a whole when the snapshot is complete, and keeps its mode and owner. A symbolic link is
    /// followed. Other kinds of files are refused.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Read feeds of the command line as this format instead of detecting it.
    #[arg(long, value_name = "NAME", long_help = help::formats(), requires = "feeds")]
    format: Option<Format>,

    /// Columns of a CSV or TSV file in order, such as `time,hash,name,-`; `--help` lists them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', allow_hyphen_values = true, requires = "feeds")]
    columns: Option<Vec<CsvColumn>>,

    /// Source name of the records; the default is the publisher or the name of the list.
    #[arg(long, value_name = "NAME", requires = "feeds")]
    source: Option<String>,

    /// Compile the feeds of the command line into trusted records (known good).
    #[arg(long, requires = "feeds")]
    trusted: bool,

    /// Also read the feeds that this TOML file describes, each with its own settings; `--help` shows it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Withhold bad records that match this guard list of host names or IPv4 blocks, or those of a directory; may be
    /// repeated.
    #[arg(long, value_name = "PATH")]
    guard: Vec<PathBuf>,

    /// Withhold records older than this, such as `90d` (s, m, h, d, w).
    #[arg(long, value_name = "AGE", value_parser = seconds)]
    max_age: Option<u32>,

    /// Withhold records with a lower feed confidence, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    min_confidence: Option<u8>,

    /// Withhold records with a lower score.
    #[arg(long, value_name = "SCORE")]
    min_score: Option<u32>,

    /// Fail at the first row that cannot be parsed, and at a file of a directory that cannot be read or gives no record.
    #[arg(long)]
    strict: bool,

    /// Accept feeds without records, and write a snapshot without records.
    #[arg(long)]
    allow_empty: bool,

    /// Write nothing if the snapshot would have fewer records.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    min_records: u64,

    /// Write nothing if a source, or all together, would have this much fewer records than in the snapshot to be
    /// replaced.
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    max_shrink: u8,

    /// Report format: a table on standard error, or a JSON document on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    report: ReportFormat,

    /// Rows without a record that the JSON report lists per feed, each with its line and reason; all are counted.
    // A thousand rows are more than a person reads, and take a quarter of a megabyte of memory a feed.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    report_limit: usize,

    /// Dataset name; every build is a generation of its dataset.
    #[arg(long, value_name = "NAME", default_value = "local")]
    dataset: String,

    /// Generation number; the default is the creation time in seconds.
    #[arg(long, value_name = "N")]
    generation: Option<u64>,

    /// Creation time of the snapshot; the default is SOURCE_DATE_EPOCH, else now.
    #[arg(long, value_name = "TIME")]
    created: Option<Timestamp>,

    /// Feeds: files, directories (recursively), or `-` for standard input.
    #[arg(value_name = "FEED", required_unless_present = "config")]
    feeds: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ReportFormat {
    Text,
    Json,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        let to_stdout = self.output.as_os_str() == "-";
        if to_stdout && self.report == ReportFormat::Json {
            bail!("the snapshot and the JSON report cannot both go to standard output: give --output a file");
        }
        // Until the snapshot is complete, a signal leaves nothing behind.
        let abort = AbortHandle::default();
        let to_abort = abort.clone();
        signals::on_termination(move || to_abort.abort())?;
        let created = self.created()?;
        let options = self.options(created);
        let mut compiler = Compiler::new(options.clone());
        let mut files = FeedFiles::default();
        let mut guards = Vec::new();
        for path in &self.guard {
            guards.extend(files.add(path, None).context("cannot read guards")?);
        }
        let config = self.config.as_deref().map(|path| Config::read(path, &mut files)).transpose()?.unwrap_or_default();
        guards.extend_from_slice(&config.guards);
        guards::read(&mut compiler, &guards, self.strict)?;
        let inputs = self.inputs(config, &mut files)?;
        let Reading { ranges, is_refused } = inputs::read(&mut compiler, &inputs, &options)?;
        if is_refused || compiler.files().iter().all(|file| file.report.is_err()) {
            build_report::refused(compiler.files());
            bail!(
                "nothing was written: {}",
                if is_refused { "a file named on the command line is not a feed" } else { "no feed was found" }
            );
        }
        let previous = if to_stdout { None } else { checks::previous(&self.output) };
        let compiled = compiler.finish(&self.dataset, self.generation.unwrap_or(created.seconds().into()))?;
        let findings = self.requirements().check(&inputs, &ranges, &compiled, previous.as_ref());
        if findings.problems.is_empty() {
            self.write(&compiled, to_stdout, &abort)?;
        }
        match self.report {
            ReportFormat::Json => build_report::json(&compiled, &self.output, &findings)?,
            ReportFormat::Text => build_report::text(&compiled, &self.output, &findings),
        }
        Ok(if findings.problems.is_empty() { Exit::Success } else { Exit::TooFewRecords })
    }

    fn options(&self, created: Timestamp) -> Options {
        Options {
            max_age: self.max_age,
            min_confidence: self.min_confidence,
            min_score: self.min_score,
            strict: self.strict,
            refusals_max: match self.report {
                ReportFormat::Text => build_report::TEXT_REFUSALS_MAX,
                ReportFormat::Json => self.report_limit,
            },
            ..Options::new(created)
        }
    }

    fn requirements(&self) -> Requirements {
        Requirements {
            allow_empty: self.allow_empty,
            min_records: self.min_records,
            max_shrink: self.max_shrink,
            strict: self.strict,
        }
    }

    fn created(&self) -> Result<Timestamp> {
        if let Some(created) = self.created {
            return Ok(created);
        }
        match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(seconds) => seconds.parse().context("in SOURCE_DATE_EPOCH"),
            Err(_) => Ok(backend::now()),
        }
    }

    /// Returns the feeds: those of the config file, then those of the command line. Files that are guard lists, and
    /// those of an earlier feed, are left out.
    fn inputs(&self, mut config: Config, files: &mut FeedFiles) -> Result<Vec<Input>> {
        let mut inputs = std::mem::take(&mut config.feeds);
        let mut has_stdin = false;
        for path in &self.feeds {
            let is_stdin = path.as_os_str() == "-";
            if is_stdin && std::mem::replace(&mut has_stdin, true) {
                continue;
            }
            let found = if is_stdin { None } else { Some(files.add(path, None).context("cannot find the feeds")?) };
            inputs.push(Input { name: path.display().to_string(), files: found, settings: self.settings() });
        }
        Ok(inputs)
    }

    /// Returns what the command line specifies about its feeds.
    fn settings(&self) -> Settings {
        Settings {
            source: self.source.clone(),
            format: self.format,
            columns: self.columns.clone(),
            trusted: self.trusted,
            ..Settings::default()
        }
    }

    fn write(&self, compiled: &Compiled, to_stdout: bool, abort: &AbortHandle) -> Result<()> {
        if to_stdout {
            let mut out = io::stdout().lock();
            compiled.snapshot.write_to(&mut out).and_then(|()| out.flush())?;
        } else {
            compiled.snapshot.write_abortable(&self.output, abort)?;
        }
        Ok(())
    }
}

/// Parses `90d`, `12h`, `30m`, `45s`, `2w`.
fn seconds(text: &str) -> Result<u32, String> {
    let expected = || format!("expected a number with unit s, m, h, d or w, such as `90d`, found {text:?}");
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(expected()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| expected())?;
    count.checked_mul(seconds).ok_or_else(|| format!("expected at most 136 years (32 bits of seconds), found {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        assert_eq!(seconds("90d"), Ok(7_776_000));
        assert_eq!(seconds("2w"), Ok(1_209_600));
        for text in ["", "d", "90", "1y", "-1d", "99999999w", "1é"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
