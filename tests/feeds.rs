//! Prevents real feeds from being read differently unnoticed: as another format, with rows that have no outcome, or
//! with a panic.
//!
//! The feeds are not part of this repository, and the tests are ignored by default. They read every file below the folder
//! and print the outcomes of each group of files (with `KSN_FEEDS_EACH`, of each file):
//! `KSN_FEEDS=/folder cargo test --test feeds -- --ignored --nocapture`.
#![cfg(feature = "feed")]

#[path = "common/real_feeds.rs"]
mod real_feeds;

use std::{
    collections::{BTreeMap, HashSet},
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
    record::{Entry, RecordSink},
};

use self::real_feeds::real_feeds;

/// The expected outcome of reading a file.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// Read as this format, with records.
    Read(Format),
    /// Read as this format, without records: it holds nothing, or nothing that may become a record.
    Empty(Format),
    /// Refused, ambiguous or not detected, with a message that contains these words.
    Refused(&'static str),
}

use Expected::{Empty, Read, Refused};

/// The expected outcomes of files by their path below the folder, without `.zst`: a pattern in which `*` matches any
/// text. The first match applies. Formats of one family are grouped.
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
    ("mixed/tweetfeed/2021/202109/20210907.csv", Empty(Format::IocList)),
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
    ("stix-misp/eset/dnsbirthday/*", Refused("a JSON document without")),
    // Some events are published with every attribute marked as not for detection.
    ("stix-misp/eset/badiis/*", Empty(Format::MispEvent)),
    ("stix-misp/eset/oceanlotus/*", Empty(Format::MispEvent)),
    ("stix-misp/eset/sednit/*", Empty(Format::MispEvent)),
    ("stix-misp/eset/signsight/*", Empty(Format::MispEvent)),
    ("stix-misp/eset/sshdoor/*", Empty(Format::MispEvent)),
    ("stix-misp/eset/winnti_group/*", Empty(Format::MispEvent)),
    ("stix-misp/eset/xdspy/*", Empty(Format::MispEvent)),
    ("stix-misp/eset/*", Read(Format::MispEvent)),
    // Examples of objects other than indicators, and of private addresses.
    ("stix-misp/oasis/examples/threat-reports/*", Read(Format::Stix)),
    ("stix-misp/oasis/examples/indicators-for-C2-with-COA.json", Read(Format::Stix)),
    ("stix-misp/oasis/examples/*", Empty(Format::Stix)),
    ("stix-misp/stalkerware/misp_event.json", Read(Format::MispEvent)),
    ("stix-misp/stalkerware/stalkerware.stix2", Read(Format::Stix)),
    ("stix-misp/tweetfeed/misp/hashes.csv", Refused("values of attributes")),
    ("stix-misp/tweetfeed/misp/manifest.json", Refused("manifest")),
    ("stix-misp/tweetfeed/misp/*", Read(Format::MispEvent)),
    ("stix-misp/tweetfeed/stix/*", Read(Format::Stix)),
    ("stix-misp/unit42/*", Read(Format::Stix)),
    // Text.
    ("certs/stalkerware/*.yaml", Read(Format::Yaml)),
    ("certs/stalkerware/generated/*", Read(Format::Domains)),
    ("conformance/google-safebrowsing/*.go", Refused("the source of a program")),
    ("conformance/publicsuffix/public_suffix_list.dat", Refused("the public suffix list")),
    ("conformance/publicsuffix/tests/*.js", Refused("the source of a program")),
    ("conformance/publicsuffix/tests/README", Refused("a text, not a list")),
    // Test vectors are lists of names to whoever passes them as a feed.
    ("conformance/publicsuffix/tests/test_psl.txt", Empty(Format::IocList)),
    ("conformance/publicsuffix/tests/tests.txt", Read(Format::IocList)),
    ("conformance/rust-url/*.json", Refused("a JSON document without")),
    ("conformance/rust-url/idna/tests/IdnaTestV2.txt", Refused("cannot detect the format")),
    ("conformance/rust-url/url/tests/expected_failures.txt", Refused("cannot detect the format")),
    ("hashes/eset/*.adoc", Refused("a report in AsciiDoc")),
    ("hashes/*", Read(Format::IocList)),
    ("ipv4/firehol/feodo_badips.ipset", Empty(Format::IocList)),
    ("ipv4/spamhaus/drop_ipv6.txt", Empty(Format::Ipv4List)),
    ("ipv4/*", Read(Format::Ipv4List)),
    ("mixed/maltrail/*/drapion.txt", Read(Format::Domains)),
    ("mixed/maltrail/*/ek_clearfake.txt", Read(Format::Domains)),
    ("mixed/maltrail/*/generic.txt", Read(Format::Domains)),
    ("mixed/maltrail/*/osx_nova.txt", Read(Format::Domains)),
    ("mixed/maltrail/*", Read(Format::IocList)),
    ("mixed/tweetfeed/blocklists/adguard.txt", Read(Format::Adblock)),
    ("mixed/tweetfeed/blocklists/dnsmasq.txt", Refused("a dnsmasq configuration")),
    ("mixed/tweetfeed/blocklists/domains.txt", Read(Format::Domains)),
    ("mixed/tweetfeed/blocklists/hosts.txt", Read(Format::Hosts)),
    ("mixed/tweetfeed/blocklists/ips.txt", Read(Format::Ipv4List)),
    ("mixed/tweetfeed/blocklists/rpz.txt", Refused("an RPZ zone")),
    ("mixed/tweetfeed/blocklists/urls.txt", Read(Format::IocList)),
    ("mixed/unit42/BazarCall/Appendix-A.txt", Refused("a text, not a list")),
    ("mixed/unit42/*README*", Refused("a text, not a list")),
    ("mixed/unit42/SolarStorm/*", Refused("a query of a hunting tool")),
    ("mixed/unit42/ewind/apps.csv", Refused("the names of programs")),
    ("mixed/unit42/DanaBotV4/C2s", Read(Format::Ipv4List)),
    ("mixed/unit42/lotusblossom/c2_ips.txt", Read(Format::Ipv4List)),
    ("mixed/unit42/*omains.txt", Read(Format::Domains)),
    ("mixed/unit42/Gamaredon/2202_06_Gamaredon_IoC_UPDATE.txt", Read(Format::Domains)),
    ("mixed/unit42/rat_nest/iocs.csv", Read(Format::Domains)),
    ("mixed/unit42/*", Read(Format::IocList)),
    ("updates/urlhaus-filter/*-ips.*", Read(Format::Ipv4List)),
    ("updates/urlhaus-filter/*", Read(Format::Adblock)),
    ("urls/signature-base/*", Read(Format::Domains)),
    // Every rule of these two has an option.
    ("urls/urlhaus-filter/urlhaus-filter-ag-online.txt", Empty(Format::Adblock)),
    ("urls/urlhaus-filter/urlhaus-filter-vivaldi-online.txt", Empty(Format::Adblock)),
    ("urls/urlhaus-filter/*-ips.txt", Read(Format::Ipv4List)),
    ("urls/urlhaus-filter/*-domains.txt", Read(Format::Domains)),
    ("urls/urlhaus-filter/*-hosts.txt", Read(Format::Hosts)),
    ("urls/urlhaus-filter/*.conf", Refused("an RPZ zone")),
    ("urls/urlhaus-filter/*.rules", Refused("Suricata or Snort rules")),
    ("urls/urlhaus-filter/*", Read(Format::Adblock)),
];

