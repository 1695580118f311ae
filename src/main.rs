//! The `ksn` program.

mod cli;

use std::process::ExitCode;

/// Building a snapshot allocates a string for every expression, on which system allocators spend more time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
