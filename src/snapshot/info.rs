//! Snapshot metadata.

use std::collections::BTreeMap;

use super::manifest::{Manifest, SourceEntry};
use crate::{limits::DATASET_BYTES_MAX, timestamp::Timestamp};

/// Snapshot metadata. Together with the set of records it determines every byte of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The name of the dataset: 1 to 32 characters of `a-z 0-9 . _ -`.
    pub dataset: String,
    /// The generation number of the dataset. Newer generations MUST have larger numbers.
    pub generation: u64,
    /// The creation time.
    pub created: Timestamp,
    /// The versions of compiled-in data by name, such as the public suffix list that filtered the feeds.
    pub compiled_with: BTreeMap<String, String>,
}

impl SnapshotInfo {
    /// Returns a manifest without sections.
    pub(super) fn manifest(&self, sources: Vec<SourceEntry>) -> Manifest {
        Manifest {
            dataset: self.dataset.clone(),
            generation: self.generation,
            created: self.created.seconds(),
            key_range: (0, u32::MAX),
            web_seed: 0,
            web_scopes: 0,
            sources,
            compiled_with: self.compiled_with.clone().into_iter().collect(),
            sections: Vec::new(),
        }
    }
}

/// Returns whether a dataset name is valid: 1 to 32 characters of `a-z 0-9 . _ -`.
pub(crate) fn is_dataset_name(name: &str) -> bool {
    (1..=DATASET_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}
