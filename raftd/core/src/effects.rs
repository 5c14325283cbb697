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
use crate::message::Envelope;
use crate::types::{Entry, Index, NodeId, Term};

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
    /// What a person or a harness may want to know.
    pub events: Vec<Event>,
}

impl Effects {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.write.is_none()
            && self.sends.is_empty()
            && self.answers.is_empty()
            && self.events.is_empty()
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.write = None;
        self.sends.clear();
        self.answers.clear();
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
