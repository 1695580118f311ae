//! Prevents fixed crashes from coming back: replays the seeds, and every input that ever violated a property, through
//! the functions that the fuzz targets of the same name call.

#[path = "common/forge.rs"]
mod forge;
#[path = "common/fuzzed.rs"]
mod fuzzed;
#[path = "common/lookup.rs"]
mod lookup;
#[path = "common/naive.rs"]
mod naive;
#[path = "common/seeds.rs"]
mod seeds;

use std::{collections::BTreeSet, fs, path::Path};

type Property = fn(&[u8]);

const TARGETS: [(&str, Property); 7] = [
    ("engine", fuzzed::engine),
    #[cfg(feature = "feed")]
    ("feeds", fuzzed::feeds),
    #[cfg(not(feature = "feed"))]
    ("feeds", |_| {}),
    ("key_text", fuzzed::key_text),
    ("snapshot_open", fuzzed::snapshot_open),
    ("web_address", fuzzed::web_address),
    ("wire_answer", fuzzed::wire_answer),
    ("wire_request", fuzzed::wire_request),
];

/// Returns the files of a folder, sorted by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn replay(target: &str, property: Property) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if std::env::var_os("KSN_WRITE_SEEDS").is_some() {
        fs::create_dir_all(fuzz.join("seeds").join(target)).unwrap();
        for (_, name, bytes) in seeds::all().into_iter().filter(|(of, ..)| *of == target) {
            fs::write(fuzz.join("seeds").join(target).join(name), bytes).unwrap();
        }
    }
    let seeds = files(&fuzz.join("seeds").join(target));
    assert!(seeds.len() >= 3, "fuzz/seeds/{target} has {} seeds", seeds.len());
    for (name, data) in seeds.into_iter().chain(files(&fuzz.join("regressions").join(target))) {
        // Printed before the message of a panic.
        println!("{target}/{name}");
        property(&data);
    }
}

#[test]
fn every_target_has_its_property_and_its_seeds() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let found: BTreeSet<String> =
        files(&targets).into_iter().map(|(name, _)| name.trim_end_matches(".rs").to_owned()).collect();
    assert_eq!(found, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
}

#[test]
fn engine() {
    replay(TARGETS[0].0, TARGETS[0].1);
}

#[test]
fn feeds() {
    replay(TARGETS[1].0, TARGETS[1].1);
}

#[test]
fn key_text() {
    replay(TARGETS[2].0, TARGETS[2].1);
}

#[test]
fn snapshot_open() {
    replay(TARGETS[3].0, TARGETS[3].1);
}

#[test]
fn web_address() {
    replay(TARGETS[4].0, TARGETS[4].1);
}

#[test]
fn wire_answer() {
    replay(TARGETS[5].0, TARGETS[5].1);
}

#[test]
fn wire_request() {
    replay(TARGETS[6].0, TARGETS[6].1);
}

/// Prevents seeds of feeds that are refused before their reader runs.
#[cfg(feature = "feed")]
#[test]
fn seeds_of_feeds_are_detected() {
    use ksn::{
        feed::{Format, Guards, Options, read},
        snapshot::SnapshotBuilder,
        timestamp::Timestamp,
    };

    let mut wrong = Vec::new();
    for (name, text) in seeds::FEEDS {
        let options = Options::new(Timestamp::from_seconds(1_800_000_000).unwrap());
        let mut sink = SnapshotBuilder::new();
        // `clamav` and `clamav-trusted` differ in the file name only.
        let file = if name == "clamav-trusted" { "a.fp" } else { "" };
        match read(text.as_bytes(), file, None, &options, &Guards::default(), 0, &mut sink) {
            Ok(report) if report.format.name() == name && report.records > 0 => {}
            // Warninglists guard; they have no records.
            Err(_) if name == "misp-warninglist" => {}
            Ok(report) => wrong.push(format!("{name}: {report:?}")),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let named: Vec<&str> = seeds::FEEDS.iter().map(|(name, _)| *name).collect();
    let missing: Vec<&str> = Format::ALL.iter().map(|f| f.name()).filter(|name| !named.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} have no seed");
}
