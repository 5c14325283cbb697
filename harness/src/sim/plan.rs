//! What a run is to go through: drawn from the seed up front, as a list, so that parts of it can be left out.

use std::fmt;

use raft_core::kv::Limits;
use raft_core::node::{Compaction, Lease};
use raft_core::types::NodeId;

use super::rng::{Micros, Rng};
use super::{MODELS, Settings};
use crate::workload::Object;

const TRIGGERS: [Trigger; 6] = [
    Trigger::Write,
    Trigger::Write,
    Trigger::Vote,
    Trigger::Election,
    Trigger::Snapshot,
    Trigger::Configuration,
];

/// A millisecond.
pub(super) const MS: Micros = 1_000;

/// Everything about a run that is decided before it begins.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// Founders are nodes 1 to `nodes`.
    pub(super) nodes: u64,
    /// As many nodes come after them, with empty directories, and may be asked to join.
    pub(super) spares: u64,
    pub(super) model: Object,
    pub(super) knobs: Knobs,
    /// In order of time.
    pub(super) items: Vec<Item>,
}

/// What is so all the time.
#[derive(Clone, Debug)]
pub(super) struct Knobs {
    pub(super) heartbeat: Micros,
    pub(super) election_min: Micros,
    pub(super) election_max: Micros,
    pub(super) append_bytes_max: usize,
    pub(super) inflight_messages_max: usize,
    pub(super) uncommitted_bytes_max: usize,
    pub(super) compaction: Compaction,
    pub(super) limits: Limits,
    pub(super) lease: Option<Lease>,
    /// Clocks run at rates of 1000 ± this, permille.
    pub(super) drift_permille: u64,
    /// Longest time from an input's arrival until the node takes it: what comes meanwhile shares its step.
    pub(super) loop_latency_max: Micros,
    pub(super) network: Weather,
    /// Shortest and longest time that the disk takes to sync.
    pub(super) sync: [Micros; 2],
    /// Longest time that a snapshot takes to be written, or verified.
    pub(super) snapshot_max: Micros,
    /// Snapshots that cannot be written, pieces that cannot be read, pieces that cannot be stored; permille.
    pub(super) snapshot_failures: u64,
    /// Pieces of snapshots are of this size, bytes.
    pub(super) chunk_bytes: usize,
    /// Clients.
    pub(super) clients: usize,
    /// Keys.
    pub(super) keys: u64,
    /// Requests and answers of clients that get lost, permille.
    pub(super) client_loss: u64,
    /// A client waits so long for an answer before it asks again.
    pub(super) attempt_timeout: Micros,
    /// A client gives up after so long.
    pub(super) operation_timeout: Micros,
    /// A client takes a new name after as many requests.
    pub(super) requests_per_session: u64,
}

/// How the network treats frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weather {
    /// Shortest and longest delay.
    pub(super) delay: [Micros; 2],
    /// Frames lost, permille.
    pub(super) loss: u64,
    /// Frames that come twice, permille.
    pub(super) duplicates: u64,
    /// Frames that are held back for seconds, permille.
    pub(super) held: u64,
    /// Whether later frames of a link may overtake earlier ones.
    pub(super) reorders: bool,
}

impl Weather {
    /// Nothing to complain about.
    pub(super) const FAIR: Weather =
        Weather { delay: [MS, 3 * MS], loss: 0, duplicates: 0, held: 0, reorders: false };
}

/// Something that happens at a given time.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Its number in the complete plan; stays when others are left out.
    pub(super) number: u64,
    pub(super) at: Micros,
    pub(super) what: What,
}

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// Something breaks, for a while: then, or when something happens after that.
    Fault { fault: Fault, when: Trigger },
    /// An operator does something.
    Admin { what: Admin, draw: u64 },
    /// A client does something.
    Operation(ClientOperation),
}

/// What a fault waits for; it hits the node where that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// Nothing.
    None,
    /// Something is written, and not synced yet.
    Write,
    /// Somebody votes.
    Vote,
    /// Somebody is elected.
    Election,
    /// A snapshot begins to be written, or to come in.
    Snapshot,
    /// A configuration comes into a log.
    Configuration,
}

/// Whom it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    Node(NodeId),
    /// Whoever leads the highest term when it happens.
    Leader,
}

