//! What is on disk: plain text files. The log has one record a line, and is never cut before its end.
//!
//! ```text
//! data/node.json                              whose directory it is, and whether it may be believed (`papers`)
//! data/log/00000000000000000001.log           segments, numbered from 1
//! data/log/segments.json                      which segments there must be
//! data/snapshot/00000000000000000017-3.snap   a snapshot; its last entry is 17, of term 3
//! data/damaged-1/                             what was damaged and moved out of the way, never touched again
//! data/LOCK                                   held while a process runs on it
//! ```
//!
//! **Lines.** Each line is a checksum and a JSON object (see [`crate::codec`]): an entry, `{"hard_state":…}`,
//! `{"truncate":17}`, which declares entries from there on void, or `{"snapshot":…}`, which declares all of them void: the
//! log goes on after the snapshot. A segment's first line says where the log stands there. Term, vote and entries share
//! one sequence, so there is no order between files to get wrong.
//!
//! **Batches.** What one fsync makes durable ends with an empty line; `less` shows a batch as a paragraph. A batch is
//! written only when the one before is durable. So whatever stands before an empty line that another record follows was
//! durable, and damage to it is damage, never a torn write.
//!
//! **Padding.** The newest segment is made longer ahead of time, with line ends, because fsync is faster when the file's
//! size does not change. Empty lines at the end of the newest segment mean nothing.
//!
//! **Publishing.** Every file but the newest segment appears with its whole content or not at all: written under another
//! name (`.tmp`, or `.part` for another node's snapshot), fsync, rename, fsync of the directory. What is left of unfinished
//! ones is removed at the next start.
//!
//! **Snapshots.** A snapshot is durable under its name before older ones are removed, and before anything of the log is.
//! A crash in between leaves a log that overlaps with the snapshot, ends before it, or contradicts it: all legal, and the
//! node decides what is void. Whole segments are removed, oldest first: `segments.json` names the first one that counts,
//! so that a crash in the midst of it leaves nothing to interpret, and one that is gone by accident is noticed. A segment
//! with which the log may come to begin is one after whose first line nothing goes back behind it.
//!
//! **Start.** The newest snapshot is read and checked, then all segments. If the newest segment ends in a batch that the
//! disk never finished (see `tail`), that batch's remains are cut: nothing was ever acknowledged from it.
//!
//! **Damage** is what may have cost something that was acknowledged; [`Damage`] lists all kinds:
//!
//! - a line before the torn last batch, or a whole batch, that is not what was written, by checksum or because it cannot
//!   follow what stands before it (a gap, a falling term, a changed vote, a closed segment of another length);
//! - a segment, or `segments.json`, that is missing or is not what was written;
//! - a newest snapshot any line of which, or whose hash, is not what was written;
//! - no snapshot that reaches to where the log begins;
//! - a `node.json` that is missing or not what was written, with a log or a snapshot beside it.
//!
//! A node that has peers moves log and snapshots out of the way, draws a new incarnation, and starts as one that lost its
//! disk: its peers must take note before it may vote, and then give it back what it lacks. Without peers it does not start,
//! and says file, line and remedy. No damage, but reasons not to start and to change nothing: a directory of another
//! node, cluster or format, a line that is intact by its checksum and not understood, and a disk that cannot be read.
//!
//! **Errors.** A failed fsync is never tried again: the kernel has dropped the data and would report success. A full disk
//! is no failure: the batch stays in memory and is tried again, and nothing is acknowledged meanwhile.

mod directory;
mod error;
mod inspect;
mod log_file;
mod papers;
mod recovery;
mod saver;
mod sealed;
mod segment;
mod sequence;
mod set_aside;
mod snapshot_files;
mod tail;
mod transfers;
mod walk;
mod writer;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::node::Recovered;
use raft_core::types::NodeId;

pub use error::{Damage, Error, Fault, FileFault};
pub use inspect::{Inspected, InspectedSnapshot, Inspection, Summary, inspect};
pub use log_file::LogFile;
pub use papers::{Papers, PapersStanding};
pub use saver::Saver;
pub use sequence::{Position, SequenceFault};
pub use set_aside::SetAside;
pub use transfers::{PIECE_BYTES_MAX, Transfers};
pub use writer::{Stats, StatsView, Writer, WriterEvent};

use directory::{Directory, Lock, remove_unneeded};
use papers::NodeFile;
use recovery::Contents;

/// Whose data directory it is; written when it is created, compared at every start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
}

