//! What the headings of a list state about the rows below them.
//!
//! A heading is a line of its own of at most [`WORDS_MAX`] words, not a sentence, without link or indicator; a comment is
//! one only if it stands alone: comments of several lines are running text. Two kinds of headings withhold rows:
//!
//! - A word of goodness that qualifies what is listed (`LEGITIMATE DOMAINS USED FOR CONNECTIVITY CHECKS`, `Clean`,
//!   `Allow list`) withholds the rows up to the next heading, whatever else the heading states. As the title of the
//!   file it withholds the whole file. `Abused legitimate services` and `Files from legitimate sites` do not.
//! - References, sources, reports and credits: addresses below them are links.

use super::{
    header_comment::HeaderComment,
    token::{Shape, shape, unwrapped},
    words::words,
};
use crate::record::RecordType;

/// Words of the longest heading.
pub(super) const WORDS_MAX: usize = 12;

/// The headings of a list, as far as it was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Headings {
    /// What the comments before the first row state about all addresses.
    header: HeaderComment,
    state: State,
    /// The state before the current block of comments, and its lines with text.
    block: Option<(State, u32)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    section: Section,
    /// Whether the title withholds the whole file.
    is_title_good: bool,
    /// Whether the last line was a good heading at the top of the file: it is the title unless a row follows directly.
    may_be_title: bool,
    /// Whether a heading or a row was read.
    has_begun: bool,
}

/// What a heading states about the rows below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Section {
    #[default]
    Indicators,
    Good,
    Links,
}

impl Headings {
    /// Notes a comment line; `text` is without its mark.
    pub(super) fn comment(&mut self, text: &str) {
        self.header.comment(text);
        if !text.contains(char::is_alphanumeric) {
            return;
        }
        match &mut self.block {
            None => {
                self.block = Some((self.state, 1));
                self.state.heading(text);
            }
            Some((before, lines)) => {
                *lines += 1;
                self.state = *before;
            }
        }
    }

    /// Notes a comment line or a blank one.
    pub(super) fn comment_or_blank(&mut self, text: &str) {
        if text.is_empty() { self.line("") } else { self.comment(text) }
    }

    /// Notes a line that is neither a comment nor a row with an indicator.
    pub(super) fn line(&mut self, text: &str) {
        self.block = None;
        if text.trim().is_empty() {
            self.state.end_title(true);
        } else if text.contains(char::is_alphanumeric) {
            self.header.end();
            self.state.heading(text);
        }
        // A rule of dashes or a code fence underlines a heading, and is none.
    }

    /// Notes a row.
    pub(super) fn row(&mut self) {
        self.header.end();
        self.block = None;
        self.state.end_title(false);
        self.state.has_begun = true;
    }

    /// Returns the record type of the list's addresses.
    pub(super) fn record_type(&self) -> RecordType {
        self.header.record_type()
    }

    /// Returns why the rows of the current section are withheld, if they are.
    pub(super) fn withholds(&self) -> Option<&'static str> {
        (self.state.is_title_good || self.state.section == Section::Good)
            .then_some("its heading states that these are good")
    }

    /// Returns whether addresses of the current section are links.
    pub(super) fn is_links(&self) -> bool {
        self.state.section == Section::Links
    }
}

impl State {
    fn heading(&mut self, text: &str) {
        if !is_heading(text) {
            return;
        }
        self.end_title(true);
        self.section = if is_good(text) {
            Section::Good
        } else if is_links(text) {
            Section::Links
        } else {
            Section::Indicators
        };
        if self.section == Section::Good && !self.has_begun {
            self.is_title_good = names_list(text);
            self.may_be_title = !text.trim_end().ends_with(':');
        }
        self.has_begun = true;
    }

    fn end_title(&mut self, is_title: bool) {
        self.is_title_good |= is_title && self.may_be_title;
        self.may_be_title = false;
    }
}

/// Returns whether a line is a heading: see the head of this module.
pub(super) fn is_heading(line: &str) -> bool {
    let text = line.trim();
    let count = text.split_whitespace().count();
    if count == 0 || count > WORDS_MAX || text.contains("://") {
        return false;
    }
    let is_indicator = |word: &str| {
        let word = unwrapped(word.trim_matches(|c: char| matches!(c, ',' | ';' | '(' | ')' | ':')));
        shape(word).is_indicator() || matches!(shape(word), Shape::Unsupported(_))
    };
    if text.split_whitespace().any(is_indicator) {
        return false;
    }
    let is_sentence = text.ends_with(['.', '!', '?'])
        || (!text.ends_with(':')
            && text.contains(char::is_lowercase)
            && words(text).any(|word| FINITE_VERBS.iter().any(|verb| verb.eq_ignore_ascii_case(word))));
    !is_sentence
}

