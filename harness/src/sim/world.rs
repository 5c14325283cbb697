//! The world of one run: time passes from one thing that happens to the next, and all of it is a function of the plan.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use raft_core::effects::{Effects, Event, Outcome, ReadChunk, Record, Role, Send, Token};
use raft_core::message::{Envelope, Message};
use raft_core::node::{Input, Node, Options, Standing};
use raft_core::snapshot::Snapshot;
use raft_core::types::{EntryId, Index, NodeId};

use super::Sabotage;
use super::clients::Clients;
use super::duties::{Before, Duties, Timing};
use super::faults::Active;
use super::healing::Healing;
use super::host::{Clock, Host, Receiving};
use super::network::{Fate, Network};
use super::notation;
use super::plan::{MS, Plan, Trigger};
use super::rng::{Micros, Rng};
use super::safety::{Asked, Safety};
use super::tally::Tally;
use super::violation::{Violation, ensure};

/// Where a machine stands among the hosts.
pub(super) type Slot = usize;

/// What can happen next.
#[derive(Debug)]
pub(super) enum Happening {
    /// An item of the plan, by its position.
    Item(usize),
    /// What a fault of the plan, by its position, waits for has happened there.
    Fire(usize, Slot),
    /// A fault of the plan, by its number, ends.
    End(u64),
    /// A frame reaches its receiver.
    Arrive(Envelope),
    /// A process gets to what came in.
    Step(Slot, u64),
    /// A process's timer goes off.
    Wake(Slot, u64),
    /// A sync is done.
    Synced(Slot, u64),
    /// That the node was readmitted is noted on the disk.
    Noted(Slot, u64),
    /// A snapshot is written, or cannot be.
    Saved(Slot, u64),
    /// A received snapshot is verified, or cannot be.
    Verified(Slot, u64, Receiving),
    /// A piece of a snapshot is read, or cannot be.
    Read(Slot, u64, ReadChunk),
    /// A client's request reaches its node.
    Ask { operation: usize, attempt: u64, node: NodeId },
    /// An answer reaches its client; `None`: the node is down.
    Told { operation: usize, attempt: u64, node: NodeId, outcome: Option<Outcome> },
    /// A client has waited long enough for an answer.
    Silence { operation: usize, attempt: u64 },
    /// A client asks again.
    Again { operation: usize },
    /// A client gives up.
    GiveUp { operation: usize },
    /// All faults end.
    Heal,
    /// Is the cluster well again?
    Look,
}

/// Everything there is.
#[derive(Debug)]
pub(super) struct World<'p> {
    pub(super) plan: &'p Plan,
    pub(super) sabotage: Sabotage,
    pub(super) now: Micros,
    /// What is to happen: when, and where in `happenings`; the earlier asked for first among equals.
    queue: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    vacant: Vec<usize>,
    asked: u64,
    pub(super) hosts: Vec<Host>,
    pub(super) network: Network,
    pub(super) safety: Safety,
    pub(super) clients: Clients,
    /// Faults that have not ended.
    pub(super) active: BTreeMap<u64, Active>,
    /// Faults that wait for something, and their positions in the plan.
    pub(super) armed: BTreeMap<u64, (Trigger, usize)>,
    pub(super) healing: Healing,
    /// When a node was last told to campaign.
    pub(super) told_to_campaign: Option<Micros>,
    /// Questions without an answer: whom, in which life, what.
    pub(super) asking: BTreeMap<Token, (Slot, u64, Asked)>,
    /// The text of each snapshot's file; all nodes write the same.
    pub(super) files: BTreeMap<EntryId, (Snapshot, Arc<str>)>,
    pub(super) tally: Tally,
    pub(super) trace: Option<Vec<String>>,
    effects: Effects,
}

/// Adds a line to the trace, if there is one.
macro_rules! say {
    ($world:expr, $($what:tt)+) => {
        if $world.trace.is_some() {
            let line = format!($($what)+);
            $world.say(&line);
        }
    };
}
pub(super) use say;

