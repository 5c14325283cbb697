//! The faults of a link: what they do to each frame, and the frames that are not where they belong.
//!
//! A frame that keeps its place waits in its connection's own queue and is lost with it, as with TCP. One that does not
//! (held, doubled, overtaken) is a *stray*: it belongs to the link, and arrives on whichever connection there is by then,
//! so that what a node said long ago can reach another in a later term. Strays of a former life of a node, that is of
//! another data directory, are thrown away: no network brings messages from before a founding.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use memchr::memchr;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::effect::{Effect, End, Release, Span};
use super::frames::Frame;

/// Most that a link keeps of held frames and strays, bytes; what comes on top is lost.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Held frames that arrive on a later connection are spread over so long, so that they meet others there.
const SPREAD: Duration = Duration::from_millis(300);

/// Timers are not finer than this, so a wait that is shorter is none.
const RESOLUTION: Duration = Duration::from_millis(1);

/// All faults of a link, and its strays.
#[derive(Debug, Default)]
pub(super) struct Faults {
    state: Mutex<State>,
    /// Told of each change of faults or strays.
    stirred: watch::Sender<()>,
    /// How many faults and strays there are: mostly none, and then nothing is looked at.
    busy: AtomicUsize,
    /// Whether a fault makes frames late that keep their place.
    slow: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    active: Vec<Active>,
    strays: Vec<Stray>,
    /// Bytes of strays and of held frames.
    kept_bytes: usize,
    last_fault: u64,
    last_connection: u64,
    last_frame: u64,
    /// The highest number of a frame that has arrived.
    last_arrived: u64,
    /// Connections up to this one are to be reset.
    reset_up_to: u64,
}

#[derive(Debug)]
struct Active {
    id: u64,
    effect: Effect,
    rng: StdRng,
    bites: u64,
    /// When the line is free for the next byte, by who speaks: dialler, listener.
    free_at: [Instant; 2],
    held: Vec<Stray>,
}

/// A frame that is not where it belongs.
#[derive(Debug)]
struct Stray {
    due: Instant,
    bytes: Vec<u8>,
    number: u64,
    origin: Origin,
    /// It arrives on a later connection than this one.
    after_connection: u64,
    /// The fault whose proof counts its arrival.
    of: Option<u64>,
}

/// Between which data directories a connection is, as far as its first line tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    from: Option<u64>,
    to: Option<u64>,
}

/// What becomes of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sentence {
    /// It keeps its place, and arrives no earlier than this.
    Pass { due: Instant, frame: Frame, number: u64 },
    /// It is gone.
    Dropped(Vec<u8>),
    /// It does not keep its place, and arrives perhaps.
    Strayed,
}

