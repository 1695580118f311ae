//! A naive snapshot writer, from the description of the format: all records in one list, sorted as a whole, one section
//! after the other.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use ksn::{key::Indicator, timestamp::Timestamp};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    forge::{Forgery, Manifest, Section, Source},
    naive::{Naive, Row},
};

/// The number of a table, and the bytes that a key is sorted by in it.
type Key = (u8, Vec<u8>);

struct Plain {
    body: Vec<u8>,
    sections: Vec<Section>,
}

/// Writes the snapshot of these rows that `lookup::build` has to build.
pub(crate) fn plain(rows: &[Row]) -> Vec<u8> {
    let seconds = |time: Option<Timestamp>| time.map_or(0, Timestamp::seconds);
    let records = Naive::new(rows).rows;
    let names: BTreeSet<&str> = records.iter().map(|row| &*row.name).collect();
    let names: BTreeMap<&str, u32> = names.into_iter().zip(0..).collect();
    let sources: BTreeSet<&str> = rows.iter().map(|row| &*row.source).collect();
    let sources: BTreeMap<&str, u16> = sources.into_iter().zip(0..).collect();
    let class_of =
        |row: &Row| (sources[&*row.source], row.record_type as u8, row.port.unwrap_or(0), seconds(row.expiry));
    let classes: BTreeSet<_> = records.iter().map(class_of).collect();
    let classes: BTreeMap<_, u32> = classes.into_iter().zip(0..).collect();

    let mut tables: BTreeMap<Key, Vec<&Row>> = BTreeMap::new();
    for row in &records {
        tables.entry(key(&row.indicator)).or_default().push(row);
    }
    for rows in tables.values_mut() {
        rows.sort_by_key(|row| (sources[&*row.source], row.id));
        rows.sort_by_key(|row| (row.record_type, Reverse(row.timestamp), sources[&*row.source]));
    }

    let mut plain = Plain { body: vec![0; 128], sections: Vec::new() };
    plain.body[..8].copy_from_slice(b"\x89KSN\r\n\x1a\n");
    plain.body[8] = 1;
    let mut end = 0u32;
    let ends = names.keys().flat_map(|name| {
        end += name.len() as u32;
        end.to_le_bytes()
    });
    plain.section(0, 1, 4, ends.collect());
    plain.section(0, 2, 1, names.keys().flat_map(|name| name.bytes()).collect());
    let class_rows = classes.keys().flat_map(|(source, kind, port, expiry)| {
        [&source.to_le_bytes()[..], &[*kind, 0], &port.to_le_bytes(), &[0, 0], &expiry.to_le_bytes()].concat()
    });
    plain.section(0, 3, 12, class_rows.collect());

    let web: Vec<&Vec<u8>> = tables.keys().filter(|(table, _)| *table == 10).map(|(_, key)| key).collect();
    let mut hasher = blake3::Hasher::new_derive_key("ksn 2026-11-22 seed of web expressions");
    hasher.update(b"made-up");
    for key in &web {
        hasher.update(key);
    }
    let web_seed = match web[..] {
        [] => 0,
        _ => u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().unwrap()),
    };
    let web_scopes = web.iter().fold(0, |scopes, key| scopes | 1 << key[0]);

    for table in (1..=9).chain([12, 10, 11]) {
        let of_table: Vec<(&Vec<u8>, &Vec<&Row>)> =
            tables.iter().filter(|((number, _), _)| *number == table).map(|((_, key), rows)| (key, rows)).collect();
        let (mut first_records, mut runs, mut more) = (Vec::new(), Vec::new(), Vec::new());
        for (_, rows) in &of_table {
            let record = |row: &Row, class: u32| {
                let (time, name) = (seconds(row.timestamp), names[&*row.name]);
                [&row.id.to_le_bytes()[..], &time.to_le_bytes(), &name.to_le_bytes(), &class.to_le_bytes()].concat()
            };
            let class = classes[&class_of(rows[0])];
            if rows.len() == 1 {
                first_records.push(record(rows[0], class));
                continue;
            }
            first_records.push(record(rows[0], 1 << 31 | (runs.len() / 12) as u32));
            for number in [class, (more.len() / 20) as u32, rows.len() as u32 - 1] {
                runs.extend(number.to_le_bytes());
            }
            more.extend(rows[1..].iter().flat_map(|row| record(row, classes[&class_of(row)])));
        }
        let mut order: Vec<usize> = (0..of_table.len()).collect();
        if table != 11 {
            let prefix = |n: &usize| match table {
                10 => {
                    let (scope, text) = of_table[*n].0.split_first().unwrap();
                    let seed = web_seed ^ u64::from(*scope).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    xxh3_64_with_seed(text, seed)
                }
                _ => u64::from_be_bytes(of_table[*n].0[..8].try_into().unwrap()),
            };
            order.sort_by_key(prefix);
            let (buckets, bucket_order) = fill_buckets(&order.iter().map(prefix).collect::<Vec<_>>());
            order = bucket_order.into_iter().map(|n| order[n]).collect();
            plain.section(table, 4, 64, buckets);
        }
        let keys = order.iter().flat_map(|&n| of_table[n].0.clone()).collect();
        match table {
            10 => {
                let mut end = 0u64;
                let ends = order.iter().flat_map(|&n| {
                    end += of_table[n].0.len() as u64;
                    end.to_le_bytes()
                });
                plain.section(10, 6, 8, ends.collect());
                plain.section(10, 7, 1, keys);
            }
            // The blocks were sorted with their last addresses inverted.
            11 => {
                let blocks = of_table.iter().flat_map(|(key, _)| {
                    let half = |at: usize| u32::from_be_bytes(key[at..at + 4].try_into().unwrap());
                    [half(0).to_le_bytes(), (!half(4)).to_le_bytes()].concat()
                });
                plain.section(11, 8, 8, blocks.collect());
            }
            _ => plain.section(table, 5, of_table.first().map_or(0, |(key, _)| key.len() as u32), keys),
        }
        plain.section(table, 9, 20, order.iter().flat_map(|&n| first_records[n].clone()).collect());
        plain.section(table, 10, 12, runs);
        plain.section(table, 11, 20, more);
    }
    plain.body.resize(plain.body.len().next_multiple_of(64), 0);
    plain.sections.sort_by_key(|section| (section.table, section.kind));
    let sources = sources.keys().map(|name| {
        let of_source: Vec<_> = records.iter().filter(|row| row.source == **name).collect();
        let newest = of_source.iter().map(|row| seconds(row.timestamp)).max().unwrap_or(0);
        Source { name: (*name).into(), records: of_source.len() as u64, newest }
    });
    let manifest = Manifest {
        dataset: "made-up".into(),
        generation: 7,
        created: 1_000_000_000,
        key_range: (0, u32::MAX),
        web_seed,
        web_scopes,
        sources: sources.collect(),
        compiled_with: vec![("list".into(), "3".into())],
        sections: plain.sections,
    };
    Forgery { body: plain.body, manifest }.finish()
}

