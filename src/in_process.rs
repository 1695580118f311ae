//! In-process lookups: typed keys in, typed answers out, without frames.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use crate::{
    answer::{Answer, Origin, Record, Status},
    batch::{ColumnBuf, Detail, Hit, Matched, Position, Sink, Unanswered},
    engine::Index,
    key::{Key, KeyKind},
    limits::{BATCH_KEYS_MAX, RECORDS_PER_KEY_MAX},
    timestamp::Timestamp,
};

impl Index {
    /// Returns the answer to each key, in the order of the keys. All keys see the same generation. Records that have
    /// expired at `now` do not match.
    ///
    /// ```
    /// use ksn::{
    ///     Index, Key, Status,
    ///     batch::Detail,
    ///     key::{Indicator, Scope},
    ///     record::{Entry, RecordSink, RecordType},
    ///     snapshot::{Snapshot, SnapshotBuilder, SnapshotInfo},
    ///     timestamp::Timestamp,
    /// };
    ///
    /// let now: Timestamp = "2026-11-22 10:00:00".parse()?;
    /// let mut builder = SnapshotBuilder::new();
    /// builder.add(0, Entry {
    ///     indicator: Indicator::Web { scope: Scope::Domain, expression: "evil.example".into() },
    ///     id: 1,
    ///     record_type: RecordType::Phishing,
    ///     name: "Example.Phish",
    ///     source: "by-hand",
    ///     timestamp: Some(now),
    ///     expiry: None,
    ///     port: None,
    /// });
    /// let info = SnapshotInfo {
    ///     dataset: "example".into(),
    ///     generation: 1,
    ///     created: now,
    ///     compiled_with: Default::default(),
    /// };
    /// let index = Index::new(Snapshot::from_bytes(builder.finish(&info)?.into_bytes())?);
    ///
    /// let keys: [Key; 2] = ["http://login.evil.example/a?b".parse()?, "good.example".parse()?];
    /// let answers = index.lookup(&keys, Detail::Winner, now);
    /// assert_eq!(answers[0].winner().map(|record| &*record.name), Some("Example.Phish"));
    /// assert_eq!(answers[1].status, Status::Unknown);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lookup(&self, keys: &[Key], detail: Detail, now: Timestamp) -> Vec<Answer> {
        let view = self.view();
        let mut answers = vec![Answer::unknown(Origin::Local, view.generation()); keys.len()];
        for kind in KeyKind::ALL {
            let positions: Vec<usize> = (0..keys.len()).filter(|&at| keys[at].kind() == kind).collect();
            // In chunks, so that the text of each column stays far below the 4 GiB that its end offsets can address.
            for positions in positions.chunks(BATCH_KEYS_MAX) {
                let mut column = ColumnBuf::new(kind);
                positions.iter().for_each(|&at| column.push(&keys[at]));
                let mut sink = Collector { positions, answers: &mut answers, texts: HashMap::new() };
                // The collector never breaks.
                let _: ControlFlow<u32> = view.answer(0, &column.column(), 0..u32::MAX, detail, now, &mut sink);
            }
        }
        answers
    }
}

/// A sink that stores the results of the engine at the positions of the keys.
struct Collector<'a> {
    /// The position of the key of each row in the list of keys.
    positions: &'a [usize],
    answers: &'a mut [Answer],
    /// Interned names and sources: equal ones share an allocation.
    texts: HashMap<Text, Arc<str>>,
}

#[derive(PartialEq, Eq, Hash)]
enum Text {
    Name(u32),
    Source(u16),
}

impl Sink for Collector<'_> {
    fn hit(&mut self, at: Position, hit: &Hit<'_>) -> ControlFlow<()> {
        let answer = &mut self.answers[self.positions[at.row as usize]];
        if answer.records.len() == RECORDS_PER_KEY_MAX {
            answer.is_cut = true;
            return ControlFlow::Continue(());
        }
        let (matched, scope) = match hit.matched {
            Matched::Digest | Matched::Suffix(_) => (None, None),
            // In-process lookups use whole keys only.
            Matched::WebSuffix(scope, _) => (None, Some(scope)),
            // Opening the snapshot validated that expressions are ASCII.
            Matched::Web(scope, text) => (Some(String::from_utf8_lossy(text).as_ref().into()), Some(scope)),
            Matched::Block(block) => (Some(block.to_string().into()), None),
        };
        let mut shared = |text, value: &str| self.texts.entry(text).or_insert_with(|| value.into()).clone();
        answer.status = Status::Known;
        answer.records.push(Record {
            name: shared(Text::Name(hit.name_number), hit.name),
            id: hit.id,
            record_type: hit.record_type,
            source: shared(Text::Source(hit.source_number), hit.source),
            timestamp: hit.timestamp,
            expiry: hit.expiry,
            matched,
            scope,
            port: hit.port,
        });
        ControlFlow::Continue(())
    }

    fn unanswered(&mut self, at: Position, unanswered: Unanswered) -> ControlFlow<()> {
        let answer = &mut self.answers[self.positions[at.row as usize]];
        *answer = Answer::unanswered(unanswered, Origin::Local, answer.generation);
        ControlFlow::Continue(())
    }
}
