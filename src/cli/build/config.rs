//! The file that describes feeds, for `--config`.
//!
//! ```toml
//! [[feed]]
//! path = "lists/*.csv"
//! format = "csv"
//! columns = ["time", "hash", "name", "-"]
//! ```

use std::{
    fmt::Display,
    fs,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result, anyhow, bail};
use glob::{MatchOptions, Pattern};
use ksn::{
    compile::{FeedFile, FeedFiles},
    feed::{CsvColumn, Expiry, Format},
    limits::SOURCE_BYTES_MAX,
    record::RecordType,
    timestamp::Timestamp,
};
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

use super::{
    inputs::{Input, Settings},
    seconds,
};

/// The feeds and guard lists of a file.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) feeds: Vec<Input>,
    pub(super) guards: Vec<FeedFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    feed: Vec<Spanned<Entry>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    path: String,
    source: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    format: Option<Format>,
    #[serde(default, deserialize_with = "columns")]
    columns: Option<Vec<CsvColumn>>,
    #[serde(default, rename = "type", deserialize_with = "parsed")]
    record_type: Option<RecordType>,
    trust: Option<Trust>,
    confidence: Option<u8>,
    #[serde(default, deserialize_with = "expiry")]
    expiry: Option<Expiry>,
    min_records: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Trust {
    /// The feed lists what is known to be good.
    Trusted,
    /// The feed is a guard list.
    Guard,
}

