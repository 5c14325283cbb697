//! The kinds of disk fault and their names.

/// A kind of disk fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskFault {
    /// One node, or a majority, loses power: what was not synced is gone.
    PowerLoss,
    /// All nodes lose power at the same time.
    PowerLossAll,
    /// A power loss in the midst of a write: its beginning survives.
    TornWrite,
    /// A power loss after which the disk has some of the unsynced pages and not others.
    LostPages,
    /// Bits turn in what one node's disk has.
    BitFlip,
    /// Reads, writes or syncs of one node fail.
    IoError,
    /// No room on disks.
    DiskFull,
    /// Syncs take long.
    SlowDisk,
    /// Syncs do not return.
    StuckDisk,
    /// A file of one node loses its end.
    Truncate,
    /// One node loses all its files.
    Wipe,
}

impl DiskFault {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            DiskFault::PowerLoss => "power-loss",
            DiskFault::PowerLossAll => "power-loss-all",
            DiskFault::TornWrite => "torn-write",
            DiskFault::LostPages => "lost-pages",
            DiskFault::BitFlip => "bit-flip",
            DiskFault::IoError => "io-error",
            DiskFault::DiskFull => "disk-full",
            DiskFault::SlowDisk => "slow-disk",
            DiskFault::StuckDisk => "stuck-disk",
            DiskFault::Truncate => "truncate",
            DiskFault::Wipe => "wipe",
        }
    }

    /// What it does.
    pub fn describe(self) -> &'static str {
        match self {
            DiskFault::PowerLoss => {
                "one node or a majority loses power: what was not synced is gone"
            }
            DiskFault::PowerLossAll => "all nodes lose power at the same time",
            DiskFault::TornWrite => "a power loss, and the first of the unsynced bytes survive it",
            DiskFault::LostPages => "a power loss, and any of the unsynced pages survive it",
            DiskFault::BitFlip => "bits turn in a file of one node",
            DiskFault::IoError => {
                "one node's reads, writes, new files or syncs fail, once or always"
            }
            DiskFault::DiskFull => "no room on the disks of one node or more for a while",
            DiskFault::SlowDisk => "every fsync of one node or more takes longer",
            DiskFault::StuckDisk => "no fsync of one node returns for a while",
            DiskFault::Truncate => "a file of one node loses its end",
            DiskFault::Wipe => "one node loses all its files",
        }
    }

    /// What its proof counts.
    pub fn unit(self) -> &'static str {
        match self {
            DiskFault::PowerLoss | DiskFault::PowerLossAll | DiskFault::LostPages => {
                "unsynced bytes and names lost"
            }
            DiskFault::TornWrite => "unsynced bytes and names lost, others kept",
            DiskFault::BitFlip => "bits turned",
            DiskFault::Truncate => "bytes cut off",
            DiskFault::Wipe => "bytes wiped",
            DiskFault::IoError | DiskFault::DiskFull => "errors returned",
            DiskFault::SlowDisk | DiskFault::StuckDisk => "ms of fsync delay",
        }
    }

    /// The fewest nodes it makes sense with.
    pub fn nodes_min(self) -> u64 {
        // A node that was damaged needs a majority of the others.
        if self.is_damage() { 3 } else { 1 }
    }

    /// Whether it takes something from a disk that the node had made durable: then the node has only its peers to
    /// recover from.
    pub fn is_damage(self) -> bool {
        matches!(self, DiskFault::BitFlip | DiskFault::Truncate | DiskFault::Wipe)
    }
}
