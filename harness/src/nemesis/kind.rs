//! The kinds of fault and their names.

use std::fmt;

use super::course::Course;
use super::disk_kind::DiskFault;
use super::link_fault::LinkFault;
use crate::cluster::{Network, faketime};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL, and a new process at the end.
    Kill,
    /// SIGSTOP, and SIGCONT at the end.
    Pause,
    /// SIGTERM, and a new process at the end.
    Terminate,
    /// SIGKILL for all nodes, and new processes at the end.
    KillAll,
    /// Something is done again and again.
    Course(Course),
    /// One node alone.
    IsolateOne,
    /// The leader alone.
    IsolateLeader,
    /// A majority and a minority.
    Halves,
    /// Two halves that do not see each other, and one node that sees both.
    Bridge,
    /// Each node sees a majority, no two nodes the same one.
    Ring,
    /// One node hears nobody, or is heard by nobody.
    OneWay,
    /// Some pairs of nodes do not see each other.
    PartialMesh,
    /// Three parts, none of which is a majority if there are more than two nodes.
    Thirds,
    /// One node does not hear one other.
    OneWayLink,
    /// The leader and one follower do not see each other.
    LoseLink,
    /// The leader sees one follower only.
    KeepOne,
    /// Nobody gets through to one node's peer port; what it says itself gets out.
    BlockPeer,
    /// Clients do not get through to one node.
    BlockClient,
    /// Something is wrong with data directories.
    Disk(DiskFault),
    /// Frames or connections suffer.
    Link(LinkFault),
}

