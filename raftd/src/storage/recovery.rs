//! What a data directory holds, read and checked at the start. Changes nothing, but for setting up an unused directory.

use raft_core::effects::Record;
use raft_core::node::Recovered;
use raft_core::types::EntryId;

use super::directory::{Directory, create_dir};
use super::papers::NodeFile;
use super::segment::{Counters, Lines, SegmentFile, Segments, create_segment};
use super::sequence::Position;
use super::snapshot_files::{self, SnapshotFile};
use super::walk::Walk;
use super::{Damage, Error, Founding};
use crate::codec::{self, LogLine};

/// All of it.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) papers: NodeFile,
    pub(super) segments: Segments,
    /// At the end of the log.
    pub(super) walk: Walk,
    pub(super) newest: Option<SnapshotFile>,
    pub(super) recovered: Recovered,
}

impl Contents {
    pub(super) fn read(directory: &Directory, papers: NodeFile) -> Result<Contents, Error> {
        let segments = Segments::find(directory)?;
        let newest = snapshot_files::find(directory)?.pop();
        let cluster = &directory.identity().cluster;
        let snapshot =
            newest.as_ref().map(|file| snapshot_files::load(file, cluster)).transpose()?;
        let mut recovered =
            Recovered { snapshot, standing: papers.core_standing(), ..Recovered::default() };
        let mut walk = Walk::new(segments.live.clone(), directory.identity().clone());
        while let Some(line) = walk.next()? {
            apply(line, &mut recovered);
        }
        recovered.base = walk.sequence().base();
        check_base(directory, recovered.base, newest.as_ref())?;
        Ok(Contents { papers, segments, walk, newest, recovered })
    }
}

fn apply(line: LogLine, recovered: &mut Recovered) {
    match line {
        LogLine::Segment(start) => {
            (recovered.term, recovered.vote) = (start.term, start.vote);
        }
        LogLine::Record(Record::HardState { term, vote }) => {
            (recovered.term, recovered.vote) = (term, vote);
        }
        LogLine::Record(Record::Truncate { from }) => {
            // From the end, as the beginning may be anywhere.
            while recovered.entries.last().is_some_and(|entry| entry.id.index >= from) {
                recovered.entries.pop();
            }
        }
        LogLine::Record(Record::Entry(entry)) => recovered.entries.push(entry),
        LogLine::Record(Record::Snapshot { .. }) => recovered.entries.clear(),
    }
}

/// What the log does not hold any more, a snapshot must.
pub(super) fn check_base(
    directory: &Directory,
    base: EntryId,
    newest: Option<&SnapshotFile>,
) -> Result<(), Error> {
    let newest = newest.map(|file| file.last);
    if base.index <= newest.map_or(0, |last| last.index) {
        return Ok(());
    }
    Err(Error::Damaged(Damage::MissingSnapshot { dir: directory.snapshot_dir(), base, newest }))
}

/// The directory's papers. A directory that was never used is made ready first.
pub(super) fn identify(directory: &Directory, founding: &Founding) -> Result<NodeFile, Error> {
    let path = directory.node_path();
    match NodeFile::read(&path) {
        Ok(Some(file)) => {
            directory.check_owner(&path, &file.cluster, file.node)?;
            Ok(file)
        }
        Ok(None) if is_unused(directory)? => {
            let file = NodeFile::found(directory.identity(), founding)?;
            set_up(directory)?;
            file.publish(directory)?;
            Ok(file)
        }
        Ok(None) => {
            check_segment_owner(directory)?;
            Err(Error::Damaged(Damage::MissingPapers { path }))
        }
        Err(error @ Error::Damaged(_)) => {
            check_segment_owner(directory)?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Prepares an empty directory, all but its papers: without those, nothing is ever written to the log.
pub(super) fn set_up(directory: &Directory) -> Result<(), Error> {
    create_dir(&directory.log_dir())?;
    create_dir(&directory.snapshot_dir())?;
    let start = Position { next: 1, last_term: 0, term: 0, vote: None };
    create_segment(directory, Counters { first: 1, newest: 1 }, 0, start).map(drop)
}

/// Whether nothing was ever recorded here: there is no log, or one that a process had only begun to set up.
fn is_unused(directory: &Directory) -> Result<bool, Error> {
    if !snapshot_files::find(directory)?.is_empty() {
        return Ok(false);
    }
    let segments = SegmentFile::list(&directory.log_dir())?;
    match segments.as_slice() {
        [] => Ok(true),
        [first] if first.number == 1 => {
            let mut walk = Walk::new(segments, directory.identity().clone());
            let started = matches!(walk.next(), Ok(Some(LogLine::Segment(_))));
            Ok(started && matches!(walk.next(), Ok(None)) && walk.tail().torn.is_none())
        }
        _ => Ok(false),
    }
}

/// Where the papers say nothing, the log may say that the directory is somebody else's.
fn check_segment_owner(directory: &Directory) -> Result<(), Error> {
    for SegmentFile { path, .. } in SegmentFile::list(&directory.log_dir())? {
        let mut lines = Lines::open(&path)?;
        lines.advance()?;
        if let Ok(LogLine::Segment(start)) = codec::decode_log_line(&lines.line) {
            return directory.check_owner(&path, &start.cluster, start.node);
        }
    }
    Ok(())
}
