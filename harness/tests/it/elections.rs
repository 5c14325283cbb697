//! `harness bench-elections`, against the real daemon.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

use crate::support::{harness, one_cluster_at_a_time, processes_about, raftd, run_directory};

/// Patient enough for debug builds on a busy machine.
const RANGE: &str = "1000-1500";

fn bench(results: &Path, args: &[&str]) -> Vec<String> {
    let (results, raftd) = (results.to_str().unwrap().to_owned(), raftd());
    let fixed = ["bench-elections", "--nodes", "3", "--seed", "7", "--results", &results];
    let fixed = fixed.into_iter().chain(["--raftd", raftd.to_str().unwrap()]);
    fixed.chain(args.iter().copied()).map(str::to_owned).collect()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn leaders_are_killed_and_the_figures_stand_beside_the_published_ones() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let args = bench(results.path(), &["--ranges", RANGE, "--trials", "2", "--cap", "2m"]);
    let said = contains("new leader").and(contains("client gap")).and(contains("pre-vote"));
    harness().args(args).assert().code(0).stdout(said.and(contains("reproduce")));
    assert_eq!(processes_about(results.path()), Vec::<String>::new());

    let directory = run_directory(results.path(), "elections");
    let trials = lines(&directory.join("trials.jsonl"));
    assert_eq!(trials.len(), 2);
    for trial in &trials {
        let ms = |what: &str| trial[what].as_f64().unwrap();
        assert!(ms("elected_ms") > 0.0 && ms("gap_ms") >= ms("killed_after_ms"), "{trial}");
        assert!(trial["terms"].as_u64() >= Some(1), "{trial}");
    }
    let text = fs::read_to_string(directory.join("results.json")).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&recorded["seed"], &recorded["interrupted"]), (&7.into(), &false.into()));
    assert_eq!(recorded["ranges"][0]["new_leader_ms"]["capped"], 0, "{recorded}");
    let chart = fs::read_to_string(directory.join("cdf.svg")).unwrap();
    assert!(chart.starts_with("<svg") && chart.contains(RANGE));
    assert!(fs::read_to_string(directory.join("report.html")).unwrap().contains(&chart));
    assert!(!directory.join(format!("cluster-{RANGE}")).exists(), "nobody needs the nodes' files");
}

#[test]
fn interruption_keeps_what_was_measured_and_leaves_no_process() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let args = bench(results.path(), &["--ranges", RANGE, "--trials", "100000"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It says how far it is after the first trial, and then from time to time.
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    assert!(said.contains("of 100000"), "{said}");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stderr);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stdout}");
    assert!(stdout.contains("Interrupted") && stdout.contains("new leader"), "{stdout}");
    assert_eq!(processes_about(results.path()), Vec::<String>::new());
    let directory = run_directory(results.path(), "elections");
    assert!(!lines(&directory.join("trials.jsonl")).is_empty());
    assert!(!directory.join(format!("cluster-{RANGE}")).exists());
}

#[test]
fn range_that_cannot_be_measured_is_left_out_with_the_reason() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let args = bench(results.path(), &["--ranges", "150-150", "--trials", "1"]);
    harness().args(args).assert().code(3).stdout(contains("150-150: left out: raftd does not"));
    for (ranges, message) in [("300-150", "write it like 150-300"), ("x", "write it like 150-300")]
    {
        let args = bench(results.path(), &["--ranges", ranges]);
        harness().args(args).assert().code(64).stderr(contains(message));
    }
}
