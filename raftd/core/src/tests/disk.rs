//! A node's disk: what is durable, and what a crash may take away.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::effects::{ReceivedChunk, Record, Write, WriteSeq};
use crate::node::{Recovered, Standing};
use crate::snapshot::{Saved, Snapshot};
use crate::types::{Entry, EntryId, Index, NodeId, Term};

/// What a log file says once its records are read in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) term: Term,
    pub(super) vote: Option<NodeId>,
    /// The entry before the first of `log`.
    pub(super) base: EntryId,
    pub(super) log: Vec<Arc<Entry>>,
}

impl Contents {
    /// Reads one more record.
    fn replay(&mut self, record: &Record) {
        match record {
            Record::HardState { term, vote } => {
                assert!(*term >= self.term, "the term on disk falls from {} to {term}", self.term);
                (self.term, self.vote) = (*term, *vote);
            }
            Record::Truncate { from } => {
                assert!(self.get(*from).is_some(), "nothing to void from {from} on");
                self.log.truncate(position(from - self.base.index));
            }
            Record::Entry(entry) => {
                assert_eq!(entry.id.index, self.last().index + 1, "the log on disk has a gap");
                self.log.push(Arc::clone(entry));
            }
            Record::Snapshot { last } => {
                self.base = *last;
                self.log.clear();
            }
        }
    }

    /// The last entry, or the base.
    pub(super) fn last(&self) -> EntryId {
        self.log.last().map_or(self.base, |entry| entry.id)
    }

    pub(super) fn get(&self, index: Index) -> Option<&Arc<Entry>> {
        let distance = index.checked_sub(self.base.index).filter(|&distance| distance > 0)?;
        self.log.get(position(distance))
    }

    pub(super) fn holds(&self, id: EntryId) -> bool {
        id == self.base || self.get(id.index).is_some_and(|entry| entry.id == id)
    }

    /// Removes what lies before `first`.
    fn purge(&mut self, first: Index) {
        let count = self.log.iter().take_while(|entry| entry.id.index < first).count();
        if let Some(last) = self.log.drain(..count).next_back() {
            self.base = last.id;
        }
    }
}

/// Where the entry with this index stands in a vector of all entries.
pub(super) fn position(index: Index) -> usize {
    usize::try_from(index).expect("test logs are short").checked_sub(1).expect("indexes start at 1")
}

/// A disk that a schedule can delay, and a crash can rob of all that was not synced.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// What survives.
    pub(super) durable: Contents,
    /// What the running process wrote; ahead of `durable` by the pending writes.
    pub(super) written: Contents,
    pending: VecDeque<Write>,
    /// Beginnings of the log that go once a write is durable.
    purges: VecDeque<(WriteSeq, Index)>,
    seq_written: WriteSeq,
    seq_durable: WriteSeq,
    /// The newest durable snapshot.
    pub(super) snapshot: Option<Saved>,
    /// Snapshots that were replaced while they were read: they stay readable until the process ends.
    open: Vec<Saved>,
    /// Which snapshots were read from.
    read: BTreeSet<EntryId>,
    /// A snapshot of the node's own that is being written.
    saving: Option<Snapshot>,
    /// Another node's that comes in.
    incoming: Option<Incoming>,
    /// What the data directory says of its own worth.
    pub(super) standing: Standing,
    /// The data directory's number; 0: one that a founder began with.
    pub(super) incarnation: u64,
}

/// Pieces put together.
#[derive(Debug)]
struct Incoming {
    last: EntryId,
    text: String,
    is_complete: bool,
}

/// A job of the thread that deals with snapshots, done.
#[derive(Debug)]
pub(super) enum Done {
    /// A snapshot is durable.
    Saved(Snapshot),
    /// A snapshot has come in, with this text.
    Received(EntryId, String),
}

impl Disk {
    /// Takes a write, in the order in which the contract promises them.
    pub(super) fn write(&mut self, write: Write) {
        assert_eq!(write.seq, self.seq_written + 1, "writes are numbered from 1 without gaps");
        assert!(!write.records.is_empty(), "a write without records");
        self.seq_written = write.seq;
        for record in &write.records {
            if let Record::Snapshot { last } = record {
                let has = self.snapshot.as_ref().is_some_and(|saved| saved.snapshot.last == *last);
                assert!(has, "the log is to go on after {last}, of which there is no snapshot");
            }
            self.written.replay(record);
        }
        self.pending.push_back(write);
    }

    /// Removes the log's entries before `first`, after the writes so far.
    pub(super) fn purge(&mut self, first: Index) {
        let end = self.snapshot.as_ref().map_or(0, |saved| saved.snapshot.last.index);
        assert!(first <= end + 1, "purges up to {first}, but the snapshot ends at {end}");
        self.written.purge(first);
        self.purges.push_back((self.seq_written, first));
        self.purge_durable();
    }

    fn purge_durable(&mut self) {
        let seq = self.seq_durable;
        while let Some((_, first)) = self.purges.pop_front_if(|(after, _)| *after <= seq) {
            self.durable.purge(first);
        }
    }

