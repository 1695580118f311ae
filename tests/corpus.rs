//! Prevents files from being read differently unnoticed: every file of `tests/corpus` is read, and what comes of it is
//! compared with the transcript in the file of the same name with `.expected` appended.
//!
//! `formats` has one file for each format, named after it; `rules` has one file for each rule that readers obey,
//! whatever the format. Everything in them is made up: digests are patterns, names are reserved ones (RFC 2606, RFC
//! 6761) or below domains that are obviously invented, addresses stand for nobody.
//!
//! To add a file: put it into the folder, run `KSN_WRITE_CORPUS=1 cargo test --test corpus`, and review the transcript
//! that was written (`git diff`); the same after a change of a reader that is meant to change what it reads. The test
//! fails once when it has written anything. A transcript has a section for each way to read the file:
//!
//! ```text
//! $ ksn build --trusted list.txt              the options, then the file by its name, or `-` without a name
//! read as ioc-list                            or `error: …`
//! + md5:… malware "name" at … #7              a record
//! - line 3: rejected: reason: "excerpt"       a row, or a part of one, without a record
//! 2 rows: 1 record, 0 withheld, 0 unsupported, 1 rejected
//! ```
//!
//! A new transcript has one section without options; further ones are added by hand: the line `$ ksn build …` is
//! enough, the rest is written. A file without a section for `-` must give the same without its name.
#![cfg(feature = "feed")]

#[path = "corpus/transcript.rs"]
mod transcript;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use ksn::feed::Format;

use self::transcript::{differences, read};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Returns the files of a folder of the corpus, without transcripts, sorted.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = corpus().join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let (mut files, transcripts): (Vec<PathBuf>, Vec<PathBuf>) = entries
        .map(|entry| entry.unwrap().path())
        .partition(|path| path.extension().is_none_or(|extension| extension != "expected"));
    for transcript in transcripts {
        let of = transcript.with_extension("");
        assert!(files.contains(&of), "{} is the transcript of no file", transcript.display());
    }
    files.sort();
    files
}

/// Returns how a file differs from its transcript; with `KSN_WRITE_CORPUS`, writes the transcript.
fn check(file: &Path) -> Result<(), String> {
    let mut path = file.to_owned().into_os_string();
    path.push(".expected");
    let name = file.file_name().unwrap().to_str().unwrap();
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let mut commands: Vec<&str> = expected.lines().filter(|line| line.starts_with("$ ")).collect();
    let plain = format!("$ ksn build {name}");
    if commands.is_empty() {
        commands.push(&plain);
    }
    let found: Vec<String> =
        commands.iter().map(|command| format!("{command}\n{}", read(file, &plain, command))).collect();
    let found = found.join("\n");
    let shown = file.strip_prefix(corpus()).unwrap().display();
    if found != expected {
        if env::var_os("KSN_WRITE_CORPUS").is_some() {
            fs::write(&path, found).unwrap();
            return Err(format!("{shown}.expected was written: review it"));
        }
        return Err(format!("{shown} (- expected, + found):\n{}", differences(&expected, &found)));
    }
    let unnamed = "$ ksn build -";
    if !commands.contains(&unnamed) && read(file, &plain, unnamed) != read(file, &plain, &plain) {
        let found = read(file, &plain, unnamed);
        return Err(format!("{shown} is read differently without its name: add the section `{unnamed}`\n{found}"));
    }
    Ok(())
}

fn check_folder(folder: &str) {
    let files = files(folder);
    assert!(!files.is_empty(), "tests/corpus/{folder} is empty");
    let wrong: Vec<String> = files.iter().filter_map(|file| check(file).err()).collect();
    assert!(wrong.is_empty(), "{} of {} files:\n\n{}", wrong.len(), files.len(), wrong.join("\n\n"));
}

#[test]
fn formats_are_read_as_expected() {
    check_folder("formats");
}

#[test]
fn rules_are_obeyed() {
    check_folder("rules");
}

/// Prevents a format whose reader no plain `cargo test` runs: each has a file that is detected as that format and gives
/// a record and a refusal.
#[test]
fn every_format_has_a_file() {
    let mut missing: BTreeSet<&str> = Format::ALL.iter().map(|format| format.name()).collect();
    for file in files("formats") {
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(missing.remove(name), "{}: expected one file for each format, named after it", file.display());
        let transcript = fs::read_to_string(format!("{}.expected", file.display())).unwrap();
        let line = |start: &str| transcript.lines().any(|line| line.starts_with(start));
        assert!(line(&format!("read as {name}")) && line("+ "), "{name} has no record:\n{transcript}");
        assert!(line("- "), "{name} has no row that is refused:\n{transcript}");
    }
    assert!(missing.is_empty(), "no file in tests/corpus/formats for {missing:?}");
}
