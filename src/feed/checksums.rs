//! Refuses lists of checksums: a publisher's digests of files that are good, as `sha256sum` and package builders write
//! them. Read as indicators, `/bin/ls` would be malware.
//!
//! - GNU coreutils: `HASH`, two blanks or a blank and `*`, a path
//!   (<https://www.gnu.org/software/coreutils/manual/html_node/md5sum-invocation.html>).
//! - BSD: `SHA256 (path) = HASH`.
//! - A manifest: a table whose header names a path or file and a digest, whose files are all different, and which states
//!   neither a threat nor a time of any.
//!
//! A list of indicators has the first shape too if somebody writes `HASH`, two blanks and a family. Families repeat, and
//! the paths of one checksum file do not.

use std::collections::HashSet;

use super::{
    error::Refusal,
    rows::Cells,
    sample::{Sample, is_object_hash},
};

const CHECKSUMS: Refusal = Refusal {
    what: "a file of checksums, as sha256sum writes it",
    why: "it lists the digests of somebody's own files, which nothing calls bad",
    instead: "if they are indicators all the same, read it with `--format ioc-list`",
};

const MANIFEST: Refusal = Refusal {
    what: "a manifest: a table of files and their digests",
    why: "it lists the digests of somebody's own files, which nothing calls bad",
    instead: "if they are indicators all the same, read it with `--format csv`",
};

/// Returns the refusal of a file of checksums.
pub(super) fn refuse(sample: &Sample<'_>) -> Option<Refusal> {
    if is_list(sample, gnu) || is_list(sample, bsd) {
        return Some(CHECKSUMS);
    }
    is_manifest(sample).then_some(MANIFEST)
}

/// Returns whether all rows are checksums, each of another path.
fn is_list(sample: &Sample<'_>, path: impl Fn(&str) -> Option<&str>) -> bool {
    let mut rows = 0usize;
    let mut paths = Vec::new();
    let lines = sample.lines.iter().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    for line in lines.filter(|line| !["-----BEGIN PGP SIGNED", "Hash: "].iter().any(|armor| line.starts_with(armor))) {
        if line.starts_with("-----BEGIN PGP SIGNATURE") {
            break;
        }
        rows += 1;
        paths.extend(path(line));
    }
    // A program wrote it: with a heading above or words between the rows it is a list of somebody's.
    rows > 0 && paths.len() == rows && are_different(&paths)
}

fn are_different(paths: &[&str]) -> bool {
    paths.iter().collect::<HashSet<_>>().len() * 10 >= paths.len() * 9
}

/// Returns the path of `HASH  path` or `HASH *path`. A leading backslash marks an escaped path.
fn gnu(line: &str) -> Option<&str> {
    let line = line.strip_prefix('\\').unwrap_or(line);
    let (hash, rest) = line.split_once(' ')?;
    let path = rest.strip_prefix([' ', '*'])?;
    let is_path = !path.is_empty() && !path.starts_with([' ', '-', '(', '#', '|']);
    (is_checksum(hash) && is_path).then_some(path)
}

/// Returns the path of `SHA256 (path) = HASH`.
fn bsd(line: &str) -> Option<&str> {
    let (algorithm, rest) = line.split_once(" (")?;
    let (path, hash) = rest.rsplit_once(") = ")?;
    let is_algorithm = algorithm.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/'));
    (is_algorithm && is_checksum(hash.trim())).then_some(path)
}

