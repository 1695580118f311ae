//! What is no indicator list, or another tool's language.

use super::recognise::{Refusal, Sample};

/// Tells what a file is that cannot become records, why, and what to do instead. Asked before any reader.
pub(super) fn refuse(_sample: &Sample<'_>) -> Option<Refusal> {
    None
}
