//! The grammar of one row of a generic list.
//!
//! ```text
//! row     = [bullet] { date | number | kind } key [separator rest] [" #" comment]
//!         | name ":" hash
//! kind    = "SHA256", "MD5 hash:", "Domain", "IP", …
//! ```
//!
//! A row is read from the left, and only its first indicator is one: what follows is a description, in which other
//! digests and addresses may stand (where the sample called home to, what the article is called). What stands before
//! the key may only be a date, a number or the name of the key's kind; a sentence that mentions an address is none.

use super::super::{
    token::{Shape, shape, unwrapped},
    words::{foreign_digest, foreign_digest_in, is_host_kind, is_kind, says_benign},
};

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::feed) enum Row<'a> {
    /// Nothing: blank, a rule of dashes, a code fence, empty cells.
    Blank,
    /// A comment, without its mark.
    Comment(&'a str),
    /// An indicator.
    Entry(Entry<'a>),
    /// Of a kind that no record can exist for.
    Unsupported(&'static str),
    /// The list says itself that the thing is good.
    Benign,
    /// It looks like an indicator and cannot be read.
    Broken(&'static str),
    /// A file's name, as far as can be told.
    File,
    /// Hexadecimal of a length that no object hash has.
    Hex(usize),
    /// A heading, a sentence, anything else.
    Prose,
}

/// A row's indicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::feed) struct Entry<'a> {
    /// The indicator as written, without what surrounds it.
    pub(in crate::feed) token: &'a str,
    /// What it looks like: always one for which [`Shape::is_indicator`] holds.
    pub(in crate::feed) shape: Shape,
    /// What the row calls it; often empty.
    pub(in crate::feed) name: &'a str,
    /// A date that stands before or right behind it, unparsed.
    pub(in crate::feed) time: Option<&'a str>,
}

/// Reads a row. `foreign` is what the digests of the section are, if its heading says that they are none of files.
pub(in crate::feed) fn parse<'a>(line: &'a str, foreign: Option<&'static str>) -> Row<'a> {
    let text = line.trim_matches(is_margin);
    // The common row of a long list, without any of what follows.
    if matches!(text.len(), 32 | 40 | 64) && foreign.is_none() && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Row::Entry(Entry { token: text, shape: Shape::Hash, name: "", time: None });
    }
    if let Some(comment) = comment(text) {
        return Row::Comment(comment);
    }
    if !text.contains(|c: char| c.is_alphanumeric()) || text.starts_with("```") {
        return Row::Blank;
    }
    let text = without_bullet(text);
    let (text, remark) = split_remark(text);
    from_left(text, remark, foreign)
}

/// Whether a line is a comment; what it says.
pub(in crate::feed) fn comment(text: &str) -> Option<&str> {
    ["#", "//", ";", "!", "<!--"]
        .iter()
        .find_map(|mark| text.strip_prefix(mark))
        .map(|rest| rest.trim_matches(is_margin))
}

fn from_left<'a>(text: &'a str, remark: &'a str, section: Option<&'static str>) -> Row<'a> {
    let mut rest = text;
    let mut foreign = section;
    let mut time = None;
    let mut hosts = false;
    for _ in 0..LEADING_MAX {
        let (token, separator, behind) = next_token(rest);
        if token.is_empty() {
            break;
        }
        let found = match shape(token) {
            Shape::FileOrName if hosts => Shape::Name,
            found => found,
        };
        // A port alone behind a name would be `type: value` written without a space: `domain:evil.example`.
        if found.is_indicator() {
            return entry(text, token, found, separator, behind, remark, foreign, time);
        }
        if let Some(row) = labelled(token, separator, behind, remark, foreign) {
            return row;
        }
        if matches!(token, "GET" | "POST" | "PUT" | "HEAD") && behind.trim_start().starts_with('/') {
            return Row::Unsupported("a path without a host");
        }
        if let Some(what) = foreign_digest(token) {
            foreign = Some(what);
        } else if is_date(token) {
            time = time.or(Some(date_and_time(rest, token)));
        } else if found == Shape::Other && time.is_some() && behind.trim_start().starts_with("-- ") {
            // `date -- file name -- address`: a row of columns, not a sentence.
        } else if !is_kind(token) && !is_number(token) {
            return match found {
                Shape::Unsupported(what) => Row::Unsupported(what),
                Shape::Broken(why) => Row::Broken(why),
                Shape::Hex(digits) if is_whole(behind) => Row::Hex(digits),
                _ => titled(text, foreign),
            };
        }
        hosts |= is_host_kind(token);
        rest = behind;
    }
    if foreign.is_none() && text.split(is_cell_end).map(unwrapped).all(|word| word.is_empty() || is_kind(word)) {
        return Row::Comment(text);
    }
    titled(text, foreign)
}

