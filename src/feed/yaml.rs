//! YAML documents with lists of indicators under words for their types.
//!
//! ```yaml
//! - name: Example
//!   certificates:
//!   - 0A0B…
//!   c2:
//!     domains: [a.example, b.example]
//! ```
//!
//! There is no schema, so keys decide: a scalar, or a sequence of scalars, under a key that is a word for a type (see
//! [`TypeWord`]) holds indicators of that type. Values under any other key are not searched, and are counted as
//! unsupported. The name of a record is `name`, `signature` or `family` of the innermost mapping that has one. Aliases
//! are not expanded.
//!
//! A document is taken for a list if it has a sequence of indicators, or a hash, under such a key: the `url` and `host`
//! of a configuration do not suffice.

use std::{borrow::Cow, collections::HashMap};

use saphyr_parser::{Event, Parser, ScanError, StrInput};

use super::{
    cell,
    error::FeedError,
    format::Format,
    input::{Input, decode},
    row_sink::RowSink,
    sample::{Confidence, Sample},
    type_words::{TypeWord, WORD_BYTES_MAX, normalize},
    value::{self, null},
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    (is_document(sample) && has_list(sample)).then_some(Confidence::Likely)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let document = input.document()?;
    let text = decode(&document);
    let malformed = |why: String| FeedError::Malformed { format: Format::Yaml, why };
    // The name of a mapping may follow the values in it.
    let mut names: HashMap<usize, Cow<'_, str>> = HashMap::new();
    let mut nodes = Nodes::new(&text);
    while let Some(value) = nodes.next().map_err(malformed)? {
        if let Some(&mapping) = nodes.mappings.last()
            && is_name(nodes.key())
            && null(&value.text).is_some()
        {
            names.entry(mapping).or_insert(value.text);
        }
    }
    let mut nodes = Nodes::new(&text);
    while let Some(value) = nodes.next().map_err(malformed)? {
        let Some(text) = null(&value.text).filter(|text| *text != "~") else { continue };
        if is_name(nodes.key()) {
            continue;
        }
        sink.row_with(value.line, text);
        let kind = match TypeWord::of(nodes.key()) {
            Some(TypeWord::Link) => TypeWord::Unsupported("a reference"),
            Some(kind) => kind,
            None => TypeWord::Unsupported("a value under a key that names no type of indicators"),
        };
        if let TypeWord::Unsupported(what) = kind {
            sink.unsupported(what);
            continue;
        }
        let name = nodes.mappings.iter().rev().find_map(|mapping| names.get(mapping)).map_or("", |name| name);
        cell::read(Some(kind), text, &mut |result| match result {
            Ok((indicator, port)) => {
                let record_type = value::listed_type(&indicator);
                let mut draft = sink.draft(indicator, record_type, name);
                draft.port = port;
                sink.list(draft);
            }
            Err(e) => sink.value_error(e),
        });
    }
    Ok(())
}

/// Returns whether a sample is a YAML document: its lines are keys, items and little else.
pub(super) fn is_document(sample: &Sample<'_>) -> bool {
    let key = |line: &str| {
        let line = line.strip_prefix("- ").unwrap_or(line);
        let word = line.find(':').map(|at| line.split_at(at));
        word.is_some_and(|(word, rest)| {
            let sound = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
            sound && (rest == ":" || rest.starts_with(": "))
        })
    };
    let (mut rows, mut matching, mut nested, mut opened) = (0u32, 0u32, 0u32, 0u32);
    for line in sample.lines.iter().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        let text = line.trim();
        rows += 1;
        let indented = line.starts_with("  ");
        nested += u32::from(indented);
        opened += u32::from(key(text) && text.ends_with(':'));
        matching += u32::from(key(text) || text == "---" || (text.starts_with("- ") && (indented || opened > 0)));
    }
    // Items need not be indented; then every line has to be one of a document.
    opened >= 1 && matching * 10 >= rows * 9 && (nested * 2 >= rows || matching == rows)
}

