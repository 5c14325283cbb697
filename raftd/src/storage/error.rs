//! What can be wrong with a data directory, in words that say what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use raft_core::types::NodeId;

use super::sequence::{Position, SequenceFault};
use crate::codec;

/// What damage means and what may be done about it. A node that starts with less than it acknowledged could vote twice
/// in a term, or help to lose a committed entry, so there is no easy way out to offer.
const REMEDY: &str = "the node does not start, because it may have acknowledged what is missing there, and nothing was \
    changed. Put back an intact copy of the file as it was last; an older copy, or an empty data directory under the same \
    node id, is not safe. The other members go on without this node as long as they are a majority";

/// Why a data directory cannot be used, or can be no longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the operating system failed.
    #[error("cannot {operation} {path}: {source}", path = path.display())]
    Io {
        /// What was tried: "open", "write", "sync" …
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// There is no room for more. What was to be written is kept, and may be tried again.
    #[error("cannot {operation} {path}: the disk is full ({source})", path = path.display())]
    DiskFull {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's word for it: no space, or over quota.
        source: io::Error,
    },
    /// Another process has the directory.
    #[error("data directory {dir} is in use by {holder}; stop it first, or choose another --data", dir = dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// `process 123`, or `another process`.
        holder: String,
    },
    /// `node.json` cannot be read.
    #[error("{path} is not a node.json that this version knows: {source}", path = path.display())]
    BadIdentity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The directory was written by another version.
    #[error("{path} says format {found}; this version knows format {known} only", path = path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// What this version writes.
        known: u32,
    },
    /// The directory belongs to another cluster.
    #[error("{path} belongs to cluster {found:?}, but this node is to join cluster {expected:?}; check --data and the configuration", path = path.display())]
    OtherCluster {
        /// The file that says so.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The directory belongs to another node.
    #[error("{path} belongs to node {found}, but this is to be node {expected}; check --data and --id", path = path.display())]
    OtherNode {
        /// The file that says so.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Whose it should be.
        expected: NodeId,
    },
    /// There is a log, but nothing says whose it is.
    #[error("{path} is missing, but there is a log beside it: {REMEDY}", path = path.display())]
    MissingIdentity {
        /// Where `node.json` should be.
        path: PathBuf,
    },
    /// Nothing to look at.
    #[error("{dir} is no data directory: it has neither a node.json nor a log", dir = dir.display())]
    NoData {
        /// The directory, if it exists at all.
        dir: PathBuf,
    },
    /// A part of the log is gone, or all of it.
    #[error("{path} is missing: {REMEDY}", path = path.display())]
    MissingSegment {
        /// Where the first missing segment should be.
        path: PathBuf,
    },
    /// A segment holds something that was never written like that.
    #[error("{0}: {REMEDY}")]
    Damaged(Damage),
}

impl Error {
    /// For calls that may find the disk full.
    pub(super) fn io(operation: &'static str, path: &Path, source: io::Error) -> Error {
        let path = path.to_owned();
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Error::DiskFull { operation, path, source };
        }
        Error::Io { operation, path, source }
    }

    /// For fsync, whose failure is final, whatever the reason.
    pub(super) fn sync(path: &Path, source: io::Error) -> Error {
        Error::Io { operation: "sync", path: path.to_owned(), source }
    }

    /// Whether trying again may help.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Error::DiskFull { .. })
    }
}

/// Where a segment is damaged, and how.
#[derive(Debug, thiserror::Error)]
#[error("{file}, line {line}: {fault}", file = file.display())]
pub struct Damage {
    /// The segment.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be read.
    #[error("this is no record of the log: {0}")]
    Unreadable(codec::Error),
    /// The file ends inside it.
    #[error("the file ends inside this line")]
    Unended,
    /// Empty lines that are no padding.
    #[error("a record follows {0} empty lines, where there is one at most")]
    EmptyLines(u64),
    /// It cannot follow what stands before it.
    #[error(transparent)]
    Sequence(SequenceFault),
    /// A file that does not begin like a segment.
    #[error("a segment starts with a \"segment\" line")]
    NotAStart,
    /// Such a line in the midst of a file.
    #[error("a \"segment\" line is only right as a file's first line")]
    StartInside,
    /// A segment in another one's place.
    #[error(
        "the file is segment {found} of node {node} of cluster {cluster:?}, not segment {expected} of this node"
    )]
    OtherSegment {
        /// The number it states.
        found: u64,
        /// The node it states.
        node: NodeId,
        /// The cluster it states.
        cluster: String,
        /// The number in its name.
        expected: u64,
    },
    /// Records are missing, or too many, before a segment.
    #[error("the segment starts at {found}, but the segments before it lead to {expected}")]
    Position {
        /// What the line says.
        found: Position,
        /// What the records before give.
        expected: Position,
    },
    /// The segment before has another length now.
    #[error("the segment before had {stated} bytes when it was closed, and has {found} now")]
    PreviousLength {
        /// What the line says.
        stated: u64,
        /// What is there.
        found: u64,
    },
}
