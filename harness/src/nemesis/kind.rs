//! The kinds of fault and their names.

use std::fmt;

use super::disk_kind::DiskFault;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL, and a new process at the end.
    Kill,
    /// SIGSTOP, and SIGCONT at the end.
    Pause,
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
    /// Clients do not get through to one node.
    BlockClient,
    /// Something is wrong with data directories.
    Disk(DiskFault),
}

/// What a kind of fault works on. One fault per lane at a time; the lanes overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Processes.
    Process,
    /// Connections.
    Network,
    /// Data directories.
    Disk,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 20] = [
        Kind::Kill,
        Kind::Pause,
        Kind::IsolateOne,
        Kind::IsolateLeader,
        Kind::Halves,
        Kind::Bridge,
        Kind::Ring,
        Kind::OneWay,
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
    ];

    /// Its name: `f` of its events in a history.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Pause => "pause",
            Kind::IsolateOne => "isolate-one",
            Kind::IsolateLeader => "isolate-leader",
            Kind::Halves => "halves",
            Kind::Bridge => "bridge",
            Kind::Ring => "ring",
            Kind::OneWay => "one-way",
            Kind::BlockClient => "block-client",
            Kind::Disk(fault) => fault.name(),
        }
    }

    /// What it does, for `harness list faults`.
    pub fn describe(self) -> &'static str {
        match self {
            Kind::Kill => "SIGKILL nodes, start them again at the end",
            Kind::Pause => "SIGSTOP nodes, SIGCONT at the end",
            Kind::IsolateOne => "cut one node off from all others",
            Kind::IsolateLeader => "cut the leader off from all others",
            Kind::Halves => "partition into a majority and a minority",
            Kind::Bridge => "two halves that do not see each other, and one node that sees both",
            Kind::Ring => "each node sees a majority, no two nodes the same one",
            Kind::OneWay => "one node hears nobody, or is heard by nobody",
            Kind::BlockClient => "clients of one node are refused, or hang",
            Kind::Disk(fault) => fault.describe(),
        }
    }

    /// What it works on.
    pub fn lane(self) -> Lane {
        match self {
            Kind::Kill | Kind::Pause => Lane::Process,
            Kind::IsolateOne
            | Kind::IsolateLeader
            | Kind::Halves
            | Kind::Bridge
            | Kind::Ring
            | Kind::OneWay
            | Kind::BlockClient => Lane::Network,
            Kind::Disk(_) => Lane::Disk,
        }
    }

    /// The fewest nodes it makes sense with.
    pub fn nodes_min(self) -> u64 {
        match self {
            Kind::Kill | Kind::Pause | Kind::BlockClient => 1,
            Kind::IsolateOne | Kind::IsolateLeader | Kind::Halves | Kind::OneWay => 2,
            Kind::Bridge | Kind::Ring => 3,
            Kind::Disk(fault) => fault.nodes_min(),
        }
    }

    /// Whether it costs a node something that it had made durable.
    pub fn is_damage(self) -> bool {
        matches!(self, Kind::Disk(fault) if fault.is_damage())
    }

    /// The kinds that a word stands for: a kind's name, `partition` (all that keep somebody from somebody else), `disk`,
    /// `all` or `none`.
    pub fn select(word: &str) -> Result<Vec<Kind>, UnknownKind> {
        if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == word) {
            return Ok(vec![kind]);
        }
        let of = |lane| Kind::ALL.into_iter().filter(|kind| kind.lane() == lane).collect();
        match word {
            "all" => Ok(Kind::ALL.to_vec()),
            "none" => Ok(Vec::new()),
            "partition" => Ok(of(Lane::Network)),
            "disk" => Ok(of(Lane::Disk)),
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
    "no fault is called {word:?}; there are {}, partition (all of the network), disk (all of the disk), all, none",
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
        let partitions = Kind::select("partition").unwrap();
        assert_eq!(partitions.len(), 7);
        assert!(!partitions.contains(&Kind::Kill) && !partitions.contains(&Kind::Pause));
        let error = Kind::select("kil").unwrap_err().to_string();
        assert!(error.contains("\"kil\"") && error.contains("kill, pause, isolate-one"), "{error}");
    }
}
