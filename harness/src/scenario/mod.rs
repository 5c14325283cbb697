//! Scenarios: what a workload is, as `workloads/*.toml` say it.
//!
//! A scenario file's first comment states its hypothesis and the expected verdict. The built-in ones are compiled in,
//! so that `harness run NAME` works anywhere; `harness run ./mine.toml` runs a user's own.

mod fields;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use history_checker::history::{Limits, Minima};
use history_checker::results::Verdict;
use raftctl::Consistency;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use toml::Spanned;

use self::fields::{
    a_tenth_of_a_second, accounts, ascending, balance, between, decided, duration, eight_seconds,
    fault_kinds, file_name, half_a_minute, lease_drift_percent, model, number_of_keys, one_second,
    snapshot_log_bytes, some_duration, three, value_bytes,
};
use crate::nemesis as fault;
use crate::terminal;
use crate::workload::{self, F, Object};

/// The scenarios that the harness brings along, in the order in which `harness run all` runs them.
const BUILT_IN: [(&str, &str); 35] = [
    ("register.toml", include_str!("../../../workloads/register.toml")),
    ("cas-register.toml", include_str!("../../../workloads/cas-register.toml")),
    ("append.toml", include_str!("../../../workloads/append.toml")),
    ("counter.toml", include_str!("../../../workloads/counter.toml")),
    ("set.toml", include_str!("../../../workloads/set.toml")),
    ("transactions.toml", include_str!("../../../workloads/transactions.toml")),
    ("bank.toml", include_str!("../../../workloads/bank.toml")),
    ("mutex.toml", include_str!("../../../workloads/mutex.toml")),
    ("lock-fencing.toml", include_str!("../../../workloads/lock-fencing.toml")),
    ("queue.toml", include_str!("../../../workloads/queue.toml")),
    ("leader-election.toml", include_str!("../../../workloads/leader-election.toml")),
    ("failover.toml", include_str!("../../../workloads/failover.toml")),
    ("idle.toml", include_str!("../../../workloads/idle.toml")),
    ("even-size.toml", include_str!("../../../workloads/even-size.toml")),
    ("many-clients.toml", include_str!("../../../workloads/many-clients.toml")),
    ("pipelined.toml", include_str!("../../../workloads/pipelined.toml")),
    ("many-keys.toml", include_str!("../../../workloads/many-keys.toml")),
    ("large-values.toml", include_str!("../../../workloads/large-values.toml")),
    ("power-loss.toml", include_str!("../../../workloads/power-loss.toml")),
    ("corruption.toml", include_str!("../../../workloads/corruption.toml")),
    ("slow-disk.toml", include_str!("../../../workloads/slow-disk.toml")),
    ("asymmetric.toml", include_str!("../../../workloads/asymmetric.toml")),
    ("partial-mesh.toml", include_str!("../../../workloads/partial-mesh.toml")),
    ("bad-network.toml", include_str!("../../../workloads/bad-network.toml")),
    ("process.toml", include_str!("../../../workloads/process.toml")),
    ("upgrade.toml", include_str!("../../../workloads/upgrade.toml")),
    ("moments.toml", include_str!("../../../workloads/moments.toml")),
    ("churn.toml", include_str!("../../../workloads/churn.toml")),
    ("snapshot-pressure.toml", include_str!("../../../workloads/snapshot-pressure.toml")),
    ("clock.toml", include_str!("../../../workloads/clock.toml")),
    ("lease.toml", include_str!("../../../workloads/lease.toml")),
    ("calm.toml", include_str!("../../../workloads/calm.toml")),
    ("availability.toml", include_str!("../../../workloads/availability.toml")),
    ("lock-canary.toml", include_str!("../../../workloads/lock-canary.toml")),
    ("stale-canary.toml", include_str!("../../../workloads/stale-canary.toml")),
];

/// The time limit for which a scenario states its minima.
const MINIMA_PER: Duration = Duration::from_secs(30);

/// In a run of at least this time limit, every kind of fault must bite once, whatever the minima say: what was asked for
/// and never happened proves nothing. In a shorter one there is no time for all kinds; the minima alone count.
pub const EACH_FAULT_FROM: Duration = Duration::from_secs(10);

/// The smallest cluster that can do without a node.
const NODES_TO_SPARE_ONE: u64 = 3;