/// What one fault does to a frame.
enum Strike {
    /// Nothing that matters to its way.
    Miss,
    /// It arrives no earlier than this.
    Late(Instant),
    /// It is gone.
    Drop,
    /// It arrives a second time then.
    Double(Instant),
    /// It waits until then, and those behind it do not.
    Back(Instant),
    /// It waits for the fault to end.
    Hold,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doom {
    fault: u64,
    pub(super) at: Instant,
    pub(super) how: Fall,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fall {
    Reset,
    HalfOpen { left: End },
    SlowClose { by: Duration },
}

impl Origin {
    /// Reads a hello: of raftd's, the numbers of both data directories.
    pub(super) fn of(hello: &[u8]) -> Origin {
        let json = memchr(b'{', hello).map_or(&[][..], |at| &hello[at..]);
        let hello: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
        let number = |name: &str| hello["hello"][name].as_u64();
        Origin { from: number("incarnation"), to: number("knows") }
    }

    fn fits(self, other: Origin) -> bool {
        let same = |a: Option<u64>, b: Option<u64>| a.is_none() || b.is_none() || a == b;
        same(self.from, other.from) && same(self.to, other.to)
    }
}

impl Faults {
    /// Begins a fault; returns its number.
    pub(super) fn inflict(&self, effect: Effect, seed: u64) -> u64 {
        self.change(|state| {
            state.last_fault += 1;
            state.active.push(Active {
                id: state.last_fault,
                effect,
                rng: StdRng::seed_from_u64(seed),
                bites: 0,
                free_at: [Instant::now(); 2],
                held: Vec::new(),
            });
            state.last_fault
        })
    }

    /// How much a fault has done so far.
    pub(super) fn bites(&self, fault: u64) -> u64 {
        let state = self.state();
        state.active.iter().find(|active| active.id == fault).map_or(0, |active| active.bites)
    }

    /// Ends a fault, and lets go what it holds; returns how much it did.
    pub(super) fn lift(&self, fault: u64) -> u64 {
        self.change(|state| {
            let at = state.active.iter().position(|active| active.id == fault);
            at.map_or(0, |at| {
                let active = state.active.remove(at);
                state.release(active)
            })
        })
    }

    /// Ends all faults.
    pub(super) fn lift_all(&self) {
        self.change(|state| {
            for active in std::mem::take(&mut state.active) {
                state.release(active);
            }
        });
    }

    /// Whether there is anything to do with frames at all.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Whether frames that keep their place may be late.
    pub(super) fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// A number for a new connection.
    pub(super) fn next_connection(&self) -> u64 {
        let mut state = self.state();
        state.last_connection += 1;
        state.last_connection
    }

    /// Tells of each change from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.stirred.subscribe()
    }

    /// Decides about a frame.
    pub(super) fn judge(&self, frame: Frame, speaker: End, origin: Origin) -> Sentence {
        let mut state = self.state();
        let strays = state.strays.len();
        let sentence = state.judge(frame, speaker, origin);
        let more_strays = state.strays.len() > strays;
        self.note(&state);
        drop(state);
        if more_strays {
            self.stirred.send_replace(());
        }
        sentence
    }

    /// Notes that a frame has arrived.
    pub(super) fn arrived(&self, number: u64) {
        let mut state = self.state();
        state.last_arrived = state.last_arrived.max(number);
    }

    /// Waits for a stray that is due on this connection, and takes it. Dropping the future loses none.
    pub(super) async fn stray(
        &self,
        connection: u64,
        origin: Origin,
        stirred: &mut watch::Receiver<()>,
    ) -> Vec<u8> {
        loop {
            stirred.borrow_and_update();
            let next = self.is_busy().then(|| self.take_stray(connection, origin)).flatten();
            let due = match next {
                Some(Ok(bytes)) => return bytes,
                Some(Err(due)) => Some(due),
                None => None,
            };
            tokio::select! {
                () = until(due) => {}
                changed = stirred.changed() => if changed.is_err() { std::future::pending().await },
            }
        }
    }

    /// The next stray for this connection, or when it is due.
    fn take_stray(&self, connection: u64, origin: Origin) -> Option<Result<Vec<u8>, Instant>> {
        let mut state = self.state();
        let State { strays, kept_bytes, .. } = &mut *state;
        strays.retain(|stray| {
            let keep = stray.origin.fits(origin);
            *kept_bytes -= if keep { 0 } else { stray.bytes.len() };
            keep
        });
        let mine = state.strays.iter().enumerate();
        let mine = mine.filter(|(_, stray)| stray.after_connection < connection);
        let next = mine.min_by_key(|(_, stray)| stray.due).map(|(at, stray)| (at, stray.due));
        let taken = next.map(|(at, due)| {
            if due > Instant::now() {
                return Err(due);
            }
            let stray = state.strays.remove(at);
            state.kept_bytes -= stray.bytes.len();
            state.on_stray_arrives(&stray);
            Ok(stray.bytes)
        });
        self.note(&state);
        taken
    }

    /// Waits until this connection is to fall; how. A fault that ends before then spares it.
    pub(super) async fn doom(&self, connection: u64) -> Doom {
        let mut stirred = self.subscribe();
        let mut doom: Option<Doom> = None;
        loop {
            stirred.borrow_and_update();
            {
                let mut state = self.state();
                if connection <= state.reset_up_to {
                    return Doom { fault: 0, at: Instant::now(), how: Fall::Reset };
                }
                doom = doom.filter(|doom| state.is_active(doom.fault)).or_else(|| state.doom());
                if let Some(doom) = doom.filter(|doom| doom.at <= Instant::now()) {
                    state.bite(doom.fault, 1);
                    return doom;
                }
            }
            tokio::select! {
                () = until(doom.map(|doom| doom.at)) => {}
                changed = stirred.changed() => if changed.is_err() { std::future::pending().await },
            }
        }
    }

    /// Waits until the fault that made a connection fall has ended.
    pub(super) async fn lifted(&self, doom: Doom) {
        let mut stirred = self.subscribe();
        while self.state().is_active(doom.fault) {
            if stirred.changed().await.is_err() {
                return;
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        self.note(&state);
        drop(state);
        self.stirred.send_replace(());
        changed
    }

    fn note(&self, state: &State) {
        self.busy.store(state.active.len() + state.strays.len(), Ordering::Relaxed);
        let slows =
            |active: &Active| matches!(active.effect, Effect::Delay { .. } | Effect::Rate { .. });
        self.slow.store(state.active.iter().any(slows), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_active(&self, fault: u64) -> bool {
        self.active.iter().any(|active| active.id == fault)
    }

    fn bite(&mut self, fault: u64, more: u64) {
        if let Some(active) = self.active.iter_mut().find(|active| active.id == fault) {
            active.bites += more;
        }
    }

    fn judge(&mut self, mut frame: Frame, speaker: End, origin: Origin) -> Sentence {
        let now = Instant::now();
        self.last_frame += 1;
        let number = self.last_frame;
        let stray = |due, bytes, of| Stray { due, bytes, number, origin, after_connection: 0, of };
        let (mut due, mut stays_back) = (now, None);
        for at in 0..self.active.len() {
            let active = &mut self.active[at];
            let fault = active.id;
            match active.strike(&mut frame, speaker, now) {
                Strike::Miss => {}
                Strike::Late(until) => due = due.max(until),
                Strike::Drop => return Sentence::Dropped(frame.bytes),
                Strike::Double(due) => self.keep(stray(due, frame.bytes.clone(), Some(fault))),
                Strike::Back(due) => stays_back = Some((due, fault)),
                Strike::Hold if self.kept_bytes + frame.bytes.len() > KEPT_BYTES_MAX => {
                    return Sentence::Dropped(frame.bytes);
                }
                Strike::Hold => {
                    active.bites += 1;
                    self.kept_bytes += frame.bytes.len();
                    active.held.push(stray(now, frame.bytes, None));
                    return Sentence::Strayed;
                }
            }
        }
        match stays_back {
            Some((due, fault)) => {
                self.keep(stray(due, frame.bytes, Some(fault)));
                Sentence::Strayed
            }
            None => Sentence::Pass { due, frame, number },
        }
    }

    fn keep(&mut self, stray: Stray) {
        if self.kept_bytes + stray.bytes.len() <= KEPT_BYTES_MAX {
            self.kept_bytes += stray.bytes.len();
            self.strays.push(stray);
        }
    }

    fn on_stray_arrives(&mut self, stray: &Stray) {
        let overtaken = stray.number < self.last_arrived;
        self.last_arrived = self.last_arrived.max(stray.number);
        let Some(fault) = stray.of else { return };
        let Some(active) = self.active.iter_mut().find(|active| active.id == fault) else { return };
        let is_reordering = matches!(active.effect, Effect::Reorder { .. });
        active.bites += u64::from(overtaken || !is_reordering);
    }

    /// Lets go what an ended fault held; returns how much it did.
    fn release(&mut self, mut active: Active) -> u64 {
        let now = Instant::now();
        let mut held = std::mem::take(&mut active.held);
        if let Effect::Hold { release } = active.effect {
            let count = u32::try_from(held.len()).unwrap_or(u32::MAX).max(1);
            match release {
                Release::InOrder => {}
                Release::Shuffled => held.shuffle(&mut active.rng),
                Release::AfterReconnect => self.reset_up_to = self.last_connection,
            }
            for (stray, nth) in held.iter_mut().zip(0..) {
                stray.due = now;
                if release == Release::AfterReconnect {
                    stray.due += SPREAD * nth / count;
                    stray.after_connection = self.reset_up_to;
                }
            }
        }
        self.strays.extend(held);
        active.bites
    }

    /// The first fall that a fault has in store for a connection.
    fn doom(&mut self) -> Option<Doom> {
        let now = Instant::now();
        let falls = self.active.iter_mut().filter_map(|active| {
            let (after, how) = match &active.effect {
                Effect::Reset { after } => (after, Fall::Reset),
                Effect::HalfOpen { left, after } => (after, Fall::HalfOpen { left: *left }),
                Effect::SlowClose { after, by } => {
                    (after, Fall::SlowClose { by: draw(by, &mut active.rng) })
                }
                Effect::Delay { .. }
                | Effect::Drop { .. }
                | Effect::Duplicate { .. }
                | Effect::Reorder { .. }
                | Effect::Hold { .. }
                | Effect::Corrupt { .. }
                | Effect::Rate { .. } => return None,
            };
            Some(Doom { fault: active.id, at: now + draw(after, &mut active.rng), how })
        });
        falls.min_by_key(|doom| doom.at)
    }
}

impl Active {
    /// What this fault does to a frame. What is done with that at once is counted here.
    fn strike(&mut self, frame: &mut Frame, speaker: End, now: Instant) -> Strike {
        // What keeps a frame from its place is not for those of the listener: raftd's says nothing on a peer's
        // connection but why it hangs up.
        let may_stray = speaker == End::Dialler && !frame.is_first;
        match &self.effect {
            Effect::Delay { by } => {
                let by = draw(by, &mut self.rng);
                self.bites += u64::from(by > Duration::ZERO);
                Strike::Late(now + by)
            }
            Effect::Rate { bytes_per_second } => {
                let length = frame.bytes.len();
                let free_at = &mut self.free_at[usize::from(speaker == End::Listener)];
                *free_at = now.max(*free_at) + time_for(length, *bytes_per_second);
                let waits = *free_at > now + RESOLUTION;
                self.bites += if waits { as_u64(length) } else { 0 };
                Strike::Late(*free_at)
            }
            Effect::Corrupt { percent } => {
                if chance(*percent, &mut self.rng) {
                    self.bites += u64::from(corrupt(&mut frame.bytes, &mut self.rng));
                }
                Strike::Miss
            }
            Effect::Drop { percent } if may_stray && chance(*percent, &mut self.rng) => {
                self.bites += 1;
                Strike::Drop
            }
            Effect::Duplicate { percent, after }
                if may_stray && chance(*percent, &mut self.rng) =>
            {
                let later = self.rng.random::<bool>();
                let after = draw(after, &mut self.rng);
                Strike::Double(if later { now + after } else { now })
            }
            Effect::Reorder { percent, by } if may_stray && chance(*percent, &mut self.rng) => {
                Strike::Back(now + draw(by, &mut self.rng))
            }
            Effect::Hold { .. } if may_stray => Strike::Hold,
            Effect::Drop { .. }
            | Effect::Duplicate { .. }
            | Effect::Reorder { .. }
            | Effect::Hold { .. }
            | Effect::Reset { .. }
            | Effect::HalfOpen { .. }
            | Effect::SlowClose { .. } => Strike::Miss,
        }
    }
}

/// Waits until then; for ever if there is no such time.
pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn draw(span: &Span, rng: &mut StdRng) -> Duration {
    rng.random_range(span.clone())
}

fn chance(percent: u32, rng: &mut StdRng) -> bool {
    rng.random_range(0..100) < percent
}

/// Flips one bit, but makes no line end of anything. Whether there was a byte for it.
fn corrupt(line: &mut [u8], rng: &mut StdRng) -> bool {
    let Some(last) = line.len().checked_sub(1).filter(|last| *last > 0) else { return false };
    let at = rng.random_range(0..last);
    let flipped = line[at] ^ (1 << rng.random_range(0..8));
    line[at] = if flipped == b'\n' { line[at] ^ 0x80 } else { flipped };
    true
}

fn time_for(bytes: usize, bytes_per_second: u32) -> Duration {
    let nanoseconds =
        as_u64(bytes).saturating_mul(1_000_000_000) / u64::from(bytes_per_second.max(1));
    Duration::from_nanos(nanoseconds)
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