/// Returns whether a heading lists what is good: a word of goodness qualifies what is listed, and nothing before that
/// word turns it around.
pub(super) fn is_good(heading: &str) -> bool {
    let words = clauses(heading);
    (0..words.len()).any(|at| {
        good_term(&words[at..]).is_some_and(|term| {
            (term.is_list || qualifies_listed(&words[at + term.words..], words[at + term.words - 1].ends_clause))
                && !is_turned_around(&words[..at])
        })
    })
}

/// Returns whether a status or a whole comment is a verdict of goodness: `clean`, `false positive`, `legitimate site`.
/// A text that merely mentions such a word is none.
pub(super) fn is_good_verdict(text: &str) -> bool {
    let words = clauses(text);
    let start = words.iter().take_while(|word| VERDICT_FILLERS.contains(&&*word.text)).count();
    let Some(term) = good_term(&words[start..]) else {
        return words.len() == 1 && words[0].text == "fp";
    };
    let rest = &words[start + term.words..];
    rest.len() <= 2 && rest.iter().all(|word| LISTED.contains(&&*word.text))
}

/// Returns whether a heading names references: `REFERENCES`, `Read more:`, `Sources and credits`.
pub(super) fn is_links(heading: &str) -> bool {
    let words = clauses(heading);
    let is_any = |word: &Word, set: &[&str]| set.contains(&&*word.text);
    let has_pair = words
        .windows(2)
        .any(|pair| LINK_PAIRS.iter().any(|(first, second)| pair[0].text == *first && pair[1].text == *second));
    !words.is_empty()
        && words.iter().all(|word| is_any(word, LINK_WORDS) || is_any(word, LINK_FILLERS))
        && (has_pair || words.iter().any(|word| is_any(word, LINK_WORDS)))
}

/// A word in lower case.
struct Word {
    text: String,
    /// Whether punctuation follows it.
    ends_clause: bool,
}

fn clauses(text: &str) -> Vec<Word> {
    let text = text.trim().trim_end_matches(':');
    words(text)
        .map(|word| {
            let end = word.as_ptr() as usize + word.len() - text.as_ptr() as usize;
            let ends_clause = text[end..].trim_start().starts_with([':', ',', ';', '(', ')', '.', '/', '|']);
            Word { text: word.to_lowercase(), ends_clause }
        })
        .collect()
}

/// A term of goodness at the beginning of some words.
struct GoodTerm {
    words: usize,
    /// Whether the term itself names a list.
    is_list: bool,
}

fn good_term(words: &[Word]) -> Option<GoodTerm> {
    let first = &*words.first()?.text;
    let second = words.get(1).map_or("", |word| &*word.text);
    if GOOD_PAIRS.contains(&(first, second)) {
        return Some(GoodTerm { words: 2, is_list: second == "list" || second == "lists" });
    }
    if GOOD_LISTS.contains(&first) {
        return Some(GoodTerm { words: 1, is_list: true });
    }
    GOOD_WORDS.contains(&first).then_some(GoodTerm { words: 1, is_list: false })
}

/// Returns whether the words after a term of goodness begin with what is listed, or there are none.
fn qualifies_listed(rest: &[Word], ends_clause: bool) -> bool {
    if rest.is_empty() {
        return true;
    }
    if ends_clause {
        return false;
    }
    let clause = rest.iter().position(|word| word.ends_clause).map_or(rest.len(), |at| at + 1);
    let between = rest[..clause].iter().take(QUALIFIED_DISTANCE_MAX);
    for word in between {
        if LISTED.contains(&&*word.text) {
            return true;
        }
        if PREPOSITIONS.contains(&&*word.text) {
            return false;
        }
    }
    false
}

/// Returns whether a word before a term of goodness turns it around: `abused legitimate services`.
fn is_turned_around(before: &[Word]) -> bool {
    for word in before.iter().rev().take(QUALIFIED_DISTANCE_MAX) {
        if word.ends_clause || ["to", "towards"].contains(&&*word.text) {
            return false;
        }
        if TURNING_WORDS.contains(&&*word.text) {
            return true;
        }
    }
    false
}

/// Returns whether a heading calls itself a list: then it is the file's title even directly above rows.
fn names_list(heading: &str) -> bool {
    let words = clauses(heading);
    (0..words.len()).any(|at| good_term(&words[at..]).is_some_and(|term| term.is_list))
        || words.iter().any(|word| ["list", "lists"].contains(&&*word.text))
}

