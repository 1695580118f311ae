//! Real feeds that turn out otherwise than known: another format, rows that nobody accounts for, a panic.
//!
//! The lists are not part of this repository. `KSN_FEEDS=/folder cargo test --release --test feeds -- --nocapture` reads
//! every file below the folder and prints what became of each group of files; without the variable the test is skipped.
#![cfg(feature = "feed")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use ksn::{
    feed::{self, FeedError, Format, Guards, Options},
    record::{Listing, RecordSink},
};

/// What is expected of a file.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// It is read as this.
    Read(Format),
    /// It is refused, ambiguous or not recognised, and the message has these words.
    Refused(&'static str),
}

use Expected::{Read, Refused};

/// What is expected of the files whose path below the folder, without `.zst`, matches a pattern (`*` stands for any text).
/// The first that matches counts. Lists of one family stand together.
const EXPECTED: &[(&str, Expected)] = &[
    // CSV.
    ("hashes/malwarebazaar/*.csv", Read(Format::MalwareBazaar)),
    ("urls/threatfox/*.csv", Read(Format::ThreatFoxCsv)),
    ("urls/urlhaus/*.csv", Read(Format::Urlhaus)),
    ("ipv4/feodo/*.csv", Read(Format::Feodo)),
    ("certs/sslbl/ja3_fingerprints.csv", Refused("JA3")),
    ("certs/sslbl/*.csv", Read(Format::Sslbl)),
    ("certs/stalkerware/*.csv", Read(Format::Csv)),
    ("updates/tweetfeed/*.csv", Read(Format::TweetFeed)),
    // An empty day.
    ("mixed/tweetfeed/2021/202109/20210907.csv", Read(Format::IocList)),
    ("mixed/tweetfeed/20*.csv", Read(Format::TweetFeed)),
    ("mixed/unit42/golang_malware_results.csv", Read(Format::Csv)),
    ("mixed/unit42/henbox/*.csv", Read(Format::Csv)),
    ("mixed/unit42/iran_linked_operators/*.csv", Read(Format::Csv)),
    ("mixed/unit42/keybase/*.csv", Read(Format::Csv)),
    ("mixed/unit42/samsa/*.csv", Read(Format::Csv)),
    ("mixed/unit42/silverterrier/*.csv", Read(Format::Csv)),
    ("mixed/unit42/squirtdanger/*.csv", Read(Format::Csv)),
    // JSON and ClamAV.
    ("allow/misp-warninglists/*", Refused("--guard")),
    ("hashes/clamav/*", Read(Format::ClamAv)),
    ("ipv4/spamhaus/asn_drop.json", Refused("autonomous systems")),
    ("stix-misp/eset/dnsbirthday/*", Refused("not recognised")),
    ("stix-misp/eset/*", Read(Format::MispEvent)),
    ("stix-misp/oasis/*", Read(Format::Stix)),
    ("stix-misp/stalkerware/misp_event.json", Read(Format::MispEvent)),
    ("stix-misp/stalkerware/stalkerware.stix2", Read(Format::Stix)),
    ("stix-misp/tweetfeed/misp/hashes.csv", Refused("values of attributes")),
    ("stix-misp/tweetfeed/misp/manifest.json", Refused("manifest")),
    ("stix-misp/tweetfeed/misp/*", Read(Format::MispEvent)),
    ("stix-misp/tweetfeed/stix/*", Read(Format::Stix)),
    ("stix-misp/unit42/*", Read(Format::Stix)),
    // Text.
];

fn expected(path: &str) -> Option<Expected> {
    EXPECTED.iter().find(|(pattern, _)| matches(pattern, path)).map(|(_, expected)| *expected)
}

/// Whether a pattern with `*` matches the whole text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text
            .strip_prefix(start)
            .is_some_and(|text| (0..=text.len()).any(|at| text.is_char_boundary(at) && matches(rest, &text[at..]))),
    }
}

/// Counts what it is given, and keeps it as text if asked to.
#[derive(Default)]
struct Counter {
    records: u64,
    named: u64,
    listings: Option<Vec<String>>,
}

impl RecordSink for Counter {
    fn add(&mut self, _input: u32, listing: Listing<'_>) {
        let indicator = listing.indicator.to_string();
        assert!(!indicator.is_empty());
        self.records += 1;
        self.named += u64::from(!listing.name.is_empty());
        if let Some(listings) = &mut self.listings {
            listings.push(format!("{indicator} {} {:?}", listing.record_type, listing.name));
        }
    }
}

/// Sums of the files of one group that turned out the same way.
#[derive(Default)]
struct Sums {
    files: u64,
    rows: u64,
    records: u64,
    named: u64,
    withheld: u64,
    unsupported: u64,
    rejected: u64,
}

/// What became of the files.
#[derive(Default)]
struct Walk {
    table: BTreeMap<(String, String), Sums>,
    wrong: Vec<String>,
}