/// Returns whether a sample has a sequence of indicators, or a hash, under a word for its type, and nine in ten values
/// under such words agree.
fn has_list(sample: &Sample<'_>) -> bool {
    let complete = sample.lines.join("\n");
    let (mut values, mut agreeing, mut listed) = (0u32, 0u32, 0u32);
    let mut nodes = Nodes::new(&complete);
    loop {
        match nodes.next() {
            Ok(Some(value)) => {
                let kind = TypeWord::of(nodes.key()).filter(|kind| kind.is_supported() && *kind != TypeWord::Link);
                let (Some(kind), Some(text)) = (kind, null(&value.text)) else { continue };
                values += 1;
                let agrees = cell::begins_with(Some(kind), text);
                agreeing += u32::from(agrees);
                let is_digest = matches!(kind, TypeWord::Hash | TypeWord::Digest(_) | TypeWord::Certificate);
                listed += u32::from(agrees && (nodes.is_in_sequence() || is_digest));
            }
            Ok(None) => break,
            // The sample may end within a quoted value.
            Err(_) if nodes.line + 1 < sample.lines.len() as u64 => return false,
            Err(_) => break,
        }
    }
    listed > 0 && agreeing * 10 >= values * 9
}

fn is_name(key: &str) -> bool {
    let mut buffer = [0; WORD_BYTES_MAX];
    normalize(key, &mut buffer).is_some_and(|key| matches!(key, "name" | "signature" | "family"))
}

/// A scalar that is a value, not a key.
struct Value<'t> {
    /// Its line, from 1.
    line: u64,
    text: Cow<'t, str>,
}

/// An open collection.
enum Open<'t> {
    Sequence,
    Mapping {
        key: Cow<'t, str>,
        /// Whether the next node is a key, not the value of `key`.
        expects_key: bool,
    },
}

/// Iterates over the values of a document and keeps where they are.
struct Nodes<'t> {
    parser: Parser<'t, StrInput<'t>>,
    open: Vec<Open<'t>>,
    /// The numbers of the open mappings, in document order.
    mappings: Vec<usize>,
    mappings_seen: usize,
    /// Whether the last value has yet to be counted as complete: its key is needed until then.
    is_at_value: bool,
    /// The line of the last event, from 1.
    line: u64,
}

impl<'t> Nodes<'t> {
    fn new(text: &'t str) -> Self {
        let parser = Parser::new_from_str(text.trim_start_matches('\u{feff}'));
        Self { parser, open: Vec::new(), mappings: Vec::new(), mappings_seen: 0, is_at_value: false, line: 0 }
    }

    /// Returns the key under which the last value is; empty if there is none.
    fn key(&self) -> &str {
        let mapping = self.open.iter().rev().find_map(|open| match open {
            Open::Mapping { key, .. } => Some(&**key),
            Open::Sequence => None,
        });
        mapping.unwrap_or_default()
    }

    /// Returns whether the last value is in a sequence.
    fn is_in_sequence(&self) -> bool {
        matches!(self.open.last(), Some(Open::Sequence))
    }

    /// Returns the next value, and `None` after the last.
    fn next(&mut self) -> Result<Option<Value<'t>>, String> {
        if std::mem::take(&mut self.is_at_value) {
            self.complete_node();
        }
        while let Some(event) = self.parser.next_event() {
            let (event, span) = event.map_err(|e| describe(&e))?;
            self.line = span.start.line() as u64;
            match event {
                Event::Scalar(text, ..) => match self.open.last_mut() {
                    Some(Open::Mapping { key, expects_key }) if *expects_key => (*key, *expects_key) = (text, false),
                    _ => {
                        self.is_at_value = true;
                        return Ok(Some(Value { line: self.line, text }));
                    }
                },
                Event::Alias(_) => self.complete_node(),
                Event::SequenceStart(..) => self.open(Open::Sequence)?,
                Event::MappingStart(..) => {
                    self.mappings.push(self.mappings_seen);
                    self.mappings_seen += 1;
                    self.open(Open::Mapping { key: Cow::Borrowed(""), expects_key: true })?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(Open::Mapping { .. }) = self.open.pop() {
                        self.mappings.pop();
                    }
                    self.complete_node();
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn open(&mut self, collection: Open<'t>) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX} levels at line {}", self.line));
        }
        self.open.push(collection);
        Ok(())
    }

    /// Ends a node: after a key comes its value, and after a value the next key. A collection or an alias as a key has
    /// no word.
    fn complete_node(&mut self) {
        if let Some(Open::Mapping { key, expects_key }) = self.open.last_mut() {
            *key = Cow::Borrowed("");
            *expects_key = !*expects_key;
        }
    }
}

fn describe(error: &ScanError) -> String {
    let marker = error.marker();
    format!("{} at line {} column {}", error.info(), marker.line(), marker.col() + 1)
}

/// Levels of nesting; lists have up to five.
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Refusal, testing::*};

