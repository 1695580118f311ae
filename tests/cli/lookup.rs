//! Prevents `lookup` on a snapshot from breaking the scripts that run it, and from buffering its input.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
    time::Duration,
};

use crate::program::{Program, SHA256, UNKNOWN};

/// Prevents JSON fields that disappear, and IDs that lose their last digits.
#[test]
fn json_has_its_fields_and_the_order_of_the_keys() {
    let program = Program::with_records();
    let keys = [SHA256, UNKNOWN, "http://a.evil.example/x", "2001:db8::1", "word"];
    let ran = program.run(&[&["lookup", "--json", "--db", "records.ksn"][..], &keys].concat());
    let rows = ran.objects();
    assert_eq!(rows.iter().map(|row| row["key"].as_str().unwrap()).collect::<Vec<_>>(), keys);
    let statuses: Vec<_> = rows.iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["known", "unknown", "known", "unsupported", "error"]);
    let known = &rows[0];
    assert_eq!((&known["kind"], &known["origin"]), (&"sha256".into(), &"local".into()), "{known}");
    assert_eq!((&known["name"], &known["record_type"]), (&"Made.Up".into(), &"malware".into()), "{known}");
    assert_eq!((&known["source"], &known["timestamp"]), (&"hashes".into(), &"2026-11-01T12:00:00Z".into()), "{known}");
    assert!(known["record_id"].as_str().unwrap().parse::<u64>().is_ok(), "{known}");
    assert!(known["generation"].is_u64() && known.get("port").is_none() && known.get("records").is_none(), "{known}");
    assert_eq!(rows[2]["matched"], "evil.example");
    assert_eq!(rows[2]["timestamp"], serde_json::Value::Null);
    assert!(rows[3]["reason"].is_string() && rows[4]["reason"].is_string());
    let ran = program.run(&["lookup", "--json", "--all", "--db", "records.ksn", SHA256]);
    assert_eq!(ran.objects()[0]["records"][0]["name"], "Made.Up");
}

/// Prevents exit codes by which a script takes a bad key for a good one, or an error for an answer.
#[test]
fn exit_codes_distinguish_bad_keys_errors_and_neither() {
    let program = Program::with_records();
    let code = |args: &[&str]| program.run(&[&["lookup", "--db", "records.ksn"], args].concat()).code;
    assert_eq!(code(&[UNKNOWN]), Some(0));
    assert_eq!(code(&[UNKNOWN, "2001:db8::1"]), Some(2));
    assert_eq!(code(&[UNKNOWN, "word"]), Some(2));
    assert_eq!(code(&["word", SHA256]), Some(1));
    assert_eq!(code(&["--fail-on", "adware,trusted", SHA256]), Some(0));
    assert_eq!(code(&["--fail-on", "adware,malware", SHA256]), Some(1));
    assert_eq!(code(&["--fail-on", "nonsense", SHA256]), Some(2));
    assert_eq!(code(&[]), Some(2));
}

/// Prevents keys that were not answered from ending in a clean exit.
#[test]
fn unsupported_keys_are_errors_unless_ignored() {
    let program = Program::with_records();
    let code = |args: &[&str]| program.run(&[&["lookup", "--db", "records.ksn"], args].concat()).code;
    let sha512 = "a".repeat(128);
    assert_eq!(code(&[UNKNOWN, &sha512]), Some(2));
    assert_eq!(code(&["--ignore-unsupported", UNKNOWN, &sha512, "2001:db8::1"]), Some(0));
    assert_eq!(code(&["--ignore-unsupported", &sha512, "word"]), Some(2));
    assert_eq!(code(&["--ignore-unsupported", &sha512, SHA256]), Some(1));
    assert_eq!(code(&[&sha512, SHA256]), Some(1));
}

/// Prevents text that cannot be listed from being answered as unknown.
#[test]
fn what_is_no_key_is_an_error_and_not_unknown() {
    let program = Program::with_records();
    for key in [
        "999.1.1.1",
        "phish.example # c",
        "evil.example malware",
        "evil.example,c2",
        "192.0.2.0/24",
        "abcdef012345678901234567",
    ] {
        let ran = program.run(&["lookup", "--json", "--db", "records.ksn", key]);
        let row = &ran.objects()[0];
        assert_eq!((ran.code, row["status"].as_str()), (Some(2), Some("error")), "{key}: {row}");
        assert!(row["reason"].as_str().unwrap().starts_with("expected "), "{key}: {row}");
        let from_input = program.run_with_input(&["lookup", "--json", "--db", "records.ksn", "-"], key.as_bytes());
        assert_eq!((from_input.code, from_input.out), (Some(2), ran.out), "{key}");
    }
}

