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

/// Defines one test for each target and the list of their names.
macro_rules! targets {
    ($($(#[$attribute:meta])* $name:ident)*) => {
        const TARGETS: &[&str] = &[$($(#[$attribute])* stringify!($name),)*];

        $(
            $(#[$attribute])*
            #[test]
            fn $name() {
                replay(stringify!($name), fuzzed::$name);
            }
        )*
    };
}

targets! {
    engine
    #[cfg(feature = "feed")]
    feeds
    key_text
    snapshot_open
    web_address
    wire_answer
    wire_request
}

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

fn replay(target: &str, property: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if std::env::var_os("KSN_WRITE_SEEDS").is_some() {
        fs::create_dir_all(fuzz.join("seeds").join(target)).unwrap();
        for (_, name, bytes) in seeds::all().into_iter().filter(|(of, ..)| *of == target) {
            fs::write(fuzz.join("seeds").join(target).join(name), bytes).unwrap();
        }
    }
    let seeds = files(&fuzz.join("seeds").join(target));
    assert!(!seeds.is_empty(), "fuzz/seeds/{target} has no seeds");
    for (name, data) in seeds.into_iter().chain(files(&fuzz.join("regressions").join(target))) {
        // Printed before the message of a panic.
        println!("{target}/{name}");
        property(&data);
    }
}

/// Prevents targets without a test, in whatever features: without `feed` that target's seeds are only counted.
#[test]
fn every_target_has_its_property_and_its_seeds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let found = files(&fuzz.join("fuzz_targets")).into_iter().map(|(name, _)| name.trim_end_matches(".rs").to_owned());
    let found: BTreeSet<String> = found.collect();
    let mut expected: BTreeSet<String> = TARGETS.iter().map(|&name| name.to_owned()).collect();
    expected.insert("feeds".into());
    assert_eq!(found, expected);
    for target in found {
        let seeds = files(&fuzz.join("seeds").join(&target));
        assert!(seeds.len() >= 3, "fuzz/seeds/{target} has {} seeds", seeds.len());
        assert!(seeds.iter().all(|(_, seed)| !seed.is_empty()), "fuzz/seeds/{target} has an empty seed");
    }
}
