//! A disk that can fail: a file system between a node and its data directory.
//!
//! What a process writes and does not sync is kept by the kernel when the process is killed, so `kill -9` never shows a
//! missing fsync. Here every node gets a FUSE file system over its data directory that knows what was synced and what was
//! not: bytes, lengths, and the names in directories. So the power can fail ([`Blow::LosePower`]): the node is killed,
//! and what it had not made durable is gone, or torn, or there in parts. The same place can return errors, be full, take
//! its time, and damage what it holds.
//!
//! ```text
//! node ──▶ kernel ──▶ FUSE ──▶ filesystem ──▶ Disk { Volume { Names, Content… }, Trouble } ──▶ nodes/ID/{data,disk}
//!          (write through: every write(2) gets here before it returns)      ▲
//!                                                        nemesis ───────────┘
//! ```
//!
//! | module | what |
//! |---|---|
//! | `content`, `names` | what programs see and what the disk has: of a file, of directories |
//! | `volume` | all of it, and where it is kept |
//! | `damage` | what goes wrong with what the disk has |
//! | `trouble` | what goes wrong with operations |
//! | `filesystem` | the kernel's requests |
//! | `mount` | mounts that nobody else sees and that nobody has to remove |
//!
//! What the layer calls durable is in the page cache underneath: it survives the power losses that the layer makes, and
//! need not survive the machine's.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

pub use self::content::Survival;
pub use self::damage::{Blow, Harm};
pub use self::mount::{HOLD_MOUNT, Mounted, Unavailable, check, enter, hold_mount};
pub use self::trouble::{Effect, Given, Operation, Trouble};
pub use self::volume::Loss;

use self::trouble::State;
use self::volume::Volume;

mod content;
mod damage;
mod filesystem;
mod mount;
mod names;
mod trouble;
mod volume;

/// A node's disk. All methods may be called from several threads at once.
#[derive(Debug)]
pub struct Disk {
    inner: Mutex<Inner>,
    /// Something is to be answered that had to wait, or at another time.
    changed: Condvar,
}

#[derive(Debug)]
struct Inner {
    volume: Volume,
    state: State,
    is_closed: bool,
}

impl Disk {
    fn new(volume: Volume) -> Disk {
        let inner = Inner { volume, state: State::default(), is_closed: false };
        Disk { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    /// From now on operations go wrong, until [`Disk::relieve`]. Replaces what went wrong before.
    pub fn trouble(&self, trouble: Trouble) {
        self.lock().state.begin(trouble);
    }

    /// What came of the present trouble so far.
    pub fn effect(&self) -> Effect {
        self.lock().state.effect()
    }

    /// Ends the trouble; what came of it. What had to wait is done.
    pub fn relieve(&self) -> Effect {
        let mut inner = self.lock();
        let effect = inner.state.end();
        drop(inner);
        self.changed.notify_all();
        effect
    }

    /// From now on nothing becomes durable: whoever syncs waits for the power to fail, or for [`Disk::thaw`].
    pub fn freeze(&self) {
        self.lock().state.freeze();
    }

    /// Lets syncs pass again.
    pub fn thaw(&self) {
        self.lock().state.thaw();
        self.changed.notify_all();
    }

    /// Whether a power loss would cost something now, and somebody waits for it.
    pub fn is_at_stake(&self) -> bool {
        let inner = self.lock();
        inner.volume.has_unsynced() && inner.state.is_anybody_waiting()
    }

    /// How many syncs were done since the disk is there.
    pub fn syncs(&self) -> u64 {
        self.lock().state.syncs()
    }

    /// A process is about to start. Whatever an earlier one had open is not what it uses.
    pub fn process_starts(&self) {
        let mut inner = self.lock();
        inner.volume.forget_use();
        inner.state.process_starts();
    }

    /// The process that uses the disk has got SIGKILL. It cannot die while it waits for an answer, so everything that had
    /// to wait is answered: with an error, and without being done. The process does not get to see it.
    pub fn process_dies(&self) {
        self.lock().state.process_dies();
        self.changed.notify_all();
    }

    /// The gravest error that the present process was returned, which may well be why it ended.
    pub fn given(&self) -> Option<Given> {
        self.lock().state.given()
    }

    /// What happens to the disk while no process uses it. `seed` decides everything that is left to chance.
    pub fn strike(&self, blow: Blow, seed: u64) -> io::Result<Harm> {
        let mut inner = self.lock();
        inner.state.thaw();
        let rng = &mut StdRng::seed_from_u64(seed);
        damage::strike(&mut inner.volume, blow, rng)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers what had to wait, when it is time, until the disk is closed. For a thread of its own.
    fn answer_late(self: &Arc<Disk>) {
        let mut inner = self.lock();
        while !inner.is_closed {
            let now = Instant::now();
            let Inner { volume, state, .. } = &mut *inner;
            let wait = state.answer_due(volume, now).unwrap_or(Duration::from_hours(1));
            inner =
                self.changed.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.state.process_dies();
        let Inner { volume, state, .. } = &mut *inner;
        state.answer_due(volume, Instant::now());
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }
}
