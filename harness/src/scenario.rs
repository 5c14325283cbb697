//! Scenarios: what a workload is, as `workloads/*.toml` say it.
//!
//! A scenario file's first comment states its hypothesis and the expected verdict. The built-in ones are compiled in,
//! so that `harness run NAME` works anywhere; `harness run ./mine.toml` runs a user's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use history_checker::history::{Limits, Minima};
use history_checker::results::Verdict;
use raftctl::Consistency;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use thiserror::Error;
use toml::Spanned;

use crate::nemesis as fault;
use crate::terminal;
use crate::workload::{self, F, Object};

/// The scenarios that the harness brings along, in the order in which `harness run all` runs them.
const BUILT_IN: [(&str, &str); 16] = [
    ("register.toml", include_str!("../../workloads/register.toml")),
    ("cas-register.toml", include_str!("../../workloads/cas-register.toml")),
    ("append.toml", include_str!("../../workloads/append.toml")),
    ("counter.toml", include_str!("../../workloads/counter.toml")),
    ("power-loss.toml", include_str!("../../workloads/power-loss.toml")),
    ("corruption.toml", include_str!("../../workloads/corruption.toml")),
    ("slow-disk.toml", include_str!("../../workloads/slow-disk.toml")),
    ("asymmetric.toml", include_str!("../../workloads/asymmetric.toml")),
    ("partial-mesh.toml", include_str!("../../workloads/partial-mesh.toml")),
    ("bad-network.toml", include_str!("../../workloads/bad-network.toml")),
    ("process.toml", include_str!("../../workloads/process.toml")),
    ("churn.toml", include_str!("../../workloads/churn.toml")),
    ("snapshot-pressure.toml", include_str!("../../workloads/snapshot-pressure.toml")),
    ("lease.toml", include_str!("../../workloads/lease.toml")),
    ("availability.toml", include_str!("../../workloads/availability.toml")),
    ("stale-canary.toml", include_str!("../../workloads/stale-canary.toml")),
];

/// The time limit for which a scenario states its minima.
const MINIMA_PER: Duration = Duration::from_secs(30);

/// In a run of at least this time limit, every kind of fault must bite once, whatever the minima say: what was asked for
/// and never happened proves nothing. In a shorter one there is no time for all kinds; the minima alone count.
pub const EACH_FAULT_FROM: Duration = Duration::from_secs(10);

/// The smallest cluster that can do without a node.
const NODES_TO_SPARE_ONE: u64 = 3;

/// Bounds of the time limits in a scenario. Far beyond the upper one, points in time could not be calculated.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);

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
    /// Kinds of fault; empty: none.
    #[serde(deserialize_with = "fault_kinds")]
    pub faults: Vec<fault::Kind>,
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
        scenario.argument.clone_from(&scenario.name);
        text.clone_into(&mut scenario.text);
        scenario.hypothesis = first_comment(text).ok_or_else(|| {
            bad(0, "the first line must be a comment that states the hypothesis".to_owned())
        })?;
        Ok(scenario)
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

fn one_second() -> Duration {
    Duration::from_secs(1)
}

fn a_tenth_of_a_second() -> Duration {
    Duration::from_millis(100)
}

/// Faults last one and a half seconds at most, and an election takes a fraction of that, even on a slow machine.
fn eight_seconds() -> Duration {
    Duration::from_secs(8)
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

/// A number within bounds: the parser adds the line to the message.
fn between<'de, const LEAST: u64, const MOST: u64, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if (LEAST..=MOST).contains(&number) {
        Ok(number)
    } else {
        Err(D::Error::custom(format!("{number} is out of range: {LEAST} to {MOST}")))
    }
}

fn model<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
    let name = String::deserialize(deserializer)?;
    let unknown = || {
        let names = Object::ALL.map(Object::name).join(", ");
        D::Error::custom(format!("no workload is about {name:?}; there are {names}"))
    };
    Object::named(&name).ok_or_else(unknown)
}

fn number_of_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    usize::try_from(between::<1, 100_000, D>(deserializer)?).map_err(D::Error::custom)
}

fn lease_drift_percent<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    between::<1, 50, D>(deserializer).map(Some)
}

fn snapshot_log_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    between::<1, { 1 << 40 }, D>(deserializer).map(Some)
}

