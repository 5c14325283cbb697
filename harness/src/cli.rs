//! The command line.

use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use history_checker::model::Model;
use serde_json::Value;

use crate::cluster::Network;
use crate::cluster::netns::{HOLD_NETWORK, PROBE_NETWORK};
use crate::cluster::process::SUPERVISE_NODE;
use crate::daemon::Daemon;
use crate::disk::HOLD_MOUNT;
use crate::elections::args::{self as elections, BenchElections};
use crate::merge::{self, Merge};
use crate::mutants::args::{self as mutants, Mutants};
use crate::nemesis::Moment;
use crate::replay::args::{self as replay, Replay};
use crate::suite::Shard;
use crate::workload::Object;

/// The longest run: times far beyond it cannot be told from the end of all time.
const TIME_LIMIT_MAX: Duration = Duration::from_hours(30 * 24);

/// The most seeds of `harness run --seeds`.
const SEEDS_MAX: u64 = 100_000;

/// What every command's help ends with.
const EXIT_CODES: &str = "\
Exit codes:
  0   valid: every history obeys its model, and enough happened to mean it
  1   invalid: a history is proven wrong
  2   unknown: too little happened, a limit of the search was hit, or the run was cut short
  3   the harness itself failed, or a canary was not rejected
  64  wrong usage; nothing was run
Over several runs invalid beats harness failure beats unknown beats valid.";

const RUN_EXAMPLES: &str = "\
Examples:
  harness run register --time-limit 30s --seed 1
  harness run all --time-limit 20s --junit target/junit.xml
  harness run append --faults kill,pause --nodes 3
  harness run all --seeds 0..10 --shard 2/4
  harness run ./mine.toml --raftd ../other/target/release/raftd
  harness run upgrade --upgrade-to ../next/target/release/raftd
  harness run register --raftd 2=../next/target/release/raftd   a cluster of two builds";

const SIM_EXAMPLES: &str = "\
Examples:
  harness sim                            a thousand fresh seeds
  harness sim --seeds 0..100000 --nodes 5
  harness sim --seed 4711 --trace        what happens in one seed, line by line";

/// Runs raftd clusters as local processes, breaks them, and checks what their clients saw.
#[derive(Debug, Parser)]
#[command(name = "harness", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run workloads against a fresh cluster each, break it, and check the history
    #[command(after_help = format!("{RUN_EXAMPLES}\n\n{EXIT_CODES}"))]
    Run(Run),
    /// Check recorded histories again: the same verdict as the live run's
    #[command(after_help = EXIT_CODES)]
    Check(Check),
    /// List what there is to run with
    List(List),
    /// Make a run's report.html (and results.json, if it is missing) again
    Report(Report),
    /// Run the consensus core through thousands of hostile schedules a minute, in virtual time
    #[command(after_help = format!("{SIM_EXAMPLES}\n\n{EXIT_CODES}"))]
    Sim(Sim),
    /// Start a local cluster in the foreground, for playing with raftctl; Ctrl-C stops it
    Cluster(Cluster),
    /// Kill leaders, and measure how long the cluster is without one: the Raft paper's figure 16
    #[command(after_help = elections::AFTER_HELP)]
    BenchElections(BenchElections),
    /// Inflict the faults of a recorded run once more, and see how often it fails again
    #[command(after_help = replay::AFTER_HELP)]
    Replay(Replay),
    /// Sum up what several machines have run with --shard
    #[command(after_help = merge::AFTER_HELP)]
    Merge(Merge),
    /// Put bugs that Raft implementations really had into the daemon, and see whether they are found
    #[command(after_help = mutants::AFTER_HELP)]
    Mutants(Mutants),
    /// Becomes a node that dies with the harness; for the harness itself
    #[command(name = SUPERVISE_NODE, hide = true)]
    SuperviseNode(SuperviseNode),
    /// Makes a mount that only a node sees; for the harness itself
    #[command(name = HOLD_MOUNT, hide = true)]
    HoldMount(HoldMount),
    /// Keeps a network namespace; for the harness itself
    #[command(name = HOLD_NETWORK, hide = true)]
    HoldNetwork,
    /// Tries whether the netns backend works here; for the harness itself
    #[command(name = PROBE_NETWORK, hide = true)]
    ProbeNetwork,
}

