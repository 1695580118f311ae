//! Answers as callers get them, whoever gave them: the index in this process, a server, or a cache.

use std::{fmt, sync::Arc};

use crate::{batch::Exception, key::Scope, record::RecordType, timestamp::Timestamp};

/// What is known of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether anything is. Read this before the records: only [`Status::Unknown`] means "asked, and not listed".
    pub status: Status,
    /// Who answered.
    pub origin: Origin,
    /// The generation of the dataset that answered; 0 when none did.
    pub generation: u64,
    /// The records that match, the one that wins first; with [`Detail::Winner`](crate::batch::Detail::Winner) only
    /// that. Empty unless the status is [`Status::Known`].
    pub records: Vec<Record>,
    /// Whether there are more records than [`RECORDS_PER_KEY_MAX`](crate::limits::RECORDS_PER_KEY_MAX) or the size of
    /// a frame let through.
    pub is_cut: bool,
    /// How many records were proposed for a key that was asked by prefixes: those of all listed digests that begin so; of a
    /// web address, those of all its expressions and of its host. 0 for a key that was asked whole.
    pub candidates: u32,
    /// Why there is no answer, when there is none.
    pub reason: Option<Exception>,
}

impl Answer {
    /// The answer to a key of which nothing is known.
    pub fn unknown(origin: Origin, generation: u64) -> Self {
        Self {
            status: Status::Unknown,
            origin,
            generation,
            records: Vec::new(),
            is_cut: false,
            candidates: 0,
            reason: None,
        }
    }

    /// The answer to a key that was not asked (yet).
    pub fn not_asked() -> Self {
        Self { status: Status::NotAsked, ..Self::unknown(Origin::Server, 0) }
    }

    /// The answer to a key that could not be answered.
    pub fn exception(exception: Exception, origin: Origin, generation: u64) -> Self {
        let status = match exception {
            Exception::Unsupported => Status::Unsupported,
            Exception::Malformed => Status::Error,
        };
        Self { status, reason: Some(exception), ..Self::unknown(origin, generation) }
    }

    /// The record that wins.
    pub fn winner(&self) -> Option<&Record> {
        self.records.first()
    }
}

/// Whether anything is known of a key. Unknown is not clean, and the last three are not unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// There are records.
    Known,
    /// It was asked, and there are none.
    Unknown,
    /// Nobody here can answer a key of this kind.
    Unsupported,
    /// The key is malformed; or, with [`Answer::is_cut`], it was asked by prefixes of which more is known than a frame
    /// holds, and has to be asked whole.
    Error,
    /// It was not asked.
    NotAsked,
}

impl Status {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Unknown => "unknown",
            Self::Unsupported => "unsupported",
            Self::Error => "error",
            Self::NotAsked => "not-asked",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A server.
    Server,
    /// An index in this process.
    Local,
    /// An earlier answer that still holds.
    Cache,
}

impl Origin {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Local => "local",
            Self::Cache => "cache",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One record that matches a key.
///
/// Texts are shared: all records of one answer frame that carry a name hold the same allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The detection name as the feed writes it; empty when it gives none.
    pub name: Arc<str>,
    /// Unique within its source.
    pub id: u64,
    /// What the record says.
    pub record_type: RecordType,
    /// Which feed says so.
    pub source: Arc<str>,
    /// When the record was made or last changed.
    pub timestamp: Option<Timestamp>,
    /// When it stops counting.
    pub expiry: Option<Timestamp>,
    /// What of the record matched, when that is not the key itself: an expression of a web address, or a block of IPv4
    /// addresses.
    pub matched: Option<Arc<str>>,
    /// How the expression matched.
    pub scope: Option<Scope>,
    /// The port that the feed gave with an address.
    pub port: Option<u16>,
}
