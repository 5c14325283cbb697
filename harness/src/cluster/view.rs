//! The cluster as the harness sees it from outside.

use std::collections::BTreeMap;
use std::fmt;

use history_checker::history::Exit;

use super::NodeId;

/// All nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// By id.
    pub nodes: BTreeMap<NodeId, NodeView>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// What its process is doing.
    pub status: Status,
    /// Its process, unless down.
    pub pid: Option<u32>,
    /// What its log last said of its role, since its process was started.
    pub role: Option<Role>,
    /// How its last process ended.
    pub last_exit: Option<Exit>,
}

/// A role as a node's log reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// `leader`, `follower`, `candidate` or `pre-candidate`.
    pub role: String,
    /// The node's term.
    pub term: u64,
    /// Whom it takes for the leader.
    pub leader: Option<NodeId>,
}

/// What a node's process is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// There is none.
    #[default]
    Down,
    /// It runs but does not listen yet.
    Starting,
    /// It listens.
    Up,
    /// It is stopped by SIGSTOP.
    Paused,
}

impl View {
    /// The leader that counts and its term: of the nodes that run and take themselves for a leader, the one with the
    /// highest term. A paused leader is not one: it cannot lead.
    pub fn leader(&self) -> Option<(NodeId, u64)> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.status == Status::Up)
            .filter_map(|(id, node)| Some((*id, node.role.as_ref()?)))
            .filter(|(_, role)| role.role == "leader")
            .map(|(id, role)| (id, role.term))
            .max_by_key(|(_, term)| *term)
    }

    /// The nodes with this status.
    pub fn with_status(&self, status: Status) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.status == status).map(|(id, _)| *id).collect()
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (id, node)) in self.nodes.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}n{id} {}", node.status)?;
            if let Some(Role { role, term, .. }) = &node.role {
                write!(f, " ({role}, term {term})")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Down => "down",
            Status::Starting => "starting",
            Status::Up => "up",
            Status::Paused => "paused",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(status: Status, role: &str, term: u64) -> NodeView {
        let role = Some(Role { role: role.to_owned(), term, leader: None });
        NodeView { status, role, ..NodeView::default() }
    }

    #[test]
    fn leader_of_the_highest_term_that_can_lead_counts() {
        let mut view = View::default();
        view.nodes.insert(1, node(Status::Up, "leader", 3));
        view.nodes.insert(2, node(Status::Up, "leader", 4));
        view.nodes.insert(3, node(Status::Up, "candidate", 5));
        assert_eq!(view.leader(), Some((2, 4)));
        view.nodes.insert(2, node(Status::Paused, "leader", 4));
        assert_eq!(view.leader(), Some((1, 3)));
        view.nodes.insert(1, node(Status::Down, "leader", 3));
        assert_eq!(view.leader(), None);
    }
}
