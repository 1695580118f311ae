//! Row 8: real web addresses, from text to answer, against only parsing them.
//!
//! An address is canonicalized, sent, split into its expressions, and all of them are looked up; the other side only
//! parses it with [`url::Url::parse`], the usual parser in Rust, on one core. The list is shorter than a round, so it
//! is looked up several times; all of its expressions stay in the caches, like those of popular sites.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use ksn::{
    Client, WebAddress,
    batch::{Column, Texts},
    key::{Indicator, Scope},
    record::{Entry, RecordSink, RecordType},
};
use tokio::task::JoinSet;
use zerocopy::little_endian::U32;

use crate::{
    Outcome, Skip,
    keys::random,
    ours::{IN_FLIGHT, OurClient, OurServer, Packets},
    report::Figure,
    rounds::{Sample, interleave, quantity},
    snapshots,
    world::World,
};

/// The number of addresses per batch.
const BATCH: usize = 1_024;

/// The minimum number of addresses per measurement.
const BURST: usize = 1 << 17;

/// The number of records of other sites, which make the table as large as a typical feed.
const OTHER_RECORDS: u64 = 200_000;

pub(crate) fn run(world: &mut World) -> Outcome {
    let (from, addresses) = addresses();
    eprintln!("  {} addresses, {from}", addresses.len());
    // Every tenth address is listed, with its number as the record ID.
    let listed: Vec<(u64, WebAddress)> = (0..)
        .zip(&addresses)
        .step_by(10)
        .filter_map(|(number, address)| Some((number, WebAddress::parse(address).ok()?)))
        .collect();
    let name = format!("web-{}-{}", from.split(' ').next().unwrap_or_default(), addresses.len());
    let path = snapshots::kept(&name, OTHER_RECORDS, |builder| {
        let mut add = |id, scope, expression: &str| {
            builder.add(
                0,
                Entry {
                    indicator: Indicator::Web { scope, expression: expression.into() },
                    id,
                    record_type: RecordType::Phishing,
                    name: "Phishing.Example",
                    source: "benchmark",
                    timestamp: None,
                    expiry: None,
                    port: None,
                },
            );
        };
        listed.iter().for_each(|(id, address)| add(*id, Scope::Exact, address.as_str()));
        for number in 0..OTHER_RECORDS {
            add(1 << 32 | number, Scope::Domain, &format!("n{:x}.example", random(number)));
        }
    })?;
    let server = OurServer::start(snapshots::open(&path)?, Packets::Default)?;
    let ours = server.connect()?;

    let times = BURST.div_ceil(addresses.len());
    let addresses: Arc<Vec<String>> = Arc::new(addresses);
    let once = exchange(&ours, &addresses, 1);
    check(&listed, &once.ids)?;
    let mut ours_side = || {
        let result = exchange(&ours, &addresses, times);
        assert_eq!(result.ids.len(), once.ids.len() * times, "hits of ksn");
        result.sample
    };
    let mut parse = || {
        let started = Instant::now();
        let mut parsed = 0;
        for _ in 0..times {
            for address in addresses.iter() {
                parsed += usize::from(std::hint::black_box(url::Url::parse(address)).is_ok());
            }
        }
        let time = started.elapsed();
        assert!(parsed * 10 > addresses.len() * times * 9, "most lines are addresses");
        Sample { keys: (addresses.len() * times) as u64, time }
    };
    let rates = interleave(&world.options, &mut [&mut ours_side, &mut parse]);
    let what = format!("{} web addresses, {from}, from text to answer", quantity(addresses.len() as f64));
    Ok(vec![Figure::rate(&rates, 1, what, "url::Url::parse alone").at_least(0.8)])
}

/// Checks that every listed address is found. Others may be found too, if their canonical forms are equal.
fn check(listed: &[(u64, WebAddress)], found: &[u64]) -> Result<(), Skip> {
    let missing = listed.iter().filter(|(id, address)| {
        let same = |other: &&(u64, WebAddress)| other.1 == *address;
        !found.contains(id) && !listed.iter().filter(same).any(|(id, _)| found.contains(id))
    });
    match missing.count() {
        0 => Ok(()),
        missing => Err(format!("{missing} of {} listed addresses were not found", listed.len())),
    }
}

