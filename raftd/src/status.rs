//! A node's view of itself, for `raftctl status`.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use raft_core::membership::Member;
use raft_core::node::{Follower, FollowerMode, View};
use raft_core::types::NodeId;

use crate::api::{self, Status};
use crate::server::members::Addresses;
use crate::storage::{PapersStanding, StatsView};

/// Which one of a node's data directories this is, and what it is worth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    /// Whether the node may be believed.
    pub(crate) standing: PapersStanding,
    /// If it is new: the founders that it has not heard from.
    pub(crate) waiting_for: &'a BTreeSet<NodeId>,
    /// The directory's number.
    pub(crate) incarnation: u64,
    /// Where the members are.
    pub(crate) addresses: Addresses<'a>,
}

/// What only the event loop knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    /// Client connections open.
    pub(crate) clients: usize,
    /// Messages to other members dropped.
    pub(crate) messages_dropped: u64,
    /// Connections refused, or closed because of what came in.
    pub(crate) connections_refused: u64,
    /// Whether the disk is full.
    pub(crate) disk_full: bool,
    /// Time since the start.
    pub(crate) uptime: Duration,
}

/// All of it, in the client protocol's words.
pub(crate) fn status(
    identity: &Identity<'_>,
    view: &View,
    storage: &StatsView,
    counters: &Counters,
) -> Status {
    Status {
        node: view.id,
        cluster: identity.addresses.cluster.id.clone(),
        role: view.role.name().to_owned(),
        term: view.term,
        vote: view.vote,
        leader: view.leader,
        commit: view.commit,
        applied: view.applied,
        first: view.first,
        last: view.last.index,
        last_term: view.last.term,
        standing: match identity.standing {
            PapersStanding::New => "new",
            PapersStanding::Full => "full",
            PapersStanding::Lost => "lost",
        }
        .to_owned(),
        waiting_for: ids(identity.waiting_for),
        incarnation: identity.incarnation,
        voters: ids(view.config.incoming()),
        outgoing: ids(view.config.outgoing()),
        learners: ids(view.config.learners()),
        members: members(identity.addresses),
        config_index: view.config_index,
        snapshot: (view.snapshot.index > 0).then_some(api::SnapshotFile {
            index: view.snapshot.index,
            term: view.snapshot.term,
            bytes: view.snapshot_bytes,
        }),
        snapshots_taken: view.snapshots_taken,
        snapshots_installed: view.snapshots_installed,
        receiving: view.receiving.map(|(bytes, total)| api::Receiving { bytes, total }),
        transferring: view.transferring,
        lease: view.lease,
        followers: view.followers.iter().map(follower).collect(),
        state_hash: format!("{:016x}", view.state_hash),
        keys: count(view.keys),
        sessions: count(view.sessions),
        proposals_waiting: count(view.proposals_waiting),
        reads_waiting: count(view.reads_waiting),
        writes_waiting: storage.writes_waiting,
        clients: count(counters.clients),
        messages_dropped: counters.messages_dropped,
        messages_refused: view.messages_refused + counters.connections_refused,
        disk_full: counters.disk_full,
        syncs: storage.syncs,
        records: storage.records,
        bytes_written: storage.bytes,
        log_bytes: view.log_bytes,
        sync_us_p50: storage.sync_us_p50,
        sync_us_p99: storage.sync_us_p99,
        cpu_us: cpu_us(),
        uptime_us: u64::try_from(counters.uptime.as_micros()).unwrap_or(u64::MAX),
    }
}

fn ids(ids: &BTreeSet<NodeId>) -> Vec<u64> {
    ids.iter().copied().collect()
}

fn members(addresses: Addresses<'_>) -> Vec<api::Member> {
    let member = |(&id, member): (&NodeId, &Member)| api::Member {
        id,
        peer: addresses.peer(id).map(|address| address.to_string()),
        client: addresses.client(id),
        incarnation: member.incarnation,
        returning: member.returning,
    };
    addresses.config.members().iter().map(member).collect()
}

fn follower(follower: &Follower) -> api::Follower {
    let (mode, sent_bytes) = match follower.mode {
        FollowerMode::Probe => ("probe", None),
        FollowerMode::Replicate => ("replicate", None),
        FollowerMode::Snapshot { offset } => ("snapshot", Some(offset)),
    };
    api::Follower {
        id: follower.id,
        matched: follower.matched,
        mode: mode.to_owned(),
        sent_bytes,
        silent_ms: u64::try_from(follower.silent.as_millis()).unwrap_or(u64::MAX),
        caught_up: follower.caught_up,
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// CPU time of the process, user and system; 0 if the system does not say.
fn cpu_us() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF);
    let us = usage.map_or(0, |usage| {
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
    });
    u64::try_from(us).unwrap_or(0)
}
