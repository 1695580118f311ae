//! `ksn build`: compiles feeds into a snapshot.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ksn::{
    compile::{Compiler, FeedFile, feed_files},
    feed::{CsvColumn, Format, Options},
    snapshot::AbortHandle,
    timestamp::Timestamp,
};

use super::{backend, build_report, exit::Exit, output::Plural, signals};

/// Compile indicator feeds into a snapshot.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Where to write the snapshot: a file, a pipe or a character device; `-` is standard output.
    ///
    /// A file is replaced as a whole when the snapshot is complete, and keeps its mode and owner. A symbolic link is
    /// followed. Other kinds of files are refused.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Read every feed as this format instead of detecting it.
    #[arg(long, value_name = "NAME", long_help = format_help())]
    format: Option<Format>,

    /// Columns of a CSV or TSV file in order, such as `time,hash,name,-`.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', allow_hyphen_values = true)]
    columns: Option<Vec<CsvColumn>>,

    /// Source name of the records; the default is the format name.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,

    /// Compile the feeds into trusted records (known good).
    #[arg(long)]
    trusted: bool,

    /// Withhold bad records that match this guard list of host names or IPv4 blocks; may be repeated.
    #[arg(long, value_name = "FILE")]
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

    /// Fail at the first row that cannot be parsed.
    #[arg(long)]
    strict: bool,

    /// Report format: a table on standard error, or a JSON document on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    report: ReportFormat,

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
    #[arg(value_name = "FEED", required = true)]
    feeds: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ReportFormat {
    Text,
    Json,
}

const EXAMPLES: &str = "\
A file named on the command line that is not a feed is an error, and nothing is written; one found in a
directory is skipped and reported. The same feeds with the same --created produce the same bytes, in any
order.

Examples:
  ksn build -o records.ksn feeds/
  ksn build -o records.ksn --guard top-sites.json --max-age 90d urlhaus.csv threatfox.json.gz
  ksn build -o good.ksn --trusted --source our-software --format csv --columns hash,name list.csv
  curl -s https://feed.example/list.txt | ksn build -o records.ksn -";

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
        let mut compiler = Compiler::new(self.options(created));
        if let Some(format) = self.format {
            compiler.set_format(format);
        }
        for path in &self.guard {
            read_guards(&mut compiler, path)?;
        }
        let is_refused = self.read_feeds(&mut compiler)?;
        if is_refused || compiler.files().iter().all(|file| file.report.is_err()) {
            build_report::refused(compiler.files());
            bail!(
                "nothing was written: {}",
                if is_refused { "a file named on the command line is not a feed" } else { "no feed was found" }
            );
        }
        let compiled = compiler.finish(&self.dataset, self.generation.unwrap_or(created.seconds().into()))?;
        if to_stdout {
            let mut out = io::stdout().lock();
            compiled.snapshot.write_to(&mut out).and_then(|()| out.flush())?;
        } else {
            compiled.snapshot.write_abortable(&self.output, &abort)?;
        }
        match self.report {
            ReportFormat::Json => build_report::json(&compiled, &self.output)?,
            ReportFormat::Text => build_report::text(&compiled, &self.output),
        }
        Ok(Exit::Success)
    }

    fn options(&self, created: Timestamp) -> Options {
        Options {
            source: self.source.clone(),
            trusted: self.trusted,
            max_age: self.max_age,
            min_confidence: self.min_confidence,
            min_score: self.min_score,
            strict: self.strict,
            columns: self.columns.clone(),
            ..Options::new(created)
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

    /// Reads all feeds. Returns whether a file named on the command line is not a feed. Fails when a feed is damaged.
    fn read_feeds(&self, compiler: &mut Compiler) -> Result<bool> {
        let (streams, paths): (Vec<_>, Vec<_>) = self.feeds.iter().cloned().partition(|path| path.as_os_str() == "-");
        let mut is_refused = false;
        if !streams.is_empty() {
            let report = compiler.read(io::stdin().lock(), "-").err();
            is_refused |= check_failure(report, Path::new("-"), true)?;
        }
        let files = feed_files(&paths).context("cannot find the feeds")?;
        let progress = Progress::new(&files);
        for FeedFile { path, is_named } in &files {
            progress.bar.set_message(path.display().to_string());
            let report = compiler.read_file(path, |bytes| progress.advance(bytes)).err();
            is_refused |= check_failure(report, path, *is_named)?;
        }
        progress.bar.finish_and_clear();
        Ok(is_refused)
    }
}

/// Returns whether the failure is that a file named on the command line is not a feed. Any other failure is an error,
/// also for a file found in a directory: half a feed would look like a whole one.
fn check_failure(failure: Option<&ksn::compile::CompileError>, path: &Path, is_named: bool) -> Result<bool> {
    match failure {
        None => Ok(false),
        Some(failure) if failure.is_refusal() => Ok(is_named),
        Some(failure) => bail!("{}: {failure}; nothing was written", path.display()),
    }
}

fn read_guards(compiler: &mut Compiler, path: &Path) -> Result<()> {
    let name = path.display().to_string();
    let file = fs::File::open(path).with_context(|| format!("cannot read guards from {name}"))?;
    let report = compiler.guard(file, &name).with_context(|| format!("cannot read guards from {name}"))?;
    let skipped = report.unsupported + report.rejected;
    if skipped > 0 {
        let (guards, skipped) = (Plural(report.entries, "guard"), Plural(skipped, "row"));
        eprintln!("ksn: {name}: {guards}, skipped {skipped} that cannot be used as guards");
    }
    Ok(())
}

/// A progress bar on standard error, shown when that is a terminal and the build takes long.
struct Progress {
    bar: ProgressBar,
    started: Instant,
}

/// Before this, a bar would only flicker.
const SHOW_AFTER: Duration = Duration::from_millis(500);

impl Progress {
    fn new(files: &[FeedFile]) -> Self {
        let bytes = files.iter().filter_map(|file| fs::metadata(&file.path).ok()).map(|m| m.len()).sum();
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {bytes}/{total_bytes} {eta} {wide_msg}") {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now() }
    }

    fn advance(&self, bytes: u64) {
        if self.bar.is_hidden() && self.started.elapsed() > SHOW_AFTER {
            // It stays hidden when standard error is not a terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(bytes);
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

fn format_help() -> String {
    let names: Vec<_> = Format::ALL.iter().map(|format| format.name()).collect();
    format!("Read every feed as this format instead of detecting it: {}", names.join(", "))
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
