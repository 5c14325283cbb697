//! Snapshots in place of the log's beginning: taking one, and taking over another node's (Thesis §5).
//!
//! The order on the disk is the same for both: first the snapshot is durable, file and directory, then the log may forget
//! what it holds. A node that crashes in between finds a snapshot and a log that overlap, or that contradict each other;
//! [`Node::adopt`] says what counts, at the start as in full run.

use std::sync::Arc;

use crate::effects::{Event, Outcome, Record, Token};
use crate::kv::Store;
use crate::membership::Configurations;
use crate::message::{Message, Stand};
use crate::node::{Node, RoleState};
use crate::progress::Mode;
use crate::snapshot::{Saved, Snapshot};
use crate::types::{EntryId, Index, NodeId, Time};

/// After a snapshot could not be written, the next attempt waits for as many election timeouts.
const RETRY_TIMEOUTS: u32 = 10;

/// Most entries forgotten in one step: giving a million back at once would hold up everything for a tenth of a second.
const FORGET_ENTRIES_MAX: Index = 500;

/// The newest durable snapshot, in short.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SavedAt {
    /// Its last entry; `ZERO`: there is none.
    pub(crate) last: EntryId,
    /// Length of its file.
    pub(crate) bytes: u64,
}

/// A snapshot that is being written.
#[derive(Debug)]
pub(crate) struct Taking {
    last: EntryId,
    /// Who waits for it.
    tokens: Vec<Token>,
}

/// Another node's snapshot that is coming in.
#[derive(Debug)]
pub(crate) struct Receiving {
    pub(crate) last: EntryId,
    /// Length of the file.
    pub(crate) total: u64,
    /// The first byte that is missing.
    pub(crate) next: u64,
    /// Who sends it.
    pub(crate) from: NodeId,
    /// As what.
    pub(crate) stand: Stand,
}

impl Node {
    /// A client wants a snapshot that reflects everything applied so far.
    pub(crate) fn on_take_snapshot(&mut self, token: Token) {
        self.snapshot_tokens.push(token);
    }

    /// Starts a snapshot if one is due: the state is frozen, and written while the node goes on (Thesis §5.1.1).
    pub(crate) fn take_snapshot_if_due(&mut self) {
        if self.applied == self.saved.last.index && (self.applied == 0 || !self.snapshot_wanted) {
            let index = self.applied;
            for token in std::mem::take(&mut self.snapshot_tokens) {
                self.answer(token, Outcome::SnapshotTaken { index });
            }
        }
        let policy = self.options.compaction;
        let due = policy
            .log_bytes_min
            .max(self.saved.bytes.saturating_mul(policy.log_percent_of_snapshot) / 100);
        let grown = self.applied_bytes >= due || self.snapshot_wanted;
        let is_due =
            !self.snapshot_tokens.is_empty() || grown && self.now >= self.snapshot_not_before;
        if self.taking.is_some() || !is_due || self.applied == 0 {
            return;
        }
        let last = self.applied_id;
        assert_eq!(last.index, self.applied, "the last entry applied has a name");
        let (config_index, config) = self.configs.at(last.index);
        if config.members().is_empty() {
            // A node that joins does not know the founders. Who ruled here others will tell it.
            for token in std::mem::take(&mut self.snapshot_tokens) {
                self.answer(token, Outcome::SnapshotFailed);
            }
            return;
        }
        let config = Arc::clone(config);
        self.snapshot_wanted = false;
        self.applied_bytes = 0;
        let state = self.store.freeze();
        self.taking = Some(Taking { last, tokens: std::mem::take(&mut self.snapshot_tokens) });
        self.out.snapshot = Some(Snapshot { last, config_index, config, state });
    }

    /// The snapshot is durable: the log may forget what it holds.
    pub(crate) fn on_snapshot_saved(&mut self, last: EntryId, bytes: u64) {
        let Some(taking) = self.taking.take_if(|taking| taking.last == last) else { return };
        self.snapshots_taken += 1;
        self.out.events.push(Event::SnapshotTaken { last, bytes });
        for token in taking.tokens {
            self.answer(token, Outcome::SnapshotTaken { index: last.index });
        }
        // A newer one may have come from the leader meanwhile.
        if last.index < self.saved.last.index {
            return;
        }
        self.saved = SavedAt { last, bytes };
        let keep = self.log.before_last_bytes(last.index, self.options.compaction.trailing_bytes);
        self.forget_log(keep.min(self.needed_after_snapshots()));
    }

