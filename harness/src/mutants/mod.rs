//! The museum of seeded bugs: `harness mutants` puts each into a copy of the source, builds it, and looks for it. What
//! it does not find, the bench does not see.
//!
//! | module | what |
//! |---|---|
//! | [`args`] | the command line |
//! | [`museum`] | the bugs: `harness/mutants/*.patch` and `*.toml` |
//! | `workshop.rs`, `child.rs` | the copy of the source and its builds; programs that end with this one |
//! | `trial.rs` | one run, and what it says of the build |
//! | `ledger.rs`, `page.rs` | what was measured, and the page that tells of it |

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::args::Mutants;
use self::ledger::{Ledger, Measured};
use self::museum::{CLEAN, Expected, Exposure, Mutant, Run, Sim};
use self::trial::{Outcome, RealTrial, SimTrial};
use self::workshop::{Built, Product, Workshop};
use crate::exit::Exit;
use crate::progress::spinner;
use crate::terminal;

pub mod args;
mod child;
mod ledger;
pub mod museum;
mod page;
mod trial;
mod workshop;

/// Fewest runs of each bug on real processes, and in the simulator: there one run is thousands of schedules.
const RUNS: u32 = 3;
const SIM_RUNS: u32 = 1;

/// How many patches are compiled by `--check`.
const CHECK_SAMPLE: u32 = 5;

/// Random seeds are below this, so that they are easily typed.
const RANDOM_SEEDS: u128 = 1_000_000;

/// What a command line asks for.
#[derive(Debug)]
pub struct Campaign<'a> {
    args: &'a Mutants,
    root: PathBuf,
    /// All there are, for the page.
    all: Vec<Mutant>,
    chosen: Vec<Mutant>,
    with_clean: bool,
    seed: u64,
}

/// What is being looked for, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Search {
    Real(Run),
    Sim(Sim),
}

/// What the command has to tell at its end.
#[derive(Debug)]
struct Report {
    ledger: Ledger,
    rows: Vec<[String; 5]>,
    exit: Exit,
}

