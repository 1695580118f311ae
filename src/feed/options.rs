//! Options for reading feeds.

use super::{columns::CsvColumn, error::FeedError, format::Format};
use crate::{limits::SOURCE_BYTES_MAX, timestamp::Timestamp};

/// Options for reading feeds.
#[derive(Clone, Debug)]
pub struct Options {
    /// The source of the records; `None` means the format's name.
    pub source: Option<String>,
    /// Whether every entry of the list is known to be good, whatever its format.
    pub trusted: bool,
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
}

impl Options {
    /// Returns options with all other fields unset.
    pub fn new(created: Timestamp) -> Self {
        Self {
            source: None,
            trusted: false,
            created,
            max_age: None,
            min_confidence: None,
            min_score: None,
            strict: false,
            columns: None,
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
