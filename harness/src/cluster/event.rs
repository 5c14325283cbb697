//! What happens to the nodes, told to whoever writes the history.

use std::time::Instant;

use history_checker::history::{Exit, Fault};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::NodeId;

/// Something that happened to a node, or that was done to it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A node's process was started.
    Start {
        /// The node.
        node: NodeId,
        /// Its process.
        pid: u32,
    },
    /// A node says that its role, its term or its leader changed.
    Role {
        /// Whether it says so because it was asked for its status, not by itself in its log.
        is_asked: bool,
        /// The node.
        node: NodeId,
        /// `leader`, `follower`, `candidate` or `pre-candidate`.
        role: String,
        /// Its term.
        term: u64,
        /// Whom it takes for the leader.
        leader: Option<NodeId>,
    },
    /// A node's log has a line that no correct node writes.
    Panic {
        /// The node.
        node: NodeId,
        /// The line.
        line: String,
    },
    /// A node found its files damaged, moved them away, and began with nothing.
    Damaged {
        /// The node.
        node: NodeId,
        /// What is wrong with them.
        reason: String,
    },
    /// A node's process ended.
    Exit {
        /// The node.
        node: NodeId,
        /// How, and whether it was made to.
        exit: Exit,
    },
    /// A fault begins or ends.
    Fault {
        /// The kind's name in histories.
        f: &'static str,
        /// The rest.
        fault: Fault,
    },
}

impl Event {
    /// `process` of the history line.
    pub fn process(&self) -> String {
        match self {
            Event::Start { node, .. }
            | Event::Role { node, .. }
            | Event::Panic { node, .. }
            | Event::Damaged { node, .. }
            | Event::Exit { node, .. } => format!("node-{node}"),
            Event::Fault { .. } => "nemesis".to_owned(),
        }
    }

    /// `f` of the history line.
    pub fn f(&self) -> &'static str {
        match self {
            Event::Start { .. } => "start",
            Event::Role { is_asked: false, .. } => "role",
            Event::Role { is_asked: true, .. } => "status",
            Event::Panic { .. } => "panic",
            Event::Damaged { .. } => "damaged",
            Event::Exit { .. } => "exit",
            Event::Fault { f, .. } => f,
        }
    }

    /// `value` of the history line.
    pub fn value(&self) -> Value {
        match self {
            Event::Start { pid, .. } => json!({ "pid": pid }),
            Event::Role { role, term, leader, .. } => {
                json!({ "role": role, "term": term, "leader": leader })
            }
            Event::Panic { line, .. } => json!({ "line": line }),
            Event::Damaged { reason, .. } => json!({ "reason": reason }),
            Event::Exit { exit, .. } => json!(exit),
            Event::Fault { fault, .. } => json!(fault),
        }
    }
}

/// Takes events down. Called from many threads; must not block for long.
pub trait Recorder: Send + Sync {
    /// `at` is when the harness saw it happen: for a node's log lines a few milliseconds late.
    fn record(&self, at: Instant, event: Event);
}

impl Recorder for UnboundedSender<(Instant, Event)> {
    fn record(&self, at: Instant, event: Event) {
        // Nobody listens any more: the run is over, and what its end does to the nodes is of no interest.
        drop(self.send((at, event)));
    }
}
