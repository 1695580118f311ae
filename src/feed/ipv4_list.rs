//! Lists of IPv4 addresses and blocks.

use super::{
    FeedError,
    input::Input,
    intake::Intake,
    recognise::{Likeness, Sample},
};

pub(super) fn recognise(_sample: &Sample<'_>) -> Option<Likeness> {
    None
}

pub(super) fn read(_input: &mut Input<'_>, _intake: &mut Intake<'_>) -> Result<(), FeedError> {
    Ok(())
}
