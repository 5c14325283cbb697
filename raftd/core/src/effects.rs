//! What a step asks its driver to do, with the order of durability in the types.
//!
//! The contract, stated once (Thesis §3.8, §10.2.1):
//!
//! 1. [`Write`]s are made durable in the order of their `seq`, and reported with
//!    [`Input::Durable`](crate::node::Input::Durable) - never before fsync has returned.
//! 2. A [`Send`] with `after: Some(seq)` leaves only when `seq` is durable. That covers votes, answers to appends and
//!    requests for votes. A leader's own appends carry `None`: its disk and the network work in parallel, and it
//!    counts itself only on `Durable`.
//! 3. Answers go to clients at once: what they rest on is durable on a quorum already.
//!
//! The driver needs to know nothing else about consensus, and cannot reorder what the types forbid it to see.

use std::sync::Arc;

use crate::kv;
use crate::membership::ChangeRefusal;
use crate::message::Envelope;
use crate::snapshot::Snapshot;
use crate::types::{Entry, EntryId, Index, NodeId, Term};

/// Counts the writes of one process life, from 1. Never reused, so a completion cannot be taken for
/// that of another write at the same log index (the ABA of truncated and rewritten suffixes).
pub type WriteSeq = u64;

/// Chosen by the driver to recognise the client that an answer belongs to.
pub type Token = u64;

/// Everything that one step asks for. Reused from step to step; the driver drains it.
#[derive(Debug, Default)]
pub struct Effects {
    /// At most one write a step: all records of a batch share one fsync.
    pub write: Option<Write>,
    /// Messages for other members, in order.
    pub sends: Vec<Send>,
    /// Answers for clients.
    pub answers: Vec<Answer>,
    /// A snapshot to write to a file, in the background: the state in it does not change any more. Answered with
    /// [`Input::SnapshotSaved`](crate::node::Input::SnapshotSaved) or `SnapshotFailed`; never two at a time.
    pub snapshot: Option<Snapshot>,
    /// Pieces of a snapshot's file that others need; answered with
    /// [`Input::ChunkRead`](crate::node::Input::ChunkRead) or `ChunkFailed`.
    pub chunks: Vec<ReadChunk>,
    /// Pieces of another node's snapshot, to be put together; the last one is answered with
    /// [`Input::SnapshotReceived`](crate::node::Input::SnapshotReceived) or `ReceiveFailed`.
    pub received: Vec<ReceivedChunk>,
    /// Entries before this index are in a durable snapshot, and no longer needed on the disk.
    pub purge: Option<Index>,
    /// What a person or a harness may want to know.
    pub events: Vec<Event>,
}

impl Effects {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.write.is_none()
            && self.sends.is_empty()
            && self.answers.is_empty()
            && self.snapshot.is_none()
            && self.chunks.is_empty()
            && self.received.is_empty()
            && self.purge.is_none()
            && self.events.is_empty()
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.write = None;
        self.sends.clear();
        self.answers.clear();
        self.snapshot = None;
        self.chunks.clear();
        self.received.clear();
        self.purge = None;
        self.events.clear();
    }
}

/// Records to append to the log file and to make durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Position among all writes of this process.
    pub seq: WriteSeq,
    /// The term in which it was asked for; returned with the completion.
    pub term: Term,
    /// In order; at least one.
    pub records: Vec<Record>,
}

/// One record of the log file. Term, vote and entries share one log, so that their order on disk is
/// the order in which they were decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Current term and the vote given in it.
    HardState {
        /// The current term.
        term: Term,
        /// Whom this node voted for in `term`.
        vote: Option<NodeId>,
    },
    /// Entries from this index on are void. The file is never cut: what follows replaces them.
    Truncate {
        /// First void index.
        from: Index,
    },
    /// An entry; its index is that of the entry before it plus one.
    Entry(Arc<Entry>),
    /// All entries so far are void: the log goes on after this one, which the snapshot of the same name holds. That
    /// snapshot is durable already.
    Snapshot {
        /// The last entry in the snapshot.
        last: EntryId,
    },
}

/// A piece of a snapshot's file to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadChunk {
    /// Who needs it.
    pub to: NodeId,
    /// The snapshot's last entry: which snapshot it is. It may have been replaced by a newer one meanwhile, and then
    /// is still readable where the system allows it, or the read fails.
    pub snapshot: EntryId,
    /// First byte wanted.
    pub offset: u64,
}

