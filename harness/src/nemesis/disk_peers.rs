//! When a disk may be damaged: only if all nodes have all that they ever promised, as otherwise more would be lost than
//! a cluster can bear. A node whose disk was damaged has, once it has its vote back: as long as it has none, the others
//! cannot spare one of theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raftctl::{Client, Endpoint, Status};

use crate::cluster::wait::{TimedOut, wait_for};
use crate::cluster::{Cluster, NodeId};

/// How long a fault that damages a disk waits for the last one to be made up for.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a node may take to tell its state.
const LOOK_TIMEOUT: Duration = Duration::from_millis(200);

/// What a node that may be believed says of itself.
const FULL: &str = "full";

/// Waits until none of the nodes that can be reached lacks anything that it promised, those in `damaged` can be, and all
/// have their votes.
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
        let mut nodes = BTreeMap::new();
        for node in client.status_of_all().await {
            let Some(number) = node.endpoint.node else { continue };
            nodes.insert(
                number,
                node.status.map(|status| *status).map_err(|error| error.to_string()),
            );
        }
        recovered(&nodes, damaged)
    };
    let recovered = wait_for("all nodes to have what they promised", PATIENCE, probe).await;
    recovered.map_err(|TimedOut { last, .. }| last)
}

/// Whether a disk may be damaged, by what the nodes say of themselves; otherwise why not.
fn recovered(
    nodes: &BTreeMap<NodeId, Result<Status, String>>,
    damaged: &BTreeSet<NodeId>,
) -> Result<(), String> {
    for (node, status) in nodes {
        match status {
            Ok(status) if status.standing == FULL => {}
            Ok(Status { standing, .. }) => {
                let lacks = "lacks some of what it promised: its standing is";
                return Err(format!("n{node} {lacks} {standing}"));
            }
            Err(error) if damaged.contains(node) => {
                return Err(format!("n{node}, whose disk was damaged, cannot be reached: {error}"));
            }
            Err(_) => {}
        }
    }
    if damaged.is_empty() {
        return Ok(());
    }
    // Its standing is full from the moment on in which its loss is known, and that is before it has its vote back.
    let leaders = nodes.values().flatten().filter(|status| status.role == "leader");
    let Some(leader) = leaders.max_by_key(|status| status.term) else {
        return Err("nobody leads who could give votes back".to_owned());
    };
    if leader.config_index > leader.commit {
        let index = leader.config_index;
        return Err(format!("the configuration at {index} is not committed"));
    }
    match leader.members.iter().find(|member| member.returning) {
        Some(member) => Err(format!("n{} has not got its vote back", member.id)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use raftctl::Member;

    use super::*;

    /// Three nodes of which the second leads, and may be changed.
    fn cluster(change: impl FnOnce(&mut Status)) -> BTreeMap<NodeId, Result<Status, String>> {
        let status = |role: &str| Status {
            role: role.to_owned(),
            term: 7,
            commit: 9,
            config_index: 9,
            standing: FULL.to_owned(),
            members: (1..=3).map(|id| Member { id, ..Member::default() }).collect(),
            ..Status::default()
        };
        let mut leader = status("leader");
        change(&mut leader);
        BTreeMap::from([(1, Ok(status("follower"))), (2, Ok(leader)), (3, Ok(status("follower")))])
    }

    #[test]
    fn disk_is_not_damaged_while_another_node_has_no_vote() {
        let damaged = BTreeSet::from([3]);
        let why = |nodes: &BTreeMap<NodeId, Result<Status, String>>| {
            recovered(nodes, &damaged).expect_err("it is too early")
        };
        assert_eq!(recovered(&cluster(|_| {}), &damaged), Ok(()));
        let returning = cluster(|leader| leader.members[2].returning = true);
        assert_eq!(why(&returning), "n3 has not got its vote back");
        let promoted = cluster(|leader| leader.config_index = 10);
        assert_eq!(why(&promoted), "the configuration at 10 is not committed");
        let nobody = cluster(|leader| leader.role = "candidate".to_owned());
        assert_eq!(why(&nobody), "nobody leads who could give votes back");
        assert_eq!(recovered(&nobody, &BTreeSet::new()), Ok(()), "nothing is to be made up for");
        let lost = cluster(|leader| leader.standing = "lost".to_owned());
        assert_eq!(why(&lost), "n2 lacks some of what it promised: its standing is lost");
        let mut unreachable = cluster(|_| {});
        unreachable.insert(1, Err("refused".to_owned()));
        assert_eq!(recovered(&unreachable, &damaged), Ok(()));
        unreachable.insert(3, Err("refused".to_owned()));
        assert_eq!(why(&unreachable), "n3, whose disk was damaged, cannot be reached: refused");
    }

    #[test]
    fn older_leader_is_not_asked() {
        let mut nodes = cluster(|leader| leader.members[2].returning = true);
        let old = Status {
            role: "leader".to_owned(),
            term: 6,
            standing: FULL.to_owned(),
            ..Status::default()
        };
        nodes.insert(1, Ok(old));
        assert!(recovered(&nodes, &BTreeSet::from([3])).is_err());
    }
}