impl Config {
    /// Reads a file and finds the files that it describes. Files that `files` has returned before are left out.
    ///
    /// Fails with the line when the file is invalid, and when a path does not exist or a pattern matches nothing.
    pub(super) fn read(path: &Path, files: &mut FeedFiles) -> Result<Self> {
        let name = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let document: Document = toml::from_str(text).map_err(|e| anyhow!("{name}: {}", e.to_string().trim_end()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut config = Self::default();
        // Guards first: a guard list in a folder of feeds is no feed.
        let (guards, feeds): (Vec<_>, Vec<_>) =
            document.feed.into_iter().partition(|entry| entry.get_ref().trust == Some(Trust::Guard));
        for entry in guards.into_iter().chain(feeds) {
            let line = text[..entry.span().start].matches('\n').count() + 1;
            let entry = entry.into_inner();
            let about = || format!("{name}, line {line}");
            entry.check().with_context(about)?;
            let found = find(folder, &entry.path, files).with_context(about)?;
            match entry.trust {
                Some(Trust::Guard) => config.guards.extend(found),
                _ => config.feeds.push(entry.into_input(found)),
            }
        }
        Ok(config)
    }
}

impl Entry {
    fn check(&self) -> Result<()> {
        if let Some(source) = &self.source
            && !(1..=SOURCE_BYTES_MAX).contains(&source.len())
        {
            bail!("expected a source name of 1 to {SOURCE_BYTES_MAX} bytes, found {} bytes", source.len());
        }
        if let Some(percent) = self.confidence.filter(|&percent| percent > 100) {
            bail!("expected a confidence of 0 to 100 percent, found {percent}");
        }
        if self.columns.is_some() && self.format.is_some_and(|format| format != Format::Csv) {
            bail!("`columns` requires the format {}", Format::Csv);
        }
        if self.record_type == Some(RecordType::Trusted) {
            bail!("use `trust = \"trusted\"` instead of the type");
        }
        let is_described = self.source.is_some()
            || self.format.is_some()
            || self.columns.is_some()
            || self.record_type.is_some()
            || self.confidence.is_some()
            || self.expiry.is_some()
            || self.min_records.is_some();
        match self.trust {
            Some(Trust::Guard) if is_described => bail!("a guard list has only a `path`: guards make no records"),
            Some(Trust::Trusted) if self.record_type.is_some() => bail!("a trusted feed has no other `type`"),
            _ => Ok(()),
        }
    }

    fn into_input(self, files: Vec<FeedFile>) -> Input {
        let settings = Settings {
            source: self.source,
            format: self.format,
            columns: self.columns,
            record_type: self.record_type,
            trusted: self.trust == Some(Trust::Trusted),
            confidence: self.confidence,
            expiry: self.expiry,
            min_records: self.min_records,
        };
        Input { name: self.path, files: Some(files), settings }
    }
}

/// Returns the files of a path or pattern relative to `folder`.
fn find(folder: &Path, path: &str, files: &mut FeedFiles) -> Result<Vec<FeedFile>> {
    let joined = folder.join(path);
    // The name of a file may look like a pattern.
    if !path.contains(['*', '?', '[']) || joined.exists() {
        return Ok(files.add(&joined, None)?);
    }
    let escaped = match folder.to_str() {
        _ if Path::new(path).is_absolute() || folder == Path::new("") => path.to_owned(),
        Some(folder) => format!("{}/{path}", Pattern::escape(folder)),
        None => bail!("the path of the folder {} is not UTF-8: patterns cannot be used in it", folder.display()),
    };
    let options =
        MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let matches = glob::glob_with(&escaped, options).with_context(|| format!("the pattern {path:?} is invalid"))?;
    // What cannot be read is not known to match.
    let mut matches: Vec<PathBuf> = matches.filter_map(Result::ok).map(|path| plain_path(&path)).collect();
    matches.sort();
    if matches.is_empty() {
        bail!(
            "no file matches {path:?} in {}",
            if folder == Path::new("") { Path::new(".") } else { folder }.display()
        );
    }
    let literal = literal_folder(folder, path);
    let mut found = Vec::new();
    for path in matches {
        found.extend(files.add(&path, Some(&literal))?);
    }
    Ok(found)
}

/// Returns the folder of a pattern up to its first component with a wildcard: lists are named relative to it.
fn literal_folder(folder: &Path, pattern: &str) -> PathBuf {
    let pattern = Path::new(pattern);
    let is_literal = |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let parent: PathBuf = pattern.components().take_while(is_literal).collect();
    plain_path(&folder.join(parent))
}

/// Returns a path without `.` components.
fn plain_path(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

fn parsed<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
}

fn columns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<CsvColumn>>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let columns: Result<Vec<_>, _> = names.iter().map(|name| name.parse()).collect();
    columns.map(Some).map_err(D::Error::custom)
}

fn expiry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Expiry>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Some(Expiry::At(time)));
    }
    let age = seconds(&text).map_err(|_| {
        D::Error::custom(format!("expected an age such as `30d` (s, m, h, d, w) or a time, found {text:?}"))
    })?;
    Ok(Some(Expiry::After(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(folder: &Path, text: &str) -> Result<Config> {
        let path = folder.join("feeds.toml");
        fs::write(&path, text).unwrap();
        Config::read(&path, &mut FeedFiles::default())
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("lists/[deep]")).unwrap();
        for name in ["lists/a.csv", "lists/b.csv", "lists/[deep]/c.csv", "lists/.hidden.csv", "good.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn entries_find_their_files_relative_to_the_config() {
        let folder = folder();
        let config = read(
            folder.path(),
            r#"
                [[feed]]
                path = "lists/a.csv"
                source = "one"
                columns = ["time", "hash", "-"]
                type = "phishing"
                confidence = 70
                expiry = "30d"
                min-records = 5
                [[feed]]
                path = "lists/**/*.csv"
                expiry = "2026-12-31"
                trust = "trusted"
                [[feed]]
                path = "./lists/[[]deep]/*"
                [[feed]]
                path = "good.txt"
                trust = "guard"
            "#,
        )
        .unwrap();
        let lists = |input: &Input| -> Vec<_> {
            let files = input.files.as_ref().unwrap().iter();
            files.map(|file| (file.list.clone().unwrap_or_default(), file.is_named)).collect()
        };
        let [one, all, deep] = &config.feeds[..] else { panic!("{config:?}") };
        assert_eq!(lists(one), [("a".to_owned(), true)]);
        let settings = &one.settings;
        assert_eq!((settings.source.as_deref(), settings.record_type), (Some("one"), Some(RecordType::Phishing)));
        assert_eq!(settings.columns, Some(vec![CsvColumn::Time, CsvColumn::Hash, CsvColumn::Ignored]));
        assert_eq!((settings.confidence, settings.expiry), (Some(70), Some(Expiry::After(30 * 86_400))));
        assert_eq!((settings.min_records, settings.trusted), (Some(5), false));
        // The first entry that finds a file describes it.
        assert_eq!(lists(all), [("-deep-/c".to_owned(), false), ("b".to_owned(), false)]);
        assert!(all.settings.trusted && matches!(all.settings.expiry, Some(Expiry::At(_))));
        assert_eq!(lists(deep), []);
        assert_eq!(config.guards.iter().map(|file| file.list.as_deref()).collect::<Vec<_>>(), [Some("good")]);
    }

    #[test]
    fn errors_name_the_line() {
        let folder = folder();
        for (text, line, part) in [
            ("[[feed]]\npath = \"good.txt\"\n\nsurce = \"x\"", 4, "unknown field `surce`"),
            ("\n[[feeds]]\npath = \"good.txt\"", 2, "unknown field `feeds`"),
            ("[[feed]]\nsource = \"x\"", 1, "missing field `path`"),
            ("[[feed]]\npath = \"good.txt\"\nformat = \"nope\"", 3, "expected one of malwarebazaar"),
            ("[[feed]]\npath = \"good.txt\"\ncolumns = [\"hash\", \"nope\"]", 3, "found \"nope\""),
            ("[[feed]]\npath = \"good.txt\"\ntype = \"nope\"", 3, "nope"),
            ("[[feed]]\npath = \"good.txt\"\ntrust = \"nope\"", 3, "`trusted`"),
            ("[[feed]]\npath = \"good.txt\"\nexpiry = \"soon\"", 3, "expected an age"),
            ("[[feed]]\npath = \"good.txt\"\nconfidence = 300", 3, "300"),
            ("[[feed]]\npath = \"good.txt\"\nconfidence = 101", 1, "101"),
            ("\n\n[[feed]]\npath = \"good.txt\"\nsource = \"\"", 3, "1 to 64 bytes"),
            ("\n[[feed]]\npath = \"absent.txt\"", 2, "absent.txt"),
            ("\n[[feed]]\npath = \"*.absent\"", 2, "no file matches"),
            ("\n[[feed]]\npath = \"***\"", 2, "pattern"),
            ("\n[[feed]]\npath = \"good.txt\"\ntype = \"trusted\"", 2, "trust = \"trusted\""),
            ("\n[[feed]]\npath = \"good.txt\"\ntrust = \"guard\"\nsource = \"x\"", 2, "only a `path`"),
            ("\n[[feed]]\npath = \"good.txt\"\ntrust = \"trusted\"\ntype = \"abuse\"", 2, "no other `type`"),
            ("\n[[feed]]\npath = \"good.txt\"\ncolumns = [\"hash\"]\nformat = \"sslbl\"", 2, "requires the format csv"),
            ("[[feed]\n", 1, ""),
        ] {
            let error = format!("{:#}", read(folder.path(), text).unwrap_err());
            assert!(error.contains("feeds.toml") && error.contains(part), "{text}: {error}");
            assert!(error.contains(&format!("line {line}")), "{text}: {error}");
        }
    }
}
