//! Prevents `scan` from missing files, from hanging at what is not a file, and from reporting a file that it could not
//! scan as unknown.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::program::{Program, RunOutput};

/// The digests of "abc".
const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// Builds `bad.ksn`, in which "abc" is malware by SHA-256, and `good.ksn`, in which it is trusted by MD5.
fn program() -> Program {
    let program = Program::new();
    program.write("bad.csv", &format!("sha256,signature,first_seen\n{SHA256},Abc,2026-11-01 12:00:00\n"));
    program.write("good.csv", &format!("md5\n{MD5}\n"));
    for (args, db) in [(&["bad.csv"][..], "bad.ksn"), (&["--trusted", "good.csv"], "good.ksn")] {
        let ran = program.run(&[&["build", "-o", db], args].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    program
}

/// Returns the objects by the name of their file.
fn by_file(ran: &RunOutput) -> BTreeMap<String, Value> {
    ran.objects().into_iter().map(|row| (row["file"].as_str().unwrap().to_owned(), row)).collect()
}

/// Prevents digests of other bytes than those of the file, trust by a weak digest that is not marked as weak, and an
/// unreadable file that is reported as unknown.
#[test]
fn scan_merges_the_answers_to_the_digests_of_a_file() {
    let program = program();
    program.write("both.csv", &format!("sha256,md5,signature\n{SHA256},{MD5},Abc\n"));
    assert_eq!(program.run(&["build", "-o", "both.ksn", "both.csv"]).code, Some(0));
    program.write("file", "abc");
    let ran = program.run(&["scan", "--json", "--db", "both.ksn", "file"]);
    let row = &ran.objects()[0];
    assert_eq!((ran.code, &row["status"], &row["found_by"]), (Some(1), &"known".into(), &"sha256".into()), "{row}");
    assert_eq!((&row["md5"], &row["sha256"]), (&MD5.into(), &SHA256.into()));
    let ran = program.run(&["scan", "--json", "--db", "good.ksn", "file", "absent"]);
    let rows = by_file(&ran);
    assert_eq!((ran.code, &rows["file"]["weak"]), (Some(2), &true.into()), "{rows:?}");
    assert_eq!(rows["absent"]["status"], "error");
    let ran = program.run(&["scan", "--db", "good.ksn", "file"]);
    assert!(ran.code == Some(0) && ran.out.contains("by md5, weak"), "{ran:?}");
}

/// Prevents time that is spent on digests that cannot be listed.
#[test]
fn only_algorithms_that_have_records_are_computed() {
    let program = program();
    program.write("file", "abc");
    for (db, has, has_not) in
        [("bad.ksn", "sha256", ["md5", "sha1", "blake3"]), ("good.ksn", "md5", ["sha256", "sha1", "blake3"])]
    {
        let row = &program.run(&["scan", "--json", "--db", db, "file"]).objects()[0];
        assert!(row[has].is_string() && has_not.iter().all(|kind| row.get(kind).is_none()), "{row}");
    }
    // A server says what it has records of.
    let program = Program::with_records();
    program.write("file", "abc");
    let _serving = program.serve();
    let ran = program.run(&["scan", "--json", "file"]);
    let row = &ran.objects()[0];
    assert_eq!((&row["sha256"], &row["origin"], row.get("md5")), (&SHA256.into(), &"server".into(), None), "{row}");
    // Without records of files, a scan finds nothing and says so.
    program.write("names.txt", "! made up\n||evil.example^\n||other.example^\n");
    assert_eq!(program.run(&["build", "-o", "names.ksn", "names.txt"]).code, Some(0));
    let ran = program.run(&["scan", "--db", "names.ksn", "file"]);
    assert!(ran.code == Some(0) && ran.out.starts_with("unknown") && ran.err.contains("no records of file"), "{ran:?}");
}

/// Prevents two layouts of JSON for one thing: a record has the same fields in `lookup` and in `scan`.
#[test]
fn json_is_as_flat_as_that_of_a_lookup() {
    let program = program();
    program.write("file", "abc");
    let scanned = &program.run(&["scan", "--json", "--db", "bad.ksn", "file"]).objects()[0];
    let looked_up = &program.run(&["lookup", "--json", "--db", "bad.ksn", SHA256]).objects()[0];
    for (field, value) in
        looked_up.as_object().unwrap().iter().filter(|(field, _)| !["key", "kind"].contains(&field.as_str()))
    {
        assert_eq!(scanned.get(field), Some(value), "{field}: {scanned}");
    }
    assert_eq!((&scanned["file"], &scanned["bytes"], &scanned["weak"]), (&"file".into(), &3.into(), &false.into()));
    assert!(scanned.get("path_bytes").is_none() && scanned.get("record").is_none(), "{scanned}");
}

/// Prevents files in folders from being missed, and unknown ones from hiding the findings.
#[test]
fn folders_are_scanned_recursively_and_findings_printed() {
    let program = program();
    program.write("tree/a/b/c/bad.exe", "abc");
    program.write("tree/a/clean.exe", "clean");
    program.write("tree/empty", "");
    let ran = program.run(&["scan", "--db", "bad.ksn", "--threads", "3", "tree"]);
    assert_eq!((ran.code, ran.out.lines().count()), (Some(1), 1), "{ran:?}");
    assert!(ran.out.starts_with("malware ") && ran.out.contains("bad.exe") && ran.out.contains("Abc"), "{ran:?}");
    assert!(ran.err.starts_with("ksn: 3 files, 8 bytes, 1 bad, 0 skipped, 0 errors, "), "{ran:?}");
    let ran = program.run(&["scan", "--json", "--db", "bad.ksn", "tree"]);
    let statuses: Vec<_> = by_file(&ran).values().map(|row| row["status"].as_str().unwrap().to_owned()).collect();
    assert_eq!(statuses, ["known", "unknown", "unknown"], "{ran:?}");
    // A file that is named is answered, whatever the answer; a trusted one in a folder is no finding.
    let ran = program.run(&["scan", "--db", "bad.ksn", "tree/empty"]);
    assert!(ran.code == Some(0) && ran.out.starts_with("unknown"), "{ran:?}");
    let ran = program.run(&["scan", "--db", "good.ksn", "tree"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
}

#[test]
fn standard_input_is_scanned() {
    let program = program();
    let ran = program.run_with_input(&["scan", "--json", "--db", "bad.ksn", "-"], b"abc");
    assert_eq!((ran.code, &ran.objects()[0]["file"]), (Some(1), &"-".into()), "{ran:?}");
    assert_eq!(program.run(&["scan", "--db", "bad.ksn", "-", "-"]).code, Some(2));
    let ran = program.run_with_input(&["scan", "--db", "bad.ksn", "--max-size", "2", "-"], b"abc");
    assert!(ran.code == Some(0) && ran.err.contains("--max-size") && ran.err.contains("1 skipped"), "{ran:?}");
}

/// Prevents large files from holding up a scan, and a file that was skipped from being taken for a scanned one.
#[test]
fn files_above_the_size_limit_are_skipped_with_a_message() {
    let program = program();
    program.write("tree/large", &"x".repeat(2049));
    program.write("tree/bad", "abc");
    let ran = program.run(&["scan", "--json", "--db", "bad.ksn", "--max-size", "2K", "tree"]);
    let rows = by_file(&ran);
    assert!(rows.values().any(|row| row["status"] == "not-asked" && row["reason"].is_string()), "{rows:?}");
    assert!(ran.err.contains("large: skipped: ") && ran.err.contains("1 skipped, 0 errors"), "{ran:?}");
    assert_eq!(ran.code, Some(1));
    assert_eq!(program.run(&["scan", "--db", "bad.ksn", "--max-size", "2X", "tree"]).code, Some(2));
}

/// Prevents a server that cannot be reached from costing the time to hash everything.
#[test]
fn nothing_is_hashed_without_a_backend() {
    let program = program();
    program.write("file", "abc");
    let pin = format!("sha256:{}", "0".repeat(64));
    // A socket that never answers.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let ran = program.run(&["scan", "--server", &address, "--pin", &pin, "file"]);
    assert!(ran.code == Some(2) && ran.out.is_empty() && ran.err.contains("nothing was scanned"), "{ran:?}");
}

/// Prevents findings from being kept back until the end.
#[test]
fn findings_are_printed_as_they_come() {
    let program = program();
    program.write("bad", "abc");
    let mut child = program
        .command(&["scan", "--db", "bad.ksn", "--threads", "2", "-", "bad"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"abc").unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("malware") && first.contains("bad"), "{first}");
    drop(stdin);
    assert!(lines.next().unwrap().unwrap().contains(" - "));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// Prevents memory that grows with the files: their number, or their size.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_bounded() {
    let program = program();
    for folder in 0..40 {
        for file in 0..250 {
            program.write(&format!("tree/{folder}/{file}"), "clean");
        }
    }
    fs::File::create(program.path("tree/large")).unwrap().set_len(200 << 20).unwrap();
    let mut child = program
        .command(&["scan", "--json", "--db", "bad.ksn", "--threads", "4", "tree", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // It cannot end while standard input is open.
    let stdin = child.stdin.take();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.take(10_001).filter(|line| line.as_ref().unwrap().contains("unknown")).count(), 10_001);
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 100 << 10, "{kib} KiB");
    drop(stdin);
    child.wait().unwrap();
}

/// Prevents `ksn scan | head -1` from printing an error, or from hashing on.
#[test]
fn a_closed_pipe_ends_a_scan_at_once() {
    let program = program();
    for file in 0..3_000 {
        program.write(&format!("tree/{file}"), "abc");
    }
    let mut child = program
        .command(&["scan", "--json", "--db", "bad.ksn", "--threads", "2", "-", "tree"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // A thread waits for standard input, which stays open.
    let _stdin = child.stdin.take();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[cfg(unix)]
mod unix {
    use std::{
        ffi::OsStr,
        os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener, process::ExitStatusExt},
    };

    use super::*;

    fn make_fifo(program: &Program, name: &str) {
        assert!(Command::new("mkfifo").arg(program.path(name)).status().unwrap().success());
    }

    /// Prevents a scan that hangs at a FIFO, reads a device, or scans what lies outside of the folder.
    #[test]
    fn only_regular_files_are_opened_and_links_not_followed() {
        let program = program();
        program.write("outside/bad", "abc");
        program.write("tree/file", "clean");
        make_fifo(&program, "tree/fifo");
        let _listener = UnixListener::bind(program.path("tree/socket")).unwrap();
        for (target, link) in
            [("../outside", "tree/folder-link"), ("../outside/bad", "tree/file-link"), (".", "tree/loop")]
        {
            symlink(target, program.path(link)).unwrap();
        }
        let ran = program.run(&["scan", "--json", "--db", "bad.ksn", "tree", "/dev/null"]);
        assert_eq!((ran.code, by_file(&ran).len()), (Some(0), 1), "{ran:?}");
        for text in ["fifo: skipped: a FIFO", "socket: skipped: a socket", "/dev/null: skipped: a device", "3 skipped"]
        {
            assert!(ran.err.contains(text), "{text}: {}", ran.err);
        }
        // Named ones are followed.
        for link in ["tree/folder-link", "tree/file-link"] {
            assert_eq!(program.run(&["scan", "--db", "bad.ksn", link]).code, Some(1), "{link}");
        }
    }

    /// Prevents one file from ending the scan of the others, and its error from being a clean exit.
    #[test]
    fn errors_are_reported_and_the_scan_goes_on() {
        let program = program();
        program.write("tree/file", "clean");
        symlink("absent", program.path("dangling")).unwrap();
        let ran = program.run(&["scan", "--db", "bad.ksn", "absent", "dangling", "tree", "tree/file/below"]);
        assert_eq!((ran.code, ran.out.lines().count()), (Some(2), 3), "{ran:?}");
        assert!(ran.out.lines().all(|line| line.starts_with("error ") && line.contains("cannot read it")), "{ran:?}");
        assert!(ran.err.starts_with("ksn: 1 file, 5 bytes, 0 bad, 0 skipped, 3 errors, "), "{ran:?}");
        program.write("tree/bad", "abc");
        assert_eq!(program.run(&["scan", "--db", "bad.ksn", "absent", "tree"]).code, Some(1));
    }

    /// Prevents names that cannot be used to find the file again, and names that control the terminal.
    #[test]
    fn names_that_are_not_utf8_are_recoverable() {
        let program = program();
        fs::create_dir(program.path("tree")).unwrap();
        let name = b"b\xffd\x1b[2J";
        fs::write(program.path("tree").join(OsStr::from_bytes(name)), "abc").unwrap();
        let ran = program.run(&["scan", "--json", "--db", "bad.ksn", "tree"]);
        let row = &ran.objects()[0];
        let bytes: String = b"tree/".iter().chain(name).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (&row["path_bytes"], row["file"].as_str()),
            (&bytes.into(), Some("tree/b\u{fffd}d\u{1b}[2J")),
            "{row}"
        );
        let ran = program.run(&["scan", "--db", "bad.ksn", "tree"]);
        assert!(!ran.out.contains('\u{1b}'), "{ran:?}");
    }

    /// Prevents a scan that cannot be stopped.
    #[test]
    fn an_interrupt_ends_a_scan_at_once() {
        let program = program();
        program.write("bad", "abc");
        let mut child = program
            .command(&["scan", "--db", "bad.ksn", "--threads", "2", "-", "bad"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let _stdin = child.stdin.take();
        // It runs: the other file was scanned.
        assert!(BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().is_ok());
        let interrupted = Instant::now();
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().signal(), Some(2));
        assert!(interrupted.elapsed() < Duration::from_secs(5));
    }

    /// Prevents files without an end from being read for ever: some of procfs have a size of 0.
    #[cfg(target_os = "linux")]
    #[test]
    fn endless_and_blocking_files_of_procfs_end() {
        let program = program();
        let ran = program.run(&["scan", "--json", "--db", "bad.ksn", "/proc/self/pagemap", "/proc/self/status"]);
        let rows = by_file(&ran);
        assert_eq!((ran.code, &rows["/proc/self/pagemap"]["status"]), (Some(2), &"error".into()), "{rows:?}");
        assert_eq!(rows["/proc/self/status"]["status"], "unknown");
        assert!(rows["/proc/self/status"]["bytes"].as_u64() > Some(0));
    }

    /// Prevents digests of a mixture of two versions of a file.
    #[test]
    fn a_file_that_changes_while_it_is_read_is_an_error() {
        let program = program();
        // Large enough to be read for longer than the pause between two writes.
        fs::File::create(program.path("log")).unwrap().set_len(256 << 20).unwrap();
        let mut child = program.command(&["scan", "--json", "--db", "bad.ksn", "log"]).spawn().unwrap();
        let mut log = fs::OpenOptions::new().append(true).open(program.path("log")).unwrap();
        while child.try_wait().unwrap().is_none() {
            log.write_all(b"line\n").unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        let ran = RunOutput::from(child.wait_with_output().unwrap());
        assert_eq!((ran.code, &ran.objects()[0]["status"]), (Some(2), &"error".into()), "{ran:?}");
        assert!(ran.out.contains("changed while it was read"), "{ran:?}");
    }
}
