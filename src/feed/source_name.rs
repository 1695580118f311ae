//! The names of sources: which list a record is from.
//!
//! | feed | source |
//! | --- | --- |
//! | given a name by the options | that name |
//! | MISP event, STIX indicator | the publisher that it names (`Orgc`, the identity that created it) |
//! | the format of one publisher | the name of the format: `urlhaus` |
//! | any other list | its [`list_name`] |
//! | any other, without a name (standard input) | the name of the format |
//!
//! Names that are not given by the options consist of `A-Za-z0-9._/-`: every other byte becomes `-`. Of a name longer
//! than [`SOURCE_BYTES_MAX`] bytes the front is cut, since the end of a path says most.

use std::{
    ffi::OsStr,
    fs,
    path::{Component, Path},
};

use super::{format::Format, options::Options};
use crate::limits::SOURCE_BYTES_MAX;

/// Returns the source of the records of a feed, unless its rows name their publisher.
pub(super) fn default_source(options: &Options, format: Format) -> &str {
    let list = || options.list.as_deref().filter(|list| !is_publishers_own(format, list));
    options.source.as_deref().or_else(list).unwrap_or(format.name())
}

/// Returns a publisher's name as the name of a source; `None` if no letter or digit remains.
pub(super) fn publisher_name(publisher: &str) -> Option<String> {
    Some(publisher.trim().as_bytes()).filter(|name| is_name(name)).map(to_source)
}

/// Returns whether the records of a list are named by its format, because only one publisher uses it.
fn is_publishers_own(format: Format, list: &str) -> bool {
    match format {
        Format::MalwareBazaar
        | Format::ThreatFoxCsv
        | Format::ThreatFoxJson
        | Format::Urlhaus
        | Format::PhishTank
        | Format::Feodo
        | Format::Sslbl
        | Format::SslblIp
        | Format::Cscb
        | Format::TweetFeed
        | Format::Nsrl
        | Format::SpamhausJson => true,
        // ClamAV's own databases have these names; all others are written by third parties.
        Format::ClamAv | Format::ClamAvTrusted | Format::ClamAvCrb | Format::ClamAvGdb => {
            matches!(list.rsplit('/').next(), Some("main" | "daily" | "bytecode"))
        }
        Format::Csv
        | Format::Yaml
        | Format::MispEvent
        | Format::MispWarninglist
        | Format::Stix
        | Format::IocList
        | Format::Ipv4List
        | Format::Ip4Set
        | Format::Hosts
        | Format::Domains
        | Format::Adblock => false,
    }
}

/// Returns the name of the list in a file: the stem of its name, or its path below `folder` if it was found there.
///
/// Endings of lists and of compression (`.txt`, `.csv`, `.gz`) and a date at the end (`-2026-11-22`) are cut. A file name
/// that names nothing (a UUID, a date) gives way to the name of its folder. Returns `None` if that names nothing either.
///
/// ```
/// use std::path::Path;
///
/// use ksn::feed::list_name;
///
/// assert_eq!(list_name(Path::new("/feeds/bad hosts-2026-11-22.txt.gz"), None).as_deref(), Some("bad-hosts"));
/// let found = list_name(Path::new("/feeds/mumblehard/samples.csv"), Some(Path::new("/feeds")));
/// assert_eq!(found.as_deref(), Some("mumblehard/samples"));
/// ```
pub fn list_name(path: &Path, folder: Option<&Path>) -> Option<String> {
    let below = folder.and_then(|folder| path.strip_prefix(folder).ok()).or(path.file_name().map(Path::new))?;
    let mut parts: Vec<&[u8]> = below.components().filter_map(normal).map(OsStr::as_encoded_bytes).collect();
    let stem = stem(parts.pop()?);
    if names_something(stem) {
        parts.push(stem);
    } else if !parts.last().is_some_and(|folder| is_name(folder)) {
        let enclosing = path.parent().map(|folder| if folder == Path::new("") { Path::new(".") } else { folder })?;
        // The name of `.` or `..` is only known to the file system.
        let enclosing = fs::canonicalize(enclosing).unwrap_or_else(|_| enclosing.into());
        let name = enclosing.file_name()?.as_encoded_bytes();
        return names_something(name).then(|| to_source(name));
    }
    Some(to_source(&parts.join(&b'/')))
}

