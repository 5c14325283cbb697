//! When a disk may be damaged: only if all nodes have all that they ever promised, as otherwise more would be lost than
//! a cluster can bear. A node whose disk was damaged has, once it has its vote back.

use std::collections::BTreeSet;
use std::time::Duration;

use raftctl::{Client, Endpoint};

use crate::cluster::wait::{TimedOut, wait_for};
use crate::cluster::{Cluster, NodeId};

/// How long a fault that damages a disk waits for the last one to be made up for.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a node may take to tell its state.
const LOOK_TIMEOUT: Duration = Duration::from_millis(200);

/// What a node that may be believed says of itself.
const FULL: &str = "full";

/// Waits until none of the nodes that can be reached lacks anything that it promised, and those in `damaged` can be.
pub(super) async fn await_recovery(
    cluster: &Cluster,
    damaged: &BTreeSet<NodeId>,
) -> Result<(), String> {
    let endpoints = cluster.client_endpoints().into_iter();
    let endpoints = endpoints.map(|(node, address)| Endpoint::of(node, address.to_string()));
    let client = Client::new(raftctl::Options {
        timeout: LOOK_TIMEOUT,
        retry: false,
        ..raftctl::Options::new(endpoints)
    })
    .map_err(|error| error.to_string())?;
    let probe = async || {
        for node in client.status_of_all().await {
            let Some(number) = node.endpoint.node else { continue };
            match node.status {
                Ok(status) if status.standing == FULL => {}
                Ok(status) => {
                    return Err(format!(
                        "n{number} lacks some of what it promised: its standing is {}",
                        status.standing
                    ));
                }
                Err(error) if damaged.contains(&number) => {
                    return Err(format!(
                        "n{number}, whose disk was damaged, cannot be reached: {error}"
                    ));
                }
                Err(_) => {}
            }
        }
        Ok(())
    };
    let recovered = wait_for("all nodes to have what they promised", PATIENCE, probe).await;
    recovered.map_err(|TimedOut { last, .. }| last)
}
