//! Compiles feeds into a snapshot: connects [`feed`] and [`snapshot`](crate::snapshot).
//!
//! [`Compiler`] reads inputs in sequence into a [`SnapshotBuilder`] and keeps a [`FileReport`] for each. An input is
//! never used partially: after an error, the caller checks [`Compiler::is_partial`], and either gives up or
//! [restarts](Compiler::restart) without that input.

mod files;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

pub use self::files::{FeedFile, FeedFiles, feed_files};
use crate::{
    feed::{self, FeedError, Format, GuardReport, Guards, Options, Report, filter, list_name},
    snapshot::{BuildError, BuiltSnapshot, SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
};

/// Reads feeds into a snapshot.
///
/// ```
/// use ksn::{compile::Compiler, feed::Options, timestamp::Timestamp};
///
/// let created: Timestamp = "2026-11-22 10:00:00".parse()?;
/// let mut compiler = Compiler::new(Options::new(created));
/// assert!(compiler.read("||evil.example^\n".as_bytes(), "list.txt").is_ok());
/// let compiled = compiler.finish("local", 1)?;
/// assert_eq!(compiled.files[0].report.as_ref().unwrap().format.name(), "adblock");
/// assert_eq!(compiled.snapshot.summary().records, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Compiler {
    options: Options,
    format: Option<Format>,
    guards: Guards,
    builder: SnapshotBuilder,
    files: Vec<FileReport>,
    is_partial: bool,
}

/// The outcome of one input.
#[derive(Debug)]
pub struct FileReport {
    /// The name of the input: its path, as specified or as found in a folder.
    pub file: String,
    /// The report of its rows, or why it could not be compiled.
    pub report: Result<Report, CompileError>,
}

/// A snapshot and the reports of its inputs.
#[derive(Debug)]
pub struct Compiled {
    /// The report of each input, in the order in which they were read.
    pub files: Vec<FileReport>,
    /// The snapshot, ready to be written to a file.
    pub snapshot: BuiltSnapshot,
}

/// Why an input could not be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The file cannot be opened.
    #[error("cannot open the file: {0}")]
    Open(#[source] io::Error),
    /// The feed cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
}

impl CompileError {
    /// Returns whether the input was rejected before any row was used, because it is not a supported feed; as opposed
    /// to a feed that could not be read to its end.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Feed(
                FeedError::UnknownFormat { .. }
                    | FeedError::Ambiguous { .. }
                    | FeedError::Refused(_)
                    | FeedError::Columns { .. }
            )
        )
    }
}

impl Compiler {
    /// Creates a compiler.
    pub fn new(options: Options) -> Self {
        let (format, guards, builder, files, is_partial) = Default::default();
        Self { options, format, guards, builder, files, is_partial }
    }

    /// Sets the format of the inputs that are read afterwards; `None` detects it.
    pub fn set_format(&mut self, format: Option<Format>) {
        self.format = format;
    }

    /// Sets the options of the inputs that are read afterwards. The creation time stays that of [`new`](Self::new).
    pub fn set_options(&mut self, options: Options) {
        self.options = Options { created: self.options.created, ..options };
    }

    /// Adds a guard list. The guards of all lists apply to the inputs that are read afterwards.
    ///
    /// Fails with [`FeedError`] when the list cannot be read.
    pub fn guard(&mut self, input: impl Read, name: &str) -> Result<GuardReport, FeedError> {
        self.guards.read(input, name)
    }

    /// Reads a feed. Its report or error is both returned and kept as the [`FileReport`] of the input. Unless the options
    /// name the list, it is named by `name`, a file name or path; `-` is standard input and names none.
    ///
    /// Fails with [`CompileError::Feed`] when the format is not detected or the feed cannot be read.
    pub fn read(&mut self, input: impl Read, name: &str) -> Result<&Report, &CompileError> {
        let list = Some(name).filter(|&name| name != "-").and_then(|name| list_name(Path::new(name), None));
        self.read_list(input, name, list)
    }

    /// Reads the feed in a file. Calls `on_bytes` with the number of bytes of each read, for a progress bar.
    ///
    /// Fails like [`read`](Self::read), and with [`CompileError::Open`] when the file cannot be opened.
    pub fn read_file(&mut self, file: &FeedFile, on_bytes: impl FnMut(u64)) -> Result<&Report, &CompileError> {
        let name = file.path.display().to_string();
        match File::open(&file.path) {
            Ok(open) => self.read_list(ProgressReader { file: open, on_bytes }, &name, file.list.clone()),
            Err(e) => self.push_report(&name, Err(CompileError::Open(e))),
        }
    }

    /// Passes over an input, and keeps the error as its report.
    pub fn skip(&mut self, name: &str, error: CompileError) {
        self.files.push(FileReport { file: name.into(), report: Err(error) });
    }

    fn read_list(&mut self, input: impl Read, name: &str, list: Option<String>) -> Result<&Report, &CompileError> {
        let options = Options { list: self.options.list.clone().or(list), ..self.options.clone() };
        let (number, before) = (self.files.len() as u32, self.builder.len());
        let report = feed::read(input, name, self.format, &options, &self.guards, number, &mut self.builder);
        self.is_partial |= report.is_err() && self.builder.len() != before;
        self.push_report(name, report.map_err(CompileError::from))
    }

    fn push_report(&mut self, name: &str, report: Result<Report, CompileError>) -> Result<&Report, &CompileError> {
        self.files.push(FileReport { file: name.into(), report });
        self.files[self.files.len() - 1].report.as_ref()
    }

    /// Returns the reports of the inputs read so far.
    pub fn files(&self) -> &[FileReport] {
        &self.files
    }

