//! From feeds to a snapshot: the junction of [`feed`] and [`snapshot`](crate::snapshot).
//!
//! [`Compiler`] reads one input after the other into a [`SnapshotBuilder`] and keeps a [`FileReport`] of each. What it
//! refuses to do is to keep half of an input: a file that no format knows is passed over whole and said so
//! ([`CompileError::is_refusal`]), one that turns out damaged half-way ends the compiling.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    feed::{self, FeedError, Format, GuardReport, Guards, Options, Report, screen},
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

/// What one input came to.
#[derive(Debug)]
pub struct FileReport {
    /// The input's name: its path as it was given or found.
    pub file: String,
    /// Its rows accounted for, or why it is no feed.
    pub report: Result<Report, CompileError>,
}

/// A snapshot with where it came from.
#[derive(Debug)]
pub struct Compiled {
    /// What became of each input, in the order in which they were read.
    pub files: Vec<FileReport>,
    /// The snapshot, ready to be written.
    pub snapshot: BuiltSnapshot,
}

/// Why an input could not be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The file cannot be opened.
    #[error("cannot open it: {0}")]
    Open(#[source] io::Error),
    /// The feed cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
}

impl CompileError {
    /// Whether the input is none that a snapshot is made of, so that nothing of it was taken; as opposed to one that
    /// could not be read to its end.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Feed(FeedError::Unrecognised { .. } | FeedError::Ambiguous { .. } | FeedError::Refused(_)))
    }
}

impl Compiler {
    /// One that reads feeds as the options say.
    pub fn new(options: Options) -> Self {
        Self { options, format: None, guards: Guards::default(), builder: SnapshotBuilder::new(), files: Vec::new() }
    }

    /// Reads every input as this format, whatever it looks like.
    pub fn set_format(&mut self, format: Format) {
        self.format = Some(format);
    }

    /// Adds a list of guards. Those of all lists count for the inputs that are read afterwards.
    pub fn guard(&mut self, input: impl Read, name: &str) -> Result<GuardReport, FeedError> {
        self.guards.read(input, name)
    }

    /// Reads a feed. What is refused is both returned and kept as the input's report.
    pub fn read(&mut self, input: impl Read, name: &str) -> Result<&Report, &CompileError> {
        let number = self.files.len() as u32;
        let report = feed::read(input, name, self.format, &self.options, &self.guards, number, &mut self.builder);
        self.keep(name, report.map_err(CompileError::from))
    }

    /// Reads the feed in a file, with a look at every piece of it on its way (for a progress bar).
    pub fn read_file(&mut self, path: &Path, on_bytes: impl FnMut(u64)) -> Result<&Report, &CompileError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => self.read(Watched { file, on_bytes }, &name),
            Err(e) => self.keep(&name, Err(CompileError::Open(e))),
        }
    }

    fn keep(&mut self, name: &str, report: Result<Report, CompileError>) -> Result<&Report, &CompileError> {
        self.files.push(FileReport { file: name.into(), report });
        self.files[self.files.len() - 1].report.as_ref()
    }

    /// What the inputs read so far came to.
    pub fn files(&self) -> &[FileReport] {
        &self.files
    }

    /// Sorts what was read into a snapshot made at [`Options::created`].
    pub fn finish(mut self, dataset: &str, generation: u64) -> Result<Compiled, BuildError> {
        let info = SnapshotInfo {
            dataset: dataset.into(),
            generation,
            created: self.options.created,
            compiled_with: compiled_with(),
        };
        let snapshot = self.builder.finish(&info)?;
        for (file, &duplicates) in self.files.iter_mut().zip(&snapshot.summary().duplicates) {
            if let Ok(report) = &mut file.report {
                report.duplicates = duplicates;
            }
        }
        Ok(Compiled { files: self.files, snapshot })
    }

    /// When the snapshot is made.
    pub fn created(&self) -> Timestamp {
        self.options.created
    }
}

/// What decides the content of a snapshot besides its feeds.
fn compiled_with() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("ksn".into(), env!("CARGO_PKG_VERSION").into()),
        ("public-suffix-list".into(), screen::PUBLIC_SUFFIX_LIST_VERSION.into()),
    ])
}

/// One file to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it was named; else it was found in a folder or a manifest, and may be no feed at all.
    pub is_named: bool,
}

/// The files that paths stand for: a folder for all files in it, in the order of their paths; a MISP feed's
/// `manifest.json` for the events that it names beside it. Each file once.
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

/// Folders within folders that are entered; a loop of links would go deeper.
const FOLDERS_DEEP_MAX: usize = 32;

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
            // Neither pipes, which would wait for ever, nor links that lead nowhere.
            let Ok(about) = fs::metadata(&path) else { continue };
            if about.is_file() {
                self.add(path, false)?;
            } else if about.is_dir() && depth < FOLDERS_DEEP_MAX {
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
                // What the manifest names belongs to the feed: one that is missing is an error if the feed was named.
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

/// The UUIDs of the events of a MISP manifest, sorted; `None` when the file is none.
fn misp_events(path: &Path) -> io::Result<Option<Vec<String>>> {
    let mut text = Vec::new();
    File::open(path)?.take(FEED_DOCUMENT_BYTES_MAX).read_to_end(&mut text)?;
    // Whatever is wrong with it is told when it is read as a feed.
    let Ok(mut events) = feed::manifest_events(&text) else { return Ok(None) };
    events.sort();
    Ok(Some(events).filter(|events| !events.is_empty()))
}

/// A file that tells how much of it was read.
struct Watched<F> {
    file: File,
    on_bytes: F,
}

impl<F: FnMut(u64)> Read for Watched<F> {
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
    fn events_of_a_manifest_are_uuids_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        let one = "01234567-89ab-cdef-0123-456789abcdef";
        fs::write(&path, format!(r#"{{"{one}": {{"info": "x"}}}}"#)).unwrap();
        let found = feed_files(std::slice::from_ref(&path)).unwrap();
        assert_eq!(found, [FeedFile { path: folder.path().join(format!("{one}.json")), is_named: true }]);
        // A name that leads elsewhere makes it no manifest: it is read, and refused, as a file like any other.
        fs::write(&path, r#"{"../../../../../../../etc/passwd.......": {}}"#).unwrap();
        assert_eq!(feed_files(std::slice::from_ref(&path)).unwrap(), [FeedFile { path, is_named: true }]);
    }

    #[test]
    fn folders_are_read_in_the_order_of_paths_and_each_file_once() {
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
