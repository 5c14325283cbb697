//! Changes of membership: one at a time, in the log, ruling as soon as they are in it (Thesis §4).

use std::sync::Arc;

use crate::effects::{Event, Outcome, Token};
use crate::membership::{Change, ChangeRefusal, Configuration};
use crate::message::Stand;
use crate::node::{Node, RoleState, Standing};
use crate::progress::Progress;
use crate::replication::{Departing, Leader};
use crate::types::{Index, NodeId, Payload};

impl Node {
    /// A client wants other members.
    pub(crate) fn on_change(&mut self, token: Token, change: &Change) {
        let leader = self.leader();
        if !matches!(self.role, RoleState::Leader(_)) {
            return self.answer(token, Outcome::NotLeader { leader });
        }
        match self.begin_change(change) {
            Ok(next) => {
                self.append_configuration(next);
                if let RoleState::Leader(leader) = &mut self.role {
                    leader.change = Some(token);
                }
            }
            Err(refusal) => self.answer(token, Outcome::ChangeRefused(refusal)),
        }
    }

    fn begin_change(&self, change: &Change) -> Result<Configuration, ChangeRefusal> {
        let RoleState::Leader(leader) = &self.role else { return Err(ChangeRefusal::NotReady) };
        if self.commit < leader.noop {
            return Err(ChangeRefusal::NotReady);
        }
        let config = self.configs.latest();
        if self.configs.latest_index() > self.commit || config.is_joint() {
            return Err(ChangeRefusal::Pending);
        }
        if leader.handover.is_some() {
            return Err(ChangeRefusal::Transferring);
        }
        let next = config.after(change)?;
        // A voter that lacks the log could keep a quorum from deciding for as long as it takes to send it (Thesis §4.2.1).
        let lagging = |id: &NodeId| !config.is_voter(*id) && !self.is_caught_up(leader, *id);
        if let Some(id) = next.incoming().iter().copied().find(lagging) {
            let matched = leader.progress.get(&id).map_or(0, |progress| progress.matched);
            let behind = self.log.last().index - matched;
            return Err(ChangeRefusal::NotCaughtUp { id, behind });
        }
        if !next.is_quorum(|id| id == self.options.id || self.answers(leader, id)) {
            return Err(ChangeRefusal::NoQuorum);
        }
        Ok(next)
    }

    /// Whether a member was heard lately, and has not lost its disk.
    fn answers(&self, leader: &Leader, id: NodeId) -> bool {
        let timeout = self.options.election_timeout_max;
        let heard = |progress: &Progress| self.now <= progress.heard + timeout;
        !leader.lost.contains_key(&id) && leader.progress.get(&id).is_some_and(heard)
    }

    pub(crate) fn is_caught_up(&self, leader: &Leader, id: NodeId) -> bool {
        let (last, timeout) = (self.log.last().index, self.catch_up_timeout());
        leader.progress.get(&id).is_some_and(|p| p.is_caught_up(self.now, last, timeout))
    }

    /// What a leader does about the membership by itself, once nothing of it is undecided: it ends joint changes, whoever
    /// began them (Thesis §4.3), and sees to voters that lost their disks.
    pub(crate) fn advance_membership(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        let (config, index) = (Arc::clone(self.configs.latest()), self.configs.latest_index());
        if self.commit < leader.noop || index > self.commit {
            return;
        }
        if config.is_joint() {
            return self.append_configuration(config.after_joint());
        }
        if let Some(token) = leader.change.take() {
            self.answer(token, Outcome::Changed { index });
        }
        let RoleState::Leader(leader) = &mut self.role else { return };
        if leader.handover.is_some() || !config.is_voter(self.options.id) {
            return;
        }
        while let Some((id, incarnation)) = leader.lost.pop_first() {
            // A voter may say it again: it had no time to note that it was admitted.
            let is_news = config.is_voter(id)
                || config.member(id).is_some_and(|there| there.incarnation != incarnation);
            if is_news && let Some(next) = config.after_loss(id, incarnation) {
                return self.append_configuration(next);
            }
        }
        let RoleState::Leader(leader) = &self.role else { return };
        let returning = config.members().iter().filter(|(_, member)| member.returning);
        let mut caught_up = returning.filter(|(id, _)| self.is_caught_up(leader, **id));
        if let Some((&id, _)) = caught_up.next()
            && let Ok(next) = config.after(&Change::Promote { id })
        {
            self.append_configuration(next);
        }
    }

    /// A member says that it lost its disk.
    pub(crate) fn on_lost(&mut self, from: NodeId, incarnation: u64, session: Index) {
        let now = self.now;
        let RoleState::Leader(leader) = &mut self.role else { return };
        // What it said before that was taken note of is no news.
        if let Some(progress) = leader.progress.get_mut(&from)
            && progress.stand.session == session
        {
            progress.heard = now;
            leader.lost.insert(from, incarnation);
        }
    }

    fn append_configuration(&mut self, config: Configuration) {
        self.append_new(Payload::Configuration(Arc::new(config)));
        self.attend_members();
    }

    /// Brings the leader's books in line with its latest configuration.
    pub(crate) fn attend_members(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        let config = self.configs.latest();
        let (id, now) = (self.options.id, self.now);
        let (session, next) = (self.log.last().index.max(leader.noop), self.log.last().index + 1);
        let patience = now + self.options.election_timeout_max;
        let leaving = leader.progress.extract_if(.., |id, _| config.member(*id).is_none());
        for (id, progress) in leaving.collect::<Vec<_>>() {
            leader.departing.insert(id, Departing::new(progress, session, patience));
        }
        leader.departing.retain(|id, _| config.member(*id).is_none());
        for (&member, known) in config.members().iter().filter(|(member, _)| **member != id) {
            let (voter, incarnation) = (config.is_voter(member), known.incarnation);
            let stand = Stand { session, voter, incarnation };
            let progress = leader
                .progress
                .entry(member)
                .and_modify(|progress| {
                    // It lost its disk: what it acknowledged before counts for nothing.
                    if progress.stand.incarnation != incarnation || progress.stand.voter && !voter {
                        *progress = Progress::new(now, next, stand);
                    }
                })
                .or_insert_with(|| Progress::new(now, next, stand));
            progress.stand.voter = voter;
        }
        leader.rounds.forget_confirmations();
    }

    /// Tells of a configuration other than the one at `index` before.
    pub(crate) fn report_configuration_since(&mut self, index: Index) {
        let latest = self.configs.latest_index();
        if latest != index {
            self.out.events.push(Event::Configuration { index: latest });
        }
    }

    /// Whether nothing that this node promised may be relied on.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.standing, Standing::Lost { .. })
    }

    /// A committed configuration with this directory's number in it voids whatever a node of this id promised before.
    ///
    /// It must be durable here: without it the node would go by the founders again after a crash, and give a vote to
    /// somebody who lacks it.
    pub(crate) fn settle_standing(&mut self) {
        let Standing::Lost { incarnation } = self.standing else { return };
        let (_, config) = self.configs.at(self.commit.min(self.synced));
        if config.member(self.options.id).is_some_and(|me| me.incarnation == incarnation) {
            self.standing = Standing::Full;
            self.out.events.push(Event::Readmitted { incarnation });
        }
    }
}
