//! The grammar of one row of a generic list.
//!
//! ```text
//! row     = [bullet] { date | number | kind } keys [separator comment] [" #" comment]
//!         | name ":" hash | hash ":" name
//! keys    = key { separator key }
//! kind    = "SHA256", "MD5 hash:", "Domain", "IP", …
//! ```
//!
//! A row is read from the left, and all indicators count up to the first other word: what follows is a comment and never
//! searched, since other digests and addresses may stand in it (where the sample called home to, what the article is
//! called). What stands before the first key may only be a date, a number or the name of the key's kind; a sentence that
//! mentions an address is no row. A name or a link beside a hash belongs to the comment: it is the file's name, or the
//! report on it.

use super::super::{
    headings::{is_good, is_good_verdict, is_links},
    token::{Shape, shape, unwrapped},
    words::{DigestLabel, digest_label, digest_label_in, is_host_kind, is_kind},
};
use crate::key::refang;

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::feed) enum Row<'a> {
    /// Nothing: blank, a rule of dashes, a code fence, empty cells.
    Blank,
    /// A comment, without its mark.
    Comment(&'a str),
    /// Indicators.
    Entry(Entry<'a>),
    /// Of a kind that no record can exist for.
    Unsupported(&'static str),
    /// The row's comment is a verdict of goodness.
    Good,
    /// A reference: `Source: https://…`.
    Link,
    /// It looks like an indicator and cannot be read.
    Broken(&'static str),
    /// A file's name, as far as can be determined.
    File,
    /// Hexadecimal of a length that no object hash has.
    Hex(usize),
    /// A heading, a sentence, anything else.
    Prose,
}

/// A row's indicators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::feed) struct Entry<'a> {
    /// The first of them.
    pub(in crate::feed) key: Token<'a>,
    /// The text of the others; often empty. [`others`](Self::others) takes it apart.
    pub(super) rest: &'a str,
    /// What the row calls them; often empty.
    pub(in crate::feed) name: &'a str,
    /// A date that stands before or right after them, unparsed.
    pub(in crate::feed) time: Option<&'a str>,
    /// Whether the digests are fingerprints of certificates.
    pub(in crate::feed) is_certificate: bool,
}

/// An indicator as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::feed) struct Token<'a> {
    /// Its text, without what surrounds it.
    pub(in crate::feed) text: &'a str,
    /// Its shape: always one for which [`Shape::is_indicator`] holds.
    pub(in crate::feed) shape: Shape,
}

/// What is known of the list when a row is read.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::feed) struct Context {
    /// What the digests of the section are, if not files'.
    pub(in crate::feed) label: Option<DigestLabel>,
    /// A comma or semicolon that separates columns in nearly all rows, also after an address.
    pub(in crate::feed) delimiter: Option<char>,
}

impl<'a> Entry<'a> {
    /// Returns the indicators after the first.
    pub(in crate::feed) fn others(self) -> impl Iterator<Item = Token<'a>> {
        let mut rest = self.rest;
        std::iter::from_fn(move || {
            let (text, _, after) = next_token(rest, None);
            rest = after;
            (!text.is_empty()).then(|| Token { text, shape: shape(text) })
        })
    }
}

impl Token<'_> {
    /// Returns whether it is a digest.
    pub(in crate::feed) fn is_digest(self) -> bool {
        matches!(self.shape, Shape::Hash | Shape::Prefixed)
    }

    /// Returns whether it is written so that no program follows it.
    pub(in crate::feed) fn is_defanged(self) -> bool {
        refang(self.text) != self.text
    }

    /// Returns whether it is a plain `http(s)://` address, which programs follow.
    pub(in crate::feed) fn is_link(self) -> bool {
        let has_scheme = |scheme: &str| self.text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
        self.shape == Shape::Url && (has_scheme("http://") || has_scheme("https://")) && !self.is_defanged()
    }

    /// Returns whether another indicator of the row may follow this one directly.
    fn may_precede(self, next: Self) -> bool {
        match next.shape {
            Shape::Hash | Shape::Prefixed | Shape::Ipv4 => true,
            Shape::FileOrName => !self.is_digest(),
            Shape::Name | Shape::HostPath if self.is_digest() => next.is_defanged(),
            Shape::Name | Shape::HostPath => true,
            Shape::Url => !next.is_link() || self.is_link(),
            _ => false,
        }
    }
}