/// Why there is no such scenario.
#[derive(Debug, Error)]
pub enum Error {
    /// No built-in has this name.
    #[error(
        "no workload is called {name:?}; there are {known}, all of them with `all`, and files by path (./mine.toml)"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A kind of fault was asked for by name that so few nodes cannot have.
    #[error(
        "{workload} has {nodes}, and the fault {word} takes at least {needs}: raise --nodes, or leave it out of --faults"
    )]
    Impossible {
        /// The scenario.
        workload: String,
        /// What it has: `2 nodes`.
        nodes: String,
        /// What was asked for.
        word: String,
        /// The fewest nodes for it.
        needs: u64,
    },
    /// The file cannot be read.
    #[error("cannot read scenario {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that makes no sense.
    #[error("{file}:{line}: {message}")]
    Bad {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
}

/// A workload with everything that a run of it needs to know.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of a file")]
pub struct Scenario {
    /// Its name: a directory under `results/`.
    #[serde(deserialize_with = "file_name")]
    pub name: String,
    /// What its histories are held against.
    #[serde(deserialize_with = "model")]
    pub model: Object,
    /// What the verdict should be: `invalid` for a canary, which proves that the bench can see.
    #[serde(deserialize_with = "decided")]
    pub expected: Verdict,
    /// Cluster size.
    #[serde(deserialize_with = "between::<1, 9, _>")]
    pub nodes: u64,
    /// Clients at work at the same time; client i talks to node 1 + i mod nodes.
    #[serde(deserialize_with = "between::<1, 1000, _>")]
    pub clients: u64,
    /// Share of the clients that only read, percent. One that also writes is soon stuck with a write at a leader that
    /// is cut off, and sees nothing while that leader still believes in itself; one that only reads looks on.
    #[serde(deserialize_with = "between::<0, 100, _>", default)]
    pub readers_percent: u64,
    /// Whether all clients of a node are one session, which has many requests on their way at a time then.
    #[serde(default)]
    pub shared_sessions: bool,
    /// Operations a second that all clients together aim at.
    #[serde(deserialize_with = "between::<1, 1_000_000, _>")]
    pub rate: u64,
    /// How fresh reads are asked to be.
    #[serde(default)]
    pub consistency: Consistency,
    /// How long a client waits for an operation, retries included, before it gives up on it.
    #[serde(deserialize_with = "duration", default = "one_second")]
    pub op_timeout: Duration,
    /// How long it waits for one answer before it asks again, under the same name. Short, so that clients find a new
    /// leader while the deposed one may still think that it leads.
    #[serde(deserialize_with = "duration", default = "a_tenth_of_a_second")]
    pub attempt_timeout: Duration,
    /// Share of each kind of operation, for clients that not only read.
    operations: Spanned<BTreeMap<F, u32>>,
    /// The keys.
    #[serde(default)]
    pub keys: Keys,
    /// Multi-register: how many registers a key has.
    #[serde(deserialize_with = "accounts", default = "three")]
    pub registers: usize,
    /// Multi-register: the registers are accounts with so much on each at first, between which money is transferred. What
    /// is on all accounts of a key together never changes.
    #[serde(deserialize_with = "balance", default)]
    pub opening_balance: Option<i64>,
    /// Set: whoever adds to it takes a lock first, reads it, and writes it back as a whole.
    #[serde(default)]
    pub lock: Option<Lock>,
    /// Three of four values are padded to so many bytes on their way to the cluster. The history has them without the
    /// padding, once it was seen to be whole.
    #[serde(deserialize_with = "value_bytes", default)]
    pub value_bytes: Option<usize>,
    /// How long after the death of a leader the first write may take, if the workload is about that.
    #[serde(deserialize_with = "some_duration", default)]
    pub failover: Option<Duration>,
    /// Whether the clients stop when three quarters of the time are over, while the faults go on, so that the cluster has to
    /// find together by itself.
    #[serde(default)]
    pub idle: bool,
    /// Whether all nodes are asked for their status all the time, and who says that it leads is held against what others say.
    #[serde(default)]
    pub poll_status: bool,
    /// Kinds of fault; empty: none.
    #[serde(deserialize_with = "fault_kinds")]
    pub faults: Vec<fault::Kind>,
    /// Moments that faults wait for, each for one of them; empty: they come some time.
    #[serde(default)]
    pub at: Vec<fault::Moment>,
    /// How long each network fault goes on; left out: 0.6 to 0.8 s.
    #[serde(deserialize_with = "some_duration", default)]
    pub network_fault: Option<Duration>,
    /// A snapshot is due when a node's log has grown by this much, bytes; left out: the daemon's own default.
    #[serde(deserialize_with = "snapshot_log_bytes", default)]
    pub snapshot_log_bytes: Option<u64>,
    /// By how much one node's clock may outrun another's, percent: then leaders may serve reads with `lease` by theirs.
    #[serde(deserialize_with = "lease_drift_percent", default)]
    pub lease_drift_percent: Option<u64>,
    /// Whether nodes get disks that can fail even if no fault needs them: to compare speeds, say.
    #[serde(default)]
    pub disk_layer: bool,
    /// Whether the faults must leave a majority alone at every moment. Then somebody can always go on, and must.
    #[serde(default)]
    pub quorum_safe: bool,
    /// The longest time without an acknowledged write while that is so.
    #[serde(deserialize_with = "duration", default = "eight_seconds")]
    pub outage_max: Duration,
    /// How long the cluster may take after the last fault is healed until every node serves again.
    #[serde(deserialize_with = "duration", default = "half_a_minute")]
    pub recovery: Duration,
    /// What must have happened for `valid` to mean something.
    #[serde(default)]
    minima: MinimaPer30s,
    /// The first comment: what is believed, and what should come out. One line.
    #[serde(skip)]
    pub hypothesis: String,
    /// What a command line names it by: its name, or the file's path.
    #[serde(skip)]
    pub argument: String,
    /// The file's text.
    #[serde(skip)]
    pub text: String,
}

