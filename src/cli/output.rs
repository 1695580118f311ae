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

use super::{exit::Tally, keys::ParsedKey};

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
        let reason = answer.reason.map(|unanswered| match unanswered {
            Unanswered::Unsupported => format!("{} keys are not supported by this backend", key.kind()),
            Unanswered::Malformed => "the key is malformed".into(),
        });
        let has_too_many = answer.status == Status::Error && answer.is_cut;
        let reason = reason.or_else(|| {
            has_too_many.then(|| "too many records match the prefix: look it up without `--prefix`".into())
        });
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

    pub(super) fn winner(&self) -> Option<&Record> {
        self.answer.winner()
    }

    /// Adds the row to the tally, which determines the exit code.
    pub(super) fn count(&self, tally: &mut Tally, fail_on: &[RecordType]) {
        tally.has_bad |= self.winner().is_some_and(|record| fail_on.contains(&record.record_type));
        tally.has_errors |= matches!(self.answer.status, Status::Error | Status::NotAsked);
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
    let is_known = answer.status == Status::Known;
    let row = JsonRow {
        key: &row.text,
        kind: row.kind.map(KeyKind::prefix),
        status: answer.status.name(),
        origin: answer.origin.name(),
        generation: Some(answer.generation).filter(|_| is_known || answer.status == Status::Unknown),
        reason: row.reason.as_deref(),
        candidates: with_candidates.then_some(answer.candidates),
        winner: answer.winner().map(JsonRecord::from),
        records: with_all.then(|| answer.records.iter().map(JsonRecord::from).collect()),
        cut: answer.is_cut,
    };
    serde_json::to_writer(&mut *out, &row)?;
    out.write_all(b"\n")
}

/// Writes rows in columns: the record type or status, the key, then the record or reason.
pub(super) fn write_table(out: &mut impl Write, rows: &[Row], with_all: bool, paint: Paint) -> io::Result<()> {
    // Longer addresses shift only their own line.
    let width = rows.iter().map(|row| row.text.chars().count()).max().unwrap_or(0).min(KEY_WIDTH_MAX);
    for row in rows {
        let Some(winner) = row.winner() else {
            let (word, colour) = match row.answer.status {
                Status::Unknown => ("unknown", Colour::Dim),
                status => (status.name(), Colour::Yellow),
            };
            write_cell(out, word, colour, paint)?;
            match &row.reason {
                // Why nothing was asked is the same for all keys: it is reported once, on standard error.
                Some(reason) if row.answer.status != Status::NotAsked => {
                    writeln!(out, "  {:<width$}  {reason}", plain(&row.text))?
                }
                _ => writeln!(out, "  {}", plain(&row.text))?,
            }
            continue;
        };
        let others = if with_all { &row.answer.records[..] } else { std::slice::from_ref(winner) };
        for (at, record) in others.iter().enumerate() {
            write_cell(out, record.record_type.name(), colour_of(record.record_type), paint)?;
            let text = if at == 0 { plain(&row.text) } else { "  also".into() };
            writeln!(out, "  {text:<width$}  {}", describe(record))?;
        }
        if row.answer.is_cut {
            writeln!(out, "{:TYPE_WIDTH$}  {:<width$}", "", "  truncated: more records match")?;
        }
    }
    Ok(())
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

fn write_cell(out: &mut impl Write, word: &str, colour: Colour, paint: Paint) -> io::Result<()> {
    let pad = TYPE_WIDTH.saturating_sub(word.len());
    write!(out, "{}{:pad$}", paint.text(word, colour), "")
}

/// The width of `malicious-address`.
const TYPE_WIDTH: usize = 17;

/// The width of `cert-sha256:` and 64 digits.
const KEY_WIDTH_MAX: usize = 76;

fn colour_of(record_type: RecordType) -> Colour {
    match record_type {
        RecordType::Trusted => Colour::Green,
        bad if bad.is_bad() => Colour::Red,
        _ => Colour::Yellow,
    }
}

/// Colours by meaning: bad, good, attention, unknown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Colour {
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

    pub(super) fn text(self, text: &str, colour: Colour) -> String {
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
