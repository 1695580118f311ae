//! What a command comes to, for whoever started it.

use std::{io, process::ExitCode};

/// The exit codes of all commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, and nothing bad was found.
    Success,
    /// Something that was asked for is known as bad.
    Bad,
    /// Something could not be done or answered.
    Trouble,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Bad => 1,
            Exit::Trouble => 2,
        })
    }
}

/// What the keys of a lookup add up to. Bad counts more than trouble: whoever asks "is any of these bad?" has the
/// answer, errors or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) has_bad: bool,
    pub(super) has_trouble: bool,
}

impl Tally {
    pub(super) fn exit(self) -> Exit {
        match self {
            Self { has_bad: true, .. } => Exit::Bad,
            Self { has_trouble: true, .. } => Exit::Trouble,
            _ => Exit::Success,
        }
    }
}

/// Whether the reader of standard output has gone, as `head` does when it has enough. That is no failure.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}