    /// Whether there is something to sync.
    pub(super) fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether this write is durable.
    pub(super) fn is_durable(&self, seq: WriteSeq) -> bool {
        assert!(seq <= self.seq_written, "waits for w{seq}, which was never asked for");
        seq <= self.seq_durable
    }

    /// Whether a crash would leave this entry, in the log or in a snapshot.
    pub(super) fn keeps(&self, id: EntryId) -> bool {
        let in_snapshot =
            self.snapshot.as_ref().is_some_and(|saved| saved.snapshot.last.index >= id.index);
        in_snapshot || self.durable.holds(id)
    }

    /// Makes the oldest `count` writes durable; tells the term and number of the last one.
    pub(super) fn sync(&mut self, count: usize) -> Option<(Term, WriteSeq)> {
        let mut last = None;
        for write in self.pending.drain(..count.min(self.pending.len())) {
            write.records.iter().for_each(|record| self.durable.replay(record));
            self.seq_durable = write.seq;
            last = Some((write.term, write.seq));
        }
        self.purge_durable();
        last
    }

    /// How many records are not durable.
    pub(super) fn pending_records(&self) -> usize {
        self.pending.iter().map(|write| write.records.len()).sum()
    }

    /// Numbers of the writes that are not durable.
    pub(super) fn pending(&self) -> impl Iterator<Item = WriteSeq> {
        self.pending.iter().map(|write| write.seq)
    }

    /// Forgets what is not durable, except for the first `survivors` records, which happened to reach the disk; then
    /// reads what is there.
    pub(super) fn crash(&mut self, survivors: usize) -> Recovered {
        let pending = std::mem::take(&mut self.pending);
        let records = pending.iter().flat_map(|write| &write.records);
        records.take(survivors).for_each(|record| self.durable.replay(record));
        let Disk { durable, snapshot, standing, incarnation, .. } = std::mem::take(self);
        *self = Disk { snapshot, standing, incarnation, ..Disk::holding(durable) };
        Recovered {
            term: self.durable.term,
            vote: self.durable.vote,
            snapshot: self.snapshot.clone(),
            base: self.durable.base,
            entries: self.durable.log.clone(),
            standing,
        }
    }

    /// A disk with nothing on it but a new data directory of somebody who joins, or has lost the one before.
    pub(super) fn empty(incarnation: u64) -> Disk {
        Disk { standing: Standing::Lost { incarnation }, incarnation, ..Disk::default() }
    }

    /// A disk as an earlier life left it.
    pub(super) fn holding(contents: Contents) -> Disk {
        Disk { written: contents.clone(), durable: contents, ..Disk::default() }
    }
}

// Snapshots.
impl Disk {
    /// Begins to write a snapshot.
    pub(super) fn save(&mut self, snapshot: Snapshot) {
        assert!(self.saving.is_none(), "two snapshots at a time");
        self.saving = Some(snapshot);
    }

    /// Takes a piece of another node's snapshot.
    pub(super) fn receive(&mut self, chunk: ReceivedChunk) {
        let ReceivedChunk { snapshot: last, offset, data, is_last } = chunk;
        let text = match self.incoming.take() {
            Some(incoming) if offset > 0 => {
                assert_eq!(incoming.last, last, "a piece of another snapshot");
                incoming.text
            }
            Some(_) | None => String::new(),
        };
        assert_eq!(text.len().to_string(), offset.to_string(), "a piece is missing");
        self.incoming = Some(Incoming { last, text: text + &data, is_complete: is_last });
    }

    /// Whether a snapshot is to be written, or one that came in to be verified.
    pub(super) fn has_job(&self) -> bool {
        self.saving.is_some() || self.incoming.as_ref().is_some_and(|it| it.is_complete)
    }

    /// Does the next job.
    pub(super) fn work(&mut self) -> Option<Done> {
        if let Some(snapshot) = self.saving.take() {
            return Some(Done::Saved(snapshot));
        }
        let Incoming { last, text, .. } = self.incoming.take_if(|it| it.is_complete)?;
        Some(Done::Received(last, text))
    }

    /// A snapshot is durable; only the newest one is kept, and what is being read.
    pub(super) fn publish(&mut self, saved: Saved) {
        let newest = self.snapshot.as_ref().map_or(EntryId::ZERO, |there| there.snapshot.last);
        if saved.snapshot.last.index >= newest.index
            && let Some(replaced) = self.snapshot.replace(saved)
            && self.read.contains(&replaced.snapshot.last)
        {
            self.open.push(replaced);
        }
    }

    /// Whether a piece of this snapshot can be read.
    pub(super) fn read(&mut self, last: EntryId) -> bool {
        self.read.insert(last);
        self.snapshot.iter().chain(&self.open).any(|saved| saved.snapshot.last == last)
    }

    /// Replaced snapshots cannot be read any more.
    pub(super) fn close_replaced(&mut self) {
        self.open.clear();
    }
}
