//! One run: what it says of the build that it tries.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use history_checker::results::{Check, Verdict};
use serde::Deserialize;
use tokio::sync::watch;

use super::child::{Child, Ended};
use super::museum::{Run, Sim};
use crate::cluster::logs::last_lines;
use crate::exit::Exit;
use crate::nemesis::Moment;
use crate::store;

/// How much longer than its time limit a run may take: for recovery, final reads, and checking.
const AFTERWARDS_MAX: Duration = Duration::from_mins(4);

/// Most time for a simulation.
const SIM_DEADLINE: Duration = Duration::from_mins(30);

/// How much of the evidence is kept, bytes.
const EVIDENCE_BYTES_MAX: usize = 300;

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Something is wrong with this build.
    Found(Finding),
    /// Nothing was seen; what the run itself says.
    Missed(String),
    /// The bench failed.
    Failed(String),
    /// The user wants the command to end.
    Interrupted,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    /// Which checks saw it: `nodes: panic, linearizable: stale read`.
    pub(super) by: String,
    /// In one sentence.
    pub(super) evidence: String,
    /// From the start of the run until it was seen.
    pub(super) seconds: f64,
}

/// A run on real processes.
#[derive(Clone, Debug)]
pub(super) struct RealTrial {
    /// What to run.
    pub(super) run: Run,
    /// With this daemon.
    pub(super) raftd: PathBuf,
    /// Seed of every random choice.
    pub(super) seed: u64,
    /// Where it may leave what it leaves; created.
    pub(super) directory: PathBuf,
    /// The checkout, from which paths of scenarios are.
    pub(super) root: PathBuf,
}

/// A run of the simulator.
#[derive(Clone, Debug)]
pub(super) struct SimTrial {
    /// What to run.
    pub(super) sim: Sim,
    /// The bench that was built with the core under test.
    pub(super) harness: PathBuf,
    /// The first seed.
    pub(super) first: u64,
    /// Seeds at the same time; otherwise one for each core.
    pub(super) jobs: Option<usize>,
    /// Where it may leave what it leaves; created.
    pub(super) directory: PathBuf,
}

impl RealTrial {
    /// Runs it.
    pub(super) async fn go(&self, interrupted: &watch::Receiver<bool>) -> anyhow::Result<Outcome> {
        let own = std::env::current_exe().context("cannot find the harness's own executable")?;
        let log = prepare(&self.directory)?;
        let mut args = words(&self.run, self.seed);
        args.push("--fail-fast".into());
        args.extend(["--raftd".into(), self.raftd.clone().into_os_string()]);
        args.extend(["--results".into(), self.directory.clone().into_os_string()]);
        let args: Vec<&OsStr> = args.iter().map(OsString::as_os_str).collect();
        let start = Instant::now();
        let child = Child::spawn(own.as_os_str(), &args, &log, |command| {
            command.current_dir(&self.root);
        })?;
        let deadline = self.run.time_limit + AFTERWARDS_MAX;
        let status = match child.ended(deadline, interrupted).await? {
            Ended::Exit(status) => status,
            Ended::Late => return Ok(Outcome::Failed("the run does not end".to_owned())),
            Ended::Interrupted => return Ok(Outcome::Interrupted),
        };
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        let took = start.elapsed();
        if [Exit::Valid, Exit::Invalid, Exit::Unknown].map(|exit| Some(exit.code())).contains(&code)
        {
            let results = self.directory.join("latest").join(store::RESULTS);
            let text =
                fs::read(&results).with_context(|| format!("cannot read {}", results.display()))?;
            let results: Results = serde_json::from_slice(&text)
                .with_context(|| format!("cannot make sense of {}", results.display()))?;
            return Ok(results.outcome(self.run.time_limit, took));
        }
        Ok(Outcome::Failed(last_lines(&log)))
    }
}

