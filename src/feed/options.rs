//! Options for reading feeds.

use super::{columns::CsvColumn, error::FeedError, format::Format, report::REFUSALS_MAX};
use crate::{limits::SOURCE_BYTES_MAX, record::RecordType, timestamp::Timestamp};

/// Options for reading feeds.
#[derive(Clone, Debug)]
pub struct Options {
    /// The source of the records. `None` means the publisher that the feed or its format names, else
    /// [`list`](Self::list).
    pub source: Option<String>,
    /// The name of the list, as [`list_name`](super::list_name) returns it: the source of its records if nothing names
    /// their publisher. `None` means the format's name.
    pub list: Option<String>,
    /// Whether every entry of the list is known to be good, whatever its format.
    pub trusted: bool,
    /// The type of the records, instead of the type that the feed assigns. [`trusted`](Self::trusted) overrides it.
    pub record_type: Option<RecordType>,
    /// The confidence in percent of records for which the feed states none.
    pub confidence: Option<u8>,
    /// The expiry of the records, instead of the feed's own.
    pub expiry: Option<Expiry>,
    /// The creation time of the snapshot: entries that expired before it are withheld.
    pub created: Timestamp,
    /// The maximum age of a record in seconds before `created`; records without a timestamp are kept.
    pub max_age: Option<u32>,
    /// The minimum confidence in percent; records without one are kept.
    pub min_confidence: Option<u8>,
    /// The minimum score; records without one are kept.
    pub min_score: Option<u32>,
    /// Whether reading stops with an error at the first rejected row.
    pub strict: bool,
    /// The contents of the columns of a generic CSV, for [`Format::Csv`].
    pub columns: Option<Vec<CsvColumn>>,
    /// The maximum number of refusals that a report lists, [`REFUSALS_MAX`] by default. All of them are counted.
    pub refusals_max: usize,
}

/// When the records of a feed expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At this time.
    At(Timestamp),
    /// This number of seconds after the record's timestamp, or after [`Options::created`] if it has none.
    After(u32),
}

impl Options {
    /// Returns options with all other fields unset.
    pub fn new(created: Timestamp) -> Self {
        Self {
            source: None,
            list: None,
            record_type: None,
            confidence: None,
            expiry: None,
            trusted: false,
            created,
            max_age: None,
            min_confidence: None,
            min_score: None,
            strict: false,
            columns: None,
            refusals_max: REFUSALS_MAX,
        }
    }

    /// Checks the options against the format that was given.
    pub(super) fn check(&self, format: Option<Format>) -> Result<(), FeedError> {
        if let Some(source) = &self.source
            && (source.is_empty() || source.len() > SOURCE_BYTES_MAX)
        {
            let why = format!("expected a source name of 1 to {SOURCE_BYTES_MAX} bytes, found {} bytes", source.len());
            return Err(FeedError::Options { why });
        }
        if self.columns.is_some() && format.is_some_and(|format| format != Format::Csv) {
            return Err(FeedError::Options { why: format!("`--columns` requires the format {}", Format::Csv) });
        }
        Ok(())
    }
}