    /// It could not be written; later, perhaps.
    pub(crate) fn on_snapshot_failed(&mut self, last: EntryId) {
        let Some(taking) = self.taking.take_if(|taking| taking.last == last) else { return };
        self.snapshot_wanted = true;
        self.snapshot_not_before = self.now + self.options.election_timeout_max * RETRY_TIMEOUTS;
        for token in taking.tokens {
            self.answer(token, Outcome::SnapshotFailed);
        }
    }

    /// Followers that are being sent a snapshot will need the entries after it; who does not answer is not waited for,
    /// and no log grows without bound for anyone.
    fn needed_after_snapshots(&self) -> Index {
        let RoleState::Leader(leader) = &self.role else { return Index::MAX };
        let policy = self.options.compaction;
        let most = policy.log_bytes_min.saturating_add(policy.trailing_bytes).saturating_mul(4);
        if self.log.bytes() > most {
            return Index::MAX;
        }
        let answers =
            |heard: Time| self.now <= heard.saturating_add(self.options.election_timeout_max);
        let needed = leader.progress.values().filter(|progress| answers(progress.heard));
        let needed = needed.filter_map(|progress| match progress.mode {
            Mode::Snapshot(transfer) => Some(transfer.last.index),
            Mode::Probe { .. } | Mode::Replicate { .. } => None,
        });
        needed.min().unwrap_or(Index::MAX)
    }

    /// Forgets the entries up to `index`: on the disk now, in memory bit by bit.
    fn forget_log(&mut self, index: Index) {
        self.forget_to = self.forget_to.max(index);
        self.configs.compact(self.saved.last.index);
        self.out.purge = Some(self.log.base().index.max(index) + 1);
    }

    pub(crate) fn forget_a_little(&mut self) {
        let base = self.log.base().index;
        if base < self.forget_to {
            self.log.compact(self.forget_to.min(base + FORGET_ENTRIES_MAX));
        }
    }

    /// The snapshot that another node sent is durable here.
    pub(crate) fn on_snapshot_received(&mut self, saved: &Saved) {
        let last = saved.snapshot.last;
        let receiving = self.receiving.take_if(|receiving| receiving.last == last);
        // An older one takes nothing back.
        if last.index <= self.commit || matches!(self.role, RoleState::Leader(_)) {
            return;
        }
        let config_before = self.configs.latest_index();
        self.adopt(saved);
        self.snapshots_installed += 1;
        self.out.events.push(Event::SnapshotInstalled { last, bytes: saved.bytes });
        self.report_configuration_since(config_before);
        self.out.purge = Some(self.log.first());
        if let Some(Receiving { from, stand, .. }) = receiving
            && self.leader() == Some(from)
        {
            let (matched, session, lost) = (last.index, stand.session, self.is_lost());
            self.send_durably(from, Message::AppendAccepted { matched, round: 0, session, lost });
        }
    }

    pub(crate) fn on_receive_failed(&mut self, snapshot: EntryId) {
        self.receiving.take_if(|receiving| receiving.last == snapshot);
    }

    /// Puts a snapshot in the place of the state, and of as much of the log as it makes superfluous or proves wrong: if
    /// the log holds the snapshot's last entry, what follows that may stay; otherwise nothing of the log agrees with
    /// what is committed, or is needed (Thesis §5.3).
    pub(crate) fn adopt(&mut self, Saved { snapshot, bytes }: &Saved) {
        let Snapshot { last, config_index, config, state } = snapshot;
        assert!(last.index > self.commit, "snapshot {last} is older than commit {}", self.commit);
        self.store = Store::thaw(self.options.limits, state);
        (self.commit, self.applied, self.applied_id) = (last.index, last.index, *last);
        self.applied_bytes = 0;
        self.saved = SavedAt { last: *last, bytes: *bytes };
        if self.log.holds(*last) {
            self.log.compact(last.index);
            self.configs.compact(last.index);
            self.synced = self.synced.max(last.index);
        } else {
            self.reset_log(*last);
            self.configs = Configurations::new(*config_index, Arc::clone(config));
        }
        self.settle_standing();
    }

    /// Declares the whole log void. That it goes on after `last` is durable already, with the snapshot.
    fn reset_log(&mut self, last: EntryId) {
        if last.term > self.term {
            // The snapshot reached the disk before the term in which it was received.
            self.set_hard_state(last.term, None);
        }
        self.log.reset(last);
        self.synced = last.index;
        self.void_pending_writes(last.index);
        self.record(Record::Snapshot { last });
    }
}
