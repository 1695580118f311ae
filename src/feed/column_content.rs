//! What the values of a column look like, to tell columns apart.

use super::{
    sample::is_object_hash,
    type_words::TypeWord,
    value::{self, ValueError, null},
};
use crate::key::refang;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A time.
    Time,
    /// A digest of so many hexadecimal digits, also as `AA:BB:…`.
    Hex(usize),
    /// A digest of any supported length.
    Digest,
    /// An IPv4 address or block, with or without a port.
    Ipv4,
    /// A URL that does not contain this text (which marks the publisher's own pages).
    Url(&'static str),
    /// An indicator of any kind.
    Indicator,
    /// A number.
    Number,
    /// A word for the type of an indicator.
    Type,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Text that begins with one of these words.
    Prefixes(&'static [&'static str]),
    /// Any text that is no time, address or URL.
    Text,
}

/// The number of values that have a content, of all that are not null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) agreeing: usize,
    pub(super) all: usize,
}

impl Tally {
    /// Returns whether at least nine in ten agree. In a short file a single broken value is a broken value.
    pub(super) fn holds(self) -> bool {
        let wrong = self.all - self.agreeing;
        wrong * 10 <= self.all || (wrong == 1 && self.agreeing > 0)
    }
}

impl Content {
    /// Returns whether the content can be told by looking at a value: all but text.
    pub(super) fn is_typed(self) -> bool {
        self != Self::Text
    }

    /// Returns whether a value has this content.
    pub(super) fn has(self, text: &str) -> bool {
        match self {
            Self::Time => is_time(text),
            Self::Hex(digits) => hex_digits(text) == Some(digits),
            Self::Digest => hex_digits(text).is_some_and(|digits| [32, 40, 64].contains(&digits)),
            Self::Ipv4 => is_ip(text),
            Self::Url(but) => is_url(text) && !text.contains(but),
            Self::Indicator => is_indicator(text),
            Self::Number => is_number(text),
            Self::Type => TypeWord::of(text).is_some(),
            Self::Words(words) => words.iter().any(|word| text.eq_ignore_ascii_case(word)),
            Self::Prefixes(words) => {
                words.iter().any(|word| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
            }
            Self::Text => !is_time(text) && !is_url(text) && !is_ip(text),
        }
    }

    /// Counts the values that have this content.
    pub(super) fn tally<'v>(self, values: impl Iterator<Item = &'v str>) -> Tally {
        let mut tally = Tally::default();
        for value in values {
            let Some(value) = null(value) else { continue };
            tally.all += 1;
            tally.agreeing += usize::from(self.has(value));
        }
        // Any text may be in a column of text; only a column of nothing but times, addresses or URLs is another one.
        if self == Self::Text && tally.agreeing * 10 > tally.all {
            tally.agreeing = tally.all;
        }
        tally
    }

    /// Returns whether a text is a value of some kind and so no name of a column.
    pub(super) fn is_value(text: &str) -> bool {
        is_time(text) || is_object_hash(text) || is_url(text) || is_ip(text) || (!text.is_empty() && is_number(text))
    }

    /// Returns what the values of a column are, in words, and the name that `--columns` has for them.
    pub(super) fn describe<'v>(values: impl Iterator<Item = &'v str> + Clone) -> (&'static str, &'static str) {
        if values.clone().all(|value| null(value).is_none()) {
            return ("nothing", "-");
        }
        let found = DESCRIPTIONS.iter().find(|(content, ..)| {
            let tally = content.tally(values.clone());
            tally.holds() && tally.agreeing > 0
        });
        let is_list = || {
            let mut all = values.clone().filter_map(null);
            all.all(|value| value::any(value).is_ok())
        };
        match found {
            Some(&(_, what, name)) => (what, name),
            None if is_list() => ("indicators", "key"),
            None => ("text", TEXT),
        }
    }
}

impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Time => f.write_str("a time"),
            Self::Hex(digits) => write!(f, "{digits} hexadecimal digits"),
            Self::Digest => f.write_str("32, 40 or 64 hexadecimal digits"),
            Self::Ipv4 => f.write_str("an IPv4 address"),
            Self::Url(_) => f.write_str("a URL"),
            Self::Indicator => f.write_str("an indicator"),
            Self::Number => f.write_str("a number"),
            Self::Type => f.write_str("a type of indicators"),
            Self::Words(words) | Self::Prefixes(words) => f.write_str(&words.join(" or ")),
            Self::Text => f.write_str("text"),
        }
    }
}

/// The name of a column of text that is not used.
pub(super) const TEXT: &str = "-";

/// Contents that are told apart in errors: what they are, and the name that `--columns` has for them.
const DESCRIPTIONS: &[(Content, &str, &str)] = &[
    (Content::Time, "a time", "time"),
    (Content::Hex(32), "32 hexadecimal digits", "hash"),
    (Content::Hex(40), "40 hexadecimal digits", "hash"),
    (Content::Hex(64), "64 hexadecimal digits", "hash"),
    (Content::Ipv4, "an IPv4 address", "ip"),
    (Content::Url("\n"), "a URL", "url"),
    (Content::Number, "a number", "-"),
    (Content::Type, "types of indicators", "type"),
];

/// Returns whether the text is a time: a date, or seconds since 1970 from 2001 on, so that not every number is one.
fn is_time(text: &str) -> bool {
    (text.len() >= 10 || text.contains('-')) && value::time(text).is_some()
}

fn is_ip(text: &str) -> bool {
    matches!(text.as_bytes().first(), Some(b'0'..=b'9' | b'[' | b'a'..=b'f' | b'A'..=b'F' | b':'))
        && text.contains(['.', ':'])
        && matches!(value::ipv4_port(text), Ok(_) | Err(ValueError::Unsupported(_)))
}

fn is_url(text: &str) -> bool {
    text.contains("://") || refang(text).contains("://")
}

fn is_number(text: &str) -> bool {
    text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Returns whether the text has the shape of an indicator. Cheap and lenient: the reader is strict.
fn is_indicator(text: &str) -> bool {
    let is_word = text.len() >= 4 && !text.contains(char::is_whitespace) && !is_number(text) && !is_time(text);
    is_word && (text.contains(['.', ':', '@']) || hex_digits(text).is_some_and(|digits| digits >= 32))
}

/// Returns the number of hexadecimal digits, if the text consists of them and of colons.
fn hex_digits(text: &str) -> Option<usize> {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    (digits > 0 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')).then_some(digits)
}
