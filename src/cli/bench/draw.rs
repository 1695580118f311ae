//! Keys of a run: sampled from a snapshot, generated, or read from a file.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    net::Ipv4Addr,
    path::Path,
};

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use ksn::{
    Index, Key, Status, WebAddress,
    batch::Detail,
    key::{Digest, Indicator, KeyKind},
    record::Entry,
    timestamp::Timestamp,
};

use super::settings::Mix;
use crate::cli::{backend, keys::KeyLines, output::Plural, verify};

/// Keys, each with a flag whether it should be known (`None` when there is no expectation).
pub(super) struct Drawn {
    pub(super) keys: Vec<(Key, Option<bool>)>,
    /// Number of distinct keys.
    pub(super) distinct: u64,
    /// Number of distinct keys that should be known.
    pub(super) distinct_known: u64,
}

/// Settings for drawing keys.
pub(super) struct Draw<'a> {
    pub(super) mix: &'a Mix,
    /// Share of keys that should be known, from 0 to 1.
    pub(super) hits: f64,
    /// Number of keys.
    pub(super) count: usize,
    pub(super) seed: u64,
    /// The snapshot to sample known keys from.
    pub(super) index: Option<&'a Index>,
    /// Records that expire before this time are not sampled: they would not match until the end of the run.
    pub(super) until: Timestamp,
}

impl Draw<'_> {
    /// Draws the keys. The same settings produce the same keys.
    pub(super) fn draw(&self) -> Result<Drawn> {
        let mut rng = Rng::with_seed(self.seed);
        let mut listed = self.listed(&mut rng)?;
        let mut unknown_keys = UnknownKeys { index: self.index, number: 0, offset: rng.u32(..) };
        let mut keys = Vec::with_capacity(self.count);
        let (mut unknown, mut known) = (0, HashMap::<KeyKind, usize>::new());
        for _ in 0..self.count {
            let kind = self.mix.kind_at(rng.u64(..self.mix.total()));
            let hits = listed.get_mut(&kind).filter(|_| rng.f64() < self.hits);
            keys.push(match hits {
                Some(hits) => {
                    let drawn = known.entry(kind).or_default();
                    *drawn += 1;
                    (hits[(*drawn - 1) % hits.len()].clone(), Some(true))
                }
                None => {
                    unknown += 1;
                    (unknown_keys.key(kind, &mut rng)?, self.index.map(|_| false))
                }
            });
        }
        let distinct_known = known.iter().map(|(kind, drawn)| listed[kind].len().min(*drawn) as u64).sum();
        Ok(Drawn { keys, distinct: unknown + distinct_known, distinct_known })
    }

    /// Samples distinct known keys of each kind, in random order.
    fn listed(&self, rng: &mut Rng) -> Result<HashMap<KeyKind, Vec<Key>>> {
        let Some(index) = self.index.filter(|_| self.hits > 0.0) else { return Ok(HashMap::new()) };
        let view = index.view();
        // In the order of the mix: the order of a map, and the keys with it, would differ between runs.
        let mut samples: Vec<_> = self.mix.weights().iter().map(|(kind, _)| (*kind, Sample::default())).collect();
        // Twice the square root is at least four standard deviations of the number of known keys.
        let count = self.count as f64;
        let wanted = (count * self.hits + 2.0 * count.sqrt()).ceil() as usize;
        for entry in view.snapshot().entries() {
            if let Some((_, sample)) = samples.iter_mut().find(|(kind, _)| *kind == entry.indicator.kind())
                && self.can_sample(&entry)
            {
                sample.offer(entry.indicator, wanted, rng);
            }
        }
        let mut listed = HashMap::new();
        for (kind, sample) in samples {
            let mut keys = sample.into_keys(rng);
            rng.shuffle(&mut keys);
            if keys.is_empty() {
                bail!(
                    "the snapshot has no {kind} entries to sample, but {}% of the keys must be known: choose --mix \
                     among the kinds that it has ({}), or give --hits 0%",
                    self.hits * 100.0,
                    kinds_of(index)
                );
            }
            listed.insert(kind, keys);
        }
        Ok(listed)
    }

    fn can_sample(&self, entry: &Entry<'_>) -> bool {
        !matches!(entry.indicator, Indicator::WebSha256(_)) && entry.expiry.is_none_or(|expiry| expiry > self.until)
    }
}

/// Formats the kinds with records: `md5, url`.
fn kinds_of(index: &Index) -> String {
    let view = index.view();
    let kinds = KeyKind::ALL.into_iter().filter(|&kind| view.records(kind) > 0).map(KeyKind::prefix);
    kinds.collect::<Vec<_>>().join(", ")
}

/// A uniform sample of a stream of indicators (reservoir sampling).
#[derive(Default)]
struct Sample {
    chosen: Vec<Indicator>,
    seen: usize,
}

