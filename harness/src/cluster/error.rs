//! What can go wrong with a cluster.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::NodeId;

/// Why something could not be done to the cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon is not there.
    #[error(
        "there is no raftd at {path}; build it (cargo build --release -p raftd) or say where it is with --raftd PATH",
        path = path.display()
    )]
    NoDaemon {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file or directory of a node.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// `create`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A proxy has no port.
    #[error("cannot listen on a free port of 127.0.0.1: {source}")]
    Listen {
        /// Why not.
        source: io::Error,
    },
    /// No thread for a node.
    #[error("cannot start a thread that keeps n{node}: {source}")]
    Thread {
        /// The node.
        node: NodeId,
        /// Why not.
        source: io::Error,
    },
    /// The daemon could not be started.
    #[error("cannot start n{node} with {program}: {source}", program = program.display())]
    Spawn {
        /// The node.
        node: NodeId,
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It was started but does not listen.
    #[error("n{node} does not listen: {why}; {stderr} ends with:\n{tail}", stderr = stderr.display())]
    NotListening {
        /// The node.
        node: NodeId,
        /// How it ended, or what it is doing instead.
        why: String,
        /// Where its log is.
        stderr: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A signal could not be sent.
    #[error("cannot send {signal} to n{node} (process group {pid}): {errno}")]
    Signal {
        /// The node.
        node: NodeId,
        /// Its process group.
        pid: i32,
        /// The signal.
        signal: nix::sys::signal::Signal,
        /// Why not.
        errno: Errno,
    },
    /// A signal was sent but had no effect.
    #[error("n{node} (process {pid}) is not {wanted} {waited_ms} ms after the signal")]
    SignalWithoutEffect {
        /// The node.
        node: NodeId,
        /// Its process.
        pid: i32,
        /// `stopped`, `running`.
        wanted: &'static str,
        /// How long it was given.
        waited_ms: u128,
    },
    /// Its process already runs.
    #[error("n{node} runs already")]
    AlreadyRuns {
        /// The node.
        node: NodeId,
    },
    /// There are no disks that can fail.
    #[error(transparent)]
    Disks(#[from] crate::disk::Unavailable),
    /// A node's disk is an ordinary one.
    #[error(
        "n{node} has an ordinary disk, to which nothing can be done: start the cluster with disks that can fail"
    )]
    NoDisk {
        /// The node.
        node: NodeId,
    },
    /// Something could not be done to a disk.
    #[error("cannot do anything to the disk of n{node}: {source}")]
    Strike {
        /// The node.
        node: NodeId,
        /// Why not.
        source: io::Error,
    },
    /// There is no such node.
    #[error("there is no n{node}")]
    NoSuchNode {
        /// The number asked for.
        node: NodeId,
    },
    /// The thread that keeps a node is gone: a defect of the harness.
    #[error("the thread that keeps n{node} is gone; this is a defect of the harness")]
    KeeperGone {
        /// The node.
        node: NodeId,
    },
    /// No network namespace for a node.
    #[error("cannot make a network namespace for a node: {source}")]
    Namespace {
        /// Why not.
        source: io::Error,
    },
    /// A setting of the kernel.
    #[error("cannot switch {setting} on by {path}: {source}", path = path.display())]
    Setting {
        /// Its name.
        setting: &'static str,
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A tool that makes networks does not do what it is told.
    #[error("`{command}` has failed: {why}")]
    Tool {
        /// What was run.
        command: String,
        /// How it ended, and what it said.
        why: String,
    },
    /// Nodes are to be in namespaces, and nobody is there to put them in.
    #[error("nodes with networks of their own take a supervisor; this is a defect of the harness")]
    NoSupervisor,
    /// Some things could not be made to work again.
    #[error("the cluster could not be restored: {}", list(failures))]
    NotRestored {
        /// Each of them.
        failures: Vec<Error>,
    },
}

impl Error {
    pub(super) fn file(action: &'static str, path: &Path, source: io::Error) -> Error {
        Error::File { action, path: path.to_owned(), source }
    }
}

fn list(failures: &[Error]) -> String {
    failures.iter().map(Error::to_string).collect::<Vec<_>>().join("; ")
}
