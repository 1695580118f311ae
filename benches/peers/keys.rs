//! Records and keys, made from a counter: the same in every run, and as many as wanted without a list of them.

use std::sync::Arc;

use ksn::{
    key::{Digest, DigestKind, Indicator},
    record::{Listing, RecordType},
    timestamp::Timestamp,
};

/// Bytes of a SHA-256.
pub(crate) const WIDTH: usize = 32;

/// SplitMix64: numbers that look random.
pub(crate) fn random(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The digest of a number: that of a record below the number of records, else one that is not listed.
pub(crate) fn digest(number: u64) -> [u8; WIDTH] {
    let mut bytes = [0; WIDTH];
    for (word, n) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(0..) {
        *word = random(number * 4 + n).to_le_bytes();
    }
    bytes
}

/// The detection name of a record: fifty records share one, as the samples of a family do.
pub(crate) fn name(number: u64) -> String {
    format!("Trojan.Win32.Family{}", number / 50)
}

/// When a record was made: some time in the last years.
pub(crate) fn seconds(number: u64) -> u32 {
    1_600_000_000 + (number % 100_000_000) as u32
}

/// The record of a number; `name` is its [`name`].
pub(crate) fn listing(number: u64, name: &str) -> Listing<'_> {
    Listing {
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

/// Keys to ask for, with the answers that they must get.
pub(crate) struct Burst {
    /// Digests, one after the other.
    pub(crate) bytes: Vec<u8>,
    /// Which of them are listed: the position, and the number of the record. Ascending.
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

/// Draws keys: a share of them over all records, the others unlisted. No key comes twice before all have come, which
/// is more than a round asks for.
pub(crate) struct Draw {
    records: u64,
    /// One key in so many is listed, at random places; none if this is 0.
    one_in: u64,
    /// Steps through all records without meeting one twice.
    stride: u64,
    drawn: u64,
    hits: u64,
    last: Option<Arc<Burst>>,
}

impl Draw {
    /// A tenth of the keys is listed.
    pub(crate) fn tenth(records: u64) -> Self {
        Self::one_in(records, 10)
    }

    /// No key is listed.
    pub(crate) fn misses(records: u64) -> Self {
        Self::one_in(records, 0)
    }

    fn one_in(records: u64, one_in: u64) -> Self {
        let coprime = |n: &u64| gcd(*n, records) == 1;
        // The golden ratio, which spreads the numbers best.
        let stride = ((records as f64 * 0.618) as u64..).find(|n| *n > 0 && coprime(n)).expect("primes are many");
        Self { records, one_in, stride, drawn: 0, hits: 0, last: None }
    }

    /// The next keys. Memory of the last burst is used again if nobody else holds it.
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

/// Numbers from here on are not listed.
const UNLISTED: u64 = 1 << 40;
