//! Prevents commands that wait for a server that is not there, that outlive their answer, that do not find the server of
//! this machine, and that hide which versions they speak.

use std::{
    net::UdpSocket,
    process::Command,
    time::{Duration, Instant},
};

use crate::program::{Program, RunOutput, SHA256, UNKNOWN};

/// Returns an address on which nothing listens.
fn closed_port() -> String {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn run_with(program: &Program, args: &[&str], variables: &[(&str, &str)]) -> RunOutput {
    program.command(args).envs(variables.iter().copied()).output().unwrap().into()
}

/// Prevents waiting for the timeout of a handshake with a closed port, which the system reports at once.
#[test]
fn a_dead_server_is_reported_at_once_and_once() {
    let program = Program::with_records();
    let (address, pin) = (closed_port(), format!("sha256:{UNKNOWN}"));
    for command in ["lookup", "scan", "ping"] {
        let server = [command, "--server", &address, "--pin", &pin, "--timeout", "60s"];
        let keys: &[&str] = match command {
            "lookup" => &[SHA256, UNKNOWN],
            "scan" => &["names.txt"],
            _ => &[],
        };
        let started = Instant::now();
        let ran = program.run(&[&server[..], keys].concat());
        assert!(started.elapsed() < Duration::from_secs(30), "{command}: {:?}", started.elapsed());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        if command != "scan" {
            assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
            assert!(ran.err.contains(&address) && ran.err.contains("check that the server runs"), "{ran:?}");
            assert!(!ran.out.contains(&address), "reported twice: {ran:?}");
        }
    }
    let ran = program.run(&["verify", "--db", "records.ksn", "--server", &address, "--pin", &pin]);
    assert!(ran.code == Some(2) && ran.err.contains(&address), "{ran:?}");
}

/// Prevents a server that cannot be told from a silent one, such as a firewall, from taking longer than asked for.
#[test]
fn a_silent_server_is_reported_after_the_timeout() {
    let program = Program::with_records();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let pin = format!("sha256:{UNKNOWN}");
    let started = Instant::now();
    let ran = program.run(&["lookup", "--server", &address, "--pin", &pin, "--timeout", "300ms", SHA256]);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(20), "{took:?}");
    assert!(ran.code == Some(2) && ran.err.contains("300ms") && ran.err.contains("--timeout"), "{ran:?}");
    assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
}

/// Prevents a name with an IPv6 address, on which the server does not listen, from failing or waiting.
#[test]
fn localhost_is_the_server_of_this_machine() {
    let program = Program::with_records();
    let server = program.serve();
    let name = server.address.replace("127.0.0.1", "localhost");
    for trust in [&[][..], &["--pin", &server.pin]] {
        let ran = program.run(&[&["lookup", "--server", &name], trust, &[SHA256]].concat());
        assert_eq!(ran.code, Some(1), "{ran:?}");
    }
}

/// Prevents a second server from taking the saved pin of the first with it.
#[test]
fn a_server_is_found_after_another_came_and_went() {
    let program = Program::with_records();
    let server = program.serve();
    let other = program.serve();
    let found = |server: &str| {
        let rows = program.run(&["ping", "--json"]).objects();
        assert_eq!(rows[0]["server"], server, "{rows:?}");
    };
    found(&other.address);
    // The server is killed, so it has no chance to clean up.
    drop(other);
    found(&server.address);
    for named in [&[][..], &["--server", &server.address]] {
        assert_eq!(program.run(&[&["lookup"], named, &[SHA256]].concat()).code, Some(1), "{named:?}");
    }
}