impl<'p> World<'p> {
    pub(super) fn new(plan: &'p Plan, sabotage: Sabotage, traced: bool) -> World<'p> {
        let ids = 1..=plan.nodes + plan.spares;
        let founders: std::collections::BTreeSet<NodeId> = (1..=plan.nodes).collect();
        let hosts: Vec<Host> = ids
            .map(|id| {
                let mut rng = Rng::stream(plan.seed, &[3, id]);
                let drift = plan.knobs.drift_permille;
                let clock = Clock::new(rng.between(1_000 - drift, 1_000 + drift));
                let known = if founders.contains(&id) { founders.clone() } else { [].into() };
                Host::new(id, known, clock, rng)
            })
            .collect();
        World {
            plan,
            sabotage,
            now: 0,
            queue: BinaryHeap::new(),
            happenings: Vec::new(),
            vacant: Vec::new(),
            asked: 0,
            network: Network::new(plan.seed, plan.knobs.network),
            safety: Safety::new(founders, hosts.len(), plan.knobs.limits),
            clients: Clients::new(plan),
            hosts,
            active: BTreeMap::new(),
            armed: BTreeMap::new(),
            healing: Healing::default(),
            told_to_campaign: None,
            asking: BTreeMap::new(),
            files: BTreeMap::new(),
            tally: Tally::default(),
            trace: traced.then(Vec::new),
            effects: Effects::default(),
        }
    }

    /// Runs to the end.
    pub(super) fn run(&mut self) -> Result<(), Violation> {
        for slot in 0..self.hosts.len() {
            self.start(slot)?;
        }
        for (position, item) in self.plan.items.iter().enumerate() {
            self.at(item.at, Happening::Item(position));
        }
        self.at(self.plan.end(), Happening::Heal);
        while !self.healing.is_done {
            let Some(Reverse((time, _, place))) = self.queue.pop() else {
                return Err(Violation::new("the cluster goes on", "nothing will ever happen"));
            };
            self.now = time;
            self.vacant.push(place);
            let happening = self.happenings[place].take().expect("each happens once");
            self.happen(happening)?;
        }
        self.tally.virtual_us += self.now;
        Ok(())
    }

    /// Lets something happen at this time.
    pub(super) fn at(&mut self, time: Micros, happening: Happening) {
        let place = self.vacant.pop().unwrap_or(self.happenings.len());
        if place == self.happenings.len() {
            self.happenings.push(None);
        }
        self.happenings[place] = Some(happening);
        self.asked += 1;
        self.queue.push(Reverse((time.max(self.now), self.asked, place)));
    }

    pub(super) fn after(&mut self, delay: Micros, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    pub(super) fn say(&mut self, what: &str) {
        let (seconds, rest) = (self.now / 1_000_000, self.now % 1_000_000);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{seconds:>3}.{rest:06} {what}"));
        }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Item(position) => self.item(position),
            Happening::Fire(position, slot) => self.fire(position, slot),
            Happening::End(number) => self.end_fault(number),
            Happening::Arrive(envelope) => self.arrive(envelope),
            Happening::Step(slot, life) if self.hosts[slot].life == life => self.step(slot),
            Happening::Wake(slot, life) if self.hosts[slot].life == life => self.wake(slot),
            Happening::Synced(slot, life) if self.hosts[slot].life == life => self.synced(slot),
            Happening::Saved(slot, life) if self.hosts[slot].life == life => self.saved(slot),
            Happening::Verified(slot, life, received) if self.hosts[slot].life == life => {
                self.verified(slot, &received)
            }
            Happening::Read(slot, life, chunk) if self.hosts[slot].life == life => {
                self.read_chunk(slot, chunk)
            }
            Happening::Noted(slot, life) if self.hosts[slot].life == life => {
                self.hosts[slot].disk.standing = Standing::Full;
                Ok(())
            }
            // For a process that is gone.
            Happening::Noted(..)
            | Happening::Step(..)
            | Happening::Wake(..)
            | Happening::Synced(..)
            | Happening::Saved(..)
            | Happening::Verified(..)
            | Happening::Read(..) => Ok(()),
            Happening::Ask { operation, attempt, node } => self.ask(operation, attempt, node),
            Happening::Told { operation, attempt, node, outcome } => {
                self.told(operation, attempt, node, outcome);
                Ok(())
            }
            Happening::Silence { operation, attempt } => {
                self.silence(operation, attempt);
                Ok(())
            }
            Happening::Again { operation } => {
                self.attempt(operation);
                Ok(())
            }
            Happening::GiveUp { operation } => {
                self.give_up(operation);
                Ok(())
            }
            Happening::Heal => self.heal(),
            Happening::Look => self.look(),
        }
    }