/// The minimum number of records of a group and format, so that a change that loses records fails.
const RECORDS_MIN: &[(&str, Format, u64)] = &[
    ("certs/sslbl", Format::Sslbl, 5500),
    ("certs/stalkerware", Format::Csv, 5800),
    ("certs/stalkerware", Format::Domains, 1800),
    ("certs/stalkerware", Format::Yaml, 1540),
    ("hashes/clamav", Format::ClamAv, 82),
    ("hashes/eset", Format::IocList, 8700),
    ("hashes/malicious-hash", Format::IocList, 4600),
    ("hashes/malwarebazaar", Format::MalwareBazaar, 23_000),
    ("hashes/signature-base", Format::IocList, 3200),
    ("ipv4/feodo", Format::Feodo, 750),
    ("ipv4/firehol", Format::Ipv4List, 14_900),
    ("ipv4/ipsum", Format::Ipv4List, 120_000),
    ("ipv4/spamhaus", Format::Ipv4List, 1300),
    ("mixed/maltrail", Format::Domains, 127_000),
    ("mixed/maltrail", Format::IocList, 86_000),
    ("mixed/tweetfeed", Format::Adblock, 4800),
    ("mixed/tweetfeed", Format::Domains, 4800),
    ("mixed/tweetfeed", Format::Hosts, 4800),
    ("mixed/tweetfeed", Format::IocList, 5400),
    ("mixed/tweetfeed", Format::Ipv4List, 730),
    ("mixed/tweetfeed", Format::TweetFeed, 71_000),
    ("mixed/unit42", Format::Csv, 37_000),
    ("mixed/unit42", Format::Domains, 596),
    ("mixed/unit42", Format::IocList, 83_000),
    ("mixed/unit42", Format::Ipv4List, 82),
    ("stix-misp/eset", Format::MispEvent, 956),
    ("stix-misp/oasis", Format::Stix, 75),
    ("stix-misp/stalkerware", Format::MispEvent, 4700),
    ("stix-misp/stalkerware", Format::Stix, 4500),
    ("stix-misp/tweetfeed", Format::MispEvent, 59_000),
    ("stix-misp/tweetfeed", Format::Stix, 1500),
    ("stix-misp/unit42", Format::Stix, 1300),
    ("updates/tweetfeed", Format::TweetFeed, 7800),
    ("updates/urlhaus-filter", Format::Adblock, 30_000),
    ("updates/urlhaus-filter", Format::Ipv4List, 646_000),
    ("urls/signature-base", Format::Domains, 1800),
    ("urls/threatfox", Format::ThreatFoxCsv, 12_300),
    ("urls/urlhaus", Format::Urlhaus, 11_100),
    ("urls/urlhaus-filter", Format::Adblock, 140_000),
    ("urls/urlhaus-filter", Format::Domains, 134_000),
    ("urls/urlhaus-filter", Format::Hosts, 6000),
    ("urls/urlhaus-filter", Format::Ipv4List, 128_000),
];