/// Reads a row.
pub(in crate::feed) fn parse<'a>(line: &'a str, context: Context) -> Row<'a> {
    let text = line.trim_matches(is_margin);
    // The common row of a long list, without any of what follows.
    if matches!(text.len(), 32 | 40 | 64) && context.label.is_none() && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return only(text, Shape::Hash, "");
    }
    if let Some(comment) = comment(text) {
        return Row::Comment(comment);
    }
    if !text.contains(|c: char| c.is_alphanumeric()) || text.starts_with("```") {
        return Row::Blank;
    }
    let text = without_bullet(text);
    let (text, remark) = split_remark(text);
    from_left(text, remark, context)
}

/// Returns whether a line is a comment by its mark.
pub(in crate::feed) fn has_comment_mark(line: &str) -> bool {
    comment(line.trim_matches(is_margin)).is_some()
}

/// Returns the text of a comment line.
fn comment(text: &str) -> Option<&str> {
    ["#", "//", ";", "!", "<!--"]
        .iter()
        .find_map(|mark| text.strip_prefix(mark))
        .map(|rest| rest.trim_matches(is_margin))
}

fn only<'a>(text: &'a str, shape: Shape, name: &'a str) -> Row<'a> {
    Row::Entry(Entry { key: Token { text, shape }, rest: "", name, time: None, is_certificate: false })
}

fn from_left<'a>(text: &'a str, remark: &'a str, context: Context) -> Row<'a> {
    let mut rest = text;
    let mut label = context.label;
    let mut time = None;
    let mut hosts = false;
    for _ in 0..LEADING_MAX {
        let (token, separator, after) = next_token(rest, context.delimiter);
        if token.is_empty() {
            break;
        }
        let found = match shape(token) {
            Shape::FileOrName if hosts => Shape::Name,
            found => found,
        };
        if found.is_indicator() {
            let key = Token { text: token, shape: found };
            return entry(key, separator, after, Found { remark, label, time, delimiter: context.delimiter });
        }
        if let Some(row) = labelled(text, token, separator, after, remark, label) {
            return row;
        }
        if matches!(token, "GET" | "POST" | "PUT" | "HEAD") && after.trim_start().starts_with('/') {
            return Row::Unsupported("a path without a host");
        }
        if let Some(stated) = digest_label(token) {
            label = Some(stated);
        } else if is_date(token) {
            time = time.or(Some(date_and_time(rest, token)));
        } else if found == Shape::Other && time.is_some() && after.trim_start().starts_with("-- ") {
            // `date -- file name -- address`: a row of columns, not a sentence.
        } else if !is_kind(token) && !is_number(token) {
            return match found {
                Shape::Unsupported(what) => Row::Unsupported(what),
                Shape::Broken(why) => Row::Broken(why),
                Shape::Hex(digits) if is_whole(after) => Row::Hex(digits),
                Shape::Other if is_cut_hash(token, separator, after) => Row::Hex(token.len()),
                _ if is_reference(text) => Row::Link,
                _ => titled(text, label),
            };
        }
        hosts |= is_host_kind(token);
        rest = after;
    }
    if label.is_none() && text.split(is_cell_end).map(unwrapped).all(|word| word.is_empty() || is_kind(word)) {
        return Row::Comment(text);
    }
    titled(text, label)
}

/// What was found around the first key of a row.
struct Found<'a> {
    remark: &'a str,
    label: Option<DigestLabel>,
    time: Option<&'a str>,
    delimiter: Option<char>,
}

