//! What a node is told: once at its start, and then for the rest of its life.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::effects::{Token, WriteSeq};
use crate::kv::{Command, Limits};
use crate::membership::Change;
use crate::message::Envelope;
use crate::snapshot::Saved;
use crate::types::{Entry, EntryId, Index, NodeId, Term, Time};

/// What a node is told once, at its start. All durations are of the same clock as [`Time`].
#[derive(Clone, Debug)]
pub struct Options {
    /// This node.
    pub id: NodeId,
    /// The voters that the cluster was founded with; the same at all of them. Empty at a node that joins later: it knows
    /// of no members until its leader tells it.
    pub founders: BTreeSet<NodeId>,
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
    /// When snapshots are taken, and what is kept of the log.
    pub compaction: Compaction,
    /// Whether leaders may serve [`Input::LeaseRead`]s by the clock. Must be the same on all nodes.
    pub lease: Option<Lease>,
    /// Bounds of the state machine.
    pub limits: Limits,
    /// Seed of all random choices. Must differ between nodes and between starts of one node.
    pub seed: u64,
}

impl Options {
    pub(crate) fn check(&self) {
        assert!(self.heartbeat < self.election_timeout_min, "heartbeats too rare (Thesis §3.9)");
        assert!(self.inflight_messages_max > 0, "the in-flight window is empty");
    }
}

/// When a node replaces its log by a snapshot (Thesis §5.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// A snapshot is due when entries of this weight have been applied since the last one, bytes ...
    pub log_bytes_min: u64,
    /// ... and of at least this much in percent of the last snapshot's file: then the work of writing snapshots stays in
    /// proportion to that of writing the log, however large the state is.
    pub log_percent_of_snapshot: u64,
    /// Weight of the entries kept before a snapshot's end, for followers that are a little behind, bytes.
    pub trailing_bytes: u64,
}

/// What lease reads rest on (Thesis §6.4.1): that no two members' clocks run at rates further apart than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Most by which one clock may outrun another, percent of time passed.
    pub drift_percent_max: u32,
}

/// Whether a node's promises can be relied on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It holds all that it ever promised.
    #[default]
    Full,
    /// It lost its data directory, or joins: a node of its number may have promised things that it knows nothing of. It
    /// neither votes nor counts as a voter until a committed configuration names it with this incarnation, as a member
    /// without a vote: that voids all older promises, as a majority of the others knows of it.
    Lost {
        /// The number of the new data directory.
        incarnation: u64,
    },
}

/// What a node finds on its disk when it starts: all that must survive a crash (Thesis §3.8).
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Highest term it ever adopted.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
    /// The newest snapshot, if there is one.
    pub snapshot: Option<Saved>,
    /// The entry before the first of `entries`; `ZERO` if nothing was ever purged.
    pub base: EntryId,
    /// The log after `base`, without gaps. It may end before the snapshot does, or contradict it: then it is void.
    pub entries: Vec<Arc<Entry>>,
    /// Whether the node may vote.
    pub standing: Standing,
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
        /// Wait until everything up to this index is applied, so that a client that names what it has seen never goes
        /// back in time, whichever node it asks; 0: do not wait.
        at_least: Index,
    },
    /// A client's linearizable read that may rest on the leader's clock (Thesis §6.4.1), if [`Options::lease`] allows it
    /// and a lease holds; otherwise it is done as [`Input::Read`].
    LeaseRead {
        /// Returned with the answer.
        token: Token,
        /// The key to read.
        key: String,
    },
    /// A change of membership.
    Change {
        /// Returned with the answer.
        token: Token,
        /// What to change.
        change: Change,
    },
    /// Hand the leadership over (Thesis §3.10).
    Transfer {
        /// Returned with the answer.
        token: Token,
        /// To whom; `None`: to the voter with the longest log.
        to: Option<NodeId>,
    },
    /// Take a snapshot now.
    TakeSnapshot {
        /// Returned with the answer.
        token: Token,
    },
    /// The snapshot asked for by [`Effects::snapshot`] is durable, file and directory.
    SnapshotSaved {
        /// Its last entry.
        last: EntryId,
        /// Length of its file.
        bytes: u64,
    },
    /// It could not be written.
    SnapshotFailed {
        /// Its last entry.
        last: EntryId,
    },
    /// Answer to a [`ReadChunk`](crate::effects::ReadChunk).
    ChunkRead {
        /// Echo.
        to: NodeId,
        /// Echo.
        snapshot: EntryId,
        /// Echo.
        offset: u64,
        /// What is there, as much as fits a message; nothing beyond the end.
        data: Arc<str>,
        /// Length of the file.
        total: u64,
    },
    /// The piece cannot be read: there is no such file any more, or it is damaged.
    ChunkFailed {
        /// Echo.
        to: NodeId,
        /// Echo.
        snapshot: EntryId,
    },
    /// Another node's snapshot is complete, verified, and durable under its name.
    SnapshotReceived {
        /// What is in it.
        saved: Saved,
    },
    /// It is not: a piece could not be written, or what came is no valid snapshot.
    ReceiveFailed {
        /// Its last entry.
        snapshot: EntryId,
    },
    /// The write with this number, and all before it, are durable.
    Durable {
        /// The write's term.
        term: Term,
        /// Its number.
        seq: WriteSeq,
    },
}
