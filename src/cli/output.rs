//! Formats answers as a table or as JSON.

use std::{
    fmt,
    io::{self, IsTerminal, StdoutLock, Write},
};

use ksn::{
    Answer, Origin, Record, Status,
    batch::Unanswered,
    key::{Key, KeyKind},
    record::RecordType,
};
use serde::Serialize;

use super::keys::ParsedKey;

/// One key and its answer.
#[derive(Debug)]
pub(super) struct Row {
    /// The key as given.
    pub(super) text: String,
    /// `None` when the text is not a key.
    kind: Option<KeyKind>,
    answer: Answer,
    /// Why the key was not answered.
    reason: Option<String>,
}

impl Row {
    /// Creates the row of a key that was looked up.
    pub(super) fn answered(text: String, key: &Key, answer: Answer) -> Self {
        let reason = reason(key.kind(), &answer);
        Self { text, kind: Some(key.kind()), answer, reason }
    }

    /// Creates the row of a key that was not looked up.
    pub(super) fn not_asked(text: String, key: &Key, reason: &str) -> Self {
        Self::without_answer(text, Some(key.kind()), Status::NotAsked, reason)
    }

    /// Creates the row of a text that is not a key.
    pub(super) fn invalid(parsed: ParsedKey) -> Self {
        let (status, reason) = match &parsed.key {
            Err(invalid) if invalid.is_unsupported => (Status::Unsupported, &*invalid.reason),
            Err(invalid) => (Status::Error, &*invalid.reason),
            Ok(_) => (Status::Error, ""),
        };
        Self::without_answer(parsed.text, None, status, reason)
    }

    fn without_answer(text: String, kind: Option<KeyKind>, status: Status, reason: &str) -> Self {
        let answer = Answer { status, ..Answer::unknown(Origin::Local, 0) };
        Self { text, kind, answer, reason: Some(reason.into()) }
    }

    pub(super) fn answer(&self) -> &Answer {
        &self.answer
    }
}

/// Returns why a backend did not answer a key, if it did not.
pub(super) fn reason(kind: KeyKind, answer: &Answer) -> Option<String> {
    match answer.reason {
        Some(Unanswered::Unsupported) => Some(format!("{kind} keys are not supported by this backend")),
        Some(Unanswered::Malformed) => Some("the key is malformed".into()),
        None if answer.status == Status::Error && answer.is_cut => {
            Some("too many records match the prefix: look it up without `--prefix`".into())
        }
        None => None,
    }
}

/// A row in JSON. Fields are added, never removed or changed.
#[derive(Debug, Serialize)]
struct JsonRow<'a> {
    key: &'a str,
    kind: Option<&'static str>,
    status: &'static str,
    origin: &'static str,
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Number of records that matched the prefix, when keys are looked up by prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<u32>,
    #[serde(flatten)]
    winner: Option<JsonRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<JsonRecord<'a>>>,
    /// Present only when records were omitted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

/// A record in JSON.
#[derive(Debug, Serialize)]
pub(super) struct JsonRecord<'a> {
    name: &'a str,
    /// A string, because many languages lose precision above 2^53.
    record_id: String,
    record_type: &'static str,
    timestamp: Option<String>,
    source: &'a str,
    matched: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry: Option<String>,
}

impl<'a> From<&'a Record> for JsonRecord<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            name: &record.name,
            record_id: record.id.to_string(),
            record_type: record.record_type.name(),
            timestamp: record.timestamp.map(|time| time.to_string()),
            source: &record.source,
            matched: record.matched.as_deref(),
            scope: record.scope.map(|scope| scope.name()),
            port: record.port,
            expiry: record.expiry.map(|time| time.to_string()),
        }
    }
}

/// Writes the row as one line of JSON.
pub(super) fn write_json(out: &mut impl Write, row: &Row, with_all: bool, with_candidates: bool) -> io::Result<()> {
    let answer = &row.answer;
    let row = JsonRow {
        key: &row.text,
        kind: row.kind.map(KeyKind::prefix),
        status: answer.status.name(),
        origin: answer.origin.name(),
        generation: generation(answer),
        reason: row.reason.as_deref(),
        candidates: with_candidates.then_some(answer.candidates),
        winner: answer.winner().map(JsonRecord::from),
        records: with_all.then(|| answer.records.iter().map(JsonRecord::from).collect()),
        cut: answer.is_cut,
    };
    write_json_line(out, &row)
}

/// Returns the generation that an answer comes from, if there is an answer.
pub(super) fn generation(answer: &Answer) -> Option<u64> {
    matches!(answer.status, Status::Known | Status::Unknown).then_some(answer.generation)
}