/// The words of `harness run` for it, without those that say where things are.
pub(super) fn words(run: &Run, seed: u64) -> Vec<OsString> {
    let limit = humantime::format_duration(run.time_limit).to_string().replace(' ', "");
    let mut words = vec!["run".to_owned(), run.workload.clone(), "--time-limit".to_owned(), limit];
    let mut flag = |name: &str, value: Option<String>| {
        words.extend(value.map(|value| [name.to_owned(), value]).into_iter().flatten());
    };
    flag("--nodes", run.nodes.map(|nodes| nodes.to_string()));
    flag("--clients", run.clients.map(|clients| clients.to_string()));
    flag("--rate", run.rate.map(|rate| rate.to_string()));
    flag("--faults", run.faults.as_ref().map(|kinds| kinds.join(",")));
    let moments = |at: &Vec<Moment>| at.iter().map(|moment| moment.name()).collect::<Vec<_>>();
    flag("--at", run.at.as_ref().map(|at| moments(at).join(",")));
    flag("--seed", Some(seed.to_string()));
    words.into_iter().map(OsString::from).collect()
}

/// What `results.json` has to say here.
#[derive(Debug, Deserialize)]
struct Results {
    verdict: Verdict,
    headline: String,
    checks: Vec<Check>,
    phases: Vec<Stage>,
}

#[derive(Debug, Deserialize)]
struct Stage {
    phase: String,
    /// Nanoseconds since the run began.
    time: u64,
}

impl Results {
    fn outcome(&self, time_limit: Duration, took: Duration) -> Outcome {
        let phase = |name: &str| {
            let stage = self.phases.iter().find(|stage| stage.phase == name)?;
            Some(Duration::from_nanos(stage.time))
        };
        let not_recovered = phase("not-recovered");
        if self.verdict != Verdict::Invalid && not_recovered.is_none() {
            return Outcome::Missed(self.headline.clone());
        }
        let mut by: Vec<String> = self
            .checks
            .iter()
            .filter(|check| check.verdict == Verdict::Invalid)
            .map(|check| match check.violations.first() {
                Some(violation) => format!("{}: {}", check.name, violation.class),
                None => check.name.clone(),
            })
            .collect();
        let explained = self.checks.iter().flat_map(|check| &check.violations).next();
        let evidence = explained.map_or(self.headline.as_str(), |found| found.explanation.as_str());
        if not_recovered.is_some() {
            by.push("availability".to_owned());
        }
        // A run that was cut short was so because of what it had seen.
        let seen = phase("heal").filter(|&heal| heal < time_limit);
        let seen = seen.or(not_recovered.filter(|_| self.verdict != Verdict::Invalid));
        Outcome::Found(Finding {
            by: by.join(", "),
            evidence: excerpt(evidence),
            seconds: seen.unwrap_or(took).as_secs_f64(),
        })
    }
}

impl SimTrial {
    /// Runs it.
    pub(super) async fn go(&self, interrupted: &watch::Receiver<bool>) -> anyhow::Result<Outcome> {
        let log = prepare(&self.directory)?;
        let end = self.first.saturating_add(self.sim.seeds);
        let mut words = vec!["sim".to_owned(), "--no-shrink".to_owned()];
        words.extend(["--seeds".to_owned(), format!("{}..{end}", self.first)]);
        let mut flag = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| [name.to_owned(), value]).into_iter().flatten());
        };
        flag("--nodes", self.sim.nodes.map(|nodes| nodes.to_string()));
        flag("--workload", self.sim.workload.clone());
        flag("--jobs", self.jobs.map(|jobs| jobs.to_string()));
        let args: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        let start = Instant::now();
        let child = Child::spawn(self.harness.as_os_str(), &args, &log, |_| {})?;
        let status = match child.ended(SIM_DEADLINE, interrupted).await? {
            Ended::Exit(status) => status,
            Ended::Late => return Ok(Outcome::Failed("the simulation does not end".to_owned())),
            Ended::Interrupted => return Ok(Outcome::Interrupted),
        };
        let text = fs::read_to_string(&log).unwrap_or_default();
        let code = |exit: Exit| Some(i32::from(exit.code()));
        Ok(match status.code() {
            code_is if code_is == code(Exit::Invalid) => {
                let (by, evidence) = violation(&text);
                Outcome::Found(Finding { by, evidence, seconds: start.elapsed().as_secs_f64() })
            }
            code_is if code_is == code(Exit::Valid) || code_is == code(Exit::Unknown) => {
                Outcome::Missed(format!("nothing in {} seeds", self.sim.seeds))
            }
            _ => Outcome::Failed(last_lines(&log)),
        })
    }
}

