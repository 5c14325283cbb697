//! `harness merge`: what several machines ran, as if one had.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use history_checker::results::Results;
use serde::Deserialize;

use crate::exit::Exit;
use crate::report::{self, RunSummary};
use crate::store;
use crate::suite::{Ran, SHARE_PREFIX, Share, print_table, ran};
use crate::terminal;

/// More shares than anybody has machines for.
const SHARES_MAX: usize = 10_000;

/// Ends `harness merge --help`.
pub const AFTER_HELP: &str = "\
Examples:
  harness run all --seeds 0..10 --shard 2/4 --results results-2      on the second of four machines
  harness merge results-1 results-2 results-3 results-4 --into results --junit junit.xml

The exit code is that of `harness run` for all runs together.";

/// `harness merge`.
#[derive(Clone, Debug, Args)]
pub struct Merge {
    /// Results directories of `harness run --shard`
    #[arg(value_name = "DIR", required = true)]
    pub directories: Vec<PathBuf>,
    /// Copy all runs into this results directory, too
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// Also write the verdicts as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// What of `results.json` is needed beside the verdict.
#[derive(Deserialize)]
struct Rest {
    workload: String,
    seed: u64,
    expected: Option<String>,
}

/// Sums up all runs in the directories.
pub fn execute(args: &Merge) -> anyhow::Result<Exit> {
    let mut directories = Vec::new();
    let mut shares = Vec::new();
    for results in &args.directories {
        directories.extend(runs_in(results)?);
        shares.extend(shares_in(results)?);
    }
    if directories.is_empty() && shares.is_empty() {
        bail!(
            "there is no run in {}: give directories that `harness run` wrote with --results",
            shown(&args.directories)
        );
    }
    if let Some(into) = &args.into {
        directories = copy_all(&directories, into)?;
    }
    let mut summaries: Vec<RunSummary> = directories.iter().map(|dir| summary(dir)).collect();
    let missing = missing(&shares, &summaries);
    summaries.extend(missing);
    let mut runs: Vec<Ran> =
        summaries.into_iter().map(|summary| ran(summary, true, false)).collect();
    runs.sort_by(|a, b| {
        (&a.summary.workload, a.summary.seed).cmp(&(&b.summary.workload, b.summary.seed))
    });
    let exit = runs.iter().fold(Exit::Valid, |exit, ran| exit.merge(ran.exit));
    terminal::print(|out| print_table(out, &runs, 0)).context("cannot print")?;
    if let Some(path) = &args.junit {
        let summaries: Vec<_> = runs.into_iter().map(|ran| ran.summary).collect();
        report::junit(path, &summaries).context("there is no JUnit report")?;
    }
    Ok(exit)
}

fn shown(directories: &[PathBuf]) -> String {
    directories.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The directories of single runs: `WORKLOAD/RUN` with a history in it. Links (`latest`) point to others of them.
fn runs_in(results: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut runs = Vec::new();
    for workload in subdirectories(results)? {
        let candidates = subdirectories(&workload)?;
        runs.extend(candidates.into_iter().filter(|run| run.join(store::HISTORY).exists()));
    }
    runs.sort();
    Ok(runs)
}

fn subdirectories(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failed = || format!("cannot read {}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        // What carries directories from machine to machine may have made a copy of what the link points to.
        let is_latest = entry.file_name() == "latest";
        if !is_latest && entry.file_type().with_context(failed)?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// What the machines were to run.
fn shares_in(results: &Path) -> anyhow::Result<Vec<Share>> {
    let mut shares = Vec::new();
    for entry in
        fs::read_dir(results).with_context(|| format!("cannot read {}", results.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(SHARE_PREFIX) {
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let share = serde_json::from_slice(&bytes);
            shares
                .push(share.with_context(|| format!("{} is no note of a shard", path.display()))?);
        }
    }
    Ok(shares)
}

/// Runs, and whole shares, that were to be and are not there: a machine that went down must not pass for one without faults.
fn missing(shares: &[Share], summaries: &[RunSummary]) -> Vec<RunSummary> {
    let mut missing = Vec::new();
    let is_there = |workload: &str, seed: u64| {
        summaries.iter().any(|run| run.workload == workload && run.seed == seed)
    };
    let shares_max = shares.iter().map(|share| share.of).max().unwrap_or(0);
    for share in 1..=shares_max.min(SHARES_MAX) {
        if !shares.iter().any(|other| other.number == share) {
            let name = format!("shard {share}/{shares_max}");
            missing.push(not_run(&name, 0, "nothing of this shard is in the directories given"));
        }
    }
    for (workload, seed) in shares.iter().flat_map(|share| &share.runs) {
        if !is_there(workload, *seed) {
            missing.push(not_run(
                workload,
                *seed,
                "was to be run, and is not in the directories given",
            ));
        }
    }
    missing
}

fn not_run(workload: &str, seed: u64, why: &str) -> RunSummary {
    RunSummary {
        workload: workload.to_owned(),
        seed,
        dir: PathBuf::new(),
        must_be_rejected: false,
        took: Duration::ZERO,
        outcome: Err(why.to_owned()),
        failure: None,
    }
}

/// What a run came to. Without results it is the harness that failed.
fn summary(dir: &Path) -> RunSummary {
    let path = dir.join(store::RESULTS);
    let read = fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    let parsed = read.and_then(|bytes| {
        let both = serde_json::from_slice::<Results>(&bytes)
            .and_then(|results| Ok((results, serde_json::from_slice::<Rest>(&bytes)?)));
        both.map_err(|error| format!("{} holds no results: {error}", path.display()))
    });
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned()
    };
    match parsed {
        Ok((results, rest)) => RunSummary {
            workload: rest.workload,
            seed: rest.seed,
            dir: dir.to_owned(),
            must_be_rejected: rest.expected.as_deref() == Some("invalid"),
            took: Duration::from_nanos(results.counts.duration),
            outcome: Ok(results),
            failure: None,
        },
        Err(why) => RunSummary {
            workload: name(dir.parent()),
            seed: 0,
            dir: dir.to_owned(),
            must_be_rejected: false,
            took: Duration::ZERO,
            outcome: Err(why),
            failure: None,
        },
    }
}

/// Copies runs into one results directory; returns where they are now. Nothing there is overwritten.
fn copy_all(runs: &[PathBuf], into: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut copies = Vec::new();
    for run in runs {
        let (Some(name), Some(workload)) =
            (run.file_name(), run.parent().and_then(Path::file_name))
        else {
            bail!("{} is no directory of a run", run.display());
        };
        let parent = into.join(workload);
        fs::create_dir_all(&parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        let copy = free(&parent, &name.to_string_lossy());
        copy_tree(run, &copy)
            .with_context(|| format!("cannot copy {} to {}", run.display(), copy.display()))?;
        copies.push(copy);
    }
    Ok(copies)
}

/// Two machines may have begun a run in the same second.
fn free(parent: &Path, name: &str) -> PathBuf {
    let names = std::iter::once(name.to_owned()).chain((2_u64..).map(|n| format!("{name}-{n}")));
    let mut paths = names.map(|name| parent.join(name));
    paths.find(|path| !path.exists()).unwrap_or_else(|| parent.join(name))
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A results directory with one run of `workload`.
    fn results(root: &Path, name: &str, workload: &str, verdict: Option<&str>) -> PathBuf {
        let results = root.join(name);
        let run = results.join(workload).join("20261120T174223Z-7");
        fs::create_dir_all(run.join("nodes/1")).unwrap();
        fs::write(run.join(store::HISTORY), "").unwrap();
        fs::write(run.join("nodes/1/stderr"), name).unwrap();
        if let Some(verdict) = verdict {
            let expected = if workload == "canary" { "invalid" } else { "valid" };
            let check = json!({"name": "linearizable", "verdict": verdict, "summary": ""});
            let results = json!({
                "verdict": verdict, "headline": "", "checks": [check], "workload": workload, "seed": 7, "expected": expected,
                "counts": {"invoked": 1, "ok": 1, "fail": 0, "info": 0, "ok_by_f": {}, "faults": {},
                    "faults_without_proof": {}, "leader_changes": 0, "keys": 1, "duration": 5},
            });
            fs::write(run.join(store::RESULTS), results.to_string()).unwrap();
        }
        std::os::unix::fs::symlink("20261120T174223Z-7", results.join(workload).join("latest"))
            .unwrap();
        results
    }

    fn merge(directories: Vec<PathBuf>, into: Option<PathBuf>) -> anyhow::Result<Exit> {
        execute(&Merge { directories, into, junit: None })
    }

    #[test]
    fn runs_of_all_machines_come_together_and_none_is_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let of = |name: &str| results(root.path(), name, "register", Some("valid"));
        let into = root.path().join("all");
        let exit = merge(vec![of("a"), of("b")], Some(into.clone())).unwrap();
        assert_eq!(exit, Exit::Valid);
        let copies = runs_in(&into).unwrap();
        let texts: Vec<_> = copies
            .iter()
            .map(|run| fs::read_to_string(run.join("nodes/1/stderr")).unwrap())
            .collect();
        assert_eq!(texts, ["a", "b"]);
    }

    #[test]
    fn exit_code_is_that_of_all_runs_together() {
        let root = tempfile::tempdir().unwrap();
        let of =
            |name: &str, workload: &str, verdict| results(root.path(), name, workload, verdict);
        let valid = of("valid", "register", Some("valid"));
        for (name, workload, verdict, expected) in [
            ("1", "append", Some("invalid"), Exit::Invalid),
            ("2", "append", Some("unknown"), Exit::Unknown),
            ("3", "append", None, Exit::Harness),
            ("4", "canary", Some("invalid"), Exit::Valid),
            ("5", "canary", Some("valid"), Exit::Harness),
        ] {
            let exit = merge(vec![valid.clone(), of(name, workload, verdict)], None).unwrap();
            assert_eq!(exit, expected, "{workload} {verdict:?}");
        }
    }

    #[test]
    fn what_a_machine_did_not_run_is_a_failure_of_the_harness() {
        let root = tempfile::tempdir().unwrap();
        let part = |name: &str, share: usize, runs: &[(&str, u64)]| {
            let results = results(root.path(), name, "register", Some("valid"));
            let runs =
                runs.iter().map(|(workload, seed)| ((*workload).to_owned(), *seed)).collect();
            let note = serde_json::to_vec(&Share { number: share, of: 2, runs }).unwrap();
            fs::write(results.join(format!("{SHARE_PREFIX}{share}-of-2.json")), note).unwrap();
            results
        };
        let one = part("one", 1, &[("register", 7)]);
        let two = part("two", 2, &[("register", 7)]);
        assert_eq!(merge(vec![one.clone(), two], None).unwrap(), Exit::Valid);
        assert_eq!(merge(vec![one.clone()], None).unwrap(), Exit::Harness, "where is shard 2?");
        let broken = part("broken", 2, &[("register", 7), ("append", 8)]);
        assert_eq!(merge(vec![one, broken], None).unwrap(), Exit::Harness, "where is append?");
    }

    #[test]
    fn directories_without_runs_are_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let error = merge(vec![root.path().to_owned()], None).unwrap_err().to_string();
        assert!(error.contains("there is no run in") && error.contains("--results"), "{error}");
        let error = merge(vec![root.path().join("none")], None).unwrap_err().to_string();
        assert!(error.contains("cannot read"), "{error}");
    }
}
