//! Looks at a data directory without touching it.

use std::path::{Path, PathBuf};

use raft_core::effects::Record;
use raft_core::types::{EntryId, Index, NodeId, Term};

use super::directory::Directory;
use super::walk::Walk;
use super::{Error, Torn};
use crate::codec::LogLine;

/// Goes through a log, line by line, as [`inspect`] began it.
#[derive(Debug)]
pub struct Inspection {
    walk: Walk,
    summary: Summary,
    is_over: bool,
}

/// An intact line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The segment.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// Where it starts in the segment, bytes.
    pub offset: u64,
    /// Its text: checksum and JSON.
    pub text: String,
    /// What it says.
    pub content: LogLine,
}

/// What a log amounts to, as far as it was read.
#[derive(Debug)]
pub struct Summary {
    /// The cluster's id.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
    /// Current term.
    pub term: Term,
    /// Vote in that term.
    pub vote: Option<NodeId>,
    /// First index; 0 if there are no entries.
    pub first: Index,
    /// The last entry that is not void.
    pub last: EntryId,
    /// Segments.
    pub segments: u64,
    /// Records, void entries included.
    pub records: u64,
    /// Bytes of intact lines; padding does not count.
    pub bytes: u64,
    /// The remains of a last write that the next start will cut. No damage.
    pub torn: Option<Torn>,
    /// Why the node would not start. Nothing after that place was read.
    pub problem: Option<Error>,
}

/// Reads and checks a data directory without changing anything. Takes no lock: of a running node it shows a moment, whose
/// last write may look torn.
pub fn inspect(dir: &Path) -> Result<Inspection, Error> {
    let directory = Directory::inspect(dir)?;
    let identity = directory.identity().clone();
    let segments = directory.segments()?;
    let summary = Summary {
        cluster: identity.cluster.clone(),
        node: identity.node,
        term: 0,
        vote: None,
        first: 0,
        last: EntryId::ZERO,
        segments: 0,
        records: 0,
        bytes: 0,
        torn: None,
        problem: None,
    };
    Ok(Inspection { walk: Walk::new(segments, identity), summary, is_over: false })
}

impl Iterator for Inspection {
    type Item = Inspected;

    fn next(&mut self) -> Option<Inspected> {
        if self.is_over {
            return None;
        }
        match self.walk.next() {
            Ok(Some(content)) => return Some(self.take(content)),
            Ok(None) => self.summary.torn = self.walk.tail().torn,
            Err(problem) => self.summary.problem = Some(problem),
        }
        self.is_over = true;
        None
    }
}

impl Inspection {
    /// Reads the rest, and sums up.
    pub fn finish(mut self) -> Summary {
        while self.next().is_some() {}
        let position = self.walk.sequence().position();
        let last = self.walk.sequence().last();
        Summary {
            term: position.term,
            vote: position.vote,
            first: last.index.min(1),
            last,
            ..self.summary
        }
    }

    fn take(&mut self, content: LogLine) -> Inspected {
        let (file, lines) = self.walk.place().expect("a line was read there");
        match &content {
            LogLine::Segment(_) => self.summary.segments += 1,
            LogLine::Record(
                Record::Entry(_) | Record::HardState { .. } | Record::Truncate { .. },
            ) => self.summary.records += 1,
        }
        self.summary.bytes += lines.end() - lines.offset;
        Inspected {
            file: file.path.clone(),
            line: lines.number,
            offset: lines.offset,
            text: String::from_utf8_lossy(&lines.line).trim_end().to_owned(),
            content,
        }
    }
}
