//! Prevents failures that only users of the program see: a command that works in the library but not on the command
//! line, an exit code or a JSON field that changes and breaks scripts, keys that are buffered instead of streamed, and
//! errors that are reported as "unknown".
#![cfg(feature = "cli")]

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/build.rs"]
mod build;
#[cfg(unix)]
#[path = "cli/build_output.rs"]
mod build_output;
#[path = "cli/connect.rs"]
mod connect;
#[path = "cli/lookup.rs"]
mod lookup;
#[path = "cli/program.rs"]
mod program;
#[cfg(unix)]
#[path = "cli/reload.rs"]
mod reload;
#[path = "cli/scan.rs"]
mod scan;
#[path = "cli/serve.rs"]
mod serve;
#[path = "cli/sources.rs"]
mod sources;
