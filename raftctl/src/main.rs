//! The `raftctl` command.

mod args;
mod bench;
mod connect;
mod inspect;
mod member;
mod operate;
mod output;
mod shell;
mod status;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use output::{Exit, Output};

fn main() -> ExitCode {
    let args = Args::parse();
    let output = Output::new(args.connect.output);
    let exit = run(args, &output).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Exit::Usage
    });
    output.finish(exit).into()
}

/// An error is one of usage: nothing was done. All others are printed where they arise, and in the exit code.
fn run(args: Args, output: &Output) -> anyhow::Result<Exit> {
    let Args { connect, command } = args;
    match command {
        Command::Inspect(inspect) => Ok(inspect::run(&inspect, output)),
        Command::Status => status::run(&connect, output),
        Command::Members => member::print(&connect, output),
        Command::Member(command) => member::run(&connect, &command, output),
        Command::TransferLeader { id } => member::transfer(&connect, id, output),
        Command::Snapshot => status::snapshot(&connect, output),
        Command::Bench(bench) => bench::run(&connect, &bench, output),
        Command::Operation(operation) => operate::run(&connect, operation, output),
    }
}
