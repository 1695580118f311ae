//! Feeds: indicator lists as their authors publish them, read row by row into records.
//!
//! ```text
//! bytes ─input─▶ lines ─recognise─▶ one format's reader ─Draft─▶ intake ─screen, guards─▶ RecordSink
//! ```
//!
//! A reader of a format knows one syntax and nothing else: it says what each row holds, as `Draft`s,
//! or why it holds nothing. What may never become a bad record is decided in one place for all of them
//! ([`screen`]), and every row is accounted for in one place (`intake`).

mod batches;
mod cell;
mod format;
mod guard;
mod heading;
mod input;
mod intake;
mod public_suffix;
mod recognise;
mod report;
mod rows;
pub mod screen;
mod table;

mod adblock;
mod clamav;
mod cscb;
mod csv_columns;
mod domains;
mod feodo;
mod hosts;
mod ioc_list;
mod ip4set;
mod ipv4_list;
mod json;
mod malwarebazaar;
mod misp;
mod nsrl;
mod phishtank;
mod refuse;
mod spamhaus_json;
mod sslbl;
mod stix;
mod tags;
mod threatfox_csv;
mod threatfox_json;
mod tweetfeed;
mod urlhaus;

#[cfg(test)]
pub(crate) mod testing;

use std::{
    io::{self, Read},
    rc::Rc,
};

pub use self::{
    csv_columns::{Column, ColumnError},
    format::{Format, FormatError},
    guard::{GuardReport, Guards},
    misp::manifest::events as manifest_events,
    recognise::Refusal,
    report::{FeedError, Outcome, REFUSALS_MAX, Report, RowRefusal},
};
use self::{
    input::{Input, Unpacked},
    intake::Intake,
    recognise::Sample,
};
use crate::{limits::SOURCE_BYTES_MAX, record::RecordSink, timestamp::Timestamp};

/// How feeds are read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The source of the records; `None` means the format's name.
    pub source: Option<String>,
    /// Whether the list is one of known good things, whatever its format.
    pub trusted: bool,
    /// When the snapshot is made: what has expired by then is withheld.
    pub created: Timestamp,
    /// How old a record may be, in seconds before `created`; one without a time has no age.
    pub max_age: Option<u32>,
    /// The least confidence in percent; a record without one is taken.
    pub min_confidence: Option<u8>,
    /// The least score; a record without one is taken.
    pub min_score: Option<u32>,
    /// Whether the first row that is rejected ends the reading.
    pub strict: bool,
    /// What the columns of a generic CSV hold, for [`Format::Csv`].
    pub columns: Option<Vec<Column>>,
}

impl Options {
    /// Everything else left open.
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

    fn check(&self, format: Option<Format>) -> Result<(), FeedError> {
        if self.source.as_ref().is_some_and(|source| source.is_empty() || source.len() > SOURCE_BYTES_MAX) {
            let why = format!("expected the name of a source of 1 to {SOURCE_BYTES_MAX} bytes");
            return Err(FeedError::Options { why });
        }
        if self.columns.is_some() && format.is_some_and(|format| format != Format::Csv) {
            return Err(FeedError::Options { why: format!("columns are named for the format {} only", Format::Csv) });
        }
        Ok(())
    }
}

/// Reads one feed, packed (gzip, zstd, zip) or not, and hands its records to the sink as those of input `number`.
///
/// `name` is the file's name: a hint where contents are identical, and never more. Without `format` the content
/// decides. Every member of a zip archive is read as a feed of its own; members that are none are skipped and reported.
pub fn read(
    input: impl Read,
    name: &str,
    format: Option<Format>,
    options: &Options,
    guards: &Guards,
    number: u32,
    sink: &mut dyn RecordSink,
) -> Result<Report, FeedError> {
    options.check(format)?;
    let (mut archive, size) = match input::unpack(input)? {
        Unpacked::Feed(input) => return read_one(input, name, format, options, guards, number, sink),
        Unpacked::Archive(archive, size) => (archive, size),
    };
    let mut report: Option<Report> = None;
    let unpacked = Rc::default();
    let mut skipped = Vec::new();
    let mut first_error = None;
    for at in 0..archive.len() {
        let member = archive.by_index(at).map_err(io::Error::from)?;
        if member.is_dir() {
            continue;
        }
        let member_name = String::from_utf8_lossy(member.name_raw()).into_owned();
        let input = Input::member(member, size, &unpacked)?;
        match read_one(input, &member_name, format, options, guards, number, sink) {
            Ok(member_report) => match &mut report {
                Some(report) => report.merge(member_report),
                None => report = Some(member_report),
            },
            Err(e @ (FeedError::Unrecognised { .. } | FeedError::Refused(_))) => {
                if skipped.len() < REFUSALS_MAX {
                    skipped.push((member_name, e.to_string()));
                }
                first_error.get_or_insert(e);
            }
            Err(e) => return Err(e),
        }
    }
    match (report, first_error) {
        (Some(mut report), _) => {
            report.skipped = skipped;
            Ok(report)
        }
        (None, Some(e)) => Err(e),
        (None, None) => Err(FeedError::Unrecognised { looks: "an archive without files".into() }),
    }
}

