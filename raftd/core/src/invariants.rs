//! What must hold after every step; a node for which it does not must stop, for it may lie.
//!
//! *Basic* checks are true of any state; *delta* checks compare with the state before the step. All are cheap and stay
//! on in release builds.

use crate::effects::{Role, Send};
use crate::log::Lookup;
use crate::message::Message;
use crate::node::{Node, RoleState};
use crate::types::{EntryId, Index, NodeId, Term};

/// The state before a step, as far as delta checks need it.
#[derive(Debug)]
pub(crate) struct Before {
    term: Term,
    vote: Option<NodeId>,
    role: Role,
    leader: Option<NodeId>,
    commit: Index,
    last: EntryId,
}

impl Before {
    pub(crate) fn of(node: &Node) -> Before {
        Before {
            term: node.term,
            vote: node.vote,
            role: node.role(),
            leader: node.leader(),
            commit: node.commit,
            last: node.log.last(),
        }
    }

    /// Panics if the step that led to `node` broke an invariant.
    pub(crate) fn check_against(&self, node: &Node) {
        self.check_delta(node);
        check_basic(node);
    }

    fn check_delta(&self, node: &Node) {
        assert!(node.term >= self.term, "term fell from {} to {}", self.term, node.term);
        assert!(node.commit >= self.commit, "commit fell from {} to {}", self.commit, node.commit);
        if node.term > self.term {
            return;
        }
        assert!(
            self.vote.is_none() || node.vote == self.vote,
            "vote of term {} changed from {:?} to {:?} (Thesis §3.4)",
            node.term,
            self.vote,
            node.vote
        );
        if let (Some(then), Some(now)) = (self.leader, node.leader()) {
            assert_eq!(then, now, "term {} has two leaders (Election Safety)", node.term);
        }
        if self.role == Role::Leader && node.role() == Role::Leader {
            assert!(
                node.log.holds(self.last) || self.last.index < node.log.base().index,
                "a leader's log lost {} (Leader Append-Only)",
                self.last
            );
        }
    }
}

fn check_basic(node: &Node) {
    let last = node.log.last();
    assert!(node.applied == node.commit, "applied {} of {}", node.applied, node.commit);
    assert!(node.commit <= last.index, "commit {} is beyond the log's end {last}", node.commit);
    assert!(node.synced <= last.index, "durable {} is beyond the log's end {last}", node.synced);
    let (base, saved, latest) = (node.log.base(), node.saved.last, node.configs.latest_index());
    assert!(base.index <= saved.index, "the log begins at {base}, the snapshot ends at {saved}");
    assert!(saved.index <= node.applied, "snapshot {saved} is ahead of the state");
    assert!(latest <= last.index, "a configuration at {latest} is beyond the log's end {last}");
    assert!(last.term <= node.term, "the log's end {last} is of a term after {}", node.term);
    let id = node.options.id;
    match &node.role {
        RoleState::Leader(leader) => {
            assert_eq!(node.vote, Some(id), "a leader has voted for itself");
            assert!(last.index >= leader.noop, "a leader's log holds its no-op");
            assert!(!node.is_lost(), "who lost its promises leads nobody");
            let config = node.configs.latest();
            let others = config.members().keys().filter(|&&member| member != id);
            assert!(others.eq(leader.progress.keys()), "a leader has a progress for each member");
            for (follower, progress) in &leader.progress {
                assert!(
                    progress.matched < progress.next && progress.next <= last.index + 1,
                    "progress of node {follower}: matched {}, next {}, last {last}",
                    progress.matched,
                    progress.next
                );
                assert!(progress.round <= leader.rounds.last, "round acknowledged before it began");
            }
        }
        RoleState::Candidate { .. } => {
            assert_eq!(node.vote, Some(id), "a candidate has voted for itself");
            assert!(!node.is_lost(), "who lost its promises is no candidate");
            assert!(node.proposals.is_empty(), "only leaders have proposals");
        }
        RoleState::Follower { leader } => {
            assert_ne!(*leader, Some(id), "nobody follows itself");
            assert!(node.proposals.is_empty(), "only leaders have proposals");
        }
        RoleState::PreCandidate { .. } => {
            assert!(node.proposals.is_empty(), "only leaders have proposals");
        }
    }
}

/// The contract of `effects`, at the moment a message is handed out: what it promises is durable, or waited for.
///
/// Checked then and not after the step: later inputs of the same step may add to what is not durable.
pub(crate) fn check_send(node: &Node, send: &Send) {
    let kept = match &send.envelope.message {
        Message::Vote { .. } | Message::VoteReply { granted: true } => node.hard_state_is_durable(),
        Message::AppendAccepted { matched, .. } => {
            *matched <= node.synced && node.hard_state_is_durable()
        }
        Message::Append { prev, .. } => {
            let known = node.log.lookup(prev.index);
            assert_eq!(known, Lookup::Term(prev.term), "an append after an unknown entry");
            true
        }
        Message::VoteReply { granted: false }
        | Message::PreVote { .. }
        | Message::PreVoteReply { .. }
        | Message::AppendRejected { .. }
        | Message::Install { .. }
        | Message::InstallReply { .. }
        | Message::Lost { .. }
        | Message::TimeoutNow
        | Message::ReadIndex { .. }
        | Message::ReadIndexReply { .. } => true,
    };
    assert!(kept || send.after.is_some(), "a promise leaves before it is durable: {send:?}");
}
