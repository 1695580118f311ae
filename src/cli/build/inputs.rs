//! The inputs of a build: what was specified, how to read it, and reading it.

use std::{
    collections::HashMap,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use ksn::{
    compile::{CompileError, Compiler, FeedFile},
    feed::{CsvColumn, Expiry, Format, Options},
    record::RecordType,
};

use super::progress::Progress;

/// One feed, folder or pattern, as specified.
#[derive(Debug)]
pub(super) struct Input {
    /// The path or pattern, as specified.
    pub(super) name: String,
    /// Its files; `None` for standard input.
    pub(super) files: Option<Vec<FeedFile>>,
    pub(super) settings: Settings,
}

/// What is specified about a feed.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) source: Option<String>,
    pub(super) format: Option<Format>,
    pub(super) columns: Option<Vec<CsvColumn>>,
    pub(super) record_type: Option<RecordType>,
    pub(super) trusted: bool,
    pub(super) confidence: Option<u8>,
    pub(super) expiry: Option<Expiry>,
    /// The minimum number of records that the feed yields, duplicates included.
    pub(super) min_records: Option<u64>,
}

impl Settings {
    fn options(&self, all: &Options) -> Options {
        Options {
            source: self.source.clone(),
            columns: self.columns.clone(),
            record_type: self.record_type,
            trusted: self.trusted,
            confidence: self.confidence,
            expiry: self.expiry,
            ..all.clone()
        }
    }
}

/// The outcome of reading all inputs.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The range of each input's reports in [`Compiler::files`].
    pub(super) ranges: Vec<Range<usize>>,
    /// Whether a file that was specified is not a feed.
    pub(super) is_refused: bool,
}

/// Reads all inputs into `compiler`, with `all` as the options that they share.
///
/// A file of a folder that is malformed or unreadable is passed over, and is an error under `--strict`. Fails when a
/// specified file cannot be read.
pub(super) fn read(compiler: &mut Compiler, inputs: &[Input], all: &Options) -> Result<Reading> {
    let progress = Progress::new(inputs.iter().filter_map(|input| input.files.as_ref()).flatten());
    let mut failed = HashMap::new();
    loop {
        let (reading, failures) = (Reading::default(), Vec::new());
        let mut reader = Reader { compiler, progress: &progress, is_strict: all.strict, reading, failures };
        inputs.iter().try_for_each(|input| reader.read(input, all, &mut failed))?;
        let Reader { reading, failures, .. } = reader;
        if !compiler.is_partial() {
            progress.finish();
            return Ok(reading);
        }
        // Rare enough to read everything again: all but the files that failed, whose records must not count.
        if inputs.iter().any(|input| input.files.is_none()) {
            let (_, path) = &failures[0];
            bail!("{}: damaged, and standard input cannot be read twice; remove the file", path.display());
        }
        let mut reports: Vec<_> = compiler.restart().into_iter().map(Some).collect();
        for (at, path) in failures {
            if let Some(Err(error)) = reports[at].take().map(|file| file.report) {
                failed.insert(path, error);
            }
        }
        progress.restart();
    }
}

struct Reader<'a> {
    compiler: &'a mut Compiler,
    progress: &'a Progress,
    is_strict: bool,
    reading: Reading,
    /// The files that were passed over, with the indices of their reports.
    failures: Vec<(usize, PathBuf)>,
}

impl Reader<'_> {
    /// Reads an input. `failed` holds the files that failed in an earlier attempt.
    fn read(&mut self, input: &Input, all: &Options, failed: &mut HashMap<PathBuf, CompileError>) -> Result<()> {
        let start = self.compiler.files().len();
        self.compiler.set_options(input.settings.options(all));
        self.compiler.set_format(input.settings.format);
        match &input.files {
            None => {
                let failure = self.compiler.read(io::stdin().lock(), "-").err();
                self.reading.is_refused |= failure.is_some_and(CompileError::is_refusal);
                check(failure, Path::new("-"), true)?;
            }
            Some(files) => {
                for file in files {
                    self.read_file(file, failed.remove(&file.path))?;
                }
            }
        }
        self.reading.ranges.push(start..self.compiler.files().len());
        Ok(())
    }

    fn read_file(&mut self, file: &FeedFile, failed: Option<CompileError>) -> Result<()> {
        if let Some(error) = failed {
            self.compiler.skip(&file.path.display().to_string(), error);
            return Ok(());
        }
        let (at, progress) = (self.compiler.files().len(), self.progress);
        progress.begin(&file.path);
        let failure = self.compiler.read_file(file, |bytes| progress.advance(bytes)).err();
        self.reading.is_refused |= file.is_named && failure.is_some_and(CompileError::is_refusal);
        if check(failure, &file.path, file.is_named || self.is_strict)? {
            self.failures.push((at, file.path.clone()));
        }
        Ok(())
    }
}

/// Returns whether a feed failed and is passed over. Fails if it must be readable. That a file is not a feed is not a
/// failure.
fn check(failure: Option<&CompileError>, path: &Path, is_required: bool) -> Result<bool> {
    match failure {
        None => Ok(false),
        Some(failure) if failure.is_refusal() => Ok(false),
        Some(failure) if is_required => bail!("{}: {failure}; nothing was written", path.display()),
        Some(_) => Ok(true),
    }
}
