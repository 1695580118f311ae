//! Runs the program in a temporary directory.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tempfile::TempDir;

/// A temporary directory with the feeds, state and snapshots of one test.
pub(crate) struct Program {
    directory: TempDir,
}

/// The exit code and the output of a run.
#[derive(Debug)]
pub(crate) struct RunOutput {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Synthetic keys. The names in the feeds are reserved ones, which nobody can own.
pub(crate) const SHA256: &str = "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";
pub(crate) const UNKNOWN: &str = "0ddba1100ddba1100ddba1100ddba1100ddba1100ddba1100ddba1100ddba110";

impl Program {
    pub(crate) fn new() -> Self {
        let program = Self { directory: TempDir::new().unwrap() };
        program.write("hashes.csv", &format!("sha256,signature,first_seen\n{SHA256},Made.Up,2026-11-01 12:00:00\n"));
        program.write("names.txt", "! made up\n||evil.example^\n||192.0.2.1^\n");
        program
    }

    /// Creates a directory and builds `records.ksn` in it.
    pub(crate) fn with_records() -> Self {
        let program = Self::new();
        let ran = program.run(&["build", "-o", "records.ksn", "--created", "2026-11-22", "hashes.csv", "names.txt"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        program
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ksn"));
        command.args(args).current_dir(self.directory.path()).env("KSN_STATE_DIR", self.path("state"));
        for name in ["SOURCE_DATE_EPOCH", "KSN_SERVER", "KSN_PIN"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> RunOutput {
        self.command(args).output().unwrap().into()
    }

    /// Runs the program with `input` on standard input.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &[u8]) -> RunOutput {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let ran = child.wait_with_output().unwrap().into();
        // The program may close its input early.
        let _ = writer.join().unwrap();
        ran
    }

    /// Starts a server on a free loopback port, and waits until it listens.
    pub(crate) fn serve(&self) -> Serving {
        self.serve_with(&[])
    }

    /// Starts a server with more arguments.
    pub(crate) fn serve_with(&self, args: &[&str]) -> Serving {
        self.serve_on("127.0.0.1:0", args)
    }

    /// Starts a server on an address, with more arguments.
    pub(crate) fn serve_on(&self, listen: &str, args: &[&str]) -> Serving {
        let args = [&["serve", "--db", "records.ksn", "--listen", listen], args].concat();
        let mut child = self.command(&args).spawn().unwrap();
        let (log, mut lines) = (Arc::new(Mutex::new(String::new())), BufReader::new(child.stderr.take().unwrap()));
        let written = log.clone();
        std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                written.lock().unwrap().push_str(&std::mem::take(&mut line));
            }
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || lines.next().unwrap().unwrap();
        let (first, second) = (line(), line());
        let address = first.strip_prefix("listening on ").unwrap().split(' ').next().unwrap().to_owned();
        Serving { address, pin: second.strip_prefix("pin ").unwrap().to_owned(), child, log }
    }
}

impl From<Output> for RunOutput {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl RunOutput {
    /// Parses standard output as JSON objects, one per line.
    pub(crate) fn objects(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Serving {
    pub(crate) address: String,
    pub(crate) pin: String,
    pub(crate) child: Child,
    /// What it has written to standard error.
    pub(crate) log: Arc<Mutex<String>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