/// What breaks, and for how long.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The process dies, and with it what was not synced, or a part of that.
    Crash { victim: Victim, down: Micros },
    /// All processes die.
    CrashAll { down: Micros },
    /// The process dies, and its data directory is removed, if the others can do without it.
    Wipe { victim: Victim, down: Micros },
    /// The process is stopped; what comes in waits.
    Pause { victim: Victim, lasts: Micros },
    /// Links lose everything.
    Cut { shape: Shape, victim: Victim, draw: u64, lasts: Micros },
    /// Links hold everything back, and let it go in the end.
    Hold { shape: Shape, victim: Victim, draw: u64, lasts: Micros },
    /// Syncs take long.
    SlowDisk { victim: Victim, sync: Micros, lasts: Micros },
    /// Snapshots can be neither written nor read.
    BadSnapshots { victim: Victim, lasts: Micros },
    /// The clock leaps forward.
    ClockJump { victim: Victim, by: Micros },
    /// The whole network is bad.
    Storm { weather: Weather, lasts: Micros },
}

/// Which links a network fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// All of one node.
    Isolate,
    /// All to one node.
    Deaf,
    /// All from one node.
    Mute,
    /// One link, one way.
    OneWay,
    /// One pair, both ways.
    Pair,
    /// All between two halves.
    Halves,
    /// All between three parts.
    Thirds,
    /// All between two halves, but for one node that hears both.
    Bridge,
    /// All but those to two neighbours each.
    Ring,
    /// Some of all links, one way each.
    Mesh,
}

/// What operators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Admin {
    Add,
    Promote,
    Remove,
    RemoveLeader,
    Set,
    Transfer,
    Snapshot,
}

/// What a client does.
#[derive(Clone, Debug)]
pub(super) struct ClientOperation {
    pub(super) client: usize,
    pub(super) kind: Kind,
    pub(super) key: u64,
    /// Decides whom to ask, and other small things.
    pub(super) draw: u64,
}

/// Kinds of client operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Write,
    Cas,
    Append,
    Incr,
    Read,
    LeaseRead,
    StaleRead,
}

/// Kinds of faults and changes, each of which a seed may do without: a run with few kinds gets deeper into each.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each kind is there or not")]
struct Swarm {
    crash: bool,
    wipe: bool,
    pause: bool,
    cut: bool,
    hold: bool,
    slow: bool,
    snapshots: bool,
    clock: bool,
    storm: bool,
    change: bool,
    transfer: bool,
}

impl Swarm {
    fn draw(rng: &mut Rng) -> Swarm {
        let mut with = |permille| rng.chance(permille);
        Swarm {
            crash: with(700),
            wipe: with(300),
            pause: with(500),
            cut: with(700),
            hold: with(300),
            slow: with(400),
            snapshots: with(500),
            clock: with(400),
            storm: with(400),
            change: with(500),
            transfer: with(400),
        }
    }
}

impl Plan {
    /// The plan of a seed.
    pub(super) fn draw(seed: u64, settings: &Settings) -> Plan {
        let mut rng = Rng::stream(seed, &[1]);
        let nodes = settings.nodes.unwrap_or_else(|| rng.pick(&[3, 3, 3, 4, 5, 5, 7]));
        let model = settings.model.unwrap_or_else(|| rng.pick(&MODELS));
        let swarm = Swarm::draw(&mut rng);
        let spares = if swarm.change { rng.between(1, 2) } else { 0 };
        let knobs = Knobs::draw(&mut rng, swarm);
        let mut plan = Plan { seed, nodes, spares, model, knobs, items: Vec::new() };
        let length = rng.between(3_000, 10_000) * MS;
        plan.draw_operations(&mut rng, length);
        plan.draw_faults(&mut rng, swarm, length);
        plan.draw_admin(&mut rng, swarm, length);
        plan.items.sort_by_key(|item| item.at);
        (0..).zip(&mut plan.items).for_each(|(number, item)| item.number = number);
        plan
    }

    /// When the last fault has come to its end.
    pub(super) fn end(&self) -> Micros {
        self.items.iter().map(|item| item.at + item.what.lasts()).max().unwrap_or(0) + 10 * MS
    }

    fn add(&mut self, at: Micros, what: What) {
        self.items.push(Item { number: 0, at, what });
    }

    fn draw_operations(&mut self, rng: &mut Rng, length: Micros) {
        for _ in 0..rng.between(15, 90) {
            let write = match self.model {
                // The last four are not simulated.
                Object::Register
                | Object::Set
                | Object::MultiRegister
                | Object::FifoQueue
                | Object::Mutex => Kind::Write,
                Object::CasRegister => rng.pick(&[Kind::Write, Kind::Cas, Kind::Cas]),
                Object::Append => Kind::Append,
                Object::Counter => Kind::Incr,
            };
            let read = rng.pick(&[Kind::Read, Kind::Read, Kind::LeaseRead, Kind::StaleRead]);
            let operation = ClientOperation {
                client: rng.index(self.knobs.clients),
                kind: if rng.chance(550) { write } else { read },
                key: rng.below(self.knobs.keys),
                draw: rng.next(),
            };
            self.add(rng.below(length), What::Operation(operation));
        }
    }

