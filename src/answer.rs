//! Answers as returned to callers, from the index in this process, a server or a cache.

use std::{fmt, sync::Arc};

use crate::{batch::Unanswered, key::Scope, record::RecordType, timestamp::Timestamp};

/// The answer to the lookup of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The result of the lookup. Check it before the records: only [`Status::Unknown`] means "looked up, and not
    /// listed".
    pub status: Status,
    /// The source of the answer.
    pub origin: Origin,
    /// The generation of the dataset that the answer comes from; 0 if there is none.
    pub generation: u64,
    /// The records that match, the winner first; with [`Detail::Winner`](crate::batch::Detail::Winner) only the winner.
    /// Empty unless the status is [`Status::Known`].
    pub records: Vec<Record>,
    /// Whether records are missing because of [`RECORDS_PER_KEY_MAX`](crate::limits::RECORDS_PER_KEY_MAX) or the size
    /// of a frame.
    pub is_cut: bool,
    /// The number of records received for a key that was looked up by prefix: those of all listed digests that start
    /// with the prefix; for a web address, those of all its expressions and of its host. 0 for a key that was sent
    /// whole.
    pub candidates: u32,
    /// The reason why the key is unanswered, if it is.
    pub reason: Option<Unanswered>,
    /// Seconds for which the answer may be cached: what the server allows for a known or for an unknown key. A record
    /// that [expires](Record::expiry) earlier ends it earlier. 0 if the answer must not be cached: that of a key that
    /// was not answered, and that of an index in this process, which may be replaced at any time and costs no more
    /// than a cache.
    pub ttl_s: u32,
}

impl Answer {
    /// Returns the answer to a key without records, which must not be cached.
    pub fn unknown(origin: Origin, generation: u64) -> Self {
        Self {
            status: Status::Unknown,
            origin,
            generation,
            records: Vec::new(),
            is_cut: false,
            candidates: 0,
            reason: None,
            ttl_s: 0,
        }
    }

    /// Returns the answer to a key that was not looked up (yet).
    pub fn not_asked() -> Self {
        Self { status: Status::NotAsked, ..Self::unknown(Origin::Server, 0) }
    }

    /// Returns the answer to an unanswered key.
    pub fn unanswered(unanswered: Unanswered, origin: Origin, generation: u64) -> Self {
        let status = match unanswered {
            Unanswered::Unsupported => Status::Unsupported,
            Unanswered::Malformed => Status::Error,
        };
        Self { status, reason: Some(unanswered), ..Self::unknown(origin, generation) }
    }

    /// Returns the winning record.
    pub fn winner(&self) -> Option<&Record> {
        self.records.first()
    }
}

/// The result of the lookup of a key. Unknown is not clean, and the last three variants are not unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The key has records.
    Known,
    /// The key was looked up and has no records.
    Unknown,
    /// Keys of this kind are not supported.
    Unsupported,
    /// The key is malformed; or, with [`Answer::is_cut`], its prefixes have more candidates than fit into a frame, and
    /// it has to be sent whole.
    Error,
    /// The key was not looked up.
    NotAsked,
}

impl Status {
    /// Returns the name in reports.
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

/// The source of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A server.
    Server,
    /// An index in this process.
    Local,
    /// A cached answer that is still valid.
    Cache,
}

impl Origin {
    /// Returns the name in reports.
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
/// Texts are shared: all records of an answer frame with the same name share one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The detection name as written in the feed; empty if there is none.
    pub name: Arc<str>,
    /// The ID of the record, unique within its source.
    pub id: u64,
    /// The type of the record.
    pub record_type: RecordType,
    /// The name of the feed.
    pub source: Arc<str>,
    /// The time at which the record was created or last changed.
    pub timestamp: Option<Timestamp>,
    /// The time at which the record expires.
    pub expiry: Option<Timestamp>,
    /// The expression of a web address or the block of IPv4 addresses that matched; `None` if the key itself matched.
    pub matched: Option<Arc<str>>,
    /// The scope of the expression that matched.
    pub scope: Option<Scope>,
    /// The port that the feed lists with an address.
    pub port: Option<u16>,
}