/// The keys that a workload uses.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// How many at a time.
    #[serde(deserialize_with = "number_of_keys")]
    pub live: usize,
    /// After how many operations a key is retired for a fresh one: fewest and most.
    #[serde(deserialize_with = "ascending")]
    pub operations: [u32; 2],
}

impl Default for Keys {
    fn default() -> Keys {
        Keys { live: 5, operations: [100, 200] }
    }
}

/// The lock that guards a set. It is a lease: one that was held longer than that may be taken away by the next client,
/// whatever its holder believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// How long a holder may keep it.
    #[serde(deserialize_with = "duration")]
    pub lease: Duration,
    /// How long a holder sleeps now and then, between what it reads and what it writes.
    #[serde(deserialize_with = "duration")]
    pub pause: Duration,
    /// How often it does, percent.
    #[serde(deserialize_with = "between::<0, 100, _>")]
    pub pauses_percent: u64,
    /// Whether a write carries the number of its lock, and is refused if that is not the latest.
    pub fencing: bool,
}

/// The coverage minima as written: for a time limit of [`MINIMA_PER`], and scaled with it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MinimaPer30s {
    /// Operations with `ok`.
    ok: u64,
    /// Leader changes.
    leader_changes: u64,
    /// Faults that bit, of each kind in use.
    each_fault: u64,
}

/// What a command line changes about a scenario.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Another cluster size.
    pub nodes: Option<u64>,
    /// Another number of clients.
    pub clients: Option<u64>,
    /// Another rate.
    pub rate: Option<u64>,
    /// Other kinds of fault; `Some([])` for none.
    pub faults: Option<Vec<fault::Kind>>,
    /// Other moments that faults wait for.
    pub at: Option<Vec<fault::Moment>>,
    /// Whether a majority is to be left alone though the scenario does not ask for it.
    pub quorum_safe: bool,
}

impl Scenario {
    /// The scenarios that a command line names: built-in names, `all`, and paths of files.
    pub fn named(names: &[String]) -> Result<Vec<Scenario>, Error> {
        let mut scenarios = Vec::new();
        for name in names {
            if name == "all" {
                scenarios.extend(Scenario::all_built_in()?);
            } else if name.contains('/') || Path::new(name).extension().is_some() {
                scenarios.push(Scenario::read(Path::new(name))?);
            } else {
                scenarios.push(Scenario::built_in(name)?);
            }
        }
        Ok(scenarios)
    }

    /// The built-in scenario of this name.
    pub fn built_in(name: &str) -> Result<Scenario, Error> {
        let all = Scenario::all_built_in()?;
        let known =
            all.iter().map(|scenario| scenario.name.as_str()).collect::<Vec<_>>().join(", ");
        all.iter()
            .find(|scenario| scenario.name == name)
            .cloned()
            .ok_or_else(|| Error::Unknown { name: name.to_owned(), known })
    }

    /// All that are built in.
    pub fn all_built_in() -> Result<Vec<Scenario>, Error> {
        BUILT_IN.iter().map(|(file, text)| Scenario::parse(file, text)).collect()
    }

