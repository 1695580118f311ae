//! The file that a snapshot is written to, which is replaced only if it is a regular file.

use std::{
    fs::{self, File, FileType, Metadata},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tempfile::NamedTempFile;

/// How a path can be written.
pub(super) enum Destination {
    /// A regular file, or none yet.
    Regular(RegularFile),
    /// A pipe or a character device.
    Stream(File),
}

/// A regular file that is created or replaced.
pub(super) struct RegularFile {
    /// The path without links.
    path: PathBuf,
    /// The metadata of the file that is replaced.
    replaced: Option<Metadata>,
}

/// Aborts the writing of a snapshot from another thread, such as one that waits for signals.
///
/// Clones abort the same writing.
#[derive(Clone, Debug, Default)]
pub struct AbortHandle {
    state: Arc<Mutex<WriteState>>,
}

#[derive(Debug, Default)]
struct WriteState {
    is_aborted: bool,
    /// The temporary file of a writing that is not finished.
    temporary: Option<PathBuf>,
}

impl Destination {
    /// Finds out what a path is, and opens it if it is not a regular file. Opening a pipe waits for a reader.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let about = match fs::metadata(path) {
            Ok(about) => about,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Self::missing(path),
            Err(e) => return Err(e),
        };
        refuse(about.file_type())?;
        // Opened as a shell opens the target of a redirection, so that the kernel decides which links may be followed
        // and which files of others may be written.
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        let about = file.metadata()?;
        refuse(about.file_type())?;
        if !about.is_file() {
            return Ok(Self::Stream(file));
        }
        let path = fs::canonicalize(path)?;
        if !is_same(&fs::metadata(&path)?, &about) {
            return Err(io::Error::other("it was replaced while it was opened"));
        }
        Ok(Self::Regular(RegularFile { path, replaced: Some(about) }))
    }

    /// Returns the file that a path without a file, or a dangling link, names.
    fn missing(path: &Path) -> io::Result<Self> {
        // The kernel follows the links before it finds nothing; what it refuses to follow is another error.
        match File::options().write(true).open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
            Ok(_) => return Self::open(path),
        }
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAX {
            match fs::read_link(&path) {
                Ok(target) => path = directory_of(&path).join(target),
                Err(_) => return Ok(Self::Regular(RegularFile { path, replaced: None })),
            }
        }
        Err(io::Error::other("too many symbolic links"))
    }
}

impl RegularFile {
    /// Writes a temporary file and renames it to this file.
    pub(super) fn replace(
        &self,
        abort: &AbortHandle,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let directory = directory_of(&self.path);
        let mut temporary = Temporary::create(abort, || self.temporary_in(directory))?;
        write(temporary.file.as_file_mut())?;
        temporary.file.as_file().sync_all()?;
        temporary.persist(&self.path)?;
        #[cfg(unix)]
        File::open(directory)?.sync_all()?;
        Ok(())
    }

    fn temporary_in(&self, directory: &Path) -> io::Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".ksn-").suffix(".tmp");
        #[cfg(unix)]
        if self.replaced.is_none() {
            // What the umask leaves of it. A file that replaces another is private until it has the other's owner.
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(directory)?;
        if let Some(replaced) = &self.replaced {
            keep_access(temporary.as_file(), replaced)?;
        }
        Ok(temporary)
    }
}

/// Sets the owner, group and mode of a file to those of the file that it replaces.
#[cfg(unix)]
fn keep_access(file: &File, replaced: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    let own = file.metadata()?;
    let owner = Some(replaced.uid()).filter(|&uid| uid != own.uid());
    let group = Some(replaced.gid()).filter(|&gid| gid != own.gid());
    if owner.or(group).is_some() {
        fchown(file, owner, group).map_err(|e| {
            let (uid, gid) = (replaced.uid(), replaced.gid());
            io::Error::new(
                e.kind(),
                format!("the new file cannot have the old one's owner {uid} and group {gid} ({e})"),
            )
        })?;
    }
    // After the owner: changing the owner clears bits of the mode.
    file.set_permissions(fs::Permissions::from_mode(replaced.mode() & 0o7777))
}

