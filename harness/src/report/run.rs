//! What a history holds, read in one pass: a few words per operation, everything else as it is.
//!
//! Keys and values stay in the file. Those that are shown are fetched by index afterwards ([`fetch`]), so that a history
//! of any length needs little memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use history_checker::history::{self, Event, Exit, Header, Kind, Process, Reader};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Error;
use super::words::clip;

/// Kinds of operation told apart; a history with more is not from a workload.
const FUNCTIONS_MAX: usize = 24;

/// Different errors told apart.
const ERRORS_MAX: usize = 500;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// Took effect.
    Ok,
    /// Certainly did not.
    Fail,
    /// The client does not know.
    Info,
    /// The history ends before.
    Open,
}

impl Outcome {
    /// The word, also used as the CSS class.
    pub(super) fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Info => "info",
            Outcome::Open => "open",
        }
    }
}

/// One client operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    pub(super) process: u64,
    /// Place in [`Run::functions`].
    pub(super) function: usize,
    pub(super) outcome: Outcome,
    /// Nanoseconds.
    pub(super) invoked: u64,
    /// Nanoseconds; of an open operation the end of the history.
    pub(super) completed: u64,
    /// History indexes of its two events.
    pub(super) invoke_index: u64,
    pub(super) complete_index: Option<u64>,
}

/// One fault, from its two events.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) kind: String,
    pub(super) nodes: Vec<u64>,
    pub(super) text: String,
    /// Nanoseconds.
    pub(super) start: u64,
    /// Nanoseconds; `None` when the history ends before.
    pub(super) stop: Option<u64>,
    /// Why it was not installed.
    pub(super) skipped: Option<String>,
    pub(super) proof: u64,
    pub(super) unit: String,
}

/// What a node's log said it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Role {
    /// Nanoseconds.
    pub(super) time: u64,
    pub(super) name: String,
    pub(super) term: u64,
}

/// What happened to one node.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Times, nanoseconds.
    pub(super) starts: Vec<u64>,
    pub(super) exits: Vec<(u64, Exit)>,
    pub(super) panics: Vec<(u64, String)>,
    pub(super) roles: Vec<Role>,
}

/// A node that became leader of a term that had none before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Election {
    /// Nanoseconds.
    pub(super) time: u64,
    pub(super) node: u64,
    pub(super) term: u64,
}

/// A whole history.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) header: Header,
    /// In order of invocation.
    pub(super) ops: Vec<Op>,
    pub(super) functions: Vec<String>,
    /// How often which error ended operations.
    pub(super) errors: BTreeMap<(Outcome, String), u64>,
    /// In order of start.
    pub(super) faults: Vec<Fault>,
    pub(super) nodes: BTreeMap<u64, Node>,
    /// In order of time; the first leader is the first of them.
    pub(super) elections: Vec<Election>,
    /// Time and name.
    pub(super) phases: Vec<(u64, String)>,
    /// Time of the last event, nanoseconds.
    pub(super) end: u64,
    /// Whether the last line is torn: the harness was stopped while it wrote.
    pub(super) torn: bool,
}

/// What a `role` event holds.
#[derive(Deserialize)]
struct RoleValue {
    role: String,
    #[serde(default)]
    term: u64,
}

/// What a `panic` event holds.
#[derive(Deserialize)]
struct PanicValue {
    #[serde(default)]
    line: String,
}

/// A run while it is read.
#[derive(Default)]
struct Reading {
    run: Run,
    /// Operations that are not completed yet, by process: places in [`Run::ops`].
    open: BTreeMap<u64, usize>,
    /// Faults by their number: places in [`Run::faults`].
    numbers: BTreeMap<u64, usize>,
    /// Highest term that had a leader.
    term: u64,
}

/// Reads a history.
pub(super) fn read(path: &Path) -> Result<Run, Error> {
    let mut reader = Reader::new(open(path)?, &path.display().to_string())?;
    let run = Run { header: reader.header().clone(), ..Run::default() };
    let mut reading = Reading { run, ..Reading::default() };
    for event in &mut reader {
        let event = event?;
        let index = event.index;
        reading.take(event).map_err(|source| Error::Event {
            path: path.to_owned(),
            line: line_number(index),
            source,
        })?;
    }
    reading.run.torn = reader.truncated_line().is_some();
    Ok(reading.finish())
}

