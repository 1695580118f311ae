//! Where `ksn build` writes: files keep their mode and owner, links and other kinds of files are never replaced, and a
//! signal leaves no temporary file. The device nodes of these tests are their own.

use std::{
    fs,
    io::Write,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat},
    process::{Pid, Signal, kill_process},
};

use crate::program::{Program, RunOutput};

const MAGIC: &[u8] = b"\x89KSN\r\n\x1a\n";

fn build(program: &Program, output: &str) -> RunOutput {
    program.run(&["build", "-o", output, "--created", "2026-11-22", "hashes.csv"])
}

fn is_snapshot(path: &Path) -> bool {
    fs::read(path).unwrap().starts_with(MAGIC)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn temporary_files(program: &Program) -> Vec<String> {
    let names = fs::read_dir(program.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".ksn-")).collect()
}

/// Prevents a snapshot that everybody can read, or that the server cannot.
#[test]
fn a_new_file_has_the_mode_that_the_umask_allows() {
    for (umask, expected) in [("022", 0o644), ("027", 0o640), ("077", 0o600), ("002", 0o664)] {
        let program = Program::new();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {umask}; exec \"$0\" build -o new.ksn hashes.csv")]);
        let ran: RunOutput =
            command.arg(env!("CARGO_BIN_EXE_ksn")).current_dir(program.path("")).output().unwrap().into();
        assert_eq!((ran.code, mode(&program.path("new.ksn"))), (Some(0), expected), "{umask}: {ran:?}");
    }
}

#[test]
fn a_replaced_file_keeps_its_mode_and_owner() {
    let program = Program::new();
    let path = program.path("old.ksn");
    for kept in [0o600, 0o640, 0o666, 0o444] {
        program.write("old.ksn", "old");
        fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
        let is_root = std::os::unix::fs::chown(&path, Some(12_345), Some(54_321)).is_ok();
        let before = fs::metadata(&path).unwrap();
        let ran = build(&program, "old.ksn");
        if is_root || kept & 0o200 != 0 {
            assert_eq!(ran.code, Some(0), "{ran:?}");
            assert!(is_snapshot(&path));
        } else {
            // Who may not write a file may not replace it.
            assert_eq!(ran.code, Some(2), "{ran:?}");
        }
        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()), "{kept:o}");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn links_are_followed_and_stay() {
    let program = Program::new();
    program.write("there/target.ksn", "old");
    fs::set_permissions(program.path("there/target.ksn"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("there/target.ksn", program.path("link.ksn")).unwrap();
    symlink("link.ksn", program.path("second.ksn")).unwrap();
    symlink("there/new.ksn", program.path("dangling.ksn")).unwrap();
    for (link, target) in [("second.ksn", "there/target.ksn"), ("dangling.ksn", "there/new.ksn")] {
        let ran = build(&program, link);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(fs::symlink_metadata(program.path(link)).unwrap().is_symlink(), "{link} was replaced");
        assert!(fs::symlink_metadata(program.path(target)).unwrap().is_file() && is_snapshot(&program.path(target)));
    }
    assert_eq!(mode(&program.path("there/target.ksn")), 0o640);
}

#[test]
fn a_link_that_the_kernel_does_not_follow_is_refused() {
    let program = Program::new();
    symlink("loop.ksn", program.path("loop.ksn")).unwrap();
    symlink("absent/x.ksn", program.path("nowhere.ksn")).unwrap();
    for link in ["loop.ksn", "nowhere.ksn"] {
        let ran = build(&program, link);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(link), "{ran:?}");
        assert!(fs::symlink_metadata(program.path(link)).unwrap().is_symlink(), "{link} was replaced");
    }
    assert_eq!(temporary_files(&program), [""; 0]);
}

#[test]
fn a_pipe_is_written_to() {
    let program = Program::new();
    let path = program.path("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
    let reader = thread::spawn({
        let path = path.clone();
        move || fs::read(path).unwrap()
    });
    let ran = build(&program, "pipe");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_fifo(), "the pipe was replaced");
    let piped = reader.join().unwrap();
    assert_eq!(build(&program, "file.ksn").code, Some(0));
    assert!(piped == fs::read(program.path("file.ksn")).unwrap());
}

/// Prevents root who builds to a device and replaces its node for the whole system.
#[test]
fn a_device_is_written_to_or_refused_and_stays() {
    let program = Program::new();
    // The numbers of null, full and the first RAM disk: the file system of the test may not let them be opened.
    for (name, kind, major, minor) in [
        ("null", FileType::CharacterDevice, 1, 3),
        ("full", FileType::CharacterDevice, 1, 7),
        ("block", FileType::BlockDevice, 1, 0),
    ] {
        let path = program.path(name);
        if let Err(e) = mknodat(CWD, &path, kind, Mode::from(0o600), makedev(major, minor)) {
            assert_eq!(e, rustix::io::Errno::PERM, "only root can make a device node");
            continue;
        }
        let node = fs::symlink_metadata(&path).unwrap();
        let can_open = kind == FileType::CharacterDevice && fs::File::options().write(true).open(&path).is_ok();
        let ran = build(&program, name);
        assert_eq!(ran.code, Some(if name == "null" && can_open { 0 } else { 2 }), "{ran:?}");
        assert!(ran.code == Some(0) || ran.err.contains(&format!("cannot write {name}")), "{ran:?}");
        let after = fs::symlink_metadata(&path).unwrap();
        assert_eq!((after.ino(), after.rdev(), after.mode()), (node.ino(), node.rdev(), node.mode()), "{name}");
    }
    fs::create_dir(program.path("folder")).unwrap();
    let ran = build(&program, "folder");
    assert!(ran.code == Some(2) && ran.err.contains("found a directory"), "{ran:?}");
    assert_eq!(temporary_files(&program), [""; 0]);
}

fn signalled(signal: Signal) -> i32 {
    128 + signal.as_raw()
}

#[test]
fn a_signal_while_reading_leaves_nothing() {
    for signal in [Signal::TERM, Signal::INT] {
        let program = Program::new();
        let mut child =
            program.command(&["build", "-o", "new.ksn", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // More than a pipe holds: when it is written, the program is reading, and its handler is there.
        input.write_all("0.0.0.0 evil.example\n".repeat(10_000).as_bytes()).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(signalled(signal)));
        assert!(!program.path("new.ksn").exists());
        assert_eq!(temporary_files(&program), [""; 0]);
    }
}

#[test]
fn a_signal_while_writing_leaves_no_temporary_file() {
    let program = Program::new();
    let rows: String = (0..150_000u32).map(|n| format!("{}\n", blake3::hash(&n.to_le_bytes()).to_hex())).collect();
    program.write("many.csv", &format!("sha256_hash\n{rows}"));
    program.write("new.ksn", "old");
    for signal in [Signal::TERM, Signal::INT] {
        // The program may be done before the signal is sent: then it is tried again.
        let interrupted = (0..20).any(|_| {
            let mut child = program.command(&["build", "-o", "new.ksn", "many.csv"]).spawn().unwrap();
            while temporary_files(&program).is_empty() && child.try_wait().unwrap().is_none() {
                thread::sleep(Duration::from_micros(200));
            }
            let _ = kill_process(Pid::from_child(&child), signal);
            let code = child.wait().unwrap().code();
            assert_eq!(temporary_files(&program), [""; 0]);
            assert!(code == Some(0) || code == Some(signalled(signal)), "{code:?}");
            code == Some(signalled(signal))
        });
        assert!(interrupted, "no signal came while the program was writing");
    }
}
