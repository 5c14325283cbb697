//! Whole runs, against the real daemon.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::cluster::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::*;
use predicates::str::contains;
use raftctl::{Client, Consistency, Endpoint, Options};
use serde_json::Value;

use crate::support::{
    harness, mounts_below, one_cluster_at_a_time, processes_about, raftd, run_directory,
};

/// A short and calm run: debug builds on a busy machine manage it.
const CALM: [&str; 4] = ["--time-limit", "5s", "--rate", "300"];

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn register_run_is_valid_and_its_directory_tells_all() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let run = harness()
        .args(["run", "register", "--seed", "7", "--results"])
        .arg(results.path())
        .args(CALM)
        .arg("--raftd")
        .arg(raftd())
        .assert();
    let directory = run_directory(results.path(), "register");
    let said = contains("VALID").and(contains("reproduce")).and(contains("--seed 7"));
    run.code(0).stdout(said.and(contains(directory.join("report.html").to_str().unwrap())));
    assert_eq!(processes_about(results.path()), Vec::<String>::new());

    for file in ["history.jsonl", "results.json", "report.html", "schedule.jsonl"] {
        assert!(fs::metadata(directory.join(file)).unwrap().len() > 0, "{file} is empty");
    }
    for node in 1..=5 {
        let node = directory.join(format!("nodes/{node}"));
        assert!(node.join("stderr").exists());
        assert!(!node.join("data").exists(), "the data of a valid run is removed");
    }
    for link in ["latest", "register/latest"] {
        let target = fs::canonicalize(results.path().join(link)).unwrap();
        assert_eq!(target, fs::canonicalize(&directory).unwrap());
    }

    let recorded = json(&directory.join("results.json"));
    assert_eq!((&recorded["verdict"], &recorded["seed"]), (&"valid".into(), &7.into()));
    let phases: Vec<_> =
        recorded["phases"].as_array().unwrap().iter().map(|stage| stage["phase"].clone()).collect();
    assert_eq!(phases, ["clean", "faults", "heal", "recovered", "final", "end"]);
    assert!(recorded["faults"].as_object().unwrap().values().any(|fault| fault["bit"] != 0));

    let check = |name: &str| {
        let checks = recorded["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap()["details"].clone()
    };
    let logs = check("logs");
    assert_eq!(logs["nodes_read"], 5);
    assert!(logs["acknowledged_found"].as_u64().unwrap() > 0, "{logs}");
    assert!(check("availability")["longest_outage_ms"].as_f64().unwrap() > 0.0);

    let live = fs::read(directory.join("results.json")).unwrap();
    let offline = harness().args(["check", "--output", "json"]).arg(&directory).output().unwrap();
    assert_eq!(offline.status.code(), Some(0));
    assert_eq!(String::from_utf8(offline.stdout), String::from_utf8(live), "offline is not live");

    fs::remove_file(directory.join("results.json")).unwrap();
    fs::remove_file(directory.join("report.html")).unwrap();
    harness().arg("report").arg(&directory).assert().code(0).stdout(contains("report.html"));
    assert_eq!(json(&directory.join("results.json")), recorded);
    assert!(directory.join("report.html").exists());
}

#[test]
fn nodes_of_two_builds_are_upgraded_under_way() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| {
        let copy = results.path().join(name);
        fs::copy(raftd(), &copy).unwrap();
        copy
    });
    let mut run = harness();
    run.args(["run", "upgrade", "--seed", "7", "--nodes", "3", "--faults", "upgrade"]);
    run.arg("--raftd").arg(raftd()).arg("--raftd").arg(format!("2={}", old.display()));
    run.arg("--upgrade-to").arg(&new).args(["--results"]).arg(results.path().join("results"));
    run.args(CALM).assert().code(0).stdout(contains(format!("--raftd 2={}", old.display())));
    let directory = run_directory(&results.path().join("results"), "upgrade");
    let history = fs::read_to_string(directory.join("history.jsonl")).unwrap();
    let lines: Vec<Value> =
        history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = &lines[0]["run"];
    assert_eq!(told["raftd_of"]["2"], old.to_str().unwrap(), "{told}");
    assert_eq!(told["upgrade_to"], new.to_str().unwrap());
    let ends = |line: &&Value| line["f"] == "upgrade" && line["value"]["phase"] == "stop";
    let replaced: u64 =
        lines.iter().filter(ends).map(|line| line["value"]["proof"].as_u64().unwrap()).sum();
    assert!(replaced > 0, "no node ran the other build");
}