    /// Starts a process with what its disk holds.
    pub(super) fn start(&mut self, slot: Slot) -> Result<(), Violation> {
        let knobs = &self.plan.knobs;
        let host = &mut self.hosts[slot];
        let recovered = host.disk.recover();
        if let Some(saved) = &recovered.snapshot {
            self.safety.on_snapshot(host.id, &saved.snapshot)?;
        }
        let options = Options {
            id: host.id,
            founders: host.founders.clone(),
            heartbeat: Duration::from_micros(knobs.heartbeat),
            election_timeout_min: Duration::from_micros(knobs.election_min),
            election_timeout_max: Duration::from_micros(knobs.election_max),
            append_bytes_max: knobs.append_bytes_max,
            inflight_messages_max: knobs.inflight_messages_max,
            uncommitted_bytes_max: knobs.uncommitted_bytes_max,
            compaction: knobs.compaction,
            lease: knobs.lease,
            limits: knobs.limits,
            seed: host.rng.next(),
        };
        let (local, term) = (host.clock.read(self.now), recovered.term);
        let timing = Timing {
            heartbeat: options.heartbeat,
            election_min: options.election_timeout_min,
            election_max: options.election_timeout_max,
            lease: options.lease.is_some(),
        };
        host.duties = Some(Duties::new(timing, local, term));
        host.node = Some(Node::new(local, options, recovered));
        self.schedule_wake(slot);
        say!(self, "{} starts", self.status(slot));
        Ok(())
    }

    /// Who, and how far: the head of a line.
    pub(super) fn status(&self, slot: Slot) -> String {
        let host = &self.hosts[slot];
        let Some(node) = &host.node else { return format!("n{} down", host.id) };
        let (role, last) = (node.role().name(), node.log().last());
        format!("n{} {role:<13} t{} c{} l{last} |", host.id, node.term(), node.commit())
    }

    pub(super) fn slot(id: NodeId) -> Slot {
        usize::try_from(id - 1).expect("few nodes")
    }

    fn arrive(&mut self, envelope: Envelope) -> Result<(), Violation> {
        let slot = Self::slot(envelope.to);
        if self.network.is_cut((envelope.from, envelope.to)) {
            self.tally.count("frames lost in a cut");
            return Ok(());
        }
        if !self.hosts[slot].is_up() {
            return Ok(());
        }
        self.tally.frames += 1;
        if self.trace.is_some() {
            let text = notation::envelope(&envelope);
            self.say(&text);
        }
        if matches!(envelope.message, Message::TimeoutNow) {
            self.told_to_campaign = Some(self.now);
        }
        self.input(slot, Input::Peer(envelope))
    }

    /// Something for a process to take; it gets to it soon, unless it is stopped.
    pub(super) fn input(&mut self, slot: Slot, input: Input) -> Result<(), Violation> {
        let longest = self.plan.knobs.loop_latency_max;
        let host = &mut self.hosts[slot];
        if host.node.is_none() {
            return Ok(());
        }
        host.inbox.push(input);
        if host.step_due || !host.runs() {
            return Ok(());
        }
        if longest == 0 || self.healing.since.is_some() {
            return self.step(slot);
        }
        host.step_due = true;
        let (latency, life) = (host.rng.between(0, longest), host.life);
        self.after(latency, Happening::Step(slot, life));
        Ok(())
    }

    fn wake(&mut self, slot: Slot) -> Result<(), Violation> {
        let host = &mut self.hosts[slot];
        if self.now < host.wake_at {
            return Ok(());
        }
        host.wake_at = Micros::MAX;
        let due = host.node.as_ref().is_some_and(|n| n.deadline() <= host.clock.read(self.now));
        if due {
            return self.input(slot, Input::Tick);
        }
        self.schedule_wake(slot);
        Ok(())
    }

    /// Sees to it that the process is woken when it wants to be.
    pub(super) fn schedule_wake(&mut self, slot: Slot) {
        let host = &mut self.hosts[slot];
        let Some(node) = &host.node else { return };
        let when = host.clock.when(node.deadline());
        if when < host.wake_at {
            host.wake_at = when.max(self.now);
            let life = host.life;
            self.at(when, Happening::Wake(slot, life));
        }
    }

    fn synced(&mut self, slot: Slot) -> Result<(), Violation> {
        let host = &mut self.hosts[slot];
        let last = host.disk.finish_sync(&mut host.rng)?;
        self.sync_if_idle(slot);
        let Some((term, seq)) = last else { return Ok(()) };
        self.tally.syncs += 1;
        self.input(slot, Input::Durable { term, seq })
    }

