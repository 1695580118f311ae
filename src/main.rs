//! The `ksn` program.

mod cli;

use std::process::ExitCode;

/// Building a snapshot allocates a string for every expression, which is slower with the system allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