#[test]
fn build_for_a_node_that_there_is_not_is_refused() {
    let strange = format!("7={}", raftd().display());
    let mut run = harness();
    run.args(["run", "register", "--raftd", &strange]).assert().code(64).stderr(contains("1 to 5"));
    let mut run = harness();
    run.args(["run", "register", "--upgrade-to", "/nowhere"]).assert().code(64);
}

#[test]
fn faults_wait_for_moments_and_the_history_says_which() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let mut run = harness();
    run.args([
        "run",
        "register",
        "--seed",
        "7",
        "--nodes",
        "3",
        "--faults",
        "isolate-leader,delay",
    ]);
    run.args(["--at", "new-leader,first-ack,snapshot,nth-message,member-change"]);
    run.arg("--raftd").arg(raftd()).args(["--results"]).arg(results.path());
    run.args(CALM).assert().code(0).stdout(contains("--at new-leader,first-ack"));
    let directory = run_directory(results.path(), "register");
    let history = fs::read_to_string(directory.join("history.jsonl")).unwrap();
    let lines: Vec<Value> =
        history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // What was done so that the moments came is a fault of its own, and over before the fault that waited.
    let begun = lines.iter().filter(|line| line["value"]["outcome"] == "installed");
    let (deeds, faults): (Vec<&Value>, Vec<&Value>) =
        begun.partition(|line| line["value"]["leads_to"].is_u64());
    assert!(!deeds.is_empty() && !faults.is_empty());
    for line in &faults {
        let moment = line["value"]["plan"]["moment"].as_str().unwrap();
        assert!(line["value"]["text"].as_str().unwrap().ends_with(&format!(" at {moment}")));
        let leads = |deed: &&&Value| deed["value"]["leads_to"] == line["value"]["fault"];
        assert_eq!(deeds.iter().filter(leads).count(), usize::from(moment != "nth-message"));
    }
    for deed in &deeds {
        assert!(deed["value"]["plan"].is_null(), "{deed}");
        let place = |is: &dyn Fn(&Value) -> bool| lines.iter().position(is);
        let end = place(&|line| {
            line["value"]["phase"] == "stop" && line["value"]["fault"] == deed["value"]["fault"]
        });
        let waiting = place(&|line| line["value"]["fault"] == deed["value"]["leads_to"]);
        assert!(waiting.is_none_or(|waiting| end.unwrap() < waiting), "{deed}");
    }
    // They come again with the faults that wait for them, and not by themselves.
    let mut replay = harness();
    replay.args(["replay", "--times", "1"]).arg(&directory).arg("--raftd").arg(raftd());
    replay.arg("--results").arg(results.path().join("again")).assert().code(0);
}

#[test]
fn clock_that_is_set_is_proven_and_leaves_nothing_behind() {
    if let Err(missing) = harness::cluster::faketime::library() {
        eprintln!("skipped: {missing}");
        return;
    }
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let mut run = harness();
    run.args([
        "run",
        "clock",
        "--seed",
        "7",
        "--nodes",
        "3",
        "--faults",
        "clock-step,clock-strobe",
    ]);
    run.arg("--raftd").arg(raftd()).args(["--results"]).arg(results.path());
    run.args(CALM).assert().code(0);
    let directory = run_directory(results.path(), "clock");
    let history = fs::read_to_string(directory.join("history.jsonl")).unwrap();
    let lines = history.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    let ends = |line: &&Value| line["process"] == "nemesis" && line["value"]["phase"] == "stop";
    let proofs: Vec<u64> =
        lines.iter().filter(ends).map(|line| line["value"]["proof"].as_u64().unwrap()).collect();
    assert!(proofs.iter().any(|ms| *ms > 5_000), "no clock was seconds off: {proofs:?}");
    let started = lines.iter().filter(|line| line["f"] == "start" && line["process"] != "nemesis");
    let pids: Vec<u64> = started.map(|line| line["value"]["pid"].as_u64().unwrap()).collect();
    assert!(pids.len() > 3, "{pids:?}");
    for pid in pids {
        for name in ["faketime_shm_", "sem.faketime_sem_"] {
            let path = Path::new("/dev/shm").join(format!("{name}{pid}"));
            assert!(!path.exists(), "{} was left behind", path.display());
        }
    }
}