/// A piece of another node's snapshot. Pieces come in order: `offset` 0 begins a file, and makes an unfinished one
/// void; any other is where the piece before ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedChunk {
    /// The snapshot's last entry.
    pub snapshot: EntryId,
    /// Where in the file.
    pub offset: u64,
    /// What is there.
    pub data: Arc<str>,
    /// Whether the file is complete with it: then it is verified, made durable, and loaded.
    pub is_last: bool,
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// The message.
    pub envelope: Envelope,
    /// The write that must be durable before the message may leave.
    pub after: Option<WriteSeq>,
}

/// An answer to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The token given with the request.
    pub token: Token,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write is committed and applied, or was before (a retry).
    Written(kv::Written),
    /// A read's value, and the index it reflects.
    Read {
        /// The value, if the key has one.
        value: Option<String>,
        /// All entries up to here are reflected.
        index: Index,
    },
    /// Not proposed: this node does not lead. Definite.
    NotLeader {
        /// Whom this node takes for the leader.
        leader: Option<NodeId>,
    },
    /// Not proposed: too much is waiting to be committed. Definite.
    Overloaded,
    /// Proposed, but the leadership was lost before it was committed: it may or may not take
    /// effect. Indefinite.
    LeadershipLost,
    /// A read that could not be confirmed. Reads have no effect, so this is definite.
    ReadFailed,
    /// Not proposed: leadership is being handed over. Definite; ask the new leader.
    Transferring {
        /// Who is to lead.
        to: NodeId,
    },
    /// The change of membership is committed.
    Changed {
        /// Index of its (last) configuration.
        index: Index,
    },
    /// The change of membership was not begun. Definite.
    ChangeRefused(ChangeRefusal),
    /// Another node has taken over.
    Transferred {
        /// Whom this node handed over to.
        to: NodeId,
    },
    /// This node leads on.
    TransferFailed(TransferFailure),
    /// A snapshot is durable that reflects at least everything that was applied when it was asked for.
    SnapshotTaken {
        /// The last index in it.
        index: Index,
    },
    /// No snapshot could be written; the disk may be full.
    SnapshotFailed,
}

/// Why leadership was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferFailure {
    /// The target is no voter, or there is no other.
    NoTarget,
    /// A transfer to another node is under way.
    Busy,
    /// The target did not catch up, or did not win, within an election timeout (Thesis §3.10).
    TimedOut,
}

/// Something that happened, for logs and the timeline of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Role or term changed.
    Role {
        /// The term it holds in.
        term: Term,
        /// The new role.
        role: Role,
        /// The leader of `term` as far as known.
        leader: Option<NodeId>,
    },
    /// A follower learnt who leads its term.
    Leader {
        /// The term.
        term: Term,
        /// Its leader.
        leader: NodeId,
    },
    /// Another configuration rules from now on: it came into the log, or the one after it left it (Thesis §4.1).
    Configuration {
        /// Index of its entry; 0: the founding one.
        index: Index,
    },
    /// A snapshot of this node's own became durable.
    SnapshotTaken {
        /// The last entry in it.
        last: EntryId,
        /// Length of its file.
        bytes: u64,
    },
    /// A snapshot of another node's took the place of what this node had.
    SnapshotInstalled {
        /// The last entry in it.
        last: EntryId,
        /// Length of its file.
        bytes: u64,
    },
    /// This node may vote again: the cluster has taken note that its disk was lost. To be remembered on the disk; if it
    /// is not, nothing worse happens than that the cluster has to take note again.
    Readmitted {
        /// The number of the data directory that was admitted.
        incarnation: u64,
    },
    /// Leadership is being handed over.
    TransferStarted {
        /// To whom.
        to: NodeId,
    },
    /// It was not taken; this node leads on.
    TransferAborted {
        /// Who was to lead.
        to: NodeId,
    },
}

/// What a node is in its current term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Answers others.
    Follower,
    /// Asks whether it could win, without touching its term (Thesis §9.6).
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

impl Role {
    /// The name used in logs, status and reports.
    pub fn name(self) -> &'static str {
        match self {
            Role::Follower => "follower",
            Role::PreCandidate => "pre-candidate",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        }
    }
}
