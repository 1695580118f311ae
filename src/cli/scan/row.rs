//! Formats the answer for a file.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Write},
};

use ksn::{
    Answer, Origin, Status,
    key::{Hex, KeyKind},
};
use serde::Serialize;

use super::{
    super::{
        merge::{Merged, merge},
        output::{self, JsonRecord, Label, Paint},
    },
    hash::{Outcome, Scanned},
};

/// A file and the answer for it.
pub(super) struct Row<'a> {
    pub(super) scanned: &'a Scanned,
    /// The merged answer to the digests of the file.
    pub(super) answer: Answer,
    /// The kind of digest that the winner was found by, and whether it is trusted by weak digests only.
    found_by: Option<(KeyKind, bool)>,
    /// Why there is no answer.
    reason: Option<Cow<'a, str>>,
}

impl<'a> Row<'a> {
    /// Creates the row of a file from the answers to its digests.
    pub(super) fn answered(scanned: &'a Scanned, answers: Vec<Answer>) -> Self {
        let kinds = scanned.digests().iter().map(|digest| KeyKind::Digest(digest.kind()));
        if answers.len() < kinds.len() {
            return Self::unanswered(scanned, Status::NotAsked, "the backend returned fewer answers than keys");
        }
        let is_answered = |answer: &Answer| matches!(answer.status, Status::Known | Status::Unknown);
        let mut row = Self::unanswered(scanned, Status::Unknown, "");
        row.reason = None;
        if let Some(Merged { record, kind, is_weak }) = merge(kinds.clone().zip(&answers)) {
            row.found_by = Some((kind, is_weak));
            let found = answers.iter().find(|answer| answer.winner().is_some_and(|other| std::ptr::eq(other, record)));
            row.answer = found.unwrap_or(&row.answer).clone();
        } else if let Some((kind, answer)) = kinds.zip(&answers).find(|(_, answer)| !is_answered(answer)) {
            // Unknown by the other digests is not unknown.
            row.reason = output::reason(kind, answer).map(Cow::Owned);
            row.answer = answer.clone();
        } else if let Some(answer) = answers.into_iter().next() {
            row.answer = answer;
        }
        row
    }

    /// Creates the row of a file that was not hashed or not looked up.
    pub(super) fn unanswered(scanned: &'a Scanned, status: Status, reason: &'a str) -> Self {
        let answer = Answer { status, ..Answer::unknown(Origin::Local, 0) };
        Self { scanned, answer, found_by: None, reason: Some(reason.into()) }
    }

    /// Writes one line: the record type or status, the file, then the record or reason.
    pub(super) fn write_line(&self, out: &mut impl Write, paint: Paint) -> io::Result<()> {
        let file = output::plain(&self.scanned.target.path.to_string_lossy());
        let about = match (self.answer.winner(), self.found_by) {
            (Some(record), Some((kind, is_weak))) => {
                let weak = if is_weak { ", weak: another file with this digest can be made" } else { "" };
                Some(Cow::Owned(format!("{}, by {kind}{weak}", output::describe(record))))
            }
            _ => self.reason.as_deref().map(Cow::Borrowed),
        };
        output::write_line(out, Label::of(&self.answer), &file, about.as_deref(), 0, paint)
    }

    /// Writes one line of JSON.
    pub(super) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let path = &self.scanned.target.path;
        let digest = |digest: &ksn::key::Digest| (digest.kind().prefix(), Hex(digest.bytes()).to_string());
        let row = JsonFile {
            file: path.to_string_lossy(),
            path_bytes: match path.to_str() {
                Some(_) => None,
                None => Some(Hex(path.as_os_str().as_encoded_bytes()).to_string()),
            },
            status: self.answer.status.name(),
            origin: self.answer.origin.name(),
            generation: output::generation(&self.answer),
            reason: self.reason.as_deref(),
            bytes: match self.scanned.outcome {
                Outcome::Hashed { bytes, .. } => Some(bytes),
                _ => None,
            },
            digests: self.scanned.digests().iter().map(digest).collect(),
            found_by: self.found_by.map(|(kind, _)| kind.prefix()),
            weak: self.found_by.map(|(_, is_weak)| is_weak),
            winner: self.answer.winner().map(JsonRecord::from),
        };
        output::write_json_line(out, &row)
    }
}

/// A file in JSON. Fields are added, never removed or changed.
#[derive(Debug, Serialize)]
struct JsonFile<'a> {
    /// The path; bytes that are not UTF-8 are replaced.
    file: Cow<'a, str>,
    /// The bytes of the path in hexadecimal, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    status: &'static str,
    origin: &'static str,
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// The size of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// One field per algorithm.
    #[serde(flatten)]
    digests: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weak: Option<bool>,
    #[serde(flatten)]
    winner: Option<JsonRecord<'a>>,
}
