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

use super::course::{Course, Running};
use super::kill;
use super::kind::Kind;
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
        if let Some(cue) = Cue::choose(moment, cluster, &mut rng)
            && let Some(victim) = cue.bring_about(cluster).await?.about
        {
            let killed = cluster.kill(victim).await.map_err(|error| error.to_string())?;
            running.did(u64::from(killed));
            cluster.start_node(victim).await.map_err(|error| error.to_string())?;
        }
        sleep(LULL).await;
    }
}

/// How a moment is to come.
#[derive(Clone, Debug)]
pub(super) struct Cue {
    moment: Moment,
    leader: NodeId,
    term: u64,
    follower: NodeId,
    /// The node that a snapshot or the messages are about.
    either: NodeId,
    /// How long a wish is let go on.
    amid: Duration,
    /// Messages to let pass.
    many: u64,
}

/// Something that is done to the cluster so that a moment comes: a fault of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deed {
    pub(super) kind: Kind,
    pub(super) nodes: Vec<NodeId>,
    pub(super) text: String,
    pub(super) unit: &'static str,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Came {
    /// The node that the moment is about, if it came.
    pub(super) about: Option<NodeId>,
    /// How much of what leads to it is known to have been done, in the deed's unit.
    pub(super) done: u64,
}

impl Cue {
    /// None if nobody leads, or nobody follows.
    pub(super) fn choose(moment: Moment, cluster: &Cluster, rng: &mut StdRng) -> Option<Cue> {
        let up = cluster.view().borrow().with_status(Status::Up);
        let (leader, term) = cluster.leader_hint()?;
        let followers: Vec<NodeId> = up.iter().copied().filter(|node| *node != leader).collect();
        let &follower = followers.choose(rng)?;
        let amid = Duration::from_micros(rng.random_range(0..AMID_US_MAX));
        let either = if moment == Moment::Snapshot {
            *up.choose(rng)?
        } else if rng.random() {
            leader
        } else {
            follower
        };
        let many = rng.random_range(1..=MESSAGES_MAX);
        Some(Cue { moment, leader, term, follower, either, amid, many })
    }

    /// What is done, unless to wait is enough.
    pub(super) fn deed(&self, cluster: &Cluster) -> Option<Deed> {
        let &Cue { moment, leader, follower, .. } = self;
        let course = |course: Course, nodes: Vec<NodeId>, text: String| Deed {
            kind: Kind::Course(course),
            nodes,
            text,
            unit: course.unit(),
        };
        let deed = match moment {
            Moment::NewLeader => {
                course(Course::Transfer, vec![leader], format!("transfer from n{leader} (leader)"))
            }
            Moment::FirstAck => Deed {
                kind: Kind::Kill,
                nodes: vec![leader],
                text: format!("kill n{leader} (leader)"),
                unit: kill::UNIT,
            },
            Moment::Snapshot => course(
                Course::Snapshot,
                cluster.nodes().collect(),
                "snapshots of all nodes".to_owned(),
            ),
            Moment::MemberChange => {
                course(Course::SwapMember, vec![follower], format!("remove member n{follower}"))
            }
            Moment::NthMessage => return None,
        };
        Some(Deed { text: format!("{} for the moment {moment}", deed.text), ..deed })
    }

    /// Does what leads to the moment, and waits for it.
    pub(super) async fn bring_about(&self, cluster: &Cluster) -> Result<Came, String> {
        let &Cue { moment, leader, term, follower, either, amid, many } = self;
        let operator = operator(cluster)?;
        let about = |about, done| Ok(Came { about, done });
        match moment {
            Moment::Snapshot => {
                let written = tokio::select! {
                    written = operator.snapshot_all() => written,
                    () = sleep(amid) => Vec::new(),
                };
                let written = written.iter().filter(|snapshot| snapshot.index.is_ok()).count();
                about(Some(either), u64::try_from(written).unwrap_or(u64::MAX))
            }
            Moment::MemberChange => {
                let changed = tokio::select! {
                    changed = operator.change_members(MemberChange::Remove(follower)) => changed.is_ok(),
                    () = sleep(amid) => false,
                };
                about(Some(leader), u64::from(changed))
            }
            Moment::NewLeader => {
                operator.transfer_leadership(None).await.map_err(|error| error.to_string())?;
                let successor = await_successor(cluster, term).await.ok();
                about(successor.map(|(node, _)| node), 1)
            }
            Moment::FirstAck => {
                let killed = cluster.kill(leader).await.map_err(|error| error.to_string())?;
                cluster.start_node(leader).await.map_err(|error| error.to_string())?;
                let done = u64::from(killed);
                let Ok((successor, _)) = await_successor(cluster, term).await else {
                    return about(None, done);
                };
                let acknowledged = operator.put(KEY, "first").await;
                about(acknowledged.is_ok().then_some(successor), done)
            }
            Moment::NthMessage => {
                let link = cluster.link(leader, follower);
                let before = link.traffic();
                let passed = async || match link.traffic().since(before).lines {
                    lines if lines >= many => Ok(()),
                    lines => Err(lines),
                };
                let passed = wait_for("messages to pass", PATIENCE, passed).await;
                about(passed.is_ok().then_some(either), 0)
            }
        }
    }
}