/// Reads the row from its first key on.
fn entry<'a>(key: Token<'a>, mut separator: char, after: &'a str, found: Found<'a>) -> Row<'a> {
    let Found { remark, label, time, delimiter } = found;
    let mut last = key;
    let mut rest = after;
    loop {
        let (text, next_separator, next_rest) = next_token(rest, delimiter);
        let next = Token { text, shape: shape(text) };
        let gap = &rest[..token_start(rest, text)];
        if text.is_empty() || !gap.chars().all(is_key_gap) || !last.may_precede(next) {
            break;
        }
        (last, separator, rest) = (next, next_separator, next_rest);
    }
    let others = &after[..after.len() - rest.len()];
    let description = rest.trim_matches(is_margin);
    let mut is_certificate = false;
    if key.shape == Shape::Hash {
        match label.or_else(|| trailing_label(description)) {
            Some(DigestLabel::Foreign(what)) => return Row::Unsupported(what),
            Some(DigestLabel::Certificate) => is_certificate = true,
            None => {}
        }
    } else if key.shape == Shape::Name && !key.is_defanged() && separator == ' ' && is_sentence_continued(description) {
        return Row::Prose;
    }
    let (name, time_after) = name_of(key, separator, description);
    let name = if name.is_empty() { remark } else { name };
    if is_good_verdict(name) || is_good_verdict(description.trim_start_matches(is_dash)) {
        return Row::Good;
    }
    Row::Entry(Entry { key, rest: others, name, time: time.or(time_after), is_certificate })
}

/// `name:hash`, `hash:name` and `kind:value` in one token.
fn labelled<'a>(
    row: &'a str,
    token: &'a str,
    separator: char,
    after: &'a str,
    remark: &'a str,
    label: Option<DigestLabel>,
) -> Option<Row<'a>> {
    if let Some((hash, _)) = token.split_once(':')
        && shape(hash) == Shape::Hash
    {
        // `HASH:{MD5}php.cmdshell.unclassed.344`, `HASH:1024:Family`: the name goes on to the end of the row.
        let name = row[token_start(row, token) + hash.len() + 1..].trim_matches(is_margin);
        let name =
            name.split_once(':').filter(|(size, _)| is_number(size) || *size == "*").map_or(name, |(_, name)| name);
        return Some(match label {
            Some(DigestLabel::Foreign(what)) => Row::Unsupported(what),
            _ if is_good_verdict(name) => Row::Good,
            _ => only(hash, Shape::Hash, name),
        });
    }
    let (prefix, value) = token.rsplit_once([':', '=']).or_else(|| token.split_once(':'))?;
    let value = unwrapped(value);
    let found = shape(value);
    if found == Shape::Hash {
        let label = label.or_else(|| digest_label(prefix));
        if let Some(DigestLabel::Foreign(what)) = label {
            return Some(Row::Unsupported(what));
        }
        let is_certificate = label == Some(DigestLabel::Certificate);
        let names_kind = is_certificate || is_kind(prefix);
        let key = Token { text: value, shape: found };
        let name = if names_kind { name_of(key, separator, after.trim_matches(is_margin)).0 } else { prefix };
        let name = if name.is_empty() { remark } else { name };
        return Some(Row::Entry(Entry { key, rest: "", name, time: None, is_certificate }));
    }
    let (prefix, value) = token.split_once(':')?;
    let found = match shape(value) {
        Shape::FileOrName if is_host_kind(prefix) => Shape::Name,
        found => found,
    };
    (is_kind(prefix) && found.is_indicator()).then(|| {
        let found_around = Found { remark, label, time: None, delimiter: None };
        entry(Token { text: value, shape: found }, separator, after, found_around)
    })
}

/// `Some title: HASH`: the last word is a hash, and a colon or an equals sign stands before it.
fn titled<'a>(text: &'a str, label: Option<DigestLabel>) -> Row<'a> {
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
    let label = label.or_else(|| digest_label_in(title));
    if let Some(DigestLabel::Foreign(what)) = label {
        return Row::Unsupported(what);
    }
    let Some(name) = title.strip_suffix([':', '=']) else { return Row::Prose };
    if is_good(name) {
        return Row::Good;
    }
    let name = name.trim_matches(is_margin);
    // `SHA256 hash of the loader` names a kind, not a family.
    let is_certificate = label == Some(DigestLabel::Certificate);
    let names_kind = is_certificate || name.split_whitespace().any(is_kind);
    let name = if names_kind { "" } else { name };
    let key = Token { text: token, shape: Shape::Hash };
    Row::Entry(Entry { key, rest: "", name, time: None, is_certificate })
}

