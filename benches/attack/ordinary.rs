//! An ordinary client: looks up a batch at fixed intervals, and checks every answer.

use std::{
    thread,
    time::{Duration, Instant},
};

use ksn::{Client, ClientConfig, Key, Status, key::Digest, key::DigestKind};
use tokio::{runtime, task::JoinSet, time};

use crate::{
    Skip,
    cores::{self, Pinned},
    records::{self, LISTED},
};

/// The interval of lookups.
const INTERVAL: Duration = Duration::from_millis(10);

/// The keys of a lookup, a tenth of which are listed.
const KEYS: u64 = 256;

/// The latencies of the lookups that were answered, in ascending order, from the time at which they were due.
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
    /// The number of lookups that failed, or whose answer was wrong.
    pub(crate) failed: usize,
}

impl Latencies {
    pub(crate) fn answered(&self) -> usize {
        self.sorted.len()
    }

    /// Returns a percentile, from 0 to 1; that of no latencies is the longest there is.
    pub(crate) fn percentile(&self, percentile: f64) -> Duration {
        let at = (self.sorted.len() as f64 * percentile).ceil() as usize;
        self.sorted.get(at.max(1) - 1).copied().unwrap_or(Duration::from_secs(3_600))
    }
}

/// Looks up for as long as stated, in a thread of its own.
pub(crate) fn measure(config: ClientConfig, duration: Duration) -> Result<Latencies, Skip> {
    let work = move || {
        let _pinned = Pinned::to(cores::CLIENT);
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(run(config, duration))
    };
    thread::spawn(work).join().map_err(|_| "the ordinary client panicked")?
}

async fn run(config: ClientConfig, duration: Duration) -> Result<Latencies, Skip> {
    let client = Client::connect(config).await.map_err(|e| format!("the ordinary client cannot connect: {e}"))?;
    let (mut lookups, mut latencies) = (JoinSet::new(), Latencies { sorted: Vec::new(), failed: 0 });
    let started = Instant::now();
    for number in 0.. {
        let due = started + INTERVAL * number;
        if due > started + duration {
            break;
        }
        let keys = keys(u64::from(number));
        time::sleep_until(due.into()).await;
        let client = client.clone();
        lookups.spawn(async move {
            let answers = client.lookup(&keys).await.ok()?;
            let is_right = answers.iter().zip(0..).all(|(a, n)| (a.status == Status::Known) == (n % 10 == 0));
            is_right.then(|| due.elapsed())
        });
    }
    while let Some(ended) = lookups.join_next().await {
        match ended.ok().flatten() {
            Some(latency) => latencies.sorted.push(latency),
            None => latencies.failed += 1,
        }
    }
    latencies.sorted.sort_unstable();
    Ok(latencies)
}

/// Returns the keys of a lookup, which no other lookup has.
fn keys(number: u64) -> Vec<Key> {
    let of = |key: u64| match key % 10 {
        0 => (number * KEYS + key) % LISTED,
        _ => LISTED + number * KEYS + key,
    };
    (0..KEYS).map(|key| Digest::new(DigestKind::Sha256, &records::digest(of(key))).expect("32 bytes").into()).collect()
}
