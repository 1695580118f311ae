//! Construction of a table's buckets from sorted keys.

use zerocopy::little_endian::U32;

use super::layout::{BUCKET_KEYS_MEAN, BUCKET_SLOTS, Bucket, bucket_of, fingerprint_of};

/// Returns the number of buckets of a table with `keys` keys, without the sentinel row that holds the start of the
/// tail.
pub(super) fn buckets_of(keys: u64) -> usize {
    keys.div_ceil(BUCKET_KEYS_MEAN) as usize
}

/// Assigns keys to buckets and returns the keys of the tail.
///
/// `sorted` MUST yield `keys` keys in ascending order of their first eight bytes. `bucket` is called for every bucket
/// in order, with the keys in its slots, and for the sentinel row.
pub(crate) fn build_buckets<T: Copy>(
    keys: u64,
    sorted: impl Iterator<Item = ([u8; 8], T)>,
    mut bucket: impl FnMut(&Bucket, &[([u8; 8], T)]),
) -> Vec<T> {
    let count = buckets_of(keys);
    let mut sorted = sorted.peekable();
    let mut fill = |own: &mut Vec<_>, number| {
        own.clear();
        while let Some(key) = sorted.next_if(|(prefix, _)| bucket_of(*prefix, count) == number) {
            own.push(key);
        }
    };
    // The keys of this bucket, the keys of the next, and those that overflowed from the previous one.
    let (mut own, mut next, mut overflow) = (Vec::new(), Vec::new(), Vec::new());
    let (mut first_key, mut tail) = (0, Vec::new());
    fill(&mut own, 0);
    for number in 0..count {
        fill(&mut next, number + 1);
        let is_last = number + 1 == count;
        let room = if is_last { 0 } else { BUCKET_SLOTS - next.len().min(BUCKET_SLOTS) };
        let rest = own.split_off(own.len().min(BUCKET_SLOTS));
        let (pushed, left) = rest.split_at(rest.len().min(room));
        own.append(&mut overflow);
        overflow.extend_from_slice(pushed);
        tail.extend(left.iter().map(|&(_, key)| key));

        let mut fingerprints = [U32::ZERO; BUCKET_SLOTS];
        for (slot, &(prefix, _)) in fingerprints.iter_mut().zip(&own) {
            *slot = fingerprint_of(prefix).into();
        }
        let overflows = if pushed.is_empty() { 0 } else { Bucket::OVERFLOWS };
        let has_tail = if left.is_empty() { 0 } else { Bucket::HAS_TAIL };
        bucket(&Bucket { fingerprints, meta: (first_key | overflows | has_tail).into() }, &own);
        first_key += own.len() as u32;
        std::mem::swap(&mut own, &mut next);
    }
    if count > 0 {
        bucket(&Bucket { fingerprints: [U32::ZERO; BUCKET_SLOTS], meta: first_key.into() }, &[]);
    }
    tail
}
