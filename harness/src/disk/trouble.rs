//! What goes wrong with operations: errors, a full disk, syncs that take their time or do not end.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::filesystem::SyncReply;
use super::names::Inode;
use super::volume::Volume;

/// What can be made to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Operations of a kind return EIO: the next one only, or all.
    Fail {
        /// Which ones.
        operation: Operation,
        /// Whether only the next one does. Of reads, the next two: the kernel reads ahead first, tells nobody that this
        /// failed, and reads again.
        once: bool,
    },
    /// Whatever needs room returns ENOSPC.
    Full,
    /// Every fsync takes this much longer.
    SlowSync(Duration),
    /// No fsync returns before the trouble ends.
    StuckSync,
}

/// What a program does with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// read(2)
    Read,
    /// write(2), and whatever else changes a file's bytes.
    Write,
    /// fsync(2), fdatasync(2); of directories too.
    Sync,
    /// Creating a file or a directory.
    Create,
}

/// An error that a process was returned. In order of what it may do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Given {
    /// There is no room: it can wait, and refuse what would need some.
    NoRoom,
    /// The disk fails: it may well stop.
    Failure,
}

/// What came of a trouble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Errors returned.
    pub errors: u64,
    /// Milliseconds that syncs had to wait; of those that still wait, until now.
    pub delay_ms: u64,
}

/// An fsync that has to wait.
#[derive(Debug)]
struct Waiting {
    inode: Inode,
    reply: SyncReply,
    since: Instant,
    /// When it is done; `None`: when the trouble ends.
    due: Option<Instant>,
}

/// The trouble that there is, and what waits for its end.
#[derive(Debug, Default)]
pub(super) struct State {
    trouble: Option<Trouble>,
    effect: Effect,
    /// Syncs wait for the power to fail.
    is_frozen: bool,
    is_dying: bool,
    /// The gravest error that the present process was returned.
    given: Option<Given>,
    waiting: Vec<Waiting>,
    /// Syncs that were done.
    syncs: u64,
}

impl State {
    pub(super) fn begin(&mut self, trouble: Trouble) {
        self.end();
        self.trouble = Some(trouble);
    }

    pub(super) fn effect(&self) -> Effect {
        let now = Instant::now();
        let waited: u64 = self.waiting.iter().map(|waiting| ms(now - waiting.since)).sum();
        Effect { delay_ms: self.effect.delay_ms + waited, ..self.effect }
    }

    pub(super) fn end(&mut self) -> Effect {
        let effect = self.effect();
        (self.trouble, self.effect) = (None, Effect::default());
        let now = Instant::now();
        for waiting in &mut self.waiting {
            (waiting.since, waiting.due) = (now, Some(now));
        }
        effect
    }

    pub(super) fn freeze(&mut self) {
        self.is_frozen = true;
    }

    pub(super) fn thaw(&mut self) {
        self.is_frozen = false;
        let is_stuck = self.trouble == Some(Trouble::StuckSync);
        for waiting in self.waiting.iter_mut().filter(|_| !is_stuck) {
            waiting.due.get_or_insert(waiting.since);
        }
    }

    pub(super) fn is_anybody_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn process_starts(&mut self) {
        self.is_dying = false;
        self.given = None;
    }

    pub(super) fn process_dies(&mut self) {
        self.is_dying = true;
    }

    pub(super) fn given(&self) -> Option<Given> {
        self.given
    }

    /// Whether an operation may be done.
    pub(super) fn admit(&mut self, operation: Operation) -> io::Result<()> {
        let errno = match self.trouble {
            Some(Trouble::Fail { operation: failing, once }) if failing == operation => {
                let enough = if operation == Operation::Read { 2 } else { 1 };
                if once && self.effect.errors + 1 >= enough {
                    self.trouble = None;
                }
                Errno::EIO
            }
            Some(Trouble::Full) if matches!(operation, Operation::Write | Operation::Create) => {
                Errno::ENOSPC
            }
            _ => return Ok(()),
        };
        self.effect.errors += 1;
        let given = if errno == Errno::EIO { Given::Failure } else { Given::NoRoom };
        self.given = self.given.max(Some(given));
        Err(errno.into())
    }

    /// Syncs a file or a directory and answers, now or when it is time.
    pub(super) fn sync(&mut self, volume: &mut Volume, inode: Inode, reply: SyncReply) {
        if self.is_dying {
            return reply.send(Err(Errno::EIO.into()));
        }
        if let Err(error) = self.admit(Operation::Sync) {
            volume.fail_sync(inode);
            return reply.send(Err(error));
        }
        let since = Instant::now();
        let due = match self.trouble {
            _ if self.is_frozen => None,
            Some(Trouble::StuckSync) => None,
            Some(Trouble::SlowSync(delay)) => Some(since + delay),
            Some(Trouble::Fail { .. } | Trouble::Full) | None => {
                return reply.send(self.make_durable(volume, inode));
            }
        };
        self.waiting.push(Waiting { inode, reply, since, due });
    }

    /// How many syncs were done.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs
    }

    fn make_durable(&mut self, volume: &mut Volume, inode: Inode) -> io::Result<()> {
        self.syncs += 1;
        volume.sync(inode)
    }

    /// Answers all whose time has come; how long until the next one's.
    pub(super) fn answer_due(&mut self, volume: &mut Volume, now: Instant) -> Option<Duration> {
        let is_due = |waiting: &mut Waiting| {
            self.is_dying || !self.is_frozen && waiting.due.is_some_and(|due| due <= now)
        };
        let due: Vec<Waiting> = self.waiting.extract_if(.., is_due).collect();
        for Waiting { inode, reply, since, .. } in due {
            self.effect.delay_ms += ms(now - since);
            if self.is_dying {
                reply.send(Err(Errno::EIO.into()));
            } else {
                reply.send(self.make_durable(volume, inode));
            }
        }
        let next = self.waiting.iter().filter_map(|waiting| waiting.due).min();
        next.map(|due| due.saturating_duration_since(now))
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
