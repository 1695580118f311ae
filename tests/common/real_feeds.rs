//! The real feeds, which are not part of this repository. Tests that need them are ignored by default:
//! `KSN_FEEDS=/folder cargo test -- --ignored`.

use std::{env, path::PathBuf};

/// Returns the folder that `KSN_FEEDS` names.
///
/// # Panics
///
/// Panics if the variable is missing or names no folder.
pub(crate) fn real_feeds() -> PathBuf {
    let folder = env::var_os("KSN_FEEDS").map(PathBuf::from);
    let folder = folder.expect("KSN_FEEDS is not set: set it to a folder of real feeds");
    assert!(folder.is_dir(), "KSN_FEEDS is {}: expected a folder of real feeds", folder.display());
    folder
}
