//! Kills at a moment: not some time, but when something has just begun or has just been said.

use std::time::Duration;

use raftctl::MemberChange;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::course::Running;
use super::members::{await_successor, operator};
use crate::cluster::wait::wait_for;
use crate::cluster::{Cluster, NodeId, Status};

/// How long a moment is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long after a wish the node that is to carry it out is killed, at most: a snapshot and a change of members take
/// milliseconds.
const AMID_US_MAX: u64 = 4_000;

/// So many messages are let pass on a link, at most.
const MESSAGES_MAX: u64 = 40;

/// From one moment to the next, so that there are some to choose from.
const LULL: Duration = Duration::from_millis(150);

/// The key that is written to see a first acknowledgement.
const KEY: &str = "moment";

/// When to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// A node writes a snapshot: that node.
    Snapshot,
    /// A new leader has acknowledged its first write: that leader.
    FirstAck,
    /// So many messages have passed from the leader to a follower: either of them.
    NthMessage,
    /// The leader carries out a change of members: the leader.
    MemberChange,
}

/// Kills again and again, at one of these moments each time.
pub(super) async fn kill_at_moments(
    running: &Running,
    cluster: &Cluster,
    seed: u64,
) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut moments = vec![Moment::Snapshot, Moment::FirstAck, Moment::MemberChange];
    // The kernel's links are nobody's to count on.
    if cluster.net().is_none() {
        moments.push(Moment::NthMessage);
    }
    loop {
        let moment = *moments.choose(&mut rng).unwrap_or(&Moment::Snapshot);
        if let Some(victim) = await_moment(moment, cluster, &mut rng).await? {
            let killed = cluster.kill(victim).await.map_err(|error| error.to_string())?;
            running.did(u64::from(killed));
            cluster.start_node(victim).await.map_err(|error| error.to_string())?;
        }
        sleep(LULL).await;
    }
}

/// Waits for such a moment, or brings it about; the node to kill, if it came.
async fn await_moment(
    moment: Moment,
    cluster: &Cluster,
    rng: &mut StdRng,
) -> Result<Option<NodeId>, String> {
    let up = cluster.view().borrow().with_status(Status::Up);
    let Some((leader, term)) = cluster.leader_hint() else { return Ok(None) };
    let followers: Vec<NodeId> = up.iter().copied().filter(|node| *node != leader).collect();
    let Some(&follower) = followers.choose(rng) else { return Ok(None) };
    let amid = Duration::from_micros(rng.random_range(0..AMID_US_MAX));
    let operator = operator(cluster)?;
    match moment {
        Moment::Snapshot => {
            tokio::select! {
                _ = operator.snapshot_all() => {}
                () = sleep(amid) => {}
            }
            Ok(up.choose(rng).copied())
        }
        Moment::MemberChange => {
            tokio::select! {
                _ = operator.change_members(MemberChange::Remove(follower)) => {}
                () = sleep(amid) => {}
            }
            Ok(Some(leader))
        }
        Moment::FirstAck => {
            cluster.kill(leader).await.map_err(|error| error.to_string())?;
            cluster.start_node(leader).await.map_err(|error| error.to_string())?;
            let Ok((successor, _)) = await_successor(cluster, term).await else { return Ok(None) };
            let acknowledged = operator.put(KEY, "first").await;
            Ok(acknowledged.is_ok().then_some(successor))
        }
        Moment::NthMessage => {
            let many = rng.random_range(1..=MESSAGES_MAX);
            let link = cluster.link(leader, follower);
            let before = link.traffic();
            let passed = async || match link.traffic().since(before).lines {
                lines if lines >= many => Ok(()),
                lines => Err(lines),
            };
            let passed = wait_for("messages to pass", PATIENCE, passed).await;
            let either = if rng.random() { leader } else { follower };
            Ok(passed.is_ok().then_some(either))
        }
    }
}
