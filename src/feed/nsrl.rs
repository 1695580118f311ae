//! NIST's National Software Reference Library (<https://www.nist.gov/itl/ssd/software-quality-group/nsrl-download>):
//! known files, trusted.
//!
//! The input is the CSV of the Reference Data Set, version 2 (`NSRLFile.txt`), or its columns and `package_id` as
//! exported from version 3, which is an SQLite database and refused as such ([`refuse`](super::refuse)). A file is
//! listed under each of its hashes, named by its file name. Rows with the `SpecialCode` `M` are malicious and withheld;
//! rows with `S` (special) are not, because the files are known.

use super::{
    column_content::Content,
    csv,
    csv_layout::{Column, Need, Schema},
    error::FeedError,
    format::Format,
    input::Input,
    row_sink::RowSink,
    sample::{Confidence, Sample},
    value,
};
use crate::record::RecordType;

/// A file of which the `SpecialCode` is not read would be trusted though it is malicious.
static SCHEMA: Schema<5> = Schema {
    format: Format::Nsrl,
    columns: [
        Column::new(&["sha-1", "sha1"], 0, Content::Hex(40), Need::Key),
        Column::new(&["md5"], 1, Content::Hex(32), Need::Key),
        Column::new(&["filename", "file_name"], 3, Content::Text, Need::Optional),
        Column::new(&["specialcode"], 7, Content::Words(&["M", "S"]), Need::IfNamed),
        Column::by_header(&["sha-256", "sha256"], Content::Hex(64), Need::Key),
    ],
    width: 8,
    free_text: None,
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let version_2: &[_] = &["sha-1", "md5", "crc32", "filename", "specialcode"];
    let version_3: &[_] = &["sha256", "sha1", "md5", "file_name", "package_id"];
    [version_2, version_3].into_iter().find_map(|names| csv::detect(sample, &SCHEMA, names))
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    csv::read(input, sink, &SCHEMA, |row, sink| {
        if row.get(3).is_some_and(|code| code.eq_ignore_ascii_case("M")) {
            sink.withhold("the SpecialCode M means malicious");
            return;
        }
        let name = row.get(2).unwrap_or_default();
        for hash in [4, 0, 1].into_iter().filter_map(|column| row.get(column)) {
            match value::object_hash(hash) {
                Ok(hash) => sink.list(sink.draft(hash, RecordType::Trusted, name)),
                Err(e) => sink.value_error(e),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::feed::{Format, testing::collect};

    #[test]
    fn known_files_are_trusted_unless_malicious() {
        let (sha1, md5) = ("0A".repeat(20), "0B".repeat(16));
        let feed = format!(
            "\"SHA-1\",\"MD5\",\"CRC32\",\"FileName\",\"FileSize\",\"ProductCode\",\"OpSystemCode\",\"SpecialCode\"\r\n\
             \"{sha1}\",\"{md5}\",\"0B0B0B0B\",\"a, b.txt\",10,1,\"358\",\"\"\r\n\
             \"{sha1}\",\"{md5}\",\"0B0B0B0B\",\"c.exe\",10,1,\"358\",\"M\"\r\n"
        );
        let (entries, report) = collect(feed.as_bytes(), "NSRLFile.txt", None);
        assert_eq!(report.format, Format::Nsrl);
        assert_eq!(
            entries,
            [("sha1", sha1), ("md5", md5)]
                .map(|(kind, hash)| format!("{kind}:{} trusted \"a, b.txt\"", hash.to_lowercase()))
        );
        assert_eq!((report.rows, report.withheld), (2, 1));
    }

    #[test]
    fn exports_of_version_3() {
        let (sha256, sha1, md5) = ("0a".repeat(32), "0b".repeat(20), "0c".repeat(16));
        let feed = format!("sha256,sha1,md5,file_name,package_id\n{sha256},{sha1},{md5},x.txt,9\n");
        let (entries, report) = collect(feed.as_bytes(), "", None);
        assert_eq!((report.format, entries.len()), (Format::Nsrl, 3));
    }
}
