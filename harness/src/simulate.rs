//! `harness sim`: many seeds of the simulator, and what is told of them.

use std::io::{self, IsTerminal, Write, stderr};
use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::cli::Sim;
use crate::exit::Exit;
use crate::sim::campaign::{Campaign, run_all};
use crate::sim::{Settings, Violation, run, shrink};
use crate::terminal;

/// How many seeds are run if nobody says.
const SEEDS: u64 = 1_000;

/// Random first seeds are below this: short enough to be told to a colleague.
const RANDOM_SEEDS: u128 = 1_000_000_000;

/// How long a failure is shrunk.
const SHRINK_MAX: Duration = Duration::from_secs(20);

/// How often a line is printed where there is no terminal.
const PRINT_EVERY: Duration = Duration::from_secs(10);

/// Carries out the command.
pub fn execute(args: &Sim) -> anyhow::Result<Exit> {
    let settings =
        Settings { nodes: args.nodes, model: args.workload.map(Into::into), ..Settings::default() };
    if let Some(seed) = args.seed {
        return one(seed, args, &settings);
    }
    let seeds = args.seeds.clone().unwrap_or_else(|| {
        let first = random_seed();
        first..first + SEEDS
    });
    let count = seeds.end - seeds.start;
    terminal::note(format!("seeds {}..{}", seeds.start, seeds.end));
    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
    let mut watching = Watching::new(count);
    let campaign = run_all(seeds, &settings, jobs, |done| watching.update(done));
    watching.end();
    let missing = campaign.missing();
    terminal::print(|out| summary(out, &campaign, &missing))?;
    match &campaign.failure {
        Some((seed, violation)) => failure(*seed, violation, args, &settings),
        None if missing.is_empty() => Ok(Exit::Valid),
        None => Ok(Exit::Unknown),
    }
}

/// One seed, perhaps with all that happens in it.
fn one(seed: u64, args: &Sim, settings: &Settings) -> anyhow::Result<Exit> {
    let run = run(seed, settings, args.trace);
    terminal::print(|out| run.trace.iter().try_for_each(|line| writeln!(out, "{line}")))?;
    match run.violation {
        None => {
            let seconds = run.tally.virtual_us / 1_000_000;
            terminal::print(|out| {
                writeln!(out, "valid: seed {seed}, {seconds} s, {} steps", run.tally.steps)
            })?;
            Ok(Exit::Valid)
        }
        Some(violation) => failure(seed, &violation, args, settings),
    }
}

/// Tells of a failure: what, how to see it again, and what it takes.
fn failure(
    seed: u64,
    violation: &Violation,
    args: &Sim,
    settings: &Settings,
) -> anyhow::Result<Exit> {
    let command = reproduce(seed, args);
    terminal::print(|out| {
        writeln!(out, "\nINVALID: seed {seed}\n\n{violation}\n\nReproduce with:\n  {command}")
    })?;
    if args.no_shrink || args.trace {
        return Ok(Exit::Invalid);
    }
    let start = Instant::now();
    if let Some(shrunk) = shrink(seed, settings, SHRINK_MAX) {
        terminal::print(|out| {
            writeln!(
                out,
                "\nIt still fails with {} of {} faults and operations ({} runs, {:.1} s):\n",
                shrunk.items_after,
                shrunk.items_before,
                HumanCount(shrunk.attempts),
                start.elapsed().as_secs_f64()
            )?;
            shrunk.run.trace.iter().try_for_each(|line| writeln!(out, "{line}"))
        })?;
    }
    Ok(Exit::Invalid)
}

/// The command that runs this seed again.
fn reproduce(seed: u64, args: &Sim) -> String {
    let nodes = args.nodes.map(|nodes| format!(" --nodes {nodes}"));
    let workload = args.workload.map(|workload| format!(" --workload {}", workload.name()));
    let [nodes, workload] = [nodes, workload].map(Option::unwrap_or_default);
    format!("harness sim --seed {seed} --trace{nodes}{workload}")
}

fn summary(out: &mut impl Write, campaign: &Campaign, missing: &[&str]) -> io::Result<()> {
    let Campaign { seeds, tally, elapsed, failure } = campaign;
    let verdict = if failure.is_some() {
        "invalid"
    } else if missing.is_empty() {
        "valid"
    } else {
        "unknown"
    };
    writeln!(
        out,
        "{verdict}: {} in {:.1} s: {:.0} a minute, {:.1} simulated hours a minute",
        terminal::plural(*seeds, "seed"),
        elapsed.as_secs_f64(),
        campaign.seeds_per_minute(),
        campaign.hours_per_minute()
    )?;
    let mut table = terminal::table();
    let hot = [
        ("steps", tally.steps),
        ("steps with several inputs", tally.batches),
        ("frames delivered", tally.frames),
        ("syncs", tally.syncs),
    ];
    let counts = tally.counts.iter().map(|(what, count)| (*what, *count));
    let counts: Vec<_> = hot.into_iter().chain(counts).collect();
    for pair in counts.chunks(2) {
        let cells = pair
            .iter()
            .flat_map(|(what, count)| [(*what).to_owned(), HumanCount(*count).to_string()]);
        table.add_row(cells);
    }
    writeln!(out, "\n{}", table.trim_fmt())?;
    if !missing.is_empty() {
        writeln!(out, "\nNever happened: {}", missing.join(", "))?;
    }
    Ok(())
}

fn random_seed() -> u64 {
    let since_1970 =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_1970.as_micros() % RANDOM_SEEDS).unwrap_or(0)
}

/// How far it is: a live line on a terminal, a calm line now and then in a pipe.
struct Watching {
    bar: Option<ProgressBar>,
    count: u64,
    printed: Instant,
}

impl Watching {
    fn new(count: u64) -> Watching {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(
                "{bar:20.cyan/dim} {human_pos} of {human_len} seeds, {per_sec}, {eta:.dim}",
            );
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(count).with_style(style.progress_chars("━━─"))
        });
        Watching { bar, count, printed: Instant::now() }
    }

    fn update(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.printed.elapsed() >= PRINT_EVERY {
            self.printed = Instant::now();
            terminal::note(format!("{} of {} seeds", HumanCount(done), HumanCount(self.count)));
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