impl<'a> Campaign<'a> {
    /// Makes sense of a command line. An error is the user's, or that of a TOML.
    pub fn new(args: &'a Mutants) -> anyhow::Result<Campaign<'a>> {
        let root = workshop::find_checkout()?;
        let all = Mutant::all(&root)?;
        let seed = args.seed.unwrap_or_else(random_seed);
        let (mut chosen, with_clean) = museum::select(all.clone(), &args.names)?;
        if let Some(sample) = args.sample.or(args.check.then_some(CHECK_SAMPLE)) {
            // A sample of what may not be found would say nothing if it is not.
            let ledger = Ledger::read(&root.join("results").join(ledger::FILE))?;
            let is_sure = |mutant: &Mutant| {
                args.how(mutant).is_some() && ledger.is_sure(&mutant.name, args.sim)
            };
            chosen.retain(|mutant| args.check || is_sure(mutant));
            chosen.shuffle(&mut StdRng::seed_from_u64(seed));
            chosen.truncate(usize::try_from(sample).unwrap_or(usize::MAX));
        }
        Ok(Campaign { args, root, all, chosen, with_clean, seed })
    }

    /// Does it. `interrupted` turns true when the user wants it to end.
    pub async fn run(&self, interrupted: &watch::Receiver<bool>) -> anyhow::Result<Exit> {
        let workshop = Workshop::open(&self.root)?;
        terminal::note(format!("seed {}", self.seed));
        let outcome = if self.args.check {
            self.check(&workshop, interrupted).await
        } else {
            self.search(&workshop, interrupted).await
        };
        // Whatever happened, the copy is left as the checkout is.
        let restored = workshop.restore().and_then(|()| workshop.clear_runs());
        let exit = outcome?;
        restored?;
        Ok(if *interrupted.borrow() { exit.merge(Exit::Unknown) } else { exit })
    }

    /// `--check`: all apply, and those chosen compile.
    async fn check(
        &self,
        workshop: &Workshop,
        interrupted: &watch::Receiver<bool>,
    ) -> anyhow::Result<Exit> {
        let mut exit = Exit::Valid;
        let mut complain = |error: &anyhow::Error| {
            terminal::note(format!("error: {error:#}"));
            exit = Exit::Harness;
        };
        for mutant in &self.all {
            if let Err(error) = workshop.apply(&mutant.patch, true).await {
                complain(&error);
            }
        }
        for mutant in &self.chosen {
            let built = self.build(workshop, Some(mutant), Product::Check, interrupted).await;
            match built {
                Ok(Built::Ready(_)) => terminal::note(format!("{} compiles", mutant.name)),
                Ok(Built::Interrupted) => return Ok(Exit::Unknown),
                Ok(Built::Failed(why)) => {
                    complain(&anyhow::anyhow!("{} does not compile:\n{why}", mutant.name));
                }
                Err(error) => complain(&error),
            }
        }
        let (all, some) = (self.all.len(), self.chosen.len());
        if exit == Exit::Valid {
            terminal::print(|out| {
                writeln!(
                    out,
                    "{all} patches apply; {some} of them were compiled (seed {})",
                    self.seed
                )
            })?;
        }
        Ok(exit)
    }

    async fn search(
        &self,
        workshop: &Workshop,
        interrupted: &watch::Receiver<bool>,
    ) -> anyhow::Result<Exit> {
        let results = self.root.join("results");
        let path = results.join(ledger::FILE);
        let mut report =
            Report { ledger: Ledger::read(&path)?, rows: Vec::new(), exit: Exit::Valid };
        let stamp = (day(), commit(&self.root).await);
        if self.with_clean {
            self.search_clean(workshop, &stamp, &mut report, interrupted).await?;
        }
        for mutant in &self.chosen {
            if *interrupted.borrow() {
                break;
            }
            self.search_one(workshop, mutant, &stamp, &mut report, interrupted).await?;
            if !self.args.no_record {
                self.keep(&results, &report.ledger)?;
            }
        }
        if !self.args.no_record {
            self.keep(&results, &report.ledger)?;
        }
        terminal::print(|out| page::print(out, &report.rows))?;
        Ok(report.exit)
    }

    /// Looks for what is not there.
    async fn search_clean(
        &self,
        workshop: &Workshop,
        stamp: &(String, String),
        report: &mut Report,
        interrupted: &watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let chosen = if self.chosen.is_empty() { &self.all } else { &self.chosen };
        // What differs by its length only is the same; the longest one counts.
        let mut searches: BTreeMap<String, Search> = BTreeMap::new();
        for search in chosen.iter().filter_map(|mutant| self.args.how(mutant)) {
            let longest = searches.entry(search.words()).or_insert_with(|| search.clone());
            if search.length() > longest.length() {
                *longest = search;
            }
        }
        let build = self.build(workshop, None, self.product(), interrupted).await?;
        let executable = match build {
            Built::Ready(executable) => executable,
            Built::Failed(why) => anyhow::bail!("the source does not build:\n{why}"),
            Built::Interrupted => return Ok(()),
        };
        for (words, search) in searches {
            let least = self.args.runs.unwrap_or(1);
            let outcomes = self
                .runs(workshop, CLEAN, &search, &executable, (least, least), interrupted)
                .await?;
            let measured = Measured::new(&stamp.0, &stamp.1, self.seed, &outcomes);
            let remark = if measured.found > 0 { "MUST NOT BE FOUND" } else { "" };
            if measured.found > 0 {
                report.exit = report.exit.merge(Exit::Invalid);
            }
            report.tell(&format!("{CLEAN}: {words}"), &measured, &outcomes, remark);
            if *interrupted.borrow() {
                return Ok(());
            }
            let kept = match search {
                Search::Real(_) => &mut report.ledger.clean_real,
                Search::Sim(_) => &mut report.ledger.clean_sim,
            };
            kept.insert(words, measured);
        }
        Ok(())
    }

    async fn search_one(
        &self,
        workshop: &Workshop,
        mutant: &Mutant,
        stamp: &(String, String),
        report: &mut Report,
        interrupted: &watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let Some(search) = self.args.how(mutant) else {
            // What was measured when it could be looked for is of no use any more.
            let kept = if self.args.sim { &mut report.ledger.sim } else { &mut report.ledger.real };
            kept.remove(&mutant.name);
            return Ok(());
        };
        let built = self.build(workshop, Some(mutant), self.product(), interrupted).await;
        let failure = match built {
            Ok(Built::Ready(executable)) => {
                let budget = self.budget(&search);
                let outcomes = self
                    .runs(workshop, &mutant.name, &search, &executable, budget, interrupted)
                    .await?;
                if *interrupted.borrow() {
                    return Ok(());
                }
                report.judge(
                    mutant,
                    &search,
                    Measured::new(&stamp.0, &stamp.1, self.seed, &outcomes),
                    &outcomes,
                );
                return Ok(());
            }
            Ok(Built::Interrupted) => return Ok(()),
            Ok(Built::Failed(why)) => anyhow::anyhow!("{} does not build:\n{why}", mutant.name),
            Err(error) => error,
        };
        // The others can be looked for all the same.
        terminal::note(format!("error: {failure:#}"));
        report.exit = report.exit.merge(Exit::Harness);
        Ok(())
    }

    fn product(&self) -> Product {
        if self.args.sim { Product::Harness } else { Product::Raftd }
    }

    /// Fewest and most runs.
    fn budget(&self, search: &Search) -> (u32, u32) {
        let least = self.args.runs.unwrap_or(if self.args.sim { SIM_RUNS } else { RUNS });
        let most = match search {
            Search::Real(run) => run.runs.unwrap_or(least),
            Search::Sim(_) => least,
        };
        (least, most.max(least))
    }

    /// Builds the source with a bug, or without. The copy is clean before and after.
    async fn build(
        &self,
        workshop: &Workshop,
        mutant: Option<&Mutant>,
        product: Product,
        interrupted: &watch::Receiver<bool>,
    ) -> anyhow::Result<Built> {
        let name = mutant.map_or(CLEAN, |mutant| &mutant.name);
        let spinner = spinner(&format!("{name}: building"));
        let built = async {
            if let Some(mutant) = mutant {
                workshop.apply(&mutant.patch, false).await?;
            }
            workshop.build(product, interrupted).await
        };
        let built = built.await;
        spinner.finish_and_clear();
        workshop.restore()?;
        built
    }

    /// Runs a build until something was found, at least so often and at most so often.
    async fn runs(
        &self,
        workshop: &Workshop,
        name: &str,
        search: &Search,
        executable: &Path,
        (least, most): (u32, u32),
        interrupted: &watch::Receiver<bool>,
    ) -> anyhow::Result<Vec<Outcome>> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut begun = 0;
        let width = match search {
            Search::Real(_) => u32::try_from(self.args.jobs.unwrap_or(1)).unwrap_or(u32::MAX),
            Search::Sim(_) => 1,
        };
        let is_found = |outcome: &Outcome| matches!(outcome, Outcome::Found(_));
        while begun < least || begun < most && !outcomes.iter().any(is_found) {
            let goal = if begun < least { least } else { most };
            let spinner = spinner(&format!("{name}: run {} of {goal}", begun + 1));
            let mut side_by_side = JoinSet::new();
            let end = begun.saturating_add(width).min(goal);
            for number in begun..end {
                let trial = self.trial(workshop, name, search, executable, number);
                let interrupted = interrupted.clone();
                side_by_side.spawn(async move { trial.go(&interrupted).await });
            }
            begun = end;
            while let Some(outcome) = side_by_side.join_next().await {
                outcomes.push(outcome.context("a run cannot be waited for")??);
            }
            spinner.finish_and_clear();
            workshop.clear_runs()?;
            if *interrupted.borrow() {
                break;
            }
        }
        Ok(outcomes)
    }