fn normal(component: Component<'_>) -> Option<&OsStr> {
    match component {
        Component::Normal(name) => Some(name),
        _ => None,
    }
}

fn to_source(name: &[u8]) -> String {
    let start = name.len().saturating_sub(SOURCE_BYTES_MAX);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._/-".contains(&b);
    let name: String = name[start..].iter().map(|&b| if is_plain(b) { char::from(b) } else { '-' }).collect();
    name.trim_start_matches('/').into()
}

/// Returns whether a name has a letter or a digit that a source name keeps.
fn is_name(name: &[u8]) -> bool {
    name.iter().any(u8::is_ascii_alphanumeric)
}

/// Returns whether a stem says which list it is: a UUID, such as that of an event or a bundle, and a date do not.
fn names_something(stem: &[u8]) -> bool {
    // STIX puts the type of an object before the UUID: `bundle--` and the UUID.
    let id = stem.windows(2).rposition(|pair| pair == b"--").map_or(stem, |at| &stem[at + 2..]);
    let is_id = std::str::from_utf8(id)
        .is_ok_and(|id| is_uuid(id) || id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    is_name(stem) && !is_id && date_start(stem) != Some(0)
}

/// Returns whether the text is a hyphenated UUID.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// File name endings of lists and of compression, which say nothing about which list it is.
const ENDINGS: [&str; 34] = [
    "adblock",
    "blocklist",
    "cidr",
    "conf",
    "crb",
    "csv",
    "dat",
    "data",
    "dom",
    "fp",
    "gdb",
    "gz",
    "hdb",
    "hdu",
    "hosts",
    "hsb",
    "hsu",
    "ioc",
    "iocs",
    "ipset",
    "json",
    "jsonl",
    "list",
    "log",
    "lst",
    "ndjson",
    "netset",
    "rbl",
    "sfp",
    "stix",
    "tsv",
    "txt",
    "zip",
    "zst",
];

/// Cuts endings and a date from a file name, as long as something remains.
fn stem(mut name: &[u8]) -> &[u8] {
    loop {
        name = match ending_start(name).or_else(|| dated_start(name)) {
            None | Some(0) => return name,
            Some(end) => &name[..end],
        };
    }
}

/// Returns the start of a known ending with its dot.
fn ending_start(name: &[u8]) -> Option<usize> {
    let dot = name.iter().rposition(|&b| b == b'.')?;
    ENDINGS.iter().any(|ending| name[dot + 1..].eq_ignore_ascii_case(ending.as_bytes())).then_some(dot)
}

/// Returns the start of a date at the end of a name, with the separator before it.
fn dated_start(name: &[u8]) -> Option<usize> {
    let before = date_start(name)?.checked_sub(1)?;
    b"-_.".contains(&name[before]).then_some(before)
}

/// Returns the start of a date at the end of a name: `20261122`, or with a separator `2026-11-22`.
fn date_start(name: &[u8]) -> Option<usize> {
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    let two = |text: &[u8]| (text[0] - b'0') * 10 + (text[1] - b'0');
    let is_date = |year: &[u8], month: &[u8], day: &[u8]| {
        digits(year)
            && digits(month)
            && digits(day)
            && matches!(two(year), 19 | 20)
            && (1..=12).contains(&two(month))
            && (1..=31).contains(&two(day))
    };
    if let Some(start) = name.len().checked_sub(8)
        && let [y1, y2, y3, y4, month @ .., d1, d2] = &name[start..]
        && is_date(&[*y1, *y2, *y3, *y4], month, &[*d1, *d2])
    {
        return Some(start);
    }
    let start = name.len().checked_sub(10)?;
    let date = &name[start..];
    let is_separated = b"-_.".contains(&date[4]) && date[4] == date[7];
    (is_separated && is_date(&date[..4], &date[5..7], &date[8..])).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::testing::options;

    fn named(path: &str) -> Option<String> {
        list_name(Path::new(path), None)
    }

    #[test]
    fn a_named_list_is_called_by_its_stem() {
        for (path, expected) in [
            ("/feeds/deep/list.txt", "list"),
            ("bad.CSV", "bad"),
            ("bad.csv.gz", "bad"),
            ("bad-2026-11-22.txt", "bad"),
            ("bad_20261122.hsb.zst", "bad"),
            ("bad.2026.11.22.list", "bad"),
            ("bad.txt-20261122", "bad"),
            ("firehol_level1.netset", "firehol_level1"),
            ("v1.2", "v1.2"),
            ("bad-2026-13-22.txt", "bad-2026-13-22"),
            ("bad-12345678.txt", "bad-12345678"),
            (".txt", ".txt"),
            ("two words (copy).txt", "two-words--copy-"),
            ("b\u{f6}se.txt", "b--se"),
        ] {
            assert_eq!(named(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_list_in_a_folder_is_called_by_its_path_below_it() {
        let found = |path: &str, folder: &str| list_name(Path::new(path), Some(Path::new(folder)));
        assert_eq!(found("feeds/mumblehard/samples.md5.txt", "feeds/").as_deref(), Some("mumblehard/samples.md5"));
        assert_eq!(found("./feeds/top.csv", "./feeds").as_deref(), Some("top"));
        assert_eq!(found("f/osint/00000000-89ab-cdef-0123-456789abcdef.json", "f").as_deref(), Some("osint"));
        assert_eq!(found("f/2026-11-22/2026-11-22.txt", "f").as_deref(), Some("2026-11-22"));
        let long = format!("f/{}/samples.txt", "deep/".repeat(40));
        let name = found(&long, "f").unwrap();
        assert!(name.len() == SOURCE_BYTES_MAX && name.ends_with("p/deep/deep/samples"), "{name}");
    }

    #[test]
    fn a_name_that_names_nothing_gives_way_to_the_folder() {
        for name in [
            "01234567-89ab-cdef-0123-456789abcdef.json",
            "bundle--01234567-89ab-cdef-0123-456789abcdef.json",
            "0123456789abcdef0123456789abcdef.json.gz",
            "2026-11-22.csv",
            "20261122.csv",
            "\u{431}\u{43b}.txt",
        ] {
            assert_eq!(named(&format!("/x/botnet hosts/{name}")).as_deref(), Some("botnet-hosts"), "{name}");
            assert_eq!(named(&format!("/{name}")), None, "{name}");
        }
        let here = fs::canonicalize(".").unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(named("20261122.csv"), Some(here));
    }

    #[test]
    fn only_formats_of_one_publisher_name_themselves() {
        let mut options = options();
        options.list = Some("my-list".into());
        assert_eq!(default_source(&options, Format::Urlhaus), "urlhaus");
        assert_eq!(default_source(&options, Format::Domains), "my-list");
        assert_eq!(default_source(&options, Format::ClamAv), "my-list");
        options.list = Some("clamav/daily".into());
        assert_eq!(default_source(&options, Format::ClamAv), "clamav");
        options.list = None;
        assert_eq!(default_source(&options, Format::Domains), "domains");
        options.source = Some("given".into());
        assert_eq!(default_source(&options, Format::Urlhaus), "given");
    }

    #[test]
    fn publishers_become_source_names() {
        assert_eq!(publisher_name(" Example, Ltd. ").as_deref(), Some("Example--Ltd."));
        assert_eq!(publisher_name("\u{431}\u{43b}"), None);
        assert_eq!(publisher_name(&"x".repeat(100)).map(|name| name.len()), Some(SOURCE_BYTES_MAX));
    }
}
