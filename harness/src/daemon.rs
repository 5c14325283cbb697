//! The program under test: where it is, and which version.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::time::timeout;

use crate::cluster::{Builds, NodeId};

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

/// What `--raftd` says: what all nodes run, or one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// The node; `None`: all of which nothing else is said.
    pub node: Option<NodeId>,
    /// Its executable.
    pub path: PathBuf,
}

impl FromStr for Daemon {
    type Err = Infallible;

    /// `3=PATH` is about node 3; a path that begins so is written `./3=PATH`.
    fn from_str(text: &str) -> Result<Daemon, Infallible> {
        let own = text.split_once('=').and_then(|(id, path)| Some((id.parse().ok()?, path)));
        Ok(match own {
            Some((node, path)) => Daemon { node: Some(node), path: path.into() },
            None => Daemon { node: None, path: text.into() },
        })
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = self.node {
            write!(f, "{node}=")?;
        }
        self.path.display().fmt(f)
    }
}

/// The builds that a command line names.
pub fn builds(daemons: &[Daemon], upgrade: Option<&Path>) -> anyhow::Result<Builds> {
    let mut all = None;
    let mut of = BTreeMap::new();
    for Daemon { node, path } in daemons {
        let before = match node {
            Some(node) => of.insert(*node, find(Some(path))?),
            None => all.replace(path.as_path()).map(Path::to_owned),
        };
        if let Some(before) = before {
            let whom = node.map_or("all nodes".to_owned(), |node| format!("node {node}"));
            bail!(
                "--raftd names two builds for {whom}: {} and {}",
                before.display(),
                path.display()
            );
        }
    }
    let upgrade = upgrade
        .map(|path| find(Some(path)).with_context(|| format!("--upgrade-to {}", path.display())));
    Ok(Builds { all: find(all)?, of, upgrade: upgrade.transpose()? })
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

/// What the builds say, by what `harness run` calls them.
pub async fn versions(builds: &Builds) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::from([("raftd".to_owned(), version(&builds.all).await)]);
    for (node, path) in &builds.of {
        versions.insert(format!("raftd of node {node}"), version(path).await);
    }
    if let Some(path) = &builds.upgrade {
        versions.insert("raftd to upgrade to".to_owned(), version(path).await);
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemon_of_a_node_is_told_from_a_path() {
        for (text, node, path) in [
            ("3=/x/raftd", Some(3), "/x/raftd"),
            ("/x/raftd", None, "/x/raftd"),
            ("./3=x", None, "./3=x"),
            ("a=b", None, "a=b"),
        ] {
            let daemon: Daemon = text.parse().unwrap();
            assert_eq!(daemon, Daemon { node, path: path.into() });
            assert_eq!(daemon.to_string(), text);
        }
    }

    #[test]
    fn two_builds_for_one_node_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        let twice =
            |node| [Daemon { node, path: path.clone() }, Daemon { node, path: path.clone() }];
        let error = builds(&twice(Some(2)), None).unwrap_err().to_string();
        assert!(error.contains("two builds for node 2"), "{error}");
        let error = builds(&twice(None), None).unwrap_err().to_string();
        assert!(error.contains("two builds for all nodes"), "{error}");
        let [all, _] = twice(None);
        let own = Daemon { node: Some(1), path: path.clone() };
        let builds = builds(&[all, own], Some(&path)).unwrap();
        assert_eq!((builds.of.len(), builds.paths().count()), (1, 3));
    }
}
