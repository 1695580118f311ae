//! SSLBL.

use super::{
    FeedError,
    input::Input,
    intake::Intake,
    recognise::{Likeness, Refusal, Sample},
};

pub(super) fn recognise_certificates(_sample: &Sample<'_>) -> Option<Likeness> {
    None
}

pub(super) fn read_certificates(_input: &mut Input<'_>, _intake: &mut Intake<'_>) -> Result<(), FeedError> {
    Ok(())
}

pub(super) fn recognise_addresses(_sample: &Sample<'_>) -> Option<Likeness> {
    None
}

pub(super) fn read_addresses(_input: &mut Input<'_>, _intake: &mut Intake<'_>) -> Result<(), FeedError> {
    Ok(())
}

pub(super) fn refuse(_sample: &Sample<'_>) -> Option<Refusal> {
    None
}
