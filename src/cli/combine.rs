//! One object asked under several digests: which of the answers counts.

use ksn::{
    Answer, Record,
    key::{DigestKind, KeyKind},
    record::RecordType,
};

/// What is known of an object as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Combined<'a> {
    /// The record that counts.
    pub(super) record: &'a Record,
    /// Under which digest it was found.
    pub(super) kind: KeyKind,
    /// Whether it is trust that rests on MD5 or SHA-1 alone, of which an attacker can make a second object.
    pub(super) is_weak: bool,
}

/// Of the answers to one object's digests: bad before anything else, then what is otherwise listed, then trust. Trust
/// under a strong digest does not clear what is bad under another: the digests are of the same bytes, so one of the
/// lists is wrong, and nobody knows which. (Overrides are settled before: they answer as the winner of each key.)
pub(super) fn combine<'a>(answers: impl Iterator<Item = (KeyKind, &'a Answer)>) -> Option<Combined<'a>> {
    let winners: Vec<_> = answers.filter_map(|(kind, answer)| Some((kind, answer.winner()?))).collect();
    // Record types are ordered by severity, trusted last; among trust a strong digest comes first.
    let &(kind, record) = winners.iter().min_by_key(|(kind, record)| (record.record_type, is_collidable(*kind)))?;
    let is_weak = record.record_type == RecordType::Trusted && is_collidable(kind);
    Some(Combined { record, kind, is_weak })
}

/// Whether two objects with one digest of that kind can be made.
fn is_collidable(kind: KeyKind) -> bool {
    matches!(kind, KeyKind::Digest(DigestKind::Md5 | DigestKind::Sha1))
}

#[cfg(test)]
mod tests {
    use ksn::{Origin, Status};

    use super::*;

    fn answer(record_type: Option<RecordType>) -> Answer {
        let mut answer = Answer::unknown(Origin::Local, 1);
        if let Some(record_type) = record_type {
            answer.status = Status::Known;
            answer.records.push(Record {
                name: "name".into(),
                id: 1,
                record_type,
                source: "source".into(),
                timestamp: None,
                expiry: None,
                matched: None,
                scope: None,
                port: None,
            });
        }
        answer
    }

    fn combined(md5: Option<RecordType>, sha256: Option<RecordType>) -> Option<(RecordType, bool)> {
        let answers =
            [(KeyKind::Digest(DigestKind::Md5), answer(md5)), (KeyKind::Digest(DigestKind::Sha256), answer(sha256))];
        combine(answers.iter().map(|(kind, answer)| (*kind, answer))).map(|c| (c.record.record_type, c.is_weak))
    }

    #[test]
    fn bad_counts_before_trust_and_trust_by_collidable_digests_is_weak() {
        use RecordType::*;
        assert_eq!(combined(None, None), None);
        assert_eq!(combined(Some(Malware), Some(Trusted)), Some((Malware, false)));
        assert_eq!(combined(Some(Trusted), Some(Adware)), Some((Adware, false)));
        assert_eq!(combined(Some(Trusted), None), Some((Trusted, true)));
        assert_eq!(combined(Some(Trusted), Some(Trusted)), Some((Trusted, false)));
    }
}
