//! The command line: one file a command, each with its arguments and what it does. It uses what the library exports
//! and nothing else. Data goes to standard output, everything else to standard error.

mod ask;
mod bench;
mod build;
mod build_report;
mod combine;
mod demo;
mod exit;
mod explain;
mod inspect;
mod keys;
mod lookup;
mod output;
mod scan;
mod serve;
mod state;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::exit::Exit;

/// Tells whether hashes, certificates, web addresses and IPv4 addresses are known, and as what.
///
/// Indicator feeds are compiled into one snapshot file; it is asked in this process or through a server over QUIC.
#[derive(Debug, Parser)]
#[command(name = "ksn", version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Build(build::Args),
    Inspect(inspect::Args),
    Serve(serve::Args),
    Lookup(lookup::Args),
    Explain(explain::Args),
    Scan(scan::Args),
    Bench(bench::Args),
    Verify(verify::Args),
}

const EXAMPLES: &str = "\
Examples:
  ksn demo                                    see it work, without files and network
  ksn build -o records.ksn feeds/             compile all feeds of a folder
  ksn serve --db records.ksn                  answer on 127.0.0.1:4433
  ksn lookup evil.example 192.0.2.7           ask that server
  ksn lookup --db records.ksn - < keys.txt    ask the file itself, a key per line
  ksn scan --db records.ksn setup.exe         hash a file and ask";

/// Runs the command that was given. Its result becomes the exit code here and nowhere else.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => args.run(),
        Command::Build(args) => args.run(),
        Command::Inspect(args) => args.run(),
        Command::Serve(args) => args.run(),
        Command::Lookup(args) => args.run(),
        Command::Explain(args) => args.run(),
        Command::Scan(args) => args.run(),
        Command::Bench(args) => args.run(),
        Command::Verify(args) => args.run(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) if exit::is_closed_pipe(&error) => Exit::Success.into(),
        Err(error) => {
            eprintln!("ksn: {}", told(&error));
            Exit::Trouble.into()
        }
    }
}

/// An error and its causes, but for those that the one before has told already.
fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.ends_with(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let twice = anyhow::Error::from(ksn::snapshot::OpenError::from(missing())).context("records.ksn");
        assert_eq!(told(&twice), format!("records.ksn: cannot read it: {}", missing()));
        assert_eq!(told(&anyhow::Error::from(missing()).context("key.pem")), format!("key.pem: {}", missing()));
    }
}