fn read_one(
    mut input: Input<'_>,
    name: &str,
    format: Option<Format>,
    options: &Options,
    guards: &Guards,
    number: u32,
    sink: &mut dyn RecordSink,
) -> Result<Report, FeedError> {
    let format = match format {
        Some(format) => format,
        None if options.columns.is_some() => Format::Csv,
        None => recognise(&input, name)?,
    };
    let mut intake = Intake::new(format, options, guards, number, sink, input.stop_flag());
    (format.reader().read)(&mut input, &mut intake)?;
    intake.finish(input.overlong())
}

fn recognise(input: &Input<'_>, name: &str) -> Result<Format, FeedError> {
    let (head, whole) = input.head();
    let text = input::decode(head);
    let name = hint(name);
    recognise::format(&Sample::new(head, &text, whole, &name))
}

/// A file's name as [`Sample::name`] has it.
fn hint(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let bare = [".gz", ".zst", ".zip"].iter().find_map(|ending| name.strip_suffix(ending));
    bare.unwrap_or(&name).into()
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::{testing::*, *};

    const SSLBL: &str =
        "# Listingdate,SHA1,Listingreason\n2023-11-14 06:52:51,0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a,X C&C\n";

    fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in members {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn archives_are_read_member_by_member() {
        let archive = zip(&[
            ("a/", b""),
            ("program", b"\x7fELF\0\0\0"),
            ("x.csv", SSLBL.as_bytes()),
            ("y.csv", SSLBL.as_bytes()),
        ]);
        let (listings, report) = collect(&archive, "x.zip", None);
        assert_eq!((listings.len(), report.rows, report.format), (2, 2, Format::Sslbl));
        assert_eq!(report.skipped.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["program"]);
        let nothing = try_collect(&zip(&[("program", b"\x7fELF\0\0\0")]), "x.zip", None, &options());
        assert!(nothing.is_err());
        assert!(matches!(try_collect(&zip(&[]), "", None, &options()), Err(FeedError::Unrecognised { .. })));
        let cut = &archive[..archive.len() - 10];
        assert!(matches!(try_collect(cut, "x.zip", None, &options()), Err(FeedError::Io(_))));
    }

    #[test]
    fn strict_ends_at_the_first_rejected_row() {
        let mut options = options();
        options.strict = true;
        let feed = format!("{SSLBL}2023-11-14 06:52:51,xx,Y\n{SSLBL}");
        let strict = try_collect(feed.as_bytes(), "", None, &options);
        assert!(matches!(strict, Err(FeedError::Strict { line: 3, .. })), "{strict:?}");
    }

    #[test]
    fn options_are_checked() {
        for (source, columns, format) in [
            (Some(""), None, None),
            (Some(&*"x".repeat(SOURCE_BYTES_MAX + 1)), None, None),
            (None, Some(vec![Column::Hash]), Some(Format::Sslbl)),
        ] {
            let mut options = options();
            (options.source, options.columns) = (source.map(str::to_owned), columns);
            assert!(matches!(try_collect(SSLBL.as_bytes(), "", format, &options), Err(FeedError::Options { .. })));
        }
    }

    #[test]
    fn names_are_hints_without_their_wrapping() {
        assert_eq!(hint("/feeds/Daily.FP.gz"), "daily.fp");
        assert_eq!(hint("C:\\x.csv"), "x.csv");
    }

    /// No reader of any format may panic or lose a row, whatever it is given.
    #[test]
    fn every_reader_bears_every_text() {
        let texts: [&[u8]; 9] = [
            b"",
            b"\n\n",
            b"\"",
            b",,,,,,,,,,,,,,,,\n",
            b"{\"a\": [",
            b"\xff\xfe\0\0",
            SSLBL.as_bytes(),
            b"a;b;c;d;e;f;g;h;i;j;k\n||x^\n@@||y^\n1.2.3.4/33\n!1.2.3\n:127.0.0.2:\n",
            b"[1, null, {\"Event\": {}}]",
        ];
        for &format in Format::ALL {
            for text in texts {
                if let Err(e) = try_collect(text, "x", Some(format), &options()) {
                    assert!(!e.to_string().is_empty());
                }
            }
        }
    }
}
