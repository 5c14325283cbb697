//! Large histories of many shapes, and what it costs to check them.
//!
//! ```text
//! cargo build --release -p harness
//! cargo run --release -p history-checker --example shapes -- bench --quick
//! cargo run --release -p history-checker --example shapes -- bench --ops 1M --workloads register,cas
//! cargo run --release -p history-checker --example shapes -- bench --quick --against './porcupine {model} {}'
//! cargo run --release -p history-checker --example shapes -- generate --ops 1M --keys 1 --open 5 history.jsonl
//! ```
//!
//! The rival gets the same operations, one a line; it says valid, invalid or unknown by exit code 0, 1 or 2. Run it all
//! under `taskset -c 0` for figures of one core.

mod bench;
mod measure;
mod operation;
mod shape;
mod simulate;
mod sink;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use history_checker::history::ReadOptions;
use history_checker::model::Model;
use history_checker::results::Verdict;
use history_checker::{History, Options};

use crate::bench::{Checker, bench};
use crate::measure::Caps;
use crate::shape::{Shape, Truth, Workload, count};
use crate::simulate::simulate;
use crate::sink::{Format, Sink};

#[derive(Parser)]
#[command(about = "Large histories of many shapes, and what it costs to check them")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write one history
    Generate(Generate),
    /// Check one history of every shape
    Bench(Bench),
    /// Check a history by the library alone; the exit code is the verdict: 0 valid, 1 invalid, 2 unknown
    Check(Check),
    /// Run a command and say what it cost
    #[command(hide = true)]
    Measure(Measure),
}

#[derive(Args)]
struct Generate {
    #[arg(long, value_enum, default_value = "register")]
    workload: Workload,
    #[arg(long, value_parser = count, default_value = "10k")]
    ops: u64,
    #[arg(long, default_value_t = 1)]
    keys: usize,
    #[arg(long, default_value_t = 10)]
    clients: usize,
    /// Percentage of operations whose outcome is unknown
    #[arg(long, default_value_t = 0)]
    open: u64,
    #[arg(long, value_enum, default_value = "valid")]
    truth: Truth,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, value_enum, default_value = "history")]
    format: Format,
    file: PathBuf,
}

