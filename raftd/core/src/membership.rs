//! Who has a vote, what a quorum is, and how both change (Thesis §4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::{Index, NodeId};

/// Most members there may be at a time, those without a vote included.
pub const MEMBERS_MAX: usize = 32;

/// Where a member is reached. The core never looks at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// For other members, `host:port`.
    pub peer: String,
    /// For clients, `host:port`.
    pub client: String,
}

/// What all members need to know of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Where it is reached; `None` for founders, who are found as each node's own configuration file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Which data directory is meant: the number drawn when it was created; 0: the one a founder began with. Whoever
    /// has another one has lost what this member promised.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub incarnation: u64,
    /// A voter that lost its data directory: it gets its vote back as soon as it has caught up.
    #[serde(default, skip_serializing_if = "is_false")]
    pub returning: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The members of the cluster. A decision needs a majority of `incoming` *and* one of `outgoing`
/// (joint consensus, Thesis §4.3); outside a joint change `outgoing` is empty and asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Configuration {
    incoming: BTreeSet<NodeId>,
    outgoing: BTreeSet<NodeId>,
    learners: BTreeSet<NodeId>,
    /// Exactly those of the three sets.
    members: BTreeMap<NodeId, Member>,
}

/// A change that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new member without a vote, which gets the log (Thesis §4.2.1).
    AddLearner {
        /// Who.
        id: NodeId,
        /// Where it is reached.
        address: Address,
        /// The number of its data directory.
        incarnation: u64,
    },
    /// A learner that has caught up gets a vote.
    Promote {
        /// Who.
        id: NodeId,
    },
    /// A member leaves, voter or learner. The leader may remove itself (Thesis §4.2.2).
    Remove {
        /// Who.
        id: NodeId,
    },
    /// These are to be the voters, whoever they were: by joint consensus (Thesis §4.3). Those of them that have no
    /// vote yet must be learners that have caught up; all members that are not named leave.
    Set {
        /// Who has a vote in the end.
        voters: BTreeSet<NodeId>,
    },
}

/// Why a change is not begun. Definite: nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeRefusal {
    /// A change is under way already; one at a time (Thesis §4.1).
    Pending,
    /// The leader has not committed an entry of its own term yet: the latest configuration may be one that others
    /// never had (the bug of single-server changes, and its correction: Ongaro, raft-dev 2015).
    NotReady,
    /// Leadership is being handed over.
    Transferring,
    /// No such member.
    NotMember {
        /// Who.
        id: NodeId,
    },
    /// A member already, at another address or with another data directory.
    AlreadyMember {
        /// Who.
        id: NodeId,
    },
    /// A voter already.
    AlreadyVoter {
        /// Who.
        id: NodeId,
    },
    /// A learner whose log is too far behind (Thesis §4.2.1).
    NotCaughtUp {
        /// Who.
        id: NodeId,
        /// How many entries it lacks.
        behind: u64,
    },
    /// There would be no voter left.
    NoVoters,
    /// Those who would have a vote and answer now could not decide anything: the change, once begun, might never end.
    NoQuorum,
    /// More than [`MEMBERS_MAX`].
    TooMany,
}

impl Configuration {
    /// What a cluster begins with.
    pub fn founding(voters: BTreeSet<NodeId>) -> Configuration {
        assert!(!voters.contains(&0), "node ids start at 1");
        let members = voters.iter().map(|&id| (id, Member::default())).collect();
        Configuration { incoming: voters, members, ..Configuration::default() }
    }

    /// What a node goes by that is still to join: it knows of nobody.
    pub fn nobody() -> Configuration {
        Configuration::default()
    }