    fn sync_if_idle(&mut self, slot: Slot) {
        let [shortest, longest] = self.plan.knobs.sync;
        let longest = if self.healing.since.is_some() { shortest } else { longest };
        let host = &mut self.hosts[slot];
        if host.disk.start_sync() {
            let usual = host.rng.between(shortest, longest);
            let slow = host.slow.values().max().map_or(0, |&slow| host.rng.between(0, slow));
            let life = host.life;
            self.after(usual + slow, Happening::Synced(slot, life));
        }
    }

    /// The process takes all that came in, in one step, and its effects go to the world.
    pub(super) fn step(&mut self, slot: Slot) -> Result<(), Violation> {
        let now = self.now;
        let host = &mut self.hosts[slot];
        host.step_due = false;
        if !host.runs() || host.inbox.is_empty() {
            return Ok(());
        }
        let Some(node) = &mut host.node else { return Ok(()) };
        let mut inputs = std::mem::take(&mut host.inbox);
        let durable = inputs.iter().rev().find_map(|input| {
            if let Input::Durable { seq, .. } = input { Some(*seq) } else { None }
        });
        self.tally.steps += 1;
        self.tally.batches += u64::from(inputs.len() > 1);
        let mut effects = std::mem::take(&mut self.effects);
        let local = host.clock.read(now);
        let before = Before::of(node, local, &inputs);
        node.step(local, inputs.drain(..), &mut effects);
        host.inbox = inputs;
        if let Some(duties) = &mut host.duties {
            duties.on_step(&before, node, &effects, self.safety.latest_led())?;
        }
        if let Some(seq) = durable {
            host.synced = seq;
            self.release(slot)?;
        }
        if before.is_answered() {
            self.check_picture(slot)?;
        }
        self.carry_out(slot, &mut effects)?;
        effects.clear();
        self.effects = effects;
        self.schedule_wake(slot);
        Ok(())
    }

    fn carry_out(&mut self, slot: Slot, effects: &mut Effects) -> Result<(), Violation> {
        for event in effects.events.drain(..) {
            self.event(slot, &event);
        }
        let host = &mut self.hosts[slot];
        if let Some(write) = effects.write.take() {
            self.safety.on_write(host.id, &write, host.disk.written())?;
            say!(self, "{} {}", self.status(slot), notation::write(&write));
            let votes = |record: &Record| matches!(record, Record::HardState { vote: Some(_), .. });
            let votes = write.records.iter().any(votes);
            self.hosts[slot].disk.write(write)?;
            self.trigger(if votes { Trigger::Vote } else { Trigger::Write }, slot);
        }
        self.check(slot)?;
        if let Some(snapshot) = effects.snapshot.take() {
            self.save(slot, snapshot)?;
        }
        for chunk in effects.chunks.drain(..) {
            let life = self.hosts[slot].life;
            let delay = self.hosts[slot].rng.between(0, 5 * MS);
            self.after(delay, Happening::Read(slot, life, chunk));
        }
        for chunk in effects.received.drain(..) {
            self.receive(slot, chunk)?;
        }
        if let Some(index) = effects.purge.take() {
            self.tally.count("log purges");
            self.hosts[slot].disk.purge(index)?;
        }
        self.sync_if_idle(slot);
        for send in effects.sends.drain(..) {
            self.send(slot, send)?;
        }
        for answer in effects.answers.drain(..) {
            self.answer(slot, answer.token, answer.outcome)?;
        }
        Ok(())
    }

    fn event(&mut self, slot: Slot, event: &Event) {
        match event {
            Event::Role { role: Role::Leader, .. } => {
                self.tally.count("leaders elected");
                self.trigger(Trigger::Election, slot);
            }
            Event::Configuration { .. } => {
                self.tally.count("configurations in force");
                self.trigger(Trigger::Configuration, slot);
            }
            Event::SnapshotTaken { .. } => self.tally.count("snapshots taken"),
            Event::SnapshotInstalled { .. } => self.tally.count("snapshots taken over"),
            Event::TransferStarted { .. } => self.tally.count("transfers begun"),
            Event::TransferAborted { .. } => self.tally.count("transfers given up"),
            Event::Readmitted { .. } => {
                self.tally.count("nodes readmitted");
                let host = &mut self.hosts[slot];
                let (life, delay) = (host.life, host.rng.pick(&[0, 100 * MS, 2_000 * MS]));
                self.after(delay, Happening::Noted(slot, life));
            }
            Event::Role { .. } | Event::Leader { .. } => {}
        }
        say!(self, "{} {}", self.status(slot), notation::event(event));
    }

