//! What the tests have in common.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use assert_cmd::Command;

/// The command under test.
pub(crate) fn harness() -> Command {
    Command::new(env!("CARGO_BIN_EXE_harness"))
}

/// The daemon, which is built beside it.
pub(crate) fn raftd() -> PathBuf {
    let raftd = Path::new(env!("CARGO_BIN_EXE_harness")).with_file_name("raftd");
    assert!(raftd.exists(), "raftd is not built: run `cargo test --workspace`");
    raftd
}

/// Clusters one at a time: several would only make each other slow.
pub(crate) fn one_cluster_at_a_time() -> MutexGuard<'static, ()> {
    static CLUSTER: Mutex<()> = Mutex::new(());
    CLUSTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Command lines of the processes that have to do with `path`.
pub(crate) fn processes_about(path: &Path) -> Vec<String> {
    let path = path.to_str().expect("a readable path");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        // A process that ends while it is looked at has no command line any more.
        let command_line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command_line = String::from_utf8_lossy(&command_line).replace('\0', " ");
        if command_line.contains(path) {
            found.push(format!("{}: {command_line}", entry.file_name().display()));
        }
    }
    found
}

/// The only directory in `results/<workload>/` that is no link.
pub(crate) fn run_directory(results: &Path, workload: &str) -> PathBuf {
    let entries = fs::read_dir(results.join(workload)).expect("a run was stored");
    let directories: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| !path.is_symlink()).collect();
    assert_eq!(directories.len(), 1, "{directories:?}");
    directories[0].clone()
}

/// Mounts at or below `path`, in whatever mount namespace any process has.
pub(crate) fn mounts_below(path: &Path) -> Vec<String> {
    let path = path.to_str().expect("a readable path");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        // A process that ends while it is looked at has no mounts any more.
        let mounts = fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        found.extend(mounts.lines().filter(|line| line.contains(path)).map(str::to_owned));
    }
    found
}
