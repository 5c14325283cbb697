//! What it takes to start a node, besides the node.

use std::io;
use std::net::SocketAddr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use raft_core::kv::Limits;
use raft_core::node::{Compaction, Lease, Options};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Error, Event, Setup};
use crate::codec;
use crate::net::Task;
use crate::storage::Papers;

/// Most appends with entries on their way to one follower.
const INFLIGHT_MESSAGES_MAX: usize = 32;

/// Most bytes of entries that may wait to be committed.
const UNCOMMITTED_BYTES_MAX: usize = 64 << 20;

/// A snapshot is due when the log has grown by this much of the last snapshot, percent: where the state is large, writing
/// snapshots takes no more than half of what writing the log takes.
const LOG_PERCENT_OF_SNAPSHOT: u64 = 200;

/// What is kept of the log before a snapshot, for followers that are a little behind, is a quarter of what makes a
/// snapshot due.
const TRAILING_SHARE: u64 = 4;

/// Open files that every connection there may be, and the rest, can do with.
const OPEN_FILES: u64 = 4096;

/// Takes as many open files as we need, if the system lets us; if not, connections beyond are refused.
pub(super) fn allow_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < OPEN_FILES
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES.min(hard), hard)
    {
        tracing::warn!(event = "few_files", soft, %error, "cannot raise the number of open files");
    }
}

/// How the core is to behave.
pub(super) fn options(setup: &Setup, papers: &Papers) -> Result<Options, Error> {
    let cluster = &setup.cluster;
    let seed = OsRng.try_next_u64().map_err(|error| Error::System {
        operation: "draw a random seed",
        source: io::Error::other(error),
    })?;
    Ok(Options {
        id: setup.id,
        founders: papers.founders().clone(),
        heartbeat: cluster.heartbeat,
        election_timeout_min: cluster.election_timeout.0,
        election_timeout_max: cluster.election_timeout.1,
        append_bytes_max: codec::APPEND_BYTES_MAX,
        inflight_messages_max: INFLIGHT_MESSAGES_MAX,
        uncommitted_bytes_max: UNCOMMITTED_BYTES_MAX,
        compaction: Compaction {
            log_bytes_min: cluster.snapshot_log_bytes,
            log_percent_of_snapshot: LOG_PERCENT_OF_SNAPSHOT,
            trailing_bytes: cluster.snapshot_log_bytes / TRAILING_SHARE,
        },
        lease: cluster.lease_drift_percent.map(|drift_percent_max| Lease { drift_percent_max }),
        limits: Limits::default(),
        seed,
    })
}

/// Takes a port.
pub(super) async fn listen(
    port: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), Error> {
    let listen = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen.await.map_err(|source| Error::Listen { port, address, source })
}

/// Has signals wake the loop.
pub(super) fn watch_signals(urgent: &mpsc::UnboundedSender<Event>) -> Result<(), Error> {
    for (kind, name) in [(SignalKind::terminate(), "SIGTERM"), (SignalKind::interrupt(), "SIGINT")]
    {
        let mut stream = signal(kind)
            .map_err(|source| Error::System { operation: "watch for signals", source })?;
        let urgent = urgent.clone();
        Task::spawn(async move {
            while stream.recv().await.is_some() {
                urgent.send(Event::Stop(name)).ok();
            }
        })
        .detach();
    }
    Ok(())
}
