//! Feeds: published indicator lists, read row by row into records.
//!
//! ```text
//! bytes ─input─▶ lines ─detect─▶ the format's reader ─Draft─▶ RowSink ─filter, guards─▶ RecordSink
//! ```
//!
//! A format's reader knows one syntax and nothing else: for each row it reports `Draft`s, or why the row yields none.
//! One module decides for all formats what must never become a bad record ([`filter`]), and one accounts for every row
//! (`row_sink`).

mod batches;
mod cell;
mod checksums;
mod column_content;
mod column_roles;
mod columns;
mod csv;
mod csv_layout;
mod detect;
mod error;
pub mod filter;
mod format;
mod guard;
mod guard_list;
mod header_comment;
mod headings;
mod input;
mod options;
mod public_suffix;
mod readers;
mod report;
mod row_sink;
mod rows;
mod sample;
mod source_name;
mod token;
mod type_words;
mod value;
mod verdict;
mod words;

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
mod yaml;

#[cfg(test)]
pub(crate) mod testing;

use std::{
    io::{self, Read},
    rc::Rc,
};

pub use self::{
    columns::{ColumnError, CsvColumn},
    error::{FeedError, Refusal},
    format::{Format, FormatError},
    guard::{GuardReport, Guards},
    misp::manifest::events as manifest_events,
    options::{Expiry, Options},
    report::{Outcome, REFUSALS_MAX, Report, RowRefusal},
    source_name::list_name,
};
use self::{
    input::{Input, Unpacked},
    row_sink::RowSink,
    sample::Sample,
};
use crate::record::RecordSink;

/// Reads one feed, compressed (gzip, zstd, zip) or not, and passes its records to `sink` as those of input `number`.
///
/// `name` is the file's name; it is only a hint to choose between formats with identical content. Without `format` the
/// format is detected from the content. Every member of a zip archive is read as a separate feed; members that are not
/// feeds are skipped and reported.
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
            Ok(mut member_report) => {
                member_report.set_member(&member_name);
                match &mut report {
                    Some(report) => report.merge(member_report),
                    None => report = Some(member_report),
                }
            }
            Err(
                e @ (FeedError::UnknownFormat { .. }
                | FeedError::Ambiguous { .. }
                | FeedError::Refused(_)
                | FeedError::Columns { .. }),
            ) => {
                if skipped.len() < options.refusals_max {
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
        (None, None) => Err(FeedError::UnknownFormat { looks: "an archive without files".into() }),
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
        None => detect(&input, name, options)?,
    };
    let mut row_sink = RowSink::new(format, options, guards, number, sink, input.stop_flag());
    readers::reader(format).1(&mut input, &mut row_sink)?;
    row_sink.finish(input.overlong())
}

fn detect(input: &Input<'_>, name: &str, options: &Options) -> Result<Format, FeedError> {
    let (head, whole) = input.head();
    let text = input::decode(head);
    let name = hint(name);
    detect::format(&Sample { trusted: options.trusted, ..Sample::new(head, &text, whole, &name) })
}

/// Normalizes a file name for [`Sample::name`].
fn hint(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let stem = [".gz", ".zst", ".zip"].iter().find_map(|suffix| name.strip_suffix(suffix));
    stem.unwrap_or(&name).into()
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::{testing::*, *};
    use crate::limits::SOURCE_BYTES_MAX;

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
        let (entries, report) = collect(&archive, "x.zip", None);
        assert_eq!((entries.len(), report.rows, report.format), (2, 2, Format::Sslbl));
        assert_eq!(report.skipped.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["program"]);
        let no_feed = try_collect(&zip(&[("program", b"\x7fELF\0\0\0")]), "x.zip", None, &options());
        assert!(no_feed.is_err());
        // A member whose name does not tell whether its hashes are bad is skipped like one that is no feed.
        let hashes = format!("{}:5:third-party\n", "0a".repeat(16));
        let archive = zip(&[("bad.hdb", hashes.as_bytes()), ("hashes", hashes.as_bytes())]);
        let (entries, report) = collect(&archive, "x.zip", None);
        assert_eq!((entries.len(), report.skipped.len()), (1, 1), "{report:?}");
        assert!(matches!(try_collect(&zip(&[]), "", None, &options()), Err(FeedError::UnknownFormat { .. })));
        let cut = &archive[..archive.len() - 10];
        assert!(matches!(try_collect(cut, "x.zip", None, &options()), Err(FeedError::Io(_))));
    }

    #[test]
    fn strict_fails_at_the_first_rejected_row() {
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
            (None, Some(vec![CsvColumn::Hash]), Some(Format::Sslbl)),
        ] {
            let mut options = options();
            (options.source, options.columns) = (source.map(str::to_owned), columns);
            assert!(matches!(try_collect(SSLBL.as_bytes(), "", format, &options), Err(FeedError::Options { .. })));
        }
    }

    #[test]
    fn hints_omit_folders_and_compression_suffixes() {
        assert_eq!(hint("/feeds/Daily.FP.gz"), "daily.fp");
        assert_eq!(hint("C:\\x.csv"), "x.csv");
    }

    /// No reader may panic or lose a row on any input.
    #[test]
    fn every_reader_handles_every_input() {
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
