//! A node's view of itself, for `raftctl status`.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use raft_core::node::View;

use crate::api::Status;
use crate::storage::StatsView;

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
    cluster: &str,
    view: &View,
    storage: &StatsView,
    counters: &Counters,
) -> Status {
    Status {
        node: view.id,
        cluster: cluster.to_owned(),
        role: view.role.name().to_owned(),
        term: view.term,
        vote: view.vote,
        leader: view.leader,
        commit: view.commit,
        applied: view.applied,
        first: view.first,
        last: view.last.index,
        last_term: view.last.term,
        voters: view.voters.iter().copied().collect(),
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
        log_bytes: storage.bytes,
        sync_us_p50: storage.sync_us_p50,
        sync_us_p99: storage.sync_us_p99,
        cpu_us: cpu_us(),
        uptime_us: u64::try_from(counters.uptime.as_micros()).unwrap_or(u64::MAX),
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