/// `harness run`.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Built-in workloads (see `harness list`), `all` of them, or scenario files (./mine.toml)
    #[arg(value_name = "WORKLOAD", required = true)]
    pub workloads: Vec<String>,
    /// Cluster size, 1 to 9 [default: the workload's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=9))]
    pub nodes: Option<u64>,
    /// How long traffic and faults go on; recovery, final reads and checking come after
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub time_limit: Duration,
    /// Seed of every random choice [default: a random one, printed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// One run of each workload with each of these seeds: the first, and the one after the last
    #[arg(long, value_name = "A..B", value_parser = few_seeds, conflicts_with = "seed")]
    pub seeds: Option<Range<u64>>,
    /// Only the Ith of N shares of the runs, so that N machines share them; see `harness merge`
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Clients at work at the same time [default: the workload's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub clients: Option<u64>,
    /// Operations a second that all clients together aim at [default: the workload's]
    #[arg(long, value_name = "OPS/S", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate: Option<u64>,
    /// Kinds of fault, comma-separated (see `harness list faults`), or `none` [default: the workload's]
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub faults: Option<Vec<String>>,
    /// Moments that each fault waits for, one of them, comma-separated (see `harness list moments`) [default: the workload's]
    #[arg(long, value_name = "MOMENTS", value_delimiter = ',')]
    pub at: Option<Vec<Moment>>,
    /// Leave a majority alone at every moment; then clients must not wait for long, and that is checked, too
    #[arg(long)]
    pub quorum_safe: bool,
    /// How network faults are made
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t)]
    pub backend: Backend,
    /// The raftd to test, and with ID=PATH (given several times, too) what a node runs instead [default: beside this
    /// executable]
    #[arg(long, value_name = "[ID=]PATH")]
    pub raftd: Vec<Daemon>,
    /// The build that nodes go over to by the fault `upgrade` [default: that of --raftd]
    #[arg(long, value_name = "PATH")]
    pub upgrade_to: Option<PathBuf>,
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Also write the verdicts as JUnit XML, for a CI job
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// End a run at its first certain anomaly, and the series at the first run that did not pass
    #[arg(long)]
    pub fail_fast: bool,
}

/// `harness check`.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// Histories, or run directories
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What the objects are [default: as the header or the operations' names say; see `harness list models`]
    #[arg(long, value_name = "NAME", value_parser = model)]
    pub model: Option<Model>,
    /// What every object is before the first operation, as JSON: 0, '"unlocked"', '{"x":0}' [default: no value]
    #[arg(long, value_name = "JSON", value_parser = json)]
    pub initial: Option<Value>,
    /// What it means that a read returned nil: there was no value, or (Knossos) the client did not learn it
    #[arg(long, value_name = "MEANING", value_enum, default_value_t)]
    pub nil_read: NilRead,
    /// How the files are written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: Format,
    /// Whether values in Jepsen's formats are pairs of a key and a value, as jepsen.independent writes them
    #[arg(long, value_name = "WHETHER", value_enum, default_value_t)]
    pub independent: Independent,
    /// Write the fewest operations that still contradict each other to this file, as a history for `harness check`
    #[arg(long, value_name = "FILE")]
    pub core: Option<PathBuf>,
    /// Give up after this long; what is decided by then is told, the rest is unknown [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub time_limit: Option<Duration>,
    /// Memory for the exact search, MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
    pub memory_limit: u64,
    /// Keys at the same time [default: one for each core]
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<usize>,
    /// How to say it
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: Output,
}

/// `harness list`.
#[derive(Clone, Copy, Debug, Args)]
pub struct List {
    /// Only these
    #[arg(value_enum)]
    pub what: Option<Listable>,
}

/// `harness report`.
#[derive(Clone, Debug, Args)]
pub struct Report {
    /// The run's directory, for example results/latest
    #[arg(value_name = "RESULT-DIR")]
    pub directory: PathBuf,
}

/// `harness cluster`.
#[derive(Clone, Debug, Args)]
pub struct Cluster {
    /// Cluster size, 1 to 9
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    pub nodes: u64,
    /// The raftd to start [default: beside this executable]
    #[arg(long, value_name = "PATH")]
    pub raftd: Option<PathBuf>,
}

/// `harness sim`.
#[derive(Clone, Debug, Args)]
pub struct Sim {
    /// First seed and the one after the last [default: 1000 from a random one, printed]
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    pub seeds: Option<Range<u64>>,
    /// Only this seed
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// Print what happens in it, line by line
    #[arg(long, requires = "seed")]
    pub trace: bool,
    /// Founders of the cluster, 1 to 9 [default: 3, 4, 5 or 7, as the seed says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=9))]
    pub nodes: Option<u64>,
    /// What the clients do [default: as the seed says]
    #[arg(long, value_name = "WORKLOAD", value_enum)]
    pub workload: Option<SimWorkload>,
    /// Seeds at the same time [default: one for each core]
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<usize>,
    /// Do not look for the few faults and operations that a failure takes
    #[arg(long)]
    pub no_shrink: bool,
}

