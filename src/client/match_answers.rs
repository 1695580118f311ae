//! Matches the answers of a server to the keys of a batch.
//!
//! Checks everything that only the client can check: the numbers of columns and rows, that every frame makes progress,
//! that a candidate has the suffix of the requested digest, and that an expression may match its address in the scope
//! that the server sent.

use std::sync::Arc;

use super::{
    error::LookupError,
    key_batch::{KeyBatch, Rows},
};
use crate::{
    answer::{Answer, Origin, Record, Status},
    batch::Detail,
    limits::RECORDS_PER_KEY_MAX,
    record::{PrecedenceKey, Specificity, sort_by_precedence},
    wire::{AnswerMeta, AnswerView, HitRow, WireError},
};

/// Stores the answers of one frame in `answers`, by list index, with their lifetimes. Returns the indexes of the keys that were not answered,
/// ascending: all rows of these keys MUST be requested again.
///
/// Fails with [`MatchError`] when the frame does not fit the request.
pub(super) fn match_answers(
    view: &AnswerView<'_>,
    batch: &KeyBatch,
    answers: &mut [Answer],
) -> Result<Vec<u32>, MatchError> {
    let answered: Vec<u32> = view.answered().collect();
    if answered.len() != batch.columns.len() {
        return Err(MatchError::Columns { expected: batch.columns.len(), found: answered.len() });
    }
    let AnswerMeta { generation, negative_ttl_s, .. } = view.meta();
    let unknown = Answer { ttl_s: negative_ttl_s, ..Answer::unknown(Origin::Server, generation) };
    for (number, (column, &rows)) in batch.columns.iter().zip(&answered).enumerate() {
        let asked = column.keys.len();
        if rows as usize > asked || ((rows as usize) < asked && !view.is_truncated()) {
            return Err(MatchError::Rows { column: number, expected: asked, found: rows });
        }
        for &at in &column.keys[..rows as usize] {
            answers[at as usize] = unknown.clone();
        }
    }
    // An address may have both answered and unanswered rows: then it counts as unanswered.
    let beyond = batch.columns.iter().zip(&answered).flat_map(|(column, &rows)| &column.keys[rows as usize..]);
    let mut remaining: Vec<u32> = beyond.copied().collect();
    remaining.sort_unstable();
    remaining.dedup();
    remaining.iter().for_each(|&at| answers[at as usize] = Answer::not_asked());
    if !remaining.is_empty() && answered.iter().all(|&rows| rows == 0) {
        return Err(MatchError::NoProgress);
    }
    match_hits(view, batch, &answered, answers)?;
    for unanswered in view.unanswered() {
        let column = usize::from(unanswered.column());
        let keys = &batch.columns[column].keys[..answered[column] as usize];
        let unanswered_keys = match unanswered.row() {
            None => keys,
            Some(row) => {
                let rows = answered[column];
                keys.get(row as usize).map(std::slice::from_ref).ok_or(MatchError::Row { column, row, rows })?
            }
        };
        for &at in unanswered_keys {
            let answer = &mut answers[at as usize];
            if answer.status != Status::NotAsked {
                *answer = Answer::unanswered(unanswered.unanswered(), Origin::Server, generation);
            }
        }
    }
    if let (&[at], 1) = (&remaining[..], batch.len()) {
        // The answer to this one address exceeds a frame: a retry cannot succeed.
        set_incomplete(&mut answers[at as usize], generation);
        remaining.clear();
    }
    Ok(remaining)
}

