//! What operators do to a cluster: hand leadership over, write snapshots, change who the members are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use raftctl::{Client, Endpoint, MemberChange, Status};
use tokio::time::interval;

use crate::cluster::wait::wait_for;
use crate::cluster::{Cluster, NodeId, View};

/// How long a wish may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long it takes at least from one wish to the next: they are to disturb the work, not to be all there is.
const ROUND: Duration = Duration::from_millis(50);

/// How long a node may take to tell its state.
const LOOK_TIMEOUT: Duration = Duration::from_millis(200);

/// How long a follower that was cut off may take to get a snapshot.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(3);

/// How long it may take until all nodes are members with a vote again.
const REUNION_PATIENCE: Duration = Duration::from_secs(15);

/// Waits until somebody leads a later term; who, and which term.
pub(super) async fn await_successor(cluster: &Cluster, term: u64) -> Result<(NodeId, u64), String> {
    let newer = |view: &View| match view.leader() {
        Some((node, now)) if now > term => Ok((node, now)),
        Some(_) | None => Err("nobody leads"),
    };
    let found = cluster.wait_until("a new leader", PATIENCE, newer).await;
    found.map_err(|timed_out| timed_out.to_string())
}

/// One that insists.
pub(super) fn operator(cluster: &Cluster) -> Result<Client, String> {
    client(cluster, PATIENCE, true)
}

/// One that only looks.
pub(super) fn onlooker(cluster: &Cluster) -> Result<Client, String> {
    client(cluster, LOOK_TIMEOUT, false)
}

fn client(cluster: &Cluster, timeout: Duration, retry: bool) -> Result<Client, String> {
    let endpoints = cluster.client_endpoints().into_iter();
    let endpoints = endpoints.map(|(node, address)| Endpoint::of(node, address.to_string()));
    let options = raftctl::Options { timeout, retry, ..raftctl::Options::new(endpoints) };
    Client::new(options).map_err(|error| error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "made to be handed to map_err")]
fn text(error: raftctl::Error) -> String {
    error.to_string()
}

/// Has whoever leads hand over, again and again.
pub(super) async fn transfer(cluster: &Cluster, done: &AtomicU64) -> Result<(), String> {
    let operator = operator(cluster)?;
    let mut rounds = interval(ROUND);
    loop {
        rounds.tick().await;
        let before = operator.leader_status().await.map_err(text)?;
        // One that is refused or lost is tried again: somebody else may lead by now.
        if operator.transfer_leadership(None).await.is_ok() {
            let after = operator.leader_status().await.map_err(text)?;
            done.fetch_add(u64::from(after.node != before.node), Ordering::Relaxed);
        }
    }
}

