//! Records and keys, generated from a counter: the same in every run, in any number, without storing them.

use std::sync::Arc;

use ksn::{
    key::{Digest, DigestKind, Indicator},
    record::{Entry, RecordType},
    timestamp::Timestamp,
};

/// The size of a SHA-256 in bytes.
pub(crate) const WIDTH: usize = 32;

/// Returns a pseudo-random number (SplitMix64).
pub(crate) fn random(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Returns the digest of a number, which is that of a record if the number is below the number of records.
pub(crate) fn digest(number: u64) -> [u8; WIDTH] {
    let mut bytes = [0; WIDTH];
    for (word, n) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(0..) {
        *word = random(number * 4 + n).to_le_bytes();
    }
    bytes
}

/// Returns the detection name of a record: fifty records share one, like the samples of a family.
pub(crate) fn name(number: u64) -> String {
    format!("Trojan.Win32.Family{}", number / 50)
}

/// Returns the timestamp of a record, in seconds since 1970.
pub(crate) fn seconds(number: u64) -> u32 {
    1_600_000_000 + (number % 100_000_000) as u32
}

/// Returns the record of a number; `name` must be its [`name`].
pub(crate) fn entry(number: u64, name: &str) -> Entry<'_> {
    Entry {
        indicator: Indicator::Digest(Digest::new(DigestKind::Sha256, &digest(number)).expect("32 bytes")),
        id: number,
        record_type: RecordType::Malware,
        name,
        source: "benchmark",
        timestamp: Timestamp::from_seconds(seconds(number)),
        expiry: None,
        port: None,
    }
}

/// Keys to look up, with the expected answers.
pub(crate) struct Burst {
    /// The concatenated digests.
    pub(crate) bytes: Vec<u8>,
    /// The listed digests: position and record number, in ascending order of positions.
    pub(crate) listed: Vec<(u32, u64)>,
}

impl Burst {
    pub(crate) fn digests(&self) -> &[[u8; WIDTH]] {
        self.bytes.as_chunks::<WIDTH>().0
    }

    pub(crate) fn keys(&self) -> u64 {
        self.digests().len() as u64
    }
}

/// A generator of keys: a fraction of them from all records, the others unlisted. No key repeats before all have
/// occurred, which is more than a round needs.
pub(crate) struct Draw {
    records: u64,
    /// One key in `one_in` is listed, at random positions; none if this is 0.
    one_in: u64,
    /// The step through the records, coprime to their number.
    stride: u64,
    drawn: u64,
    hits: u64,
    last: Option<Arc<Burst>>,
}

impl Draw {
    /// Creates a generator with a tenth of the keys listed.
    pub(crate) fn tenth(records: u64) -> Self {
        Self::one_in(records, 10)
    }

    /// Creates a generator with no key listed.
    pub(crate) fn misses(records: u64) -> Self {
        Self::one_in(records, 0)
    }

    fn one_in(records: u64, one_in: u64) -> Self {
        let coprime = |n: &u64| gcd(*n, records) == 1;
        // The golden ratio spreads the numbers best.
        let stride =
            ((records as f64 * 0.618) as u64..).find(|n| *n > 0 && coprime(n)).expect("a coprime number exists");
        Self { records, one_in, stride, drawn: 0, hits: 0, last: None }
    }

    /// Returns the next keys. The memory of the last burst is reused if there are no other references to it.
    pub(crate) fn burst(&mut self, keys: u64) -> Arc<Burst> {
        let mut burst = self
            .last
            .take()
            .and_then(Arc::into_inner)
            .unwrap_or_else(|| Burst { bytes: Vec::with_capacity(keys as usize * WIDTH), listed: Vec::new() });
        burst.bytes.clear();
        burst.listed.clear();
        for position in 0..keys {
            let number = UNLISTED + self.drawn;
            self.drawn += 1;
            if self.one_in > 0 && random(number).is_multiple_of(self.one_in) {
                let listed = self.hits.wrapping_mul(self.stride) % self.records;
                self.hits += 1;
                burst.listed.push((position as u32, listed));
                burst.bytes.extend_from_slice(&digest(listed));
            } else {
                burst.bytes.extend_from_slice(&digest(number));
            }
        }
        let burst = Arc::new(burst);
        self.last = Some(burst.clone());
        burst
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Numbers from here on are unlisted.
const UNLISTED: u64 = 1 << 40;
