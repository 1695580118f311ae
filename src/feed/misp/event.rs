//! MISP events.

use crate::feed::{
    FeedError,
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
