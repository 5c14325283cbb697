//! One machine: a process that may be down or stopped, its disk, its clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use raft_core::effects::{Send, WriteSeq};
use raft_core::membership::Configuration;
use raft_core::node::{Input, Node, Standing};
use raft_core::snapshot::Snapshot;
use raft_core::types::{EntryId, Index, NodeId, Time};

use super::disk::Disk;
use super::duties::Duties;
use super::rng::{Micros, Rng};

/// A clock that need not agree with any other, not even on how fast time goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Local microseconds for 1000 of true time.
    rate: u64,
    /// What leaps have added.
    leapt: Micros,
}

impl Clock {
    pub(super) fn new(rate: u64) -> Clock {
        Clock { rate, leapt: 0 }
    }

    /// What it shows.
    pub(super) fn read(self, now: Micros) -> Time {
        Duration::from_micros(self.leapt + now * self.rate / 1_000)
    }

    /// When it will show at least this.
    pub(super) fn when(self, local: Time) -> Micros {
        let local = Micros::try_from(local.as_micros()).unwrap_or(Micros::MAX);
        local.saturating_sub(self.leapt).saturating_mul(1_000) / self.rate + 1
    }

    pub(super) fn leap(&mut self, by: Micros) {
        self.leapt += by;
    }
}

/// Another node's snapshot on its way in.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) snapshot: EntryId,
    pub(super) data: String,
}

/// A machine. The process's own things end with it.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) id: NodeId,
    /// The cluster's founders, as this node's file names them; empty: it is to join.
    pub(super) founders: BTreeSet<NodeId>,
    pub(super) rng: Rng,
    pub(super) clock: Clock,
    pub(super) disk: Disk,
    /// How often the directory was removed.
    pub(super) wipes: u64,
    /// Faults that make syncs slow, and how slow.
    pub(super) slow: BTreeMap<u64, Micros>,
    /// Faults that make snapshot files unusable.
    pub(super) bad_snapshots: BTreeSet<u64>,
    /// Counts starts and ends of the process, so that what was under way for an earlier one is recognised.
    pub(super) life: u64,
    /// `None` while the process is down.
    pub(super) node: Option<Node>,
    pub(super) duties: Option<Duties>,
    /// Faults that stop the process.
    pub(super) pauses: BTreeSet<u64>,
    pub(super) inbox: Vec<Input>,
    pub(super) step_due: bool,
    /// When a wake-up is due; `Micros::MAX`: none.
    pub(super) wake_at: Micros,
    /// Messages that wait for a write.
    pub(super) held: Vec<Send>,
    /// The process knows that everything up to this write is durable.
    pub(super) synced: WriteSeq,
    /// A snapshot that is being written.
    pub(super) saving: Option<Snapshot>,
    pub(super) receiving: Option<Receiving>,
}

impl Host {
    pub(super) fn new(id: NodeId, founders: BTreeSet<NodeId>, clock: Clock, rng: Rng) -> Host {
        let incarnation = id;
        let standing =
            if founders.contains(&id) { Standing::Full } else { Standing::Lost { incarnation } };
        Host {
            id,
            founders,
            rng,
            clock,
            disk: Disk::new(incarnation, standing),
            wipes: 0,
            slow: BTreeMap::new(),
            bad_snapshots: BTreeSet::new(),
            life: 0,
            node: None,
            duties: None,
            pauses: BTreeSet::new(),
            inbox: Vec::new(),
            step_due: false,
            wake_at: Micros::MAX,
            held: Vec::new(),
            synced: 0,
            saving: None,
            receiving: None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// Whether the process runs.
    pub(super) fn runs(&self) -> bool {
        self.is_up() && self.pauses.is_empty()
    }

    /// The process ends, however that came.
    pub(super) fn end_life(&mut self) {
        self.life += 1;
        self.node = None;
        self.duties = None;
        self.pauses.clear();
        self.inbox.clear();
        self.step_due = false;
        self.wake_at = Micros::MAX;
        self.held.clear();
        self.synced = 0;
        self.saving = None;
        self.receiving = None;
    }

    /// The directory is removed; the next start finds none.
    pub(super) fn wipe(&mut self) {
        self.wipes += 1;
        let incarnation = self.id + 100 * self.wipes;
        self.disk = Disk::new(incarnation, Standing::Lost { incarnation });
    }

    /// Whether the directory that this configuration means is gone, or does not know yet that it may count.
    pub(super) fn is_lost_by(&self, config: &Configuration) -> bool {
        if self.disk.standing != Standing::Full {
            return true;
        }
        match config.member(self.id).map_or(0, |member| member.incarnation) {
            0 => self.wipes > 0,
            incarnation => incarnation != self.disk.incarnation,
        }
    }

    /// The latest configuration that this node wrote down.
    pub(super) fn config(&self) -> Arc<Configuration> {
        let in_log = self.disk.written().config_at(Index::MAX).map(Arc::clone);
        let in_snapshot = || {
            let saved = self.disk.snapshot.as_ref()?;
            Some(Arc::clone(&saved.snapshot.config))
        };
        in_log
            .or_else(in_snapshot)
            .unwrap_or_else(|| Arc::new(Configuration::founding(self.founders.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_shows_what_it_was_asked_to_wait_for_and_not_much_more() {
        for rate in [900, 1_000, 1_037, 1_100] {
            let mut clock = Clock::new(rate);
            clock.leap(12_345);
            for local in [50_000, 1_000_001, 77_777_777].map(Duration::from_micros) {
                let when = clock.when(local);
                assert!(clock.read(when) >= local, "{rate}");
                assert!(clock.read(when) <= local + Duration::from_micros(3), "{rate}");
            }
        }
    }
}
