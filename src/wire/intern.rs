//! String interner for the texts of an answer. Its tables are reused from frame to frame.

use xxhash_rust::xxh3::xxh3_64;
use zerocopy::little_endian::U32;

/// Deduplicated texts, referenced by index. Text 0 is empty.
#[derive(Debug)]
pub(super) struct Interner {
    /// Open addressing, a power of two long: a tag, and the index of its text; 0 where free, since the empty text is
    /// never stored in a slot.
    slots: Vec<(u64, u32)>,
    /// The slots in use, to clear them without scanning all.
    used: Vec<u32>,
    ends: Vec<U32>,
    bytes: Vec<u8>,
    /// The last number of each class and the index of its text: records of one source and one family occur in runs.
    last: [Option<(u32, u32)>; 2],
}

impl Interner {
    pub(super) fn new() -> Self {
        let mut interner = Self {
            slots: vec![(0, 0); SLOTS_MIN],
            used: Vec::new(),
            ends: Vec::new(),
            bytes: Vec::new(),
            last: [None; 2],
        };
        interner.clear();
        interner
    }

    /// Removes all texts but text 0.
    pub(super) fn clear(&mut self) {
        for &at in &self.used {
            self.slots[at as usize] = (0, 0);
        }
        self.used.clear();
        self.last = [None; 2];
        self.bytes.clear();
        self.ends.clear();
        self.ends.push(U32::new(0));
    }

    /// Interns a text that is identified by `number` within its class, and returns its index.
    pub(super) fn by_number(&mut self, class: NumberClass, number: u32, text: &str) -> u32 {
        if let Some((last, text)) = self.last[class as usize]
            && last == number
        {
            return text;
        }
        let tag = (class as u64) << 32 | u64::from(number);
        let found = self.intern(tag, text.as_bytes(), false);
        self.last[class as usize] = Some((number, found));
        found
    }

    /// Interns a text that is identified by its bytes, and returns its index.
    pub(super) fn by_text(&mut self, text: &[u8]) -> u32 {
        self.intern(xxh3_64(text) | BY_TEXT, text, true)
    }

    /// Returns the bytes of the tables that are kept for the next answer.
    pub(super) fn kept_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<(u64, u32)>()
            + (self.used.capacity() + self.ends.capacity()) * 4
            + self.bytes.capacity()
    }

    pub(super) fn ends(&self) -> &[U32] {
        &self.ends
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn intern(&mut self, tag: u64, text: &[u8], compare: bool) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if self.used.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = mix(tag) & mask;
        loop {
            match self.slots[at] {
                (_, 0) => break,
                (found, number) if found == tag && (!compare || self.text(number) == text) => return number,
                _ => at = (at + 1) & mask,
            }
        }
        let number = self.ends.len() as u32;
        self.bytes.extend_from_slice(text);
        self.ends.push(U32::new(self.bytes.len() as u32));
        self.slots[at] = (tag, number);
        self.used.push(at as u32);
        number
    }

    fn text(&self, number: u32) -> &[u8] {
        let at = number as usize;
        &self.bytes[self.ends[at - 1].get() as usize..self.ends[at].get() as usize]
    }

    fn grow(&mut self) {
        let mut slots = vec![(0, 0); self.slots.len() * 2];
        let mask = slots.len() - 1;
        for used in &mut self.used {
            let slot = self.slots[*used as usize];
            let mut at = mix(slot.0) & mask;
            while slots[at].1 != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = slot;
            *used = at as u32;
        }
        self.slots = slots;
    }
}

/// The namespace of the numbers that identify texts.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum NumberClass {
    Name = 0,
    Source = 1,
}

/// Distinguishes tags hashed from text from those made of numbers.
const BY_TEXT: u64 = 1 << 63;

/// Initial number of slots: most answers have a few dozen texts.
const SLOTS_MIN: usize = 256;

/// Spreads consecutive numbers over the slots (Fibonacci hashing).
fn mix(tag: u64) -> usize {
    (tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_deduplicated_across_growth_and_reuse() {
        let mut interner = Interner::new();
        for _ in 0..2 {
            for i in 0..2_000u32 {
                let text = format!("text {i}");
                assert_eq!(interner.by_number(NumberClass::Name, i, &text), 2 * i + 1);
                assert_eq!(interner.by_text(text.as_bytes()), 2 * i + 2);
            }
            assert_eq!(interner.by_number(NumberClass::Name, 7, "text 7"), 15);
            assert_eq!(interner.by_text(b"text 7"), 16);
            assert_eq!(interner.by_number(NumberClass::Source, 7, "other"), 4_001);
            assert_eq!((interner.by_text(b""), interner.ends().len()), (0, 4_002));
            interner.clear();
        }
    }
}
