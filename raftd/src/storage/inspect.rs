//! Looks at a data directory without touching it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::effects::Record;
use raft_core::membership::Configuration;
use raft_core::snapshot::{Saved, Snapshot};
use raft_core::types::{EntryId, Index, NodeId, Term};

use super::directory::Directory;
use super::papers::{NodeFile, PapersStanding};
use super::segment::{SegmentFile, Segments};
use super::snapshot_files::{self, SnapshotFile};
use super::walk::Walk;
use super::{Damage, Error, Identity, Torn, recovery};
use crate::codec::LogLine;

/// Goes through a log, line by line, as [`inspect`] began it.
#[derive(Debug)]
pub struct Inspection {
    directory: Directory,
    walk: Walk,
    newest: Option<SnapshotFile>,
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

/// What a directory amounts to, as far as it was read.
#[derive(Debug)]
pub struct Summary {
    /// The cluster's id.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
    /// The directory's number.
    pub incarnation: u64,
    /// Whether the node may be believed.
    pub standing: PapersStanding,
    /// The voters that the cluster was founded with; none at a node that joined.
    pub founders: BTreeSet<NodeId>,
    /// The numbers of the peers' directories, as far as they are known.
    pub known: BTreeMap<NodeId, u64>,
    /// The newest snapshot, if it is intact.
    pub snapshot: Option<InspectedSnapshot>,
    /// Current term.
    pub term: Term,
    /// Vote in that term.
    pub vote: Option<NodeId>,
    /// The entry before the first in the log.
    pub base: EntryId,
    /// First index in the log; 0 if there are no entries.
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
    /// Files that mean nothing any more, and that the next start will remove. No damage.
    pub leftovers: Vec<PathBuf>,
    /// Where damaged files were moved by earlier starts.
    pub damaged: Vec<PathBuf>,
    /// What the next start would find damaged. Nothing after that place was read.
    pub problem: Option<Error>,
}

/// A snapshot that was read from its first line to its last.
#[derive(Clone, Debug)]
pub struct InspectedSnapshot {
    /// The file.
    pub file: PathBuf,
    /// The last entry in it.
    pub last: EntryId,
    /// Length of the file.
    pub bytes: u64,
    /// Index of the configuration in it.
    pub config_index: Index,
    /// That configuration.
    pub config: Arc<Configuration>,
    /// How many keys it holds.
    pub keys: usize,
    /// How many client sessions it holds.
    pub sessions: usize,
    /// Hash of the state, as `status` shows it.
    pub state_hash: u64,
}

/// Reads and checks a data directory without changing anything. Takes no lock: of a running node it shows a moment, whose
/// last write may look torn.
pub fn inspect(dir: &Path) -> Result<Inspection, Error> {
    let nobody = Directory::new(dir, &Identity { cluster: String::new(), node: 0 });
    let path = nobody.node_path();
    let Some(papers) = NodeFile::read(&path)? else {
        let has_log = !SegmentFile::list(&nobody.log_dir())?.is_empty();
        return Err(if has_log || !snapshot_files::find(&nobody)?.is_empty() {
            Error::Damaged(Damage::MissingPapers { path })
        } else {
            Error::NoData { dir: dir.to_owned() }
        });
    };
    let identity = Identity { cluster: papers.cluster.clone(), node: papers.node };
    let directory = Directory::new(dir, &identity);
    let segments = Segments::find(&directory)?;
    let mut snapshots = snapshot_files::find(&directory)?;
    let newest = snapshots.pop();
    let mut summary = Summary::new(papers);
    summary.damaged = directory.asides()?.into_iter().map(|(_, path)| path).collect();
    summary.leftovers = directory.unfinished()?;
    summary.leftovers.extend(segments.purged.into_iter().map(|file| file.path));
    summary.leftovers.extend(snapshots.into_iter().map(|file| file.path));
    match newest.as_ref().map(|file| snapshot_files::load(file, &identity.cluster)) {
        Some(Ok(saved)) => {
            let file = newest.as_ref().expect("it was read").path.clone();
            summary.snapshot = Some(InspectedSnapshot::new(file, &saved));
        }
        Some(Err(problem)) => summary.problem = Some(problem),
        None => {}
    }
    let walk = Walk::new(segments.live, identity);
    Ok(Inspection { directory, walk, newest, summary, is_over: false })
}

impl Summary {
    /// The first one counts: it is what the next start would say.
    fn add_problem(&mut self, problem: Option<Error>) {
        if self.problem.is_none() {
            self.problem = problem;
        }
    }

    fn new(papers: NodeFile) -> Summary {
        let NodeFile { cluster, node, incarnation, founders, standing, known, .. } = papers;
        Summary {
            cluster,
            node,
            incarnation,
            standing,
            founders,
            known,
            snapshot: None,
            term: 0,
            vote: None,
            base: EntryId::ZERO,
            first: 0,
            last: EntryId::ZERO,
            segments: 0,
            records: 0,
            bytes: 0,
            torn: None,
            leftovers: Vec::new(),
            damaged: Vec::new(),
            problem: None,
        }
    }
}

impl InspectedSnapshot {
    fn new(file: PathBuf, Saved { snapshot, bytes }: &Saved) -> InspectedSnapshot {
        let Snapshot { last, config_index, config, state } = snapshot;
        InspectedSnapshot {
            file,
            last: *last,
            bytes: *bytes,
            config_index: *config_index,
            config: Arc::clone(config),
            keys: state.keys(),
            sessions: state.sessions(),
            state_hash: state.hash(),
        }
    }
}

impl Iterator for Inspection {
    type Item = Inspected;

    fn next(&mut self) -> Option<Inspected> {
        if self.is_over {
            return None;
        }
        match self.walk.next() {
            Ok(Some(content)) => return Some(self.take(content)),
            Ok(None) => {
                self.summary.torn = self.walk.tail().torn;
                let base = self.walk.sequence().base();
                let checked = recovery::check_base(&self.directory, base, self.newest.as_ref());
                self.summary.add_problem(checked.err());
            }
            Err(problem) => self.summary.add_problem(Some(problem)),
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
        let (base, last) = (self.walk.sequence().base(), self.walk.sequence().last());
        Summary {
            term: position.term,
            vote: position.vote,
            base,
            first: if last == base { 0 } else { base.index + 1 },
            last,
            ..self.summary
        }
    }

    fn take(&mut self, content: LogLine) -> Inspected {
        let (file, lines) = self.walk.place().expect("a line was read there");
        match &content {
            LogLine::Segment(_) => self.summary.segments += 1,
            LogLine::Record(
                Record::Entry(_)
                | Record::HardState { .. }
                | Record::Truncate { .. }
                | Record::Snapshot { .. },
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
