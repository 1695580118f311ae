//! Prevents `serve`, and `lookup` through it, from sending keys to the wrong server, answering differently than a
//! snapshot, and reporting keys as unknown when no server answers.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use crate::program::{Program, SHA256, UNKNOWN};

/// Prevents a local server that `lookup` does not find or trust.
#[test]
fn lookup_finds_the_local_server() {
    let program = Program::with_records();
    let server = program.serve();
    let ran = program.run(&["lookup", "--json", SHA256, UNKNOWN]);
    let rows = ran.objects();
    assert_eq!((ran.code, &rows[0]["origin"], &rows[1]["status"]), (Some(1), &"server".into(), &"unknown".into()));
    let (address, pin) = (server.address.as_str(), server.pin.as_str());
    for trust in [&["--server", address][..], &["--server", address, "--pin", pin]] {
        assert_eq!(program.run(&[&["lookup"], trust, &[UNKNOWN]].concat()).code, Some(0), "{trust:?}");
    }
    let ran = program.run(&["verify", "--db", "records.ksn", "--server", address]);
    assert!(ran.code == Some(0) && ran.out.contains("0 misses"), "{ran:?}");
}

/// Prevents answers by prefixes that differ from those by whole keys.
#[test]
fn prefixes_are_answered_as_whole_keys() {
    let program = Program::with_records();
    let _server = program.serve();
    let whole = program.run(&["lookup", "--json", SHA256, UNKNOWN, "evil.example"]).objects();
    for (width, candidates) in [("8", [1, 0, 1]), ("4", [1, 0, 1])] {
        let mut rows = program.run(&["lookup", "--json", "--prefix", width, SHA256, UNKNOWN, "evil.example"]).objects();
        let found = rows.iter_mut().map(|row| row.as_object_mut().unwrap().remove("candidates").unwrap());
        assert!(found.eq(candidates));
        assert_eq!(rows, whole);
    }
    let ran = program.run(&["lookup", "--prefix", "5", SHA256]);
    assert!(ran.code == Some(2) && ran.err.contains("expected 8"), "{ran:?}");
    let ran = program.run(&["lookup", "--prefix", "8", "--db", "records.ksn", SHA256]);
    assert!(ran.code == Some(2) && ran.err.contains("--db"), "{ran:?}");
    let help = program.run(&["lookup", "--help"]).out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("a listed key can be guessed"), "{help}");
}

/// Prevents a second server on a port, which would take half of the first one's packets.
#[test]
fn a_port_that_is_taken_is_refused() {
    let program = Program::with_records();
    let server = program.serve();
    for cores in ["1", "2"] {
        let ran = program.run(&["serve", "--db", "records.ksn", "--listen", &server.address, "--cores", cores]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert_eq!(ran.err.matches("os error").count(), 1, "reported once: {ran:?}");
        assert!(ran.err.contains(&server.address), "{ran:?}");
    }
}

/// Prevents answers from another server, and "unknown" for keys that were not sent.
#[test]
fn no_keys_are_sent_to_a_server_with_a_wrong_pin() {
    let program = Program::with_records();
    let server = program.serve();
    let wrong = format!("sha256:{UNKNOWN}");
    let ran = program.run(&["lookup", "--json", "--server", &server.address, "--pin", &wrong, SHA256, "word"]);
    let rows = ran.objects();
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(rows[0]["status"], "not-asked");
    assert!(rows[0]["reason"].as_str().unwrap().contains(&server.pin), "{rows:?}");
    assert_eq!(rows[1]["status"], "error");
    assert!(!ran.err.is_empty());
    let ran = program.run(&["lookup", "--server", "ksn.example:4433", SHA256]);
    assert!(ran.code == Some(2) && ran.err.contains("--pin") && ran.out.is_empty(), "{ran:?}");
}

/// Prevents an unreachable server that is reported as unknown keys, and one timeout per key.
#[test]
fn an_unreachable_server_is_reported_once() {
    let program = Program::with_records();
    let ran = program.run(&["lookup", SHA256]);
    assert!(ran.code == Some(2) && ran.err.contains("ksn serve"), "{ran:?}");
    // Nothing answers on this socket.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let keys = format!("{SHA256}\n").repeat(20_000);
    let pin = format!("sha256:{UNKNOWN}");
    let args = ["lookup", "--json", "--server", &address, "--pin", &pin, "-"];
    let ran = program.run_with_input(&args, keys.as_bytes());
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert_eq!(ran.out.lines().filter(|line| line.contains("not-asked")).count(), 20_000);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

/// Prevents a server that a service manager has to kill, and a certificate that changes with every start.
#[cfg(unix)]
#[test]
fn sigterm_ends_the_server_and_a_restart_keeps_its_pin() {
    let program = Program::with_records();
    let mut server = program.serve();
    let pin = server.pin.clone();
    let id = server.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert_eq!(program.serve().pin, pin);
}

/// Prevents clients that get no answer for half a minute after the server was killed and started again.
#[cfg(unix)]
#[test]
fn a_killed_server_is_back_for_its_clients_within_a_second() {
    use std::os::unix::fs::PermissionsExt;
    let program = Program::with_records();
    for cores in ["1", "2"] {
        let mut server = program.serve_with(&["--cores", cores]);
        let secret = program.path("state").join("server.secret");
        let metadata = secret.metadata().unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (32, 0o600));
        let trust = ksn::Trust::Pin(server.pin.parse().unwrap());
        let client = ksn::Client::spawn(ksn::ClientConfig::new(server.address.clone(), trust)).unwrap();
        let keys = [SHA256.parse().unwrap()];
        client.lookup(&keys).unwrap();
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        std::thread::scope(|scope| {
            let answered = scope.spawn(|| {
                let answers = client.lookup(&keys).unwrap();
                (answers[0].status, Instant::now())
            });
            std::thread::sleep(Duration::from_millis(300));
            let _server = program.serve_on(&server.address, &["--cores", cores]);
            let listening_at = Instant::now();
            let (status, at) = answered.join().unwrap();
            assert_eq!(status, ksn::Status::Known);
            assert!(at < listening_at + Duration::from_secs(1), "{:?}", at - listening_at);
        });
    }
}

/// Prevents an operator from relying on resets that a server without a state directory cannot send.
#[test]
fn a_secret_that_cannot_be_kept_is_reported() {
    let program = Program::with_records();
    program.write("state/server.secret", "short");
    let server = program.serve();
    let wanted = "server.secret: expected 32 random bytes, found 5";
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.log.lock().unwrap().contains(wanted) {
        assert!(Instant::now() < deadline, "{}", server.log.lock().unwrap());
        std::thread::sleep(Duration::from_millis(10));
    }
}