impl Sample {
    fn offer(&mut self, indicator: Indicator, max: usize, rng: &mut Rng) {
        self.seen += 1;
        if self.chosen.len() < max {
            self.chosen.push(indicator);
        } else if let Some(slot) = self.chosen.get_mut(rng.usize(..self.seen)) {
            *slot = indicator;
        }
    }

    /// Returns one key per indicator, without duplicates.
    fn into_keys(self, rng: &mut Rng) -> Vec<Key> {
        let mut seen = HashSet::with_capacity(self.chosen.len());
        let key = |indicator: Indicator| {
            let mut keys = verify::covered(&indicator);
            (!keys.is_empty()).then(|| keys.swap_remove(rng.usize(..keys.len())))
        };
        self.chosen.into_iter().filter_map(key).filter(|key| seen.insert(key.clone())).collect()
    }
}

/// Generator of distinct unknown keys.
struct UnknownKeys<'a> {
    index: Option<&'a Index>,
    number: u32,
    offset: u32,
}

impl UnknownKeys<'_> {
    fn key(&mut self, kind: KeyKind, rng: &mut Rng) -> Result<Key> {
        for _ in 0..ATTEMPTS_MAX {
            let key = self.any_key(kind, rng)?;
            // A random digest is never listed. A random address may well be in a listed block.
            let is_unknown = |index: &Index| {
                index.lookup(std::slice::from_ref(&key), Detail::Winner, backend::now())[0].status == Status::Unknown
            };
            if matches!(kind, KeyKind::Digest(_)) || self.index.is_none_or(is_unknown) {
                return Ok(key);
            }
        }
        bail!(
            "no unknown {kind} key found in {ATTEMPTS_MAX} random ones: remove {kind} from --mix, or give --hits 100%"
        );
    }

    fn any_key(&mut self, kind: KeyKind, rng: &mut Rng) -> Result<Key> {
        self.number = self.number.wrapping_add(1);
        Ok(match kind {
            KeyKind::Digest(kind) => {
                let mut bytes = [0; 32];
                let bytes = &mut bytes[..kind.width()];
                rng.fill(bytes);
                Digest::new(kind, bytes).context("a digest has the width of its kind")?.into()
            }
            KeyKind::Web => {
                // Three labels and two directories, like a typical address.
                let host = rng.u64(..);
                let number = self.number;
                let text = format!("www.n{host:x}.example/assets/{number:x}/index.html?id={}", number % 97);
                WebAddress::parse(&text)?.into()
            }
            // An odd step visits every address once before it repeats one.
            KeyKind::Ipv4 => Ipv4Addr::from(self.number.wrapping_mul(0x9e37_79b9).wrapping_add(self.offset)).into(),
        })
    }
}

/// Attempts to generate an unknown key: enough when one address in a hundred is unlisted.
const ATTEMPTS_MAX: usize = 1_000;

/// Reads keys from a file, one per line, as `ksn lookup` does. Skips lines that are not keys, with a warning.
pub(super) fn read(path: &Path, count: usize, index: Option<&Index>) -> Result<Drawn> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot read keys from {name}"))?;
    let mut lines = KeyLines::new(file);
    let (mut keys, mut skipped, mut is_truncated) = (Vec::new(), Vec::new(), false);
    while let Some(chunk) = lines.next_chunk().with_context(|| format!("cannot read keys from {name}"))? {
        for parsed in chunk {
            match parsed.key {
                Ok(key) => keys.push(key),
                Err(invalid) => skipped.push(invalid.reason),
            }
        }
        is_truncated = keys.len() > count;
        if is_truncated {
            break;
        }
    }
    keys.truncate(count);
    if let Some(reason) = skipped.first() {
        let lines = Plural(skipped.len() as u64, "line");
        eprintln!("ksn: skipped {lines} of {name} that cannot be parsed as a key; first: {reason}");
    }
    if is_truncated {
        eprintln!("ksn: only the first {count} keys of {name} are used; give --distinct to use more");
    }
    if keys.is_empty() {
        bail!("expected keys in {name}, one per line, found none");
    }
    let now = backend::now();
    let known: Vec<Option<bool>> = match index {
        None => vec![None; keys.len()],
        Some(index) => {
            let answers = index.lookup(&keys, Detail::Winner, now);
            answers.into_iter().map(|answer| Some(answer.status == Status::Known)).collect()
        }
    };
    let distinct = keys.iter().collect::<HashSet<_>>().len() as u64;
    let keys: Vec<_> = keys.into_iter().zip(known).collect();
    let known: HashSet<_> = keys.iter().filter(|(_, is_known)| *is_known == Some(true)).map(|(key, _)| key).collect();
    let distinct_known = known.len() as u64;
    Ok(Drawn { keys, distinct, distinct_known })
}