/// `Reference: https://…`, `Read more - https://…`: what stands before an address names references.
fn is_reference(text: &str) -> bool {
    let is_address = |word: &str| {
        matches!(shape(unwrapped(word.trim_matches(is_key_gap))), Shape::Url | Shape::HostPath | Shape::Name)
    };
    let address = text.split(is_margin).find(|word| is_address(word));
    address.is_some_and(|word| {
        let before = text[..token_start(text, word)].trim_matches(|c: char| is_margin(c) || is_dash(c) || c == '(');
        // A person is often credited: `Credit to @somebody https://…`.
        let before = before.split_once('@').map_or(before, |(before, _)| before.trim_end());
        is_links(before)
    })
}

/// Returns the next token, the separator after it (space at the end of the text) and what follows.
///
/// White space and `|` always separate; a comma and a semicolon do unless they may belong to a path.
fn next_token(text: &str, delimiter: Option<char>) -> (&str, char, &str) {
    let text =
        text.trim_start_matches(|c: char| is_margin(c) || is_dash(c) || matches!(c, ',' | ';' | '|' | '(' | '='));
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
            ',' | ';' => {
                !slash
                    || Some(c) == delimiter
                    || cell_follows(&text[at + 1..])
                    || shape(unwrapped(&text[..at])) == Shape::Ipv4
            }
            '"' | '`' => at > 0 && text[at + c.len_utf8()..].starts_with([',', ';', ' ', '|', '\t']),
            c => is_margin(c),
        };
        if ends {
            let token = unwrapped(&text[..at]);
            let after = &text[at + c.len_utf8()..];
            // `"…",` and `HASH  ,`: the separator is the strongest of what stands there.
            let c = if is_margin(c) || matches!(c, '"' | '`') {
                after.chars().find(|c| !is_margin(*c)).filter(|c| matches!(c, ',' | ';' | '|')).unwrap_or(c)
            } else {
                c
            };
            return (token.trim_end_matches([',', ';', ')', ']']).trim_end_matches("::"), c, after);
        }
    }
    (unwrapped(text).trim_end_matches([',', ';', ')']), ' ', "")
}

/// Whether the text after a comma in an address is another column: a date, a digest or nothing.
fn cell_follows(text: &str) -> bool {
    let cell = text.split([',', ';', '|', '\t']).next().unwrap_or_default().trim_matches(is_margin);
    cell.is_empty() || text.starts_with(' ') || is_date(cell) || shape(unwrapped(cell)) == Shape::Hash
}

/// Returns whether what follows a name goes on as a sentence does: `microsoft.com is where …`.
fn is_sentence_continued(description: &str) -> bool {
    let first = description.split_whitespace().next().unwrap_or_default();
    SENTENCE_WORDS.iter().any(|word| word.eq_ignore_ascii_case(first))
}

/// Returns the name in a description, and a date at its beginning.
fn name_of<'a>(key: Token<'_>, separator: char, description: &'a str) -> (&'a str, Option<&'a str>) {
    if separator == ';' {
        // `hash;comment`: the comment may hold everything, semicolons too.
        return (description, None);
    }
    if !matches!(separator, ',' | '|' | '\t') {
        let name =
            description.trim_start_matches(|c: char| is_margin(c) || is_dash(c) || matches!(c, '|' | ':' | '=' | '>'));
        let first = name.split_whitespace().next().unwrap_or_default();
        if is_date(first) {
            return ("", Some(date_and_time(name, first)));
        }
        // `port 443 - evil.com - HTTPS`, `924,672 bytes`: it describes the connection or the file.
        let is_named = !name.is_empty()
            && !is_number(first)
            && !first.eq_ignore_ascii_case("port")
            && (!is_indicator(name) || key.is_digest() && is_file_or_name(name));
        return (if is_named { name } else { "" }, None);
    }
    let mut time = None;
    for cell in description.split(separator) {
        let cell = unwrapped(cell.trim_matches(is_margin));
        if is_date(cell.split_whitespace().next().unwrap_or_default()) {
            time = time.or(Some(cell));
        } else if cell.contains(char::is_alphabetic)
            && !is_null(cell)
            && (!is_indicator(cell) || key.is_digest() && is_file_or_name(cell))
        {
            return (cell, time);
        }
    }
    ("", time)
}