    fn check(&mut self, slot: Slot) -> Result<(), Violation> {
        let World { hosts, safety, .. } = self;
        let host = &hosts[slot];
        let Some(node) = &host.node else { return Ok(()) };
        let keeps = |id: NodeId, entry: EntryId| {
            let holder = &hosts[Self::slot(id)];
            holder.disk.keeps(entry) || holder.wipes > 0
        };
        let committed = safety.committed();
        safety.on_step(host.id, node, host.disk.written(), keeps)?;
        if safety.committed() > committed {
            for (id, node) in hosts.iter().filter_map(|it| Some((it.id, it.node.as_ref()?))) {
                safety.check_leader(id, node)?;
            }
        }
        Ok(())
    }

    /// Lets go what waited for the disk.
    fn release(&mut self, slot: Slot) -> Result<(), Violation> {
        let host = &mut self.hosts[slot];
        let synced = host.synced;
        let free = |send: &mut Send| send.after.is_none_or(|after| after <= synced);
        let released: Vec<Send> = host.held.extract_if(.., free).collect();
        released.into_iter().try_for_each(|send| self.leave(send.envelope))
    }

    fn send(&mut self, slot: Slot, send: Send) -> Result<(), Violation> {
        let host = &mut self.hosts[slot];
        if let Some(after) = send.after {
            let asked = host.disk.was_asked(after);
            ensure!(
                asked,
                "effects contract",
                "n{} waits for a write {after} not asked for",
                host.id
            );
            if after > host.synced && self.sabotage != Sabotage::AckBeforeSync {
                host.held.push(send);
                return Ok(());
            }
            // The same, seen from the other side: whatever leaves is durable.
            let kept = host.disk.is_durable(after) || self.sabotage != Sabotage::None;
            ensure!(
                kept,
                "effects contract",
                "n{}: a message leaves before write {after}",
                host.id
            );
        }
        self.leave(send.envelope)
    }

    fn leave(&mut self, envelope: Envelope) -> Result<(), Violation> {
        let directory = self.hosts[Self::slot(envelope.from)].disk.incarnation;
        self.safety.on_leave(&envelope, directory)?;
        self.check_promise(&envelope)?;
        match self.network.send(self.now, &envelope) {
            Fate::Cut => self.tally.count("frames lost in a cut"),
            Fate::Lost => self.tally.count("frames lost"),
            Fate::Held => self.tally.count("frames held by a link"),
            Fate::Arrives { at, again, late } => {
                if late {
                    self.tally.count("frames held for seconds");
                }
                if let Some(again) = again {
                    self.tally.count("frames duplicated");
                    self.at(again, Happening::Arrive(envelope.clone()));
                }
                self.at(at, Happening::Arrive(envelope));
            }
        }
        Ok(())
    }

    fn answer(&mut self, slot: Slot, token: Token, outcome: Outcome) -> Result<(), Violation> {
        let asking = self.asking.remove(&token);
        let Some((_, _, asked)) = asking else {
            let evidence = format!("n{} answers {token} again: {outcome:?}", self.hosts[slot].id);
            return Err(Violation::new("each request is answered once", evidence));
        };
        say!(self, "{} answers {}", self.status(slot), notation::outcome(&outcome));
        self.safety.on_answer(&asked, &outcome)?;
        match asked {
            Asked::Admin => self.tally_admin(&outcome),
            Asked::Write(_) | Asked::Read { .. } => self.on_answer(token, slot, outcome),
        }
        Ok(())
    }

    /// Who leads the highest term, of those whose process runs.
    pub(super) fn leader(&self) -> Option<Slot> {
        let leads = |&slot: &Slot| {
            let host = &self.hosts[slot];
            host.runs() && host.node.as_ref().is_some_and(|node| node.role() == Role::Leader)
        };
        let term = |slot: &Slot| self.hosts[*slot].node.as_ref().map_or(0, Node::term);
        (0..self.hosts.len()).filter(leads).max_by_key(term)
    }

    /// Highest index known to be committed by anybody.
    pub(super) fn committed(&self) -> Index {
        self.safety.committed()
    }
}