/// The key is found: what is the rest?
#[allow(clippy::too_many_arguments)] // One row taken apart; a struct for the one call would only rename them.
fn entry<'a>(
    text: &'a str,
    token: &'a str,
    shape: Shape,
    separator: char,
    behind: &'a str,
    remark: &'a str,
    foreign: Option<&'static str>,
    time: Option<&'a str>,
) -> Row<'a> {
    let description = behind.trim_matches(is_margin);
    if shape == Shape::Hash {
        if let Some(what) = foreign.or_else(|| trailing_label(description)) {
            return Row::Unsupported(what);
        }
    } else if !is_separated(separator, description) {
        return Row::Prose;
    }
    if says_benign(&text[..token_start(text, token)]) || (separator != ';' && says_benign(description)) {
        return Row::Benign;
    }
    let (name, behind_time) = name_of(shape, separator, description);
    let name = if name.is_empty() { remark } else { name };
    Row::Entry(Entry { token, shape, name, time: time.or(behind_time) })
}

/// `name:hash` and `kind:value` in one token.
fn labelled<'a>(
    token: &'a str,
    separator: char,
    behind: &'a str,
    remark: &'a str,
    foreign: Option<&'static str>,
) -> Option<Row<'a>> {
    let (label, value) = token.rsplit_once([':', '=']).or_else(|| token.split_once(':'))?;
    let value = unwrapped(value);
    let found = shape(value);
    if found == Shape::Hash {
        if let Some(what) = foreign.or_else(|| foreign_digest(label)) {
            return Some(Row::Unsupported(what));
        }
        let name = if is_kind(label) { name_of(found, separator, behind.trim_matches(is_margin)).0 } else { label };
        let name = if name.is_empty() { remark } else { name };
        return Some(Row::Entry(Entry { token: value, shape: found, name, time: None }));
    }
    let (label, value) = token.split_once(':')?;
    let found = match shape(value) {
        Shape::FileOrName if is_host_kind(label) => Shape::Name,
        found => found,
    };
    (is_kind(label) && found.is_indicator() && is_separated(separator, behind.trim_matches(is_margin)))
        .then_some(Row::Entry(Entry { token: value, shape: found, name: remark, time: None }))
}

/// `Some title: HASH`: the last word is a hash, and a colon or an equals sign stands before it.
fn titled<'a>(text: &'a str, foreign: Option<&'static str>) -> Row<'a> {
    let Some(at) = text.rfind(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '|' | '=')) else {
        return Row::Prose;
    };
    let token = unwrapped(text[at..].trim_matches(|c: char| is_margin(c) || matches!(c, ',' | ';' | '|' | '=')));
    match shape(token) {
        Shape::Hash => {}
        _ => return Row::Prose,
    }
    let title =
        text[..token_start(text, token)].trim_end_matches(|c: char| is_margin(c) || matches!(c, '`' | '"' | '*'));
    if let Some(what) = foreign.or_else(|| foreign_digest_in(title)) {
        return Row::Unsupported(what);
    }
    let Some(name) = title.strip_suffix([':', '=']) else { return Row::Prose };
    if says_benign(name) {
        return Row::Benign;
    }
    let name = name.trim_matches(is_margin);
    // `SHA256 hash of the loader` names a kind, not a family.
    let names_kind = name.split_whitespace().any(is_kind);
    Row::Entry(Entry { token, shape: Shape::Hash, name: if names_kind { "" } else { name }, time: None })
}

