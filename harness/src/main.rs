//! The `harness` command.

use std::process::ExitCode;

use clap::Parser;
use harness::cli::Cli;
use harness::exit::Exit;

/// A history of a million operations has tens of thousands of small vectors, which this allocator makes and grows in half
/// the time that the system's takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Clap's own code for wrong usage is 2, which would be read as a verdict.
        Err(error) => {
            let printed = error.print();
            let exit =
                if error.use_stderr() || printed.is_err() { Exit::Usage } else { Exit::Valid };
            return exit.into();
        }
    };
    harness::commands::execute(cli.command).into()
}