impl Plain {
    fn section(&mut self, table: u8, kind: u8, stride: u32, content: Vec<u8>) {
        if !content.is_empty() {
            self.body.resize(self.body.len().next_multiple_of(64), 0);
            let (offset, bytes) = (self.body.len() as u64, content.len() as u64);
            self.sections.push(Section { table, kind, stride, offset, bytes, blake3: [0; 32] });
            self.body.extend(content);
        }
    }
}

fn key(indicator: &Indicator) -> Key {
    match indicator {
        Indicator::Digest(digest) => (digest.kind() as u8, digest.bytes().to_vec()),
        Indicator::Web { scope, expression } => (10, [&[*scope as u8], expression.as_bytes()].concat()),
        Indicator::WebSha256(digest) => (12, digest.to_vec()),
        Indicator::Ipv4(block) => {
            let (first, last) = (u32::from(block.first()), u32::from(block.last()));
            (11, [first.to_be_bytes(), (!last).to_be_bytes()].concat())
        }
    }
}

/// Returns the buckets of keys with these prefixes, and the order of the keys.
fn fill_buckets(prefixes: &[u64]) -> (Vec<u8>, Vec<usize>) {
    let count = prefixes.len().div_ceil(8);
    let mut own = vec![Vec::new(); count + 1];
    for (n, prefix) in prefixes.iter().enumerate() {
        own[(((prefix >> 32) * count as u64) >> 32) as usize].push(n);
    }
    let mut rows: Vec<u8> = Vec::new();
    let (mut order, mut tail, mut overflow) = (Vec::<usize>::new(), Vec::<usize>::new(), Vec::<usize>::new());
    for bucket in 0..count {
        let mut slots: Vec<usize> = own[bucket].iter().copied().take(15).collect();
        slots.append(&mut overflow);
        let room = if bucket + 1 == count { 0 } else { 15 - own[bucket + 1].len().min(15) };
        let rest = &own[bucket][own[bucket].len().min(15)..];
        let (into_next, into_tail) = rest.split_at(rest.len().min(room));
        let mut meta = order.len() as u32;
        meta |= u32::from(!into_next.is_empty()) << 31 | u32::from(!into_tail.is_empty()) << 30;
        for slot in 0..15 {
            rows.extend(slots.get(slot).map_or(0, |&n| prefixes[n] as u32).to_le_bytes());
        }
        rows.extend(meta.to_le_bytes());
        order.extend(slots);
        overflow.extend(into_next);
        tail.extend(into_tail);
    }
    if count > 0 {
        rows.extend([0; 60]);
        rows.extend((order.len() as u32).to_le_bytes());
    }
    order.extend(tail);
    (rows, order)
}