/// Prevents comments in a file of keys from being looked up.
#[test]
fn comment_lines_are_skipped() {
    let program = Program::with_records();
    program.write("keys.txt", "\u{feff}# bad ones\r\n\r\nevil.example\r\n  # a.example\r\n");
    let ran = program.run(&["lookup", "--json", "--db", "records.ksn", "--from", "keys.txt"]);
    let keys: Vec<_> = ran.objects().iter().map(|row| row["key"].clone()).collect();
    assert_eq!((ran.code, keys), (Some(1), vec!["evil.example".into()]), "{}", ran.err);
    let ran = program.run_with_input(&["lookup", "--json", "--db", "records.ksn", "-"], b"# evil.example\n");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""));
}

/// Prevents a kind of key that nothing is known of from looking like a clean result, and a warning per key.
#[test]
fn a_kind_without_records_is_unknown_and_warned_of_once() {
    let program = Program::with_records();
    let keys = "md5:00000000000000000000000000000000\n".repeat(20_000);
    let ran = program.run_with_input(&["lookup", "--db", "records.ksn", "-"], keys.as_bytes());
    assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 20_000));
    assert!(ran.out.lines().all(|line| line.starts_with("unknown")));
    assert_eq!(ran.err, "ksn: there are no md5 records: every md5 key is unknown\n");
    // A block that is no special-purpose one; those are withheld.
    program.write("blocks.txt", "9.9.9.0/24\n");
    assert_eq!(program.run(&["build", "-o", "blocks.ksn", "--source", "made-up", "blocks.txt"]).code, Some(0));
    let ran = program.run(&["lookup", "--db", "blocks.ksn", "http://a.example/"]);
    assert!(ran.err.contains("unless its host is a listed IPv4 address"), "{}", ran.err);
}

/// Prevents a file name that is looked up as a web address and reported as "unknown".
#[test]
fn a_file_name_is_an_error_that_suggests_scan() {
    let program = Program::with_records();
    program.write("evil.example", "content");
    let ran = program.run(&["lookup", "--db", "records.ksn", "evil.example"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.out.contains("ksn scan evil.example") && ran.out.contains("`url:evil.example/`"), "{ran:?}");
    for key in ["url:evil.example", "http://evil.example"] {
        assert_eq!(program.run(&["lookup", "--db", "records.ksn", key]).code, Some(1), "{key}");
    }
}

/// Prevents lines that are lost at the boundaries of buffers, and an invalid line that affects the others.
#[test]
fn lines_of_standard_input_and_of_a_file_are_looked_up() {
    let program = Program::with_records();
    let args = ["lookup", "--json", "--db", "records.ksn", "-"];
    let ran = program.run_with_input(&args, b"");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""));
    let input = [b"\n evil.example \r\n\xff\xfe\n\n".as_slice(), &[b'a'; 100_000], b"\nlast.example"].concat();
    let ran = program.run_with_input(&args, &input);
    let statuses: Vec<_> = ran.objects().iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect();
    assert_eq!(statuses, ["known", "error", "error", "unknown"]);
    assert_eq!(ran.code, Some(1));
    program.write("keys.txt", "evil.example\n");
    let ran = program.run(&["lookup", "--db", "records.ksn", "--from", "keys.txt"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(program.run(&["lookup", "--db", "records.ksn", "--from", "absent.txt"]).code, Some(2));
}

/// Prevents a typed key from waiting for 16,383 more.
#[test]
fn a_typed_key_is_answered_before_the_next() {
    let program = Program::with_records();
    let mut child =
        program.command(&["lookup", "--json", "--db", "records.ksn", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for key in ["evil.example", "good.example"] {
        writeln!(stdin, "{key}").unwrap();
        let answer = answers.next().unwrap().unwrap();
        assert!(answer.contains(key), "{answer}");
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// Prevents memory that grows with the number of keys. A million keys are 65 MB as text and far more as answers.
#[test]
fn a_million_keys_stream_through_bounded_memory() {
    let program = Program::with_records();
    let mut child =
        program.command(&["lookup", "--json", "--db", "records.ksn", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = std::io::BufWriter::new(child.stdin.take().unwrap());
    let answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let writer = std::thread::spawn(move || {
        (0..1_000_000_u32).try_for_each(|n| writeln!(stdin, "{n:064x}")).and_then(|()| stdin.flush()).map(|()| stdin)
    });
    let mut count = 0;
    let mut writer = Some(writer);
    for answer in answers {
        assert!(answer.unwrap().contains("unknown"));
        count += 1;
        if count == 1_000_000 {
            // Everything was answered while the input was still open.
            let stdin = writer.take().map(|writer| writer.join().unwrap().unwrap());
            #[cfg(target_os = "linux")]
            {
                let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
                let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
                let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
                assert!(kib < 150 << 10, "{kib} KiB");
            }
            drop(stdin);
        }
    }
    assert_eq!(count, 1_000_000);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Prevents `ksn lookup - | head -1` from printing an error or hanging.
#[test]
fn a_closed_pipe_ends_the_program_without_an_error() {
    let program = Program::with_records();
    let mut child = program.command(&["lookup", "--db", "records.ksn", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    drop(child.stdout.take());
    let writer = std::thread::spawn(move || {
        // Until the program ends.
        while writeln!(stdin, "good.example").is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
