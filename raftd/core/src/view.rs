//! What can be seen of a node from outside.

use std::sync::Arc;

use crate::effects::Role;
use crate::input::Standing;
use crate::membership::Configuration;
use crate::node::{Node, RoleState};
use crate::progress::{Mode, Progress};
use crate::types::{EntryId, Index, NodeId, Term, Time};

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
    pub last: EntryId,
    /// The members it goes by.
    pub config: Arc<Configuration>,
    /// Index of that configuration's entry; 0: the founding one.
    pub config_index: Index,
    /// Whether it may vote.
    pub standing: Standing,
    /// The last entry in its newest durable snapshot.
    pub snapshot: EntryId,
    /// Length of that snapshot's file.
    pub snapshot_bytes: u64,
    /// Weight of the entries in memory, bytes.
    pub log_bytes: u64,
    /// Snapshots of its own that became durable since the start.
    pub snapshots_taken: u64,
    /// Snapshots of others that took the place of its state since the start.
    pub snapshots_installed: u64,
    /// How much has come in of a snapshot that is being received, and of how much, bytes.
    pub receiving: Option<(u64, u64)>,
    /// At a leader: whom it is handing over to.
    pub transferring: Option<NodeId>,
    /// At a leader: whether it may serve reads by its clock now.
    pub lease: bool,
    /// At a leader: every other member as it sees it.
    pub followers: Vec<Follower>,
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

/// A member as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Who.
    pub id: NodeId,
    /// Its log is known to equal the leader's up to here.
    pub matched: Index,
    /// How it is served.
    pub mode: FollowerMode,
    /// How long ago it was last heard.
    pub silent: Time,
    /// Whether it could get a vote now (Thesis §4.2.1).
    pub caught_up: bool,
}

/// How a leader serves a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowerMode {
    /// Where the logs agree is being found out.
    Probe,
    /// Entries stream.
    Replicate,
    /// It needs entries that are compacted away: a snapshot is being sent, up to this byte so far.
    Snapshot {
        /// How much it has, bytes.
        offset: u64,
    },
}

impl Node {
    /// A picture of the node as it is now.
    pub fn view(&self) -> View {
        View {
            id: self.options.id,
            role: self.role(),
            term: self.term,
            vote: self.vote,
            leader: self.leader(),
            commit: self.commit,
            applied: self.applied,
            first: self.log.first(),
            last: self.log.last(),
            config: Arc::clone(self.configs.latest()),
            config_index: self.configs.latest_index(),
            standing: self.standing,
            snapshot: self.saved.last,
            snapshot_bytes: self.saved.bytes,
            log_bytes: self.log.bytes(),
            snapshots_taken: self.snapshots_taken,
            snapshots_installed: self.snapshots_installed,
            receiving: self.receiving.as_ref().map(|there| (there.next, there.total)),
            transferring: self.handover_target(),
            lease: self.lease_holds(),
            followers: self.followers(),
            state_hash: self.store.state_hash(),
            keys: self.store.len(),
            sessions: self.store.sessions(),
            proposals_waiting: self.proposals.len(),
            reads_waiting: self.reads_waiting(),
            messages_refused: self.messages_refused,
        }
    }

    /// At a leader: whom it is handing over to.
    fn handover_target(&self) -> Option<NodeId> {
        let RoleState::Leader(leader) = &self.role else { return None };
        leader.handover.as_ref().map(|handover| handover.to)
    }

    /// At a leader: every other member as it sees it.
    fn followers(&self) -> Vec<Follower> {
        let RoleState::Leader(leader) = &self.role else { return Vec::new() };
        let follower = |(&id, progress): (&NodeId, &Progress)| Follower {
            id,
            matched: progress.matched,
            mode: match &progress.mode {
                Mode::Probe { .. } => FollowerMode::Probe,
                Mode::Replicate { .. } => FollowerMode::Replicate,
                Mode::Snapshot(transfer) => FollowerMode::Snapshot { offset: transfer.offset },
            },
            silent: self.now.saturating_sub(progress.heard),
            caught_up: self.is_caught_up(leader, id),
        };
        leader.progress.iter().map(follower).collect()
    }
}