#[test]
fn idle_cluster_recovers_without_a_word_from_clients() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let mut run = harness();
    run.args(["run", "idle", "--seed", "7", "--results"]).arg(results.path()).args(CALM);
    run.arg("--raftd").arg(raftd()).assert().code(0);
    let directory = run_directory(results.path(), "idle");
    let history = fs::read_to_string(directory.join("history.jsonl")).unwrap();
    let lines: Vec<Value> =
        history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |phase: &str| {
        let begins = |line: &Value| line["f"] == "phase" && line["value"] == phase;
        lines.iter().position(begins).expect("the run came to its end")
    };
    let says = |line: &&Value| line["process"].is_u64() && line["type"] == "invoke";
    let last = lines[..of("recovered")].iter().rfind(says).expect("there were clients");
    let quiet = lines[of("heal")]["time"].as_u64().unwrap() - last["time"].as_u64().unwrap();
    assert!(quiet > 500_000_000, "clients were quiet for {quiet} ns only");
}

#[test]
fn canary_is_rejected_which_passes_in_a_series_only() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let junit = results.path().join("junit.xml");
    let canary = |others: &[&str]| {
        harness()
            .args(["run", "stale-canary", "--seed", "3", "--raftd"])
            .arg(raftd())
            .arg("--results")
            .arg(results.path())
            .arg("--junit")
            .arg(&junit)
            .args(others)
            .args(CALM)
            .assert()
    };
    let explained = contains("INVALID").and(contains("stale")).and(contains("it is right"));
    canary(&[]).code(1).stdout(explained);
    let directory = run_directory(results.path(), "stale-canary");
    assert!(directory.join("nodes/1/data").exists(), "the data of a run that is not valid is kept");

    canary(&["counter"]).code(0).stdout(contains("rejected as it must be"));
    let junit = fs::read_to_string(&junit).unwrap();
    assert!(junit.contains("stale-canary") && junit.contains("counter"), "{junit}");
    assert_eq!(processes_about(results.path()), Vec::<String>::new());
}

#[test]
fn recorded_faults_are_inflicted_again_and_its_failure_is_seen_again() {
    let _alone = one_cluster_at_a_time();
    let (recorded, replayed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    harness()
        .args(["run", "stale-canary", "--seed", "3", "--raftd"])
        .arg(raftd())
        .arg("--results")
        .arg(recorded.path())
        .args(CALM)
        .assert()
        .code(1)
        .stdout(contains("harness replay ").or(contains(" replay ")));
    let recorded = run_directory(recorded.path(), "stale-canary");
    harness()
        .arg("replay")
        .arg(&recorded)
        .args(["--times", "1", "--results"])
        .arg(replayed.path())
        .assert()
        .code(1)
        .stdout(contains("1 of 1 replay ended as the recorded run did"));
    let replayed = run_directory(replayed.path(), "stale-canary");
    // It ends at the first anomaly, and what it inflicts until then is what was inflicted.
    let plans = |directory: &Path| -> Vec<(String, Value)> {
        let lines = fs::read_to_string(directory.join("schedule.jsonl")).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let starts = lines.filter(|line| !line["plan"].is_null());
        starts.map(|line| (line["kind"].to_string(), line["plan"].clone())).collect()
    };
    let all = plans(&recorded);
    assert!(!all.is_empty());
    assert!(plans(&replayed).iter().all(|plan| all.contains(plan)), "{:?}", plans(&replayed));
    let command = json(&replayed.join("results.json"))["replay_of"].clone();
    assert_eq!(command, recorded.to_str().unwrap());
}

#[test]
fn replay_of_what_is_no_run_is_refused_by_name() {
    let empty = tempfile::tempdir().unwrap();
    let refused = harness().arg("replay").arg(empty.path()).assert().code(64);
    refused.stderr(contains("is no directory of a run").and(contains("history.jsonl")));
}

#[test]
fn shards_run_their_share_and_merge_sums_them_up() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let directory = |name: &str| results.path().join(name).to_str().unwrap().to_owned();
    for shard in ["1", "2"] {
        harness()
            .args(["run", "counter", "stale-canary", "--seed", "3", "--shard"])
            .args([&format!("{shard}/2"), "--results", &directory(shard), "--raftd"])
            .arg(raftd())
            .args(CALM)
            .assert()
            .code(0);
    }
    let (all, junit) = (directory("all"), directory("junit.xml"));
    harness()
        .args(["merge", &directory("1"), &directory("2"), "--into", &all, "--junit", &junit])
        .assert()
        .code(0)
        .stdout(contains("counter").and(contains("rejected as it must be")));
    for workload in ["counter", "stale-canary"] {
        assert!(run_directory(Path::new(&all), workload).join("history.jsonl").exists());
    }
    let junit = fs::read_to_string(junit).unwrap();
    assert!(junit.contains("stale-canary") && junit.contains("counter"), "{junit}");
}

