//! The command line: what is refused, what it says, what it exits with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use predicates::prelude::*;
use predicates::str::contains;

use crate::support::harness;

/// A register's history: a write, and a read that returns `value`.
fn history(directory: &Path, value: &str) -> PathBuf {
    let lines = format!(
        r#"{{"history":1,"workload":"w","model":"register","seed":1,"nodes":1}}
{{"index":0,"time":1,"process":0,"type":"invoke","f":"write","key":"k","value":"0-1"}}
{{"index":1,"time":2,"process":0,"type":"ok","f":"write","key":"k","value":"0-1"}}
{{"index":2,"time":3,"process":1,"type":"invoke","f":"read","key":"k","value":null}}
{{"index":3,"time":4,"process":1,"type":"ok","f":"read","key":"k","value":{value}}}
{{"index":4,"time":5,"process":"runner","type":"info","f":"phase","value":"end"}}
"#
    );
    let path = directory.join(format!("{}.jsonl", value.trim_matches('"')));
    fs::write(&path, lines).unwrap();
    path
}

#[test]
fn wrong_usage_exits_64_and_names_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let scenario = directory.path().join("mine.toml");
    fs::write(&scenario, "# Hypothesis: none.\nname = \"mine\"\nnods = 3\n").unwrap();
    let scenario = scenario.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage: harness"),
        (&["run"], "<WORKLOAD>"),
        (&["walk"], "unrecognized subcommand 'walk'"),
        (&["run", "register", "--colour"], "unexpected argument '--colour'"),
        (&["run", "registre"], "there are register, cas-register, append, counter"),
        (&["run", scenario], "mine.toml:3: unknown field `nods`"),
        (&["run", "./none.toml"], "cannot read scenario ./none.toml"),
        (&["run", "register", "--nodes", "0"], "0 is not in 1..=9"),
        (&["run", "register", "--time-limit", "soon"], "write it like 30s, 2m or 500ms"),
        (&["run", "register", "--time-limit", "10ms"], "must be at least 1s"),
        (&["run", "register", "--seed", "x"], "invalid digit"),
        (&["run", "register", "--faults", "kil"], "there are kill, pause"),
        (
            &["run", "register", "--faults", "ring,kill", "--nodes", "2"],
            "register has 2 nodes, and the fault ring takes at least 3",
        ),
        (&["run", "register", "--time-limit", "1000000y"], "must be at most 30d"),
        (&["run", "register", "--backend", "magic"], "[possible values: proxy, netns]"),
        (
            &["run", "bad-network", "--backend", "netns"],
            "cannot do, as the kernel sees packets only: delay, rate",
        ),
        (
            &["run", "register", "--backend", "netns", "--faults", "kill,hold"],
            "the backend netns cannot do the fault hold",
        ),
        (&["run", "register", "--raftd", "/nowhere/raftd"], "there is no raftd at /nowhere/raftd"),
        (&["check", "/nowhere/history.jsonl"], "there is no history at /nowhere/history.jsonl"),
        (&["report", "/nowhere"], "is this the directory of one run?"),
        (&["list", "everything"], "[possible values: workloads, faults, moments, models, targets]"),
    ];
    for (args, message) in cases {
        harness().args(*args).assert().code(64).stderr(contains(*message));
    }
}

#[test]
fn verdict_that_cannot_be_printed_stands() {
    let directory = tempfile::tempdir().unwrap();
    let check = |value: &str| {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let path = history(directory.path(), value);
        Command::new(env!("CARGO_BIN_EXE_harness"))
            .args([Path::new("check"), &path, &path])
            .stdout(full)
            .output()
            .unwrap()
    };
    let invalid = check("\"9-9\"");
    assert_eq!(invalid.status.code(), Some(1), "{invalid:?}");
    let said = String::from_utf8(invalid.stderr).unwrap();
    assert_eq!(said.matches("cannot print the verdict of").count(), 2, "{said}");
    assert_eq!(check("\"0-1\"").status.code(), Some(3));
}

#[test]
fn raftd_that_is_not_beside_the_harness_is_missed_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let alone = directory.path().join("harness");
    // Another process copies it: whatever this one forks meanwhile would hold a copy open for writing that it made itself,
    // and then the system does not run it ("text file busy").
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_harness")).arg(&alone).status();
    assert!(copied.unwrap().success());
    for args in [&["run", "register"][..], &["cluster"]] {
        let assert = assert_cmd::Command::new(&alone).args(args).assert();
        assert.code(64).stderr(contains("cargo build --release").and(contains("--raftd PATH")));
    }
}

#[test]
fn help_exits_0_and_documents_the_exit_codes() {
    for args in [&["--help"][..], &["run", "--help"], &["check", "--help"]] {
        let codes = contains("0   valid")
            .and(contains("1   invalid"))
            .and(contains("2   unknown"))
            .and(contains("3   the harness itself failed"))
            .and(contains("64  wrong usage"));
        harness().args(args).assert().code(0).stdout(codes);
    }
    harness().arg("--version").assert().code(0).stdout(contains("harness "));
}

#[test]
fn list_names_what_there_is() {
    harness().arg("list").assert().code(0).stdout(
        contains("stale-canary")
            .and(contains("isolate-leader"))
            .and(contains("cas-register"))
            .and(contains("raftd")),
    );
    let faults = harness().args(["list", "faults"]).assert().code(0);
    faults.stdout(contains("block-client").and(contains("stale-canary").not()));
}

#[test]
fn check_exits_by_the_worst_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let good = history(directory.path(), "\"0-1\"");
    let bad = history(directory.path(), "null");
    let torn = directory.path().join("torn.jsonl");
    fs::write(&torn, "{\"history\":1,\"workload\":\"w\",\"model\":\"register\"}\nnonsense\n")
        .unwrap();
    harness().arg("check").arg(&good).assert().code(0);
    harness().arg("check").arg(&bad).assert().code(1);
    harness().arg("check").args([&good, &bad]).assert().code(1);
    let unreadable = contains("torn.jsonl, line 2: no event of a history");
    harness().arg("check").args([&good, &torn]).assert().code(3).stderr(unreadable);
    harness().arg("check").args([&torn, &bad]).assert().code(1);
}

#[test]
fn check_prints_one_json_object_a_history() {
    let directory = tempfile::tempdir().unwrap();
    let good = history(directory.path(), "\"0-1\"");
    let bad = history(directory.path(), "null");
    let output =
        harness().args(["check", "--output", "json"]).args([&good, &bad]).output().unwrap();
    let objects: Vec<serde_json::Value> = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap();
    let verdicts: Vec<_> =
        objects.iter().map(|object| object["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["valid", "invalid"]);
}

#[test]
fn reader_that_stops_reading_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let bad = history(directory.path(), "null");
    let bad = bad.to_str().unwrap();
    for (args, code) in
        [(&["list"][..], 0), (&["check", bad], 1), (&["check", "--output", "json", bad], 1)]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_harness"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{args:?}");
    }
}
