//! Compiles feeds into a snapshot: connects [`feed`] and [`snapshot`](crate::snapshot).
//!
//! [`Compiler`] reads inputs in sequence into a [`SnapshotBuilder`] and keeps a [`FileReport`] for each. An input is
//! never used partially: a file whose format is not detected is skipped as a whole and reported
//! ([`CompileError::is_refusal`]); on any other error, the caller MUST NOT finish the snapshot.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    feed::{self, FeedError, Format, GuardReport, Guards, Options, Report, filter},
    limits::FEED_DOCUMENT_BYTES_MAX,
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
            Self::Feed(FeedError::UnknownFormat { .. } | FeedError::Ambiguous { .. } | FeedError::Refused(_))
        )
    }
}

impl Compiler {
    /// Creates a compiler.
    pub fn new(options: Options) -> Self {
        Self { options, format: None, guards: Guards::default(), builder: SnapshotBuilder::new(), files: Vec::new() }
    }

    /// Sets the format of all inputs, instead of detecting it.
    pub fn set_format(&mut self, format: Format) {
        self.format = Some(format);
    }

    /// Adds a guard list. The guards of all lists apply to the inputs that are read afterwards.
    ///
    /// Fails with [`FeedError`] when the list cannot be read.
    pub fn guard(&mut self, input: impl Read, name: &str) -> Result<GuardReport, FeedError> {
        self.guards.read(input, name)
    }

    /// Reads a feed. Its report or error is both returned and kept as the [`FileReport`] of the input.
    ///
    /// Fails with [`CompileError::Feed`] when the format is not detected or the feed cannot be read.
    pub fn read(&mut self, input: impl Read, name: &str) -> Result<&Report, &CompileError> {
        let number = self.files.len() as u32;
        let report = feed::read(input, name, self.format, &self.options, &self.guards, number, &mut self.builder);
        self.push_report(name, report.map_err(CompileError::from))
    }

    /// Reads the feed in a file. Calls `on_bytes` with the number of bytes of each read, for a progress bar.
    ///
    /// Fails like [`read`](Self::read), and with [`CompileError::Open`] when the file cannot be opened.
    pub fn read_file(&mut self, path: &Path, on_bytes: impl FnMut(u64)) -> Result<&Report, &CompileError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => self.read(ProgressReader { file, on_bytes }, &name),
            Err(e) => self.push_report(&name, Err(CompileError::Open(e))),
        }
    }

    fn push_report(&mut self, name: &str, report: Result<Report, CompileError>) -> Result<&Report, &CompileError> {
        self.files.push(FileReport { file: name.into(), report });
        self.files[self.files.len() - 1].report.as_ref()
    }

    /// Returns the reports of the inputs read so far.
    pub fn files(&self) -> &[FileReport] {
        &self.files
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

/// A file to read as a feed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedFile {
    /// The path of the file.
    pub path: PathBuf,
    /// Whether the file, or the manifest that lists it, was specified by its own path; otherwise it was found in a
    /// folder and may not be a feed.
    pub is_named: bool,
}

/// Returns the files of a list of paths, without duplicates. A folder is replaced by all files in it, in the order of
/// their paths; the `manifest.json` of a MISP feed by the event files that it lists, in the same folder.
///
/// Fails with an I/O error that names the path when a path cannot be read.
pub fn feed_files(paths: &[PathBuf]) -> io::Result<Vec<FeedFile>> {
    let mut files = Files::default();
    for path in paths {
        let about = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        if fs::metadata(path).map_err(about)?.is_dir() {
            files.add_folder(path, 0).map_err(about)?;
        } else {
            files.add(path.clone(), true).map_err(about)?;
        }
    }
    Ok(files.found)
}

/// The maximum depth of nested folders, which ends loops of links.
const FOLDER_DEPTH_MAX: usize = 32;

#[derive(Default)]
struct Files {
    found: Vec<FeedFile>,
    seen: HashSet<PathBuf>,
}

impl Files {
    fn add_folder(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
        let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        for path in paths {
            // Skips pipes, which would block forever, and dangling links.
            let Ok(about) = fs::metadata(&path) else { continue };
            if about.is_file() {
                self.add(path, false)?;
            } else if about.is_dir() && depth < FOLDER_DEPTH_MAX {
                self.add_folder(&path, depth + 1)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, is_named: bool) -> io::Result<()> {
        if path.file_name().is_some_and(|name| name == "manifest.json")
            && let Some(events) = misp_events(&path)?
        {
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            for event in events {
                // Event files are part of the feed: a missing one is an error if the manifest was specified.
                self.add_one(folder.join(event + ".json"), is_named);
            }
            return Ok(());
        }
        self.add_one(path, is_named);
        Ok(())
    }

    fn add_one(&mut self, path: PathBuf, is_named: bool) {
        if self.seen.insert(path.clone()) {
            self.found.push(FeedFile { path, is_named });
        }
    }
}

/// Returns the UUIDs of the events of a MISP manifest, sorted; `None` if the file is not a manifest.
fn misp_events(path: &Path) -> io::Result<Option<Vec<String>>> {
    let mut text = Vec::new();
    File::open(path)?.take(FEED_DOCUMENT_BYTES_MAX).read_to_end(&mut text)?;
    // An invalid manifest is reported when it is read as a feed.
    let Ok(mut events) = feed::manifest_events(&text) else { return Ok(None) };
    events.sort();
    Ok(Some(events).filter(|events| !events.is_empty()))
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

    #[test]
    fn manifest_events_must_be_uuids() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        let one = "01234567-89ab-cdef-0123-456789abcdef";
        fs::write(&path, format!(r#"{{"{one}": {{"info": "x"}}}}"#)).unwrap();
        let found = feed_files(std::slice::from_ref(&path)).unwrap();
        assert_eq!(found, [FeedFile { path: folder.path().join(format!("{one}.json")), is_named: true }]);
        // With a name that leaves the folder, the file is not a manifest: it is read, and rejected, like any other
        // file.
        fs::write(&path, r#"{"../../../../../../../etc/passwd.......": {}}"#).unwrap();
        assert_eq!(feed_files(std::slice::from_ref(&path)).unwrap(), [FeedFile { path, is_named: true }]);
    }

    #[test]
    fn folders_are_read_in_path_order_without_duplicates() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        for name in ["c", "b/z", "a"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let twice = [folder.path().to_owned(), folder.path().to_owned()];
        let found: Vec<_> = feed_files(&twice).unwrap().into_iter().map(|f| f.path).collect();
        assert_eq!(found, ["a", "b/z", "c"].map(|name| folder.path().join(name)));
    }
}