    fn trial(
        &self,
        workshop: &Workshop,
        name: &str,
        search: &Search,
        executable: &Path,
        number: u32,
    ) -> Trial {
        let directory = workshop.runs().join(format!("{name}-{number}"));
        match search.clone() {
            Search::Real(run) => Trial::Real(RealTrial {
                run,
                raftd: executable.to_owned(),
                seed: self.seed.saturating_add(number.into()),
                directory,
                root: self.root.clone(),
            }),
            Search::Sim(sim) => Trial::Sim(SimTrial {
                first: self.seed.saturating_add(sim.seeds.saturating_mul(number.into())),
                sim,
                harness: executable.to_owned(),
                jobs: self.args.jobs,
                directory,
            }),
        }
    }

    /// Writes what was measured, and the page that tells of it.
    fn keep(&self, results: &Path, ledger: &Ledger) -> anyhow::Result<()> {
        let page = page::page(&self.all, ledger);
        for (name, content) in [(ledger::FILE, ledger.to_json()?), (page::FILE, page.into_bytes())]
        {
            let path = results.join(name);
            let temporary = results.join(format!("{name}.new"));
            fs::write(&temporary, content)
                .and_then(|()| fs::rename(&temporary, &path))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Mutants {
    /// How this command looks for a bug; `None`: it cannot be found in this way.
    fn how(&self, mutant: &Mutant) -> Option<Search> {
        if self.sim {
            let Exposure::How(sim) = &mutant.about.sim else { return None };
            return Some(Search::Sim(sim.clone()));
        }
        let Exposure::How(run) = &mutant.about.run else { return None };
        let time_limit = self.time_limit.unwrap_or(run.time_limit);
        Some(Search::Real(Run { time_limit, ..run.clone() }))
    }
}

/// A run of either sort.
enum Trial {
    Real(RealTrial),
    Sim(SimTrial),
}

impl Trial {
    async fn go(&self, interrupted: &watch::Receiver<bool>) -> anyhow::Result<Outcome> {
        match self {
            Trial::Real(trial) => trial.go(interrupted).await,
            Trial::Sim(trial) => trial.go(interrupted).await,
        }
    }
}

impl Search {
    /// What is run, without its length.
    fn words(&self) -> String {
        match self {
            Search::Real(Run { workload, nodes, clients, rate, faults, .. }) => {
                let mut words = vec![workload.clone()];
                let mut say = |name: &str, value: Option<String>| {
                    words.extend(value.map(|value| format!("--{name} {value}")));
                };
                say("nodes", nodes.map(|nodes| nodes.to_string()));
                say("clients", clients.map(|clients| clients.to_string()));
                say("rate", rate.map(|rate| rate.to_string()));
                say("faults", faults.as_ref().map(|kinds| kinds.join(",")));
                words.join(" ")
            }
            Search::Sim(Sim { nodes, workload, .. }) => {
                let nodes = nodes.map_or_else(String::new, |nodes| format!(" --nodes {nodes}"));
                let workload = workload.as_ref().map(|name| format!(" --workload {name}"));
                format!("sim{nodes}{}", workload.unwrap_or_default())
            }
        }
    }

    fn length(&self) -> Duration {
        match self {
            Search::Real(run) => run.time_limit,
            Search::Sim(sim) => Duration::from_secs(sim.seeds),
        }
    }

    fn expected(&self) -> Expected {
        match self {
            Search::Real(run) => run.expected,
            Search::Sim(sim) => sim.expected,
        }
    }
}

impl Report {
    /// Takes down what came of a bug.
    fn judge(
        &mut self,
        mutant: &Mutant,
        search: &Search,
        measured: Measured,
        outcomes: &[Outcome],
    ) {
        let failed = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(_)));
        let remark = match (search.expected(), measured.found > 0) {
            (Expected::Found, true) | (Expected::NotFound, false) => "",
            (Expected::Found, false) if failed => "the bench failed",
            (Expected::Found, false) => "NOT FOUND",
            (Expected::NotFound, true) => "found after all: its TOML does not expect it",
        };
        if measured.found == 0 && search.expected() == Expected::Found {
            self.exit = self.exit.merge(if failed { Exit::Harness } else { Exit::Invalid });
        }
        self.tell(&mutant.name, &measured, outcomes, remark);
        let kept = match search {
            Search::Real(_) => &mut self.ledger.real,
            Search::Sim(_) => &mut self.ledger.sim,
        };
        if measured.runs > 0 {
            kept.insert(mutant.name.clone(), measured);
        }
    }

    /// Says at once what came of some runs, and keeps it for the matrix.
    fn tell(&mut self, name: &str, measured: &Measured, outcomes: &[Outcome], remark: &str) {
        let Measured { runs, found, seconds, by, evidence, .. } = measured;
        let seconds = seconds.map_or_else(String::new, |seconds| format!("{seconds:.1}"));
        let found = format!("{found} of {runs}");
        let sentence = if evidence.is_empty() { String::new() } else { format!(": {evidence}") };
        terminal::note(format!("{name}: {found} {remark} {by}{sentence}").replace("  ", " "));
        for outcome in outcomes {
            if let Outcome::Failed(why) = outcome {
                terminal::note(format!("error: a run of {name} failed: {why}"));
                self.exit = self.exit.merge(Exit::Harness);
            }
        }
        self.rows.push([name.to_owned(), found, seconds, by.clone(), remark.to_owned()]);
    }
}

/// `2026-11-26`.
fn day() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

/// The checkout's commit, with a `+` if what is built differs from it.
async fn commit(root: &Path) -> String {
    let git = async |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(root).output().await.ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    };
    let Some(commit) = git(&["rev-parse", "--short=10", "HEAD"]).await else {
        return "unknown".to_owned();
    };
    let sources = ["status", "--porcelain", "--", "raftd", "raftctl", "harness", "workloads"];
    let is_changed = git(&sources).await.is_none_or(|changes| !changes.is_empty());
    if is_changed { commit + "+" } else { commit }
}

fn random_seed() -> u64 {
    let since_1970 =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_1970.as_micros() % RANDOM_SEEDS).unwrap_or(0)
}