/// Writes a value as one line of JSON.
pub(super) fn write_json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Writes rows in columns: the record type or status, the key, then the record or reason.
pub(super) fn write_table(out: &mut impl Write, rows: &[Row], with_all: bool, paint: Paint) -> io::Result<()> {
    // Longer addresses shift only their own line.
    let width = rows.iter().map(|row| row.text.chars().count()).max().unwrap_or(0).min(KEY_WIDTH_MAX);
    for row in rows {
        let (label, text) = (Label::of(&row.answer), plain(&row.text));
        let Some(winner) = row.answer.winner() else {
            // Why nothing was asked is the same for all keys: it is reported once, on standard error.
            let reason = row.reason.as_deref().filter(|_| row.answer.status != Status::NotAsked);
            write_line(out, label, &text, reason, width, paint)?;
            continue;
        };
        write_line(out, label, &text, Some(&describe(winner)), width, paint)?;
        for record in row.answer.records.iter().skip(1).filter(|_| with_all) {
            write_line(out, Label::of_type(record.record_type), "  also", Some(&describe(record)), width, paint)?;
        }
        if row.answer.is_cut {
            write_line(out, Label("", Colour::Dim), "  truncated: more records match", None, width, paint)?;
        }
    }
    Ok(())
}

/// Writes a line in columns: the label, the key or file in `width` columns, and a description.
pub(super) fn write_line(
    out: &mut impl Write,
    label: Label,
    subject: &str,
    about: Option<&str>,
    width: usize,
    paint: Paint,
) -> io::Result<()> {
    let Label(word, colour) = label;
    let pad = TYPE_WIDTH.saturating_sub(word.len());
    write!(out, "{}{:pad$}", paint.text(word, colour), "")?;
    match about {
        Some(about) => writeln!(out, "  {subject:<width$}  {}", plain(about)),
        None => writeln!(out, "  {subject}"),
    }
}

/// The first column of a table: a record type or a status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(&'static str, Colour);

impl Label {
    /// Returns the type of the winner, else the status.
    pub(super) fn of(answer: &Answer) -> Self {
        match (answer.winner(), answer.status) {
            (Some(record), _) => Self::of_type(record.record_type),
            (None, Status::Unknown) => Self("unknown", Colour::Dim),
            (None, status) => Self(status.name(), Colour::Yellow),
        }
    }

    fn of_type(record_type: RecordType) -> Self {
        let colour = match record_type {
            RecordType::Trusted => Colour::Green,
            bad if bad.is_bad() => Colour::Red,
            _ => Colour::Yellow,
        };
        Self(record_type.name(), colour)
    }
}

/// Formats a record: `Name (source ID, time), matched domain evil.example, port 443`.
pub(super) fn describe(record: &Record) -> String {
    let mut text = if record.name.is_empty() { "-".into() } else { plain(&record.name) };
    text += &format!(" ({} {}", plain(&record.source), record.id);
    if let Some(time) = record.timestamp {
        text += &format!(", {time}");
    }
    text.push(')');
    match (&record.matched, record.scope) {
        (Some(matched), Some(scope)) => text += &format!(", matched {scope} {matched}"),
        (Some(matched), None) => text += &format!(", matched {matched}"),
        _ => {}
    }
    if let Some(port) = record.port {
        text += &format!(", port {port}");
    }
    if let Some(expiry) = record.expiry {
        text += &format!(", expires {expiry}");
    }
    text
}

/// Replaces control characters in untrusted text, which could control a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The width of `malicious-address`.
const TYPE_WIDTH: usize = 17;

/// The width of `cert-sha256:` and 64 digits.
const KEY_WIDTH_MAX: usize = 76;

/// Colours by meaning: bad, good, attention, unknown.
#[derive(Clone, Copy, Debug)]
enum Colour {
    Red,
    Green,
    Yellow,
    Dim,
}

/// Whether to use colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    /// Enables colours when standard output supports them.
    pub(super) fn for_stdout() -> Self {
        Self(has_colours(&io::stdout()))
    }

    fn text(self, text: &str, colour: Colour) -> String {
        let code = match colour {
            Colour::Red => "1;31",
            Colour::Green => "32",
            Colour::Yellow => "33",
            Colour::Dim => "2",
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}

/// Returns whether the stream is a terminal with colours, and `NO_COLOR` is not set (<https://no-color.org>).
pub(super) fn has_colours(stream: &impl IsTerminal) -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !is_refused
}

/// Returns standard output, block-buffered even on a terminal.
pub(super) fn stdout() -> io::BufWriter<StdoutLock<'static>> {
    io::BufWriter::with_capacity(64 << 10, io::stdout().lock())
}

/// Formats a count with its unit: `1 thread`, `2 threads`.
pub(super) struct Plural(pub(super) u64, pub(super) &'static str);

impl fmt::Display for Plural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = match (self.0, self.1) {
            (1, _) => "",
            (_, word) if word.ends_with("ch") || word.ends_with("ss") => "es",
            _ => "s",
        };
        write!(f, "{} {}{ending}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_plural() {
        let texts = [Plural(1, "batch"), Plural(2, "batch"), Plural(2, "miss"), Plural(0, "thread")];
        assert_eq!(texts.map(|count| count.to_string()), ["1 batch", "2 batches", "2 misses", "0 threads"]);
    }
}