    /// Everyone with a vote, in order.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.incoming.union(&self.outgoing).copied().collect()
    }

    /// The voters that a joint change leads away from; empty outside one.
    pub fn outgoing(&self) -> &BTreeSet<NodeId> {
        &self.outgoing
    }

    /// Those that a change leads to, or that there are.
    pub fn incoming(&self) -> &BTreeSet<NodeId> {
        &self.incoming
    }

    /// Members without a vote.
    pub fn learners(&self) -> &BTreeSet<NodeId> {
        &self.learners
    }

    /// Everyone, in order.
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// What is known of a member.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Whether this node has a vote.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.incoming.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether two voter sets must agree.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether those for whom `agrees` holds can decide. Nobody can where nobody has a vote.
    pub fn is_quorum(&self, agrees: impl Fn(NodeId) -> bool) -> bool {
        let majority =
            |set: &BTreeSet<NodeId>| set.iter().filter(|&&id| agrees(id)).count() > set.len() / 2;
        majority(&self.incoming) && (self.outgoing.is_empty() || majority(&self.outgoing))
    }

    /// The highest value that a quorum has reached, when each voter's value only ever rises.
    pub fn quorum_value<T: Ord + Copy>(&self, value: impl Fn(NodeId) -> T) -> T {
        let reached = |set: &BTreeSet<NodeId>| {
            let mut values: Vec<T> = set.iter().map(|&id| value(id)).collect();
            values.sort_unstable_by(|a, b| b.cmp(a));
            // The majority-th highest: len/2 others are at least as high.
            values.get(values.len() / 2).copied()
        };
        let incoming = reached(&self.incoming).expect("who leads was elected by voters");
        reached(&self.outgoing).map_or(incoming, |outgoing| incoming.min(outgoing))
    }

    /// The configuration that a change leads to next, as far as this can be told without knowing any log.
    pub fn after(&self, change: &Change) -> Result<Configuration, ChangeRefusal> {
        let mut next = self.clone();
        match change {
            Change::AddLearner { id, address, incarnation } => {
                if self.members.contains_key(id) {
                    return Err(ChangeRefusal::AlreadyMember { id: *id });
                }
                let member = Member {
                    address: Some(address.clone()),
                    incarnation: *incarnation,
                    returning: false,
                };
                next.members.insert(*id, member);
                next.learners.insert(*id);
            }
            Change::Promote { id } => {
                if self.is_voter(*id) {
                    return Err(ChangeRefusal::AlreadyVoter { id: *id });
                }
                if !next.learners.remove(id) {
                    return Err(ChangeRefusal::NotMember { id: *id });
                }
                next.incoming.insert(*id);
                next.settle(*id);
            }
            Change::Remove { id } => {
                if next.members.remove(id).is_none() {
                    return Err(ChangeRefusal::NotMember { id: *id });
                }
                next.incoming.remove(id);
                next.learners.remove(id);
            }
            Change::Set { voters } => {
                if let Some(&id) = voters.iter().find(|id| !self.members.contains_key(id)) {
                    return Err(ChangeRefusal::NotMember { id });
                }
                next.outgoing = std::mem::replace(&mut next.incoming, voters.clone());
                // Learners leave at once, voters with the end of the joint phase.
                next.learners.clear();
                next.drop_strangers();
                for &id in voters {
                    next.settle(id);
                }
            }
        }
        if next.incoming.is_empty() {
            return Err(ChangeRefusal::NoVoters);
        }
        if next.members.len() > MEMBERS_MAX {
            return Err(ChangeRefusal::TooMany);
        }
        Ok(next)
    }

    /// The end of a joint change: only the incoming voters remain (Thesis §4.3).
    #[must_use]
    pub fn after_joint(&self) -> Configuration {
        let mut next = Configuration { outgoing: BTreeSet::new(), ..self.clone() };
        next.drop_strangers();
        next
    }

    /// The member has lost its data directory: it has no vote until it has caught up again. `None` if there would be
    /// no voter left.
    pub fn after_loss(&self, id: NodeId, incarnation: u64) -> Option<Configuration> {
        let mut next = self.clone();
        let member = next.members.get_mut(&id)?;
        member.incarnation = incarnation;
        if next.incoming.remove(&id) {
            member.returning = true;
            next.learners.insert(id);
        }
        (!next.incoming.is_empty()).then_some(next)
    }

    fn settle(&mut self, id: NodeId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.returning = false;
        }
    }

    fn drop_strangers(&mut self) {
        let Configuration { incoming, outgoing, learners, .. } = &*self;
        let known: BTreeSet<NodeId> =
            incoming.iter().chain(outgoing).chain(learners).copied().collect();
        self.members.retain(|id, _| known.contains(id));
    }
}

/// How a configuration is written: `{"voters":[1,2,3],"learners":[4],"members":{"4":{…}}}`. Members of which there is
/// nothing to say are left out of `members`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    voters: BTreeSet<NodeId>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    outgoing: BTreeSet<NodeId>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    learners: BTreeSet<NodeId>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    members: BTreeMap<NodeId, Member>,
}

impl From<Configuration> for Wire {
    fn from(config: Configuration) -> Wire {
        let Configuration { incoming: voters, outgoing, learners, mut members } = config;
        members.retain(|_, member| *member != Member::default());
        Wire { voters, outgoing, learners, members }
    }
}

