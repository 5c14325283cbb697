//! `harness bench-elections`, as it is called.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::published::TimeoutRange;

/// What `--help` says after the options.
pub const AFTER_HELP: &str = "\
What is measured:
  In each trial a client's write makes the leader heard by all followers at
  once; after a uniformly random part of a heartbeat interval (half of the
  shortest timeout) the leader gets SIGKILL. Then:
    new leader   from the kill until another node's log says that it leads,
                 looked at every 5 ms
    client gap   from the client's last write with an answer to its next one
  The killed node is started again, and once all nodes agree and have all
  entries, the next trial begins. All survivors can win here; in the published
  worst case only two of four could. Nodes ask before they campaign (pre-vote),
  which the published ones did not: it costs a round of messages without a disk
  write, and whoever asks too early is turned down.

Examples:
  harness bench-elections
  harness bench-elections --ranges 150-300,150-155 --trials 200
  harness bench-elections --nodes 3 --seed 7 --raftd ../other/target/release/raftd

Exit codes:
  0   measured
  2   interrupted: what was measured so far is printed and kept
  3   the harness itself failed, or no range could be measured
  64  wrong usage; nothing was run";

/// `harness bench-elections`.
#[derive(Clone, Debug, Args)]
pub struct BenchElections {
    /// Ranges of election timeouts, ms, each on a cluster of its own
    #[arg(
        long,
        value_name = "MIN-MAX",
        value_delimiter = ',',
        default_value = "50-100,100-200,150-300,150-200,150-175,150-155,150-151,150-150"
    )]
    pub ranges: Vec<TimeoutRange>,
    /// How often the leader is killed in each range
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub trials: u32,
    /// Cluster size, 3 to 9
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(3..=9))]
    pub nodes: u64,
    /// Most time for one trial; what takes longer is counted as longer than this
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = cap)]
    pub cap: Duration,
    /// Seed of the moments of the kills [default: a random one, printed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The raftd to measure [default: beside this executable]
    #[arg(long, value_name = "PATH")]
    pub raftd: Option<PathBuf>,
    /// Where results are kept
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
}

fn cap(text: &str) -> Result<Duration, String> {
    let cap = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it like 30s or 2m"))?;
    if cap < Duration::from_secs(1) || cap > Duration::from_hours(1) {
        return Err("must be 1s to 1h".to_owned());
    }
    Ok(cap)
}
