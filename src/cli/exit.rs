//! Process exit codes. A command that SIGTERM or Ctrl-C ends exits as shells report it, see
//! [`signals`](super::signals).

use std::{io, process::ExitCode};

use ksn::{Answer, Status, record::RecordType};

/// The exit codes of all commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// The command succeeded, and nothing bad was found.
    Success,
    /// At least one key is known as bad.
    Bad,
    /// The command failed, or a key could not be answered.
    Error,
    /// `ksn build` wrote nothing, because a feed or the snapshot has too few records.
    TooFewRecords,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Bad => 1,
            Exit::Error => 2,
            Exit::TooFewRecords => 3,
        })
    }
}

/// Accumulated outcome of the keys or files of a command. Bad takes precedence over errors: "is any of these bad?" is
/// answered either way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Whether keys of unsupported kinds are no errors.
    ignores_unsupported: bool,
    /// The number of keys that are known as bad.
    pub(super) bad: u64,
    /// The number of keys that were not answered.
    pub(super) errors: u64,
}

impl Tally {
    pub(super) fn new(ignores_unsupported: bool) -> Self {
        Self { ignores_unsupported, ..Self::default() }
    }

    /// Counts an answer. `bad` are the record types that count as bad.
    pub(super) fn count(&mut self, answer: &Answer, bad: &[RecordType]) {
        let is_bad = answer.winner().is_some_and(|record| bad.contains(&record.record_type));
        let is_error = match answer.status {
            Status::Known | Status::Unknown => false,
            Status::Unsupported => !self.ignores_unsupported,
            Status::Error | Status::NotAsked => true,
        };
        self.bad += u64::from(is_bad);
        self.errors += u64::from(is_error);
    }

    pub(super) fn exit(self) -> Exit {
        match self {
            Self { bad: 1.., .. } => Exit::Bad,
            Self { errors: 1.., .. } => Exit::Error,
            _ => Exit::Success,
        }
    }
}

/// Returns whether the reader of standard output closed the pipe, as `head` does. This is not a failure.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}
