//! The `munadi` binary: the allocator, and the command that was asked for.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Doors allocate for every request on several threads, which the system's allocator serialises.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    munadi::cli::run()
}
