//! ClamAV databases.

use super::{
    FeedError,
    input::Input,
    intake::Intake,
    recognise::{Likeness, Sample},
};

pub(super) fn recognise_hashes(_sample: &Sample<'_>) -> Option<Likeness> {
    None
}

pub(super) fn read_hashes(_input: &mut Input<'_>, _intake: &mut Intake<'_>) -> Result<(), FeedError> {
    Ok(())
}

pub(super) fn recognise_trusted(_sample: &Sample<'_>) -> Option<Likeness> {
    None
}

pub(super) fn read_trusted(_input: &mut Input<'_>, _intake: &mut Intake<'_>) -> Result<(), FeedError> {
    Ok(())
}

pub(super) fn recognise_certificates(_sample: &Sample<'_>) -> Option<Likeness> {
    None
}

pub(super) fn read_certificates(_input: &mut Input<'_>, _intake: &mut Intake<'_>) -> Result<(), FeedError> {
    Ok(())
}

pub(super) fn recognise_urls(_sample: &Sample<'_>) -> Option<Likeness> {
    None
}

pub(super) fn read_urls(_input: &mut Input<'_>, _intake: &mut Intake<'_>) -> Result<(), FeedError> {
    Ok(())
}