impl TryFrom<Wire> for Configuration {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Configuration, String> {
        let Wire { voters: incoming, outgoing, learners, members: known } = wire;
        let with_vote: BTreeSet<NodeId> = incoming.union(&outgoing).copied().collect();
        if let Some(id) = learners.intersection(&with_vote).next() {
            return Err(format!("node {id} is both a voter and a learner"));
        }
        let mut members: BTreeMap<NodeId, Member> =
            with_vote.union(&learners).map(|&id| (id, Member::default())).collect();
        if members.contains_key(&0) {
            return Err("node ids start at 1".to_owned());
        }
        if incoming.is_empty() && !members.is_empty() {
            return Err("nobody has a vote".to_owned());
        }
        if members.len() > MEMBERS_MAX {
            return Err(format!("{} members; {MEMBERS_MAX} is the most", members.len()));
        }
        for (id, member) in known {
            match members.get_mut(&id) {
                Some(place) => *place = member,
                None => return Err(format!("node {id} has an address but is no member")),
            }
        }
        Ok(Configuration { incoming, outgoing, learners, members })
    }
}

/// The configurations of a log: a base, and one for each configuration entry after it. The last one rules as soon as
/// it is in the log, committed or not (Thesis §4.1); truncation brings the one before back.
#[derive(Clone, Debug)]
pub struct Configurations {
    /// Rising; the first is the base, at index 0 or where a snapshot found it.
    stack: Vec<(Index, Arc<Configuration>)>,
}

impl Configurations {
    /// Only the base.
    pub fn new(index: Index, config: Arc<Configuration>) -> Configurations {
        Configurations { stack: vec![(index, config)] }
    }

    /// The one that rules.
    pub fn latest(&self) -> &Arc<Configuration> {
        &self.stack.last().expect("the base is never popped").1
    }

    /// Index of the entry that it stands in; 0: none.
    pub fn latest_index(&self) -> Index {
        self.stack.last().expect("the base is never popped").0
    }

    /// The one that rules at the end of a log that ends at `index`.
    pub fn at(&self, index: Index) -> (Index, &Arc<Configuration>) {
        let count = self.stack.partition_point(|(at, _)| *at <= index).max(1);
        let (at, config) = &self.stack[count - 1];
        (*at, config)
    }

    /// Those that may still turn out to rule, when all is known to be committed up to `commit`: the one at `commit`
    /// and all after it.
    pub(crate) fn since(&self, commit: Index) -> impl Iterator<Item = &Configuration> {
        let (first, _) = self.at(commit);
        self.stack.iter().filter(move |(at, _)| *at >= first).map(|(_, config)| &**config)
    }

    pub(crate) fn push(&mut self, index: Index, config: Arc<Configuration>) {
        assert!(index > self.latest_index(), "configurations come in the log's order");
        self.stack.push((index, config));
    }

    /// Entries from `from` on are void. Whether the latest configuration was among them.
    pub(crate) fn truncate(&mut self, from: Index) -> bool {
        let before = self.stack.len();
        let keep = self.stack.partition_point(|(at, _)| *at < from).max(1);
        self.stack.truncate(keep);
        self.stack.len() < before
    }

