//! The program under test: where it is, and which version.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::time::timeout;

/// Its file name.
const NAME: &str = "raftd";

/// The file name of the client that looks through its files.
const CLIENT: &str = "raftctl";

/// How long it may take to say its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(5);

/// The daemon at `path`, or else the one beside this executable.
pub fn find(path: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = path {
        if !path.is_file() {
            bail!(
                "there is no raftd at {}: --raftd takes the path of the executable",
                path.display()
            );
        }
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe().context("cannot find the harness's own executable")?;
    let beside = own.with_file_name(NAME);
    if !beside.is_file() {
        bail!(
            "there is no raftd at {}: build it (cargo build --release) or say where it is (--raftd PATH)",
            beside.display()
        );
    }
    Ok(beside)
}

/// The program that looks through stopped nodes' files, or why there is none.
pub fn raftctl() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("no raftctl: {error}"))?;
    let beside = own.with_file_name(CLIENT);
    if beside.is_file() {
        return Ok(beside);
    }
    Err(format!("there is no raftctl at {}: build it, cargo build --release", beside.display()))
}

/// What `raftd --version` says; in words if it says nothing.
pub async fn version(path: &Path) -> String {
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match timeout(VERSION_DEADLINE, command.output()).await {
        Ok(Ok(output)) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let version = text.trim();
            version.strip_prefix("raftd ").unwrap_or(version).to_owned()
        }
        Ok(Ok(output)) => format!("unknown: --version ended with {}", output.status),
        Ok(Err(error)) => format!("unknown: {error}"),
        Err(_) => "unknown: --version does not end".to_owned(),
    }
}