/// Stores the records of all keys that were answered in full. Those of web addresses sent as prefixes are collected
/// over all rows first.
fn match_hits(
    view: &AnswerView<'_>,
    batch: &KeyBatch,
    answered: &[u32],
    answers: &mut [Answer],
) -> Result<(), MatchError> {
    let mut texts: Vec<Option<Arc<str>>> = vec![None; view.texts()];
    let positive_ttl_s = view.meta().positive_ttl_s;
    let (mut matches, mut short) = (Vec::new(), Vec::new());
    for (hit, suffix) in view.candidates(&batch.columns())? {
        let position = hit.position();
        let (column, row) = (usize::from(position.column), position.row as usize);
        let rows = answered[column];
        if position.row >= rows {
            return Err(MatchError::Row { column, row: position.row, rows });
        }
        let column = &batch.columns[column];
        let at = column.keys[row];
        let answer = &mut answers[at as usize];
        if answer.status == Status::NotAsked {
            // The address has unanswered rows too.
            continue;
        }
        match &column.rows {
            Rows::Whole(_) => {}
            Rows::Digests(_, prefixes) => {
                answer.candidates += 1;
                if !prefixes.has_suffix(row, suffix) {
                    if hit.is_short_of_candidates() && answer.status == Status::Unknown {
                        // A candidate that did not fit may have been the match.
                        (answer.status, answer.is_cut, answer.ttl_s) = (Status::Error, true, 0);
                    }
                    continue;
                }
            }
            Rows::Expressions(expressions) => {
                answer.candidates += 1;
                if hit.is_short_of_candidates() {
                    short.push(at);
                }
                if let (Some((scopes, text)), Some(scope)) = (expressions.text(row, suffix), hit.scope())
                    && scopes.contains(scope)
                {
                    matches.push(Match { at, hit, specificity: Specificity::of_web(scope, text), text: Some(text) });
                }
                continue;
            }
            Rows::Hosts(_) => {
                answer.candidates += 1;
                if hit.is_cut() {
                    short.push(at);
                }
                let block = view.text(hit.matched_text()).parse().map(Specificity::of_block);
                matches.push(Match { at, hit, specificity: block.unwrap_or_default(), text: None });
                continue;
            }
        }
        (answer.status, answer.ttl_s) = (Status::Known, positive_ttl_s);
        // The server sends more than the winner if other keys of the batch require it.
        if batch.detail == Detail::All || answer.records.is_empty() {
            answer.is_cut |= hit.is_cut();
            answer.records.push(record(view, hit, &mut texts));
        }
    }
    merge_matches(view, batch.detail, matches, &mut texts, answers);
    for at in short {
        // A record that did not fit may have been the winner.
        set_incomplete(&mut answers[at as usize], view.meta().generation);
    }
    Ok(())
}

/// Merges the records of all rows of each address, in the order in which a server returns them for a whole address.
fn merge_matches(
    view: &AnswerView<'_>,
    detail: Detail,
    mut matches: Vec<Match<'_>>,
    texts: &mut [Option<Arc<str>>],
    answers: &mut [Answer],
) {
    matches.sort_by_key(|found| found.at);
    for own in matches.chunk_by_mut(|a, b| a.at == b.at) {
        sort_by_precedence(own, |found| found.precedence_key(view));
        let answer = &mut answers[own[0].at as usize];
        (answer.status, answer.ttl_s) = (Status::Known, view.meta().positive_ttl_s);
        answer.is_cut = own.iter().any(|found| found.hit.is_cut());
        let most = match detail {
            Detail::Winner => 1,
            Detail::All => {
                answer.is_cut |= own.len() > RECORDS_PER_KEY_MAX;
                RECORDS_PER_KEY_MAX
            }
        };
        answer.records = own.iter().take(most).map(|found| found.record(view, texts)).collect();
    }
}

/// A record that matched a web address sent as prefixes.
struct Match<'a> {
    /// The list index of the address.
    at: u32,
    hit: &'a HitRow,
    specificity: Specificity,
    /// The expression that matched; `None` for a block of IPv4 addresses, whose text the server sends.
    text: Option<&'a [u8]>,
}

impl Match<'_> {
    fn precedence_key<'v>(&self, view: &AnswerView<'v>) -> PrecedenceKey<&'v str> {
        PrecedenceKey {
            record_type: self.hit.record_type(),
            specificity: self.specificity,
            timestamp: self.hit.timestamp(),
            source: view.text(self.hit.source_text()),
            id: self.hit.id(),
        }
    }

    fn record(&self, view: &AnswerView<'_>, texts: &mut [Option<Arc<str>>]) -> Record {
        let mut record = record(view, self.hit, texts);
        if let Some(text) = self.text {
            record.matched = Some(String::from_utf8_lossy(text).as_ref().into());
        }
        record
    }
}

/// Turns an answer into an error: the server has more candidates for the key than a frame holds.
fn set_incomplete(answer: &mut Answer, generation: u64) {
    let candidates = answer.candidates;
    let unknown = Answer::unknown(Origin::Server, generation);
    *answer = Answer { status: Status::Error, is_cut: true, candidates, ..unknown };
}

