//! Moments: not some time, but when something has just begun or has just been said. Any fault can wait for one; one kind of
//! fault is kills at such moments.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use raftctl::MemberChange;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tokio::time::sleep;

use super::course::Running;
use super::members::{await_successor, operator};
use crate::cluster::wait::wait_for;
use crate::cluster::{Cluster, Network, NodeId, Status};

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

/// Something that happens to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Somebody else has become leader: that leader.
    NewLeader,
    /// A new leader has acknowledged its first write: that leader.
    FirstAck,
    /// A node writes a snapshot: that node.
    Snapshot,
    /// So many messages have passed from the leader to a follower: either of them.
    NthMessage,
    /// The leader carries out a change of members: the leader.
    MemberChange,
}

impl Moment {
    /// All of them.
    pub const ALL: [Moment; 5] = [
        Moment::NewLeader,
        Moment::FirstAck,
        Moment::Snapshot,
        Moment::NthMessage,
        Moment::MemberChange,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Moment::NewLeader => "new-leader",
            Moment::FirstAck => "first-ack",
            Moment::Snapshot => "snapshot",
            Moment::NthMessage => "nth-message",
            Moment::MemberChange => "member-change",
        }
    }

    /// What it is, for `harness list moments`.
    pub fn describe(self) -> &'static str {
        match self {
            Moment::NewLeader => "leadership is handed over, and somebody else leads",
            Moment::FirstAck => {
                "the leader is killed, and the next one acknowledges its first write"
            }
            Moment::Snapshot => "the nodes are told to write snapshots, and do so",
            Moment::NthMessage => "so many messages have passed from the leader to a follower",
            Moment::MemberChange => {
                "a follower is to be no member any more, and the change is under way"
            }
        }
    }

    /// The moment of that name.
    pub fn named(name: &str) -> Option<Moment> {
        Moment::ALL.into_iter().find(|moment| moment.name() == name)
    }

    /// Whether a network lets it be seen: the kernel's links are nobody's to count on.
    pub fn is_possible_with(self, network: Network) -> bool {
        self != Moment::NthMessage || network == Network::Proxy
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl FromStr for Moment {
    type Err = UnknownMoment;

    fn from_str(name: &str) -> Result<Moment, UnknownMoment> {
        Moment::named(name).ok_or_else(|| UnknownMoment { name: name.to_owned() })
    }
}

/// No moment has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no moment is called {name:?}; there are {}", Moment::ALL.map(Moment::name).join(", "))]
pub struct UnknownMoment {
    /// The name.
    pub name: String,
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
        if let Some(victim) = bring_about(moment, cluster, &mut rng).await? {
            let killed = cluster.kill(victim).await.map_err(|error| error.to_string())?;
            running.did(u64::from(killed));
            cluster.start_node(victim).await.map_err(|error| error.to_string())?;
        }
        sleep(LULL).await;
    }
}

/// Waits for such a moment, having done what leads to it; the node that it is about, if it came.
pub(super) async fn bring_about(
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
        Moment::NewLeader => {
            operator.transfer_leadership(None).await.map_err(|error| error.to_string())?;
            let Ok((successor, _)) = await_successor(cluster, term).await else { return Ok(None) };
            Ok(Some(successor))
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
