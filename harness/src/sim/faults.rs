//! The plan's items as they come due: what breaks, whom it hits by then, and what operators ask for.

use std::collections::BTreeSet;
use std::sync::Arc;

use raft_core::effects::{Outcome, Role};
use raft_core::membership::{Address, Change, Configuration};
use raft_core::node::{Input, Node};
use raft_core::types::NodeId;

use super::Sabotage;
use super::network::Link;
use super::notation;
use super::plan::{Admin, Fault, Item, Shape, Trigger, Victim, What};
use super::rng::{Micros, Rng};
use super::safety::Asked;
use super::violation::Violation;
use super::world::{Happening, Slot, World, say};

/// A fault that has not ended.
#[derive(Debug)]
pub(super) enum Active {
    Down(Vec<Slot>),
    Paused(Slot),
    Cut(Vec<Link>),
    Held(Vec<Link>),
    Slow(Slot),
    BadSnapshots(Slot),
    Storm,
}

impl World<'_> {
    /// An item of the plan is due.
    pub(super) fn item(&mut self, position: usize) -> Result<(), Violation> {
        let plan = self.plan;
        let Item { number, what, .. } = &plan.items[position];
        match what {
            What::Operation(operation) => {
                self.operate(*number, operation);
                Ok(())
            }
            What::Admin { what, draw } => self.admin(*what, *draw),
            What::Fault { fault, when: Trigger::None } => self.strike(*number, fault, None),
            What::Fault { when, .. } => {
                self.armed.insert(*number, (*when, position));
                Ok(())
            }
        }
    }

    /// What some faults wait for has happened.
    pub(super) fn trigger(&mut self, trigger: Trigger, slot: Slot) {
        let waits = |_: &u64, (waits_for, _): &mut (Trigger, usize)| *waits_for == trigger;
        let fired: Vec<_> = self.armed.extract_if(.., waits).collect();
        for (_, (_, position)) in fired {
            self.after(0, Happening::Fire(position, slot));
        }
    }

    /// What a fault waits for has happened here.
    pub(super) fn fire(&mut self, position: usize, slot: Slot) -> Result<(), Violation> {
        let plan = self.plan;
        let Item { number, what: What::Fault { fault, .. }, .. } = &plan.items[position] else {
            return Ok(());
        };
        self.tally.count("faults triggered");
        self.strike(*number, fault, Some(slot))
    }

    fn strike(&mut self, number: u64, fault: &Fault, at: Option<Slot>) -> Result<(), Violation> {
        if self.healing.since.is_some() {
            return Ok(());
        }
        let Some(active) = self.begin_fault(number, fault, at)? else { return Ok(()) };
        self.tally.count(fault.name());
        self.active.insert(number, active);
        self.after(fault.lasts(), Happening::End(number));
        Ok(())
    }

    fn victim(&self, victim: Victim) -> Option<Slot> {
        match victim {
            Victim::Node(id) => Some(Self::slot(id)),
            Victim::Leader => self.leader(),
        }
    }

    /// `None`: it hits nobody, or has no duration.
    fn begin_fault(
        &mut self,
        number: u64,
        fault: &Fault,
        at: Option<Slot>,
    ) -> Result<Option<Active>, Violation> {
        let hit = match fault {
            Fault::Crash { victim, .. }
            | Fault::Wipe { victim, .. }
            | Fault::Pause { victim, .. }
            | Fault::Cut { victim, .. }
            | Fault::Hold { victim, .. }
            | Fault::SlowDisk { victim, .. }
            | Fault::BadSnapshots { victim, .. }
            | Fault::ClockJump { victim, .. } => at.or_else(|| self.victim(*victim)),
            Fault::CrashAll { .. } | Fault::Storm { .. } => Some(0),
        };
        let Some(slot) = hit else { return Ok(None) };
        let (id, name) = (self.hosts[slot].id, fault.name());
        match fault {
            Fault::Crash { .. } if self.hosts[slot].is_up() => {
                self.crash(slot)?;
                Ok(Some(Active::Down(vec![slot])))
            }
            Fault::CrashAll { .. } => {
                let up = (0..self.hosts.len()).filter(|&slot| self.hosts[slot].is_up());
                let up: Vec<Slot> = up.collect();
                up.iter().try_for_each(|&slot| self.crash(slot))?;
                Ok(Some(Active::Down(up)))
            }
            Fault::Wipe { .. } if self.hosts[slot].is_up() && self.may_lose(id) => {
                self.crash(slot)?;
                self.hosts[slot].wipe();
                say!(self, "n{id} has lost its directory");
                Ok(Some(Active::Down(vec![slot])))
            }
            Fault::Pause { .. } if self.hosts[slot].is_up() => {
                say!(self, "{} is stopped", self.status(slot));
                self.hosts[slot].pauses.insert(number);
                Ok(Some(Active::Paused(slot)))
            }
            // It is down already, or cannot be spared.
            Fault::Crash { .. } | Fault::Wipe { .. } | Fault::Pause { .. } => Ok(None),
            Fault::Cut { shape, draw, .. } | Fault::Hold { shape, draw, .. } => {
                let links = self.links(*shape, id, *draw);
                say!(self, "{name}: {links:?}");
                if matches!(fault, Fault::Cut { .. }) {
                    self.network.cut(&links);
                    Ok(Some(Active::Cut(links)))
                } else {
                    self.network.hold(&links);
                    Ok(Some(Active::Held(links)))
                }
            }
            Fault::SlowDisk { sync, .. } => {
                say!(self, "n{id}: {name}");
                self.hosts[slot].slow.insert(number, *sync);
                Ok(Some(Active::Slow(slot)))
            }
            Fault::BadSnapshots { .. } => {
                say!(self, "n{id}: {name}");
                self.hosts[slot].bad_snapshots.insert(number);
                Ok(Some(Active::BadSnapshots(slot)))
            }
            Fault::ClockJump { by, .. } => {
                say!(self, "n{id}: the clock leaps by {by} us");
                self.tally.count(name);
                self.hosts[slot].clock.leap(*by);
                self.schedule_wake(slot);
                Ok(None)
            }
            Fault::Storm { weather, .. } => {
                say!(self, "{weather:?}");
                self.network.storm(number, *weather);
                Ok(Some(Active::Storm))
            }
        }
    }

    /// A fault has lasted long enough, or everything heals.
    pub(super) fn end_fault(&mut self, number: u64) -> Result<(), Violation> {
        let Some(active) = self.active.remove(&number) else { return Ok(()) };
        match active {
            Active::Down(slots) => {
                for slot in slots {
                    if !self.hosts[slot].is_up() {
                        self.start(slot)?;
                    }
                }
            }
            Active::Paused(slot) => {
                self.hosts[slot].pauses.remove(&number);
                say!(self, "{} goes on", self.status(slot));
                self.step(slot)?;
                self.schedule_wake(slot);
            }
            Active::Cut(links) => {
                self.network.repair(&links);
                say!(self, "repaired: {links:?}");
            }
            Active::Held(links) => {
                say!(self, "released: {links:?}");
                for envelope in self.network.release(&links) {
                    self.after(1, Happening::Arrive(envelope));
                }
            }
            Active::Slow(slot) => {
                self.hosts[slot].slow.remove(&number);
            }
            Active::BadSnapshots(slot) => {
                self.hosts[slot].bad_snapshots.remove(&number);
            }
            Active::Storm => self.network.calm(number),
        }
        Ok(())
    }

    /// The process dies; of what it had not synced, some may be on the disk.
    fn crash(&mut self, slot: Slot) -> Result<(), Violation> {
        say!(self, "{} crashes", self.status(slot));
        let sabotage = self.sabotage;
        let host = &mut self.hosts[slot];
        let unsynced = host.disk.unsynced_records();
        let survivors = if host.rng.chance(500) { 0 } else { host.rng.between(0, unsynced) };
        host.disk.crash(survivors)?;
        if sabotage == Sabotage::ForgetSynced {
            host.disk.forget_synced(2);
        }
        let (id, life) = (host.id, host.life);
        host.end_life();
        self.asking.retain(|_, (asked, of, _)| (*asked, *of) != (slot, life));
        self.safety.on_crash(id);
        if survivors < unsynced {
            self.tally.count("crashes that lost records");
        }
        if survivors > 0 && survivors < unsynced {
            self.tally.count("crashes that tore a write");
        }
        Ok(())
    }

    /// Whether the others can do without what this node has: by every configuration that may come to rule, what is
    /// there still decides.
    fn may_lose(&self, id: NodeId) -> bool {
        self.safety.open_configs().all(|config| self.tolerates(config, Some(id)))
    }

    /// Whether a quorum has its directories, if this one loses its own, and even if all learners had votes.
    fn tolerates(&self, config: &Configuration, loses: Option<NodeId>) -> bool {
        let has = |id: NodeId| loses != Some(id) && !self.hosts[Self::slot(id)].is_lost_by(config);
        let everyone = Configuration::founding(config.members().keys().copied().collect());
        let voters = config.voters();
        voters.is_empty() || config.is_quorum(has) && everyone.is_quorum(has)
    }

    fn links(&self, shape: Shape, id: NodeId, draw: u64) -> Vec<Link> {
        let mut rng = Rng::stream(draw, &[5]);
        let ids: Vec<NodeId> = self.hosts.iter().map(|host| host.id).collect();
        let side: Vec<u64> = ids.iter().map(|_| rng.below(6)).collect();
        let part = |id: NodeId, parts: u64| side[Self::slot(id)] % parts;
        let (other, way) = (rng.pick(&ids), rng.chance(500));
        let count = u64::try_from(ids.len()).expect("few nodes");
        let is_cut = |&(from, to): &Link| match shape {
            Shape::Isolate => from == id || to == id,
            Shape::Deaf => to == id,
            Shape::Mute => from == id,
            Shape::OneWay => (from, to) == if way { (id, other) } else { (other, id) },
            Shape::Pair => (from, to) == (id, other) || (to, from) == (id, other),
            Shape::Halves => part(from, 2) != part(to, 2),
            Shape::Thirds => part(from, 3) != part(to, 3),
            Shape::Bridge => from != id && to != id && part(from, 2) != part(to, 2),
            Shape::Ring => (from + 1) % count != to % count && (to + 1) % count != from % count,
            Shape::Mesh => Rng::stream(draw, &[6, from, to]).chance(if way { 300 } else { 600 }),
        };
        let all = ids.iter().flat_map(|&from| ids.iter().map(move |&to| (from, to)));
        all.filter(|(from, to)| from != to).filter(is_cut).collect()
    }

    /// An operator asks whoever seems to lead.
    fn admin(&mut self, what: Admin, draw: u64) -> Result<(), Violation> {
        let mut rng = Rng::stream(draw, &[7]);
        let running = (0..self.hosts.len()).filter(|&slot| self.hosts[slot].runs());
        let running: Vec<Slot> = running.collect();
        let Some(anyone) = rng.choose(&running) else { return Ok(()) };
        let slot = if what == Admin::Snapshot { anyone } else { self.leader().unwrap_or(anyone) };
        let token = self.clients.next_token();
        let input = match what {
            Admin::Snapshot => Input::TakeSnapshot { token },
            Admin::Transfer => {
                let config = self.hosts[slot].config();
                let voters: Vec<NodeId> = config.voters().into_iter().collect();
                let to = if rng.chance(500) { rng.choose(&voters) } else { None };
                Input::Transfer { token, to }
            }
            Admin::Add | Admin::Promote | Admin::Remove | Admin::RemoveLeader | Admin::Set => {
                let Some(change) = self.change(what, slot, &mut rng) else { return Ok(()) };
                say!(self, "{} is asked to change: {change:?}", self.status(slot));
                Input::Change { token, change }
            }
        };
        self.tally.count(what.name());
        say!(self, "{} is asked for: {}", self.status(slot), what.name());
        self.asking.insert(token, (slot, self.hosts[slot].life, Asked::Admin));
        // At once: what may be lost meanwhile was asked by today's state.
        self.hosts[slot].inbox.push(input);
        self.step(slot)
    }

    /// A change that makes sense here, and that those can decide who have their directories.
    fn change(&self, what: Admin, slot: Slot, rng: &mut Rng) -> Option<Change> {
        let config: Arc<Configuration> = self.hosts[slot].config();
        let (leader, voters) = (self.hosts[slot].id, config.voters());
        let change = match what {
            Admin::Add => {
                let strangers: Vec<Slot> = (0..self.hosts.len())
                    .filter(|&slot| config.member(self.hosts[slot].id).is_none())
                    .collect();
                let host = &self.hosts[rng.choose(&strangers)?];
                let address = Address { peer: format!("n{}", host.id), client: String::new() };
                Change::AddLearner { id: host.id, address, incarnation: host.disk.incarnation }
            }
            Admin::Promote => {
                let learners: Vec<NodeId> = config.learners().iter().copied().collect();
                Change::Promote { id: rng.choose(&learners)? }
            }
            Admin::RemoveLeader => Change::Remove { id: leader },
            Admin::Set => {
                let mut voters = BTreeSet::new();
                for &id in config.members().keys() {
                    if rng.chance(650) {
                        voters.insert(id);
                    }
                }
                Change::Set { voters }
            }
            Admin::Remove | Admin::Transfer | Admin::Snapshot => {
                let others: Vec<NodeId> =
                    config.members().keys().copied().filter(|&id| id != leader).collect();
                Change::Remove { id: rng.choose(&others)? }
            }
        };
        let next = config.after(&change).ok()?;
        let fewer = next.incoming().len() < voters.len();
        let too_few = fewer && next.incoming().len() < 2 && !rng.chance(200);
        let harmless = what == Admin::Add || self.tolerates(&next, None);
        (!too_few && harmless).then_some(change)
    }

    /// An operator is answered.
    pub(super) fn tally_admin(&mut self, outcome: &Outcome) {
        self.tally.count(match outcome {
            Outcome::Changed { .. } => "changes done",
            Outcome::ChangeRefused(_) => "changes refused",
            Outcome::Transferred { .. } => "transfers done",
            Outcome::TransferFailed(_) => "transfers failed",
            Outcome::SnapshotTaken { .. } => "snapshots on demand done",
            Outcome::NotLeader { .. } | Outcome::Transferring { .. } => "operators sent elsewhere",
            Outcome::Written(_)
            | Outcome::Read { .. }
            | Outcome::Overloaded
            | Outcome::LeadershipLost
            | Outcome::ReadFailed
            | Outcome::SnapshotFailed => "operators left in doubt",
        });
    }
}

/// How far a node is, in a few words.
pub(super) fn sketch(node: &Node) -> String {
    let view = node.view();
    let lead =
        if view.role == Role::Leader { format!(" {:?}", view.followers) } else { String::new() };
    format!(
        "{} t{} leader {:?} commit {} last {} first {} {} config {}{lead}",
        view.role.name(),
        view.term,
        view.leader,
        view.commit,
        view.last,
        view.first,
        notation::configuration(&view.config),
        view.config_index
    )
}

/// Longest time that anything waits, for a plan.
pub(super) fn patience(election_max: Micros) -> Micros {
    election_max * 60
}