/// The next token, the separator behind it (space at the end of the text) and what follows.
///
/// White space and `|` always separate; a comma and a semicolon do unless they may belong to a path.
fn next_token(text: &str) -> (&str, char, &str) {
    let text =
        text.trim_start_matches(|c: char| is_margin(c) || matches!(c, ',' | ';' | '|' | '(' | '-' | '–' | '—' | '='));
    let mut slash = false;
    // `(com|net)`, `{1,2}`: separators within the brackets of a pattern are none.
    let mut open = 0u32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '{' => open += 1,
            ')' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        let ends = match c {
            '|' | ',' if open > 0 => false,
            '/' | '?' => {
                slash = true;
                false
            }
            '|' | '\t' => true,
            ',' | ';' => !slash || cell_follows(&text[at + 1..]),
            '"' | '`' => at > 0 && text[at + c.len_utf8()..].starts_with([',', ';', ' ', '|', '\t']),
            c => is_margin(c),
        };
        if ends {
            let token = unwrapped(&text[..at]);
            let behind = &text[at + c.len_utf8()..];
            // `"…",` and `HASH  ,`: the separator is the strongest of what stands there.
            let c = if is_margin(c) || matches!(c, '"' | '`') {
                behind.chars().find(|c| !is_margin(*c)).filter(|c| matches!(c, ',' | ';' | '|')).unwrap_or(c)
            } else {
                c
            };
            return (token.trim_end_matches([',', ';', ')', ']']).trim_end_matches("::"), c, behind);
        }
    }
    (unwrapped(text).trim_end_matches([',', ';', ')']), ' ', "")
}

/// Whether the text behind a comma in an address is another column: a date, a digest or nothing.
fn cell_follows(text: &str) -> bool {
    let cell = text.split([',', ';', '|', '\t']).next().unwrap_or_default().trim_matches(is_margin);
    cell.is_empty() || text.starts_with(' ') || is_date(cell) || shape(unwrapped(cell)) == Shape::Hash
}

/// Whether what follows an address is a description of it and not the rest of a sentence.
fn is_separated(separator: char, description: &str) -> bool {
    if description.is_empty() || matches!(separator, ',' | ';' | '|' | '\t') {
        return true;
    }
    let first = description.split_whitespace().next().unwrap_or_default();
    first.starts_with(['-', '–', '—', '|', '(', ':', ',', ';', '#', '[', '/', '>', '=', '<'])
        || is_number(first)
        || is_date(first)
        || first == "port"
}

/// The name in a description, and a date at its beginning.
fn name_of(key: Shape, separator: char, description: &str) -> (&str, Option<&str>) {
    let cells = match separator {
        // `hash;comment`: the comment may hold everything, semicolons too.
        ';' => return (description, None),
        ',' | '|' | '\t' => true,
        _ => false,
    };
    if !cells {
        // A description in words names a file's family or the file; behind an address it tells of the connection.
        if key != Shape::Hash {
            return ("", None);
        }
        let name = description
            .trim_start_matches(|c: char| is_margin(c) || matches!(c, '-' | '–' | '—' | '|' | ':' | '=' | '>'));
        let named = !name.is_empty()
            && !is_number(name.split_whitespace().next().unwrap_or_default())
            && (!is_indicator(name) || is_file_or_name(name));
        return (if named { name } else { "" }, None);
    }
    let mut time = None;
    for cell in description.split(separator) {
        let cell = unwrapped(cell.trim_matches(is_margin));
        if is_date(cell.split_whitespace().next().unwrap_or_default()) {
            time = time.or(Some(cell));
        } else if cell.contains(char::is_alphabetic)
            && !is_null(cell)
            && (!is_indicator(cell) || key == Shape::Hash && is_file_or_name(cell))
        {
            return (cell, time);
        }
    }
    ("", time)
}