/// The result of [`exchange`].
struct Outcomes {
    sample: Sample,
    /// The IDs of the records that were found.
    ids: Vec<u64>,
}

/// Looks up a list `times` times, from text to answer, with eight batches in flight.
fn exchange(ours: &OurClient, addresses: &Arc<Vec<String>>, times: usize) -> Outcomes {
    let started = Instant::now();
    let ids = ours.runtime.block_on(async {
        let next = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (client, addresses, next) = (ours.client.clone(), addresses.clone(), next.clone());
            tasks.spawn(async move {
                let mut ids = Vec::new();
                let batches = addresses.len().div_ceil(BATCH);
                loop {
                    let batch = next.fetch_add(1, Relaxed);
                    if batch >= batches * times {
                        return ids;
                    }
                    let start = batch % batches * BATCH;
                    let texts = &addresses[start..(start + BATCH).min(addresses.len())];
                    lookup(&client, texts, &mut ids).await;
                }
            });
        }
        tasks.join_all().await.concat()
    });
    let time = started.elapsed();
    Outcomes { sample: Sample { keys: (addresses.len() * times) as u64, time }, ids }
}

async fn lookup(client: &Client, texts: &[String], ids: &mut Vec<u64>) {
    let (mut ends, mut bytes) = (Vec::with_capacity(texts.len()), Vec::new());
    // Lines that are not addresses are skipped.
    for address in texts.iter().filter_map(|text| WebAddress::parse(text).ok()) {
        bytes.extend_from_slice(address.as_str().as_bytes());
        ends.push(U32::new(bytes.len() as u32));
    }
    let column = Column::Web(Texts::new(&ends, &bytes).expect("ends ascend"));
    let answer = client.exchange(&[column], &Default::default()).await.expect("an answer");
    ids.extend(answer.view().expect("a valid answer").hits().iter().map(|hit| hit.id()));
}

/// Returns the addresses of the URLhaus list in `KSN_FEEDS`, or generated ones of similar shape, and their origin.
fn addresses() -> (&'static str, Vec<String>) {
    match std::env::var_os("KSN_FEEDS").map(PathBuf::from).map(|feeds| urlhaus(&feeds.join("urls/urlhaus"))) {
        Some(Ok(addresses)) if !addresses.is_empty() => return ("urlhaus list", addresses),
        Some(Ok(_)) => eprintln!("  the URLhaus list is empty"),
        Some(Err(reason)) => eprintln!("  cannot read the URLhaus list: {reason}"),
        None => {}
    }
    ("generated (no list in KSN_FEEDS)", (0..10_000).map(generated).collect())
}

fn urlhaus(folder: &std::path::Path) -> Result<Vec<String>, Skip> {
    let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
    let bytes = match fs::read(folder.join("urlhaus.csv.zst")) {
        Ok(packed) => zstd::decode_all(&packed[..]).map_err(fail)?,
        Err(_) => fs::read(folder.join("urlhaus.csv")).map_err(fail)?,
    };
    let mut rows =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).comment(Some(b'#')).from_reader(&bytes[..]);
    let mut addresses = Vec::new();
    let mut row = csv::StringRecord::new();
    while rows.read_record(&mut row).map_err(|e| e.to_string())? {
        addresses.extend(row.get(2).filter(|value| value.contains("://")).map(str::to_owned));
    }
    Ok(addresses)
}

/// Returns a generated address of about 56 bytes: half have an IP address, a port and a script, half a host and a few
/// directories.
fn generated(number: u64) -> String {
    let [a, b, c, d, e, f, ..] = random(number).to_le_bytes();
    match number % 2 {
        0 => format!("http://{}.{b}.{c}.{d}:{}/bin.sh", a % 223 + 1, 1024 + u32::from(e) * 251),
        _ => format!("https://n{a:x}{b:x}{c:x}.example.com/wp-content/{d:x}{e:x}{f:x}/invoice.php?id={number}"),
    }
}
