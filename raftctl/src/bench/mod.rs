//! `raftctl bench`: a closed loop of clients, what they got, and what it cost the nodes.

mod load;
mod report;
mod snapshot;

use std::io::{IsTerminal, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args as ClapArgs, ValueEnum};
use raftctl::{Client, Consistency, NodeId, Options};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::args::Connect;
use crate::connect::{client, runtime};
use crate::output::{Exit, Output};
use load::{Load, Tally};
use report::Report;
use snapshot::Snapshot;

pub(crate) const BENCH_HELP: &str = "\
Load the cluster and print throughput, latency, and what an operation costs the nodes.

Each client sends a request, waits for its answer, and sends the next one. An operation counts if it ends after the \
warm-up and before the end. The keys are random among --keys; if the mix reads, all of them are written first. Nothing \
is repeated: what fails is counted by its error code. The keys (k0…) stay in the store.";

#[derive(Debug, ClapArgs)]
pub(crate) struct BenchArgs {
    /// How many clients, each with one request at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    clients: u32,

    /// How many connections and sessions they share
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    connections: u32,

    /// Size of a value
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    value_bytes: u32,

    /// How many keys
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    keys: u32,

    /// Size of a key
    #[arg(long, value_name = "BYTES", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    key_bytes: u32,

    /// put, get (linearizable), lease-get, stale-get, mixed (half and half), or the percentage of gets
    #[arg(long, default_value = "put")]
    mix: Mix,

    /// How long to measure
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Duration,

