//! Nodes in words.

use crate::cluster::NodeId;

/// `n3`, or `n3 (leader)`.
pub(super) fn named(node: NodeId, leader: Option<NodeId>) -> String {
    if Some(node) == leader { format!("n{node} (leader)") } else { format!("n{node}") }
}

/// `n3 (leader), n4`.
pub(super) fn list(nodes: &[NodeId], leader: Option<NodeId>) -> String {
    nodes.iter().map(|node| named(*node, leader)).collect::<Vec<_>>().join(", ")
}

/// `{1,2}`.
pub(super) fn set(nodes: &[NodeId]) -> String {
    let numbers: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
    format!("{{{}}}", numbers.join(","))
}
