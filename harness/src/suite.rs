//! `harness run`: one run after another, each with its verdict, and one exit code for all.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use history_checker::results::Verdict;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::canary::{Sighting, sighting};
use crate::cli;
use crate::cluster::{Network, netns};
use crate::exit::Exit;
use crate::judge::{Terms, judge};
use crate::nemesis::Kind;
use crate::progress::spinner;
use crate::record::Record;
use crate::report::{self, RunSummary};
use crate::runner::{self, Plan};
use crate::scenario::{self, Changes, Scenario, select_faults};
use crate::store::{self, RunDirectory};
use crate::{daemon, disk, terminal};

/// Seeds that nobody chose are below this, so that they are easily typed.
const RANDOM_SEEDS: u128 = 1_000_000;

/// Kinds of fault that are named at the start of a run; of more there is only the number.
const FAULTS_NAMED_MAX: usize = 4;

/// The runs that a command line asks for.
#[derive(Debug)]
pub struct Suite<'a> {
    args: &'a cli::Run,
    scenarios: Vec<Scenario>,
    raftd: PathBuf,
    seed: u64,
}

/// What came of one run whose history could be judged.
struct Concluded {
    record: Record,
    /// How the harness itself failed, if it did: that takes no verdict back, and must not vanish either.
    failure: Option<String>,
}

impl Concluded {
    /// Something failed that changes no verdict.
    fn note_failure(&mut self, outcome: anyhow::Result<()>) {
        if let Err(error) = outcome {
            terminal::note(format!("error: {error:#}"));
            self.failure.get_or_insert(format!("{error:#}"));
        }
    }
}

/// One run that is over.
struct Ran {
    exit: Exit,
    summary: RunSummary,
}

