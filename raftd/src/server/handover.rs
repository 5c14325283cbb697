//! When a leader goes by itself: before it stops, and when its disk is full (Thesis §3.10).

use std::time::Instant;

use raft_core::effects::{Outcome, Role, Token, TransferFailure};
use raft_core::node::Input;

use super::Server;

/// Marks the answers to this node's own wish to hand over; no client's token gets that high.
pub(super) const OWN_TOKEN: Token = Token::MAX;

/// A process that was asked to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    /// The signal's name.
    pub(super) signal: &'static str,
    /// Until then it waits for another to lead.
    until: Instant,
    /// There is nothing to wait for.
    is_free: bool,
}

impl Server {
    /// A leader hands over before it goes, so that nobody has to wait for a timeout; a second signal is not kept waiting.
    pub(super) fn on_stop(&mut self, signal: &'static str) {
        let leads = self.standpoint.role == Role::Leader;
        let is_free = !leads || self.leaving.is_some();
        let until = self.now + self.cluster.election_timeout.1;
        self.leaving = Some(Leaving { signal, until, is_free });
        if !is_free {
            self.inputs.push(Input::Transfer { token: OWN_TOKEN, to: None });
        }
    }

    /// The signal's name, once the process may stop.
    pub(super) fn is_done(&self) -> Option<&'static str> {
        let leaving = self.leaving?;
        // The successor may need our vote; once it is known to lead, it has what it needs.
        let is_succeeded = self.standpoint.role != Role::Leader && self.node.leader().is_some();
        (leaving.is_free || is_succeeded || self.now >= leaving.until).then_some(leaving.signal)
    }

    /// A leader that cannot write can serve reads at best: another may be able to do more. Asked once for each election
    /// timeout.
    pub(super) fn hand_over_if_disk_full(&mut self) {
        if self.wants_relief() && self.now >= self.relief_due {
            self.relief_due = self.now + self.cluster.election_timeout.1;
            self.inputs.push(Input::Transfer { token: OWN_TOKEN, to: None });
        }
    }

    fn wants_relief(&self) -> bool {
        self.disk_full && self.leaving.is_none() && self.standpoint.role == Role::Leader
    }

    /// When one of the above wants to be looked at again.
    pub(super) fn handover_deadline(&self) -> Option<Instant> {
        let relief = self.wants_relief().then_some(self.relief_due);
        relief.or(self.leaving.map(|leaving| leaving.until))
    }

    /// What became of this node's own wish to hand over.
    pub(super) fn on_own_handover(&mut self, outcome: &Outcome) {
        let Some(leaving) = &mut self.leaving else { return };
        // If another one was asked for before, that will do as well. Otherwise it leads on, or did not lead.
        let goes_well = matches!(
            outcome,
            Outcome::Transferred { .. } | Outcome::TransferFailed(TransferFailure::Busy)
        );
        leaving.is_free |= !goes_well;
    }
}
