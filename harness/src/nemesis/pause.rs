//! SIGSTOP, and SIGCONT at the end. Proof: milliseconds for which the processes were seen stopped.

use std::time::Duration;

use crate::cluster::{Cluster, Error, NodeId};

pub(super) const UNIT: &str = "ms stopped";

/// Stops all of them, and sees that they are.
pub(super) async fn install(cluster: &Cluster, nodes: &[NodeId]) -> Result<(), Error> {
    for node in nodes {
        cluster.pause(*node).await?;
    }
    Ok(())
}

/// Continues all of them; returns for how long all of them were stopped. One that cannot be continued does not keep
/// the others stopped.
pub(super) async fn remove(cluster: &Cluster, nodes: &[NodeId]) -> (u64, Result<(), Error>) {
    let mut stopped = None;
    let mut outcome = Ok(());
    for node in nodes {
        match cluster.resume(*node).await {
            Ok(time) => stopped = Some(stopped.map_or(time, |other: Duration| other.min(time))),
            Err(error) => outcome = Err(error),
        }
    }
    let ms = stopped.unwrap_or_default().as_millis();
    (u64::try_from(ms).unwrap_or(u64::MAX), outcome)
}
