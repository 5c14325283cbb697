//! What can be wrong with a data directory, in words that say what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use raft_core::types::{EntryId, NodeId};

use super::sequence::{Position, SequenceFault};
use crate::codec;

/// What damage means where nobody else has what is lost. A node that starts with less than it acknowledged could vote
/// twice in a term, or help to lose a committed entry, so there is no easy way out to offer.
const REMEDY: &str = "the node does not start, because it may have acknowledged what is missing there and has no peers to \
    recover it from; nothing was changed. Put back an intact copy of the data directory as it was last; an older copy, or \
    an empty data directory under the same node id, loses what was acknowledged since";

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
    /// The directory was written by another version.
    #[error(
        "{path} says format {found}; this version knows format {known} only: start the version that wrote it, or move \
         the data directory away, and the node recovers from its peers as one that lost its disk",
        path = path.display()
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// What this version writes.
        known: u32,
    },
    /// Intact by its checksum, and yet not what this version writes.
    #[error("{file}, line {line}: intact, but not understood: {source}; start the version that wrote it, or find out where the file comes from", file = file.display())]
    NotUnderstood {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is not understood.
        source: codec::Error,
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
    /// Nothing to look at.
    #[error("{dir} is no data directory: it has neither a node.json nor a log", dir = dir.display())]
    NoData {
        /// The directory, if it exists at all.
        dir: PathBuf,
    },
    /// What may have been acknowledged is gone, or is not what was written.
    #[error("{0}: {REMEDY}")]
    Damaged(Damage),
    /// Pieces of another node's snapshot did not come in order.
    #[error("snapshot {snapshot}: a piece for byte {found} came where byte {expected} was due")]
    PieceOutOfOrder {
        /// Which snapshot.
        snapshot: EntryId,
        /// What was due; 0: no file is under way.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// What another node sent is no snapshot of this cluster; it was thrown away.
    #[error("the snapshot that was received is not valid: {0}")]
    BadSnapshotReceived(Damage),
    /// Where a piece of a snapshot's file is to begin, no character does.
    #[error("{path}: no piece can begin at byte {offset}", path = path.display())]
    BadOffset {
        /// The file.
        path: PathBuf,
        /// The byte.
        offset: u64,
    },
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

    /// For a bad line. What is intact and yet not understood is no damage: another version may have written it.
    pub(super) fn line(file: &Path, line: u64, fault: Fault) -> Error {
        let file = file.to_owned();
        match fault {
            Fault::Unreadable(source) | Fault::Snapshot(source) if !source.is_incomplete() => {
                Error::NotUnderstood { file, line, source }
            }
            fault @ (Fault::Unreadable(_)
            | Fault::Snapshot(_)
            | Fault::Unended
            | Fault::EmptyLines(_)
            | Fault::Sequence(_)
            | Fault::NotAStart
            | Fault::StartInside
            | Fault::OtherSegment { .. }
            | Fault::Position { .. }
            | Fault::PreviousLength { .. }
            | Fault::Start(_)
            | Fault::OtherSnapshot { .. }) => Error::Damaged(Damage::Line { file, line, fault }),
        }
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

/// What is damaged, and how. All kinds there are: everything else that keeps a node from starting is an [`Error`] of
/// another kind, and the disk's or the operator's doing.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// A line of the log or of a snapshot is not what was written.
    #[error("{file}, line {line}: {fault}", file = file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// `node.json` or `segments.json` is not what was written.
    #[error("{path} is damaged: {fault}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: FileFault,
    },
    /// A segment that is known to have existed is gone, or the file that counts the segments is.
    #[error("{path} is missing", path = path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is a log or a snapshot, but nothing says whose it is.
    #[error("{path} is missing, but there is a log or a snapshot beside it", path = path.display())]
    MissingPapers {
        /// Where `node.json` should be.
        path: PathBuf,
    },
    /// The log begins after what the newest snapshot holds.
    #[error("{dir} holds no snapshot up to entry {base}, after which the log begins; {}", newest_name(*newest), dir = dir.display())]
    MissingSnapshot {
        /// Where it should be.
        dir: PathBuf,
        /// The entry before the log's first.
        base: EntryId,
        /// The last entry in the newest snapshot.
        newest: Option<EntryId>,
    },
}

fn newest_name(newest: Option<EntryId>) -> String {
    newest.map_or_else(|| "there is none".to_owned(), |id| format!("the newest ends with {id}"))
}

/// What is wrong with a small file.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// It does not end in its checksum.
    #[error("it does not end with a checksum")]
    NoChecksum,
    /// The text is not the one that the checksum was made of.
    #[error("its checksum is {computed}, but it says {stated}")]
    Checksum {
        /// What the file says.
        stated: String,
        /// What its text gives.
        computed: String,
    },
    /// Its content cannot be.
    #[error("{0}")]
    Json(serde_json::Error),
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be read.
    #[error("this is no line that was ever written: {0}")]
    Unreadable(codec::Error),
    /// A snapshot cannot have it, or not there.
    #[error("this is not what was written of the snapshot: {0}")]
    Snapshot(codec::Error),
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
    /// A segment's beginning that contradicts itself.
    #[error("the segment starts at {0}, which cannot be")]
    Start(Position),
    /// A snapshot under another one's name.
    #[error("the file holds snapshot {found}")]
    OtherSnapshot {
        /// The last entry it states.
        found: EntryId,
    },
}
