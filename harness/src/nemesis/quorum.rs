//! Whether somebody could go on working: a majority of the nodes that run, are left alone, and reach each other.
//!
//! Where that is so at every moment, a cluster has no excuse for not serving, and its availability can be judged.

use std::collections::BTreeSet;

use crate::cluster::NodeId;

/// What a fault takes away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Burden {
    /// Nodes that are down, stopped, or have trouble with their disks.
    pub(super) out: BTreeSet<NodeId>,
    /// Links, by their ends, on which not everything arrives in time.
    pub(super) cut: BTreeSet<(NodeId, NodeId)>,
    /// So many more nodes, and nobody knows which.
    pub(super) roaming: usize,
}

impl Burden {
    /// Both together.
    pub(super) fn add(&mut self, other: Burden) {
        self.out.extend(other.out);
        self.cut.extend(other.cut);
        self.roaming += other.roaming;
    }

    /// Whether a majority of `nodes` is untouched by it, and so are all links among them.
    pub(super) fn leaves_quorum(&self, nodes: &[NodeId]) -> bool {
        let well: Vec<NodeId> =
            nodes.iter().copied().filter(|node| !self.out.contains(node)).collect();
        if self.roaming == 0 {
            return self.some_reach_each_other(&mut Vec::new(), &well, nodes.len() / 2 + 1);
        }
        well.iter().all(|node| {
            let mut without = Burden { roaming: self.roaming - 1, ..self.clone() };
            without.out.insert(*node);
            without.leaves_quorum(nodes)
        })
    }

    /// Whether `chosen`, who reach each other, can be made `many` by some of `others`. Clusters have nine nodes at most.
    fn some_reach_each_other(
        &self,
        chosen: &mut Vec<NodeId>,
        others: &[NodeId],
        many: usize,
    ) -> bool {
        if chosen.len() >= many {
            return true;
        }
        for (position, &node) in others.iter().enumerate() {
            if chosen.iter().all(|other| self.passes(*other, node)) {
                chosen.push(node);
                if self.some_reach_each_other(chosen, &others[position + 1..], many) {
                    return true;
                }
                chosen.pop();
            }
        }
        false
    }

    fn passes(&self, one: NodeId, other: NodeId) -> bool {
        !self.cut.contains(&(one, other)) && !self.cut.contains(&(other, one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [NodeId; 5] = [1, 2, 3, 4, 5];

    fn burden(out: &[NodeId], cut: &[(NodeId, NodeId)]) -> Burden {
        Burden {
            out: out.iter().copied().collect(),
            cut: cut.iter().copied().collect(),
            roaming: 0,
        }
    }

    #[test]
    fn minority_may_be_out_and_a_majority_not() {
        assert!(burden(&[], &[]).leaves_quorum(&NODES));
        assert!(burden(&[1, 4], &[]).leaves_quorum(&NODES));
        assert!(!burden(&[1, 2, 4], &[]).leaves_quorum(&NODES));
        assert!(!burden(&[2], &[]).leaves_quorum(&[1, 2]));
    }

    #[test]
    fn nodes_that_nobody_knows_yet_may_be_any() {
        let roaming = |roaming, out: &[NodeId]| Burden { roaming, ..burden(out, &[]) };
        assert!(roaming(2, &[]).leaves_quorum(&NODES));
        assert!(roaming(1, &[4]).leaves_quorum(&NODES));
        assert!(!roaming(2, &[4]).leaves_quorum(&NODES));
        let star = Burden { roaming: 1, ..burden(&[], &[(1, 2), (1, 3), (2, 3)]) };
        assert!(!star.leaves_quorum(&NODES), "4 or 5 is needed by everybody");
    }

    #[test]
    fn links_count_among_those_that_are_well() {
        // Two halves and a node that sees both.
        let bridge = burden(&[], &[(1, 4), (1, 5), (2, 4), (2, 5)]);
        assert!(bridge.leaves_quorum(&NODES));
        let mut with_kill = bridge.clone();
        with_kill.add(burden(&[3], &[]));
        assert!(!with_kill.leaves_quorum(&NODES));
        // Everybody sees a majority, and no majority sees each other.
        let ring = burden(&[], &[(1, 3), (1, 4), (2, 4), (2, 5), (3, 5)]);
        assert!(!ring.leaves_quorum(&NODES));
    }

    #[test]
    fn one_way_is_enough_to_be_cut() {
        let one_way = [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4)];
        assert!(burden(&[], &one_way).leaves_quorum(&NODES), "3, 4 and 5 are left");
        assert!(!burden(&[5], &one_way).leaves_quorum(&NODES));
    }
}