/// What simulated clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimWorkload {
    /// Reads and writes
    Register,
    /// Reads, writes, compare-and-set
    CasRegister,
    /// Reads and appends of unique tokens
    Append,
    /// Reads and increments
    Counter,
}

impl SimWorkload {
    /// Its name.
    pub fn name(self) -> &'static str {
        Object::from(self).name()
    }
}

impl From<SimWorkload> for Object {
    fn from(workload: SimWorkload) -> Object {
        match workload {
            SimWorkload::Register => Object::Register,
            SimWorkload::CasRegister => Object::CasRegister,
            SimWorkload::Append => Object::Append,
            SimWorkload::Counter => Object::Counter,
        }
    }
}

/// `harness supervise-node`.
#[derive(Clone, Debug, Args)]
pub struct SuperviseNode {
    /// The harness's process
    #[arg(long, value_name = "PID")]
    pub parent: u32,
    /// The mount namespace with the node's disk
    #[arg(long, value_name = "NAMESPACE")]
    pub mounts: Option<PathBuf>,
    /// The process in whose network namespace to run
    #[arg(long, value_name = "PID")]
    pub network_of: Option<u32>,
    /// What to become
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `harness hold-mount`.
#[derive(Clone, Debug, Args)]
pub struct HoldMount {
    /// The harness's process
    #[arg(long, value_name = "PID")]
    pub parent: u32,
    /// What to mount over
    #[arg(long, value_name = "DIR")]
    pub directory: PathBuf,
}

/// How network faults are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Userspace TCP proxies between all processes; needs no privileges
    #[default]
    Proxy,
    /// The kernel: each node in a network namespace of its own; takes ip, nft, and root or user namespaces
    Netns,
}

impl From<Backend> for Network {
    fn from(backend: Backend) -> Network {
        match backend {
            Backend::Proxy => Network::Proxy,
            Backend::Netns => Network::Netns,
        }
    }
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// For machines: one JSON object a history, with every check's part
    Json,
}

/// What `--nil-read` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum NilRead {
    /// There was no value
    #[default]
    Unset,
    /// The client did not learn the value, so the read says nothing
    Any,
}

/// What `--independent` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Independent {
    /// Find out from the values
    #[default]
    Auto,
    /// They are pairs
    Yes,
    /// They are values
    No,
}

/// How a history is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Find out from how it begins
    #[default]
    Auto,
    /// history.jsonl of a run: a header line, then one event a line
    History,
    /// One operation a line, as JSON, with the times of its call and its return
    Operations,
    /// Jepsen's history.edn: maps, one for each event
    Edn,
    /// Lines of Jepsen's log: `INFO  jepsen.util - 0 :invoke :read nil`
    Log,
}

/// What `harness list` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listable {
    /// What can be run
    Workloads,
    /// What can be broken
    Faults,
    /// What faults can wait for
    Moments,
    /// What histories can be held against
    Models,
    /// What can be tested
    Targets,
}

/// `cas-register`.
fn model(name: &str) -> Result<Model, String> {
    Model::named(name).ok_or_else(|| format!("it must be one of {}", Model::names()))
}

/// A JSON value.
fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it must be JSON: {error}"))
}

/// `0..1000`.
fn seeds(text: &str) -> Result<Range<u64>, String> {
    let numbers = text.split_once("..").map(|(first, end)| (first.parse(), end.parse()));
    match numbers {
        Some((Ok(first), Ok(end))) if first < end => Ok(first..end),
        Some((Ok(_), Ok(_))) => Err("there is no seed in it: the first must be lower".to_owned()),
        _ => Err("write it like 0..1000: the first seed, and the one after the last".to_owned()),
    }
}

/// So many that a list of the runs fits into memory, and no human waits for them.
fn few_seeds(text: &str) -> Result<Range<u64>, String> {
    let seeds = seeds(text)?;
    if seeds.end - seeds.start > SEEDS_MAX {
        return Err(format!("at most {SEEDS_MAX} seeds a run"));
    }
    Ok(seeds)
}

/// At least one.
pub(crate) fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs @ 1..=1_024) => Ok(jobs),
        Ok(_) => Err("must be 1 to 1024".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// `30s`, `2m`, `1m 30s`, `500ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it like 30s, 2m or 500ms"))?;
    if duration < Duration::from_secs(1) {
        return Err("must be at least 1s".to_owned());
    }
    if duration > TIME_LIMIT_MAX {
        return Err("must be at most 30d".to_owned());
    }
    Ok(duration)
}
