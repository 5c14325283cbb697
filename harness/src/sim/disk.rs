//! A node's disk: what is durable, and what a crash may take away.

use std::collections::VecDeque;
use std::sync::Arc;

use raft_core::effects::{Record, Write, WriteSeq};
use raft_core::membership::Configuration;
use raft_core::node::{Recovered, Standing};
use raft_core::snapshot::Saved;
use raft_core::types::{Entry, EntryId, Index, NodeId, Payload, Term};

use super::rng::Rng;
use super::violation::{Violation, ensure};

/// What a log file says once its records are read in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) term: Term,
    pub(super) vote: Option<NodeId>,
    /// The entry before the first of `log`.
    pub(super) base: EntryId,
    pub(super) log: VecDeque<Arc<Entry>>,
}

impl Contents {
    /// Reads one more record.
    fn replay(&mut self, record: &Record) -> Result<(), Violation> {
        match record {
            Record::HardState { term, vote } => {
                ensure!(
                    *term >= self.term,
                    "log file",
                    "the term falls from {} to {term}",
                    self.term
                );
                (self.term, self.vote) = (*term, *vote);
            }
            Record::Truncate { from } => {
                let keep = from.checked_sub(self.base.index + 1).map(position);
                let keep = keep.filter(|&keep| keep < self.log.len());
                ensure!(keep.is_some(), "log file", "nothing to void from {from} on");
                self.log.truncate(keep.unwrap_or(0));
            }
            Record::Entry(entry) => {
                let last = self.last();
                let follows = entry.id.index == last.index + 1 && entry.id.term >= last.term;
                ensure!(follows, "log file", "{} stands after {last}", entry.id);
                ensure!(entry.id.term <= self.term, "log file", "{} is of a later term", entry.id);
                self.log.push_back(Arc::clone(entry));
            }
            Record::Snapshot { last } => {
                self.base = *last;
                self.log.clear();
            }
        }
        Ok(())
    }

    pub(super) fn last(&self) -> EntryId {
        self.log.back().map_or(self.base, |entry| entry.id)
    }

    pub(super) fn get(&self, index: Index) -> Option<&Arc<Entry>> {
        self.log.get(position(index.checked_sub(self.base.index + 1)?))
    }

    /// Whether the log holds exactly this entry.
    pub(super) fn holds(&self, id: EntryId) -> bool {
        id == self.base || self.get(id.index).is_some_and(|entry| entry.id == id)
    }

    /// The last configuration in the log up to `index`.
    pub(super) fn config_at(&self, index: Index) -> Option<&Arc<Configuration>> {
        let mut upto = self.log.iter().rev().skip_while(|entry| entry.id.index > index);
        upto.find_map(|entry| match &entry.payload {
            Payload::Configuration(config) => Some(config),
            Payload::Noop | Payload::Command(_) => None,
        })
    }

    /// Forgets entries before `index`.
    fn purge(&mut self, index: Index) {
        while self.log.front().is_some_and(|entry| entry.id.index < index) {
            self.base = self.log.pop_front().expect("there is a front").id;
        }
    }
}

fn position(distance: u64) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}

/// What the writer has to do, in order.
#[derive(Debug)]
enum Todo {
    Write(Write),
    Purge(Index),
}

/// A disk that can be slow, and that a crash robs of all that was not synced, or of a part of it.
#[derive(Debug)]
pub(super) struct Disk {
    /// What survives.
    durable: Contents,
    /// What the running process wrote; ahead of `durable` by what is to do.
    written: Contents,
    todo: VecDeque<Todo>,
    /// How much of `todo` the running sync is about; 0: none is running.
    syncing: usize,
    seq_written: WriteSeq,
    seq_durable: WriteSeq,
    /// The newest snapshot under its name.
    pub(super) snapshot: Option<Saved>,
    /// The number of the data directory.
    pub(super) incarnation: u64,
    /// Whether the node may vote, as the directory says.
    pub(super) standing: Standing,
}

impl Disk {
    /// A directory as it was just created.
    pub(super) fn new(incarnation: u64, standing: Standing) -> Disk {
        Disk {
            durable: Contents::default(),
            written: Contents::default(),
            todo: VecDeque::new(),
            syncing: 0,
            seq_written: 0,
            seq_durable: 0,
            snapshot: None,
            incarnation,
            standing,
        }
    }

    /// Takes a write, in the order in which the contract promises them.
    pub(super) fn write(&mut self, write: Write) -> Result<(), Violation> {
        let (seq, due) = (write.seq, self.seq_written + 1);
        ensure!(seq == due, "effects contract", "write {seq} where {due} is due");
        ensure!(!write.records.is_empty(), "effects contract", "write {seq} has no records");
        self.seq_written = seq;
        for record in &write.records {
            self.written.replay(record)?;
        }
        self.todo.push_back(Todo::Write(write));
        Ok(())
    }

