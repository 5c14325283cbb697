//! SIGTERM, and a new process at the end. Proof: processes that ended of it, as they should.

use crate::cluster::{Cluster, Error, NodeId};

pub(super) const UNIT: &str = "processes ended";

/// Ends all of them; returns how many ended properly.
pub(super) async fn install(cluster: &Cluster, nodes: &[NodeId]) -> Result<u64, Error> {
    let mut ended = 0;
    for node in nodes {
        ended += u64::from(cluster.terminate(*node).await?.is_some_and(|exit| exit.expected));
    }
    Ok(ended)
}
