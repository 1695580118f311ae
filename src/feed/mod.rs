//! Feeds: indicator lists as their authors publish them, read row by row into records.
//!
//! ```text
//! bytes ─input─▶ lines ─recognise─▶ one format's reader ─Draft─▶ intake ─screen, guards─▶ RecordSink
//! ```
//!
//! A reader of a format knows one syntax and nothing else: it says what each row holds, as [`Draft`](intake::Draft)s,
//! or why it holds nothing. What may never become a bad record is decided in one place for all of them
//! ([`screen`]), and every row is accounted for in one place ([`intake`]).

pub(crate) mod input;
pub(crate) mod intake;