#[cfg(not(unix))]
fn keep_access(file: &File, replaced: &Metadata) -> io::Result<()> {
    file.set_permissions(replaced.permissions())
}

impl AbortHandle {
    /// Aborts the writing: removes its temporary file, and makes it fail. Does nothing if it has finished; fails it
    /// when it starts, if it has not started.
    pub fn abort(&self) {
        let mut state = self.lock();
        state.is_aborted = true;
        if let Some(path) = state.temporary.take() {
            // If it cannot be removed, there is nobody to tell: the process is about to end.
            let _ = fs::remove_file(path);
        }
    }

    fn lock(&self) -> MutexGuard<'_, WriteState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the state of a writing that is not aborted.
    fn lock_active(&self) -> io::Result<MutexGuard<'_, WriteState>> {
        let state = self.lock();
        if state.is_aborted { Err(io::Error::new(io::ErrorKind::Interrupted, "it was aborted")) } else { Ok(state) }
    }
}

/// A temporary file that an [`AbortHandle`] removes. It is created and renamed while the handle is locked, so that there is
/// no moment in which the handle does not know it.
struct Temporary<'a> {
    file: NamedTempFile,
    abort: &'a AbortHandle,
}

impl<'a> Temporary<'a> {
    fn create(abort: &'a AbortHandle, create: impl FnOnce() -> io::Result<NamedTempFile>) -> io::Result<Self> {
        let mut state = abort.lock_active()?;
        let file = create()?;
        state.temporary = Some(file.path().to_owned());
        Ok(Self { file, abort })
    }

    fn persist(self, path: &Path) -> io::Result<()> {
        let mut state = self.abort.lock_active()?;
        state.temporary = None;
        self.file.persist(path).map(drop).map_err(|e| e.error)
    }
}

/// The number of symbolic links in a row that Linux follows.
const LINKS_MAX: usize = 40;

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Fails for kinds of files that cannot hold a snapshot or would be destroyed by one.
fn refuse(kind: FileType) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_block_device() {
            return Err(io::Error::other("expected a file, a pipe or a character device, found a block device"));
        }
        if kind.is_socket() {
            return Err(io::Error::other("expected a file, a pipe or a character device, found a socket"));
        }
    }
    if kind.is_dir() {
        return Err(io::Error::other("expected a file, found a directory: name a file in it"));
    }
    Ok(())
}

#[cfg(unix)]
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn regular(path: &Path) -> RegularFile {
        match Destination::open(path).unwrap() {
            Destination::Regular(regular) => regular,
            Destination::Stream(_) => panic!("it is a regular file"),
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_aborted_writing_leaves_no_temporary_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.ksn");
        fs::write(&path, "old").unwrap();
        let abort = AbortHandle::default();
        let aborted = regular(&path).replace(&abort, |file| {
            file.write_all(b"new")?;
            assert_eq!(names(directory.path()).len(), 2);
            abort.abort();
            assert_eq!(names(directory.path()), ["x.ksn"], "at once, before the writer notices");
            Ok(())
        });
        assert_eq!(aborted.unwrap_err().kind(), io::ErrorKind::Interrupted);
        let later = regular(&path).replace(&abort, |_| panic!("it was aborted before it started"));
        assert_eq!(later.unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!((names(directory.path()), fs::read(&path).unwrap()), (vec!["x.ksn".to_owned()], b"old".to_vec()));
    }

    #[test]
    fn a_failed_writing_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.ksn");
        fs::write(&path, "old").unwrap();
        let failed = regular(&path).replace(&AbortHandle::default(), |_| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((names(directory.path()), fs::read(&path).unwrap()), (vec!["x.ksn".to_owned()], b"old".to_vec()));
    }
}