impl Walk {
    fn take(&mut self, path: &str, group: &str, outcome: &Result<feed::Report, FeedError>, counter: &Counter) {
        if let Err(why) = check(path, outcome, counter) {
            self.wrong.push(format!("{path}: {why}"));
        }
        let outcome_text = match outcome {
            Ok(report) => report.format.name().to_owned(),
            Err(FeedError::Refused(refusal)) => format!("refused: {}", refusal.what),
            Err(FeedError::Unrecognised { .. }) => "not recognised".into(),
            Err(e) => format!("{e}"),
        };
        if let Some(listings) = &counter.listings {
            println!("{path}: {outcome_text}: {} records", counter.records);
            for ((kind, reason), times) in outcome.iter().flat_map(|report| &report.reasons) {
                println!("    {times} {kind:?}: {reason}");
            }
            for refusal in outcome.iter().flat_map(|report| &report.refusals) {
                println!("    line {}: {:?} {}: {:?}", refusal.line, refusal.outcome, refusal.reason, refusal.excerpt);
            }
            for listing in listings.iter().step_by(listings.len() / 20 + 1) {
                println!("    + {listing}");
            }
        }
        let group = group.split('/').take(2).collect::<Vec<_>>().join("/");
        let sums = self.table.entry((group, outcome_text)).or_default();
        sums.files += 1;
        if let Ok(report) = outcome {
            sums.rows += report.rows;
            sums.records += report.records;
            sums.named += counter.named;
            sums.withheld += report.withheld;
            sums.unsupported += report.unsupported;
            sums.rejected += report.rejected;
        }
    }
}

#[test]
fn real_feeds_are_read_as_known() {
    let Some(folder) = env::var_os("KSN_FEEDS").map(PathBuf::from) else {
        eprintln!("skipped: set KSN_FEEDS to a folder of real feeds");
        return;
    };
    let mut files = Vec::new();
    list(&folder, &mut files);
    files.sort();
    assert!(!files.is_empty(), "{} has no files", folder.display());
    let each = env::var_os("KSN_FEEDS_EACH").is_some();
    let walk = Mutex::new(Walk::default());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let path = file.strip_prefix(&folder).unwrap_or(file).to_string_lossy().into_owned();
                    let path = path.strip_suffix(".zst").unwrap_or(&path);
                    // What stands at the top describes the lists.
                    let Some((group, _)) = path.rsplit_once('/') else { continue };
                    let mut counter = Counter { listings: each.then(Vec::new), ..Counter::default() };
                    let outcome = read(file, &Guards::default(), &mut counter);
                    walk.lock().unwrap().take(path, group, &outcome, &counter);
                }
            });
        }
    });
    let Walk { table, wrong } = walk.into_inner().unwrap();
    print(&table);
    assert!(wrong.is_empty(), "{} of {} files:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

#[test]
fn real_warninglists_guard() {
    let Some(folder) = env::var_os("KSN_FEEDS").map(PathBuf::from) else {
        eprintln!("skipped: set KSN_FEEDS to a folder of real feeds");
        return;
    };
    let mut files = Vec::new();
    list(&folder.join("allow/misp-warninglists"), &mut files);
    let mut guards = Guards::default();
    for file in &files {
        let report = guards.read(fs::File::open(file).unwrap(), "list.json");
        let report = report.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(report.entries + report.unsupported + report.rejected > 0, "{}", file.display());
    }
    for feed in ["urls/threatfox/full_urls.csv.zst", "ipv4/feodo/ipblocklist.csv.zst", "ipv4/ipsum/ipsum.txt.zst"] {
        let file = folder.join(feed);
        let (mut free, mut guarded) = (Counter::default(), Counter::default());
        let before = read(&file, &Guards::default(), &mut free).unwrap();
        let after = read(&file, &guards, &mut guarded).unwrap();
        println!("{feed}: {} of {} records guarded", free.records - guarded.records, free.records);
        assert_eq!(before.records - after.records, after.withheld - before.withheld);
        assert!(guarded.records > 0 && guarded.records <= free.records);
    }
}

fn read(file: &Path, guards: &Guards, sink: &mut Counter) -> Result<feed::Report, FeedError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let options = Options::new("2026-11-22".parse().unwrap());
    feed::read(fs::File::open(file)?, &name, None, &options, guards, 0, sink)
}

fn check(path: &str, outcome: &Result<feed::Report, FeedError>, counter: &Counter) -> Result<(), String> {
    if let Ok(report) = outcome {
        let accounted = report.records + report.withheld + report.unsupported + report.rejected;
        if accounted < report.rows || report.records != counter.records {
            return Err(format!("rows are not accounted for: {report:?}"));
        }
        let reasons: u64 = report.reasons.values().sum();
        if reasons != report.withheld + report.unsupported + report.rejected {
            return Err(format!("reasons are not accounted for: {report:?}"));
        }
    }
    let found = match outcome {
        Ok(report) => format!("read as {}", report.format),
        Err(e) => e.to_string(),
    };
    match (expected(path), outcome) {
        (None, _) => Err(format!("nothing is expected of it; found: {found}")),
        (Some(Read(format)), Ok(report)) if report.format == format => Ok(()),
        (Some(Refused(words)), Err(_)) if found.contains(words) => Ok(()),
        (Some(expected), _) => Err(format!("expected {expected:?}, found: {found}")),
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn print(table: &BTreeMap<(String, String), Sums>) {
    println!(
        "{:<44} {:<32} {:>5} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "group", "outcome", "files", "rows", "records", "named", "withheld", "unsupp.", "rejected"
    );
    for ((group, outcome), sums) in table {
        let outcome: String = outcome.chars().take(32).collect();
        println!(
            "{group:<44} {outcome:<32} {:>5} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
            sums.files, sums.rows, sums.records, sums.named, sums.withheld, sums.unsupported, sums.rejected
        );
    }
}

#[test]
fn patterns() {
    assert!(matches("a/*.csv", "a/b/c.csv"));
    assert!(matches("*", ""));
    assert!(!matches("a/*.csv", "a/b.txt"));
    assert!(!matches("a", "ab"));
}
