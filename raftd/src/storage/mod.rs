//! The log on disk: plain text files, one record a line, never cut before their end.
//!
//! ```text
//! data/node.json                     whose directory it is
//! data/log/00000000000000000001.log  segments, numbered from 1
//! data/LOCK                          held while a process runs on it
//! ```
//!
//! **Lines.** Each line is a checksum and a JSON object (see [`crate::codec`]): an entry, `{"hard_state":…}`, or
//! `{"truncate":17}`, which declares entries from there on void. A segment's first line says where the log stands there.
//! Term, vote and entries share one sequence, so there is no order between files to get wrong.
//!
//! **Batches.** What one fsync makes durable ends with an empty line; `less` shows a batch as a paragraph. A batch is
//! written only when the one before is durable. So whatever stands before an empty line that another record follows was
//! durable, and damage to it is damage, never a torn write.
//!
//! **Padding.** The newest segment is made longer ahead of time, with line ends, because fsync is faster when the file's
//! size does not change. Empty lines at the end of the newest segment mean nothing.
//!
//! **Start.** If the newest segment ends in a batch that the disk never finished (see `tail`), that batch's remains are
//! cut: nothing was ever acknowledged from it. Any other bad line, gap or missing file is an [`Error`], and the node does
//! not start: it may have acknowledged what is lost there, and would break its word.
//!
//! **Errors.** A failed fsync is never tried again: the kernel has dropped the data and would report success. A full disk
//! is no failure: the batch stays in memory and is tried again, and nothing is acknowledged meanwhile.

mod directory;
mod error;
mod inspect;
mod log_file;
mod segment;
mod sequence;
mod tail;
mod walk;
mod writer;

use std::path::{Path, PathBuf};

use raft_core::effects::Record;
use raft_core::node::Recovered;
use raft_core::types::NodeId;

pub use error::{Damage, Error, Fault};
pub use inspect::{Inspected, Inspection, Summary, inspect};
pub use log_file::LogFile;
pub use sequence::{Position, SequenceFault};
pub use writer::{Stats, StatsView, Writer, WriterEvent};

use directory::{Directory, Lock};
use walk::Walk;

use crate::codec::LogLine;

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
    /// The newest segment is made longer by this much at a time; 0: by what is written.
    pub padding_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        // Padding costs writing everything twice, and saves a third to a half of each fsync's time; larger steps than
        // this only make the fsync that writes them stand out (`cargo bench -p raftd`).
        Options { segment_bytes: 64 << 20, padding_bytes: 256 << 10 }
    }
}

/// A data directory, opened and locked.
#[derive(Debug)]
pub struct Opened {
    /// What the node must know of its past.
    pub recovered: Recovered,
    /// Where it goes on writing. Holds the lock.
    pub log: LogFile,
    /// The torn last write that was cut, if there was one; worth a line in the process's log.
    pub torn: Option<Torn>,
}

/// The remains of a last write that the disk never finished. It was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: PathBuf,
    /// Its first bad line, from 1.
    pub line: u64,
    /// How long the segment is without it.
    pub keep_bytes: u64,
    /// How many bytes are cut.
    pub cut_bytes: u64,
}

/// Opens a node's data directory, creating it if it does not exist, and reads what it holds.
pub fn open(dir: &Path, identity: &Identity) -> Result<Opened, Error> {
    open_with(dir, identity, Options::default())
}

/// [`open`] with sizes of the caller's choice.
pub fn open_with(dir: &Path, identity: &Identity, options: Options) -> Result<Opened, Error> {
    directory::create_dir(dir)?;
    let lock = Lock::acquire(dir)?;
    let directory = Directory::new(dir, identity);
    let mut walk = Walk::new(directory.open()?, identity.clone());
    let recovered = recover(&mut walk)?;
    let tail = walk.tail();
    let log = LogFile::adopt(directory, lock, options, &tail, walk.sequence().clone())?;
    Ok(Opened { recovered, log, torn: tail.torn })
}

/// Applies all records in order.
fn recover(walk: &mut Walk) -> Result<Recovered, Error> {
    let mut recovered = Recovered::default();
    while let Some(step) = walk.next()? {
        match step {
            LogLine::Segment(_) => {}
            LogLine::Record(Record::HardState { term, vote }) => {
                (recovered.term, recovered.vote) = (term, vote);
            }
            LogLine::Record(Record::Truncate { from }) => {
                let keep = usize::try_from(from - 1).unwrap_or(usize::MAX);
                recovered.entries.truncate(keep);
            }
            LogLine::Record(Record::Entry(entry)) => recovered.entries.push(entry),
        }
    }
    Ok(recovered)
}
