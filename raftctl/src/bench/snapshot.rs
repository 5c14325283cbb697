//! What the nodes say of themselves before and after.

use std::collections::BTreeMap;
use std::time::Duration;

use raftctl::{Client, NodeId, Status};
use tokio::time::Instant;

use super::load::{Tally, own_cpu};

/// A moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) at: Instant,
    /// Operations that had succeeded.
    pub(super) ended: u64,
    /// Processor time of this process.
    pub(super) cpu: Duration,
    /// The nodes that answered.
    pub(super) nodes: BTreeMap<NodeId, Box<Status>>,
}

impl Snapshot {
    pub(super) async fn take(watcher: &Client, tally: &Tally) -> Snapshot {
        let all = watcher.status_of_all().await;
        let nodes = all.into_iter().filter_map(|node| node.status.ok());
        Snapshot {
            at: Instant::now(),
            ended: tally.ended(),
            cpu: own_cpu().unwrap_or_default(),
            nodes: nodes.map(|status| (status.node, status)).collect(),
        }
    }
}