/// A digest of any length that such tools write.
fn is_checksum(hash: &str) -> bool {
    is_object_hash(hash) || (matches!(hash.len(), 56 | 96 | 128) && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_manifest(sample: &Sample<'_>) -> bool {
    let mut lines = sample.data_lines();
    let Some(header) = lines.next() else { return false };
    let Some(separator) = b"\t,;|".iter().copied().find(|&separator| header.contains(char::from(separator))) else {
        return false;
    };
    let header = Cells::of(header, separator);
    let names: Vec<_> = header.iter().map(str::to_ascii_lowercase).collect();
    let position = |words: &[&str]| names.iter().position(|name| words.contains(&name.as_str()));
    let (Some(path), Some(digest)) = (position(PATHS), position(DIGESTS)) else { return false };
    let states_threat = names.iter().any(|name| THREATS.iter().any(|word| name.contains(word)));
    let rows: Vec<_> = lines.map(|line| Cells::of(line, separator)).collect();
    let hashed = rows.iter().filter(|cells| is_checksum(cells.get(digest))).count();
    let paths: Vec<_> = rows.iter().map(|cells| cells.get(path)).collect();
    let has_folders = paths.iter().any(|path| path.contains('/') || path.contains('\\'));
    !states_threat
        && hashed * 10 >= rows.len() * 9
        && hashed > 0
        && are_different(&paths)
        && (has_folders || position(SIZES).is_some())
}

const PATHS: &[&str] = &["path", "file", "filename", "file_name", "file name", "filepath", "file_path"];

const DIGESTS: &[&str] = &["sha256", "sha-256", "sha1", "sha-1", "md5", "sha512", "checksum", "digest", "hash"];

const SIZES: &[&str] = &["size", "bytes", "length", "filesize", "file_size", "file size"];

/// Parts of column names that lists of indicators have and manifests have not.
const THREATS: &[&str] = &[
    "malware",
    "family",
    "threat",
    "signature",
    "detection",
    "verdict",
    "tag",
    "seen",
    "campaign",
    "actor",
    "ioc",
    "indicator",
    "severity",
    "confidence",
    "score",
    "description",
    "comment",
    "note",
    "c2",
    "url",
    "domain",
    "specialcode",
    "product",
    "package_id",
    "av",
    "reporter",
];

#[cfg(test)]
mod tests {
    use super::super::{
        FeedError, Format,
        testing::{collect, options, try_collect},
    };

    fn hex(at: usize) -> String {
        format!("{:064x}", at + 0xabcdef)
    }

    fn refused(text: &str) -> bool {
        match try_collect(text.as_bytes(), "x", None, &options()) {
            Err(FeedError::Refused(refusal)) => refusal.why.contains("somebody's own files"),
            Ok(_) => false,
            Err(e) => panic!("{e}"),
        }
    }

    #[test]
    fn checksum_files_are_no_feeds() {
        let gnu = format!("{}  ls\n{}  usr/bin/cat\n{} *bin/sh\n", hex(1), hex(2), hex(3));
        assert!(refused(&gnu));
        assert!(refused(&format!("{} *setup.exe\n", hex(1))));
        assert!(refused(&format!("SHA256 (ls) = {}\nSHA256 (a b) = {}\n", hex(1), hex(2))));
        assert!(refused(&format!("path,sha256,size\nbin/ls,{},12\nbin/cat,{},13\n", hex(1), hex(2))));
        assert!(refused(&format!("file\tbytes\tsha256\nls.txt\t12\t{}\ncat.txt\t13\t{}\n", hex(1), hex(2))));
        let (entries, _) = collect(gnu.as_bytes(), "x", Some(Format::IocList));
        assert_eq!(entries.len(), 3);
    }

    #[test]
    fn lists_of_indicators_are_no_checksum_files() {
        let families = format!("{}  Emotet\n{}  Emotet\n{}  Qakbot\n", hex(1), hex(2), hex(3));
        assert!(!refused(&families));
        assert!(!refused(&format!("SPREADSHEETS OF THE CAMPAIGN:\n\n{}  a.xls\n{}  b.xls\n", hex(1), hex(2))));
        assert!(!refused(&format!("{} a\n{} b\n", hex(1), hex(2))));
        assert!(!refused(&format!("{};ls\n{};cat\n", hex(1), hex(2))));
        assert!(!refused(&format!("{}  - a.exe\n{}  - b.exe\n", hex(1), hex(2))));
        assert!(!refused(&format!("filename,sha256,malware\na.exe,{},X\nb.exe,{},Y\n", hex(1), hex(2))));
        assert!(!refused(&format!("sha256,name\n{},X\n{},Y\n", hex(1), hex(2))));
    }
}