/// What a kind of fault works on. One fault per lane at a time; the lanes overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Processes.
    Process,
    /// The cluster, as its operators do.
    Cluster,
    /// Connections: whether they pass.
    Network,
    /// Data directories.
    Disk,
    /// Connections: when what they carry arrives, and who knows that they have ended.
    Flow,
    /// Connections: what of what they carry arrives.
    Frames,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 51] = [
        Kind::Kill,
        Kind::Pause,
        Kind::Terminate,
        Kind::KillAll,
        Kind::Course(Course::RollingRestart),
        Kind::Course(Course::Upgrade),
        Kind::Course(Course::RestartStorm),
        Kind::Course(Course::Starve),
        Kind::Course(Course::KillNewLeader),
        Kind::Course(Course::KillAtMoment),
        Kind::Course(Course::ClockRate),
        Kind::Course(Course::ClockStep),
        Kind::Course(Course::ClockStrobe),
        Kind::Course(Course::Transfer),
        Kind::Course(Course::Snapshot),
        Kind::Course(Course::SwapMember),
        Kind::Course(Course::CutUntilSnapshot),
        Kind::IsolateOne,
        Kind::IsolateLeader,
        Kind::Halves,
        Kind::Bridge,
        Kind::Ring,
        Kind::OneWay,
        Kind::PartialMesh,
        Kind::Thirds,
        Kind::OneWayLink,
        Kind::LoseLink,
        Kind::KeepOne,
        Kind::BlockPeer,
        Kind::BlockClient,
        Kind::Disk(DiskFault::PowerLoss),
        Kind::Disk(DiskFault::PowerLossAll),
        Kind::Disk(DiskFault::TornWrite),
        Kind::Disk(DiskFault::LostPages),
        Kind::Disk(DiskFault::BitFlip),
        Kind::Disk(DiskFault::IoError),
        Kind::Disk(DiskFault::DiskFull),
        Kind::Disk(DiskFault::SlowDisk),
        Kind::Disk(DiskFault::StuckDisk),
        Kind::Disk(DiskFault::Truncate),
        Kind::Disk(DiskFault::Wipe),
        Kind::Link(LinkFault::Delay),
        Kind::Link(LinkFault::Rate),
        Kind::Link(LinkFault::Hold),
        Kind::Link(LinkFault::HalfOpen),
        Kind::Link(LinkFault::SlowClose),
        Kind::Link(LinkFault::Drop),
        Kind::Link(LinkFault::Duplicate),
        Kind::Link(LinkFault::Reorder),
        Kind::Link(LinkFault::Corrupt),
        Kind::Link(LinkFault::Reset),
    ];

    /// Its name: `f` of its events in a history.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Pause => "pause",
            Kind::Terminate => "terminate",
            Kind::KillAll => "kill-all",
            Kind::Course(course) => course.name(),
            Kind::IsolateOne => "isolate-one",
            Kind::IsolateLeader => "isolate-leader",
            Kind::Halves => "halves",
            Kind::Bridge => "bridge",
            Kind::Ring => "ring",
            Kind::OneWay => "one-way",
            Kind::PartialMesh => "partial-mesh",
            Kind::Thirds => "thirds",
            Kind::OneWayLink => "one-way-link",
            Kind::LoseLink => "lose-link",
            Kind::KeepOne => "keep-one",
            Kind::BlockPeer => "block-peer",
            Kind::BlockClient => "block-client",
            Kind::Disk(fault) => fault.name(),
            Kind::Link(fault) => fault.name(),
        }
    }

    /// What it does, for `harness list faults`.
    pub fn describe(self) -> &'static str {
        match self {
            Kind::Kill => "SIGKILL nodes, start them again at the end",
            Kind::Pause => "SIGSTOP nodes, SIGCONT at the end",
            Kind::Terminate => "SIGTERM nodes, start them again at the end",
            Kind::KillAll => "SIGKILL all nodes at once, start them again at the end",
            Kind::Course(course) => course.describe(),
            Kind::IsolateOne => "cut one node off from all others",
            Kind::IsolateLeader => "cut the leader off from all others",
            Kind::Halves => "partition into a majority and a minority",
            Kind::Bridge => "two halves that do not see each other, and one node that sees both",
            Kind::Ring => "each node sees a majority, no two nodes the same one",
            Kind::OneWay => "one node hears nobody, or is heard by nobody",
            Kind::PartialMesh => "some pairs of nodes do not see each other",
            Kind::Thirds => "three parts, no majority among them",
            Kind::OneWayLink => "one node does not hear one other: the leader, or from it",
            Kind::LoseLink => "the leader and one follower do not see each other",
            Kind::KeepOne => "the leader sees one follower only, and the others do not see it",
            Kind::BlockPeer => "one node's peer port is blocked: it speaks, but hears nobody",
            Kind::BlockClient => "clients of one node are refused, or hang",
            Kind::Disk(fault) => fault.describe(),
            Kind::Link(fault) => fault.describe(),
        }
    }

    /// What it works on.
    pub fn lane(self) -> Lane {
        match self {
            Kind::Kill | Kind::Pause | Kind::Terminate | Kind::KillAll => Lane::Process,
            Kind::Course(course) => course.lane(),
            Kind::IsolateOne
            | Kind::IsolateLeader
            | Kind::Halves
            | Kind::Bridge
            | Kind::Ring
            | Kind::OneWay
            | Kind::PartialMesh
            | Kind::Thirds
            | Kind::OneWayLink
            | Kind::LoseLink
            | Kind::KeepOne
            | Kind::BlockPeer
            | Kind::BlockClient => Lane::Network,
            Kind::Disk(_) => Lane::Disk,
            Kind::Link(fault) => fault.lane(),
        }
    }

    /// The fewest nodes it makes sense with.
    pub fn nodes_min(self) -> u64 {
        match self {
            Kind::Kill | Kind::Pause | Kind::Terminate | Kind::KillAll | Kind::BlockClient => 1,
            Kind::Course(course) => course.nodes_min(),
            Kind::IsolateOne
            | Kind::IsolateLeader
            | Kind::Halves
            | Kind::OneWay
            | Kind::OneWayLink
            | Kind::BlockPeer => 2,
            Kind::Bridge | Kind::Ring | Kind::PartialMesh | Kind::Thirds | Kind::LoseLink => 3,
            Kind::KeepOne => 4,
            Kind::Link(fault) => fault.nodes_min(),
            Kind::Disk(fault) => fault.nodes_min(),
        }
    }

    /// Whether it costs a node something that it had made durable.
    pub fn is_damage(self) -> bool {
        matches!(self, Kind::Disk(fault) if fault.is_damage())
    }

    /// Whether it can leave a majority alone whose members reach each other.
    pub fn can_spare_a_majority(self) -> bool {
        !matches!(
            self,
            Kind::KillAll
                | Kind::Course(Course::KillAtMoment)
                | Kind::Ring
                | Kind::Thirds
                | Kind::Disk(DiskFault::PowerLossAll)
        )
    }

    /// Whether a network can do it.
    pub fn is_possible_with(self, network: Network) -> bool {
        match (self, network) {
            (Kind::Link(fault), Network::Netns) => fault.is_the_kernels(),
            (_, Network::Proxy | Network::Netns) => true,
        }
    }

    /// Whether it is about clocks.
    fn is_of_clocks(self) -> bool {
        matches!(self, Kind::Course(Course::ClockRate)) || self.needs_faketime()
    }

    /// Whether it takes a library that sets one process's clock ([`faketime`]).
    pub fn needs_faketime(self) -> bool {
        matches!(self, Kind::Course(Course::ClockStep | Course::ClockStrobe))
    }

    /// Whether this machine has what it takes, or why not.
    pub fn check_here(self) -> Result<(), faketime::Missing> {
        if self.needs_faketime() { faketime::library().map(drop) } else { Ok(()) }
    }

    /// The kinds that a word stands for: a kind's name, `partition` (all that keep somebody from somebody else),
    /// `network` (those, and all that happens to frames and connections), `process` (those that work
    /// everywhere), `clock`, `cluster`, `disk`, `all` or `none`.
    pub fn select(word: &str) -> Result<Vec<Kind>, UnknownKind> {
        if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == word) {
            return Ok(vec![kind]);
        }
        let of = |lanes: &[Lane]| {
            Kind::ALL.into_iter().filter(|kind| lanes.contains(&kind.lane())).collect()
        };
        match word {
            "all" => Ok(Kind::ALL.to_vec()),
            "none" => Ok(Vec::new()),
            "partition" => Ok(of(&[Lane::Network])),
            "network" => Ok(of(&[Lane::Network, Lane::Flow, Lane::Frames])),
            "disk" => Ok(of(&[Lane::Disk])),
            "process" => {
                Ok(of(&[Lane::Process]).into_iter().filter(|kind| !kind.needs_faketime()).collect())
            }
            "clock" => Ok(Kind::ALL.into_iter().filter(|kind| kind.is_of_clocks()).collect()),
            "cluster" => Ok(of(&[Lane::Cluster])),
            _ => Err(UnknownKind { word: word.to_owned() }),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No kind of fault has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no fault is called {word:?}; there are {}, partition (all cuts and blocked ports), network (all of connections), process, clock, cluster, disk (all of each), all, none",
    names()
)]
pub struct UnknownKind {
    /// The name.
    pub word: String,
}

fn names() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_selects_kinds() {
        assert_eq!(Kind::select("kill"), Ok(vec![Kind::Kill]));
        assert_eq!(Kind::select("none"), Ok(Vec::new()));
        assert_eq!(Kind::select("all").unwrap().len(), Kind::ALL.len());
        let disk = Kind::select("disk").unwrap();
        assert_eq!(disk.len(), 11);
        assert!(disk.iter().all(|kind| kind.lane() == Lane::Disk));
        assert_eq!(Kind::select("process").unwrap().len(), 11);
        assert_eq!(Kind::select("clock").unwrap().len(), 3);
        assert_eq!(Kind::select("cluster").unwrap().len(), 4);
        let partitions = Kind::select("partition").unwrap();
        assert_eq!(partitions.len(), 13);
        assert!(!partitions.contains(&Kind::Kill) && !partitions.contains(&Kind::Pause));
        let network = Kind::select("network").unwrap();
        assert_eq!(network.len(), 23);
        assert!(network.contains(&Kind::Halves) && network.contains(&Kind::Link(LinkFault::Hold)));
        let error = Kind::select("kil").unwrap_err().to_string();
        assert!(error.contains("\"kil\"") && error.contains("kill, pause, terminate"), "{error}");
    }
}