/// A word at the very beginning of a description that states what the digest before it is.
fn trailing_label(description: &str) -> Option<DigestLabel> {
    let first =
        description.split(|c: char| is_margin(c) || matches!(c, ',' | '|' | '(' | ';')).find(|w| !w.is_empty())?;
    match digest_label(first)? {
        // `HASH;Serial Killer`, `HASH  Certificate of …pdf`: words that files are called by, too.
        DigestLabel::Certificate
        | DigestLabel::Foreign("a certificate's serial number" | "a hash of an icon" | "the name of a mutex") => None,
        DigestLabel::Foreign("a hash of a PE header") if first.eq_ignore_ascii_case("rich") => None,
        label => Some(label),
    }
}

fn is_indicator(cell: &str) -> bool {
    !cell.contains(char::is_whitespace) && shape(cell).is_indicator()
}

/// Beside a digest, a file's name rather than a host's.
fn is_file_or_name(cell: &str) -> bool {
    matches!(shape(cell), Shape::Name | Shape::FileOrName)
}

/// What parts the words of a header.
fn is_cell_end(c: char) -> bool {
    is_margin(c) || matches!(c, ',' | ';' | '|' | ':' | '/')
}

/// What may stand between the indicators of a row.
fn is_key_gap(c: char) -> bool {
    is_margin(c) || matches!(c, ',' | ';' | '|' | '"' | '\'' | '`')
}

fn is_dash(c: char) -> bool {
    matches!(c, '-' | '–' | '—')
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

/// Returns the date `token` at the start of `rest`, with the time of day if one follows.
fn date_and_time<'a>(rest: &'a str, token: &'a str) -> &'a str {
    let start = token_start(rest, token);
    let after = &rest[start + token.len()..];
    let clock = after.get(1..9).filter(|clock| is_clock(clock));
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

/// Returns whether nothing, or no more than a short description, follows.
fn is_whole(after: &str) -> bool {
    after.len() < 200
}

/// `deadbeef;somebody cut a line`: hexadecimal digits alone in their row or cell, an even number of them.
fn is_cut_hash(token: &str, separator: char, after: &str) -> bool {
    token.len() >= CUT_HASH_DIGITS_MIN
        && token.len().is_multiple_of(2)
        && token.bytes().all(|b| b.is_ascii_hexdigit())
        && (after.trim().is_empty() || matches!(separator, ',' | ';' | '|' | '\t'))
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

/// Splits a remark off: ` # remark`, ` #remark`. Without white space before its mark it is a fragment of an address.
fn split_remark(text: &str) -> (&str, &str) {
    for (at, _) in text.match_indices('#') {
        let before = &text[..at];
        if before.ends_with(is_margin) {
            return (
                before.trim_end_matches(is_margin),
                text[at + 1..].trim_matches(|c: char| is_margin(c) || c == '#'),
            );
        }
    }
    (text, "")
}

/// White space of every kind, no-break spaces and byte order marks with it.
fn is_margin(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// Returns where a token, a slice of `text`, starts in it.
fn token_start(text: &str, token: &str) -> usize {
    (token.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len())
}

/// Tokens that may stand before the key: `- 2020-01-01 12:00:00 -- SHA256 hash of file: …` has seven.
const LEADING_MAX: usize = 8;

/// Fewer hexadecimal digits may be a word.
const CUT_HASH_DIGITS_MIN: usize = 8;

/// Words after a name that make a sentence of the row.
const SENTENCE_WORDS: [&str; 16] = [
    "and", "are", "can", "had", "has", "have", "is", "may", "or", "resolved", "resolves", "that", "was", "were",
    "which", "will",
];
