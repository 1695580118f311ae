//! Stand-in for the engine until it is merged: a sorted list, probed one key at a time.

use std::{
    ops::{ControlFlow, Range},
    sync::Arc,
};

use crate::{
    batch::{Column, Detail, Exception, Hit, Matched, Position, Sink},
    key::{AddressParts, Digest, Indicator, KeyKind, ScopeSet},
    record::Listing,
    timestamp::Timestamp,
};

/// Stand-in.
#[derive(Debug)]
pub struct Index(Arc<View>);

/// Stand-in.
#[derive(Debug)]
pub struct View {
    listings: Vec<Owned>,
}

#[derive(Debug)]
struct Owned {
    indicator: Indicator,
    id: u64,
    record_type: crate::record::RecordType,
    name: String,
    source: String,
}

impl Index {
    /// Stand-in.
    pub fn of(listings: &[Listing<'_>]) -> Self {
        let listings = listings
            .iter()
            .map(|l| Owned {
                indicator: l.indicator.clone(),
                id: l.id,
                record_type: l.record_type,
                name: l.name.into(),
                source: l.source.into(),
            })
            .collect();
        Self(Arc::new(View { listings }))
    }

    /// Stand-in.
    pub fn view(&self) -> Arc<View> {
        self.0.clone()
    }
}

#[allow(missing_docs)]
impl View {
    pub fn dataset(&self) -> &str {
        "stand-in"
    }

    pub fn generation(&self) -> u64 {
        1
    }

    pub fn sequence(&self) -> u64 {
        0
    }

    pub fn created(&self) -> Timestamp {
        Timestamp::from_seconds(1).unwrap()
    }

    pub fn records(&self, kind: KeyKind) -> u64 {
        self.listings.iter().filter(|l| l.indicator.kind() == kind).count() as u64
    }

    pub fn answer(
        &self,
        number: u16,
        column: &Column<'_>,
        rows: Range<u32>,
        detail: Detail,
        _now: Timestamp,
        sink: &mut impl Sink,
    ) -> ControlFlow<u32> {
        for row in rows {
            let at = Position { column: number, row };
            let mut found = 0;
            for (i, l) in self.listings.iter().enumerate() {
                let matched = match (column, &l.indicator) {
                    (Column::Digests { kind, bytes }, Indicator::Digest(digest)) => {
                        let width = kind.width();
                        let key = Digest::new(*kind, &bytes[row as usize * width..][..width]);
                        (key == Some(*digest)).then_some(Matched::Digest)
                    }
                    (Column::Ipv4(addresses), Indicator::Ipv4(block)) => {
                        block.contains(addresses[row as usize].into()).then_some(Matched::Block(*block))
                    }
                    (Column::Web(texts), Indicator::Web { scope, expression }) => {
                        let Some(parts) = AddressParts::split(texts.get(row as usize)) else { continue };
                        let mut matched = None;
                        parts.for_each_expression(ScopeSet::ALL, |s, e| {
                            if s == *scope && e == expression.as_bytes() {
                                matched = Some(Matched::Web(s, e));
                            }
                        });
                        matched
                    }
                    _ => None,
                };
                let Some(matched) = matched else { continue };
                if found > 0 && detail == Detail::Winner {
                    continue;
                }
                found += 1;
                let hit = Hit {
                    id: l.id,
                    record_type: l.record_type,
                    name: &l.name,
                    name_number: i as u32,
                    source: &l.source,
                    source_number: 0,
                    timestamp: None,
                    expiry: None,
                    port: None,
                    matched,
                };
                if sink.hit(at, &hit).is_break() {
                    return ControlFlow::Break(row);
                }
            }
            if let Column::Web(texts) = column
                && AddressParts::split(texts.get(row as usize)).is_none()
                && sink.exception(at, Exception::Malformed).is_break()
            {
                return ControlFlow::Break(row);
            }
        }
        ControlFlow::Continue(())
    }
}
