//! `ksn scan`: hashes files and looks them up.
//!
//! ```text
//! find (1 thread) ──targets──▶ hash (--threads) ──scanned──▶ look up, print (main thread)
//! ```
//!
//! Both queues are bounded, so memory grows neither with the number of files nor with their size. The files that are
//! ready are looked up together: one at a time if hashing is slower than the lookup, up to [`BATCH_FILES`] if not.

mod find;
mod hash;
mod row;

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use ksn::{
    Answer, Key, Status,
    batch::Detail,
    key::{DigestKind, KeyKind},
    record::RecordType,
};

use self::{
    find::{Target, find},
    hash::{Outcome, Scanned, Shared, hash_targets},
    row::Row,
};
use super::{
    backend::{Backend, BackendArgs},
    byte_size,
    exit::{Exit, Tally},
    lookup::FailOn,
    output::{self, Paint, Plural},
};

/// Hash files and look up their digests.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    backend: BackendArgs,

    /// Write one JSON object per file, in the order in which they are done.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    fail_on: FailOn,

    /// Number of threads that hash files; the default is the number of processors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Skip larger files; the units K, M, G and T are powers of 1024.
    #[arg(long, value_name = "SIZE", default_value = "64G", value_parser = byte_size::parse)]
    max_size: u64,

    /// Files, folders (recursively), or `-` for standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

// Paragraphs are one line each: they are wrapped for the terminal.
const EXAMPLES: &str = "\
Every file is hashed with those of MD5, SHA-1, SHA-256 and BLAKE3 that there are records of. A file that is bad by any \
of them is bad. A file that is trusted by MD5 or SHA-1 only is marked weak, because another file with the same digest \
can be made.

Printed are the files that have a record, except trusted ones, the files that could not be scanned, and every file \
that is named on the command line. --json prints all. Devices, sockets, FIFOs and files above --max-size are skipped \
with a message; they do not change the exit code. Symbolic links are followed only if they are named on the command \
line. If a name is not UTF-8, --json has its bytes in `path_bytes`, in hexadecimal.

Exit codes: 1 when a file is known as bad, else 2 when a file could not be read or looked up, else 0.

Examples:
  ksn scan --db records.ksn setup.exe
  ksn scan --json --max-size 2G /srv /home > scanned.json
  curl -s https://downloads.example/setup.exe | ksn scan -";

/// Maximum number of files per lookup.
const BATCH_FILES: usize = 1024;

/// Files that wait to be hashed. A file that is found costs at most its path.
const TARGETS_MAX: usize = 1024;

/// Consecutive lookups that may fail. A server that restarts is waited for; without one, hashing is useless.
const FAILURES_MAX: u32 = 5;

/// The digests that files are looked up by.
const ALGORITHMS: [DigestKind; 4] = [DigestKind::Md5, DigestKind::Sha1, DigestKind::Sha256, DigestKind::Blake3];

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        if self.files.iter().filter(|file| file.as_os_str() == "-").count() > 1 {
            bail!("`-` is standard input, which can be read only once");
        }
        let started = Instant::now();
        let backend = self.backend.open()?;
        if let Backend::Disconnected(reason) = &backend {
            bail!("{reason}; nothing was scanned");
        }
        let algorithms: Vec<_> = ALGORITHMS
            .into_iter()
            .filter(|&kind| backend.records(KeyKind::Digest(kind)).is_none_or(|records| records > 0))
            .collect();
        if algorithms.is_empty() {
            eprintln!("ksn: there are no records of file digests: every file is unknown");
        }
        backend.prepare(algorithms.iter().map(|&kind| KeyKind::Digest(kind)))?;
        let threads = match self.threads {
            Some(threads) => threads.into(),
            None => thread::available_parallelism().map_or(1, usize::from),
        };
        let mut scan = Scan {
            backend,
            is_json: self.json,
            bad: self.fail_on.types(),
            failures: 0,
            files: 0,
            bytes: 0,
            skipped: 0,
            tally: Tally::default(),
            paint: Paint::for_stdout(),
            out: output::stdout(),
        };
        let shared = Shared { algorithms, bytes_max: self.max_size };
        let (scanned, running) = start(self.files, shared, threads)?;
        while let Ok(first) = scanned.recv() {
            let mut batch = vec![first];
            batch.extend(scanned.try_iter().take(BATCH_FILES - 1));
            scan.batch(batch)?;
        }
        if running.into_iter().any(|thread| thread.join().is_err()) {
            bail!("a thread failed: not every file was scanned");
        }
        scan.summarize(started);
        Ok(scan.tally.exit())
    }
}