    /// Takes a purge, to be done after all writes so far.
    pub(super) fn purge(&mut self, index: Index) -> Result<(), Violation> {
        let held = self.snapshot.as_ref().map_or(0, |saved| saved.snapshot.last.index);
        ensure!(
            index <= held + 1,
            "log purged too early",
            "entries before {index} are to be purged, but the durable snapshot ends at {held}"
        );
        self.todo.push_back(Todo::Purge(index));
        Ok(())
    }

    /// What the process wrote, durable or not.
    pub(super) fn written(&self) -> &Contents {
        &self.written
    }

    /// Whether this write is durable.
    pub(super) fn is_durable(&self, seq: WriteSeq) -> bool {
        seq <= self.seq_durable
    }

    /// Whether this write was ever asked for.
    pub(super) fn was_asked(&self, seq: WriteSeq) -> bool {
        seq <= self.seq_written
    }

    /// Whether this entry would survive a crash, in the log or in the snapshot.
    pub(super) fn keeps(&self, id: EntryId) -> bool {
        let snapshot = self.snapshot.as_ref().map_or(0, |saved| saved.snapshot.last.index);
        id.index <= snapshot || self.durable.holds(id)
    }

    /// Whether this vote would survive a crash, or can never be given again, as the term is over.
    pub(super) fn keeps_vote(&self, term: Term, vote: NodeId) -> bool {
        self.durable.term > term || self.durable.term == term && self.durable.vote == Some(vote)
    }

    /// Whether the log up to this index would survive a crash; in later terms it may have been voided.
    pub(super) fn keeps_log(&self, term: Term, upto: Index) -> bool {
        let snapshot = self.snapshot.as_ref().map_or(0, |saved| saved.snapshot.last.index);
        let last = self.durable.last().index.max(snapshot);
        self.durable.term > term || self.durable.term == term && upto <= last
    }

    /// Starts a sync of all there is to do, if none is running; whether it did.
    pub(super) fn start_sync(&mut self) -> bool {
        let starts = self.syncing == 0 && !self.todo.is_empty();
        if starts {
            self.syncing = self.todo.len();
        }
        starts
    }

    /// The sync has come to its end: tells the term and number of the last write that it was about. Purges remove whole
    /// files, so some of what may go stays.
    pub(super) fn finish_sync(
        &mut self,
        rng: &mut Rng,
    ) -> Result<Option<(Term, WriteSeq)>, Violation> {
        let mut last = None;
        for todo in self.todo.drain(..std::mem::take(&mut self.syncing)) {
            match todo {
                Todo::Write(write) => {
                    for record in &write.records {
                        self.durable.replay(record)?;
                    }
                    self.seq_durable = write.seq;
                    last = Some((write.term, write.seq));
                }
                Todo::Purge(index) => {
                    let first = self.durable.base.index + 1;
                    let upto = rng.between(first.min(index), index);
                    self.durable.purge(upto);
                    self.written.purge(upto);
                }
            }
        }
        Ok(last)
    }

    /// A snapshot got its name: it is durable, and older ones are removed.
    pub(super) fn publish(&mut self, saved: Saved) {
        let newest = self.snapshot.as_ref().map_or(0, |saved| saved.snapshot.last.index);
        if saved.snapshot.last.index > newest {
            self.snapshot = Some(saved);
        }
    }

    /// How many records are not durable.
    pub(super) fn unsynced_records(&self) -> u64 {
        let records = self.todo.iter().map(|todo| match todo {
            Todo::Write(write) => write.records.len(),
            Todo::Purge(_) => 0,
        });
        u64::try_from(records.sum::<usize>()).expect("memory is smaller")
    }

    /// The process is gone. Of what it had not synced, the first `survivors` records are on the disk nevertheless.
    pub(super) fn crash(&mut self, survivors: u64) -> Result<(), Violation> {
        let todo = std::mem::take(&mut self.todo);
        let records = todo.iter().flat_map(|todo| match todo {
            Todo::Write(write) => write.records.as_slice(),
            Todo::Purge(_) => &[],
        });
        for record in records.take(position(survivors)) {
            self.durable.replay(record)?;
        }
        self.written = self.durable.clone();
        (self.syncing, self.seq_written, self.seq_durable) = (0, 0, 0);
        Ok(())
    }

    /// For the test of the tests: a disk that forgets what it had said to be durable.
    pub(super) fn forget_synced(&mut self, entries: usize) {
        for _ in 0..entries {
            self.durable.log.pop_back();
        }
        self.written = self.durable.clone();
    }

    /// What the next start finds.
    pub(super) fn recover(&self) -> Recovered {
        Recovered {
            term: self.durable.term,
            vote: self.durable.vote,
            snapshot: self.snapshot.clone(),
            base: self.durable.base,
            entries: self.durable.log.iter().cloned().collect(),
            standing: self.standing,
        }
    }
}
