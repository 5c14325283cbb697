//! Leadership transfer: a leader that wants to go has a successor elected at once (Thesis §3.10).
//!
//! It takes no more writes, brings the successor's log to the end of its own, and tells it to campaign without waiting.
//! If that does not work out within an election timeout, it leads on.

use crate::effects::{Event, Outcome, Token, TransferFailure};
use crate::message::Message;
use crate::node::{Node, RoleState};
use crate::types::{NodeId, Time};

/// Leadership on its way to another node.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(crate) to: NodeId,
    /// When to give up.
    deadline: Time,
    pub(crate) token: Token,
    /// It was told to campaign, since the latest heartbeat.
    is_told: bool,
}

impl Node {
    pub(crate) fn on_transfer(&mut self, token: Token, to: Option<NodeId>) {
        let (id, known) = (self.options.id, self.leader());
        let to = to.or_else(|| self.best_successor());
        let config = self.configs.latest();
        let is_good = |to: &NodeId| config.incoming().contains(to);
        let RoleState::Leader(leader) = &mut self.role else {
            return self.answer(token, Outcome::NotLeader { leader: known });
        };
        if leader.handover.is_some() {
            return self.answer(token, Outcome::TransferFailed(TransferFailure::Busy));
        }
        match to.filter(is_good) {
            None => self.answer(token, Outcome::TransferFailed(TransferFailure::NoTarget)),
            Some(to) if to == id => self.answer(token, Outcome::Transferred { to }),
            Some(to) => {
                let deadline = self.now + self.options.election_timeout_max;
                leader.handover = Some(Handover { to, deadline, token, is_told: false });
                self.out.events.push(Event::TransferStarted { to });
            }
        }
    }

    /// The voter that lacks least of the log, of those that answer.
    fn best_successor(&self) -> Option<NodeId> {
        let RoleState::Leader(leader) = &self.role else { return None };
        let oldest = self.now.saturating_sub(self.options.election_timeout_min);
        let voters = self.configs.latest().incoming();
        let candidates = leader.progress.iter().filter(|(id, _)| voters.contains(id));
        let answering = candidates.filter(|(_, progress)| progress.heard >= oldest);
        answering.max_by_key(|(_, progress)| progress.matched).map(|(&id, _)| id)
    }

    /// Whom clients are to ask for writes, because this leader takes none: it hands over, or has removed itself.
    pub(crate) fn successor(&self) -> Option<NodeId> {
        let RoleState::Leader(leader) = &self.role else { return None };
        if let Some(handover) = &leader.handover {
            return Some(handover.to);
        }
        let is_leaving = !self.configs.latest().is_voter(self.options.id);
        is_leaving.then(|| self.best_successor().unwrap_or(self.options.id))
    }

    /// Once the successor has the whole log, it may go ahead.
    pub(crate) fn drive_handover(&mut self) {
        let last = self.log.last().index;
        let RoleState::Leader(leader) = &mut self.role else { return };
        let Some(handover) = &mut leader.handover else { return };
        let to = handover.to;
        let has_all = leader.progress.get(&to).is_some_and(|progress| progress.matched == last);
        if has_all && !handover.is_told {
            handover.is_told = true;
            leader.has_handed_over = true;
            self.send_now(to, Message::TimeoutNow);
        }
    }

    /// Says it again, as the message may be lost; or gives up.
    pub(crate) fn on_handover_beat(&mut self) {
        let now = self.now;
        let RoleState::Leader(leader) = &mut self.role else { return };
        let Some(handover) = &mut leader.handover else { return };
        handover.is_told = false;
        if now >= handover.deadline {
            let Handover { to, token, .. } = *handover;
            leader.handover = None;
            self.out.events.push(Event::TransferAborted { to });
            self.answer(token, Outcome::TransferFailed(TransferFailure::TimedOut));
        }
    }

    /// A leader whose removal is committed leads no more (Thesis §4.2.2). So that the others need not wait for a
    /// timeout, one of them is told to go ahead.
    pub(crate) fn resign_if_removed(&mut self) {
        let config = self.configs.latest();
        let is_committed = self.configs.latest_index() <= self.commit;
        if !matches!(self.role, RoleState::Leader(_))
            || !is_committed
            || config.is_voter(self.options.id)
        {
            return;
        }
        // The others hear of it from nobody else.
        if let RoleState::Leader(leader) = &mut self.role {
            leader.progress.values_mut().for_each(|progress| progress.poke = true);
        }
        self.send_appends();
        if let Some(to) = self.best_successor() {
            self.send_now(to, Message::TimeoutNow);
        }
        self.become_follower(self.term, None);
    }
}
