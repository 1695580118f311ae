//! The answer whose encoding is measured.

use ksn::{
    batch::{Hit, Matched, Position, Sink},
    record::RecordType,
    wire::{AnswerMeta, AnswerWriter},
};

const META: AnswerMeta<'static> =
    AnswerMeta { dataset: "benchmark", generation: 1, sequence: 0, positive_ttl_s: 300, negative_ttl_s: 60 };

/// Writes the answer to `keys` digests, of which a tenth has a record: of one source, with `names` in turn.
pub(crate) fn write(writer: &mut AnswerWriter, keys: u32, names: &[String]) -> Vec<u8> {
    writer.begin(1);
    for row in (0..keys).step_by(10) {
        let number = row / 10 % names.len() as u32;
        let hit = Hit {
            id: u64::from(row),
            record_type: RecordType::Malware,
            name: &names[number as usize],
            name_number: number,
            source: "benchmark",
            source_number: 0,
            timestamp: None,
            expiry: None,
            port: None,
            matched: Matched::Digest,
        };
        assert!(writer.hit(Position { column: 0, row }, &hit).is_continue());
    }
    writer.answered(0, keys);
    writer.finish(&META)
}