#[test]
fn canary_that_is_not_rejected_is_a_harness_failure() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let scenario = results.path().join("blind-canary.toml");
    let canary = include_str!("../../../workloads/stale-canary.toml");
    let harmless = canary.replace("consistency = \"stale\"", "consistency = \"linearizable\"");
    assert_ne!(canary, harmless);
    fs::write(&scenario, harmless.replace("name = \"stale-canary\"", "name = \"blind-canary\""))
        .unwrap();
    harness()
        .arg("run")
        .arg(&scenario)
        .args(CALM)
        .arg("--raftd")
        .arg(raftd())
        .arg("--results")
        .arg(results.path())
        .assert()
        .code(3)
        .stdout(contains("VALID").and(contains("the bench is blind")));
}

#[test]
fn faults_that_there_was_no_time_for_are_made_up_for() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let scenario = results.path().join("many-kills.toml");
    // In 3 s there is time for one kill; two are to bite.
    let text = "# Hypothesis: none.\nname = \"many-kills\"\nmodel = \"register\"\nexpected = \"valid\"\n\
                nodes = 3\nclients = 3\nrate = 100\noperations = { read = 1, write = 1 }\n\
                faults = [\"kill\"]\nminima = { each_fault = 20 }\n";
    fs::write(&scenario, text).unwrap();
    harness()
        .arg("run")
        .arg(&scenario)
        .args(["--time-limit", "3s", "--raftd"])
        .arg(raftd())
        .arg("--results")
        .arg(results.path())
        .assert()
        .code(0);
    let recorded = json(&run_directory(results.path(), "many-kills").join("results.json"));
    assert!(recorded["faults"]["kill"]["bit"].as_u64().unwrap() >= 2);
}

#[test]
fn node_that_does_not_come_up_again_is_the_clusters_failure() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let once = results.path().join("raftd-once");
    let script = format!(
        "#!/bin/sh\nfor argument do case $argument in */data) data=$argument; esac; done\n\
         [ ! -e \"$data\" ] || exit 9\nexec '{}' \"$@\"\n",
        raftd().display()
    );
    fs::write(&once, script).unwrap();
    fs::set_permissions(&once, fs::Permissions::from_mode(0o755)).unwrap();
    harness()
        .args(["run", "register", "--faults", "kill", "--raftd"])
        .arg(&once)
        .arg("--results")
        .arg(results.path())
        .args(CALM)
        .assert()
        .code(1)
        .stdout(contains("INVALID").and(contains("exit code 9")))
        .stderr(contains("the cluster did not recover"));
    assert_eq!(processes_about(results.path()), Vec::<String>::new());
}

#[test]
fn fail_fast_ends_a_run_at_its_first_anomaly() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    harness()
        .args(["run", "stale-canary", "--fail-fast", "--time-limit", "1h", "--raftd"])
        .arg(raftd())
        .arg("--results")
        .arg(results.path())
        .timeout(Duration::from_mins(5))
        .assert()
        .code(1)
        .stdout(contains("INVALID"));
}

#[test]
fn interrupted_run_is_checked_and_leaves_nothing_running() {
    let _alone = one_cluster_at_a_time();
    let results = tempfile::tempdir().unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["run", "register", "append", "--time-limit", "10m", "--results"])
        .arg(results.path())
        .arg("--raftd")
        .arg(raftd())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first line of progress comes when clients are at work.
    let mut progress = BufReader::new(run.stderr.take().unwrap()).lines();
    progress
        .find(|line| line.as_ref().unwrap().contains("ops/s"))
        .expect("a line of progress")
        .unwrap();
    let nodes = processes_about(results.path()).into_iter().filter(|line| line.contains("--data"));
    assert!(nodes.count() >= 3, "a majority runs, whatever was killed");
    kill(Pid::from_raw(run.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    progress.for_each(|line| drop(line.unwrap()));
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("UNKNOWN") && said.contains("cut short"), "{said}");
    assert_eq!(processes_about(results.path()), Vec::<String>::new());
    let recorded = json(&run_directory(results.path(), "register").join("results.json"));
    assert_eq!(recorded["phases"].as_array().unwrap().last().unwrap()["phase"], "interrupted");
}

