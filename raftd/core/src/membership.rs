//! Who has a vote, and what a quorum is.

use std::collections::BTreeSet;

use crate::types::NodeId;

/// The members of the cluster. A decision needs a majority of `incoming` *and* one of `outgoing`
/// (joint consensus, Thesis §4.3); outside a change `outgoing` is empty and asks for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    incoming: BTreeSet<NodeId>,
    outgoing: BTreeSet<NodeId>,
}

impl Configuration {
    /// A configuration outside any change.
    pub fn new(voters: BTreeSet<NodeId>) -> Configuration {
        assert!(!voters.is_empty(), "a cluster has at least one voter");
        assert!(!voters.contains(&0), "node ids start at 1");
        Configuration { incoming: voters, outgoing: BTreeSet::new() }
    }

    /// A configuration amid a change from `outgoing` to `incoming`.
    pub fn joint(incoming: BTreeSet<NodeId>, outgoing: BTreeSet<NodeId>) -> Configuration {
        assert!(!outgoing.is_empty(), "a joint configuration has two voter sets");
        Configuration { outgoing, ..Configuration::new(incoming) }
    }

    /// Everyone with a vote, in order.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.incoming.union(&self.outgoing).copied().collect()
    }

    /// Whether this node has a vote.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.incoming.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether those for whom `agrees` holds can decide.
    pub fn is_quorum(&self, agrees: impl Fn(NodeId) -> bool) -> bool {
        let majority = |set: &BTreeSet<NodeId>| {
            set.is_empty() || set.iter().filter(|&&id| agrees(id)).count() > set.len() / 2
        };
        majority(&self.incoming) && majority(&self.outgoing)
    }

    /// The highest value that a quorum has reached, when each voter's value only ever rises.
    pub fn quorum_value<T: Ord + Copy>(&self, value: impl Fn(NodeId) -> T) -> T {
        let reached = |set: &BTreeSet<NodeId>| {
            let mut values: Vec<T> = set.iter().map(|&id| value(id)).collect();
            values.sort_unstable_by(|a, b| b.cmp(a));
            // The majority-th highest: len/2 others are at least as high.
            values.get(values.len() / 2).copied()
        };
        let incoming = reached(&self.incoming).expect("a cluster has at least one voter");
        reached(&self.outgoing).map_or(incoming, |outgoing| incoming.min(outgoing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[NodeId]) -> BTreeSet<NodeId> {
        ids.iter().copied().collect()
    }

    #[test]
    fn quorum_of_every_size_is_more_than_half() {
        for n in 1..=9 {
            let config = Configuration::new((1..=n).collect());
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
    }

    #[test]
    fn quorum_amid_a_change_needs_both_majorities() {
        let joint = Configuration::joint(set(&[1, 2, 3]), set(&[3, 4, 5]));
        assert!(!joint.is_quorum(|id| id <= 3), "only one of the old set");
        assert!(!joint.is_quorum(|id| id >= 3), "only one of the new set");
        assert!(joint.is_quorum(|id| [1, 3, 4].contains(&id)));
        assert_eq!(joint.quorum_value(|id| id), 2, "2 of {{1,2,3}}, although 4 of {{3,4,5}}");
        assert_eq!(joint.voters(), set(&[1, 2, 3, 4, 5]));
    }
}
