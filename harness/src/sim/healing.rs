//! The end of a run: all faults stop, and within a bounded time everything must be well again. A cluster that is stuck is
//! as broken as one that lies.

use raft_core::effects::Role;
use raft_core::node::{Node, Standing, View};
use raft_core::types::{NodeId, Term};

use super::clients::State;
use super::duties::is_quorum;
use super::faults::{patience, sketch};
use super::network::Link;
use super::plan::{Kind, MS};
use super::rng::{Micros, Rng};
use super::violation::{Violation, ensure};
use super::world::{Happening, Slot, World, say};
use crate::workload::{Object, Operation};

/// How far the healing is.
#[derive(Debug, Default)]
pub(super) struct Healing {
    /// When it began.
    pub(super) since: Option<Micros>,
    /// Operations that must succeed in the end; empty: not begun yet.
    probes: Vec<usize>,
    /// Writes among them, also those that found their session expired.
    writes: u64,
    /// The cluster is well, and left alone but for one node that hears nothing for a while.
    quiet: Option<Quiet>,
    /// Everything was well, and the history holds.
    pub(super) is_done: bool,
}

/// A time in which nothing may change.
#[derive(Debug)]
struct Quiet {
    leader: Slot,
    term: Term,
    /// The links to the node that hears nothing; none any more in the second half.
    deaf: Vec<Link>,
    /// When it began.
    since: Micros,
}

/// How long a node hears nothing at the end, and how long it is watched after that, in election timeouts.
const QUIET_TIMEOUTS: u64 = 2;

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
        if self.healing.quiet.is_some() {
            return self.listen();
        }
        let since = self.healing.since.expect("looks come after the healing has begun");
        let patience = patience(self.plan.knobs.election_max);
        self.probe_again(patience);
        let trouble = self.trouble();
        if trouble.is_none() {
            if self.healing.probes.is_empty() {
                self.probe(patience);
            } else if self.now > self.network.late_until() {
                // Until then frames of before the healing may come. A grant of an earlier pre-vote, say, lets who is
                // campaigning again win against a leader that is well. They are through long before patience ends.
                self.fall_silent();
                return Ok(());
            }
        }
        if self.now > since + patience && self.is_beyond_help() {
            self.tally.count("stuck: lost more than can be tolerated");
            return self.finish();
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

    /// Whether nobody could win an election, because of those who lost their directories while a change of members was
    /// under way: more was lost by then than the protocol can bear.
    fn is_beyond_help(&self) -> bool {
        let views = self.hosts.iter().filter_map(|host| Some(host.node.as_ref()?.view()));
        let (intact, lost): (Vec<_>, Vec<_>) =
            views.partition(|view| view.standing == Standing::Full);
        let is_robbed = |view: &View| self.hosts[Self::slot(view.id)].wipes > 0;
        let could_win = |candidate: &View| {
            let elects = |voter: &View| voter.last <= candidate.last;
            let is_for = |id| intact.iter().any(|view| view.id == id && elects(view));
            // A learner does not stand for election, even if it has the longest log and the others would have it.
            candidate.config.is_voter(candidate.id) && is_quorum(&candidate.config, is_for)
        };
        lost.iter().any(is_robbed) && !intact.iter().any(could_win)
    }

    /// Leaves the cluster alone, but for one node that hears nothing for a while: it can be done without.
    fn fall_silent(&mut self) {
        let Some(leader) = self.leader() else { return };
        let Some(view) = self.hosts[leader].node.as_ref().map(Node::view) else { return };
        let spared: Vec<NodeId> = self
            .hosts
            .iter()
            .map(|host| host.id)
            .filter(|&id| id != view.id && is_quorum(&view.config, |voter| voter != id))
            .collect();
        let deaf = Rng::stream(self.plan.seed, &[10]).choose(&spared);
        let others = self.hosts.iter().map(|host| host.id);
        let deaf: Vec<Link> = deaf.map_or(Vec::new(), |to| others.map(|from| (from, to)).collect());
        say!(self, "all is well and stays so; nothing comes by {deaf:?}");
        self.network.cut(&deaf);
        self.healing.quiet = Some(Quiet { leader, term: view.term, deaf, since: self.now });
        self.after(QUIET_TIMEOUTS * self.plan.knobs.election_max, Happening::Look);
    }

    /// Half of the quiet time is over, or all of it.
    fn listen(&mut self) -> Result<(), Violation> {
        let Some(quiet) = &mut self.healing.quiet else { return Ok(()) };
        let deaf = std::mem::take(&mut quiet.deaf);
        let (leader, term, since) = (quiet.leader, quiet.term, quiet.since);
        if !deaf.is_empty() {
            self.network.repair(&deaf);
            say!(self, "repaired: {deaf:?}");
            self.after(QUIET_TIMEOUTS * self.plan.knobs.election_max, Happening::Look);
            return Ok(());
        }
        // A word of an earlier hand-over may have come out of a link that held it back: whoever gets it may campaign at once
        // (Thesis §3.10), and does no wrong.
        let is_handed_over =
            self.told_to_campaign.is_some_and(|at| at + self.plan.knobs.loop_latency_max >= since);
        let now =
            self.leader().and_then(|slot| Some((slot, self.hosts[slot].node.as_ref()?.term())));
        ensure!(
            now == Some((leader, term)) || is_handed_over,
            "a cluster that is well keeps its leader",
            "n{} led term {term}, and now {}",
            self.hosts[leader].id,
            now.map_or("nobody leads".to_owned(), |(slot, term)| {
                format!("n{} leads term {term}", self.hosts[slot].id)
            })
        );
        self.finish()
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
            Object::Append => (Kind::Append, Operation::Append { key, token: value }),
            Object::Counter => (Kind::Incr, Operation::Incr { key, by: 1 }),
            // The rest is not simulated.
            Object::Register
            | Object::CasRegister
            | Object::Set
            | Object::MultiRegister
            | Object::FifoQueue
            | Object::Mutex => (Kind::Write, Operation::Write { key, value }),
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