/// Which promise the simulator saw broken, and how.
fn violation(text: &str) -> (String, String) {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("INVALID: seed ")).skip(1);
    let line = lines.find(|line| !line.is_empty()).unwrap_or("it does not say what");
    let promise = if line.starts_with("no panic at ") {
        "a node stops itself"
    } else {
        line.split_once(": ").map_or(line, |(promise, _)| promise)
    };
    (promise.to_owned(), excerpt(line))
}

fn excerpt(text: &str) -> String {
    let end = text.floor_char_boundary(EVIDENCE_BYTES_MAX);
    let cut = if end < text.len() { " …" } else { "" };
    text[..end].replace('\n', " ") + cut
}

/// A new directory, and where the run's output goes in it.
fn prepare(directory: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory.join("output"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results(verdict: &str, checks: &serde_json::Value, phases: &[(&str, u64)]) -> Results {
        let phases: Vec<_> = phases
            .iter()
            .map(|(phase, seconds)| json!({"phase": phase, "time": seconds * 1_000_000_000}))
            .collect();
        let text = json!({"verdict": verdict, "headline": "h", "checks": checks, "phases": phases});
        serde_json::from_value(text).unwrap()
    }

    const LIMIT: Duration = Duration::from_secs(20);
    const TOOK: Duration = Duration::from_secs(29);

    #[test]
    fn outcome_of_a_run_that_was_cut_short_is_timed_by_that() {
        let violation =
            json!({"class": "panic", "explanation": "n1 stopped.", "events": [], "time": 1});
        let check = json!([{"name": "nodes", "verdict": "invalid", "summary": "s", "violations": [violation]}]);
        let found = |phases: &[_]| results("invalid", &check, phases).outcome(LIMIT, TOOK);
        let (by, evidence) = ("nodes: panic".to_owned(), "n1 stopped.".to_owned());
        let expected = Finding { by, evidence, seconds: 3.0 };
        assert_eq!(found(&[("clean", 0), ("heal", 3)]), Outcome::Found(expected.clone()));
        let late = Finding { seconds: 29.0, ..expected };
        assert_eq!(found(&[("clean", 0), ("heal", 20)]), Outcome::Found(late));
    }

    #[test]
    fn outcome_of_a_cluster_that_does_not_serve_again_is_a_finding() {
        let phases = [("clean", 0), ("heal", 20), ("not-recovered", 50)];
        let outcome = results("unknown", &json!([]), &phases).outcome(LIMIT, TOOK);
        let Outcome::Found(finding) = outcome else { panic!("{outcome:?}") };
        assert_eq!((finding.by.as_str(), finding.seconds), ("availability", 50.0));
        let nothing = results("unknown", &json!([]), &[("heal", 20)]).outcome(LIMIT, TOOK);
        assert_eq!(nothing, Outcome::Missed("h".to_owned()));
    }

    #[test]
    fn violation_of_the_simulator_is_told_apart_from_a_panic() {
        let text = "seeds 0..9\nINVALID: seed 7\n\nlog matching: n1 and n2\n\nReproduce with:\n";
        assert_eq!(violation(text), ("log matching".into(), "log matching: n1 and n2".into()));
        let text = "INVALID: seed 7\n\nno panic at raftd/core/src/node.rs:3:1: term falls\n";
        assert_eq!(violation(text).0, "a node stops itself");
    }
}