fn expected(path: &str) -> Option<Expected> {
    EXPECTED.iter().find(|(pattern, _)| matches(pattern, path)).map(|(_, expected)| *expected)
}

/// Returns whether a pattern with `*` matches the whole text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text
            .strip_prefix(start)
            .is_some_and(|text| (0..=text.len()).any(|at| text.is_char_boundary(at) && matches(rest, &text[at..]))),
    }
}

/// A sink that counts entries and, if `entries` is set, keeps them as text.
#[derive(Default)]
struct Counter {
    records: u64,
    named: u64,
    entries: Option<Vec<String>>,
}

impl RecordSink for Counter {
    fn add(&mut self, _input: u32, entry: Entry<'_>) {
        let indicator = entry.indicator.to_string();
        assert!(!indicator.is_empty());
        self.records += 1;
        self.named += u64::from(!entry.name.is_empty());
        if let Some(entries) = &mut self.entries {
            entries.push(format!("{indicator} {} {:?}", entry.record_type, entry.name));
        }
    }
}

/// Sums over the files of one group with the same outcome.
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

/// The outcomes of all files.
#[derive(Default)]
struct Outcomes {
    table: BTreeMap<(String, String), Sums>,
    wrong: Vec<String>,
}

impl Outcomes {
    fn add_file(&mut self, path: &str, group: &str, outcome: &Result<feed::Report, FeedError>, counter: &Counter) {
        if let Err(why) = check(path, outcome, counter) {
            self.wrong.push(format!("{path}: {why}"));
        }
        let outcome_text = match outcome {
            Ok(report) => report.format.name().to_owned(),
            Err(FeedError::Refused(refusal)) => format!("refused: {}", refusal.what),
            Err(FeedError::UnknownFormat { .. }) => "not detected".into(),
            Err(e) => format!("{e}"),
        };
        if let Some(entries) = &counter.entries {
            println!("{path}: {outcome_text}: {} records", counter.records);
            for ((kind, reason), times) in outcome.iter().flat_map(|report| &report.reasons) {
                println!("    {times} {kind:?}: {reason}");
            }
            for refusal in outcome.iter().flat_map(|report| &report.refusals) {
                println!("    line {}: {:?} {}: {:?}", refusal.line, refusal.outcome, refusal.reason, refusal.excerpt);
            }
            for entry in entries.iter().step_by(entries.len() / 20 + 1) {
                println!("    + {entry}");
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
#[ignore = "needs real feeds (KSN_FEEDS)"]
fn real_feeds_are_read_as_expected() {
    let folder = real_feeds();
    let mut files = Vec::new();
    list(&folder, &mut files);
    files.sort();
    assert!(!files.is_empty(), "{} has no files", folder.display());
    let each = env::var_os("KSN_FEEDS_EACH").is_some();
    let outcomes = Mutex::new(Outcomes::default());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let path = file.strip_prefix(&folder).unwrap_or(file).to_string_lossy().into_owned();
                    let path = path.strip_suffix(".zst").unwrap_or(&path);
                    // Files at the top level describe the lists.
                    let Some((group, _)) = path.rsplit_once('/') else { continue };
                    let mut counter = Counter { entries: each.then(Vec::new), ..Counter::default() };
                    let outcome = read(file, &Guards::default(), &mut counter);
                    outcomes.lock().unwrap().add_file(path, group, &outcome, &counter);
                }
            });
        }
    });
    let Outcomes { table, mut wrong } = outcomes.into_inner().unwrap();
    print(&table);
    for &(group, format, records_min) in RECORDS_MIN {
        let records = table.get(&(group.into(), format.name().into())).map_or(0, |sums| sums.records);
        if records < records_min {
            wrong.push(format!("{group}: {records} records as {format}, expected at least {records_min}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} files:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

/// Returns the digests of a list, and its other indicators, as text.
fn listed(file: &Path) -> (Vec<String>, Vec<String>) {
    let mut counter = Counter { entries: Some(Vec::new()), ..Counter::default() };
    read(file, &Guards::default(), &mut counter).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let indicators = counter.entries.unwrap_or_default().into_iter();
    let indicators = indicators.map(|entry| entry.split(' ').next().unwrap_or_default().to_owned());
    indicators.partition(|text| ["md5:", "sha1:", "sha256:"].iter().any(|kind| text.starts_with(kind)))
}

fn text_of(file: &Path) -> String {
    let bytes = fs::read(file).unwrap();
    let bytes = if file.extension().is_some_and(|ending| ending == "zst") {
        zstd::decode_all(bytes.as_slice()).unwrap()
    } else {
        bytes
    };
    String::from_utf8_lossy(&bytes).to_lowercase()
}

/// Returns the digests in a text in lower case.
fn digests_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| matches!(word.len(), 32 | 40 | 64) && word.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Prevents records of digests in comments, of other things than files, and of the values of attributes.
#[test]
#[ignore = "needs real feeds (KSN_FEEDS)"]
fn only_digests_of_files_become_records() {
    let folder = real_feeds();
    let hex = |listed: &str| listed.split_once(':').map_or_else(String::new, |(_, hex)| hex.to_owned());

    let mut files = Vec::new();
    list(&folder.join("mixed/maltrail"), &mut files);
    let mut in_comments = 0;
    for file in &files {
        let text = text_of(file);
        let keys: HashSet<_> = text.lines().filter_map(|line| line.split('#').next()).flat_map(digests_in).collect();
        in_comments +=
            text.lines().filter_map(|line| line.split_once('#')).flat_map(|(_, why)| digests_in(why)).count();
        for digest in listed(file).0 {
            assert!(keys.contains(&*hex(&digest)), "{digest} of {} is in comments only", file.display());
        }
    }
    assert!(in_comments > 100, "only {in_comments} digests are in comments");

    let mut files = Vec::new();
    list(&folder.join("hashes/malwarebazaar"), &mut files);
    for file in &files {
        let text = text_of(file);
        let (mut imphashes, mut files_hashes) = (HashSet::new(), HashSet::new());
        for row in text.lines() {
            let cells: Vec<_> = row.split("\", \"").collect();
            files_hashes.extend(cells.iter().skip(1).take(3).copied());
            imphashes.extend(cells.get(11).filter(|imphash| imphash.len() == 32));
        }
        assert!(imphashes.len() > 100);
        let only: HashSet<_> = imphashes.difference(&files_hashes).collect();
        for digest in listed(file).0 {
            assert!(!only.contains(&&*hex(&digest)), "{digest} is an import hash");
        }
    }

    // MISP: the MD5s of hashes.csv are those of attribute values; attributes of other types only look like digests.
    let mut files = Vec::new();
    list(&folder.join("stix-misp"), &mut files);
    let (hashes, events): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| text_path(file).ends_with("hashes.csv"));
    let of_values: String = hashes.iter().map(|file| text_of(file)).collect();
    let of_values: HashSet<_> = of_values.lines().filter_map(|line| line.split(',').next()).collect();
    assert!(of_values.len() > 1000);
    let mut others = 0;
    for file in events.iter().filter(|file| text_path(file).ends_with(".json")) {
        let mut counter = Counter { entries: Some(Vec::new()), ..Counter::default() };
        if !read(file, &Guards::default(), &mut counter).is_ok_and(|report| report.format == Format::MispEvent) {
            continue;
        }
        let event: serde_json::Value = serde_json::from_str(&text_of(file)).unwrap();
        let (mut files_hashes, mut odd) = (HashSet::new(), HashSet::new());
        attributes(&event, &mut |kind, value| match kind {
            kind if ["md5", "sha1", "sha256"].iter().any(|hash| kind.ends_with(hash)) => {
                files_hashes.extend(digests_in(value).map(str::to_owned));
            }
            _ => odd.extend(digests_in(value).map(str::to_owned)),
        });
        others += odd.len();
        for digest in listed(file).0 {
            let hex = hex(&digest);
            assert!(files_hashes.contains(&hex) || !odd.contains(&hex), "{digest} of {}", file.display());
            assert!(!of_values.contains(&*hex), "{digest} of {} is the digest of an attribute value", file.display());
        }
    }
    println!("{others} digests of other things in events");
}

fn attributes(value: &serde_json::Value, each: &mut dyn FnMut(&str, &str)) {
    if let (Some(kind), Some(text)) = (value["type"].as_str(), value["value"].as_str()) {
        each(kind, text);
    }
    match value {
        serde_json::Value::Array(values) => values.iter().for_each(|value| attributes(value, each)),
        serde_json::Value::Object(fields) => fields.values().for_each(|value| attributes(value, each)),
        _ => {}
    }
}

fn text_path(file: &Path) -> String {
    let path = file.to_string_lossy();
    path.strip_suffix(".zst").unwrap_or(&path).to_owned()
}

/// Prevents records of sites that articles mention, and of file names.
#[test]
#[ignore = "needs real feeds (KSN_FEEDS)"]
fn sites_in_notes_do_not_become_records() {
    let folder = real_feeds();
    let mut files = Vec::new();
    list(&folder.join("mixed/unit42"), &mut files);
    let good = [
        "apple.com",
        "microsoft.com",
        "google.com",
        "facebook.com",
        "paloaltonetworks.com",
        "exploit-db.com",
        "intel.com",
        "oracle.com",
        "twitter.com",
        "github.com",
        "amazon.com",
        "mozilla.org",
        "wikipedia.org",
    ];
    let file_endings = [".exe", ".dll", ".doc", ".docx", ".zip", ".txt", ".php", ".js", ".apk", ".bin", ".cab", ".pdf"];
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| !text_path(file).ends_with(".csv")) {
        let mut counter = Counter { entries: Some(Vec::new()), ..Counter::default() };
        if read(file, &Guards::default(), &mut counter).is_err() {
            continue;
        }
        for entry in counter.entries.unwrap_or_default() {
            let indicator = entry.split(' ').next().unwrap_or_default();
            let Some(name) = indicator.strip_prefix("domain:") else { continue };
            let is_good = good
                .iter()
                .any(|good| name.strip_suffix(good).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
            if is_good || file_endings.iter().any(|ending| name.ends_with(ending)) {
                wrong.push(format!("{name} of {}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs real feeds (KSN_FEEDS)"]
fn real_warninglists_withhold_records() {
    let folder = real_feeds();
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
        Ok(report) => format!("read as {} with {} records", report.format, report.records),
        Err(e) => e.to_string(),
    };
    match (expected(path), outcome) {
        (None, _) => Err(format!("no expectation is listed in EXPECTED; found: {found}")),
        (Some(Read(format)), Ok(report)) if report.format == format && report.records > 0 => Ok(()),
        (Some(Empty(format)), Ok(report)) if report.format == format && report.records == 0 => Ok(()),
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
