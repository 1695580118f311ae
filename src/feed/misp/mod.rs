//! MISP: events of a feed, its manifest, and warninglists.
//!
//! Other files of a feed are refused: the manifest as a feed by itself, and `hashes.csv`, whose MD5s are of the
//! *values* of attributes (a URL, a name), not of files.
//!
//! Formats: <https://www.misp-standard.org/rfc/misp-standard-core.html> and
//! <https://www.misp-standard.org/rfc/misp-standard-warninglists-format.html>.

pub(super) mod event;
pub(super) mod manifest;
pub(super) mod warninglist;

use super::{
    error::Refusal,
    sample::{Sample, is_hex},
    source_name,
};

/// The file of a MISP feed with the MD5s of attribute values.
const HASHES_CSV: Refusal = Refusal {
    what: "the hashes.csv of a MISP feed",
    why: "its MD5s are of the values of attributes, not of files",
    instead: "read the events of the feed",
};

/// Returns the refusal if a sample is a file of a MISP feed that is not a feed by itself.
pub(super) fn refuse(sample: &Sample<'_>) -> Option<Refusal> {
    let value_hash = |line: &str| {
        line.split_once(',').is_some_and(|(hash, uuid)| is_hex(hash.trim(), 32) && source_name::is_uuid(uuid.trim()))
    };
    if sample.share(value_hash) > 0.9 {
        return Some(HASHES_CSV);
    }
    manifest::is_manifest(sample).then_some(manifest::REFUSAL)
}
