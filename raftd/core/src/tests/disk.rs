//! A node's disk: what is durable, and what a crash may take away.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::effects::{Record, Write, WriteSeq};
use crate::node::Recovered;
use crate::types::{Entry, EntryId, Index, NodeId, Term};

/// What a log file says once its records are read in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) term: Term,
    pub(super) vote: Option<NodeId>,
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
                let keep = position(*from);
                assert!(keep < self.log.len(), "nothing to void from {from} on");
                self.log.truncate(keep);
            }
            Record::Entry(entry) => {
                assert_eq!(entry.id.index, self.last().index + 1, "the log on disk has a gap");
                self.log.push(Arc::clone(entry));
            }
        }
    }

    pub(super) fn last(&self) -> EntryId {
        self.log.last().map_or(EntryId::ZERO, |entry| entry.id)
    }

    pub(super) fn holds(&self, id: EntryId) -> bool {
        self.log.get(position(id.index)).is_some_and(|entry| entry.id == id)
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
    seq_written: WriteSeq,
    seq_durable: WriteSeq,
}

impl Disk {
    /// Takes a write, in the order in which the contract promises them.
    pub(super) fn write(&mut self, write: Write) {
        assert_eq!(write.seq, self.seq_written + 1, "writes are numbered from 1 without gaps");
        assert!(!write.records.is_empty(), "a write without records");
        self.seq_written = write.seq;
        write.records.iter().for_each(|record| self.written.replay(record));
        self.pending.push_back(write);
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

    /// Makes the oldest `count` writes durable; tells the term and number of the last one.
    pub(super) fn sync(&mut self, count: usize) -> Option<(Term, WriteSeq)> {
        let mut last = None;
        for write in self.pending.drain(..count.min(self.pending.len())) {
            write.records.iter().for_each(|record| self.durable.replay(record));
            self.seq_durable = write.seq;
            last = Some((write.term, write.seq));
        }
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
        *self = Disk::holding(std::mem::take(&mut self.durable));
        Recovered {
            term: self.durable.term,
            vote: self.durable.vote,
            entries: self.durable.log.clone(),
        }
    }

    /// A disk as an earlier life left it.
    pub(super) fn holding(contents: Contents) -> Disk {
        Disk { written: contents.clone(), durable: contents, ..Disk::default() }
    }
}