/// Has all nodes write snapshots, again and again.
pub(super) async fn snapshot(cluster: &Cluster, done: &AtomicU64) -> Result<(), String> {
    let operator = operator(cluster)?;
    let mut rounds = interval(ROUND);
    loop {
        rounds.tick().await;
        let written = operator.snapshot_all().await;
        let written = written.iter().filter(|snapshot| snapshot.index.is_ok()).count();
        done.fetch_add(u64::try_from(written).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Takes members out and lets them in again, as often as there is time: one by itself, several in one step (joint
/// consensus, Thesis §4.3).
pub(super) async fn swap(
    cluster: &Cluster,
    nodes: &[NodeId],
    done: &AtomicU64,
) -> Result<(), String> {
    let operator = operator(cluster)?;
    loop {
        let change = match nodes {
            [node] => MemberChange::Remove(*node),
            _ => MemberChange::Set(cluster.nodes().filter(|node| !nodes.contains(node)).collect()),
        };
        operator.change_members(change).await.map_err(text)?;
        done.fetch_add(1, Ordering::Relaxed);
        reunite(cluster, done).await?;
    }
}

/// Makes every node a member with a vote that is none.
pub(super) async fn reunite(cluster: &Cluster, done: &AtomicU64) -> Result<(), String> {
    let operator = operator(cluster)?;
    let attempt = async || {
        let leader = operator.leader_status().await.map_err(text)?;
        let lacking = cluster.nodes().find(|node| !leader.voters.contains(node));
        let Some(node) = lacking else { return Ok(()) };
        let change = if leader.members.iter().any(|member| member.id == node) {
            MemberChange::Promote(node)
        } else {
            introduce(cluster, node, &operator).await?
        };
        operator.change_members(change).await.map_err(text)?;
        done.fetch_add(1, Ordering::Relaxed);
        Err("there is another one".to_owned())
    };
    let all = wait_for("all nodes to have a vote", REUNION_PATIENCE, attempt).await;
    all.map_err(|timed_out| timed_out.to_string())
}

/// How a node becomes a member: it says itself which data directory it has.
async fn introduce(
    cluster: &Cluster,
    node: NodeId,
    operator: &Client,
) -> Result<MemberChange, String> {
    let own = status(operator, node).await?;
    let (peer, client) = cluster.place(node);
    let (peer, client) = (peer.to_string(), client.to_string());
    Ok(MemberChange::Add { id: node, peer, client, incarnation: own.incarnation })
}

pub(super) async fn status(client: &Client, node: NodeId) -> Result<Box<Status>, String> {
    let all = client.status_of_all().await;
    let own = all.into_iter().find(|other| other.endpoint.node == Some(node));
    own.ok_or_else(|| format!("n{node} is not known"))?.status.map_err(text)
}

/// Waits until a node that was started knows a leader and has applied what was committed when that was first seen.
pub(super) async fn await_part(cluster: &Cluster, node: NodeId) -> Result<(), String> {
    let onlooker = onlooker(cluster)?;
    let due = std::cell::Cell::new(None);
    let takes_part = async || {
        let own = status(&onlooker, node).await?;
        let goal = due.get().unwrap_or(own.commit);
        due.set(Some(goal));
        let has_leader = own.leader.is_some() && own.commit > 0;
        if has_leader && own.applied >= goal {
            Ok(())
        } else {
            Err("it is not there yet".to_owned())
        }
    };
    let part = wait_for("the node to take part", PATIENCE, takes_part).await;
    part.map_err(|timed_out| timed_out.to_string())
}

/// How many snapshots of others a node has taken over since its start.
pub(super) async fn snapshots_installed(cluster: &Cluster, node: NodeId) -> u64 {
    let Ok(onlooker) = onlooker(cluster) else { return 0 };
    status(&onlooker, node).await.map_or(0, |status| status.snapshots_installed)
}

/// Has the others write snapshots until none of them has in its log what the node lacks.
pub(super) async fn await_compaction(cluster: &Cluster, node: NodeId) -> Result<(), String> {
    let (onlooker, operator) = (onlooker(cluster)?, operator(cluster)?);
    let is_behind = async || {
        operator.snapshot_all().await;
        let all = onlooker.status_of_all().await;
        let statuses = || all.iter().filter_map(|node| node.status.as_ref().ok());
        let last = statuses().find(|status| status.node == node).map(|status| status.last);
        let first =
            statuses().filter(|status| status.node != node).map(|status| status.first).min();
        match (last, first) {
            (Some(last), Some(first)) if first > last + 1 => Ok(()),
            _ => Err(format!("it has entries up to {last:?}, the others from {first:?} on")),
        }
    };
    let behind = wait_for("the log to be shorter", SNAPSHOT_PATIENCE, is_behind).await;
    behind.map_err(|timed_out| timed_out.to_string())
}

/// Waits until a node has taken over a snapshot; how many it has, beyond `before`.
pub(super) async fn await_snapshot(cluster: &Cluster, node: NodeId, before: u64) -> u64 {
    let more = async || match snapshots_installed(cluster, node).await.saturating_sub(before) {
        0 => Err("none yet"),
        more => Ok(more),
    };
    wait_for("a snapshot", SNAPSHOT_PATIENCE, more).await.unwrap_or(0)
}