/// What a directory that is still to be created begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// The voters that the cluster is founded with. A node that is not among them joins later.
    pub founders: BTreeSet<NodeId>,
    /// Whether there are other nodes, as far as the configuration file tells: then damage is recovered from.
    pub has_peers: bool,
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
        // Whole segments are removed, so larger ones only keep more of what is not needed. Padding costs writing everything
        // twice, and saves a third to a half of each fsync's time; larger steps than this only make the fsync that writes
        // them stand out (`cargo bench -p raftd`).
        Options { segment_bytes: 8 << 20, padding_bytes: 256 << 10 }
    }
}

/// A segment is not closed before it has grown to this, however often there is to be a snapshot.
const SEGMENT_BYTES_MIN: u64 = 16 << 10;

impl Options {
    /// For a log of which a snapshot is taken whenever it has grown by `log_bytes`. Only whole segments are removed, so
    /// there are two to a snapshot at least: then each lets go of something.
    pub fn for_snapshots_after(log_bytes: u64) -> Options {
        let Options { segment_bytes, padding_bytes } = Options::default();
        let segment_bytes = (log_bytes / 2).clamp(SEGMENT_BYTES_MIN, segment_bytes);
        Options { segment_bytes, padding_bytes: padding_bytes.min(segment_bytes) }
    }
}

/// A data directory, opened and locked: each part holds the lock, which is released with the last of them.
#[derive(Debug)]
pub struct Opened {
    /// What the node must know of its past. It has full standing only if the papers say so: a founder that is new may
    /// get it, and then it begins with what it has.
    pub recovered: Recovered,
    /// Where it goes on writing.
    pub log: LogFile,
    /// Who it is.
    pub papers: Papers,
    /// Writes its snapshots.
    pub saver: Saver,
    /// Reads them for others, and writes theirs.
    pub transfers: Transfers,
    /// The torn last write that was cut, if there was one; worth a line in the process's log.
    pub torn: Option<Torn>,
    /// The damage that was moved out of the way, if there was any: worth a line that nobody overlooks.
    pub damage: Option<SetAside>,
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

/// Opens a node's data directory, creating it if it does not exist, and reads what it holds. If that is damaged and there
/// are peers to recover from, it is moved out of the way.
pub fn open(dir: &Path, identity: &Identity, founding: &Founding) -> Result<Opened, Error> {
    open_with(dir, identity, founding, Options::default())
}

/// [`open`] with sizes of the caller's choice.
pub fn open_with(
    dir: &Path,
    identity: &Identity,
    founding: &Founding,
    options: Options,
) -> Result<Opened, Error> {
    directory::create_dir(dir)?;
    let lock = Arc::new(Lock::acquire(dir)?);
    let directory = Directory::new(dir, identity);
    let (contents, damage) = read(&directory, founding)?;
    let Contents { papers, segments, walk, newest, recovered } = contents;
    directory::create_dir(&directory.snapshot_dir())?;
    let torn = walk.tail().torn;
    let log = LogFile::adopt(directory.clone(), Arc::clone(&lock), options, &segments, &walk)?;
    for unfinished in directory.unfinished()? {
        remove_unneeded(&unfinished);
    }
    if let Some(newest) = &newest {
        snapshot_files::remove_older(&directory, newest)?;
    }
    let saver = Saver::new(directory.clone(), Arc::clone(&lock));
    let transfers = Transfers::new(directory.clone(), Arc::clone(&lock));
    let papers = Papers::new(directory, lock, papers);
    Ok(Opened { recovered, log, papers, saver, transfers, torn, damage })
}

/// Reads everything; moves it out of the way if it is damaged and there are peers.
fn read(directory: &Directory, founding: &Founding) -> Result<(Contents, Option<SetAside>), Error> {
    let found = recovery::identify(directory, founding);
    let old = found.as_ref().ok().cloned();
    let has_peers = founding.has_peers || old.as_ref().is_some_and(NodeFile::has_peers);
    let is_unfinished = old.as_ref().is_some_and(|file| file.set_aside.is_some());
    let file = if is_unfinished {
        found?
    } else {
        match found.and_then(|file| Contents::read(directory, file)) {
            Err(Error::Damaged(damage)) if has_peers => {
                set_aside::begin(directory, founding, old, &damage)?
            }
            read => return Ok((read?, None)),
        }
    };
    let (file, damage) = set_aside::finish(directory, file)?;
    Ok((Contents::read(directory, file)?, Some(damage)))
}
