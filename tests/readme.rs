//! Prevents a README that describes what the program no longer does.
//!
//! Every `console` block is run, in order, in one directory: a line that starts with `$ ` is a command for `sh`, the
//! lines up to the next are what it must print (`…` matches any text within a line; a line that is only `…` matches any
//! number of lines). A command that ends in ` &` keeps running to the end. Servers get a free port instead of the
//! default.

#![cfg(all(unix, feature = "cli"))]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::UdpSocket,
    path::Path,
    process::{Child, Command, Stdio},
};

struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
}

#[test]
fn console_blocks_print_what_they_show() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let readme = readme.replace("127.0.0.1:4433", &listen).replace("localhost:4433", &format!("localhost:{port}"));
    let readme = readme.replace(" &\n", &format!(" --listen {listen} &\n"));
    let steps = steps(&readme);
    assert!(steps.len() >= 8, "README.md has only {} commands", steps.len());

    let directory = tempfile::tempdir().unwrap();
    let mut running = Running(Vec::new());
    for step in &steps {
        let printed = run(step, directory.path(), &mut running);
        assert!(
            matches(&step.expected, &printed),
            "README.md, line {}: `{}`\nshows\n{}\nbut prints\n{}",
            step.line,
            step.command,
            step.expected.join("\n"),
            printed.join("\n")
        );
    }
}

#[test]
fn files_named_in_the_readme_exist() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let paths: Vec<&str> =
        readme.split('`').skip(1).step_by(2).filter(|code| code.starts_with("src/") && !code.contains(' ')).collect();
    assert!(paths.len() > 10, "README.md names only {} files", paths.len());
    for path in paths {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "README.md names {path}");
    }
}

/// Prevents a dependency that no registry has, and the whole program in a library.
#[test]
fn the_dependency_in_the_readme_exists_and_is_small() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let lines: Vec<&str> = readme.lines().filter(|line| line.trim_start_matches("# ").starts_with("ksn = ")).collect();
    assert!(!lines.is_empty());
    for line in lines {
        assert!(line.contains("path = ") || line.contains("git = "), "{line}");
        assert!(line.contains("default-features = false") && !line.contains("version"), "{line}");
    }
}

/// Child processes that are killed on drop, also when a test fails.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    // The end of a here-document, whose lines belong to the command.
    let mut until: Option<String> = None;
    for (number, line) in readme.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
            continue;
        }
        if !inside {
            continue;
        }
        if let Some(end) = &until {
            let step = steps.last_mut().unwrap();
            step.command.push('\n');
            step.command.push_str(line);
            if line == end {
                until = None;
            }
        } else if let Some(command) = line.strip_prefix("$ ") {
            until = command.split_once("<<'").map(|(_, word)| word.trim_end_matches('\'').into());
            steps.push(Step { line: number + 1, command: command.into(), expected: Vec::new() });
        } else if let Some(step) = steps.last_mut() {
            step.expected.push(line.into());
        }
    }
    steps
}

fn run(step: &Step, directory: &Path, running: &mut Running) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_ksn"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.current_dir(directory).env("PATH", path).env("KSN_STATE_DIR", directory.join("state")).stdin(Stdio::null());
    shell.env_remove("KSN_SERVER").env_remove("KSN_PIN");
    match step.command.strip_suffix(" &") {
        None => {
            let output = shell.arg("-c").arg(format!("exec 2>&1\n{}", step.command)).output().unwrap();
            String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
        }
        Some(command) => {
            shell.arg("-c").arg(format!("exec 2>&1\nexec {command}")).stdout(Stdio::piped());
            let mut child = shell.spawn().unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let printed = lines.take(step.expected.len()).map(Result::unwrap).collect();
            running.0.push(child);
            printed
        }
    }
}

fn matches(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "…" => (0..=printed.len()).any(|skip| matches(rest, &printed[skip..])),
        Some((first, rest)) => {
            printed.split_first().is_some_and(|(line, others)| line_matches(first, line) && matches(rest, others))
        }
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    let mut parts = expected.trim_end().split('…');
    let Some(mut left) = parts.next().and_then(|first| line.trim_end().strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return left.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.is_empty()
}
