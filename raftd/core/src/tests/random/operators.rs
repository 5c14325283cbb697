//! What operators and bad luck with disks add to a schedule: snapshots, other members, other leaders, lost disks.

use std::collections::BTreeSet;

use rand::Rng as _;

use super::Run;
use crate::effects::{Outcome, Token};
use crate::membership::{Address, Change, Configuration, Member};
use crate::node::Standing;
use crate::types::NodeId;

/// Nodes that may join besides the founders.
const JOINERS_MAX: u64 = 2;

impl Run {
    /// One of the nodes' snapshots gets written, or verified.
    pub(super) fn save(&mut self) {
        let busy = self.any_node(|cluster, id| cluster.member(id).disk.has_job());
        if let Some(id) = busy {
            self.cluster.work(id);
        }
    }

    /// Somebody asks for something, mostly at a leader.
    pub(super) fn operate(&mut self) {
        let Some(id) = self.any_victim() else { return };
        let token = match self.rng.random_range(0..6) {
            0 if id <= u64::try_from(self.founders).expect("small") => {
                self.cluster.take_snapshot(id)
            }
            1 => {
                let to = if self.rng.random_bool(0.5) { self.any_up() } else { None };
                self.cluster.transfer(id, to, "transfer".to_owned())
            }
            _ => {
                let change = self.any_change(id);
                let text = format!("{change:?}");
                self.cluster.change(id, change, text)
            }
        };
        self.orders.insert(token);
    }

    /// Something that often makes sense, as far as node `at` knows.
    fn any_change(&mut self, at: NodeId) -> Change {
        let config = self.cluster.node(at).expect("it is up").view().config;
        let id = self.any_node(|_, _| true).expect("there are nodes");
        let is_learner = config.learners().contains(&id);
        let standing = |id: &NodeId| self.cluster.member(*id).disk.standing;
        let is_whole = config.members().keys().all(|id| standing(id) == Standing::Full);
        match self.rng.random_range(0..8) {
            // The leader may not know yet that a disk is lost, and then begin a change that needs just that node.
            _ if !is_whole => self.add(&config),
            0 => Change::Set { voters: self.any_voters(&config) },
            1 if config.is_voter(id) => Change::Remove { id },
            _ if is_learner => Change::Promote { id },
            _ => self.add(&config),
        }
    }

    fn any_voters(&mut self, config: &Configuration) -> BTreeSet<NodeId> {
        config.members().keys().copied().filter(|_| self.rng.random_bool(0.6)).collect()
    }

    /// Somebody who is no member, or a new node.
    fn add(&mut self, config: &Configuration) -> Change {
        let stranger = self.any_node(|_, id| config.member(id).is_none());
        let may_grow = self.cluster.ids().count()
            < self.founders + usize::try_from(JOINERS_MAX).expect("small");
        let id = match stranger {
            Some(id) => id,
            None if may_grow => self.cluster.join(),
            None => 1,
        };
        let incarnation = self.cluster.member(id).disk.incarnation;
        let address = Address { peer: format!("n{id}"), client: format!("n{id}") };
        Change::AddLearner { id, address, incarnation }
    }

    /// A node loses its disk, if the others remember enough to go on without it.
    pub(super) fn wipe(&mut self) {
        let Some(id) = self.any_node(|_, _| true) else { return };
        let remembers =
            |voter| voter != id && self.cluster.member(voter).disk.standing == Standing::Full;
        // A learner may be about to get a vote, and then be needed.
        let can_do_without = |config: &Configuration| {
            let promoted = config.after(&Change::Promote { id }).ok();
            config.is_quorum(remembers) && promoted.is_none_or(|next| next.is_quorum(remembers))
        };
        let goes_on = self.cluster.ids().all(|log| {
            let disk = &self.cluster.member(log).disk;
            let ends = [disk.written.last(), disk.durable.last()];
            ends.iter().all(|&last| can_do_without(&self.cluster.safety.config_after(last).1))
        });
        if goes_on {
            self.seen.count("disks lost");
            self.cluster.wipe(id);
        }
    }

    pub(super) fn on_order_answer(&mut self, token: Token, outcome: &Outcome) {
        assert!(self.orders.remove(&token), "nobody else asks");
        match outcome {
            Outcome::Changed { .. } => self.seen.count("changes of membership"),
            Outcome::Transferred { .. } => self.seen.count("leaderships handed over"),
            Outcome::SnapshotTaken { .. } => self.seen.count("snapshots on demand"),
            Outcome::NotLeader { .. }
            | Outcome::LeadershipLost
            | Outcome::ChangeRefused(_)
            | Outcome::TransferFailed(_)
            | Outcome::SnapshotFailed => {}
            Outcome::Written(_)
            | Outcome::Read { .. }
            | Outcome::ReadFailed
            | Outcome::Overloaded
            | Outcome::Transferring { .. } => panic!("{outcome:?}"),
        }
    }

    /// Every member has everything, and nothing of what happened to the members is left to be done.
    pub(super) fn is_whole_again(&self, leader: NodeId) -> bool {
        let view = self.cluster.node(leader).expect("it is up").view();
        let is_done = |(&id, member): (&NodeId, &Member)| {
            let has_all =
                self.cluster.node(id).is_some_and(|node| node.commit() == view.last.index);
            let standing = self.cluster.member(id).disk.standing;
            has_all && !member.returning && standing == Standing::Full
        };
        view.config_index <= view.commit
            && !view.config.is_joint()
            && view.config.members().iter().all(is_done)
    }

    /// Whoever lost its disk as a voter has its vote back, and no change is left half done.
    pub(super) fn check_members(&self, config: &Configuration) {
        assert!(!config.is_joint(), "a joint change is never ended: {config:?}");
        for (&id, member) in config.members() {
            assert!(!member.returning, "n{id} does not get its vote back: {config:?}");
            let standing = self.cluster.member(id).disk.standing;
            assert_eq!(standing, Standing::Full, "n{id} is not readmitted: {config:?}");
        }
    }
}
