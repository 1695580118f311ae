//! Classes: the attributes that many records share.

use std::collections::HashMap;

use super::layout::ClassRow;

/// Attributes shared by many records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ClassKey {
    pub(super) source: u32,
    pub(super) record_type: u8,
    pub(super) port: u16,
    pub(super) expiry: u32,
    /// The number of the input, used only to count records that are not kept.
    pub(super) input: u32,
}

/// The classes of a build, numbered in order of appearance.
#[derive(Debug, Default)]
pub(super) struct Classes {
    pub(super) keys: Vec<ClassKey>,
    numbers: HashMap<ClassKey, u32>,
    /// The last class and its number: most records have the class of the previous record.
    last: Option<(ClassKey, u32)>,
}

impl Classes {
    /// The memory that a class takes, in bytes: in the list, and in the map with its spare room.
    pub(super) const BYTES: usize = size_of::<ClassKey>() + 2 * size_of::<(ClassKey, u32)>();

    /// Returns the number of a class, adding the class if it is new.
    pub(super) fn number(&mut self, class: ClassKey) -> u32 {
        if let Some((last, number)) = self.last
            && last == class
        {
            return number;
        }
        let next = self.keys.len() as u32;
        let number = *self.numbers.entry(class).or_insert_with(|| {
            self.keys.push(class);
            next
        });
        self.last = Some((class, number));
        number
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Removes the classes that are not used, and returns the new number of each class.
    pub(super) fn retain(&mut self, used: &[bool]) -> Vec<u32> {
        let before = std::mem::take(self);
        let number = |(key, &is_used): (ClassKey, &bool)| if is_used { self.number(key) } else { u32::MAX };
        before.keys.into_iter().zip(used).map(number).collect()
    }

    /// Returns the rows of the used classes in their final order, and the row number of each class.
    pub(super) fn rows(&self, used: &[bool]) -> (Vec<ClassRow>, Vec<u32>) {
        let fields = |number: u32| {
            let key = &self.keys[number as usize];
            (key.source, key.record_type, key.port, key.expiry)
        };
        let mut order: Vec<u32> = (0..self.keys.len() as u32).filter(|&number| used[number as usize]).collect();
        order.sort_unstable_by_key(|&number| fields(number));
        let (mut rows, mut ranks) = (Vec::new(), vec![0; self.keys.len()]);
        // Keys that differ only by their input share a row.
        for same in order.chunk_by(|&a, &b| fields(a) == fields(b)) {
            same.iter().for_each(|&number| ranks[number as usize] = rows.len() as u32);
            let (source, record_type, port, expiry) = fields(same[0]);
            rows.push(ClassRow {
                source: (source as u16).into(),
                record_type,
                reserved: 0,
                port: port.into(),
                reserved_too: 0.into(),
                expiry: expiry.into(),
            });
        }
        (rows, ranks)
    }
}