fn ascending<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u32; 2], D::Error> {
    let [fewest, most] = <[u32; 2]>::deserialize(deserializer)?;
    if fewest >= 1 && fewest <= most {
        Ok([fewest, most])
    } else {
        Err(D::Error::custom(format!("[{fewest}, {most}]: write [fewest, most], from 1 up")))
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let duration = humantime::parse_duration(&text)
        .map_err(|error| D::Error::custom(format!("{error}; write it like \"1s\" or \"500ms\"")))?;
    if TIMEOUTS.contains(&duration) {
        Ok(duration)
    } else {
        Err(D::Error::custom(format!("{text:?} is out of range: 1ms to 1h")))
    }
}

fn fault_kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<fault::Kind>, D::Error> {
    select_faults(&Vec::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Only canaries are expected to be invalid, and nothing is expected to be unknown.
fn decided<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Verdict, D::Error> {
    match Verdict::deserialize(deserializer)? {
        Verdict::Unknown => Err(D::Error::custom("expect `valid` or `invalid`")),
        verdict @ (Verdict::Valid | Verdict::Invalid) => Ok(verdict),
    }
}

/// The name becomes a directory's.
fn file_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && name.len() <= 100 && name.chars().all(good) && name != "latest" {
        Ok(name)
    } else {
        Err(D::Error::custom(format!("{name:?} is no workload name: use a-z, 0-9 and -")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
# Hypothesis: it holds.
# Expected: valid.
name = \"mine\"
model = \"register\"
expected = \"valid\"
nodes = 3
clients = 4
rate = 100
faults = [\"kill\"]
operations = { read = 1, write = 1 }
[minima]
ok = 3000
leader_changes = 3
each_fault = 3
";

    fn error(text: &str) -> String {
        Scenario::parse("mine.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn built_ins_parse_and_are_named_like_their_files() {
        for ((file, _), scenario) in BUILT_IN.iter().zip(Scenario::all_built_in().unwrap()) {
            assert_eq!(*file, format!("{}.toml", scenario.name));
            assert!(scenario.hypothesis.starts_with("Hypothesis: "), "{file}");
            assert!(scenario.hypothesis.contains(" Expected verdict: "), "{file}");
            let canary = scenario.name.ends_with("canary");
            assert_eq!(scenario.expected == Verdict::Invalid, canary, "{file}");
        }
    }

    #[test]
    fn every_file_in_workloads_is_built_in() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads");
        let mut files: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut built_in = BUILT_IN.map(|(file, _)| file.to_owned()).to_vec();
        built_in.sort();
        assert_eq!(files, built_in);
    }

    #[test]
    fn parse_reads_defaults_and_hypothesis() {
        let scenario = Scenario::parse("mine.toml", GOOD).unwrap();
        assert_eq!(scenario.hypothesis, "Hypothesis: it holds. Expected: valid.");
        assert_eq!(scenario.op_timeout, Duration::from_secs(1));
        assert_eq!(scenario.consistency, Consistency::Linearizable);
        assert_eq!(scenario.keys.operations, [100, 200]);
    }

    #[test]
    fn parse_of_bad_text_names_file_and_line() {
        let cases = [
            ("nodes = 3", "nods = 3", "mine.toml:6: unknown field `nods`, expected one of `name`"),
            ("nodes = 3", "nodes = 10", "mine.toml:6: 10 is out of range: 1 to 9"),
            ("nodes = 3", "nodes = -1", "mine.toml:6: invalid value: integer `-1`"),
            ("rate = 100", "rate = ", "mine.toml:8: "),
            (
                "\"register\"",
                "\"registre\"",
                "mine.toml:4: no workload is about \"registre\"; there are register, cas-register",
            ),
            ("\"valid\"", "\"unknown\"", "mine.toml:5: expect `valid` or `invalid`"),
            ("\"mine\"", "\"../mine\"", "mine.toml:3: \"../mine\" is no workload name"),
            ("write = 1", "cas = 1", "mine.toml:10: the model register has no operation \"cas\""),
            ("read = 1, write = 1", "read = 0", "mine.toml:10: no operation has a share"),
            ("ok = 3000", "okay = 3000", "mine.toml:12: unknown field `okay`"),
            ("rate = 100", "rate = 100\nop_timeout = \"1x\"", "mine.toml:9: "),
            (
                "\"kill\"",
                "\"kil\"",
                "mine.toml:9: no fault is called \"kil\"; there are kill, pause",
            ),
            ("rate = 100", "rate = 100\nkeys = { operations = [9, 1] }", "mine.toml:9: [9, 1]"),
            (
                "rate = 100",
                "rate = 100\nkeys = { live = 0 }",
                "mine.toml:9: 0 is out of range: 1 to",
            ),
            ("rate = 100", "rate = 100\nkeys = { live = 9000000000000 }", "is out of range: 1 to"),
            (
                "rate = 100",
                "rate = 100\nop_timeout = \"0s\"",
                "mine.toml:9: \"0s\" is out of range",
            ),
            ("rate = 100", "rate = 100\nrecovery = \"9999y\"", "mine.toml:9: \"9999y\" is out of"),
            ("read = 1, write = 1", "read = 4294967295, write = 1", "mine.toml:10: the shares of"),
            (
                "# Hypothesis: it holds.\n# Expected: valid.\n",
                "",
                "mine.toml:1: the first line must be",
            ),
            ("name = \"mine\"", "", "missing field `name`"),
        ];
        for (good, bad, expected) in cases {
            assert!(GOOD.contains(good), "{good}");
            let message = error(&GOOD.replacen(good, bad, 1));
            assert!(message.contains(expected), "{bad:?}: {message}");
        }
    }

    #[test]
    fn minima_scale_with_the_time_limit() {
        let scenario = Scenario::parse("mine.toml", GOOD).unwrap();
        let minima = scenario.minima(Duration::from_secs(20));
        assert_eq!((minima.ok, minima.leader_changes), (2000, 2));
        assert_eq!(minima.faults, [("kill".to_owned(), 2)].into());
    }

    #[test]
    fn minima_demand_that_every_fault_bites_once_unless_the_run_is_too_short() {
        let (text, _) = GOOD.split_once("[minima]").unwrap();
        let scenario = Scenario::parse("mine.toml", text).unwrap();
        let kills = |limit: Duration| scenario.minima(limit).faults["kill"];
        assert_eq!(kills(EACH_FAULT_FROM), 1);
        assert_eq!(kills(EACH_FAULT_FROM.saturating_sub(Duration::from_millis(1))), 0);
    }

    #[test]
    fn faults_that_so_few_nodes_cannot_have_are_refused_by_name_only() {
        let scenario = Scenario::parse("mine.toml", &GOOD.replace("nodes = 3", "nodes = 1"));
        let refuse = |word: &str| scenario.as_ref().unwrap().refuse_impossible(&[word.to_owned()]);
        let error = refuse("ring").unwrap_err().to_string();
        assert!(error.contains("has 1 node, and the fault ring takes at least 3"), "{error}");
        for word in ["kill", "partition", "all", "none"] {
            refuse(word).unwrap();
        }
    }

    #[test]
    fn minima_do_not_demand_what_the_command_line_made_impossible() {
        let scenario = Scenario::parse("mine.toml", GOOD).unwrap();
        let changes = Changes { rate: Some(10), faults: Some(vec![]), ..Changes::default() };
        let minima = scenario.clone().with(&changes).minima(MINIMA_PER);
        assert_eq!(minima, Minima { ok: 300, ..Minima::default() });
        let alone = Changes {
            nodes: Some(1),
            faults: Some(
                select_faults(&["kill", "pause", "partition"].map(str::to_owned)).unwrap(),
            ),
            ..Changes::default()
        };
        let minima = scenario.with(&alone).minima(MINIMA_PER);
        assert_eq!(minima.leader_changes, 0);
        assert_eq!(
            minima.faults.into_keys().collect::<Vec<_>>(),
            ["block-client", "kill", "pause"]
        );
    }

    #[test]
    fn named_knows_all_and_paths_and_says_what_there_is() {
        let named = |name: &str| Scenario::named(&[name.to_owned()]);
        assert_eq!(named("all").unwrap().len(), BUILT_IN.len());
        let error = named("registre").unwrap_err().to_string();
        assert!(error.contains("register, cas-register, append"), "{error}");
        let error = named("./none.toml").unwrap_err().to_string();
        assert_eq!(error, "cannot read scenario ./none.toml");
    }
}