impl<'a> Suite<'a> {
    /// Makes sense of a command line. An error is the user's.
    pub fn new(args: &'a cli::Run) -> anyhow::Result<Suite<'a>> {
        let network = Network::from(args.backend);
        let changes = Changes {
            nodes: args.nodes,
            clients: args.clients,
            rate: args.rate,
            faults: args
                .faults
                .as_deref()
                .map(|words| possible_faults(words, network))
                .transpose()?,
        };
        let scenarios = Scenario::named(&args.workloads)?;
        let scenarios: Vec<_> =
            scenarios.into_iter().map(|scenario| scenario.with(&changes)).collect();
        for scenario in &scenarios {
            scenario.refuse_impossible(args.faults.as_deref().unwrap_or_default())?;
            refuse_without_proxy(scenario, network)?;
        }
        if let Some(scenario) = scenarios.iter().find(|scenario| scenario.needs_disks()) {
            let own =
                std::env::current_exe().context("cannot find the harness's own executable")?;
            disk::check(&own).with_context(|| format!("{} cannot be run", scenario.name))?;
        }
        let raftd = daemon::find(args.raftd.as_deref())?;
        if network == Network::Netns {
            netns::probe()?;
            // Before there are any threads: they would stay outside.
            netns::enter()?;
        }
        Ok(Suite { args, scenarios, raftd, seed: args.seed.unwrap_or_else(random_seed) })
    }

    /// Runs everything. `interrupted` turns true when the user wants it to end.
    pub async fn run(&self, interrupted: &watch::Receiver<bool>) -> Exit {
        let version = daemon::version(&self.raftd).await;
        let mut runs: Vec<Ran> = Vec::new();
        let mut exit = Exit::Valid;
        for scenario in &self.scenarios {
            match self.one(scenario, &version, interrupted).await {
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
        let left_out = self.scenarios.len() - runs.len();
        if left_out > 0 && *interrupted.borrow() {
            exit = exit.merge(Exit::Unknown);
        }
        exit.merge(self.sum_up(runs, left_out))
    }

    /// Tells of all runs together. Whatever fails here takes no verdict back.
    fn sum_up(&self, runs: Vec<Ran>, left_out: usize) -> Exit {
        let table = if self.scenarios.len() > 1 {
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

    /// One run and its verdict. An error is one of storing anything at all.
    async fn one(
        &self,
        scenario: &Scenario,
        version: &str,
        interrupted: &watch::Receiver<bool>,
    ) -> anyhow::Result<Ran> {
        let begun = Instant::now();
        let now = SystemTime::now();
        let directory = RunDirectory::create(&self.args.results, &scenario.name, self.seed, now)?;
        let plan = Plan {
            scenario: scenario.clone(),
            seed: self.seed,
            time_limit: self.args.time_limit,
            raftd: self.raftd.clone(),
            network: self.args.backend.into(),
            fail_fast: self.args.fail_fast,
            circumstances: self.circumstances(scenario, version, now),
        };
        announce(&plan, &directory);
        let ran = runner::run(&plan, &directory, interrupted).await;
        let mut outcome = conclude(ran, &directory, interrupted).await;
        let printed = terminal::print(|out| {
            self.print(out, scenario, &directory, &outcome, *interrupted.borrow())
        });
        let exit = match &mut outcome {
            Ok(concluded) => {
                concluded.note_failure(printed.context("cannot print"));
                self.exit(scenario, concluded, *interrupted.borrow())
            }
            Err(_) => Exit::Harness,
        };
        let failure = outcome.as_ref().ok().and_then(|concluded| concluded.failure.clone());
        let summary = RunSummary {
            workload: scenario.name.clone(),
            seed: self.seed,
            dir: directory.path,
            must_be_rejected: scenario.expected == Verdict::Invalid,
            took: begun.elapsed(),
            outcome: outcome
                .map(|concluded| concluded.record.results)
                .map_err(|error| format!("{error:#}")),
            failure,
        };
        Ok(Ran { exit, summary })
    }

    /// What a run's outcome means. A canary must be rejected, or the bench is blind; in a series that is what passes.
    fn exit(&self, scenario: &Scenario, concluded: &Concluded, interrupted: bool) -> Exit {
        let results = &concluded.record.results;
        let failed = concluded.failure.is_some();
        if scenario.expected == Verdict::Invalid {
            let in_series = self.scenarios.len() > 1;
            return canary_exit(sighting(results), in_series, failed, interrupted);
        }
        let failure = if failed { Exit::Harness } else { Exit::Valid };
        failure.merge(results.verdict.into())
    }

    fn circumstances(
        &self,
        scenario: &Scenario,
        version: &str,
        now: SystemTime,
    ) -> BTreeMap<String, Value> {
        let kinds: Vec<_> = scenario.faults().map(Kind::name).collect();
        let command: Vec<String> = std::env::args().collect();
        let entries = [
            ("started", json!(humantime::format_rfc3339_millis(now).to_string())),
            ("command", json!(command)),
            ("reproduce", json!(self.reproduce(scenario))),
            ("versions", json!({ "harness": env!("CARGO_PKG_VERSION"), "raftd": version })),
            ("raftd", json!(self.raftd)),
            ("hypothesis", json!(scenario.hypothesis)),
            ("clients", json!(scenario.clients)),
            ("rate", json!(scenario.rate)),
            ("time_limit_ms", json!(self.args.time_limit.as_millis())),
            ("op_timeout_ms", json!(scenario.op_timeout.as_millis())),
            ("fault_kinds", json!(kinds)),
            ("backend", json!(backend_name(self.args.backend))),
        ];
        entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The words of a command that makes the same choices again.
    fn reproduce(&self, scenario: &Scenario) -> Vec<String> {
        let args = self.args;
        let mut words = vec![program(), "run".to_owned(), scenario.argument.clone()];
        let limit = humantime::format_duration(args.time_limit).to_string().replace(' ', "");
        words.extend([
            "--time-limit".to_owned(),
            limit,
            "--seed".to_owned(),
            self.seed.to_string(),
        ]);
        let mut flag = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| [name.to_owned(), value]).into_iter().flatten());
        };
        flag("--nodes", args.nodes.map(|n| n.to_string()));
        flag("--clients", args.clients.map(|n| n.to_string()));
        flag("--rate", args.rate.map(|n| n.to_string()));
        flag("--faults", args.faults.as_ref().map(|kinds| kinds.join(",")));
        let backend = backend_name(args.backend);
        flag("--backend", (args.backend != cli::Backend::default()).then(|| backend.to_owned()));
        flag("--raftd", args.raftd.as_ref().map(|path| path.display().to_string()));
        words
    }

    fn print(
        &self,
        out: &mut impl Write,
        scenario: &Scenario,
        directory: &RunDirectory,
        outcome: &anyhow::Result<Concluded>,
        interrupted: bool,
    ) -> io::Result<()> {
        match outcome {
            Ok(concluded) => {
                terminal::verdict(out, &concluded.record)?;
                if scenario.expected == Verdict::Invalid {
                    let sighting = sighting(&concluded.record.results);
                    writeln!(out, "\n{}", canary_note(sighting, interrupted))?;
                }
            }
            Err(error) => writeln!(out, "\n{} {error:#}", terminal::failure_badge())?,
        }
        writeln!(out)?;
        let report = directory.file(store::REPORT);
        if report.exists() {
            writeln!(out, " report     {}", report.display())?;
        }
        let history = directory.file(store::HISTORY);
        if history.exists() {
            let check = [program(), "check".to_owned(), history.display().to_string()];
            writeln!(out, " check      {}", terminal::shell(&check))?;
        }
        writeln!(out, " reproduce  {}\n", terminal::shell(&self.reproduce(scenario)))
    }
}

fn backend_name(backend: cli::Backend) -> &'static str {
    match backend {
        cli::Backend::Proxy => "proxy",
        cli::Backend::Netns => "netns",
    }
}

/// What a command line's words for faults stand for with this network. Of words for several kinds, what it cannot do is
/// left out.
fn possible_faults(words: &[String], network: Network) -> anyhow::Result<Vec<Kind>> {
    for word in words {
        let kinds = Kind::select(word)?;
        if !kinds.is_empty() && !kinds.iter().any(|kind| kind.is_possible_with(network)) {
            bail!(
                "the backend netns cannot do the fault {word}: it is about single messages or connections, and the \
                 kernel sees packets only; use --backend proxy, or leave it out of --faults"
            );
        }
    }
    let mut kinds = select_faults(words)?;
    kinds.retain(|kind| kind.is_possible_with(network));
    Ok(kinds)
}

/// An error if a workload of its own accord has faults that this network cannot do.
fn refuse_without_proxy(scenario: &Scenario, network: Network) -> anyhow::Result<()> {
    let impossible: Vec<&str> =
        scenario.faults().filter(|kind| !kind.is_possible_with(network)).map(Kind::name).collect();
    if !impossible.is_empty() {
        bail!(
            "{} has faults that the backend netns cannot do, as the kernel sees packets only: {}; use --backend proxy, or \
             choose others with --faults",
            scenario.name,
            impossible.join(", ")
        );
    }
    Ok(())
}

/// What a canary's outcome means. An interruption excuses that nothing was decided, and nothing else.
fn canary_exit(sighting: Sighting, in_series: bool, failed: bool, interrupted: bool) -> Exit {
    match sighting {
        Sighting::Seen if failed => Exit::Harness,
        Sighting::Seen if in_series => Exit::Valid,
        Sighting::Bug | Sighting::Seen => Exit::Invalid,
        Sighting::Undecided if interrupted && !failed => Exit::Unknown,
        Sighting::Undecided | Sighting::Missed => Exit::Harness,
    }
}

fn canary_note(sighting: Sighting, interrupted: bool) -> &'static str {
    match sighting {
        Sighting::Seen => " This workload is a canary: it is right that it is rejected.",
        Sighting::Bug => {
            " This workload is a canary, but more is wrong than its stale reads: that is a bug."
        }
        Sighting::Undecided if interrupted => {
            " This workload is a canary; the run was too short to reject it."
        }
        Sighting::Undecided | Sighting::Missed => {
            " This workload is a canary and was not rejected: the bench is blind, and no other verdict can be trusted."
        }
    }
}

/// Makes everything that follows from a history: verdict, results, report.
///
/// If the harness itself failed, that is the outcome; but a counterexample that clients had seen by then stands, and so
/// does any verdict if it is only that its files cannot be written.
async fn conclude(
    ran: anyhow::Result<()>,
    directory: &RunDirectory,
    interrupted: &watch::Receiver<bool>,
) -> anyhow::Result<Concluded> {
    let spinner = spinner("checking the history");
    let judged = judge(&directory.file(store::HISTORY), &Terms::default(), interrupted).await;
    spinner.finish_and_clear();
    let (record, ran) = match (ran, judged) {
        (Err(error), Ok(record)) if record.is_counterexample() => (record, Err(error)),
        (Err(error), _) => return Err(error),
        (Ok(()), judged) => (judged?, Ok(())),
    };
    let mut concluded = Concluded { record, failure: None };
    concluded.note_failure(ran);
    let stored = keep(&concluded.record, directory);
    concluded.note_failure(stored);
    // A page that cannot be drawn changes no verdict.
    if let Err(error) = report::write(&directory.path) {
        terminal::note(format!("warning: there is no report: {:#}", anyhow::Error::new(error)));
    }
    Ok(concluded)
}

/// Writes what follows from a history.
fn keep(record: &Record, directory: &RunDirectory) -> anyhow::Result<()> {
    directory.write(store::RESULTS, &record.to_json()?)?;
    directory.write(store::SCHEDULE, &record.schedule_lines()?)?;
    if record.results.verdict == Verdict::Valid {
        remove_data(&directory.file(store::NODES))?;
    }
    Ok(())
}

/// Removes the nodes' data directories: nobody looks at those of a valid run, and they are large.
fn remove_data(nodes: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot tidy up {}", nodes.display());
    if !nodes.exists() {
        return Ok(());
    }
    for node in fs::read_dir(nodes).with_context(failed)? {
        let data = node.with_context(failed)?.path().join("data");
        if data.exists() {
            fs::remove_dir_all(&data).with_context(failed)?;
        }
    }
    Ok(())
}

fn announce(plan: &Plan, directory: &RunDirectory) {
    let scenario = &plan.scenario;
    let kinds: Vec<_> = scenario.faults().map(Kind::name).collect();
    let faults = match kinds.len() {
        0 => "no faults".to_owned(),
        1..=FAULTS_NAMED_MAX => kinds.join(", "),
        many => format!("{many} kinds of fault"),
    };
    terminal::note(format!(
        "{}: {}, {}, {}, {}, seed {} → {}",
        scenario.name,
        terminal::plural(scenario.nodes, "node"),
        terminal::plural(scenario.clients, "client"),
        humantime::format_duration(plan.time_limit),
        faults,
        plan.seed,
        directory.path.display()
    ));
    if plan.time_limit < scenario::EACH_FAULT_FROM && !kinds.is_empty() {
        terminal::note(format!(
            "note: not every kind of fault need bite in a run that is shorter than {}",
            humantime::format_duration(scenario::EACH_FAULT_FROM)
        ));
    }
}

/// One line a run, when there are several.
fn print_table(out: &mut impl Write, runs: &[Ran], left_out: usize) -> io::Result<()> {
    let mut table = terminal::table();
    for ran in runs {
        let summary = &ran.summary;
        let verdict = match &summary.outcome {
            Ok(results) => terminal::word(results.verdict),
            Err(_) => "harness failed",
        };
        let sighting =
            summary.outcome.as_ref().ok().filter(|_| summary.must_be_rejected).map(sighting);
        let as_expected = match (ran.exit, sighting) {
            (Exit::Valid, Some(_)) => "passed: a canary, rejected as it must be",
            (Exit::Valid, None) => "passed",
            (_, Some(Sighting::Bug)) => "a canary, but more is wrong than its stale reads",
            (Exit::Harness, Some(Sighting::Undecided | Sighting::Missed)) => {
                "a canary that was not rejected"
            }
            (Exit::Harness, _) if summary.failure.is_some() => "the harness failed",
            _ => "",
        };
        let ok = summary.outcome.as_ref().map_or(0, |results| results.counts.ok);
        let ok = format!("{} ok", indicatif::HumanCount(ok));
        let took = format!("{} s", summary.took.as_secs());
        table.add_row([&summary.workload, verdict, &ok, &took, as_expected]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    if left_out > 0 {
        writeln!(out, " {left_out} more not run")?;
    }
    Ok(())
}

/// The harness as the user called it.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "harness".to_owned())
}

fn random_seed() -> u64 {
    let since_1970 =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_1970.as_micros() % RANDOM_SEEDS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_exit_is_0_in_a_series_only_if_it_was_rejected_and_all_else_is_well() {
        let series =
            |sighting, failed, interrupted| canary_exit(sighting, true, failed, interrupted);
        assert_eq!(series(Sighting::Seen, false, false), Exit::Valid);
        assert_eq!(canary_exit(Sighting::Seen, false, false, false), Exit::Invalid, "alone");
        assert_eq!(series(Sighting::Seen, true, false), Exit::Harness, "a failure does not vanish");
        assert_eq!(series(Sighting::Bug, false, true), Exit::Invalid, "a bug is one");
        assert_eq!(series(Sighting::Undecided, false, true), Exit::Unknown, "cut short");
        assert_eq!(series(Sighting::Undecided, false, false), Exit::Harness);
        assert_eq!(series(Sighting::Missed, false, true), Exit::Harness, "no excuse");
    }
}
