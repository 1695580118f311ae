//! Finding the files of feeds.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    feed::{self, list_name},
    limits::FEED_DOCUMENT_BYTES_MAX,
};

/// A file to read as a feed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedFile {
    /// The path of the file.
    pub path: PathBuf,
    /// Whether the file, or the manifest that lists it, was specified by its own path; otherwise it was found in a
    /// folder and may not be a feed.
    pub is_named: bool,
    /// The name of the list: the stem of a file that was specified, else the path below the folder. See [`list_name`].
    pub list: Option<String>,
}

/// Returns the files of a list of paths, without duplicates. A folder is replaced by all files in it, in the order of
/// their paths; the `manifest.json` of a MISP feed by the event files that it lists, in the same folder.
///
/// Fails with an I/O error that names the path when a path cannot be read.
pub fn feed_files(paths: &[PathBuf]) -> io::Result<Vec<FeedFile>> {
    let mut files = FeedFiles::default();
    let found: io::Result<Vec<_>> = paths.iter().map(|path| files.add(path, None)).collect();
    Ok(found?.concat())
}

/// Finds the files of feeds, each once.
#[derive(Debug, Default)]
pub struct FeedFiles {
    seen: HashSet<PathBuf>,
}

impl FeedFiles {
    /// Returns the files of a path, like [`feed_files`], without those that were returned before, by whatever path.
    /// With `folder` the path is not one that was specified but was found in that folder.
    ///
    /// Fails with an I/O error that names the path when a path that was specified cannot be read.
    pub fn add(&mut self, path: &Path, folder: Option<&Path>) -> io::Result<Vec<FeedFile>> {
        let about = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let found = fs::metadata(path).map_err(about)?;
        let is_folder = found.is_dir();
        if folder.is_some() && !is_folder && !found.is_file() {
            // Reading a pipe would block forever.
            return Ok(Vec::new());
        }
        let folder = folder.or(is_folder.then_some(path));
        let mut found = Found { seen: &mut self.seen, folder, files: Vec::new() };
        if is_folder { found.add_folder(path, 0) } else { found.add_file(path) }.map_err(about)?;
        Ok(found.files)
    }
}

/// The maximum depth of nested folders, which ends loops of links.
const FOLDER_DEPTH_MAX: usize = 32;

/// The files found by one path.
struct Found<'a> {
    seen: &'a mut HashSet<PathBuf>,
    /// The folder that files are named relative to; `None` for a file that was specified.
    folder: Option<&'a Path>,
    files: Vec<FeedFile>,
}

impl Found<'_> {
    fn add_folder(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
        let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        for path in paths {
            // Skips pipes, which would block forever, and dangling links.
            let Ok(about) = fs::metadata(&path) else { continue };
            let added = match about {
                about if about.is_dir() && depth < FOLDER_DEPTH_MAX => self.add_folder(&path, depth + 1),
                about if about.is_file() => self.add_file(&path),
                _ => Ok(()),
            };
            if added.is_err() {
                // Opening it fails again, and is reported like that of any other file.
                self.add_one(path);
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> io::Result<()> {
        if path.file_name().is_some_and(|name| name == "manifest.json")
            && let Some(events) = misp_events(path)?
        {
            let folder = path.parent().unwrap_or(Path::new(""));
            for event in events {
                // Event files are part of the feed: a missing one is an error if the manifest was specified.
                self.add_one(folder.join(event + ".json"));
            }
            return Ok(());
        }
        self.add_one(path.into());
        Ok(())
    }

    fn add_one(&mut self, path: PathBuf) {
        // A path that does not exist is its own identity.
        if self.seen.insert(fs::canonicalize(&path).unwrap_or_else(|_| path.clone())) {
            let list = list_name(&path, self.folder);
            self.files.push(FeedFile { path, is_named: self.folder.is_none(), list });
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
        let paths = |found: Vec<FeedFile>| found.into_iter().map(|file| (file.path, file.is_named)).collect::<Vec<_>>();
        assert_eq!(paths(found), [(folder.path().join(format!("{one}.json")), true)]);
        // With a name that leaves the folder, the file is not a manifest: it is read, and rejected, like any other
        // file.
        fs::write(&path, r#"{"../../../../../../../etc/passwd.......": {}}"#).unwrap();
        assert_eq!(paths(feed_files(std::slice::from_ref(&path)).unwrap()), [(path, true)]);
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

    #[test]
    fn one_file_is_found_once_by_all_its_paths() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("b/z.txt"), "").unwrap();
        let mut files = FeedFiles::default();
        let named = files.add(&folder.path().join("b/z.txt"), None).unwrap();
        assert_eq!((named[0].is_named, named[0].list.as_deref()), (true, Some("z")));
        assert_eq!(files.add(folder.path(), None).unwrap(), []);
        assert_eq!(files.add(&folder.path().join("b/../b/z.txt"), None).unwrap(), []);
        let found = FeedFiles::default().add(folder.path(), None).unwrap();
        assert_eq!((found[0].is_named, found[0].list.as_deref()), (false, Some("b/z")));
        let matched = FeedFiles::default().add(&folder.path().join("b/z.txt"), Some(folder.path())).unwrap();
        assert_eq!(matched, found);
    }
}
