//! Which format a file has, by its content.

use super::{
    FeedError,
    format::{Format, LANGUAGES, PROSE, REFUSERS, Refuser},
};

/// How much of a file is looked at.
pub(super) const SAMPLE_BYTES: usize = 64 << 10;

/// The beginning of a file.
#[derive(Clone, Debug)]
pub(crate) struct Sample<'a> {
    /// Up to 64 KiB, unpacked, as they are.
    pub(crate) head: &'a [u8],
    /// The same as text (UTF-8, or else Latin-1), without byte order mark. It may end within a line.
    pub(crate) text: &'a str,
    /// The whole lines of the text, without their ends. None when the first line is longer than the sample.
    pub(crate) lines: Vec<&'a str>,
    /// The file's name in lower case, without folders and without `.gz`, `.zst` and `.zip`: it may only decide between
    /// formats whose content is identical.
    pub(crate) name: &'a str,
}

/// How much a sample looks like a format. The highest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Confidence {
    /// A generic list.
    Fallback,
    /// The rows have its shape.
    Likely,
    /// A header or signature that only this format has.
    Certain,
}

/// What a file is that cannot become records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it is, with its article: `an RPZ zone`.
    pub what: &'static str,
    /// Why it gives no records.
    pub why: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

impl<'a> Sample<'a> {
    /// From the first bytes, their text, and whether that is the whole file.
    pub(super) fn new(head: &'a [u8], text: &'a str, whole: bool, name: &'a str) -> Self {
        let complete = if whole { text } else { text.rfind('\n').map_or("", |at| &text[..=at]) };
        Self { head, text, lines: complete.lines().collect(), name }
    }

    /// The lines that are neither blank nor comments (`#`, `;`), trimmed.
    pub(crate) fn data_lines(&self) -> impl Iterator<Item = &'a str> {
        let lines = self.lines.iter().map(|line| line.trim());
        lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
    }

    /// The text of the comment lines, without the marks and trimmed.
    pub(crate) fn comments(&self) -> impl Iterator<Item = &'a str> {
        let lines = self.lines.iter().map(|line| line.trim()).filter(|line| line.starts_with(['#', ';']));
        lines.map(|line| line.trim_matches(['#', ';']).trim())
    }

    /// Which share of the data lines is so, from 0 to 1; 0 when there are none.
    pub(crate) fn share(&self, mut predicate: impl FnMut(&str) -> bool) -> f64 {
        let (mut all, mut such) = (0u32, 0u32);
        for line in self.data_lines() {
            all += 1;
            such += u32::from(predicate(line));
        }
        f64::from(such) / f64::from(all.max(1))
    }

    /// Whether the name ends in one of these (in lower case, with their dots).
    pub(crate) fn named(&self, endings: &[&str]) -> bool {
        endings.iter().any(|ending| self.name.ends_with(ending))
    }
}

/// Whether the text is hexadecimal of that many digits.
pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether the text has the shape of an MD5, SHA-1 or SHA-256.
pub(crate) fn is_object_hash(text: &str) -> bool {
    [32, 40, 64].iter().any(|&digits| is_hex(text, digits))
}

/// The format of a sample.
///
/// Who knows more is asked first: what only its first bytes or a neighbouring format give away, then the readers, and
/// only when none of them is certain what looks like another tool's language. Whether a text is prose is asked last,
/// when no more than a generic list is left: a list that a reader knows is never refused for how it reads.
pub(super) fn format(sample: &Sample<'_>) -> Result<Format, FeedError> {
    refuse(REFUSERS, sample)?;
    let found = Format::ALL.iter().filter_map(|&format| Some(((format.reader().detect)(sample)?, format)));
    let found: Vec<_> = found.collect();
    let best = found.iter().map(|(confidence, _)| *confidence).max();
    if best < Some(Confidence::Certain) {
        refuse(LANGUAGES, sample)?;
    }
    if best < Some(Confidence::Likely) {
        refuse(PROSE, sample)?;
    }
    let Some(best) = best else { return Err(FeedError::UnknownFormat { looks: looks(sample) }) };
    let candidates: Vec<_> =
        found.iter().filter(|(confidence, _)| *confidence == best).map(|(_, format)| *format).collect();
    match candidates[..] {
        [format] => Ok(format),
        _ => Err(FeedError::Ambiguous { candidates }),
    }
}

fn refuse(refusers: &[Refuser], sample: &Sample<'_>) -> Result<(), FeedError> {
    match refusers.iter().find_map(|refuse| refuse(sample)) {
        Some(refusal) => Err(FeedError::Refused(refusal)),
        None => Ok(()),
    }
}

/// What an unrecognised file looks like, in words that follow "it looks like".
fn looks(sample: &Sample<'_>) -> String {
    if sample.head.is_empty() {
        return "an empty file".into();
    }
    if sample.head.contains(&0) {
        return "binary data".into();
    }
    match sample.data_lines().next() {
        Some(line) => format!("text, of which the first line is {:?}", line.chars().take(80).collect::<String>()),
        None if sample.lines.is_empty() => "text with a first line of over 64 KiB".into(),
        None => "nothing but comments and blank lines".into(),
    }
}
