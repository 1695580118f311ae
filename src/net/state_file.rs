//! Writes the files of a state directory, whole or not at all.

use std::{fs, io, path::Path};

use tempfile::NamedTempFile;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Its owner.
    Private,
    /// Everybody.
    Public,
}

/// Writes a file, or replaces it.
pub(super) fn write(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    temporary(path, content, access)?.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// Writes a file. Fails with [`io::ErrorKind::AlreadyExists`] if it exists.
pub(super) fn create(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    temporary(path, content, access)?.persist_noclobber(path).map_err(|e| e.error)?;
    Ok(())
}

/// Writes a temporary file beside a path, which is on disk when this returns.
fn temporary(path: &Path, content: &[u8], access: Access) -> io::Result<NamedTempFile> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    // Created for its owner alone.
    let mut file = NamedTempFile::new_in(directory)?;
    io::Write::write_all(&mut file, content)?;
    #[cfg(unix)]
    if access == Access::Public {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = access;
    file.as_file().sync_all()?;
    Ok(file)
}