#[test]
fn daemon_that_does_not_start_is_a_harness_failure() {
    let results = tempfile::tempdir().unwrap();
    harness()
        .args(["run", "register", "--time-limit", "1s", "--raftd", "/bin/false", "--results"])
        .arg(results.path())
        .assert()
        .code(3)
        .stdout(contains("HARNESS FAILED").and(contains("does not listen")));
    assert_eq!(processes_about(results.path()), Vec::<String>::new());
}

#[test]
fn cluster_serves_until_interrupted_and_leaves_nothing() {
    let _alone = one_cluster_at_a_time();
    let mut cluster = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["cluster", "--nodes", "3", "--raftd"])
        .arg(raftd())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(cluster.stdout.take().unwrap()).lines().map(Result::unwrap);
    let files =
        lines.find_map(|line| Some(line.split_once("files are in ")?.1.to_owned())).unwrap();
    let files = files.strip_suffix(". Try:").unwrap();
    let endpoints =
        lines.find_map(|line| Some(line.split_once("--endpoints ")?.1.to_owned())).unwrap();
    let endpoints: Vec<_> =
        endpoints.strip_suffix(" status").unwrap().split(',').map(Endpoint::at).collect();
    assert_eq!(endpoints.len(), 3);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::new(Options::new(endpoints)).unwrap();
        client.put("colour", "blue").await.unwrap();
        let answer = client.get("colour", Consistency::Linearizable).await.unwrap();
        assert_eq!(answer.value.as_deref(), Some("blue"));
    });

    kill(Pid::from_raw(cluster.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(cluster.wait().unwrap().code(), Some(0));
    assert_eq!(processes_about(Path::new(files)), Vec::<String>::new());
    assert!(!Path::new(files).exists());
}

/// Starts a run with disk faults and waits until clients are at work and disks fail; none where that does not work.
fn run_with_disks(results: &Path, limit: &str) -> Option<std::process::Child> {
    if let Err(why) = harness::disk::check(Path::new(env!("CARGO_BIN_EXE_harness"))) {
        eprintln!("skipped: {why}");
        return None;
    }
    let mut run = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["run", "register", "--faults", "power-loss,stuck-disk"])
        .args(["--time-limit", limit, "--results"])
        .arg(results)
        .arg("--raftd")
        .arg(raftd())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut progress = BufReader::new(run.stderr.as_mut().unwrap()).lines();
    progress
        .find(|line| line.as_ref().unwrap().contains("ops/s"))
        .expect("a line of progress")
        .unwrap();
    let mounts = mounts_below(results);
    assert!(mounts.iter().any(|mount| mount.contains(" fuse ")), "no disk is mounted: {mounts:?}");
    Some(run)
}

#[test]
fn disks_leave_no_mounts_however_a_run_ends() {
    let _alone = one_cluster_at_a_time();
    let pid = |run: &std::process::Child| Pid::from_raw(run.id().try_into().unwrap());
    for (limit, signal, code) in [
        ("8s", None, None),
        ("10m", Some(Signal::SIGINT), Some(2)),
        ("10m", Some(Signal::SIGKILL), None),
    ] {
        let results = tempfile::tempdir().unwrap();
        let Some(run) = run_with_disks(results.path(), limit) else { return };
        if let Some(signal) = signal {
            kill(pid(&run), signal).unwrap();
        }
        let output = run.wait_with_output().unwrap();
        if let Some(code) = code {
            assert_eq!(output.status.code(), Some(code), "{output:?}");
        }
        // The kernel takes a moment to end what a harness that was killed leaves behind.
        let left = || [mounts_below(results.path()), processes_about(results.path())].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let gone =
            runtime.block_on(wait_for("nothing to be left", Duration::from_secs(10), async || {
                let left = left();
                if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
            }));
        gone.unwrap_or_else(|left| panic!("after {signal:?}: {left}"));
    }
}
