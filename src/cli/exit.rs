//! Process exit codes. A command that SIGTERM or Ctrl-C ends exits as shells report it, see
//! [`signals`](super::signals).

use std::{io, process::ExitCode};

/// The exit codes of all commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// The command succeeded, and nothing bad was found.
    Success,
    /// At least one key is known as bad.
    Bad,
    /// The command failed, or a key could not be answered.
    Error,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Bad => 1,
            Exit::Error => 2,
        })
    }
}

/// Accumulated outcome of the keys of a lookup. Bad takes precedence over errors: "is any of these bad?" is answered
/// either way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) has_bad: bool,
    pub(super) has_errors: bool,
}

impl Tally {
    pub(super) fn exit(self) -> Exit {
        match self {
            Self { has_bad: true, .. } => Exit::Bad,
            Self { has_errors: true, .. } => Exit::Error,
            _ => Exit::Success,
        }
    }
}

/// Returns whether the reader of standard output closed the pipe, as `head` does. This is not a failure.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}
