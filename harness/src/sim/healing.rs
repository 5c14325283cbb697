//! The end of a run: all faults stop, and within a bounded time everything must be well again. A cluster that is stuck is
//! as broken as one that lies.

use history_checker::model::Model;
use raft_core::effects::Role;
use raft_core::node::{Node, Standing};

use super::clients::State;
use super::faults::{patience, sketch};
use super::plan::{Kind, MS};
use super::rng::{Micros, Rng};
use super::violation::Violation;
use super::world::{Happening, Slot, World, say};
use crate::workload::Operation;

/// How far the healing is.
#[derive(Debug, Default)]
pub(super) struct Healing {
    /// When it began.
    pub(super) since: Option<Micros>,
    /// Operations that must succeed in the end; empty: not begun yet.
    probes: Vec<usize>,
    /// Writes among them, also those that found their session expired.
    writes: u64,
    /// Everything was well, and the history holds.
    pub(super) is_done: bool,
}

/// How often it is looked whether all is well.
const LOOK_EVERY: Micros = 200 * MS;

impl World<'_> {
    /// All faults end, and whoever is down starts.
    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        say!(self, "everything heals");
        self.clients.phase(self.now, "heal");
        self.healing.since = Some(self.now);
        self.network.heal();
        self.armed.clear();
        let active: Vec<u64> = self.active.keys().copied().collect();
        active.into_iter().try_for_each(|number| self.end_fault(number))?;
        for slot in 0..self.hosts.len() {
            if !self.hosts[slot].is_up() {
                self.start(slot)?;
            }
        }
        self.after(LOOK_EVERY, Happening::Look);
        Ok(())
    }

    /// Is all well by now?
    pub(super) fn look(&mut self) -> Result<(), Violation> {
        let since = self.healing.since.expect("looks come after the healing has begun");
        let patience = patience(self.plan.knobs.election_max);
        self.probe_again(patience);
        let trouble = self.trouble();
        if trouble.is_none() {
            if self.healing.probes.is_empty() {
                self.probe(patience);
            } else {
                return self.finish();
            }
        }
        if self.now > since + patience {
            let trouble = trouble.unwrap_or_else(|| "probes are not answered".to_owned());
            let nodes = self.hosts.iter().filter_map(|host| {
                Some(format!(
                    "\n  n{} {:?}: {}",
                    host.id,
                    host.disk.standing,
                    sketch(host.node.as_ref()?)
                ))
            });
            let nodes: String = nodes.collect();
            return Err(Violation::new(
                format!("recovers: {}", class(&trouble)),
                format!("{} ms after the last fault: {trouble}{nodes}", (self.now - since) / MS),
            ));
        }
        self.after(LOOK_EVERY, Happening::Look);
        Ok(())
    }

    /// A write, and a read of every key at every member: these must succeed.
    fn probe(&mut self, timeout: Micros) {
        say!(self, "the members agree; now they must serve");
        self.clients.phase(self.now, "final");
        let Some(leader) = self.leader() else { return };
        let config = self.hosts[leader].config();
        let mut rng = Rng::stream(self.plan.seed, &[8]);
        let mut probes = vec![self.probe_write(timeout)];
        for key in 0..self.plan.knobs.keys {
            for &id in config.members().keys() {
                let read = Operation::Read { key: format!("k{key}") };
                let draw = Rng::stream(rng.next(), &[]);
                probes.push(self.begin(0, Kind::Read, read, Some(id), timeout, draw));
            }
        }
        self.healing.probes = probes;
    }

    fn probe_write(&mut self, timeout: Micros) -> usize {
        self.healing.writes += 1;
        let (key, value) = ("k0".to_owned(), format!("last-{}", self.healing.writes));
        let (kind, write) = match self.plan.model {
            Model::Append => (Kind::Append, Operation::Append { key, token: value }),
            Model::Counter => (Kind::Incr, Operation::Incr { key, by: 1 }),
            Model::Register | Model::CasRegister => (Kind::Write, Operation::Write { key, value }),
        };
        let draw = Rng::stream(self.plan.seed, &[9, self.healing.writes]);
        self.begin(0, kind, write, None, timeout, draw)
    }

    /// A client whose session has expired goes on with a new one.
    fn probe_again(&mut self, timeout: Micros) {
        let Some(&write) = self.healing.probes.first() else { return };
        if !matches!(self.clients.operations[write].state, State::Ok | State::Open) {
            self.healing.probes[0] = self.probe_write(timeout);
        }
    }

    fn finish(&mut self) -> Result<(), Violation> {
        self.clients.phase(self.now, "end");
        self.healing.is_done = true;
        let terms = u64::try_from(self.safety.terms_led()).expect("memory is smaller");
        self.tally.add("terms with a leader", terms);
        self.tally.add("suffixes voided", self.safety.voided);
        self.tally.add("entries committed", self.committed());
        if self.clients.judge(self.plan)?.is_none() {
            self.tally.count("histories that prove nothing");
        }
        Ok(())
    }

    /// What is not well; `None`: everything is.
    fn trouble(&self) -> Option<String> {
        let Some(slot) = self.leader() else { return Some("no leader".to_owned()) };
        let leader = self.hosts[slot].node.as_ref()?;
        let view = leader.view();
        let of = self.hosts[slot].id;
        if view.config.is_joint() || view.config_index > view.commit {
            return Some(format!("change under way: n{of} has not ended it"));
        }
        if let Some((id, _)) = view.config.members().iter().find(|(_, member)| member.returning) {
            return Some(format!("vote not given back: to n{id}"));
        }
        if view.transferring.is_some() {
            return Some(format!("transfer under way: from n{of}"));
        }
        for &id in view.config.members().keys() {
            let host = &self.hosts[Self::slot(id)];
            let node = host.node.as_ref()?;
            if let Some(trouble) = self.straggles(node, leader) {
                return Some(format!("{trouble}: n{id} with leader n{of}"));
            }
            if host.disk.standing != Standing::Full {
                return Some(format!("not readmitted: n{id}"));
            }
        }
        let open = |&probe: &usize| self.clients.operations[probe].state != State::Ok;
        if let Some(probe) = self.healing.probes.iter().copied().find(open) {
            let probe = &self.clients.operations[probe];
            return Some(format!("probe not answered: {probe:?}"));
        }
        self.unanswered()
    }

    /// What tells a member from its leader.
    fn straggles(&self, node: &Node, leader: &Node) -> Option<&'static str> {
        let knobs = &self.plan.knobs;
        let view = node.view();
        let state = |node: &Node| (node.commit(), node.log().last(), node.store().state_hash());
        // Entries of changes and no-ops count as well, and what arrives while a snapshot is written.
        let policy = knobs.compaction;
        let due = policy
            .log_bytes_min
            .max(view.snapshot_bytes.saturating_mul(policy.log_percent_of_snapshot) / 100);
        let bound =
            due.saturating_add(policy.trailing_bytes).saturating_mul(4).saturating_add(4_000);
        if node.term() != leader.term() {
            Some("another term")
        } else if (node.role() == Role::Leader) != std::ptr::eq(node, leader) {
            Some("another leader")
        } else if state(node) != state(leader) || node.commit() != node.log().last().index {
            Some("another log")
        } else if view.config != leader.view().config {
            Some("another configuration")
        } else if node.log().bytes() > bound {
            Some("the log is not compacted")
        } else {
            None
        }
    }

    /// Whoever asked a process that lives is answered in the end.
    fn unanswered(&self) -> Option<String> {
        let lives = |slot: Slot, life: u64| self.hosts[slot].life == life;
        let open = self.asking.values().find(|(slot, life, _)| lives(*slot, *life));
        open.map(|(slot, _, asked)| format!("no answer: n{} to {asked:?}", self.hosts[*slot].id))
    }
}

/// What kind of trouble it is, without names and numbers.
fn class(trouble: &str) -> &str {
    trouble.split_once(':').map_or(trouble, |(class, _)| class)
}