    fn sha1(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    #[test]
    fn certificates_and_addresses_under_words_for_types() {
        let colons = vec!["AB"; 20].join(":");
        let document = format!(
            "- name: Example Spy\n  names:\n  - Spy\n  type: spy\n  packages:\n  - com.example.spy\n  certificates:\n\
             \x20 - {}\n  - {colons}\n  websites:\n  - shop.example.com\n  c2:\n    domains:\n    - a.example.com\n\
             \x20   ips: [9.9.9.9, '2001:db8::1']\n- hashes:\n    sha256: {}\n    ssdeep: 3:abc:def\n  signature: Other\n",
            sha1('A'),
            "c".repeat(64),
        );
        let (entries, report) = collect(document.as_bytes(), "x.yaml", None);
        assert_eq!(report.format, Format::Yaml);
        assert_eq!(
            entries,
            [
                format!("cert-sha1:{} bad-certificate \"Example Spy\"", sha1('a')),
                format!("cert-sha1:{} bad-certificate \"Example Spy\"", "ab".repeat(20)),
                "domain:a.example.com malicious-address \"Example Spy\"".into(),
                "ipv4:9.9.9.9 malicious-address \"Example Spy\"".into(),
                format!("sha256:{} malware \"Other\"", "c".repeat(64)),
            ]
        );
        assert_eq!((report.records, report.rejected, report.unsupported), (5, 0, 6));
        assert_eq!((report.refusals[0].line, &*report.refusals[0].excerpt), (3, "Spy"));
    }

    #[test]
    fn items_need_no_indentation() {
        let document = format!("---\n# Made up.\ncertificates:\n- {}\n- {}\n", sha1('1'), sha1('2'));
        let (entries, report) = collect(document.as_bytes(), "", None);
        assert_eq!((entries.len(), report.format), (2, Format::Yaml));
        assert!(entries[0].starts_with("cert-sha1:"));
    }

    #[test]
    fn documents_without_lists_of_indicators_are_refused() {
        for document in [
            "- name: Evil\n  type: spy\n  websites:\n  - evil.com\n  - evil.net\n",
            "services:\n  web:\n    hostname: web.example.com\n    url: https://web.example.com/x\n    links:\n    - db\n",
        ] {
            let refused = try_collect(document.as_bytes(), "x.yaml", None, &options());
            assert!(matches!(refused, Err(FeedError::Refused(Refusal { what: "a YAML document", .. }))), "{document}");
        }
    }

    #[test]
    fn keys_and_aliases_are_no_values() {
        let document = "domains: &all\n- a.example.com\n? [b.example.com]\n: c.example.com\n? *all\n: x\nips: *all\n\
                        ip: 9.9.9.9\n";
        let (entries, report) = collect(document.as_bytes(), "", Some(Format::Yaml));
        assert_eq!(entries, ["domain:a.example.com malicious-address", "ipv4:9.9.9.9 malicious-address"]);
        assert_eq!(report.unsupported, 3);
    }

    #[test]
    fn hostile_documents_end_in_an_error() {
        let long = 1 << 17;
        for document in [
            "[".repeat(long),
            "{a: ".repeat(long),
            "- ".repeat(long),
            "? ".repeat(long),
            "&a ".repeat(long),
            "domains:\n- \"x".into(),
            "a: b: c".into(),
            (0..long).map(|depth| " ".repeat(depth % 700) + "a:\n").collect(),
        ] {
            let read = try_collect(document.as_bytes(), "", Some(Format::Yaml), &options());
            let start: String = document.chars().take(8).collect();
            assert!(matches!(read, Err(FeedError::Malformed { .. })), "{start}: {read:?}");
        }
        let laughs = format!("a: &a [x, x]\n{}", (0..64).map(|_| "b: &a [*a, *a, *a, *a]\n").collect::<String>());
        assert!(try_collect(laughs.as_bytes(), "", Some(Format::Yaml), &options()).is_ok());
    }
}