    /// Entries up to `index` are in a snapshot: what ruled there becomes the base.
    pub(crate) fn compact(&mut self, index: Index) {
        let count = self.stack.partition_point(|(at, _)| *at <= index).max(1);
        self.stack.drain(..count - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[NodeId]) -> BTreeSet<NodeId> {
        ids.iter().copied().collect()
    }

    fn address(text: &str) -> Address {
        Address { peer: text.into(), client: text.into() }
    }

    fn founded(ids: &[NodeId]) -> Configuration {
        Configuration::founding(set(ids))
    }

    fn with_learners(voters: &[NodeId], learners: &[NodeId]) -> Configuration {
        learners.iter().fold(founded(voters), |config, &id| {
            config
                .after(&Change::AddLearner { id, address: address("a"), incarnation: id })
                .unwrap()
        })
    }

    #[test]
    fn quorum_of_every_size_is_more_than_half() {
        for n in 1..=9 {
            let config = Configuration::founding((1..=n).collect());
            for agreeing in 0..=n {
                assert_eq!(
                    config.is_quorum(|id| id <= agreeing),
                    agreeing > n / 2,
                    "{agreeing}/{n}"
                );
            }
            // Node k has reached k: a majority has reached what the upper n/2+1 nodes share.
            assert_eq!(config.quorum_value(|id| id), n - n / 2, "n={n}");
        }
        assert!(!Configuration::nobody().is_quorum(|_| true), "nobody decides nothing");
    }

    #[test]
    fn quorum_amid_a_change_needs_both_majorities() {
        let joint = with_learners(&[3, 4, 5], &[1, 2])
            .after(&Change::Set { voters: set(&[1, 2, 3]) })
            .unwrap();
        assert!(joint.is_joint());
        assert!(!joint.is_quorum(|id| id <= 3), "only one of the old set");
        assert!(!joint.is_quorum(|id| id >= 3), "only one of the new set");
        assert!(joint.is_quorum(|id| [1, 3, 4].contains(&id)));
        assert_eq!(joint.quorum_value(|id| id), 2, "2 of {{1,2,3}}, although 4 of {{3,4,5}}");
        assert_eq!(joint.voters(), set(&[1, 2, 3, 4, 5]));
        let after = joint.after_joint();
        assert_eq!((after.voters(), after.is_joint()), (set(&[1, 2, 3]), false));
        assert_eq!(after.members().len(), 3, "who left is forgotten");
    }

    #[test]
    fn change_that_makes_no_sense_is_refused() {
        let config = with_learners(&[1], &[2]);
        let refused = |change| config.after(&change).unwrap_err();
        let add = Change::AddLearner { id: 2, address: address("b"), incarnation: 9 };
        assert_eq!(refused(add), ChangeRefusal::AlreadyMember { id: 2 });
        assert_eq!(refused(Change::Promote { id: 1 }), ChangeRefusal::AlreadyVoter { id: 1 });
        assert_eq!(refused(Change::Promote { id: 3 }), ChangeRefusal::NotMember { id: 3 });
        assert_eq!(refused(Change::Remove { id: 3 }), ChangeRefusal::NotMember { id: 3 });
        assert_eq!(refused(Change::Remove { id: 1 }), ChangeRefusal::NoVoters);
        assert_eq!(refused(Change::Set { voters: set(&[]) }), ChangeRefusal::NoVoters);
        assert_eq!(
            refused(Change::Set { voters: set(&[1, 3]) }),
            ChangeRefusal::NotMember { id: 3 }
        );
        let mut ids = 3..;
        let mut full = config.clone();
        while full.members().len() < MEMBERS_MAX {
            let id = ids.next().unwrap();
            full = full
                .after(&Change::AddLearner { id, address: address("a"), incarnation: 1 })
                .unwrap();
        }
        let add = Change::AddLearner { id: 99, address: address("a"), incarnation: 1 };
        assert_eq!(full.after(&add), Err(ChangeRefusal::TooMany));
    }

    #[test]
    fn voter_that_lost_its_disk_is_a_learner_until_promoted() {
        let config = founded(&[1, 2, 3]).after_loss(3, 77).unwrap();
        assert_eq!((config.voters(), config.learners()), (set(&[1, 2]), &set(&[3])));
        let member = config.member(3).unwrap();
        assert_eq!((member.incarnation, member.returning), (77, true));
        let back = config.after(&Change::Promote { id: 3 }).unwrap();
        assert_eq!(back.voters(), set(&[1, 2, 3]));
        let member = back.member(3).unwrap();
        assert_eq!((member.incarnation, member.returning), (77, false));
        assert_eq!(founded(&[3]).after_loss(3, 77), None);
        let learner = with_learners(&[1], &[2]).after_loss(2, 78).unwrap();
        assert!(!learner.member(2).unwrap().returning, "it had no vote to get back");
    }

    #[test]
    fn stack_gives_back_what_truncation_uncovers() {
        let mut configs = Configurations::new(0, Arc::new(founded(&[1])));
        configs.push(5, Arc::new(founded(&[1, 2])));
        configs.push(9, Arc::new(founded(&[1, 2, 3])));
        assert_eq!(configs.at(8).0, 5);
        assert_eq!(configs.since(4).count(), 3);
        assert_eq!(configs.since(9).count(), 1);
        assert!(!configs.truncate(10));
        assert!(configs.truncate(9));
        assert_eq!(configs.latest_index(), 5);
        configs.push(7, Arc::new(founded(&[1, 4])));
        configs.compact(6);
        assert_eq!((configs.at(0).0, configs.latest_index()), (5, 7));
        assert!(configs.truncate(6));
        assert_eq!(configs.latest_index(), 5, "the base stays");
    }
}