    fn draw_faults(&mut self, rng: &mut Rng, swarm: Swarm, length: Micros) {
        let kinds = [
            swarm.crash,
            swarm.crash,
            swarm.crash,
            swarm.wipe,
            swarm.pause,
            swarm.cut,
            swarm.hold,
            swarm.slow,
            swarm.snapshots,
            swarm.clock && self.knobs.lease.is_none(),
            swarm.storm,
        ];
        let kinds: Vec<usize> = (0..kinds.len()).filter(|&kind| kinds[kind]).collect();
        for _ in 0..rng.between(3, 30) {
            let Some(kind) = rng.choose(&kinds) else { return };
            let fault = self.draw_fault(rng, kind);
            let when = if rng.chance(600) { Trigger::None } else { rng.pick(&TRIGGERS) };
            self.add(rng.below(length), What::Fault { fault, when });
        }
    }

    fn draw_fault(&self, rng: &mut Rng, kind: usize) -> Fault {
        const SHAPES: [Shape; 10] = [
            Shape::Isolate,
            Shape::Deaf,
            Shape::Mute,
            Shape::OneWay,
            Shape::Pair,
            Shape::Halves,
            Shape::Thirds,
            Shape::Bridge,
            Shape::Ring,
            Shape::Mesh,
        ];
        let victim = if rng.chance(500) {
            Victim::Leader
        } else {
            Victim::Node(rng.between(1, self.nodes + self.spares))
        };
        let Knobs { election_min, election_max, lease, .. } = self.knobs;
        let lasts = match rng.below(6) {
            0..=2 => rng.between(10, 600) * MS,
            3..=4 => rng.between(300, 4_000) * MS,
            // Where deposed leaders have not noticed yet.
            _ => rng.between(election_min, 2 * election_max),
        };
        let (shape, draw) = (rng.pick(&SHAPES), rng.next());
        match kind {
            0 if rng.chance(400) => Fault::CrashAll { down: lasts },
            0..=2 => Fault::Crash { victim, down: lasts },
            3 => Fault::Wipe { victim, down: lasts },
            4 => Fault::Pause { victim, lasts },
            5 => Fault::Cut { shape, victim, draw, lasts },
            // Answers that come when others have been elected meanwhile must not prolong a lease.
            6 if lease.is_some() && rng.chance(500) => {
                let lasts = rng.between(election_min, 2 * election_max);
                Fault::Hold { shape: Shape::Isolate, victim: Victim::Leader, draw, lasts }
            }
            6 => Fault::Hold { shape, victim, draw, lasts },
            7 => Fault::SlowDisk { victim, sync: rng.between(20, 900) * MS, lasts },
            8 => Fault::BadSnapshots { victim, lasts },
            9 => Fault::ClockJump { victim, by: rng.between(100, 5_000) * MS },
            _ => Fault::Storm { weather: storm(rng), lasts },
        }
    }

    fn draw_admin(&mut self, rng: &mut Rng, swarm: Swarm, length: Micros) {
        let mut kinds = Vec::new();
        if swarm.change {
            use Admin::{Add, Promote, Remove, RemoveLeader, Set};
            kinds.extend([Add, Add, Promote, Promote, Promote, Remove, RemoveLeader, Set, Set]);
        }
        if swarm.transfer {
            // What a lease promises, a transfer takes back: that must not go wrong.
            let often = if self.knobs.lease.is_some() { 6 } else { 2 };
            kinds.extend(std::iter::repeat_n(Admin::Transfer, often));
        }
        if swarm.snapshots {
            kinds.push(Admin::Snapshot);
        }
        let most = if self.knobs.lease.is_some() { 24 } else { 12 };
        for _ in 0..rng.between(2, most) {
            let Some(what) = rng.choose(&kinds) else { return };
            let draw = rng.next();
            self.add(rng.below(length), What::Admin { what, draw });
        }
    }
}

fn storm(rng: &mut Rng) -> Weather {
    Weather {
        delay: [MS, rng.pick(&[5, 50, 400, 1_500]) * MS],
        loss: rng.pick(&[0, 20, 100, 300]),
        duplicates: rng.pick(&[0, 20, 200]),
        held: rng.pick(&[0, 5, 50]),
        reorders: rng.chance(700),
    }
}

