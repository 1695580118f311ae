//! The beginning of a file, from which its format is detected.

/// Bytes of a file that detection reads.
pub(super) const SAMPLE_BYTES: usize = 64 << 10;

/// The beginning of a file.
#[derive(Clone, Debug)]
pub(crate) struct Sample<'a> {
    /// Up to 64 KiB, unpacked, as they are.
    pub(crate) head: &'a [u8],
    /// The same as text (UTF-8, or else Latin-1), without byte order mark. It may end within a line.
    pub(crate) text: &'a str,
    /// The whole lines of the text. Empty when the first line is longer than the sample.
    pub(crate) complete: &'a str,
    /// The whole lines of the text, without their ends. None when the first line is longer than the sample.
    pub(crate) lines: Vec<&'a str>,
    /// The file's name in lower case, without folders and without `.gz`, `.zst` and `.zip`: it may only decide between
    /// formats whose content is identical.
    pub(crate) name: &'a str,
    /// Whether the options declare every entry known good; like the name, it may only decide between formats whose
    /// content is identical.
    pub(crate) trusted: bool,
}

/// How well a sample matches a format; the highest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Confidence {
    /// A generic list.
    Fallback,
    /// A generic table whose columns show what they hold.
    Generic,
    /// The rows have its shape.
    Likely,
    /// A header that only this format has, over rows that contradict it: reading fails with the reason.
    Contradicted,
    /// A header or signature that only this format has.
    Certain,
}

impl<'a> Sample<'a> {
    /// Makes a sample from the first bytes, their text, whether they are the whole file, and the file's name.
    pub(super) fn new(head: &'a [u8], text: &'a str, whole: bool, name: &'a str) -> Self {
        let complete = if whole { text } else { text.rfind('\n').map_or("", |at| &text[..=at]) };
        Self { head, text, complete, lines: complete.lines().collect(), name, trusted: false }
    }

    /// Returns the lines that are neither blank nor comments (`#`, `;`), trimmed.
    pub(crate) fn data_lines(&self) -> impl Iterator<Item = &'a str> {
        let lines = self.lines.iter().map(|line| line.trim());
        lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
    }

    /// Returns the text of the comment lines, without the marks and trimmed.
    pub(crate) fn comments(&self) -> impl Iterator<Item = &'a str> {
        let lines = self.lines.iter().map(|line| line.trim()).filter(|line| line.starts_with(['#', ';']));
        lines.map(|line| line.trim_matches(['#', ';']).trim())
    }

    /// Returns the share of the data lines for which the predicate holds, from 0 to 1; 0 if there are none.
    pub(crate) fn share(&self, mut predicate: impl FnMut(&str) -> bool) -> f64 {
        let (mut all, mut matching) = (0u32, 0u32);
        for line in self.data_lines() {
            all += 1;
            matching += u32::from(predicate(line));
        }
        f64::from(matching) / f64::from(all.max(1))
    }

    /// Returns whether the name ends in one of these (in lower case, with their dots).
    pub(crate) fn named(&self, endings: &[&str]) -> bool {
        endings.iter().any(|ending| self.name.ends_with(ending))
    }
}

/// Returns whether the text is hexadecimal of that many digits.
pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Returns whether the text has the shape of an MD5, SHA-1 or SHA-256.
pub(crate) fn is_object_hash(text: &str) -> bool {
    [32, 40, 64].iter().any(|&digits| is_hex(text, digits))
}