/// Starts the threads that find and hash files. They are not waited for when the scan ends early: one may be reading a
/// large file.
fn start(
    files: Vec<PathBuf>,
    shared: Shared,
    threads: usize,
) -> Result<(Receiver<Scanned>, Vec<thread::JoinHandle<()>>)> {
    let (target_sender, targets) = sync_channel::<Target>(TARGETS_MAX);
    let (scanned_sender, scanned) = sync_channel(BATCH_FILES);
    let shared = std::sync::Arc::new((shared, std::sync::Mutex::new(targets)));
    let mut running = Vec::new();
    for _ in 0..threads {
        let (shared, sender) = (shared.clone(), scanned_sender.clone());
        let spawned = thread::Builder::new().spawn(move || hash_targets(&shared.0, &shared.1, &sender));
        running.push(spawned.with_context(|| format!("cannot start {}", Plural(threads as u64, "thread")))?);
    }
    let finder = thread::Builder::new().spawn(move || find(&files, &target_sender, &scanned_sender));
    running.push(finder.context("cannot start a thread")?);
    Ok((scanned, running))
}

/// State of a running scan.
struct Scan {
    backend: Backend,
    is_json: bool,
    /// The record types that count as bad.
    bad: Vec<RecordType>,
    /// Consecutive lookups that failed.
    failures: u32,
    /// Files that were hashed.
    files: u64,
    /// Their size.
    bytes: u64,
    skipped: u64,
    tally: Tally,
    paint: Paint,
    out: io::BufWriter<io::StdoutLock<'static>>,
}

impl Scan {
    /// Looks up files together, and prints and flushes what was found.
    fn batch(&mut self, batch: Vec<Scanned>) -> Result<()> {
        let keys: Vec<Key> = batch.iter().flat_map(Scanned::digests).copied().map(Key::from).collect();
        let answers = if keys.is_empty() { Ok(Vec::new()) } else { self.backend.lookup(&keys, Detail::Winner) };
        match &answers {
            Ok(_) if keys.is_empty() => {}
            Ok(_) => self.failures = 0,
            Err(reason) => {
                if self.failures == 0 {
                    eprintln!("ksn: {reason}");
                }
                self.failures += 1;
            }
        }
        let mut answers = answers.map(Vec::into_iter);
        for scanned in &batch {
            match &scanned.outcome {
                Outcome::Hashed { digests, bytes } => {
                    self.files += 1;
                    self.bytes += bytes;
                    let row = match &mut answers {
                        Ok(answers) => Row::answered(scanned, answers.by_ref().take(digests.len()).collect()),
                        Err(reason) => Row::unanswered(scanned, Status::NotAsked, reason),
                    };
                    self.print(row)?;
                }
                Outcome::Failed(reason) => self.print(Row::unanswered(scanned, Status::Error, reason))?,
                Outcome::TooLarge(reason) => {
                    self.skip(scanned, reason);
                    if self.is_json {
                        Row::unanswered(scanned, Status::NotAsked, reason).write_json(&mut self.out)?;
                    }
                }
                Outcome::NotAFile(what) => self.skip(scanned, what),
            }
        }
        self.out.flush()?;
        match self.failures {
            FAILURES_MAX.. => {
                bail!("{} failed in succession: not every file was scanned", Plural(self.failures.into(), "lookup"))
            }
            _ => Ok(()),
        }
    }

    fn print(&mut self, row: Row<'_>) -> io::Result<()> {
        self.tally.count(&row.answer, &self.bad);
        if self.is_json {
            row.write_json(&mut self.out)
        } else if row.scanned.target.is_named || is_finding(&row.answer) {
            row.write_line(&mut self.out, self.paint)
        } else {
            Ok(())
        }
    }

    fn skip(&mut self, scanned: &Scanned, reason: &str) {
        self.skipped += 1;
        eprintln!("ksn: {}: skipped: {reason}", output::plain(&scanned.target.path.to_string_lossy()));
    }

    fn summarize(&self, started: Instant) {
        eprintln!(
            "ksn: {}, {}, {} bad, {} skipped, {}, {:.2} s",
            Plural(self.files, "file"),
            Plural(self.bytes, "byte"),
            self.tally.bad,
            self.skipped,
            Plural(self.tally.errors, "error"),
            started.elapsed().as_secs_f64()
        );
    }
}

/// Returns whether a file that was found in a folder is printed.
fn is_finding(answer: &Answer) -> bool {
    match answer.status {
        Status::Known => answer.winner().is_some_and(|record| record.record_type != RecordType::Trusted),
        Status::Unknown => false,
        Status::Unsupported | Status::Error | Status::NotAsked => true,
    }
}
