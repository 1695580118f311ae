//! Finds the files to hash: those named on the command line, and those in the folders named there.

use std::{
    fs::{self, FileType},
    io,
    path::{Path, PathBuf},
    sync::mpsc::SyncSender,
};

use walkdir::WalkDir;

use super::hash::{Outcome, Scanned};

/// A file to hash.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The path; `-` for standard input if `is_named`.
    pub(super) path: PathBuf,
    /// Whether it is named on the command line, as opposed to found in a folder.
    pub(super) is_named: bool,
}

impl Target {
    pub(super) fn is_stdin(&self) -> bool {
        self.is_named && self.path.as_os_str() == "-"
    }
}

/// Maximum number of folders that are open at once. Folders above the deepest of these are read into memory, the others
/// entry by entry. Half of the files that a process may open on most systems, at least.
const OPEN_FOLDERS_MAX: usize = 128;

/// Sends every file to `targets`, and what cannot be hashed to `scanned`. Returns early when a receiver is gone.
pub(super) fn find(roots: &[PathBuf], targets: &SyncSender<Target>, scanned: &SyncSender<Scanned>) {
    for root in roots {
        if find_in(root, targets, scanned).is_none() {
            return;
        }
    }
}

fn find_in(root: &Path, targets: &SyncSender<Target>, scanned: &SyncSender<Scanned>) -> Option<()> {
    let named = Target { path: root.into(), is_named: true };
    if named.is_stdin() {
        return targets.send(named).ok();
    }
    // What is named is followed if it is a symbolic link.
    let file_type = match fs::metadata(root) {
        Ok(metadata) => metadata.file_type(),
        Err(e) => return scanned.send(Scanned::failed(named, &e)).ok(),
    };
    if !file_type.is_dir() {
        return send(named, file_type, targets, scanned);
    }
    for entry in WalkDir::new(root).min_depth(1).max_open(OPEN_FOLDERS_MAX) {
        match entry {
            // Its target is scanned where it is, if it is in the folder.
            Ok(entry) if entry.file_type().is_dir() || entry.file_type().is_symlink() => {}
            Ok(entry) => {
                let file_type = entry.file_type();
                send(Target { path: entry.into_path(), is_named: false }, file_type, targets, scanned)?;
            }
            Err(e) => {
                let path = e.path().unwrap_or(root).to_path_buf();
                let error = e.into_io_error().unwrap_or_else(|| io::ErrorKind::Other.into());
                scanned.send(Scanned::failed(Target { path, is_named: false }, &error)).ok()?;
            }
        }
    }
    Some(())
}

fn send(
    target: Target,
    file_type: FileType,
    targets: &SyncSender<Target>,
    scanned: &SyncSender<Scanned>,
) -> Option<()> {
    match not_a_file(file_type) {
        None => targets.send(target).ok(),
        Some(what) => scanned.send(Scanned { target, outcome: Outcome::NotAFile(what) }).ok(),
    }
}

/// Returns what a directory entry is, if it is not a regular file. Only regular files are opened: opening a device may
/// have effects, a FIFO may never have a writer, and both may be endless.
pub(super) fn not_a_file(file_type: FileType) -> Option<&'static str> {
    if file_type.is_file() {
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if file_type.is_fifo() {
            return Some("a FIFO");
        }
        if file_type.is_socket() {
            return Some("a socket");
        }
        if file_type.is_block_device() || file_type.is_char_device() {
            return Some("a device");
        }
    }
    Some(if file_type.is_dir() { "a folder" } else { "a special file" })
}
