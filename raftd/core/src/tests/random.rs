//! Random schedules over a network that loses, duplicates, reorders and partitions, with nodes that crash and forget
//! what they had not synced, while clients append unique tokens, retry through any node, and read everywhere, and
//! operators take snapshots and change members and leaders ([`operators`]).
//!
//! What must never happen is checked after every step by [`super::safety`]; here, what must happen in the end: once
//! the faults stop, everything asked for is answered, every acknowledged token is there once, and none twice.
//!
//! `RAFT_SEED=N` runs one schedule and prints what happens, `RAFT_SEEDS=N` runs as many as wanted (see [`seeds`]).

mod operators;
mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rand::rngs::SmallRng;
use rand::seq::IteratorRandom as _;
use rand::{Rng as _, SeedableRng as _};

use self::weights::{Action, Weights};
use super::cluster::{Cluster, options};
use super::safety::ReadKind;
use super::seeds;
use crate::effects::{Answer, Outcome, Role, Token};
use crate::kv::{Command, Op, Refusal, RequestId};
use crate::message::Envelope;
use crate::node::{Compaction, Input, Node, Options, View};
use crate::types::{Index, NodeId, Time};

/// Seeds when nothing else is asked for: about ten seconds.
const SEEDS: u64 = if cfg!(debug_assertions) { 1_000 } else { 20_000 };

const KEYS: [&str; 2] = ["x", "y"];

#[test]
fn random_schedules_break_no_promise() {
    let mut seen = Seen::default();
    let count = seeds::for_each("random_schedules", SEEDS, |seed| {
        let mut run = Run::new(seed);
        run.cluster.trace = seeds::only().map(|_| Vec::new());
        let result = catch_unwind(AssertUnwindSafe(|| run.play()));
        for line in run.cluster.trace.take().unwrap_or_default() {
            eprintln!("{line}");
        }
        result.unwrap_or_else(|panic| resume_unwind(panic));
        seen.add(&run.seen);
    });
    eprintln!("{count} schedules: {seen:?}");
    seen.check_coverage(count);
}

/// What happened; a test in which nothing happens proves nothing.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// By name: how often.
    counts: BTreeMap<&'static str, u64>,
}

impl Seen {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn add(&mut self, other: &Seen) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    /// Each thing that schedules are meant to provoke happens at least once in so many schedules.
    fn check_coverage(&self, seeds: u64) {
        if seeds < 1_000 {
            return;
        }
        for what in Seen::EXPECTED {
            let count = self.counts.get(what).copied().unwrap_or(0);
            assert!(count >= seeds / 20, "{what}: only {count} in {seeds} schedules");
        }
    }

    const EXPECTED: [&str; 20] = [
        "answers given to a retry",
        "batches",
        "changes of membership",
        "crashes",
        "crashes that lose records",
        "cuts",
        "disks lost",
        "duplicates",
        "held up",
        "leadership lost",
        "leaderships handed over",
        "overloaded",
        "reads at followers",
        "reads at leaders",
        "readmissions",
        "snapshots installed",
        "snapshots taken",
        "terms with a leader",
        "voided suffixes",
        "writes",
    ];
}

/// One schedule.
struct Run {
    rng: SmallRng,
    weights: Weights,
    cluster: Cluster,
    /// Messages that are held up.
    held: Vec<Envelope>,
    clients: Vec<Client>,
    /// Which write a token stands for, and whether the request was made before.
    writes: BTreeMap<Token, (RequestId, bool)>,
    /// Whom a read was asked.
    reads: BTreeMap<Token, Role>,
    /// Append tokens by request, and whether the append was acknowledged.
    tokens: BTreeMap<RequestId, (String, bool)>,
    /// What operators wait for.
    orders: BTreeSet<Token>,
    /// How many nodes there were at the start.
    founders: usize,
    seen: Seen,
}

/// Appends unique tokens, several at a time, and repeats itself until it is answered.
struct Client {
    name: String,
    last_seq: u64,
    /// Requests without an answer, and whether they were made before.
    in_flight: BTreeMap<u64, (Op, bool)>,
}

impl Client {
    fn born_at(number: usize, birth: Index) -> Client {
        Client { name: format!("c{number}@{birth}"), last_seq: 0, in_flight: BTreeMap::new() }
    }