#[derive(Args)]
struct Bench {
    /// The checker [default: `harness check` beside this program]
    #[arg(long, value_name = "COMMAND")]
    check: Option<String>,
    /// Without `harness`: the library, as `check` here does
    #[arg(long, conflicts_with = "check")]
    library: bool,
    /// What the checker is given
    #[arg(long, value_enum, default_value = "history")]
    format: Format,
    /// Another checker, which is given plain operations
    #[arg(long, value_name = "COMMAND")]
    against: Option<String>,
    /// 10k and 100k operations on 1 and 10 keys by 50 clients, 0 and 5 % of unknown outcome
    #[arg(long)]
    quick: bool,
    #[arg(long, value_delimiter = ',', value_enum)]
    workloads: Vec<Workload>,
    #[arg(long, value_delimiter = ',', value_parser = count)]
    ops: Vec<u64>,
    #[arg(long, value_delimiter = ',')]
    keys: Vec<usize>,
    #[arg(long, value_delimiter = ',')]
    clients: Vec<usize>,
    #[arg(long, value_delimiter = ',')]
    open: Vec<u64>,
    #[arg(long, value_delimiter = ',', value_enum)]
    truth: Vec<Truth>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of which the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// After which a checker is ended
    #[arg(long, default_value_t = 60)]
    seconds_max: u64,
    /// Of address space
    #[arg(long, default_value_t = 12)]
    memory_gib_max: u64,
    /// A line of JSON for each shape
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Check {
    /// If the file does not say [default: by the operations' names]
    #[arg(long)]
    model: Option<String>,
    file: PathBuf,
}

#[derive(Args)]
struct Measure {
    #[arg(long)]
    seconds: u64,
    #[arg(long)]
    memory_gib: u64,
    #[arg(last = true)]
    command: Vec<String>,
}

/// Neither of the verdicts' exit codes.
const ERROR: u8 = 3;

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        writeln!(io::stderr(), "{error:#}").ok();
        ExitCode::from(ERROR)
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Generate(args) => generate(args).map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => {
            let wrong = run_bench(&args)?;
            Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Check(args) => check(&args),
        Command::Measure(args) => {
            let caps = Caps { seconds: args.seconds, memory_gib: args.memory_gib };
            let cost = measure::run(&args.command, caps)?;
            writeln!(io::stdout(), "{}", serde_json::to_string(&cost)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn generate(args: Generate) -> anyhow::Result<()> {
    let Generate { workload, ops, keys, clients, open, truth, seed, format, file } = args;
    let shape = Shape { workload, ops, keys, clients, open, truth, seed };
    let out = File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
    let mut sink = Sink::new(format, &shape, BufWriter::with_capacity(1 << 20, out))?;
    simulate(shape, &mut sink).with_context(|| format!("cannot write {}", file.display()))
}

fn check(args: &Check) -> anyhow::Result<ExitCode> {
    let model = match &args.model {
        Some(name) => Some(Model::named(name).with_context(|| format!("no model {name}"))?),
        None => None,
    };
    let options = ReadOptions { model, ..ReadOptions::default() };
    let start = Instant::now();
    let history = History::read_as(&args.file, &options)?;
    let read = start.elapsed();
    let results = history_checker::check(&history, &Options::default());
    let all = start.elapsed();
    let mut out = io::stdout().lock();
    writeln!(out, "{}", results.headline)?;
    for check in &results.checks {
        writeln!(out, "{:<14} {:?}: {}", check.name, check.verdict, check.summary)?;
        for violation in check.violations.iter().take(1) {
            writeln!(out, "    {}", violation.explanation)?;
        }
    }
    writeln!(out, "read in {read:.3?}, checked in {:.3?}", all.saturating_sub(read))?;
    Ok(ExitCode::from(match results.verdict {
        Verdict::Valid => 0,
        Verdict::Invalid => 1,
        Verdict::Unknown => 2,
    }))
}

fn run_bench(args: &Bench) -> anyhow::Result<u64> {
    let caps = Caps { seconds: args.seconds_max, memory_gib: args.memory_gib_max };
    let command = match &args.check {
        Some(command) => words(command),
        None if args.library => {
            let this = std::env::current_exe().context("cannot find this program")?;
            vec![text(this)?, "check".to_owned()]
        }
        None => vec![beside("harness")?, "check".to_owned()],
    };
    let ours = Checker { command, format: args.format, caps, runs: args.runs };
    let rival = args.against.as_deref().map(|command| Checker {
        command: words(command),
        format: Format::Operations,
        caps,
        runs: args.runs,
    });
    bench(&shapes(args), &ours, rival.as_ref(), args.json)
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

/// A program in the same target directory; examples are in a directory of their own there.
fn beside(name: &str) -> anyhow::Result<String> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let program = this.parent().and_then(|examples| examples.parent()).map(|dir| dir.join(name));
    let program = program.filter(|program| program.exists());
    let program = program.with_context(|| format!("{name} is not built; name one by --check"))?;
    text(program)
}

fn text(program: PathBuf) -> anyhow::Result<String> {
    program.into_os_string().into_string().ok().context("the directory's name is no text")
}

fn shapes(args: &Bench) -> Vec<Shape> {
    let or = |given: &[u64], quick: &[u64], all: &[u64]| match (given, args.quick) {
        ([], true) => quick.to_vec(),
        ([], false) => all.to_vec(),
        _ => given.to_vec(),
    };
    let sizes = |given: &[usize], quick: &[usize], all: &[usize]| match (given, args.quick) {
        ([], true) => quick.to_vec(),
        ([], false) => all.to_vec(),
        _ => given.to_vec(),
    };
    let workloads = if args.workloads.is_empty() {
        <Workload as clap::ValueEnum>::value_variants()
    } else {
        &args.workloads
    };
    let truths =
        if args.truth.is_empty() { &[Truth::Valid, Truth::Stale] } else { args.truth.as_slice() };
    let mut shapes = Vec::new();
    for &workload in workloads {
        for ops in or(&args.ops, &[10_000, 100_000], &[10_000, 100_000, 1_000_000]) {
            for keys in sizes(&args.keys, &[1, 10], &[1, 10, 1000]) {
                for clients in sizes(&args.clients, &[50], &[10, 50]) {
                    for open in or(&args.open, &[0, 5], &[0, 1, 5]) {
                        for &truth in truths {
                            let seed = args.seed;
                            shapes.push(Shape { workload, ops, keys, clients, open, truth, seed });
                        }
                    }
                }
            }
        }
    }
    shapes
}
