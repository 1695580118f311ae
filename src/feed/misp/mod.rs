//! MISP: events of a feed, its manifest, and warninglists.
//!
//! What is no list of indicators but lies beside them is refused: the manifest as a feed of its own, and `hashes.csv`,
//! whose MD5s are of the *values* of attributes (a URL's, a name's), not of files.
//!
//! Formats: <https://www.misp-standard.org/rfc/misp-standard-core.html> and
//! <https://www.misp-standard.org/rfc/misp-standard-warninglists-format.html>.

pub(super) mod event;
pub(super) mod manifest;
pub(super) mod warninglist;

use super::recognise::{Refusal, Sample, is_hex};

/// The MD5s of attribute values that a MISP feed has beside its events.
const HASHES_CSV: Refusal = Refusal {
    what: "the hashes.csv of a MISP feed",
    why: "its MD5s are of the values of attributes, not of files",
    instead: "read the events of the feed",
};

/// Tells what of a MISP feed is no feed of its own.
pub(super) fn refuse(sample: &Sample<'_>) -> Option<Refusal> {
    let value_hash = |line: &str| {
        line.split_once(',').is_some_and(|(hash, uuid)| is_hex(hash.trim(), 32) && manifest::is_uuid(uuid.trim()))
    };
    if sample.share(value_hash) > 0.9 {
        return Some(HASHES_CSV);
    }
    manifest::is_manifest(sample).then_some(manifest::REFUSAL)
}