/// A word at the very beginning of a description that says what the digest before it is.
fn trailing_label(description: &str) -> Option<&'static str> {
    let first =
        description.split(|c: char| is_margin(c) || matches!(c, ',' | '|' | '(' | ';')).find(|w| !w.is_empty())?;
    match foreign_digest(first)? {
        // `HASH;Serial Killer`, `HASH  Certificate of …pdf`: words that files are called by, too.
        "a certificate's serial number"
        | "a certificate's fingerprint"
        | "a hash of an icon"
        | "the name of a mutex" => None,
        "a hash of a PE header" if first.eq_ignore_ascii_case("rich") => None,
        what => Some(what),
    }
}

fn is_indicator(cell: &str) -> bool {
    !cell.contains(char::is_whitespace) && shape(cell).is_indicator()
}

/// Beside a hash, a file's name rather than a host's.
fn is_file_or_name(cell: &str) -> bool {
    matches!(shape(cell), Shape::Name | Shape::FileOrName)
}

/// What parts the words of a header.
fn is_cell_end(c: char) -> bool {
    is_margin(c) || matches!(c, ',' | ';' | '|' | ':' | '/')
}

fn is_null(cell: &str) -> bool {
    ["n/a", "none", "null", "unknown", "#n/a", "-"].iter().any(|null| null.eq_ignore_ascii_case(cell))
}

/// `2018-03-25`, `2018-03-25T10:00:00Z`, `25/03/2018`, `12/9/15`.
fn is_date(token: &str) -> bool {
    let bytes = token.as_bytes();
    let dashed = bytes.len() >= 10 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[..4].iter().all(u8::is_ascii_digit);
    let slashed = (6..=10).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_digit() || *b == b'/')
        && bytes.iter().filter(|b| **b == b'/').count() == 2;
    dashed || slashed
}

/// The date `token` at the start of `rest`, with the time of day if one follows.
fn date_and_time<'a>(rest: &'a str, token: &'a str) -> &'a str {
    let start = token_start(rest, token);
    let behind = &rest[start + token.len()..];
    let clock = behind.get(1..9).filter(|clock| is_clock(clock));
    &rest[start..start + token.len() + clock.map_or(0, |clock| clock.len() + 1)]
}

/// `12:30:05`.
fn is_clock(token: &str) -> bool {
    let bytes = token.as_bytes();
    bytes.len() >= 5 && bytes[2] == b':' && bytes.iter().all(|b| b.is_ascii_digit() || *b == b':')
}

/// A counter, a size, a time of day, a numbering.
fn is_number(token: &str) -> bool {
    token.bytes().next().is_some_and(|b| b.is_ascii_digit())
        && token.bytes().all(|b| b.is_ascii_digit() || matches!(b, b',' | b'.' | b':' | b')'))
}

/// Whether nothing, or no more than a short description, follows.
fn is_whole(behind: &str) -> bool {
    behind.len() < 200
}

/// `- `, `* `, `• `, `> `, `1. `: the marks of a list.
fn without_bullet(text: &str) -> &str {
    let mut rest = text;
    // A quotation may hold a list: two marks.
    for _ in 0..2 {
        let unmarked = rest.strip_prefix(['-', '*', '•', '·', '–', '—', '+', '>', 'o', '▪', '◦']);
        match unmarked.filter(|unmarked| unmarked.starts_with(is_margin)) {
            Some(unmarked) => rest = unmarked.trim_start_matches(is_margin),
            None => break,
        }
    }
    rest
}

/// Cuts ` # remark` off.
fn split_remark(text: &str) -> (&str, &str) {
    for (at, _) in text.match_indices('#') {
        let before = &text[..at];
        // The mark of a comment stands behind white space and before white space: `/a #b` is a fragment.
        let behind = &text[at + 1..];
        if before.ends_with(is_margin) && (behind.starts_with(is_margin) || behind.is_empty()) {
            return (before.trim_end_matches(is_margin), behind.trim_matches(|c: char| is_margin(c) || c == '#'));
        }
    }
    (text, "")
}

/// White space of every kind, no-break spaces and byte order marks with it.
fn is_margin(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// Where a token, a slice of `text`, starts in it.
fn token_start(text: &str, token: &str) -> usize {
    (token.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len())
}

/// Tokens that may stand before the key: `- 2020-01-01 12:00:00 -- SHA256 hash of file: …` has seven.
const LEADING_MAX: usize = 8;
