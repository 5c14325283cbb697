//! `harness mutants`, as it is called.

use std::time::Duration;

use clap::Args;

/// What `--help` says after the options.
pub const AFTER_HELP: &str = "\
Each bug of the museum (harness/mutants/NAME.patch, with a NAME.toml that says
where it comes from, what it breaks and what exposes it) is put into a copy of
the source, built, and looked for: on real processes with the workload that
its TOML names, or with --sim by the simulator of the changed tree. The build
without any bug goes through the same, as `clean`: there nothing may be found.

  seconds   from the start of a run until the bug was seen: an operation that
            cannot be, a node that stopped itself, a term with two leaders, or
            a cluster that does not serve again; the median of the runs
  by        the checks that saw it

Run it in a checkout. The copy and its builds are in target/mutants, and the
matrix in results/TRACK-RECORD.md, which keeps what was measured before.

Examples:
  harness mutants                        all of them, on real processes
  harness mutants --sim                  all of them, in the simulator
  harness mutants reads- --runs 5        those whose names begin so
  harness mutants --sample 3 --no-record a few, drawn by chance, as CI does
  harness mutants --check                do all still apply, and some compile?

Exit codes:
  0   all were found (but those of which the TOML says that they cannot be),
      and nothing was found in the clean build
  1   some were not found, or something was found in the clean build
  2   interrupted
  3   the harness itself failed: a patch that does not apply, a build
  64  wrong usage; nothing was run";

/// `harness mutants`.
#[derive(Clone, Debug, Args)]
pub struct Mutants {
    /// Bugs by name or by the beginning of their names, and `clean` for the build without [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Look for them in the simulator, not on real processes
    #[arg(long)]
    pub sim: bool,
    /// Only see whether all patches apply, and whether a few of them, drawn by chance, compile
    #[arg(long, conflicts_with_all = ["sim", "runs", "time_limit", "jobs"])]
    pub check: bool,
    /// Fewest runs of each; if none finds it, more are made, as many as its TOML allows [default: 3, with --sim 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub runs: Option<u32>,
    /// How long traffic and faults go on in each run [default: as the bug's TOML says]
    #[arg(long, value_name = "TIME", value_parser = crate::cli::duration)]
    pub time_limit: Option<Duration>,
    /// Only so many of those that were found every time so far, drawn by the seed [default: all; with --check, 5 of all are compiled]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: Option<u32>,
    /// Seed of the first run and of the sample [default: a random one, printed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Runs at the same time, or with --sim simulated seeds [default: 1; with --sim, one for each core]
    #[arg(long, value_name = "N", value_parser = crate::cli::jobs)]
    pub jobs: Option<usize>,
    /// Leave results/TRACK-RECORD.md as it is
    #[arg(long)]
    pub no_record: bool,
}
