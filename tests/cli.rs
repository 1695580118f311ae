//! The program as its users run it. Prevents: a command that works in the library and not on the command line, an exit
//! code or a JSON field that changes under scripts, keys that are held instead of streamed, and failures that look like
//! "unknown".
#![cfg(feature = "cli")]

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/build.rs"]
mod build;
#[path = "cli/lookup.rs"]
mod lookup;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/serve.rs"]
mod serve;