impl Knobs {
    fn draw(rng: &mut Rng, swarm: Swarm) -> Knobs {
        let election_min = rng.pick(&[300, 500, 1_000]) * MS;
        let lease = rng.chance(350);
        let drift_permille = match (swarm.clock, lease) {
            (false, _) => 0,
            (true, true) => 50,
            (true, false) => 100,
        };
        let tiny = swarm.snapshots || rng.chance(200);
        let compaction = Compaction {
            log_bytes_min: if tiny { rng.pick(&[150, 400, 1_200]) } else { 1 << 30 },
            log_percent_of_snapshot: rng.pick(&[0, 100, 300]),
            trailing_bytes: rng.pick(&[0, 0, 200, 600]),
        };
        Knobs {
            heartbeat: election_min / rng.pick(&[3, 5, 8]),
            election_min,
            election_max: election_min + election_min * rng.pick(&[3, 7, 10]) / 10,
            append_bytes_max: usize::try_from(rng.pick(&[1, 300, 2_000])).expect("small"),
            inflight_messages_max: rng.pick(&[1, 2, 4]),
            uncommitted_bytes_max: rng.pick(&[600, 5_000]),
            compaction,
            limits: Limits {
                sessions_max: rng.pick(&[2, 4, 10_000]),
                answers_max: rng.pick(&[3, 1_024]),
                ..Limits::default()
            },
            // Two clocks that are off by 5 % in opposite directions are 10.6 % apart.
            lease: lease.then_some(Lease { drift_percent_max: 11 }),
            drift_permille,
            loop_latency_max: rng.pick(&[0, 0, 2, 20]) * MS,
            network: Weather {
                delay: [MS / 2, rng.pick(&[2, 10, 40, 200]) * MS],
                loss: rng.pick(&[0, 0, 0, 20]),
                duplicates: rng.pick(&[0, 0, 20]),
                held: rng.pick(&[0, 0, 0, 5]),
                reorders: rng.chance(300),
            },
            sync: [MS / 10, rng.pick(&[1, 10, 50, 300]) * MS],
            snapshot_max: rng.pick(&[5, 100, 1_500]) * MS,
            snapshot_failures: if swarm.snapshots { rng.pick(&[0, 0, 100]) } else { 0 },
            chunk_bytes: rng.pick(&[20, 60, 10_000]),
            clients: rng.pick(&[1, 2, 3, 4]),
            keys: rng.between(1, 3),
            client_loss: rng.pick(&[0, 20, 150]),
            attempt_timeout: rng.pick(&[100, 400, 1_200]) * MS,
            operation_timeout: rng.pick(&[1_000, 3_000, 6_000]) * MS,
            requests_per_session: rng.pick(&[3, 10, 1_000]),
        }
    }
}

impl What {
    /// How long until all is as if nothing had happened, but for the consequences.
    fn lasts(&self) -> Micros {
        match self {
            What::Fault { fault, .. } => fault.lasts(),
            What::Admin { .. } | What::Operation(_) => 0,
        }
    }
}

impl Fault {
    pub(super) fn lasts(&self) -> Micros {
        match self {
            Fault::Crash { down: lasts, .. }
            | Fault::CrashAll { down: lasts }
            | Fault::Wipe { down: lasts, .. }
            | Fault::Pause { lasts, .. }
            | Fault::Cut { lasts, .. }
            | Fault::Hold { lasts, .. }
            | Fault::SlowDisk { lasts, .. }
            | Fault::BadSnapshots { lasts, .. }
            | Fault::Storm { lasts, .. } => *lasts,
            Fault::ClockJump { .. } => 0,
        }
    }

    /// As summaries call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Fault::Crash { .. } => "crash",
            Fault::CrashAll { .. } => "crash of all",
            Fault::Wipe { .. } => "wiped directory",
            Fault::Pause { .. } => "pause",
            Fault::Cut { shape, .. } => match shape {
                Shape::Isolate => "cut: isolated node",
                Shape::Deaf => "cut: deaf node",
                Shape::Mute => "cut: mute node",
                Shape::OneWay => "cut: one way",
                Shape::Pair => "cut: one pair",
                Shape::Halves => "cut: halves",
                Shape::Thirds => "cut: thirds",
                Shape::Bridge => "cut: bridge",
                Shape::Ring => "cut: ring",
                Shape::Mesh => "cut: partial mesh",
            },
            Fault::Hold { .. } => "links held",
            Fault::SlowDisk { .. } => "slow disk",
            Fault::BadSnapshots { .. } => "bad snapshot files",
            Fault::ClockJump { .. } => "clock jump",
            Fault::Storm { .. } => "storm",
        }
    }
}

impl Admin {
    pub(super) fn name(self) -> &'static str {
        match self {
            Admin::Add => "member add",
            Admin::Promote => "member promote",
            Admin::Remove => "member remove",
            Admin::RemoveLeader => "member remove (leader)",
            Admin::Set => "member set",
            Admin::Transfer => "transfer",
            Admin::Snapshot => "snapshot on demand",
        }
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Victim::Node(id) => write!(f, "n{id}"),
            Victim::Leader => f.write_str("the leader"),
        }
    }
}
