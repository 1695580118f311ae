//! Generic CSV.

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

/// What a column of a generic CSV holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Column {
    /// Nothing that is used.
    Ignored,
}

/// The text names no column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no column is named {found:?}")]
pub struct ColumnError {
    found: String,
}