fn open(path: &Path) -> Result<BufReader<File>, Error> {
    let file = File::open(path).map_err(|source| Error::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(BufReader::with_capacity(1 << 18, file))
}

impl Reading {
    fn take(&mut self, event: Event) -> Result<(), serde_json::Error> {
        self.run.end = self.run.end.max(event.time);
        match &event.process {
            Process::Client(process) => self.client(*process, &event),
            Process::Named(name) if name == "nemesis" => self.nemesis(event)?,
            Process::Named(name) if name == "runner" => {
                if event.f == "phase" {
                    self.run.phases.push((event.time, String::deserialize(event.value)?));
                }
            }
            Process::Named(_) => {
                if let Some(id) = node_of(&event.process) {
                    self.node(id, event)?;
                }
            }
        }
        Ok(())
    }

    fn client(&mut self, process: u64, event: &Event) {
        let outcome = match event.kind {
            Kind::Invoke => {
                let function = self.function(&event.f);
                self.open.insert(process, self.run.ops.len());
                self.run.ops.push(Op {
                    process,
                    function,
                    outcome: Outcome::Open,
                    invoked: event.time,
                    completed: u64::MAX,
                    invoke_index: event.index,
                    complete_index: None,
                });
                return;
            }
            Kind::Ok => Outcome::Ok,
            Kind::Fail => Outcome::Fail,
            Kind::Info => Outcome::Info,
        };
        if let Some(op) = self.open.remove(&process).and_then(|place| self.run.ops.get_mut(place)) {
            op.outcome = outcome;
            op.completed = event.time.max(op.invoked);
            op.complete_index = Some(event.index);
            if let Some(error) = &event.error {
                self.error(outcome, error);
            }
        }
    }

    fn function(&mut self, f: &str) -> usize {
        let known = &mut self.run.functions;
        known.iter().position(|known| known == f).unwrap_or_else(|| {
            if known.len() < FUNCTIONS_MAX {
                known.push(f.to_owned());
            }
            known.len() - 1
        })
    }

    fn error(&mut self, outcome: Outcome, error: &str) {
        let known = &mut self.run.errors;
        let mut key = (outcome, clip(error, 120));
        if known.len() >= ERRORS_MAX && !known.contains_key(&key) {
            "other errors".clone_into(&mut key.1);
        }
        *known.entry(key).or_default() += 1;
    }

    fn nemesis(&mut self, event: Event) -> Result<(), serde_json::Error> {
        let value: history::Fault = from_value(event.value)?;
        let begun =
            self.numbers.get(&value.fault).and_then(|place| self.run.faults.get_mut(*place));
        if value.phase == "stop"
            && let Some(fault) = begun
        {
            fault.stop = Some(event.time);
            fault.proof = value.proof;
            if !value.unit.is_empty() {
                fault.unit = value.unit;
            }
            return Ok(());
        }
        self.numbers.insert(value.fault, self.run.faults.len());
        self.run.faults.push(Fault {
            kind: event.f,
            nodes: value.nodes,
            text: value.text,
            start: event.time,
            stop: (value.phase == "stop").then_some(event.time),
            skipped: value
                .outcome
                .strip_prefix("skipped")
                .map(|why| why.trim_start_matches([':', ' ']).to_owned()),
            proof: value.proof,
            unit: value.unit,
        });
        Ok(())
    }

    fn node(&mut self, id: u64, event: Event) -> Result<(), serde_json::Error> {
        let node = self.run.nodes.entry(id).or_default();
        match event.f.as_str() {
            "start" => node.starts.push(event.time),
            "exit" => node.exits.push((event.time, from_value(event.value)?)),
            "panic" => node.panics.push((event.time, from_value::<PanicValue>(event.value)?.line)),
            "role" => {
                let RoleValue { role, term } = from_value(event.value)?;
                if role == "leader" && term > self.term {
                    self.term = term;
                    self.run.elections.push(Election { time: event.time, node: id, term });
                }
                node.roles.push(Role { time: event.time, name: role, term });
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Run {
        let end = self.run.end;
        for op in &mut self.run.ops {
            op.completed = op.completed.min(end);
        }
        for id in 1..=self.run.header.nodes.min(NODES_MAX) {
            self.run.nodes.entry(id).or_default();
        }
        self.run
    }
}

/// As many nodes as are drawn.
pub(super) const NODES_MAX: u64 = 32;

fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(value)
}

/// Events as they stand in the file, by index; those that are not there are left out.
pub(super) fn fetch(path: &Path, wanted: &BTreeSet<u64>) -> Result<BTreeMap<u64, Line>, Error> {
    let mut found = BTreeMap::new();
    let Some(last) = wanted.last() else { return Ok(found) };
    let mut reader = open(path)?;
    let mut bytes = Vec::new();
    for line in 1..=line_number(*last) {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes);
        read.map_err(|source| Error::Io { operation: "read", path: path.to_owned(), source })?;
        let index = line.saturating_sub(line_number(0));
        if line >= line_number(0)
            && wanted.contains(&index)
            && let Ok(event) = serde_json::from_slice(&bytes)
        {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            found.insert(index, Line { event, text });
        }
    }
    Ok(found)
}

/// One event as it stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) event: Event,
    pub(super) text: String,
}

/// The line of `history.jsonl`, counted from 1, that holds the event with this index.
pub(super) fn line_number(index: u64) -> u64 {
    index.saturating_add(2)
}

/// The node whose event this is.
pub(super) fn node_of(process: &Process) -> Option<u64> {
    match process {
        Process::Named(name) => name.strip_prefix("node-")?.parse().ok(),
        Process::Client(_) => None,
    }
}
