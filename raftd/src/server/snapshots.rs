//! Threads that read and write snapshots, so that the loop never waits for them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use raft_core::effects::{ReadChunk, ReceivedChunk};
use raft_core::node::Input;
use raft_core::snapshot::Snapshot;
use raft_core::types::NodeId;

use crate::storage::{Saver, Transfers};

/// How far the thread that writes snapshots stands back; with it, a busy processor gives it about a tenth.
const SAVER_NICENESS: i32 = 10;

/// Received pieces that may wait for the disk, a quarter of a MiB each. While there are more, their sender is not told to
/// go on: it finds out with its next heartbeats, at the disk's pace.
const PIECES_WAITING_MAX: usize = 8;

/// What is handed to the threads; their answers come back as inputs for the core.
///
/// The queues need no bounds of their own: the core has at most one snapshot written at a time, and one piece read for
/// each member; for received pieces see [`Snapshots::is_behind`].
#[derive(Debug)]
pub(super) struct Snapshots {
    saves: Sender<Snapshot>,
    transfers: Sender<Job>,
    /// Received pieces that the thread has not dealt with yet.
    pieces_waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Job {
    Read(ReadChunk),
    Receive(ReceivedChunk),
}

impl Snapshots {
    /// Starts the threads. `notify` is called on them, and must not block.
    pub(super) fn spawn(
        node: NodeId,
        saver: Saver,
        transfers: Transfers,
        notify: impl Fn(Input) + Clone + Send + 'static,
    ) -> io::Result<Snapshots> {
        let (saves, to_save) = mpsc::channel();
        let (jobs, to_transfer) = mpsc::channel();
        let also_notify = notify.clone();
        let pieces_waiting = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::clone(&pieces_waiting);
        thread::Builder::new()
            .name("snapshot-saver".into())
            .spawn(move || save_all(node, saver, &to_save, notify))?;
        thread::Builder::new()
            .name("snapshot-transfer".into())
            .spawn(move || transfer_all(node, transfers, &to_transfer, &waiting, also_notify))?;
        Ok(Snapshots { saves, transfers: jobs, pieces_waiting })
    }

    /// Has a snapshot written.
    pub(super) fn save(&self, snapshot: Snapshot) {
        // The threads end with the process only.
        self.saves.send(snapshot).ok();
    }

    /// Has a piece of a snapshot's file read.
    pub(super) fn read(&self, chunk: ReadChunk) {
        self.transfers.send(Job::Read(chunk)).ok();
    }

    /// Has a piece of another node's snapshot written.
    pub(super) fn receive(&self, chunk: ReceivedChunk) {
        self.pieces_waiting.fetch_add(1, Relaxed);
        self.transfers.send(Job::Receive(chunk)).ok();
    }
}

impl Snapshots {
    /// Whether the disk cannot keep up with the pieces that come in.
    pub(super) fn is_behind(&self) -> bool {
        self.pieces_waiting.load(Relaxed) > PIECES_WAITING_MAX
    }
}

fn save_all(
    node: NodeId,
    mut saver: Saver,
    snapshots: &Receiver<Snapshot>,
    notify: impl Fn(Input),
) {
    // Writes go first where they compete for a processor. Not last of all, though: the log grows meanwhile. On Linux this
    // is about the calling thread alone.
    if let Err(error) = rustix::process::nice(SAVER_NICENESS) {
        tracing::debug!(node, %error, "snapshots are written at normal priority");
    }
    for snapshot in snapshots {
        let last = snapshot.last;
        notify(match saver.save(&snapshot) {
            Ok(bytes) => Input::SnapshotSaved { last, bytes },
            Err(error) => {
                tracing::warn!(event = "snapshot_failed", node, index = last.index, %error, "no snapshot now; later, perhaps");
                Input::SnapshotFailed { last }
            }
        });
    }
}

fn transfer_all(
    node: NodeId,
    mut transfers: Transfers,
    jobs: &Receiver<Job>,
    pieces_waiting: &AtomicUsize,
    notify: impl Fn(Input),
) {
    for job in jobs {
        match job {
            Job::Read(chunk) => notify(read(node, &mut transfers, chunk)),
            Job::Receive(chunk) => {
                let outcome = transfers.receive(&chunk);
                pieces_waiting.fetch_sub(1, Relaxed);
                match outcome {
                    Ok(None) => {}
                    Ok(Some(saved)) => notify(Input::SnapshotReceived { saved }),
                    Err(error) => {
                        let snapshot = chunk.snapshot;
                        tracing::warn!(event = "snapshot_not_received", node, index = snapshot.index, %error);
                        notify(Input::ReceiveFailed { snapshot });
                    }
                }
            }
        }
    }
}

fn read(node: NodeId, transfers: &mut Transfers, chunk: ReadChunk) -> Input {
    let ReadChunk { to, snapshot, offset } = chunk;
    match transfers.read(snapshot, offset) {
        Ok(Some((data, total))) => Input::ChunkRead { to, snapshot, offset, data, total },
        // A newer one has taken its place.
        Ok(None) => Input::ChunkFailed { to, snapshot },
        Err(error) => {
            tracing::warn!(event = "snapshot_not_sent", node, to, index = snapshot.index, %error);
            Input::ChunkFailed { to, snapshot }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use raft_core::types::EntryId;

    use super::*;
    use crate::storage::{Founding, Identity, open};

    #[test]
    fn pieces_that_the_disk_has_not_taken_hold_up_their_sender() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { cluster: "test".into(), node: 1 };
        let founding = Founding { founders: BTreeSet::from([1, 2]), has_peers: true };
        let opened = open(dir.path(), &identity, &founding).unwrap();
        // The first piece does not fit: the thread says so, and is not heard before the gate opens.
        let (gate, opens) = mpsc::channel::<()>();
        let opens = Arc::new(std::sync::Mutex::new(opens));
        let (told, news) = mpsc::channel();
        let notify = move |input| {
            opens.lock().unwrap().recv().ok();
            told.send(input).ok();
        };
        let snapshots = Snapshots::spawn(1, opened.saver, opened.transfers, notify).unwrap();
        let piece = |last: u64| ReceivedChunk {
            snapshot: EntryId { term: 1, index: last },
            offset: 7,
            data: "x".into(),
            is_last: false,
        };
        let count = u64::try_from(PIECES_WAITING_MAX).unwrap() + 2;
        (1..=count).for_each(|last| snapshots.receive(piece(last)));
        // One may be with the thread already.
        assert!(snapshots.is_behind());
        drop(gate);
        for _ in 0..count {
            news.recv().unwrap();
        }
        assert!(!snapshots.is_behind());
    }
}
