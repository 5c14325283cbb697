//! `harness run`: one run after another, each with its verdict, and one exit code for all.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use tokio::sync::watch;

use self::case::Case;
use self::possible::{possible_faults, refuse_strangers, refuse_unavailable};
use crate::cluster::{Builds, Network, netns};
use crate::exit::Exit;
use crate::scenario::{Changes, Scenario};
use crate::{cli, daemon, report, terminal};

mod case;
mod conclude;
mod possible;
mod shard;
mod table;

pub(crate) use self::conclude::conclude;
pub use self::shard::Shard;
pub(crate) use self::shard::{SHARE_PREFIX, Share};
pub(crate) use self::table::{Ran, print_table, ran};

/// Seeds that nobody chose are below this, so that they are easily typed.
const RANDOM_SEEDS: u128 = 1_000_000;

/// The runs that a command line asks for.
#[derive(Debug)]
pub struct Suite<'a> {
    args: &'a cli::Run,
    cases: Vec<Case>,
    /// Whether there are several, here or on other machines.
    is_series: bool,
    builds: Builds,
}

impl<'a> Suite<'a> {
    /// Makes sense of a command line. An error is the user's.
    pub fn new(args: &'a cli::Run) -> anyhow::Result<Suite<'a>> {
        let network = Network::from(args.backend);
        let faults = args.faults.as_deref().map(|words| possible_faults(words, network));
        let changes = Changes {
            nodes: args.nodes,
            clients: args.clients,
            rate: args.rate,
            faults: faults.transpose()?,
            at: args.at.clone(),
            quorum_safe: args.quorum_safe,
        };
        let mut scenarios: Vec<Scenario> = Scenario::named(&args.workloads)?
            .into_iter()
            .map(|scenario| scenario.with(&changes))
            .collect();
        let is_all = args.workloads.iter().any(|name| name == "all");
        let mut refused = Vec::new();
        for scenario in &scenarios {
            scenario.refuse_impossible(args.faults.as_deref().unwrap_or_default())?;
            scenario.refuse_unsafe()?;
            match refuse_unavailable(scenario, network) {
                // Who asks for all there is wants to know what is left out, and have the rest.
                Err(why) if is_all => {
                    terminal::note(format!("{}: left out: {why:#}", scenario.name));
                    refused.push(scenario.name.clone());
                }
                outcome => outcome?,
            }
        }
        scenarios.retain(|scenario| !refused.contains(&scenario.name));
        if scenarios.is_empty() {
            bail!("no workload can be run here");
        }
        let all = cases(&scenarios, args);
        let is_series = all.len() > 1;
        let cases: Vec<Case> = match args.shard {
            Some(shard) => shard.of(all),
            None => all,
        };
        let builds = daemon::builds(&args.raftd, args.upgrade_to.as_deref())?;
        for scenario in &scenarios {
            refuse_strangers(scenario, &builds)?;
        }
        if network == Network::Netns {
            netns::probe()?;
            // Before there are any threads: they would stay outside.
            netns::enter()?;
        }
        Ok(Suite { args, cases, is_series, builds })
    }

    /// Runs everything. `interrupted` turns true when the user wants it to end.
    pub async fn run(&self, interrupted: &watch::Receiver<bool>) -> Exit {
        if let Some(shard) = self.args.shard {
            if self.cases.is_empty() {
                terminal::note(format!("note: there are too few runs for shard {shard}"));
            }
            let runs = self.cases.iter().map(|case| (case.scenario.name.clone(), case.seed));
            if let Err(error) = shard.note(&self.args.results, runs.collect()) {
                let results = self.args.results.display();
                terminal::note(format!("error: cannot write to {results}: {error}"));
                return Exit::Harness;
            }
        }
        let versions = daemon::versions(&self.builds).await;
        let mut runs: Vec<Ran> = Vec::new();
        let mut exit = Exit::Valid;
        for case in &self.cases {
            match self.one(case, &versions, interrupted).await {
                Ok(ran) => {
                    exit = exit.merge(ran.exit);
                    runs.push(ran);
                }
                Err(error) => {
                    terminal::note(format!("error: {error:#}"));
                    exit = exit.merge(Exit::Harness);
                    break;
                }
            }
            if *interrupted.borrow() || self.args.fail_fast && exit != Exit::Valid {
                break;
            }
        }
        let left_out = self.cases.len() - runs.len();
        if left_out > 0 && *interrupted.borrow() {
            exit = exit.merge(Exit::Unknown);
        }
        exit.merge(self.sum_up(runs, left_out))
    }

    /// Tells of all runs together. Whatever fails here takes no verdict back.
    fn sum_up(&self, runs: Vec<Ran>, left_out: usize) -> Exit {
        let table = if self.cases.len() > 1 {
            terminal::print(|out| print_table(out, &runs, left_out)).context("cannot print")
        } else {
            Ok(())
        };
        let junit = self.args.junit.as_ref().map_or(Ok(()), |path| {
            let summaries: Vec<_> = runs.into_iter().map(|ran| ran.summary).collect();
            report::junit(path, &summaries).context("there is no JUnit report")
        });
        table.and(junit).map_or_else(
            |error| {
                terminal::note(format!("error: {error:#}"));
                Exit::Harness
            },
            |()| Exit::Valid,
        )
    }
}

/// Every workload with every seed.
fn cases(scenarios: &[Scenario], args: &cli::Run) -> Vec<Case> {
    let seeds: Vec<u64> = match &args.seeds {
        Some(seeds) => seeds.clone().collect(),
        None => vec![args.seed.unwrap_or_else(random_seed)],
    };
    let case = |scenario: &Scenario, seed: u64| Case { scenario: scenario.clone(), seed };
    let of_seed = |seed: u64| scenarios.iter().map(move |scenario| case(scenario, seed));
    seeds.into_iter().flat_map(of_seed).collect()
}

fn random_seed() -> u64 {
    let since_1970 =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_1970.as_micros() % RANDOM_SEEDS).unwrap_or(0)
}