    /// How long to run before that
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = humantime::parse_duration)]
    warmup: Duration,

    /// Whom to ask: with all, a follower that is asked to write names the leader, which is then asked
    #[arg(long, value_enum, default_value = "leader")]
    target: Target,

    /// Decides keys, values, and which operations are gets
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Which operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mix {
    /// How many of a hundred are gets.
    gets_percent: u8,
    consistency: Consistency,
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let (gets_percent, consistency) = match text {
            "put" => (0, Consistency::Linearizable),
            "get" => (100, Consistency::Linearizable),
            "lease-get" => (100, Consistency::Lease),
            "stale-get" => (100, Consistency::Stale),
            "mixed" => (50, Consistency::Linearizable),
            number => match number.parse() {
                Ok(percent @ 0..=100) => (percent, Consistency::Linearizable),
                Ok(_) | Err(_) => {
                    return Err(
                        "expected put, get, lease-get, stale-get, mixed, or a number from 0 to 100"
                            .to_owned(),
                    );
                }
            },
        };
        Ok(Mix { gets_percent, consistency })
    }
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.gets_percent, self.consistency) {
            (0, _) => f.write_str("put"),
            (100, Consistency::Linearizable) => f.write_str("get"),
            (100, Consistency::Lease) => f.write_str("lease-get"),
            (100, Consistency::Stale) => f.write_str("stale-get"),
            (percent, _) => write!(f, "{percent} % get"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// The leader
    Leader,
    /// All nodes in turn
    All,
}

pub(crate) fn run(connect: &Connect, args: &BenchArgs, output: &Output) -> anyhow::Result<Exit> {
    let options = connect.options()?;
    if connect.request_id.is_some() {
        bail!("--request-id names one write; bench makes many");
    }
    if args.duration.is_zero() {
        bail!("--duration 0 measures nothing");
    }
    let load = Arc::new(Load::new(args)?);
    let watcher = client(options.clone())?;
    match runtime()?.block_on(measure(&watcher, options, args, &load)) {
        Ok(report) => {
            if output.is_json() {
                output.json(&report);
            } else {
                output.line(report.to_string().trim_end());
            }
            Ok(if report.operations > 0 { Exit::Done } else { Exit::Failed })
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(Exit::Failed)
        }
    }
}

async fn measure(
    watcher: &Client,
    options: Options,
    args: &BenchArgs,
    load: &Arc<Load>,
) -> anyhow::Result<Report> {
    let nodes = targets(watcher, &options, args, load).await?;
    let clients = clients(&options, args, &nodes)?;
    if args.mix.gets_percent > 0 {
        fill(watcher, load).await?;
    }

    let counted_from = Instant::now() + args.warmup;
    let stop = counted_from + args.duration;
    let tally = Arc::new(Tally::new(counted_from, stop));
    let mut workers = JoinSet::new();
    for worker in 0..args.clients {
        let client = clients[index(worker) % clients.len()].clone();
        workers.spawn(load::work(client, Arc::clone(load), Arc::clone(&tally), worker));
    }

    let progress = Progress::begin(&tally);
    progress.until(counted_from).await;
    let before = Snapshot::take(watcher, &tally).await;
    progress.until(stop).await;
    let after = Snapshot::take(watcher, &tally).await;
    progress.end();
    while let Some(worker) = workers.join_next().await {
        worker.context("a client of the load ended badly")?;
    }
    Ok(Report::new(args, &nodes, &tally.result(), &before, &after))
}

/// The nodes to ask. One write finds the leader, and shows that the cluster works at all.
async fn targets(
    watcher: &Client,
    options: &Options,
    args: &BenchArgs,
    load: &Load,
) -> anyhow::Result<Vec<NodeId>> {
    if let Some(node) = options.pin {
        return Ok(vec![node]);
    }
    let first = watcher.call(load.put(0)).await.context("the first write failed")?;
    match args.target {
        Target::Leader => Ok(vec![first.node]),
        Target::All => {
            let all = watcher.status_of_all().await;
            Ok(all.into_iter().filter_map(|node| Some(node.status.ok()?.node)).collect())
        }
    }
}

/// One client for each connection, spread over the nodes.
fn clients(options: &Options, args: &BenchArgs, nodes: &[NodeId]) -> anyhow::Result<Vec<Client>> {
    let pins = nodes.iter().cycle().take(index(args.connections.min(args.clients)));
    pins.map(|pin| client(Options { pin: Some(*pin), retry: false, ..options.clone() })).collect()
}

/// Writes every key, so that gets find values.
async fn fill(watcher: &Client, load: &Arc<Load>) -> anyhow::Result<()> {
    const WRITERS: usize = 64;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, load) = (watcher.clone(), Arc::clone(load));
        writers.spawn(async move {
            for key in (writer..load.keys()).step_by(WRITERS) {
                client.call(load.put(key)).await?;
            }
            Ok::<(), raftctl::Error>(())
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer?.context("cannot write the keys that are to be read")?;
    }
    Ok(())
}

fn index(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// A line on a terminal that says how it goes; nothing elsewhere.
struct Progress<'a> {
    tally: &'a Tally,
    begun: Instant,
    is_shown: bool,
}

impl Progress<'_> {
    fn begin(tally: &Tally) -> Progress<'_> {
        Progress { tally, begun: Instant::now(), is_shown: std::io::stderr().is_terminal() }
    }

    async fn until(&self, end: Instant) {
        if !self.is_shown {
            return sleep_until(end).await;
        }
        let mut last = self.tally.ended();
        loop {
            let next = Instant::now() + Duration::from_secs(1);
            sleep_until(next.min(end)).await;
            if next > end {
                return;
            }
            let ended = self.tally.ended();
            let seconds = self.begun.elapsed().as_secs();
            eprint!("\r\x1b[K{seconds} s   {} operations/s", ended - last);
            std::io::stderr().flush().ok();
            last = ended;
        }
    }

    fn end(&self) {
        if self.is_shown {
            eprint!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mix_is_a_word_or_a_percentage() {
        let percent = |text: &str| text.parse::<Mix>().map(|mix| mix.gets_percent);
        assert_eq!(percent("put"), Ok(0));
        assert_eq!(percent("mixed"), Ok(50));
        assert_eq!(percent("93"), Ok(93));
        assert!(percent("101").unwrap_err().contains("0 to 100"));
        assert_eq!("stale-get".parse::<Mix>().unwrap().to_string(), "stale-get");
        assert_eq!("7".parse::<Mix>().unwrap().to_string(), "7 % get");
    }
}
