//! One run of a series.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Instant, SystemTime};

use anyhow::Context;
use history_checker::results::Verdict;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Suite;
use super::conclude::{Concluded, conclude};
use super::table::{Ran, canary_note, ran};
use crate::canary::sighting;
use crate::nemesis::{Kind, Moment};
use crate::report::RunSummary;
use crate::runner::{self, Plan};
use crate::scenario::{self, Scenario};
use crate::store::{self, RunDirectory};
use crate::{cli, terminal};

/// Kinds of fault that are named at the start of a run; of more there is only the number.
const FAULTS_NAMED_MAX: usize = 4;

/// What is run.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// The workload, with the command line's changes.
    pub(super) scenario: Scenario,
    pub(super) seed: u64,
}

impl Suite<'_> {
    /// One run and its verdict. An error is one of storing anything at all.
    pub(super) async fn one(
        &self,
        case: &Case,
        versions: &BTreeMap<String, String>,
        interrupted: &watch::Receiver<bool>,
    ) -> anyhow::Result<Ran> {
        let begun = Instant::now();
        let now = SystemTime::now();
        let Case { scenario, seed } = case;
        let directory = RunDirectory::create(&self.args.results, &scenario.name, *seed, now)?;
        let plan = Plan {
            scenario: scenario.clone(),
            seed: *seed,
            time_limit: self.args.time_limit,
            builds: self.builds.clone(),
            network: self.args.backend.into(),
            fail_fast: self.args.fail_fast,
            replayed: None,
            circumstances: self.circumstances(case, versions, now),
        };
        announce(&plan, &directory);
        let outcome = runner::run(&plan, &directory, interrupted).await;
        let mut outcome = conclude(outcome, &directory, interrupted).await;
        let printed = terminal::print(|out| {
            self.print(out, case, &directory, &outcome, *interrupted.borrow())
        });
        if let Ok(concluded) = &mut outcome {
            concluded.note_failure(printed.context("cannot print"));
        }
        let failure = outcome.as_ref().ok().and_then(|concluded| concluded.failure.clone());
        let summary = RunSummary {
            workload: scenario.name.clone(),
            seed: *seed,
            dir: directory.path,
            must_be_rejected: scenario.expected == Verdict::Invalid,
            took: begun.elapsed(),
            outcome: outcome
                .map(|concluded| concluded.record.results)
                .map_err(|error| format!("{error:#}")),
            failure,
        };
        Ok(ran(summary, self.is_series, *interrupted.borrow()))
    }

    fn circumstances(
        &self,
        case: &Case,
        versions: &BTreeMap<String, String>,
        now: SystemTime,
    ) -> BTreeMap<String, Value> {
        let scenario = &case.scenario;
        let kinds: Vec<_> = scenario.faults().map(Kind::name).collect();
        let command: Vec<String> = std::env::args().collect();
        let entries = [
            ("started", json!(humantime::format_rfc3339_millis(now).to_string())),
            ("command", json!(command)),
            ("reproduce", json!(self.reproduce(case))),
            ("versions", json!(with_own(versions))),
            ("raftd", json!(self.builds.all)),
            ("raftd_of", json!(self.builds.of)),
            ("upgrade_to", json!(self.builds.upgrade)),
            ("hypothesis", json!(scenario.hypothesis)),
            ("scenario", json!(scenario.text)),
            ("clients", json!(scenario.clients)),
            ("rate", json!(scenario.rate)),
            ("at", json!(names(&scenario.at))),
            ("quorum_safe", json!(scenario.quorum_safe)),
            ("time_limit_ms", json!(self.args.time_limit.as_millis())),
            ("op_timeout_ms", json!(scenario.op_timeout.as_millis())),
            ("fault_kinds", json!(kinds)),
            ("backend", json!(backend_name(self.args.backend))),
        ];
        entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The words of a command that makes the same choices again.
    fn reproduce(&self, case: &Case) -> Vec<String> {
        let args = self.args;
        let mut words = vec![program(), "run".to_owned(), case.scenario.argument.clone()];
        let limit = humantime::format_duration(args.time_limit).to_string().replace(' ', "");
        words.extend([
            "--time-limit".to_owned(),
            limit,
            "--seed".to_owned(),
            case.seed.to_string(),
        ]);
        let mut flag = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| [name.to_owned(), value]).into_iter().flatten());
        };
        flag("--nodes", args.nodes.map(|n| n.to_string()));
        flag("--clients", args.clients.map(|n| n.to_string()));
        flag("--rate", args.rate.map(|n| n.to_string()));
        flag("--faults", args.faults.as_ref().map(|kinds| kinds.join(",")));
        flag("--at", args.at.as_ref().map(|moments| names(moments).join(",")));
        let backend = backend_name(args.backend);
        flag("--backend", (args.backend != cli::Backend::default()).then(|| backend.to_owned()));
        for daemon in &args.raftd {
            flag("--raftd", Some(daemon.to_string()));
        }
        flag("--upgrade-to", args.upgrade_to.as_ref().map(|path| path.display().to_string()));
        words.extend(args.quorum_safe.then(|| "--quorum-safe".to_owned()));
        words
    }

    fn print(
        &self,
        out: &mut impl Write,
        case: &Case,
        directory: &RunDirectory,
        outcome: &anyhow::Result<Concluded>,
        interrupted: bool,
    ) -> io::Result<()> {
        match outcome {
            Ok(concluded) => {
                terminal::verdict(out, &concluded.record)?;
                if case.scenario.expected == Verdict::Invalid {
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
        writeln!(out, " reproduce  {}", terminal::shell(&self.reproduce(case)))?;
        if outcome.as_ref().is_ok_and(|concluded| concluded.record.is_counterexample()) {
            let replay = [program(), "replay".to_owned(), directory.path.display().to_string()];
            writeln!(out, " replay     {}", terminal::shell(&replay))?;
        }
        writeln!(out)
    }
}

/// The versions, and the harness's own.
fn with_own(versions: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = ("harness".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    versions.clone().into_iter().chain([own]).collect()
}

fn names(moments: &[Moment]) -> Vec<&'static str> {
    moments.iter().copied().map(Moment::name).collect()
}

/// The harness as the user called it.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "harness".to_owned())
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

fn backend_name(backend: cli::Backend) -> &'static str {
    match backend {
        cli::Backend::Proxy => "proxy",
        cli::Backend::Netns => "netns",
    }
}
