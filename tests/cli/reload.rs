//! Prevents a server that keeps a replaced snapshot, that a signal or a broken file ends, or that replaces a good
//! snapshot by one that lacks most records.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use ksn::{Client, ClientConfig, Trust};

use crate::program::{Program, SHA256, Serving, UNKNOWN};

/// Builds a snapshot of a generation that lists these digests, under another name.
fn build(program: &Program, generation: u64, digests: &[&str]) {
    program.write("next.csv", &format!("sha256\n{}\n", digests.join("\n")));
    let generation = generation.to_string();
    let args = ["build", "-o", "next.ksn", "--created", "2026-11-22", "--generation", &generation];
    let ran = program.run(&[&args[..], &["--allow-empty", "--max-shrink", "100", "next.csv"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

/// Replaces the served file by the one that was built.
fn replace(program: &Program) {
    fs::rename(program.path("next.ksn"), program.path("records.ksn")).unwrap();
}

/// Starts with generation 5, which lists `SHA256` and three more digests.
fn started(args: &[&str]) -> (Program, Serving) {
    let program = Program::new();
    build(&program, 5, &FOUR);
    replace(&program);
    let server = program.serve_with(args);
    (program, server)
}

fn hang_up(server: &Serving) {
    let id = server.child.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
}

/// Waits until the log contains a text some times.
fn wait_for(server: &Serving, text: &str, times: usize) {
    let started = Instant::now();
    loop {
        let log = server.log.lock().unwrap().clone();
        if log.matches(text).count() >= times {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "expected {text:?} {times} times: {log}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn generation(program: &Program, server: &Serving, key: &str) -> (u64, String) {
    let row = program.run(&["lookup", "--json", "--server", &server.address, key]).objects().remove(0);
    (row["generation"].as_u64().unwrap(), row["status"].as_str().unwrap().to_owned())
}

#[test]
fn a_replaced_snapshot_is_served_and_announced() {
    let (program, mut server) = started(&[]);
    wait_for(&server, "loaded dataset local, generation 5, 4 records, in ", 1);
    let trust = Trust::Pin(server.pin.parse().unwrap());
    let client = Client::spawn(ClientConfig::new(server.address.clone(), trust)).unwrap();
    assert_eq!(client.welcome().unwrap().generation, 5);
    let key = [UNKNOWN.parse().unwrap()];
    let answer = || client.lookup(&key).unwrap().remove(0);
    assert_eq!((answer().generation, answer().winner().is_some()), (5, false));

    let all = [&FOUR[..], &[UNKNOWN]].concat();
    build(&program, 6, &all);
    replace(&program);
    let replaced = Instant::now();
    while answer().winner().is_none() {
        assert!(replaced.elapsed() < Duration::from_secs(3), "{}", server.log.lock().unwrap());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(answer().generation, 6);
    while client.welcome().unwrap().generation != 6 {
        assert!(replaced.elapsed() < Duration::from_secs(10), "no notice of the new generation");
        thread::sleep(Duration::from_millis(50));
    }

    // Neither a signal nor a new time of the same content reloads anything.
    hang_up(&server);
    wait_for(&server, "unchanged", 1);
    // A signal does not wait for the next look at the file.
    build(&program, 6, &FOUR);
    replace(&program);
    hang_up(&server);
    wait_for(&server, "generation 6 is the same as that before, 6", 1);
    build(&program, 4, &FOUR);
    replace(&program);
    wait_for(&server, "generation 4 is lower than that before, 6", 1);
    assert_eq!(generation(&program, &server, SHA256), (4, "known".into()));
    assert!(server.child.try_wait().unwrap().is_none());
}

/// Prevents an outage by a file that is broken, half written, empty or much smaller, and warnings that repeat.
#[test]
fn a_worse_snapshot_is_refused_with_its_reason() {
    let (program, server) = started(&[]);
    let served = || generation(&program, &server, SHA256);
    let refused = |reason: &str| {
        wait_for(&server, reason, 1);
        assert_eq!(served(), (5, "known".into()), "{reason}");
    };
    program.write("next.ksn", "not a snapshot");
    replace(&program);
    refused("not a snapshot: expected magic");
    build(&program, 6, &[]);
    replace(&program);
    refused("expected records, found none");
    build(&program, 7, &FOUR[..1]);
    replace(&program);
    refused("1 of 4 records are left, more than 50 % fewer");
    assert!(server.log.lock().unwrap().contains("generation 5 stays"));
    // A signal tries it again, the next look at the file does not.
    hang_up(&server);
    wait_for(&server, "1 of 4 records are left", 2);
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(server.log.lock().unwrap().matches("1 of 4 records are left").count(), 2);

    build(&program, 8, &FOUR[..2]);
    let whole = fs::read(program.path("next.ksn")).unwrap();
    let half = &whole[..whole.len() / 2];
    fs::write(program.path("records.ksn"), half).unwrap();
    refused(&format!("truncated: expected {} bytes, found {}", whole.len(), half.len()));
    fs::remove_file(program.path("records.ksn")).unwrap();
    refused("cannot read it: No such file");
    fs::write(program.path("records.ksn"), whole).unwrap();
    wait_for(&server, "generation 8, 2 records", 1);
    assert_eq!(served(), (8, "known".into()));
}

#[test]
fn max_shrink_sets_how_much_smaller_a_replacement_may_be() {
    let (program, server) = started(&["--max-shrink", "20"]);
    build(&program, 6, &FOUR[..3]);
    replace(&program);
    wait_for(&server, "3 of 4 records are left, more than 20 % fewer", 1);
    drop(server);
    let (program, server) = started(&["--max-shrink", "100"]);
    build(&program, 6, &FOUR[..1]);
    replace(&program);
    wait_for(&server, "generation 6, 1 records", 1);
    let ran = program.run(&["serve", "--db", "records.ksn", "--max-shrink", "101"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    drop(server);
}

/// Digests, the first of which is `SHA256`.
const FOUR: [&str; 4] = [
    SHA256,
    "1111111111111111111111111111111111111111111111111111111111111112",
    "2222222222222222222222222222222222222222222222222222222222222223",
    "3333333333333333333333333333333333333333333333333333333333333334",
];
