//! The one thread that writes the log: all that is queued goes out with one write and one fsync.

#![expect(
    clippy::disallowed_methods,
    reason = "measures how long the disk takes, which decides nothing"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use raft_core::effects::{Write, WriteSeq};
use raft_core::types::{Index, Term};

use super::{Error, LogFile};

/// A batch that has grown to this goes out, whatever else is queued.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// How often a full disk is tried again.
const DISK_FULL_RETRY: Duration = Duration::from_millis(200);

/// How many of the last fsyncs the percentiles are about.
const RECENT_SYNCS: usize = 1024;

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
#[derive(Debug)]
pub struct Stats {
    syncs: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    writes_waiting: AtomicU64,
    /// A ring; the next one goes to `syncs` modulo its length.
    recent_sync_us: [AtomicU32; RECENT_SYNCS],
}

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
    /// Median of the recent fsyncs with their writes, microseconds.
    pub sync_us_p50: u64,
    /// 99th percentile of the recent fsyncs with their writes, microseconds.
    pub sync_us_p99: u64,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            syncs: AtomicU64::new(0),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            writes_waiting: AtomicU64::new(0),
            recent_sync_us: [const { AtomicU32::new(0) }; RECENT_SYNCS],
        }
    }
}

impl Stats {
    /// The counters as they are now.
    pub fn view(&self) -> StatsView {
        let syncs = self.syncs.load(Relaxed);
        let count = usize::try_from(syncs).unwrap_or(RECENT_SYNCS).min(RECENT_SYNCS);
        let mut recent: Vec<u32> =
            self.recent_sync_us[..count].iter().map(|us| us.load(Relaxed)).collect();
        recent.sort_unstable();
        let percentile = |p: usize| recent.get(count * p / 100).map_or(0, |&us| u64::from(us));
        StatsView {
            syncs,
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            writes_waiting: self.writes_waiting.load(Relaxed),
            sync_us_p50: percentile(50),
            sync_us_p99: percentile(99),
        }
    }

    fn count_sync(&self, batch: &Batch, elapsed: Duration) {
        let ring = u64::try_from(RECENT_SYNCS).expect("a small number");
        let slot = usize::try_from(self.syncs.load(Relaxed) % ring).expect("a small number");
        let us = u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX);
        self.recent_sync_us[slot].store(us, Relaxed);
        self.records.fetch_add(batch.records, Relaxed);
        self.bytes.fetch_add(batch.bytes, Relaxed);
        self.writes_waiting.fetch_sub(batch.writes, Relaxed);
        self.syncs.fetch_add(1, Relaxed);
    }
}

/// What the thread is asked to do.
#[derive(Debug)]
enum Job {
    Write(Write),
    /// Up to the index in `purge_to`.
    Purge,
}

