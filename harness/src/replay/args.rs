//! `harness replay`'s command line.

use std::path::PathBuf;

use clap::Args;

/// Ends `harness replay --help`.
pub const AFTER_HELP: &str = "\
Processes do not do the same thing twice, so a run cannot be repeated step by step. What can be is the faults: each as long after
the start as it was, with the same choices; what was aimed at the leader hits whoever leads now. How often that fails again is
what is printed.

Examples:
  harness replay results/latest
  harness replay results/latest --times 20
  harness replay results/latest --shrink      leave out faults as long as it still fails

The exit code is that of the runs together: 1 if one was invalid.";

/// `harness replay`.
#[derive(Clone, Debug, Args)]
pub struct Replay {
    /// The run's directory, for example results/latest
    #[arg(value_name = "RESULT-DIR")]
    pub directory: PathBuf,
    /// How often; with --shrink: how often fewer faults are tried before they are taken for too few
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub times: u64,
    /// Leave out faults as long as the run still fails in the same way
    #[arg(long)]
    pub shrink: bool,
    /// The most runs of --shrink
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub runs_max: u64,
    /// The raftd to test [default: the one that the run tested]
    #[arg(long, value_name = "PATH")]
    pub raftd: Option<PathBuf>,
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
}
