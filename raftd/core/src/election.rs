//! Elections: pre-vote, votes, and whom not to listen to (Thesis §3.4, §3.6.1, §4.2.3, §9.6).

use std::collections::BTreeSet;

use crate::message::Message;
use crate::node::{Node, RoleState};
use crate::replication::Leader;
use crate::types::{EntryId, NodeId, Payload, Term};

impl Node {
    /// No leader was heard for an election timeout.
    pub(crate) fn on_election_due(&mut self) {
        if self.may_campaign() {
            return self.start_pre_vote();
        }
        // Whoever has no vote waits to be found; what only that leader could have confirmed will not be.
        self.reset_election_deadline();
        self.fail_unconfirmed_reads();
        if self.leader().is_some() {
            self.role = RoleState::Follower { leader: None };
            self.report_role();
        }
    }

    /// Whether this node has a vote, or may still turn out to have one: as long as it does not know that its removal is
    /// committed, the others may need it as a candidate (Thesis §4.2.2).
    fn may_campaign(&self) -> bool {
        let id = self.options.id;
        !self.is_lost() && self.configs.since(self.commit).any(|config| config.is_voter(id))
    }

    /// Asks whether this node could win, before it disturbs anyone with a new term (Thesis §9.6).
    fn start_pre_vote(&mut self) {
        assert!(!matches!(self.role, RoleState::Leader(_)), "leaders do not campaign");
        self.reset_election_deadline();
        self.fail_unconfirmed_reads();
        self.role = RoleState::PreCandidate { granted: BTreeSet::from([self.options.id]) };
        self.report_role();
        let message = Message::PreVote { next_term: self.term + 1, last: self.log.last() };
        for to in self.other_voters() {
            self.send_now(to, message.clone());
        }
        self.campaign_if_welcome();
    }

    fn campaign_if_welcome(&mut self) {
        if let RoleState::PreCandidate { granted } = &self.role
            && self.configs.latest().is_quorum(|id| granted.contains(&id))
        {
            self.campaign(false);
        }
    }

    /// The leader hands over to this node: campaign at once, and without asking whether it is welcome (Thesis §3.10).
    pub(crate) fn on_timeout_now(&mut self, from: NodeId, term: Term) {
        // A late one must not end the leadership of whoever came after.
        let from_leader = term == self.term && self.leader() == Some(from);
        // Whoever does not know of its own vote yet lacks the entry that gave it, and cannot win.
        if from_leader && !self.is_lost() && self.configs.latest().is_voter(self.options.id) {
            self.fail_unconfirmed_reads();
            self.campaign(true);
        }
    }

    /// Starts an election: next term, own vote, ask everyone (Thesis §3.4).
    fn campaign(&mut self, transfer: bool) {
        self.set_hard_state(self.term + 1, Some(self.options.id));
        self.leader_heard = None;
        self.reset_election_deadline();
        self.role = RoleState::Candidate { granted: BTreeSet::new() };
        self.report_role();
        let message = Message::Vote { last: self.log.last(), transfer };
        for to in self.other_voters() {
            self.send_durably(to, message.clone());
        }
    }

    /// A candidate's own vote counts like any other: once it cannot be forgotten.
    pub(crate) fn count_own_vote(&mut self) {
        let (id, durable) = (self.options.id, self.hard_state_is_durable());
        if let RoleState::Candidate { granted } = &mut self.role
            && durable
        {
            granted.insert(id);
            self.lead_if_elected();
        }
    }

    fn lead_if_elected(&mut self) {
        if let RoleState::Candidate { granted } = &self.role
            && self.configs.latest().is_quorum(|id| granted.contains(&id))
        {
            self.become_leader();
        }
    }

    fn become_leader(&mut self) {
        assert_eq!(self.vote, Some(self.options.id), "a leader has voted for itself");
        assert!(self.proposals.is_empty(), "proposals of an earlier leadership were answered");
        let noop = self.log.last().index + 1;
        self.role = RoleState::Leader(Box::new(Leader::new(self.now, noop)));
        self.attend_members();
        self.report_role();
        // Commits what earlier terms left behind, and makes the commit index known (Thesis §3.6.2, §6.4).
        self.append_new(Payload::Noop);
        self.schedule_heartbeat();
    }

