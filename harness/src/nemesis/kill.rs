//! SIGKILL, and a new process at the end. Proof: processes seen to have died of it.

use crate::cluster::{Cluster, Error, NodeId};

pub(super) const UNIT: &str = "processes killed";

/// Kills all of them; returns how many were killed.
pub(super) async fn install(cluster: &Cluster, nodes: &[NodeId]) -> Result<u64, Error> {
    let mut killed = 0;
    for node in nodes {
        killed += u64::from(cluster.kill(*node).await?);
    }
    Ok(killed)
}

/// Starts all of them again, and waits until they listen. One that does not come up does not keep the others down.
pub(super) async fn remove(cluster: &Cluster, nodes: &[NodeId]) -> Result<(), Error> {
    let mut outcome = Ok(());
    for node in nodes {
        match cluster.start_node(*node).await {
            Ok(()) | Err(Error::AlreadyRuns { .. }) => {}
            Err(error) => outcome = Err(error),
        }
    }
    outcome
}