    /// Returns whether reading an input failed after some of its records were used: half a feed would look like a whole
    /// one. The caller MUST NOT [finish](Self::finish) the snapshot then.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Discards all records, and returns the reports of the inputs read so far. Guards, format and options stay.
    pub fn restart(&mut self) -> Vec<FileReport> {
        self.builder = SnapshotBuilder::new();
        self.is_partial = false;
        std::mem::take(&mut self.files)
    }

    /// Builds the snapshot of all inputs, created at [`Options::created`]. Fails with [`BuildError`] when it cannot be
    /// built.
    pub fn finish(mut self, dataset: &str, generation: u64) -> Result<Compiled, BuildError> {
        let info = SnapshotInfo {
            dataset: dataset.into(),
            generation,
            created: self.options.created,
            compiled_with: compiled_with(),
        };
        let snapshot = self.builder.finish(&info)?;
        let summary = snapshot.summary();
        for (number, file) in self.files.iter_mut().enumerate() {
            if let Ok(report) = &mut file.report {
                report.duplicates = summary.duplicates.get(number).copied().unwrap_or(0);
                report.over_limit = summary.over_limit.get(number).copied().unwrap_or(0);
            }
        }
        Ok(Compiled { files: self.files, snapshot })
    }

    /// Returns the creation time of the snapshot.
    pub fn created(&self) -> Timestamp {
        self.options.created
    }
}

/// Returns the versions that determine the content of a snapshot besides its feeds.
fn compiled_with() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("ksn".into(), env!("CARGO_PKG_VERSION").into()),
        ("public-suffix-list".into(), filter::PUBLIC_SUFFIX_LIST_VERSION.into()),
    ])
}

/// A file that reports the number of bytes of each read.
struct ProgressReader<F> {
    file: File,
    on_bytes: F,
}

impl<F: FnMut(u64)> Read for ProgressReader<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        (self.on_bytes)(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler() -> Compiler {
        Compiler::new(Options::new("2026-11-22".parse().unwrap()))
    }

    /// Returns the sources of a feed's records, with their numbers.
    fn sources(compiler: Compiler) -> Vec<(String, u64)> {
        let snapshot = compiler.finish("test", 1).unwrap().snapshot;
        snapshot.sources().map(|source| (source.name.to_owned(), source.records)).collect()
    }

    #[test]
    fn events_and_indicators_are_named_by_their_publisher() {
        let attribute = |value: &str| {
            format!(r#"{{"type": "domain", "value": "{value}.example", "to_ids": true, "category": "x"}}"#)
        };
        let events = format!(
            r#"[{{"Event": {{"info": "i", "Attribute": [{}], "Orgc": {{"name": "Example CERT"}}}}}},
                {{"Event": {{"info": "i", "Attribute": [{}], "Orgc": {{"name": "\u0431"}}}}}},
                {{"Event": {{"info": "i", "Attribute": [{}]}}}}]"#,
            attribute("a"),
            attribute("b"),
            attribute("c")
        );
        let mut misp = compiler();
        misp.read(events.as_bytes(), "01234567-89ab-cdef-0123-456789abcdef.json").unwrap();
        let here = list_name(Path::new("20261122"), None).unwrap();
        assert_eq!(sources(misp), [("Example-CERT".into(), 1), (here, 2)]);

        let indicator = |name: &str, creator: &str| {
            format!(
                r#"{{"type": "indicator", "id": "indicator--{name}", "pattern": "[domain-name:value = '{name}.example']"
                    {creator}}}"#
            )
        };
        let stix = |objects: &[String]| {
            let mut stix = compiler();
            let bundle = format!(r#"{{"type": "bundle", "id": "bundle--1", "objects": [{}]}}"#, objects.join(","));
            stix.read(bundle.as_bytes(), "/x/report.json").unwrap();
            sources(stix)
        };
        let identity =
            |id: u8, name: &str| format!(r#"{{"type": "identity", "id": "identity--{id}", "name": "{name}"}}"#);
        let created = |id: u8| format!(r#", "created_by_ref": "identity--{id}""#);
        let report = format!(r#"{{"type": "report", "id": "report--1", "name": "r"{}}}"#, created(2));
        let objects = [indicator("a", &created(1)), indicator("b", ""), identity(1, "One Org"), identity(2, "Two")];
        assert_eq!(stix(&objects), [("One-Org".into(), 1), ("report".into(), 1)]);
        assert_eq!(stix(&[&objects[..], &[report]].concat()), [("One-Org".into(), 1), ("Two".into(), 1)]);

        let mut given = compiler();
        given.set_options(Options { source: Some("ours".into()), ..Options::new(given.created()) });
        given.read(events.as_bytes(), "x.json").unwrap();
        assert_eq!(sources(given), [("ours".into(), 3)]);
    }

    #[test]
    fn a_feed_that_breaks_off_leaves_nothing_behind() {
        let hash = |n: u32| blake3::hash(&n.to_le_bytes()).to_hex();
        let rows: String = (0..20_000).map(|n| format!("{}\n", hash(n))).collect();
        let packed = zstd::stream::encode_all(rows.as_bytes(), 1).unwrap();
        let mut compiler = compiler();
        assert!(compiler.read(&packed[..packed.len() - 3], "cut.txt.zst").is_err());
        assert!(compiler.is_partial());
        let mut reports = compiler.restart();
        let failed = reports.pop().unwrap();
        compiler.skip(&failed.file, failed.report.unwrap_err());
        assert!(!compiler.is_partial());
        compiler.read(&b"||d.example^\n||e.example^\n"[..], "whole.txt").unwrap();
        assert!(compiler.read(&b"\0\0\0"[..], "program").is_err());
        assert!(!compiler.is_partial(), "no record of it was used");
        assert_eq!(compiler.files().len(), 3);
        assert_eq!(sources(compiler), [("whole".into(), 2)]);
    }
}