#[cfg(test)]
mod tests {
    use ksn::{
        key::{DigestKind, Ipv4Block, Scope},
        record::{RecordSink, RecordType},
        snapshot::{Snapshot, SnapshotBuilder, SnapshotInfo},
    };

    use super::*;

    fn index(indicators: impl IntoIterator<Item = (Indicator, Option<Timestamp>)>) -> Index {
        let mut builder = SnapshotBuilder::new();
        for ((indicator, expiry), id) in indicators.into_iter().zip(0..) {
            let (record_type, name, source) = (RecordType::Malware, "", "made-up");
            builder.add(0, Entry { indicator, id, record_type, name, source, timestamp: None, expiry, port: None });
        }
        let created = Timestamp::from_seconds(1).unwrap();
        let info =
            SnapshotInfo { dataset: "made-up".into(), generation: 1, created, compiled_with: Default::default() };
        Index::new(Snapshot::from_bytes(builder.finish(&info).unwrap().into_bytes()).unwrap())
    }

    fn sha256(byte: u8) -> Indicator {
        Indicator::Digest(Digest::new(DigestKind::Sha256, &[byte; 32]).unwrap())
    }

    fn half_of_ipv4() -> Indicator {
        Indicator::Ipv4(Ipv4Block::containing(Ipv4Addr::new(0, 0, 0, 0), 1))
    }

    fn domain(name: &str) -> Indicator {
        Indicator::Web { scope: Scope::Domain, expression: name.into() }
    }

    fn draw(mix: &str, hits: f64, index: Option<&Index>) -> Result<Drawn> {
        let until = backend::now();
        Draw { mix: &mix.parse().unwrap(), hits, count: 4_000, seed: 7, index, until }.draw()
    }

    #[test]
    fn sampled_keys_are_known_and_generated_ones_are_not() {
        let indicators = [half_of_ipv4(), domain("a.example"), domain("b.example")];
        let index = index((0..200).map(sha256).chain(indicators).map(|indicator| (indicator, None)));
        let drawn = draw("sha256=2,web,ipv4", 0.25, Some(&index)).unwrap();
        let keys: Vec<Key> = drawn.keys.iter().map(|(key, _)| key.clone()).collect();
        let answers = index.lookup(&keys, Detail::Winner, backend::now());
        for ((key, is_known), answer) in drawn.keys.iter().zip(&answers) {
            assert_eq!(Some(answer.status == Status::Known), *is_known, "{key}");
        }
        let known: HashSet<_> = drawn.keys.iter().filter(|(_, is_known)| *is_known == Some(true)).collect();
        let unknown: Vec<_> = drawn.keys.iter().filter(|(_, is_known)| *is_known == Some(false)).collect();
        assert_eq!(unknown.iter().collect::<HashSet<_>>().len(), unknown.len(), "one was generated twice");
        assert_eq!(drawn.distinct_known, known.len() as u64);
        assert_eq!(drawn.distinct, (known.len() + unknown.len()) as u64);
        let share = unknown.len() as f64 / 4_000.0;
        assert!((0.70..0.80).contains(&share), "{share}");
        assert!(drawn.keys == draw("sha256=2,web,ipv4", 0.25, Some(&index)).unwrap().keys, "the same seed");
    }

    #[test]
    fn listed_keys_repeat_only_after_all_were_used() {
        let index = index((0..100).map(|n| (sha256(n), None)));
        let drawn = draw("sha256", 1.0, Some(&index)).unwrap();
        for round in drawn.keys.chunks(100) {
            assert_eq!(round.iter().collect::<HashSet<_>>().len(), 100);
        }
    }

    #[test]
    fn keys_that_cannot_be_drawn_are_an_error_with_the_reason() {
        let error = |mix: &str, hits, index: &Index| format!("{:#}", draw(mix, hits, Some(index)).err().unwrap());
        let soon = Timestamp::from_seconds(2).unwrap();
        let index = index([(sha256(1), Some(soon)), (half_of_ipv4(), None), (domain("a.example"), None)]);
        assert!(error("sha256", 0.1, &index).contains("no sha256 entries"), "it has expired");
        assert!(error("md5", 0.1, &index).contains("sha256, url, ipv4"), "these are listed");
        assert!(draw("md5", 0.0, Some(&index)).is_ok());
        let everything = index_of_all_ipv4();
        assert!(error("ipv4", 0.0, &everything).contains("no unknown ipv4 key"));
        assert!(draw("ipv4", 0.5, None).unwrap().keys.iter().all(|(_, is_known)| is_known.is_none()));
    }

    fn index_of_all_ipv4() -> Index {
        index([(Indicator::Ipv4(Ipv4Block::containing(Ipv4Addr::new(0, 0, 0, 0), 0)), None)])
    }
}
