//! The answers of a server at the places of the keys that they are about.
//!
//! Everything that only the asker knows is checked here: columns and rows, that a frame came a step further, that a
//! candidate is what was meant, and that an address is matched by an expression in the scope that the server tells.

use std::sync::Arc;

use super::plan::{Batch, Rows};
use crate::{
    answer::{Answer, Origin, Record, Status},
    batch::Detail,
    limits::RECORDS_PER_KEY_MAX,
    record::{Specificity, Standing, sort_by_precedence},
    wire::{AnswerView, HitRow, WireError},
};

/// Puts the answers of one frame into their places. What was not answered comes back: the keys to ask again, in the
/// order of the list, all of whose rows are to be asked.
pub(super) fn place(view: &AnswerView<'_>, batch: &Batch, answers: &mut [Answer]) -> Result<Vec<u32>, PlaceError> {
    let answered: Vec<u32> = view.answered().collect();
    if answered.len() != batch.columns.len() {
        return Err(PlaceError::Columns { expected: batch.columns.len(), found: answered.len() });
    }
    let generation = view.meta().generation;
    for (number, (column, &rows)) in batch.columns.iter().zip(&answered).enumerate() {
        let asked = column.keys.len();
        if rows as usize > asked || ((rows as usize) < asked && !view.is_truncated()) {
            return Err(PlaceError::Rows { column: number, expected: asked, found: rows });
        }
        for &at in &column.keys[..rows as usize] {
            answers[at as usize] = Answer::unknown(Origin::Server, generation);
        }
    }
    // An address may have rows on both sides.
    let beyond = batch.columns.iter().zip(&answered).flat_map(|(column, &rows)| &column.keys[rows as usize..]);
    let mut rest: Vec<u32> = beyond.copied().collect();
    rest.sort_unstable();
    rest.dedup();
    rest.iter().for_each(|&at| answers[at as usize] = Answer::not_asked());
    if !rest.is_empty() && answered.iter().all(|&rows| rows == 0) {
        return Err(PlaceError::NoProgress);
    }
    place_hits(view, batch, &answered, answers)?;
    for exception in view.exceptions() {
        let column = usize::from(exception.column());
        let keys = &batch.columns[column].keys[..answered[column] as usize];
        let told = match exception.row() {
            None => keys,
            Some(row) => {
                let rows = answered[column];
                keys.get(row as usize).map(std::slice::from_ref).ok_or(PlaceError::Row { column, row, rows })?
            }
        };
        for &at in told {
            let answer = &mut answers[at as usize];
            if answer.status != Status::NotAsked {
                *answer = Answer::exception(exception.exception(), Origin::Server, generation);
            }
        }
    }
    if let (&[at], 1) = (&rest[..], batch.len()) {
        // One address, and its answer is longer than a frame: it would never come whole.
        crowded(&mut answers[at as usize], generation);
        rest.clear();
    }
    Ok(rest)
}