/// Handle of the writer thread.
#[derive(Debug)]
pub struct Writer {
    queue: Sender<Job>,
    purge_to: Arc<AtomicU64>,
    stats: Arc<Stats>,
    is_closing: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the thread. `notify` is called on it, and must not block.
    pub fn spawn(
        log: LogFile,
        notify: impl FnMut(WriterEvent) + Send + 'static,
    ) -> Result<Writer, Error> {
        let stats = Arc::new(Stats::default());
        let is_closing = Arc::new(AtomicBool::new(false));
        let purge_to = Arc::new(AtomicU64::new(0));
        let (queue, jobs) = mpsc::channel();
        let path = log.path().to_owned();
        let thread = WriterThread {
            log,
            jobs,
            purge_to: Arc::clone(&purge_to),
            purged_to: 0,
            stats: Arc::clone(&stats),
            is_closing: Arc::clone(&is_closing),
            notify,
        };
        let thread = thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || thread.run())
            .map_err(|e| Error::io("start the thread that writes", &path, e))?;
        Ok(Writer { queue, purge_to, stats, is_closing, thread })
    }

    /// Queues a write; its completion comes as [`WriterEvent::Durable`].
    pub fn submit(&self, write: Write) {
        self.stats.writes_waiting.fetch_add(1, Relaxed);
        // The thread ends early only after `WriterEvent::Failed`, which says all there is to say.
        self.queue.send(Job::Write(write)).ok();
    }

    /// Asks for the removal of segments that are not needed for entries from `index` on, because a durable snapshot
    /// holds what is before. Done after the writes submitted so far, or before: on a full disk it may be what makes room
    /// for them.
    pub fn purge(&self, index: Index) {
        self.purge_to.fetch_max(index, Relaxed);
        self.queue.send(Job::Purge).ok();
    }

    /// The counters.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Waits until everything submitted is durable (unless the disk is full or has failed), tidies the file up, and
    /// releases the directory.
    pub fn close(self) {
        let Writer { queue, is_closing, thread, .. } = self;
        is_closing.store(true, Relaxed);
        drop(queue);
        thread.thread().unpark();
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

struct WriterThread<F> {
    log: LogFile,
    jobs: Receiver<Job>,
    /// What was asked for.
    purge_to: Arc<AtomicU64>,
    /// What was done of it.
    purged_to: Index,
    stats: Arc<Stats>,
    is_closing: Arc<AtomicBool>,
    notify: F,
}

/// Writes that share an fsync.
struct Batch {
    /// Of the last write.
    term: Term,
    /// Of the last write.
    seq: WriteSeq,
    writes: u64,
    records: u64,
    bytes: u64,
}

impl<F: FnMut(WriterEvent)> WriterThread<F> {
    fn run(mut self) {
        while let Ok(job) = self.jobs.recv() {
            match self.work_on(job) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return (self.notify)(WriterEvent::Failed(error)),
            }
        }
        if let Err(error) = self.log.close() {
            tracing::warn!(%error, "log left with its padding; nothing is lost");
        }
    }

    /// `false`: the disk was still full when there was no more time to wait.
    fn work_on(&mut self, job: Job) -> Result<bool, Error> {
        if let Job::Write(first) = job {
            let batch = self.gather(&first);
            if !self.make_durable(&batch)? {
                return Ok(false);
            }
            (self.notify)(WriterEvent::Durable { term: batch.term, seq: batch.seq });
        }
        self.purge()?;
        Ok(true)
    }

    /// Removes what is asked for. If the disk has no room to note that, it is done later.
    fn purge(&mut self) -> Result<(), Error> {
        let purge_to = self.purge_to.load(Relaxed);
        if purge_to <= self.purged_to {
            return Ok(());
        }
        match self.log.purge(purge_to) {
            Ok(()) => self.purged_to = purge_to,
            Err(error) if error.is_disk_full() => {
                tracing::debug!(%error, "old segments stay for now");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Encodes everything that is queued.
    fn gather(&mut self, first: &Write) -> Batch {
        let Write { seq, term, .. } = *first;
        self.log.append(first);
        let mut batch = Batch { term, seq, writes: 1, records: 0, bytes: 0 };
        while self.log.buffered_bytes() < BATCH_BYTES_MAX
            && let Ok(job) = self.jobs.try_recv()
        {
            let Job::Write(write) = job else { continue };
            assert!(write.seq > batch.seq, "write {} comes after {}", write.seq, batch.seq);
            self.log.append(&write);
            (batch.term, batch.seq) = (write.term, write.seq);
            batch.writes += 1;
        }
        batch.records = self.log.buffered_records();
        batch.bytes = u64::try_from(self.log.buffered_bytes()).expect("lengths fit 64 bits");
        batch
    }

    /// `false`: the disk was still full when there was no more time to wait.
    fn make_durable(&mut self, batch: &Batch) -> Result<bool, Error> {
        let mut was_full = false;
        loop {
            let start = Instant::now();
            match self.log.sync() {
                Ok(()) => {
                    self.stats.count_sync(batch, start.elapsed());
                    if was_full {
                        (self.notify)(WriterEvent::DiskFull(false));
                    }
                    return Ok(true);
                }
                Err(error) if error.is_disk_full() => {
                    if !was_full {
                        tracing::warn!(%error, "writes wait for room");
                        (self.notify)(WriterEvent::DiskFull(true));
                        was_full = true;
                    }
                }
                Err(error) => return Err(error),
            }
            self.purge()?;
            if self.is_closing.load(Relaxed) {
                return Ok(false);
            }
            thread::park_timeout(DISK_FULL_RETRY);
        }
    }
}
