//! The error of reading a feed.

use std::io;

use super::format::Format;

/// A kind of file that yields no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind, with its article: `an RPZ zone`.
    pub what: &'static str,
    /// Why it yields no records.
    pub why: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

/// The error of reading a feed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// Reading or decompressing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No format matches the content.
    #[error("cannot detect the format: it looks like {looks}; set `--format`, or name the columns with `--columns`")]
    UnknownFormat {
        /// What the content looks like.
        looks: String,
    },
    /// Several formats match the content equally well.
    #[error("ambiguous format: the content alone does not tell; choose with {}", options(candidates))]
    Ambiguous {
        /// The matching formats.
        candidates: Vec<Format>,
    },
    /// The content is of a known kind that yields no records.
    #[error("this is {}: {}; {}", .0.what, .0.why, .0.instead)]
    Refused(Refusal),
    /// A limit is exceeded.
    #[error("{what} is over the limit of {limit}")]
    TooLarge {
        /// The quantity that was measured.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The feed decompresses to more than [`FEED_RATIO_MAX`](crate::limits::FEED_RATIO_MAX) times its size.
    #[error(
        "a decompression bomb: {packed} bytes decompress to {unpacked} and more, expected at most {} times as many; if \
         the feed is genuine, decompress it first",
        crate::limits::FEED_RATIO_MAX
    )]
    Bomb {
        /// The compressed bytes read, or for an archive its size.
        packed: u64,
        /// The bytes decompressed from them.
        unpacked: u64,
    },
    /// The columns of a CSV feed cannot be told apart: its rows agree neither with its header nor with the format.
    #[error(
        "line {line}: the columns are not those of {format}: expected {expected}; found {found}; if the file is \
         another list, name its columns: `--columns {columns}`"
    )]
    Columns {
        /// The format that it was read as.
        format: Format,
        /// The line of the first row, from 1.
        line: u64,
        /// The columns of the format and what they hold.
        expected: String,
        /// What the columns of the file hold, by position.
        found: String,
        /// The value for `--columns`.
        columns: String,
    },
    /// A document that must be read as a whole is malformed.
    #[error("malformed {format}: {why}")]
    Malformed {
        /// The format that it was read as.
        format: Format,
        /// The error, with the position.
        why: String,
    },
    /// An option is invalid or does not apply to the format.
    #[error("{why}")]
    Options {
        /// What is wrong and what to do.
        why: String,
    },
    /// Under `--strict`, a row was rejected.
    #[error("line {line}: {reason}")]
    Strict {
        /// The line, from 1.
        line: u64,
        /// Why the row was rejected.
        reason: String,
    },
}

fn options(formats: &[Format]) -> String {
    formats.iter().map(|format| format!("`--format {format}`")).collect::<Vec<_>>().join(" or ")
}