/// The records of what was answered in full. Where that is a web address by its rows, they are gathered first.
fn place_hits(
    view: &AnswerView<'_>,
    batch: &Batch,
    answered: &[u32],
    answers: &mut [Answer],
) -> Result<(), PlaceError> {
    let mut texts: Vec<Option<Arc<str>>> = vec![None; view.texts()];
    let (mut matches, mut short) = (Vec::new(), Vec::new());
    for (hit, suffix) in view.candidates(&batch.columns())? {
        let position = hit.position();
        let (column, row) = (usize::from(position.column), position.row as usize);
        let rows = answered[column];
        if position.row >= rows {
            return Err(PlaceError::Row { column, row: position.row, rows });
        }
        let column = &batch.columns[column];
        let at = column.keys[row];
        let answer = &mut answers[at as usize];
        if answer.status == Status::NotAsked {
            // Of an address that has rows beyond as well.
            continue;
        }
        match &column.rows {
            Rows::Whole(_) => {}
            Rows::Digests(_, prefixes) => {
                answer.candidates += 1;
                if !prefixes.is_rest(row, suffix) {
                    if hit.is_short_of_candidates() && answer.status == Status::Unknown {
                        // What did not fit may have been the one that was meant.
                        (answer.status, answer.is_cut) = (Status::Error, true);
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
        answer.status = Status::Known;
        // More than was wanted comes where others in the batch need it.
        if batch.detail == Detail::All || answer.records.is_empty() {
            answer.is_cut |= hit.is_cut();
            answer.records.push(record(view, hit, &mut texts));
        }
    }
    place_matches(view, batch.detail, matches, &mut texts, answers);
    for at in short {
        // What did not fit may have been what wins.
        crowded(&mut answers[at as usize], view.meta().generation);
    }
    Ok(())
}

/// Gives each address the records of all its rows, in the order that a server gives them to a whole one.
fn place_matches(
    view: &AnswerView<'_>,
    detail: Detail,
    mut matches: Vec<Match<'_>>,
    texts: &mut [Option<Arc<str>>],
    answers: &mut [Answer],
) {
    matches.sort_by_key(|found| found.at);
    for own in matches.chunk_by_mut(|a, b| a.at == b.at) {
        sort_by_precedence(own, |found| found.standing(view));
        let answer = &mut answers[own[0].at as usize];
        answer.status = Status::Known;
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

/// A record of a web address that was asked by prefixes.
struct Match<'a> {
    /// The place of the address.
    at: u32,
    hit: &'a HitRow,
    specificity: Specificity,
    /// The expression that matched; `None` for a block of IPv4 addresses, which the server tells.
    text: Option<&'a [u8]>,
}

impl Match<'_> {
    fn standing<'v>(&self, view: &AnswerView<'v>) -> Standing<&'v str> {
        Standing {
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

/// Says of a key that more is known of what begins as it does than a frame holds.
fn crowded(answer: &mut Answer, generation: u64) {
    let candidates = answer.candidates;
    let unknown = Answer::unknown(Origin::Server, generation);
    *answer = Answer { status: Status::Error, is_cut: true, candidates, ..unknown };
}

/// An answer that does not fit what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlaceError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("expected an answer to {expected} columns, found {found}")]
    Columns { expected: usize, found: usize },
    #[error("expected answers to {expected} rows of column {column}, found {found}")]
    Rows { column: usize, expected: usize, found: u32 },
    #[error("expected rows below {rows} in column {column}, found {row}")]
    Row { column: usize, row: u32, rows: u32 },
    #[error("expected a truncated answer to answer something")]
    NoProgress,
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
        batch::{Exception, Hit, Matched, Position, Sink},
        client::plan::{Planner, tests::keys},
        key::{DigestKind, Key, PrefixWidth},
        wire::{AnswerCaps, AnswerMeta, AnswerWriter, Header, ServerLimits},
    };

    #[test]
    fn answers_that_do_not_fit_the_request_are_refused() {
        let keys = keys();
        let batch = Planner::new(&keys, ServerLimits::default(), Detail::Winner, None).next().unwrap();
        let mut answers = vec![Answer::unknown(Origin::Server, 0); keys.len()];
        let meta = AnswerMeta { dataset: "d", generation: 1, sequence: 0, positive_ttl_s: 0, negative_ttl_s: 0 };
        let mut placed = |columns: u16, rows: u32, row: u32, truncated: bool| {
            let body_bytes = if truncated { 1 } else { 1 << 20 };
            let mut writer = AnswerWriter::new(AnswerCaps { body_bytes, ..AnswerCaps::default() });
            writer.begin(columns);
            (0..columns).for_each(|column| writer.answered(column, rows));
            let _ = writer.exception(Position { column: 0, row }, Exception::Malformed);
            let _ = writer.exception(Position { column: 0, row: row + 1 }, Exception::Malformed);
            let frame = writer.finish(&meta);
            let (header, body) = Header::split(&frame).unwrap();
            place(&AnswerView::parse(&header, body).unwrap(), &batch, &mut answers)
        };
        assert_eq!(placed(3, 10, 0, false), Ok(vec![]));
        assert_eq!(placed(2, 10, 0, false), Err(PlaceError::Columns { expected: 3, found: 2 }));
        assert_eq!(placed(3, 11, 0, false), Err(PlaceError::Rows { column: 0, expected: 10, found: 11 }));
        assert_eq!(placed(3, 9, 0, false), Err(PlaceError::Rows { column: 0, expected: 10, found: 9 }));
        assert_eq!(placed(3, 10, 9, false), Err(PlaceError::Row { column: 0, row: 10, rows: 10 }));
        assert_eq!(placed(3, 0, 0, true), Err(PlaceError::NoProgress));
        assert_eq!(placed(3, 9, 0, true).map(|rest| rest.len()), Ok(3));
    }

    #[test]
    fn candidates_are_compared_and_those_of_a_liar_refused() {
        let key = Key::from(crate::key::Digest::new(DigestKind::Md5, &[7; 16]).unwrap());
        let mut batch = Batch::new(Detail::All, Some(PrefixWidth::Eight));
        batch.push(0, &key);
        let meta = AnswerMeta { dataset: "d", generation: 1, sequence: 0, positive_ttl_s: 0, negative_ttl_s: 0 };
        let placed = |suffixes: &[&[u8]], caps: AnswerCaps| {
            let mut answers = [Answer::not_asked()];
            let mut writer = AnswerWriter::new(caps);
            writer.begin(1);
            for (id, &suffix) in (0..).zip(suffixes) {
                let matched = if suffix.is_empty() { Matched::Digest } else { Matched::Suffix(suffix) };
                let hit = Hit {
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
                };
                assert!(writer.hit(Position { column: 0, row: 0 }, &hit).is_continue());
            }
            writer.answered(0, 1);
            let frame = writer.finish(&meta);
            let (header, body) = Header::split(&frame).unwrap();
            place(&AnswerView::parse(&header, body).unwrap(), &batch, &mut answers)?;
            let [answer] = answers;
            let ids: Vec<u64> = answer.records.iter().map(|record| record.id).collect();
            Ok::<_, PlaceError>((answer.status, answer.is_cut, answer.candidates, ids))
        };
        let roomy = AnswerCaps::default();
        let (other, own) = (&[8; 8][..], &[7; 8][..]);
        assert_eq!(placed(&[], roomy), Ok((Status::Unknown, false, 0, vec![])));
        assert_eq!(placed(&[other], roomy), Ok((Status::Unknown, false, 1, vec![])));
        assert_eq!(placed(&[other, own, own], roomy), Ok((Status::Known, false, 3, vec![1, 2])));
        // What was cut may have been the one that was meant.
        let tight = AnswerCaps { body_bytes: 1, ..roomy };
        assert_eq!(placed(&[other, own], tight), Ok((Status::Error, true, 1, vec![])));
        assert_eq!(placed(&[own, other], tight), Ok((Status::Known, true, 1, vec![0])));
        for wrong in [&[][..], &[7; 7], &[7; 9], &[7; 16]] {
            let expected = WireError::Mismatch { field: "suffixes", expected: 8, found: wrong.len() as u64 };
            assert_eq!(placed(&[wrong], roomy), Err(PlaceError::Wire(expected)));
        }
    }
}