/// Why an answer does not fit its request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MatchError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("expected an answer with {expected} columns, found {found}")]
    Columns { expected: usize, found: usize },
    #[error("expected {expected} answered rows in column {column}, found {found}")]
    Rows { column: usize, expected: usize, found: u32 },
    #[error("expected a row number below {rows} in column {column}, found {row}")]
    Row { column: usize, row: u32, rows: u32 },
    #[error("expected at least one answered row in a truncated answer, found none")]
    NoProgress,
}

impl From<MatchError> for LookupError {
    fn from(error: MatchError) -> Self {
        Self::Protocol(Arc::new(error))
    }
}

fn record(view: &AnswerView<'_>, hit: &HitRow, texts: &mut [Option<Arc<str>>]) -> Record {
    let mut text = |number: u32| match texts.get_mut(number as usize) {
        Some(slot) => slot.get_or_insert_with(|| view.text(number).into()).clone(),
        None => Arc::default(),
    };
    Record {
        name: text(hit.name_text()),
        id: hit.id(),
        record_type: hit.record_type(),
        source: text(hit.source_text()),
        timestamp: hit.timestamp(),
        expiry: hit.expiry(),
        matched: Some(hit.matched_text()).filter(|&number| number != 0).map(text),
        scope: hit.scope(),
        port: hit.port(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        batch::{Hit, Matched, Position, Sink, Unanswered},
        client::batcher::{Batcher, tests::keys},
        key::{DigestKind, Key, PrefixWidth},
        wire::{AnswerCaps, AnswerWriter, HEADER_BYTES, Header, ServerLimits},
    };

    const POSITIVE_TTL_S: u32 = 3_600;
    const NEGATIVE_TTL_S: u32 = 300;

    const META: AnswerMeta<'_> = AnswerMeta {
        dataset: "d",
        generation: 1,
        sequence: 0,
        positive_ttl_s: POSITIVE_TTL_S,
        negative_ttl_s: NEGATIVE_TTL_S,
    };

    #[test]
    fn answers_that_do_not_match_the_request_are_rejected() {
        let keys = keys();
        let batch = Batcher::new(&keys, ServerLimits::default(), Detail::Winner, None).next().unwrap();
        let mut answers = vec![Answer::unknown(Origin::Server, 0); keys.len()];
        let mut matched = |columns: u16, rows: u32, row: u32, truncated: bool| {
            let body_bytes = if truncated { 1 } else { 1 << 20 };
            let mut writer = AnswerWriter::new(AnswerCaps { body_bytes, ..AnswerCaps::default() });
            writer.begin(columns);
            (0..columns).for_each(|column| writer.answered(column, rows));
            let _ = writer.unanswered(Position { column: 0, row }, Unanswered::Malformed);
            let _ = writer.unanswered(Position { column: 0, row: row + 1 }, Unanswered::Malformed);
            let frame = writer.finish(&META);
            let (header, body) = Header::split(&frame).unwrap();
            match_answers(&AnswerView::parse(&header, body).unwrap(), &batch, &mut answers)
        };
        assert_eq!(matched(3, 10, 0, false), Ok(vec![]));
        assert_eq!(matched(2, 10, 0, false), Err(MatchError::Columns { expected: 3, found: 2 }));
        assert_eq!(matched(3, 11, 0, false), Err(MatchError::Rows { column: 0, expected: 10, found: 11 }));
        assert_eq!(matched(3, 9, 0, false), Err(MatchError::Rows { column: 0, expected: 10, found: 9 }));
        assert_eq!(matched(3, 10, 9, false), Err(MatchError::Row { column: 0, row: 10, rows: 10 }));
        assert_eq!(matched(3, 0, 0, true), Err(MatchError::NoProgress));
        assert_eq!(matched(3, 9, 0, true).map(|remaining| remaining.len()), Ok(3));
    }

    #[test]
    fn lifetimes_are_those_of_known_and_unknown_keys() {
        let keys: Vec<Key> = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]
            .map(|address| address.parse::<std::net::Ipv4Addr>().unwrap().into())
            .into();
        let batch = Batcher::new(&keys, ServerLimits::default(), Detail::Winner, None).next().unwrap();
        let mut answers = vec![Answer::not_asked(); keys.len()];
        let frame = |body_bytes| {
            let mut writer = AnswerWriter::new(AnswerCaps { body_bytes, ..AnswerCaps::default() });
            writer.begin(1);
            let at = |row| Position { column: 0, row };
            let _ = writer.hit(at(0), &hit(1, Matched::Block("192.0.2.0/31".parse().unwrap())));
            let _ = writer.unanswered(at(1), Unanswered::Malformed);
            let is_whole = writer.hit(at(3), &hit(2, Matched::Block("192.0.2.4".parse().unwrap()))).is_continue();
            writer.answered(0, if is_whole { 4 } else { 3 });
            writer.finish(&META)
        };
        // The last hit does not fit.
        let frame = frame(frame(1 << 20).len() - HEADER_BYTES - 1);
        let (header, body) = Header::split(&frame).unwrap();
        let remaining = match_answers(&AnswerView::parse(&header, body).unwrap(), &batch, &mut answers);
        assert_eq!(remaining, Ok(vec![3]));
        let found: Vec<_> = answers.iter().map(|answer| (answer.status, answer.ttl_s)).collect();
        let expected = [
            (Status::Known, POSITIVE_TTL_S),
            (Status::Error, 0),
            (Status::Unknown, NEGATIVE_TTL_S),
            (Status::NotAsked, 0),
        ];
        assert_eq!(found, expected);
    }

    fn hit<'a>(id: u64, matched: Matched<'a>) -> Hit<'a> {
        Hit {
            id,
            record_type: crate::record::RecordType::Malware,
            name: "",
            name_number: 0,
            source: "s",
            source_number: 0,
            timestamp: None,
            expiry: None,
            port: None,
            matched,
        }
    }

    #[test]
    fn candidate_suffixes_are_compared_and_validated() {
        let key = Key::from(crate::key::Digest::new(DigestKind::Md5, &[7; 16]).unwrap());
        let mut batch = KeyBatch::new(Detail::All, Some(PrefixWidth::Eight));
        batch.push(0, &key);
        let matched = |suffixes: &[&[u8]], caps: AnswerCaps| {
            let mut answers = [Answer::not_asked()];
            let mut writer = AnswerWriter::new(caps);
            writer.begin(1);
            for (id, &suffix) in (0..).zip(suffixes) {
                let matched = if suffix.is_empty() { Matched::Digest } else { Matched::Suffix(suffix) };
                assert!(writer.hit(Position { column: 0, row: 0 }, &hit(id, matched)).is_continue());
            }
            writer.answered(0, 1);
            let frame = writer.finish(&META);
            let (header, body) = Header::split(&frame).unwrap();
            match_answers(&AnswerView::parse(&header, body).unwrap(), &batch, &mut answers)?;
            let [answer] = answers;
            let ttl_s = match answer.status {
                Status::Known => POSITIVE_TTL_S,
                Status::Unknown => NEGATIVE_TTL_S,
                // The match may be a candidate that was cut.
                _ => 0,
            };
            assert_eq!(answer.ttl_s, ttl_s, "{answer:?}");
            let ids: Vec<u64> = answer.records.iter().map(|record| record.id).collect();
            Ok::<_, MatchError>((answer.status, answer.is_cut, answer.candidates, ids))
        };
        let default_caps = AnswerCaps::default();
        let (other, own) = (&[8; 8][..], &[7; 8][..]);
        assert_eq!(matched(&[], default_caps), Ok((Status::Unknown, false, 0, vec![])));
        assert_eq!(matched(&[other], default_caps), Ok((Status::Unknown, false, 1, vec![])));
        assert_eq!(matched(&[other, own, own], default_caps), Ok((Status::Known, false, 3, vec![1, 2])));
        // The candidate that was cut may have been the match.
        let tight_caps = AnswerCaps { body_bytes: 1, ..default_caps };
        assert_eq!(matched(&[other, own], tight_caps), Ok((Status::Error, true, 1, vec![])));
        assert_eq!(matched(&[own, other], tight_caps), Ok((Status::Known, true, 1, vec![0])));
        for wrong in [&[][..], &[7; 7], &[7; 9], &[7; 16]] {
            let expected = WireError::Mismatch { field: "suffixes", expected: 8, found: wrong.len() as u64 };
            assert_eq!(matched(&[wrong], default_caps), Err(MatchError::Wire(expected)));
        }
    }
}