    /// A user's own scenario.
    pub fn read(path: &Path) -> Result<Scenario, Error> {
        let text = fs::read_to_string(path)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let file = path.display().to_string();
        Ok(Scenario { argument: file.clone(), ..Scenario::parse(&file, &text)? })
    }

    /// The scenario that `text` describes; `file` is for messages.
    pub fn parse(file: &str, text: &str) -> Result<Scenario, Error> {
        let bad = |at: usize, message: String| Error::Bad {
            file: file.to_owned(),
            line: 1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count(),
            message,
        };
        let mut scenario: Scenario = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            bad(at, error.message().to_owned())
        })?;
        let operations = scenario.operations.as_ref();
        let known = workload::operations(scenario.model);
        if let Some(f) = operations.keys().find(|f| !known.contains(f)) {
            let known = known.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ");
            let message = format!(
                "the model {} has no operation {:?}; it has {known}",
                scenario.model,
                f.name()
            );
            return Err(bad(scenario.operations.span().start, message));
        }
        if operations.values().all(|&share| share == 0) {
            let message = "no operation has a share above 0".to_owned();
            return Err(bad(scenario.operations.span().start, message));
        }
        if operations.values().try_fold(0_u32, |sum, &share| sum.checked_add(share)).is_none() {
            let message = format!("the shares of all operations add up to more than {}", u32::MAX);
            return Err(bad(scenario.operations.span().start, message));
        }
        if let Some(message) = scenario.contradiction() {
            return Err(bad(0, message));
        }
        scenario.argument.clone_from(&scenario.name);
        text.clone_into(&mut scenario.text);
        scenario.hypothesis = first_comment(text).ok_or_else(|| {
            bad(0, "the first line must be a comment that states the hypothesis".to_owned())
        })?;
        Ok(scenario)
    }

    /// What of it makes no sense together.
    fn contradiction(&self) -> Option<String> {
        let has_reads = workload::operations(self.model).contains(&F::Read);
        let transfers = self.mix().any(|(f, share)| f == F::Transfer && share > 0);
        let (what, needs) = if self.readers_percent > 0 && !has_reads {
            ("readers_percent", "a model with reads")
        } else if self.lock.is_some() && self.model != Object::Set {
            ("lock", "the model set")
        } else if self.opening_balance.is_some() && self.model != Object::MultiRegister {
            ("opening_balance", "the model multi-register")
        } else if self.value_bytes.is_some() && !self.model.is_register() {
            ("value_bytes", "the model register or cas-register")
        } else if transfers != self.opening_balance.is_some() {
            ("opening_balance", "transfers among the operations, and transfers need it")
        } else if self.quorum_safe && !self.at.is_empty() {
            (
                "at",
                "a schedule that is not quorum_safe: moments are brought about by what is none, either",
            )
        } else {
            return None;
        };
        Some(format!("{what} needs {needs}"))
    }

    /// The scenario with a command line's changes. What they make impossible is not demanded any more.
    #[must_use]
    pub fn with(mut self, changes: &Changes) -> Scenario {
        // Where less is asked for, less can be ok.
        let share = |ok: u64, now: u64, before: u64| ok.min(ok.saturating_mul(now) / before.max(1));
        if let Some(nodes) = changes.nodes {
            self.nodes = nodes;
            // Two nodes are no better than their worse one: hardly anything is done while there is a fault.
            self.minima.ok = if nodes == 2 { self.minima.ok / 4 } else { self.minima.ok };
        }
        if let Some(clients) = changes.clients {
            self.minima.ok = share(self.minima.ok, clients, self.clients);
            self.clients = clients;
        }
        if let Some(rate) = changes.rate {
            self.minima.ok = share(self.minima.ok, rate, self.rate);
            self.rate = rate;
        }
        if let Some(faults) = &changes.faults {
            // Nobody knows whether the leader falls under faults that somebody picks.
            self.minima.leader_changes = 0;
            self.faults.clone_from(faults);
        }
        if let Some(at) = &changes.at {
            self.at.clone_from(at);
        }
        self.quorum_safe |= changes.quorum_safe;
        self
    }

    /// An error if one of a command line's words for faults stands for nothing that is possible with so few nodes. Of
    /// words for several kinds, what is impossible is left out.
    pub fn refuse_impossible(&self, words: &[String]) -> anyhow::Result<()> {
        for word in words {
            let needs = fault::Kind::select(word)?.into_iter().map(fault::Kind::nodes_min).min();
            if let Some(needs) = needs.filter(|&needs| needs > self.nodes) {
                let nodes = terminal::plural(self.nodes, "node");
                let (workload, word) = (self.name.clone(), word.clone());
                return Err(Error::Impossible { workload, nodes, word, needs }.into());
            }
        }
        Ok(())
    }

    /// An error if every fault takes the majority away that it is to leave alone.
    pub fn refuse_unsafe(&self) -> anyhow::Result<()> {
        if self.quorum_safe && !self.at.is_empty() {
            anyhow::bail!(
                "{}: --at and --quorum-safe exclude each other: moments are brought about by kills and changes of members",
                self.name
            );
        }
        if !self.at.is_empty() && self.nodes < NODES_TO_SPARE_ONE {
            let nodes = terminal::plural(self.nodes, "node");
            anyhow::bail!(
                "{} has {nodes}, and the moments of --at take {NODES_TO_SPARE_ONE}: raise --nodes",
                self.name
            );
        }
        if self.quorum_safe && self.nodes < NODES_TO_SPARE_ONE {
            let nodes = terminal::plural(self.nodes, "node");
            anyhow::bail!(
                "{} has {nodes}, and of so few a majority is all: raise --nodes to {NODES_TO_SPARE_ONE} or more, or do \
                 without quorum safety",
                self.name
            );
        }
        Ok(())
    }

    /// Kinds of operation and their shares.
    pub fn mix(&self) -> impl Iterator<Item = (F, u32)> {
        self.operations.as_ref().iter().map(|(&f, &share)| (f, share))
    }

    /// What every object is before the first operation, if that is not nothing, as a history's header says it.
    pub fn initial(&self) -> Option<Value> {
        let balance = self.opening_balance?;
        let accounts = (0..self.registers).map(|i| (workload::register_name(i), balance.into()));
        Some(Value::Object(accounts.collect()))
    }

    /// What all registers of a key add up to at all times, if that is known.
    pub fn total(&self) -> Option<i64> {
        self.opening_balance?.checked_mul(i64::try_from(self.registers).ok()?)
    }

    /// How many of the clients only read.
    pub fn readers(&self) -> u64 {
        self.clients * self.readers_percent / 100
    }

    /// The kinds of fault that make sense with so few nodes.
    pub fn faults(&self) -> impl Iterator<Item = fault::Kind> {
        let is_bearable = |kind: &fault::Kind| !self.quorum_safe || kind.can_spare_a_majority();
        self.faults
            .iter()
            .copied()
            .filter(|kind| kind.nodes_min() <= self.nodes)
            .filter(is_bearable)
    }

    /// What a run may take at most.
    pub fn limits(&self) -> Limits {
        let outage_ms = u64::try_from(self.outage_max.as_millis()).unwrap_or(u64::MAX);
        Limits { outage_ms: self.quorum_safe.then_some(outage_ms) }
    }

    /// Whether the nodes need disks that can fail.
    pub fn needs_disks(&self) -> bool {
        self.disk_layer || self.faults().any(|kind| kind.lane() == fault::Lane::Disk)
    }

    /// What must have happened in a run of this length.
    pub fn minima(&self, time_limit: Duration) -> Minima {
        let scale = |per_30s: u64| {
            let scaled = u128::from(per_30s) * time_limit.as_millis() / MINIMA_PER.as_millis();
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        let at_least = u64::from(time_limit >= EACH_FAULT_FROM);
        let each_fault = scale(self.minima.each_fault).max(at_least);
        Minima {
            ok: scale(self.minima.ok),
            leader_changes: if self.nodes > 1 { scale(self.minima.leader_changes) } else { 0 },
            faults: self.faults().map(|kind| (kind.name().to_owned(), each_fault)).collect(),
        }
    }
}

/// The comment that a scenario begins with, as one line.
fn first_comment(text: &str) -> Option<String> {
    let lines: Vec<_> =
        text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim).collect();
    let comment = lines.join(" ").trim().to_owned();
    (!comment.is_empty()).then_some(comment)
}

/// What a scenario's or a command line's words for faults stand for.
pub fn select_faults(words: &[String]) -> Result<Vec<fault::Kind>, fault::UnknownKind> {
    let mut kinds = BTreeSet::new();
    for word in words {
        kinds.extend(fault::Kind::select(word)?);
    }
    Ok(kinds.into_iter().collect())
}

/// The name of a read consistency in history headers.
pub fn consistency_name(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Linearizable => "linearizable",
        Consistency::Lease => "lease",
        Consistency::Stale => "stale",
    }
}

#[cfg(test)]
mod tests;