    /// Everything below has been answered.
    fn ack(&self) -> u64 {
        self.in_flight.first_key_value().map_or(self.last_seq + 1, |(&seq, _)| seq)
    }
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut rng = SmallRng::seed_from_u64(seed);
        let nodes = if rng.random_bool(0.5) { 3 } else { rng.random_range(1..=9) };
        let mut options = Options {
            append_bytes_max: rng.random_range(1..1_000),
            inflight_messages_max: rng.random_range(1..5),
            uncommitted_bytes_max: rng.random_range(300..5_000),
            compaction: Compaction {
                log_bytes_min: rng.random_range(100..5_000),
                log_percent_of_snapshot: 0,
                trailing_bytes: rng.random_range(0..1_000),
            },
            ..options(nodes, seed)
        };
        options.limits.sessions_max = rng.random_range(2..6);
        let clients = (0..rng.random_range(1..4)).map(|number| Client::born_at(number, 0));
        Run {
            weights: Weights::draw(&mut rng),
            clients: clients.collect(),
            founders: options.founders.len(),
            cluster: Cluster::new(options, rng.random_range(1..5)),
            rng,
            held: Vec::new(),
            writes: BTreeMap::new(),
            reads: BTreeMap::new(),
            tokens: BTreeMap::new(),
            orders: BTreeSet::new(),
            seen: Seen::default(),
        }
    }

    fn play(&mut self) {
        for _ in 0..self.rng.random_range(50..600) {
            let action = self.weights.next(&mut self.rng, &self.cluster);
            self.act(action);
            self.collect_answers();
        }
        self.recover();
        self.check_tokens();
        for _ in 0..self.cluster.safety.terms_led() {
            self.seen.count("terms with a leader");
        }
        for _ in 0..self.cluster.safety.voided() {
            self.seen.count("voided suffixes");
        }
        for (what, count) in self.cluster.counts() {
            *self.seen.counts.entry(what).or_default() += count;
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Deliver => self.deliver(),
            Action::Batch => self.batch(),
            Action::Release => self.release(),
            Action::Sync => {
                let dirty = self.any_node(|cluster, id| cluster.member(id).disk.is_dirty());
                if let Some(id) = dirty {
                    let count = if self.rng.random_bool(0.5) { 1 } else { usize::MAX };
                    self.cluster.sync(id, count);
                }
            }
            Action::Wake => self.wake(),
            Action::Propose => self.propose(),
            Action::Read => {
                if let Some(id) = self.any_up() {
                    self.read(id);
                }
            }
            Action::Crash => {
                if let Some(id) = self.any_victim() {
                    self.crash(id);
                }
            }
            Action::Restart => {
                let down = self.any_node(|cluster, id| cluster.node(id).is_none());
                if let Some(id) = down {
                    self.cluster.restart(id);
                }
            }
            Action::Cut => self.cut(),
            Action::Heal => self.cluster.heal(),
            Action::Save => self.save(),
            Action::Operate => self.operate(),
            Action::Wipe => self.wipe(),
        }
    }

    fn any_node(&mut self, suits: impl Fn(&Cluster, NodeId) -> bool) -> Option<NodeId> {
        self.cluster.ids().filter(|&id| suits(&self.cluster, id)).choose(&mut self.rng)
    }

    fn any_up(&mut self) -> Option<NodeId> {
        self.any_node(|cluster, id| cluster.node(id).is_some())
    }

    /// Somebody who says that it leads; there may be several.
    fn any_leader(&mut self) -> Option<NodeId> {
        self.any_node(|cluster, id| {
            cluster.node(id).is_some_and(|node| node.role() == Role::Leader)
        })
    }

    /// Faults often strike leaders.
    fn any_victim(&mut self) -> Option<NodeId> {
        let leader = if self.rng.random_bool(0.5) { self.any_leader() } else { None };
        leader.or_else(|| self.any_up())
    }

    /// One message, or several for the same node in one step.
    fn deliver(&mut self) {
        if self.cluster.network.is_empty() {
            return;
        }
        let first = self.pick();
        if self.rng.random_bool(self.weights.lose) {
            self.cluster.network.remove(first);
            return;
        }
        if self.rng.random_bool(self.weights.hold) {
            let envelope = self.cluster.network.remove(first);
            self.held.push(envelope);
            self.seen.count("held up");
            return;
        }
        if self.rng.random_bool(self.weights.duplicate) {
            let again = self.cluster.network[first].clone();
            self.cluster.network.push(again);
            self.seen.count("duplicates");
        }
        let envelope = self.cluster.network.remove(first);
        let to = envelope.to;
        let mut batch = vec![envelope];
        while self.rng.random_bool(0.3) {
            let more = self.cluster.network.iter().position(|envelope| envelope.to == to);
            let Some(at) = more else { break };
            batch.push(self.cluster.network.remove(at));
        }
        self.cluster.receive(to, batch);
    }

    /// Several things happen to a node, which takes them in one step.
    fn batch(&mut self) {
        let Some(id) = self.any_victim() else { return };
        self.cluster.keep_busy(id);
        for _ in 0..self.rng.random_range(2..12) {
            match self.weights.next(&mut self.rng, &self.cluster) {
                action @ (Action::Deliver
                | Action::Release
                | Action::Sync
                | Action::Wake
                | Action::Propose
                | Action::Read
                | Action::Save
                | Action::Operate) => self.act(action),
                Action::Batch
                | Action::Crash
                | Action::Restart
                | Action::Cut
                | Action::Heal
                | Action::Wipe => {}
            }
        }
        self.cluster.catch_up();
        self.seen.count("batches");
    }

    /// Something that everyone has forgotten arrives.
    fn release(&mut self) {
        if !self.held.is_empty() {
            let at = self.rng.random_range(0..self.held.len());
            let envelope = self.held.swap_remove(at);
            self.cluster.receive(envelope.to, vec![envelope]);
        }
    }

    fn pick(&mut self) -> usize {
        if self.rng.random_bool(self.weights.in_order) {
            0
        } else {
            self.rng.random_range(0..self.cluster.network.len())
        }
    }

    /// Leaders make themselves heard; followers wait a little, or no more.
    fn wake(&mut self) {
        let Some(id) = self.any_up() else { return };
        let leads = self.cluster.node(id).is_some_and(|node| node.role() == Role::Leader);
        if leads || self.rng.random_bool(self.weights.campaign) {
            self.cluster.time_out(id);
        } else {
            let wait = Time::from_millis(self.rng.random_range(0..200));
            self.cluster.member_mut(id).clock += wait;
            self.cluster.step(id, [Input::Tick]);
        }
    }

    fn propose(&mut self) {
        let who = self.rng.random_range(0..self.clients.len());
        let client = &mut self.clients[who];
        let again = client.in_flight.keys().copied().choose(&mut self.rng);
        let seq = match again {
            Some(seq) if client.in_flight.len() >= 3 || self.rng.random_bool(0.5) => seq,
            _ => {
                client.last_seq += 1;
                let seq = client.last_seq;
                let key = KEYS[self.rng.random_range(0..KEYS.len())].to_owned();
                let value = format!("{}:{seq} ", client.name);
                let request = RequestId { client: client.name.clone(), seq };
                self.tokens.insert(request, (value.clone(), false));
                client.in_flight.insert(seq, (Op::Append { key, value }, false));
                seq
            }
        };
        // Clients mostly follow hints.
        let leader = if self.rng.random_bool(0.8) { self.any_leader() } else { None };
        if let Some(id) = leader.or_else(|| self.any_up()) {
            self.send(who, seq, id);
        }
    }

    fn send(&mut self, who: usize, seq: u64, to: NodeId) {
        let client = &mut self.clients[who];
        let ack = client.ack();
        let (op, retried) = client.in_flight.get_mut(&seq).expect("in flight");
        let request = RequestId { client: client.name.clone(), seq };
        let command = Command { request: request.clone(), ack, op: op.clone() };
        let again = std::mem::replace(retried, true);
        let token = self.cluster.propose(to, command);
        self.writes.insert(token, (request, again));
    }

    fn read(&mut self, id: NodeId) {
        let key = KEYS[self.rng.random_range(0..KEYS.len())];
        let role = self.cluster.node(id).map_or(Role::Follower, Node::role);
        let token = self.cluster.read(id, ReadKind::Confirmed, key, 0);
        self.reads.insert(token, role);
    }

    fn crash(&mut self, id: NodeId) {
        let at_risk = self.cluster.member(id).disk.pending_records();
        let survivors = self.rng.random_range(0..=at_risk);
        self.seen.count("crashes");
        if survivors < at_risk {
            self.seen.count("crashes that lose records");
        }
        self.cluster.crash(id, survivors);
    }

    /// One link in one direction; or one node; or two halves.
    fn cut(&mut self) {
        let (Some(a), Some(b)) = (self.any_victim(), self.any_up()) else { return };
        self.seen.count("cuts");
        match self.rng.random_range(0..3) {
            0 => self.cluster.cut(a, b),
            1 => self.cut_apart(|id| id == a),
            _ => self.cut_apart(|id| id <= a),
        }
    }

    fn cut_apart(&mut self, inside: impl Fn(NodeId) -> bool) {
        for from in self.cluster.ids() {
            for to in self.cluster.ids().filter(|&to| inside(from) != inside(to)) {
                self.cluster.cut(from, to);
            }
        }
    }

    fn collect_answers(&mut self) {
        let answers = std::mem::take(&mut self.cluster.answers);
        for (_, Answer { token, outcome }) in answers {
            if let Some((request, again)) = self.writes.remove(&token) {
                self.on_write_answer(&request, again, &outcome);
            } else if let Some(role) = self.reads.remove(&token) {
                if let (Outcome::Read { .. }, Role::Leader | Role::Follower) = (&outcome, role) {
                    let leads = role == Role::Leader;
                    self.seen.count(if leads { "reads at leaders" } else { "reads at followers" });
                }
            } else {
                self.on_order_answer(token, &outcome);
            }
        }
    }

    fn on_write_answer(&mut self, request: &RequestId, again: bool, outcome: &Outcome) {
        let mut client = self.clients.iter_mut().find(|client| client.name == request.client);
        match outcome {
            Outcome::Written(written) => {
                if let Some(client) = &mut client {
                    client.in_flight.remove(&request.seq);
                }
                if written.result == Err(Refusal::Expired) {
                    self.seen.count("expired");
                    // A client that is not known any more starts anew, under a new name.
                    let birth = self.cluster.safety.committed();
                    let number = self.tokens.len();
                    if let Some(client) = client {
                        *client = Client::born_at(number, birth);
                    }
                } else {
                    assert!(written.result.is_ok(), "{request}: {written:?}");
                    self.seen.count(if again { "answers given to a retry" } else { "writes" });
                    self.tokens.get_mut(request).expect("asked for").1 = true;
                }
            }
            Outcome::LeadershipLost => self.seen.count("leadership lost"),
            Outcome::Overloaded => self.seen.count("overloaded"),
            Outcome::NotLeader { .. } | Outcome::Transferring { .. } => {}
            Outcome::Read { .. }
            | Outcome::ReadFailed
            | Outcome::Changed { .. }
            | Outcome::ChangeRefused(_)
            | Outcome::Transferred { .. }
            | Outcome::TransferFailed(_)
            | Outcome::SnapshotTaken { .. }
            | Outcome::SnapshotFailed => panic!("{request}: {outcome:?}"),
        }
    }

    /// The faults stop. Within a bounded time everything is answered, and all nodes agree.
    fn recover(&mut self) {
        self.cluster.heal();
        self.cluster.network.append(&mut self.held);
        for id in self.cluster.ids() {
            if self.cluster.node(id).is_none() {
                self.cluster.restart(id);
            }
        }
        for _ in 0..100 {
            self.cluster.run_for(Time::from_millis(300));
            self.collect_answers();
            let Some(leader) = self.any_leader() else { continue };
            let unanswered: Vec<(usize, u64)> = (0..)
                .zip(&self.clients)
                .flat_map(|(who, client)| client.in_flight.keys().map(move |&seq| (who, seq)))
                .collect();
            if unanswered.is_empty() && self.cluster.waiting.is_empty() {
                return self.check_agreement(leader);
            }
            for (who, seq) in unanswered {
                if self.clients[who].in_flight.contains_key(&seq) {
                    self.send(who, seq, leader);
                    self.cluster.stabilize();
                    self.collect_answers();
                }
            }
        }
        panic!("30 s after the last fault not everything is answered: {:?}", self.cluster.waiting);
    }

    /// A little later every member has everything, and reads work everywhere. Snapshots, and members that lost their
    /// disks, need up to five seconds.
    fn check_agreement(&mut self, leader: NodeId) {
        self.cluster.run_for(Time::from_millis(250));
        for _ in 0..20 {
            if self.any_leader().is_some_and(|leader| self.is_whole_again(leader)) {
                break;
            }
            self.cluster.run_for(Time::from_millis(250));
        }
        let leader = self.any_leader().unwrap_or(leader);
        let View { last, config, .. } = self.cluster.node(leader).expect("up").view();
        self.check_members(&config);
        for &id in config.members().keys() {
            let view = self.cluster.node(id).expect("up").view();
            assert_eq!((view.last, view.applied), (last, last.index), "n{id} lags behind");
            self.cluster.read(id, ReadKind::Confirmed, KEYS[0], 0);
        }
        self.cluster.stabilize();
        self.collect_final_reads();
    }

    fn collect_final_reads(&mut self) {
        assert!(self.cluster.waiting.is_empty(), "reads hang: {:?}", self.cluster.waiting);
        for (id, answer) in std::mem::take(&mut self.cluster.answers) {
            assert!(matches!(answer.outcome, Outcome::Read { .. }), "n{id}: {answer:?}");
        }
    }

    /// Each acknowledged append is there once; none is there twice.
    fn check_tokens(&self) {
        let last = self.cluster.safety.committed();
        let text: String =
            KEYS.iter().filter_map(|key| self.cluster.safety.value_at(key, last)).collect();
        let mut found: BTreeMap<&str, u32> = BTreeMap::new();
        for token in text.split_inclusive(' ') {
            *found.entry(token).or_default() += 1;
        }
        for (request, (token, acknowledged)) in &self.tokens {
            let times = found.remove(token.as_str()).unwrap_or(0);
            assert!(times <= 1, "{request} took effect {times} times");
            assert!(times == 1 || !acknowledged, "{request} was acknowledged and is lost");
        }
        assert!(found.is_empty(), "nobody asked for {found:?}");
    }
}
