//! What a link holds back must reach the core of the daemon in a later term: otherwise no fault of that sort tests it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::Arc;
use std::time::Duration;

use harness::cluster::proxy::{Effect, Release};
use harness::cluster::wait::wait_for;
use harness::cluster::{Cluster, NodeId, Options, View};
use raftctl::{Client, Endpoint};
use tokio::sync::mpsc::unbounded_channel;

use crate::support::{one_cluster_at_a_time, raftd};

const DEADLINE: Duration = Duration::from_secs(20);

async fn leader_after(cluster: &Cluster, term: u64) -> (NodeId, u64) {
    let probe = |view: &View| {
        view.leader().filter(|(_, later)| *later > term).ok_or_else(|| view.to_string())
    };
    cluster.wait_until("a later leader", DEADLINE, probe).await.unwrap()
}

/// Messages that a node would not hear.
async fn refused(cluster: &Cluster, node: NodeId) -> u64 {
    let endpoints = cluster.client_endpoints().into_iter();
    let endpoints = endpoints.map(|(node, address)| Endpoint::of(node, address.to_string()));
    let client = Client::new(raftctl::Options::new(endpoints)).unwrap();
    let all = client.status_of_all().await.into_iter().map(|node| node.status.unwrap());
    all.filter(|status| status.node == node).map(|status| status.messages_refused).sum()
}

/// Holds what a leader says to a follower until another one leads, and lets go.
async fn hold_over(release: Release, connections_more: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (recorder, _events) = unbounded_channel();
    let options = Options {
        supervisor: Some(env!("CARGO_BIN_EXE_harness").into()),
        ..Options::new(raftd(), 3, dir.path())
    };
    let cluster = Cluster::start(&options, Arc::new(recorder)).await.unwrap();
    let (old, term) = leader_after(&cluster, 0).await;
    let peers: Vec<NodeId> = cluster.nodes().filter(|node| *node != old).collect();
    let links: Vec<_> = peers.iter().map(|peer| cluster.link(old, *peer)).collect();
    let effect = Effect::Hold { release };
    let faults: Vec<u64> = links.iter().map(|link| link.inflict(effect.clone(), 1)).collect();
    leader_after(&cluster, term).await;
    for ((link, fault), peer) in links.iter().zip(faults).zip(&peers) {
        let (before, refused_before) = (link.traffic(), refused(&cluster, *peer).await);
        let held = link.lift(fault);
        assert!(held > 0, "the leader has said nothing to n{peer}");
        let due = held + connections_more;
        let arrived = || {
            let lines = link.traffic().since(before).lines;
            std::future::ready(if lines >= due { Ok(()) } else { Err(format!("{lines} of {due}")) })
        };
        wait_for("a hello for each new connection and all that was held", DEADLINE, arrived)
            .await
            .unwrap();
        // A node that finds fault with a message counts it and hangs up.
        assert_eq!(refused(&cluster, *peer).await, refused_before);
        assert_eq!(link.traffic().since(before).accepted, connections_more, "n{peer} hung up");
    }
    assert!(cluster.shutdown().await.unwrap().values().all(|exit| exit.expected));
}

#[test]
fn held_messages_are_heard_in_a_later_term() {
    let _alone = one_cluster_at_a_time();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(hold_over(Release::InOrder, 0));
}

#[test]
fn held_messages_are_heard_in_a_later_term_on_a_later_connection() {
    let _alone = one_cluster_at_a_time();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(hold_over(Release::AfterReconnect, 1));
}