/// Prevents variables that are ignored, and variables that override options.
#[test]
fn the_environment_names_the_server() {
    let program = Program::with_records();
    let server = program.serve();
    let elsewhere = Program::with_records();
    let (address, pin) = (server.address.as_str(), server.pin.as_str());
    let wrong = format!("sha256:{UNKNOWN}");
    let there = [("KSN_SERVER", address), ("KSN_PIN", pin)];
    let ran = run_with(&elsewhere, &["lookup", "--json", SHA256], &there);
    assert_eq!((ran.code, &ran.objects()[0]["origin"]), (Some(1), &"server".into()), "{ran:?}");
    let ran = run_with(&elsewhere, &["lookup", "--json", "--db", "records.ksn", SHA256], &there);
    assert_eq!((ran.code, &ran.objects()[0]["origin"]), (Some(1), &"local".into()), "{ran:?}");
    for (args, variables, code) in [
        (&["ping"][..], &[("KSN_SERVER", address)][..], 2),
        (&["ping"], &[("KSN_PIN", pin)], 2),
        (&["ping"], &[("KSN_SERVER", address), ("KSN_PIN", "word")], 2),
        (&["ping"], &[("KSN_SERVER", address), ("KSN_PIN", &wrong)], 2),
        (&["ping", "--pin", pin], &[("KSN_SERVER", address), ("KSN_PIN", &wrong)], 0),
        (&["ping", "--server", address], &[("KSN_PIN", pin)], 0),
        (&["ping", "--server", address, "--pin", pin], &[("KSN_SERVER", "ksn.example:1"), ("KSN_PIN", &wrong)], 0),
    ] {
        let ran = run_with(&elsewhere, args, variables);
        assert_eq!(ran.code, Some(code), "{args:?} {variables:?} {ran:?}");
        assert_eq!(ran.err.is_empty(), code == 0, "{args:?} {variables:?} {ran:?}");
    }
    // On the machine of the server, the pin of another server does not get in the way, nor does an empty variable.
    let other = [("KSN_SERVER", "ksn.example:1"), ("KSN_PIN", wrong.as_str())];
    assert_eq!(run_with(&program, &["ping", "--server", address], &other).code, Some(0));
    assert_eq!(run_with(&program, &["ping"], &[("KSN_SERVER", ""), ("KSN_PIN", "")]).code, Some(0));
    let help = program.run(&["--help"]).out;
    for name in ["KSN_SERVER", "KSN_PIN", "KSN_STATE_DIR"] {
        assert!(help.contains(name), "{name}: {help}");
    }
}

/// Prevents a health check that cannot be told from a lookup, and times that are not those of the server.
#[test]
fn ping_measures_round_trips() {
    let program = Program::with_records();
    let server = program.serve();
    let ran = program.run(&["ping"]);
    assert!(ran.code == Some(0) && ran.err.is_empty(), "{ran:?}");
    assert!(ran.out.starts_with(&format!("{}: local, generation ", server.address)), "{ran:?}");
    assert_eq!(ran.out.lines().count(), 2, "{ran:?}");
    let ran = program.run(&["ping", "--count", "3", "--interval", "1ms"]);
    assert!(ran.code == Some(0) && ran.out.contains("\n3 of 3 batches answered, min "), "{ran:?}");
    let rows = program.run(&["ping", "--count", "3", "--interval", "1ms", "--json"]).objects();
    assert_eq!(rows.len(), 3, "{rows:?}");
    for (number, row) in (1..).zip(&rows) {
        assert_eq!((&row["number"], &row["status"]), (&number.into(), &"answered".into()), "{row}");
        assert_eq!((&row["dataset"], row["generation"].is_u64()), (&"local".into(), true), "{row}");
        assert!(row["round_trip_us"].as_f64().unwrap() > 0.0 && row["connect_us"].as_f64().unwrap() > 0.0, "{row}");
    }
    drop(server);
    let ran = program.run(&["ping", "--json"]);
    assert_eq!((ran.code, &ran.objects()[0]["status"]), (Some(2), &"error".into()), "{ran:?}");
    assert!(ran.err.contains("ksn serve"), "{ran:?}");
}

/// Prevents reports of problems from which nobody can tell what was run.
#[test]
fn the_version_names_commit_protocol_and_snapshot_format() {
    let program = Program::new();
    let line = program.run(&["--version"]).out;
    let rest = line.strip_prefix(concat!("ksn ", env!("CARGO_PKG_VERSION"), " (")).unwrap_or_else(|| panic!("{line}"));
    assert!(rest.ends_with("protocol ksn/1, snapshot format 1)\n"), "{line}");
    // An archive of the sources has no commit.
    let git = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    if let Some(commit) = rest.strip_prefix("commit ").and_then(|rest| rest.split(',').next()) {
        let head = String::from_utf8(git.unwrap().stdout).unwrap();
        assert!(commit.len() >= 12 && head.starts_with(commit), "{line} is built from {head}");
    }
}
