//! The command line: one module per command, with its arguments and its implementation. It uses only the library's
//! public API. Data goes to standard output, diagnostics to standard error.

mod backend;
mod bench;
mod build;
mod build_report;
mod byte_size;
mod demo;
mod duration;
mod exit;
mod explain;
mod inspect;
mod keys;
mod lookup;
mod merge;
mod output;
mod ping;
mod reload;
mod scan;
mod serve;
mod server_args;
mod signals;
mod state;
mod verify;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::exit::Exit;

/// Look up the reputation of file hashes, certificates, web addresses and IPv4 addresses.
///
/// Indicator feeds are compiled into one snapshot file, which is queried in process or through a server over QUIC.
#[derive(Debug, Parser)]
#[command(name = "ksn", version = version::line(), propagate_version = true, after_help = EXAMPLES)]
#[command(max_term_width = HELP_COLUMNS_MAX)]
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
    Ping(ping::Args),
    Bench(bench::Args),
    Verify(verify::Args),
}

const EXAMPLES: &str = "\
Examples:
  ksn demo                                    self-contained demonstration, no files or network needed
  ksn build -o records.ksn feeds/             compile all feeds of a directory
  ksn serve --db records.ksn                  serve on 127.0.0.1:4433
  ksn lookup evil.example 192.0.2.7           query that server
  ksn lookup --db records.ksn - < keys.txt    query the file in process, one key per line
  ksn scan --db records.ksn setup.exe         hash a file and look it up

Environment:
  KSN_SERVER     server to query without --server and --db, `name:port` or `address:port`
  KSN_PIN        pin of that server, or of the one of --server if KSN_SERVER is not set
  KSN_STATE_DIR  directory of the server's certificate and of the addresses and pins of started servers
                 (default: `ksn` in XDG_STATE_HOME, ~/.local/state or, on Windows, LOCALAPPDATA)
  NO_COLOR       print no colours";

/// Help is wrapped to the width of the terminal, up to this: longer lines are hard to read.
const HELP_COLUMNS_MAX: usize = 100;

/// Runs the given command and maps its result to the exit code.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => args.run(),
        Command::Build(args) => args.run(),
        Command::Inspect(args) => args.run(),
        Command::Serve(args) => args.run(),
        Command::Lookup(args) => args.run(),
        Command::Explain(args) => args.run(),
        Command::Scan(args) => args.run(),
        Command::Ping(args) => args.run(),
        Command::Bench(args) => args.run(),
        Command::Verify(args) => args.run(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) if exit::is_closed_pipe(&error) => Exit::Success.into(),
        Err(error) => {
            eprintln!("ksn: {}", error_chain(&error));
            Exit::Error.into()
        }
    }
}

/// Formats an error and its causes, without causes that the preceding message already ends with.
fn error_chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use clap::CommandFactory;

    use super::*;

    /// Prevents help that clap wraps a few words after a line break of its source.
    #[test]
    fn help_wraps_to_the_terminal() {
        for columns in [60, HELP_COLUMNS_MAX] {
            let mut program = Cli::command().term_width(columns);
            program.build();
            let names: Vec<String> = program.get_subcommands().map(|command| command.get_name().to_owned()).collect();
            assert!(names.len() > 8, "{names:?}");
            for name in names {
                let command = program.find_subcommand_mut(&name).unwrap();
                let help = command.render_long_help().to_string();
                for line in help.lines() {
                    // A word is not broken.
                    let is_word = line.split_whitespace().count() <= 1;
                    assert!(line.chars().count() <= columns || is_word, "{name}, {columns} columns: {line}");
                }
                let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                let lines: Vec<&str> = after.lines().collect();
                for pair in lines.windows(2) {
                    let is_text = |line: &str| !line.is_empty() && !line.starts_with(' ');
                    let is_broken = is_text(pair[0]) && is_text(pair[1]) && !pair[0].ends_with(['.', ':']);
                    assert!(!is_broken, "{name}: a line break within a sentence: {pair:?}");
                }
            }
        }
    }

    #[test]
    fn a_repeated_cause_is_printed_once() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let twice = anyhow::Error::from(ksn::snapshot::OpenError::from(missing())).context("records.ksn");
        assert_eq!(error_chain(&twice), format!("records.ksn: cannot read it: {}", missing()));
        let malformed = ksn::LookupError::from(ksn::wire::WireError::Version { found: 9 });
        let once = malformed.to_string();
        assert_eq!(error_chain(&anyhow::Error::from(malformed)), once);
        assert_eq!(error_chain(&anyhow::Error::from(missing()).context("key.pem")), format!("key.pem: {}", missing()));
    }
}
