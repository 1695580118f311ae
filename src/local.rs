//! Lookups in this process: typed keys in, typed answers out, without a frame between.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use crate::{
    answer::{Answer, Origin, Record, Status},
    batch::{ColumnBuf, Detail, Exception, Hit, Matched, Position, Sink},
    engine::Index,
    key::{Key, KeyKind},
    limits::{BATCH_KEYS_MAX, RECORDS_PER_KEY_MAX},
    timestamp::Timestamp,
};

impl Index {
    /// Answers keys by position. All of them see the same generation. `now` decides which records have expired.
    ///
    /// ```
    /// use ksn::{
    ///     Index, Key, Status,
    ///     batch::Detail,
    ///     key::{Indicator, Scope},
    ///     record::{Listing, RecordSink, RecordType},
    ///     snapshot::{Snapshot, SnapshotBuilder, SnapshotInfo},
    ///     timestamp::Timestamp,
    /// };
    ///
    /// let now: Timestamp = "2026-11-22 10:00:00".parse()?;
    /// let mut builder = SnapshotBuilder::new();
    /// builder.add(0, Listing {
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
            let places: Vec<usize> = (0..keys.len()).filter(|&at| keys[at].kind() == kind).collect();
            // In parts, so that the text of one stays far below the 4 GiB that its ends can number.
            for places in places.chunks(BATCH_KEYS_MAX) {
                let mut column = ColumnBuf::new(kind);
                places.iter().for_each(|&at| column.push(&keys[at]));
                let mut sink = Collector { places, answers: &mut answers, texts: HashMap::new() };
                // It has room for everything: it never breaks.
                let _: ControlFlow<u32> = view.answer(0, &column.column(), 0..u32::MAX, detail, now, &mut sink);
            }
        }
        answers
    }
}

/// Puts what the engine finds at the places of the keys.
struct Collector<'a> {
    /// Where the key of each row stands among those asked.
    places: &'a [usize],
    answers: &'a mut [Answer],
    /// Names and sources, so that equal ones share an allocation.
    texts: HashMap<Text, Arc<str>>,
}

#[derive(PartialEq, Eq, Hash)]
enum Text {
    Name(u32),
    Source(u16),
}

impl Sink for Collector<'_> {
    fn hit(&mut self, at: Position, hit: &Hit<'_>) -> ControlFlow<()> {
        let answer = &mut self.answers[self.places[at.row as usize]];
        if answer.records.len() == RECORDS_PER_KEY_MAX {
            answer.is_cut = true;
            return ControlFlow::Continue(());
        }
        let (matched, scope) = match hit.matched {
            Matched::Digest | Matched::Suffix(_) => (None, None),
            // Keys are asked whole here.
            Matched::WebSuffix(scope, _) => (None, Some(scope)),
            // Expressions were found to be ASCII when the snapshot was opened.
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

    fn exception(&mut self, at: Position, exception: Exception) -> ControlFlow<()> {
        let answer = &mut self.answers[self.places[at.row as usize]];
        *answer = Answer::exception(exception, Origin::Local, answer.generation);
        ControlFlow::Continue(())
    }
}
