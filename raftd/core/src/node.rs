//! One member of the cluster: takes inputs, asks for effects.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::effects::{Effects, Role, Token, WriteSeq};
use crate::kv::{Command, Limits, Store};
use crate::message::Envelope;
use crate::types::{Entry, Index, NodeId, Term, Time};

/// What a node is told once, at its start. All durations are of the same clock as [`Time`].
#[derive(Clone, Debug)]
pub struct Options {
    /// This node.
    pub id: NodeId,
    /// The voting members, this node among them.
    pub voters: BTreeSet<NodeId>,
    /// How often a leader makes itself heard.
    pub heartbeat: Time,
    /// Shortest time without a leader before a follower campaigns.
    pub election_timeout_min: Time,
    /// Longest such time; drawn anew, uniformly, for each wait (Thesis §3.4, §9.3).
    pub election_timeout_max: Time,
    /// Most bytes of entries in one append.
    pub append_bytes_max: usize,
    /// Most appends with entries that may be on their way to one follower.
    pub inflight_messages_max: usize,
    /// Most bytes of entries that may wait to be committed; more proposals are refused.
    pub uncommitted_bytes_max: usize,
    /// Bounds of the state machine.
    pub limits: Limits,
    /// Seed of all random choices. Must differ between nodes and between starts of one node.
    pub seed: u64,
}

/// What a node finds on its disk when it starts: all that must survive a crash (Thesis §3.8).
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Highest term it ever adopted.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
    /// The log, from index 1, without gaps.
    pub entries: Vec<Arc<Entry>>,
}

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed; due at [`Node::deadline`], harmless at any other time.
    Tick,
    /// Another member's message. Whatever it holds, it cannot make the node panic.
    Peer(Envelope),
    /// A client's write.
    Propose {
        /// Returned with the answer.
        token: Token,
        /// The write.
        command: Command,
    },
    /// A client's linearizable read (Thesis §6.4); works at followers too.
    Read {
        /// Returned with the answer.
        token: Token,
        /// The key to read.
        key: String,
    },
    /// A client's read of whatever this node has applied, however old: labelled stale.
    StaleRead {
        /// Returned with the answer.
        token: Token,
        /// The key to read.
        key: String,
    },
    /// The write with this number, and all before it, are durable.
    Durable {
        /// The write's term.
        term: Term,
        /// Its number.
        seq: WriteSeq,
    },
}

/// A read-only picture of a node, for status pages, tests and invariants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// This node.
    pub id: NodeId,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Its vote in that term.
    pub vote: Option<NodeId>,
    /// Whom it takes for the leader of that term.
    pub leader: Option<NodeId>,
    /// Highest index known to be committed.
    pub commit: Index,
    /// Highest index applied to the state machine.
    pub applied: Index,
    /// First index of the log.
    pub first: Index,
    /// Last entry of the log.
    pub last: crate::types::EntryId,
    /// The voters it goes by.
    pub voters: BTreeSet<NodeId>,
    /// Hash of the state at `applied`.
    pub state_hash: u64,
    /// Keys in the state machine.
    pub keys: usize,
    /// Client sessions in the state machine.
    pub sessions: usize,
    /// Proposals that wait for their commit.
    pub proposals_waiting: usize,
    /// Reads that wait to be confirmed or applied.
    pub reads_waiting: usize,
    /// Messages dropped because no correct member sends them.
    pub messages_refused: u64,
}

/// One member of the cluster.
#[derive(Debug)]
pub struct Node {
    _store: Store,
}

impl Node {
    /// A follower with the state that its disk holds. Entries up to the commit index are applied as
    /// the commit index becomes known.
    pub fn new(now: Time, options: Options, recovered: Recovered) -> Node {
        let _ = (now, recovered);
        Node { _store: Store::new(options.limits) }
    }

    /// Takes all inputs in order, then asks for everything that follows from them in one go: one
    /// write, one append per follower. `effects` must be empty on entry.
    pub fn step(
        &mut self,
        now: Time,
        inputs: impl IntoIterator<Item = Input>,
        effects: &mut Effects,
    ) {
        let _ = (now, inputs.into_iter(), effects);
        unimplemented!()
    }

    /// When the next [`Input::Tick`] is due.
    pub fn deadline(&self) -> Time {
        Time::MAX
    }

    /// A picture of the node as it is now.
    pub fn view(&self) -> View {
        unimplemented!()
    }
}
