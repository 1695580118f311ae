//! What a snapshot is told about itself.

use std::collections::BTreeMap;

use super::manifest::{Manifest, SourceEntry};
use crate::{limits::DATASET_BYTES_MAX, timestamp::Timestamp};

/// What a snapshot is told about itself. Together with the records it decides every byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Which dataset this is a generation of: 1 to 32 characters of `a-z 0-9 . _ -`.
    pub dataset: String,
    /// The number of this generation, larger for newer ones.
    pub generation: u64,
    /// When it was made.
    pub created: Timestamp,
    /// What was compiled in, by name, and its version (such as the public suffix list that screened the feeds).
    pub compiled_with: BTreeMap<String, String>,
}

impl SnapshotInfo {
    /// A manifest without sections.
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

/// Whether a text can name a dataset: 1 to 32 characters of `a-z 0-9 . _ -`.
pub(crate) fn is_dataset_name(name: &str) -> bool {
    (1..=DATASET_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}
