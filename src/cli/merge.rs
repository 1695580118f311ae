//! Merges the answers to several digests of one object.

use ksn::{
    Answer, Record,
    key::{DigestKind, KeyKind},
    record::RecordType,
};

/// The merged answer for one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merged<'a> {
    /// The winning record.
    pub(super) record: &'a Record,
    /// The kind of digest that it was found by.
    pub(super) kind: KeyKind,
    /// Whether the record is trusted by MD5 or SHA-1 only, for which an attacker can make a colliding object.
    pub(super) is_weak: bool,
}

/// Merges the answers to the digests of one object: bad records first, then other records, then trusted records.
///
/// A trusted record for a strong digest does not clear a bad record for another: the digests are of the same bytes, so
/// one of the lists is wrong, and it is unknown which. (Overrides are already applied: each is the winner of its key.)
pub(super) fn merge<'a>(answers: impl Iterator<Item = (KeyKind, &'a Answer)>) -> Option<Merged<'a>> {
    let winners: Vec<_> = answers.filter_map(|(kind, answer)| Some((kind, answer.winner()?))).collect();
    // Record types are ordered by severity, trusted last; among trusted records a strong digest comes first.
    let &(kind, record) = winners.iter().min_by_key(|(kind, record)| (record.record_type, is_collidable(*kind)))?;
    let is_weak = record.record_type == RecordType::Trusted && is_collidable(kind);
    Some(Merged { record, kind, is_weak })
}

/// Returns whether collisions of this digest kind are practical.
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

    fn merged(md5: Option<RecordType>, sha256: Option<RecordType>) -> Option<(RecordType, bool)> {
        let answers =
            [(KeyKind::Digest(DigestKind::Md5), answer(md5)), (KeyKind::Digest(DigestKind::Sha256), answer(sha256))];
        merge(answers.iter().map(|(kind, answer)| (*kind, answer))).map(|c| (c.record.record_type, c.is_weak))
    }

    #[test]
    fn bad_wins_over_trusted_and_trusted_by_a_collidable_digest_is_weak() {
        use RecordType::*;
        assert_eq!(merged(None, None), None);
        assert_eq!(merged(Some(Malware), Some(Trusted)), Some((Malware, false)));
        assert_eq!(merged(Some(Trusted), Some(Adware)), Some((Adware, false)));
        assert_eq!(merged(Some(Trusted), None), Some((Trusted, true)));
        assert_eq!(merged(Some(Trusted), Some(Trusted)), Some((Trusted, false)));
    }
}
