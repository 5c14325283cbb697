//! The network that the kernel makes. Where it does not work, which `harness list faults` then says, there is nothing to
//! test.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::cluster::wait::wait_for;

use crate::support::{one_cluster_at_a_time, processes_about, raftd};

const DEADLINE: Duration = Duration::from_secs(30);

fn works_here() -> bool {
    match probe() {
        Ok(()) => true,
        Err(why) => {
            eprintln!("not tested here: {why}");
            false
        }
    }
}

/// As the harness finds out itself.
fn probe() -> Result<(), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_harness")).arg("probe-network").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

fn run(results: &Path, time_limit: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command
        .args(["run", "register", "--backend", "netns", "--nodes", "3", "--rate", "200"])
        .args(["--faults", "isolate-leader,block-client,block-peer,drop"])
        .args(["--seed", "1", "--time-limit", time_limit, "--raftd"])
        .arg(raftd())
        .arg("--results")
        .arg(results);
    command
}

#[test]
fn kernel_drops_packets_and_proves_it_and_nothing_is_left() {
    let _alone = one_cluster_at_a_time();
    if !works_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), "12s").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for proof in ["packets dropped", "packets blocked"] {
        assert!(said.contains(proof), "{said}");
    }
    assert_eq!(processes_about(dir.path()), Vec::<String>::new());
}

fn children(pid: u32) -> Vec<u32> {
    let all = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    all.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

#[test]
fn killed_harness_leaves_neither_nodes_nor_namespaces() {
    let _alone = one_cluster_at_a_time();
    if !works_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut harness =
        run(dir.path(), "60s").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = harness.id();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let daemons = || {
        let all = processes_about(dir.path());
        all.into_iter().filter(|process| process.contains("--config")).count()
    };
    let up = || std::future::ready(if daemons() == 3 { Ok(()) } else { Err(daemons()) });
    runtime.block_on(wait_for("three daemons", DEADLINE, up)).unwrap();
    // Those that hold namespaces, at least; daemons are children of other threads.
    let own = children(pid);
    assert!(own.len() >= 3, "{own:?}");
    harness.kill().unwrap();
    harness.wait().unwrap();
    let alive = || -> Vec<u32> {
        let alive = own.iter().filter(|pid| Path::new(&format!("/proc/{pid}/ns/net")).exists());
        alive.copied().collect()
    };
    let gone = || {
        let left = (daemons(), alive());
        std::future::ready(if left == (0, Vec::new()) { Ok(()) } else { Err(format!("{left:?}")) })
    };
    runtime.block_on(wait_for("everything to be gone", DEADLINE, gone)).unwrap();
}
