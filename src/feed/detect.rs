//! Detects the format of a file by its content.

use super::{
    error::FeedError,
    format::Format,
    readers::{self, LANGUAGES, PROSE, REFUSERS, Refuse},
    sample::{Confidence, Sample},
};

/// Returns the format of a sample.
///
/// The checks run from the most to the least specific: marks in the first bytes, then all formats, then (if no format is
/// certain) the languages of other tools. Whether a text is prose is checked last, when only the generic list is left: a
/// list that a format matches is never refused for how it reads.
pub(super) fn format(sample: &Sample<'_>) -> Result<Format, FeedError> {
    refuse(REFUSERS, sample)?;
    let found = Format::ALL.iter().filter_map(|&format| Some((readers::reader(format).0(sample)?, format)));
    let found: Vec<_> = found.collect();
    let best = found.iter().map(|(confidence, _)| *confidence).max();
    if best < Some(Confidence::Certain) {
        refuse(LANGUAGES, sample)?;
    }
    if best < Some(Confidence::Generic) {
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

fn refuse(refusers: &[Refuse], sample: &Sample<'_>) -> Result<(), FeedError> {
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
