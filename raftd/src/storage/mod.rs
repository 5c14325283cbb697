//! The log on disk: plain text files, one record a line, never cut before their end.

mod log_file;
mod writer;

use std::path::{Path, PathBuf};

use raft_core::node::Recovered;
use raft_core::types::NodeId;

pub use log_file::LogFile;
pub use writer::{Stats, StatsView, Writer, WriterEvent};

/// Whose data directory it is; written when it is created, compared at every start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
}

/// Sizes. The default is right for production; tests use tiny ones.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A segment that has grown to this is closed, and the next one begun.
    pub segment_bytes: u64,
    /// The file is made longer by this much at a time; 0: by what is written.
    pub preallocate_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { segment_bytes: 64 << 20, preallocate_bytes: 1 << 20 }
    }
}

/// A data directory, opened and locked.
#[derive(Debug)]
pub struct Opened {
    /// What the node must know of its past.
    pub recovered: Recovered,
    /// Where it goes on writing. Holds the lock.
    pub log: LogFile,
    /// Bytes of a torn last write that were cut, if any; worth a line in the log.
    pub torn: Option<Torn>,
}

/// A torn last write that was cut: it was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: PathBuf,
    /// Its first bad line, from 1.
    pub line: u64,
    /// How many bytes were cut.
    pub bytes: u64,
}

/// What can go wrong with a data directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the operating system failed.
    #[error("{operation} {path}: {source}", path = path.display())]
    Io {
        /// What was tried: "open", "write", "sync" …
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Opens a node's data directory, creating it if it does not exist, and reads what it holds.
pub fn open(dir: &Path, identity: &Identity) -> Result<Opened, Error> {
    open_with(dir, identity, Options::default())
}

/// [`open`] with sizes of the caller's choice.
pub fn open_with(dir: &Path, identity: &Identity, options: Options) -> Result<Opened, Error> {
    let _ = (dir, identity, options);
    unimplemented!()
}