/// Words between a term of goodness and what it qualifies, or what turns it around.
const QUALIFIED_DISTANCE_MAX: usize = 3;

const GOOD_WORDS: &[&str] = &["legitimate", "legit", "benign", "clean", "harmless", "innocuous", "goodware"];

const GOOD_LISTS: &[&str] = &[
    "whitelist",
    "whitelists",
    "whitelisted",
    "white-list",
    "allowlist",
    "allowlists",
    "allowlisted",
    "allow-list",
    "safelist",
    "known-good",
];

const GOOD_PAIRS: &[(&str, &str)] = &[
    ("white", "list"),
    ("white", "lists"),
    ("white", "listed"),
    ("allow", "list"),
    ("allow", "lists"),
    ("allow", "listed"),
    ("allowed", "list"),
    ("safe", "list"),
    ("known", "good"),
    ("known", "clean"),
    ("false", "positive"),
    ("false", "positives"),
    ("not", "malicious"),
];

const VERDICT_FILLERS: &[&str] =
    &["is", "it", "this", "a", "an", "the", "status", "verdict", "confirmed", "considered"];

/// What lists list.
const LISTED: &[&str] = &[
    "address",
    "addresses",
    "app",
    "application",
    "applications",
    "apps",
    "binaries",
    "binary",
    "certificate",
    "certificates",
    "domain",
    "domains",
    "entries",
    "entry",
    "executable",
    "executables",
    "file",
    "filenames",
    "files",
    "fqdn",
    "fqdns",
    "hash",
    "hashes",
    "host",
    "hostname",
    "hostnames",
    "hosts",
    "indicator",
    "indicators",
    "infrastructure",
    "ioc",
    "iocs",
    "ip",
    "ips",
    "ipv4",
    "list",
    "lists",
    "md5",
    "name",
    "names",
    "network",
    "networks",
    "program",
    "programs",
    "range",
    "ranges",
    "sample",
    "samples",
    "server",
    "servers",
    "service",
    "services",
    "sha1",
    "sha256",
    "site",
    "sites",
    "software",
    "tool",
    "tools",
    "traffic",
    "uri",
    "uris",
    "url",
    "urls",
    "website",
    "websites",
];

const PREPOSITIONS: &[&str] =
    &["at", "by", "for", "from", "in", "into", "of", "on", "out", "that", "the", "to", "up", "via", "which", "with"];

/// What turns a term of goodness around when it stands before it.
const TURNING_WORDS: &[&str] = &[
    "abuse",
    "abused",
    "abuses",
    "abusing",
    "as",
    "avoid",
    "backdoored",
    "bogus",
    "cloned",
    "compromised",
    "contain",
    "containing",
    "contains",
    "cracked",
    "disguised",
    "excluding",
    "fake",
    "faked",
    "from",
    "hacked",
    "hijacked",
    "imitated",
    "imitating",
    "impersonated",
    "impersonates",
    "impersonating",
    "infected",
    "less",
    "malicious",
    "masquerading",
    "mimicking",
    "mimics",
    "no",
    "non",
    "not",
    "pirated",
    "removed",
    "spoofed",
    "spoofing",
    "through",
    "trojaned",
    "trojanised",
    "trojanized",
    "via",
    "without",
];

const LINK_WORDS: &[&str] = &[
    "acknowledgements",
    "acknowledgments",
    "advisories",
    "advisory",
    "article",
    "articles",
    "bibliography",
    "blog",
    "blogpost",
    "blogposts",
    "blogs",
    "citation",
    "citations",
    "credit",
    "credits",
    "reading",
    "ref",
    "reference",
    "references",
    "refs",
    "report",
    "reports",
    "source",
    "sources",
    "thanks",
    "writeup",
    "writeups",
];

const LINK_FILLERS: &[&str] = &[
    "additional",
    "also",
    "analysis",
    "and",
    "by",
    "external",
    "for",
    "full",
    "further",
    "info",
    "information",
    "link",
    "links",
    "media",
    "more",
    "of",
    "online",
    "original",
    "our",
    "post",
    "posts",
    "public",
    "read",
    "related",
    "resources",
    "security",
    "see",
    "the",
    "to",
    "url",
    "urls",
    "vendor",
];

const LINK_PAIRS: &[(&str, &str)] =
    &[("read", "more"), ("see", "also"), ("more", "info"), ("more", "information"), ("further", "information")];

/// Verbs that make a sentence of a line.
const FINITE_VERBS: &[&str] = &[
    "are", "been", "can", "could", "had", "has", "have", "is", "may", "might", "must", "should", "was", "we", "were",
    "will", "would",
];

#[cfg(test)]
mod tests;