    /// Whether a leader was heard so recently that a campaign can only be a disturbance (Thesis
    /// §4.2.3). A leader is always sure of itself: check-quorum makes it step down in time. But if
    /// the asker is the leader itself, it evidently leads no more.
    fn is_content(&self, asker: NodeId) -> bool {
        if self.promise.is_some_and(|(leader, until)| leader != asker && self.now < until) {
            return true;
        }
        match &self.role {
            RoleState::Leader(_) => true,
            RoleState::Follower { leader: Some(leader) } => {
                let timeout = self.options.election_timeout_min;
                *leader != asker && self.leader_heard.is_some_and(|at| self.now < at + timeout)
            }
            RoleState::Follower { leader: None }
            | RoleState::PreCandidate { .. }
            | RoleState::Candidate { .. } => false,
        }
    }

    /// Messages whose higher term is not adopted: campaigns that disturb a working leader,
    /// pre-votes, which change nothing at their receiver, and, while there is a leader, all that a former
    /// member has to answer or to ask: it must not disturb by its term either, neither the leader nor a
    /// follower, which would pass the term on (Thesis §4.2.3).
    pub(crate) fn is_deaf_to(&self, from: NodeId, message: &Message) -> bool {
        match message {
            Message::PreVote { .. } => true,
            Message::Vote { transfer, .. } => !transfer && self.is_content(from),
            Message::PreVoteReply { .. }
            | Message::VoteReply { .. }
            | Message::AppendAccepted { .. }
            | Message::AppendRejected { .. }
            | Message::InstallReply { .. }
            | Message::Lost { .. }
            | Message::ReadIndex { .. }
            | Message::ReadIndexReply { .. } => {
                self.is_content(from) && self.configs.latest().member(from).is_none()
            }
            Message::Append { .. } | Message::Install { .. } | Message::TimeoutNow => false,
        }
    }

    pub(crate) fn on_pre_vote(&mut self, from: NodeId, term: Term, next_term: Term, last: EntryId) {
        if next_term != term.saturating_add(1) || last.term > term {
            return self.refuse();
        }
        if self.is_lost() {
            // Whoever does not know what it promised promises nothing.
            return;
        }
        let granted = next_term > self.term && last >= self.log.last() && !self.is_content(from);
        // The answer carries this node's own term: an asker that is behind learns it, and asks better.
        self.send_durably(from, Message::PreVoteReply { next_term, granted });
    }

    pub(crate) fn on_pre_vote_reply(&mut self, from: NodeId, next_term: Term, granted: bool) {
        let asked = self.term + 1;
        if let RoleState::PreCandidate { granted: supporters } = &mut self.role
            && granted
            && next_term == asked
        {
            supporters.insert(from);
            self.campaign_if_welcome();
        }
    }

    pub(crate) fn on_vote(&mut self, from: NodeId, term: Term, last: EntryId, transfer: bool) {
        if last.term >= term {
            // A candidate's log is older than the term it campaigns in.
            return self.refuse();
        }
        if term > self.term {
            // Deaf: a leader is at work. No answer, so that our older term disturbs nobody either.
            return;
        }
        if self.is_lost() {
            // A vote in this term may have been given already, and forgotten (Thesis §3.8).
            return;
        }
        let free = self.vote.is_none() || self.vote == Some(from);
        // The term may have been learnt otherwise, but that ends no promise to a leader of an older one.
        let content = !transfer && self.is_content(from);
        let granted = term == self.term && free && last >= self.log.last() && !content;
        if granted {
            if !matches!(self.role, RoleState::Follower { .. }) && self.vote.is_none() {
                // Only a pre-candidate can have a free vote: it asked without taking one.
                self.become_follower(term, None);
            }
            self.set_hard_state(term, Some(from));
            self.reset_election_deadline();
        }
        self.send_durably(from, Message::VoteReply { granted });
    }

    pub(crate) fn on_vote_reply(&mut self, from: NodeId, term: Term, granted: bool) {
        let current = term == self.term;
        if let RoleState::Candidate { granted: voters } = &mut self.role
            && granted
            && current
        {
            voters.insert(from);
            self.lead_if_elected();
        }
    }
}
