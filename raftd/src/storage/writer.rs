//! The one thread that writes: all that is queued goes out with one write and one fsync.

use std::sync::Arc;

use raft_core::effects::{Write, WriteSeq};
use raft_core::types::Term;

use super::{Error, LogFile};

/// What the writer thread has to say.
#[derive(Debug)]
pub enum WriterEvent {
    /// This write and all before it are durable.
    Durable {
        /// The write's term.
        term: Term,
        /// Its number.
        seq: WriteSeq,
    },
    /// The disk has become full (`true`): what is queued is kept and tried again; or has room again.
    DiskFull(bool),
    /// Nothing can be made durable any more: the process must stop. The last event.
    Failed(Error),
}

/// Counters since the start, shared with the thread.
#[derive(Debug, Default)]
pub struct Stats {}

/// [`Stats`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsView {
    /// fsyncs of the log.
    pub syncs: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written, without padding.
    pub bytes: u64,
    /// Writes submitted and not durable yet.
    pub writes_waiting: u64,
    /// Median of the recent fsyncs, microseconds.
    pub sync_us_p50: u64,
    /// 99th percentile of the recent fsyncs, microseconds.
    pub sync_us_p99: u64,
}

impl Stats {
    /// The counters as they are now.
    pub fn view(&self) -> StatsView {
        StatsView::default()
    }
}

/// Handle of the writer thread.
#[derive(Debug)]
pub struct Writer {
    stats: Arc<Stats>,
}

impl Writer {
    /// Starts the thread. `notify` is called on it, and must not block.
    pub fn spawn(
        log: LogFile,
        notify: impl FnMut(WriterEvent) + Send + 'static,
    ) -> Result<Writer, Error> {
        let _ = (log, notify);
        unimplemented!()
    }

    /// Queues a write; its completion comes as [`WriterEvent::Durable`].
    pub fn submit(&self, write: Write) {
        let _ = write;
        unimplemented!()
    }

    /// The counters.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Waits until everything submitted is durable (unless the disk is full or has failed), tidies the file up, and
    /// releases the directory.
    pub fn close(self) {
        unimplemented!()
    }
}
