//! The one shared format: `history.jsonl`, a header line, then one event a line, in order of time.
//!
//! ```text
//! {"history":1,"workload":"register","model":"register","seed":1,"nodes":5,…}
//! {"index":0,"time":1200345,"process":3,"type":"invoke","f":"write","key":"k0","value":"3-1","node":1,"request":"c3@0:1"}
//! {"index":1,"time":2200345,"process":3,"type":"ok","f":"write","key":"k0","value":"3-1","node":1,"request":"c3@0:1","log_index":7}
//! {"index":2,"time":2300000,"process":"nemesis","type":"info","f":"kill","value":{"phase":"start","fault":4,"nodes":[2],"text":"kill n2"}}
//! {"index":3,"time":2900000,"process":"node-2","type":"info","f":"role","value":{"role":"leader","term":4,"leader":2}}
//! ```
//!
//! Client processes are numbers. A process that got `info` never acts again: its operation stays open to the end, and
//! its worker goes on under a new number.
//!
//! | `f` of clients | invoke `value` | ok `value` |
//! |---|---|---|
//! | `read` | null | what was read: string or null (register models), list of strings (append), number or null (counter) |
//! | `write` | string | the same |
//! | `cas` | `[expected or null, new]` | the same; a mismatch is `fail` with `error` `"mismatch"`, and with `{"actual":…}` as value if it is known what was there |
//! | `append` | string (a token) | the same |
//! | `incr` | number | the counter's value afterwards |
//! | `delete` | null | null |
//! | `add` | string (an element) | the same; `read` returns a list |
//! | `txn` | list of `["r", register, null]` and `["w", register, value]` | the same, with what was read |
//! | `enqueue`, `dequeue` | string; null | the same; what was dequeued, null if there was nothing |
//! | `acquire`, `release` | null | null |
//!
//! | other `process` | `f` | `value` |
//! |---|---|---|
//! | `nemesis` | the fault kind: `kill`, `pause`, `isolate-one`, `isolate-leader`, `halves`, `bridge`, `ring`, `one-way`, `block-client` | [`Fault`] |
//! | `node-ID` | `start` | `{"pid":…}` |
//! | `node-ID` | `role` | `{"role":…,"term":…,"leader":…}`, as the node's log reports it |
//! | `node-ID` | `status` | the same, as the node says when it is asked |
//! | `node-ID` | `exit` | [`Exit`] |
//! | `node-ID` | `panic` | `{"line":…}`: a line of its log that no correct node writes |
//! | `node-ID` | `damaged` | `{"reason":…}`: it found its files damaged, and began with nothing |
//! | `node-ID` | `state` | [`NodeState`], in the end |
//! | `node-ID` | `log` | [`NodeLog`], after the end |
//! | `runner` | `committed` | [`Committed`]: a piece of the log that some node has committed |
//! | `runner` | `phase` | `"clean"`, `"faults"`, `"heal"`, `"recovered"`, `"final"`, `"end"`; or `"not-recovered"` |

pub(crate) mod builder;
pub(crate) mod intern;
mod logs;
mod operations;
pub(crate) mod reader;
mod writer;

pub use self::intern::Full;
pub use self::logs::{Committed, Difference, Electorate, NodeLog, NodeState, Vote};
pub use operations::{Broken, Outcome};
pub use reader::Reader;
pub use writer::{WriteError, Writer};

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::builder::Built;
use self::operations::Details;
use crate::formats::{Format, Independent, Reading, Records};
pub use crate::formats::{Problem, ReadError};
use crate::model::Model;
use crate::ops::{KeyOps, Op};

/// The version of this format.
pub const FORMAT: u32 = 1;

/// First line of a history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub history: u32,
    /// Name of the workload.
    pub workload: String,
    /// The name of a [`Model`].
    pub model: String,
    /// What every object is before the first operation; none: no value, empty, 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Value>,
    /// Multi-register: what all registers of a key add up to at all times, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// How long after the death of a leader the first write may take, milliseconds, if the run was to show that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover_ms: Option<u64>,
    /// Seed of the run.
    #[serde(default)]
    pub seed: u64,
    /// Number of nodes.
    #[serde(default)]
    pub nodes: u64,
    /// Read consistency that clients asked for.
    #[serde(default)]
    pub consistency: Option<String>,
    /// What the workload's author expects: `valid` or `invalid` (a canary).
    #[serde(default)]
    pub expected: Option<String>,
    /// What must have happened for `valid` to mean something.
    #[serde(default)]
    pub minima: Minima,
    /// What must not have happened.
    #[serde(default, skip_serializing_if = "Limits::are_none")]
    pub limits: Limits,
    /// Anything else worth keeping: command line, versions, options.
    #[serde(default)]
    pub run: BTreeMap<String, Value>,
}

/// What must have happened at least; otherwise the verdict is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Minima {
    /// Client operations with `ok`.
    pub ok: u64,
    /// Leader changes.
    pub leader_changes: u64,
    /// Faults that bit, per kind.
    pub faults: BTreeMap<String, u64>,
}

/// What a run may take at most; beyond that the verdict is invalid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Milliseconds without an acknowledged write before the faults are healed. To be set only where all the time a majority
    /// of the nodes is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage_ms: Option<u64>,
}

impl Limits {
    fn are_none(&self) -> bool {
        *self == Limits::default()
    }
}

/// One line after the header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Dense, from 0, in order of the lines.
    pub index: u64,
    /// Nanoseconds since the run began, on one monotonic clock; never falls from line to line.
    pub time: u64,
    /// Who.
    pub process: Process,
    /// What kind of event.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What is done.
    pub f: String,
    /// To which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// With what, or with what result; see the module's tables.
    #[serde(default)]
    pub value: Value,
    /// `fail`, `info`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Invoke: the node asked. Completion: the node that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u64>,
    /// The request's `client:seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Log index at which the node says it took effect; for reads, the index reflected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
    /// Completed reads: role of the node that served it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Completed reads: term of that node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
}

/// Who did it: a number for a client, a name for everything else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged, expecting = "`process` must be a client's number or a name")]
pub enum Process {
    /// A logical client.
    Client(u64),
    /// `nemesis`, `runner`, `node-3`, …
    Named(String),
}

/// Jepsen's four types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Begins; written before the request is sent.
    Invoke,
    /// Certainly took effect.
    Ok,
    /// Certainly did not, and never will.
    Fail,
    /// May have taken effect, or may yet. Also all events that are not client operations.
    Info,
}

/// `value` of a nemesis event. A fault has one `start` and one `stop`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fault {
    /// `start` or `stop`.
    pub phase: String,
    /// Number of the fault, the same at start and stop.
    pub fault: u64,
    /// The nodes it touches.
    pub nodes: Vec<u64>,
    /// In words: `partition {1,2} | {3,4,5}`.
    pub text: String,
    /// At start: `installed`, or `skipped: why`.
    pub outcome: String,
    /// At stop: how much it bit; 0 means it did not. In `unit`.
    pub proof: u64,
    /// `processes killed`, `ms stopped`, `bytes dropped`, `connections refused`, …
    pub unit: String,
    /// At start: what its targets were chosen by, for whoever wants it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<FaultPlan>,
    /// At start: the fault that waits for the moment which this one is to bring about. It is part of that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leads_to: Option<u64>,
}

/// What a fault's targets were chosen by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultPlan {
    /// `leader`: the leader, whoever that was; `any`.
    pub aim: String,
    /// How many nodes it was to hit.
    pub count: u64,
    /// What decided whatever was left to chance.
    pub seed: u64,
    /// What it waited for, besides its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moment: Option<String>,
}

/// `value` of a node's exit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exit {
    /// Whether the harness made it exit.
    pub expected: bool,
    /// `exit code 1`, `signal 9`.
    pub how: String,
}

/// What the files of some formats leave open.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// The format; none: as the file begins.
    pub format: Option<Format>,
    /// Whether values in Jepsen's formats are pairs of a key and a value.
    pub independent: Independent,
    /// The model; none: as the header or the operations' names say.
    pub model: Option<Model>,
    /// What every object is before the first operation; none: no value, empty, 0.
    pub initial: Option<Value>,
    /// What a completed read of null means.
    pub nil_read: NilRead,
}

impl ReadOptions {
    fn reading(&self) -> Reading {
        Reading { format: self.format, independent: self.independent, ..Reading::default() }
    }
}

/// What a completed read of null means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NilRead {
    /// There was no value.
    #[default]
    Unset,
    /// The client did not learn the value (Knossos), so the read says nothing.
    Any,
}

/// A whole history that keeps the rules: events numbered densely, time that never falls, operations paired.
///
/// Clients' operations are kept as small records, key by key; everything else that happened as events.
#[derive(Debug)]
pub struct History {
    header: Header,
    format: Format,
    others: Vec<Event>,
    built: Built,
    truncated_line: Option<u64>,
}

impl History {
    /// Checks the rules and pairs invocations with completions.
    pub fn new(header: Header, events: Vec<Event>) -> Result<History, Broken> {
        let mut intake = reader::Intake::new(header, &ReadOptions::default())?;
        for event in events {
            intake.add(event)?;
        }
        intake.finish(None)
    }

    /// Reads a file. A last line that a crash cut off is left out, see [`History::truncated_line`].
    pub fn read(path: &Path) -> Result<History, ReadError> {
        History::read_as(path, &ReadOptions::default())
    }

    /// Reads a file of any format. If neither the options nor the file name a model, the operations at its beginning
    /// decide.
    pub fn read_as(path: &Path, options: &ReadOptions) -> Result<History, ReadError> {
        let name = path.display().to_string();
        let reading = options.reading();
        let records = Records::open(path, reading)?;
        reader::read(records, &name, options, || {
            let guess = reader::Guess::of(Records::open(path, reading)?)?;
            guess.model().map_err(|rule| ReadError {
                name: name.clone(),
                line: None,
                column: None,
                problem: rule.into(),
            })
        })
    }

    /// Reads from anything; `name` is what errors call it.
    pub fn parse(input: impl Read, name: &str) -> Result<History, ReadError> {
        History::parse_as(input, name, &ReadOptions::default())
    }

    /// The same in any format. Those that name no model need one in the options.
    pub fn parse_as(
        input: impl Read,
        name: &str,
        options: &ReadOptions,
    ) -> Result<History, ReadError> {
        let records = Records::with(input, name, options.reading())?;
        reader::read(records, name, options, || {
            Err(ReadError {
                name: name.to_owned(),
                line: None,
                column: None,
                problem: Problem::from(Broken::NoModel { functions: "(not looked at)".to_owned() }),
            })
        })
    }

    /// How it was written down.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The clients' operations, key by key, in order of the keys' names.
    pub fn keys(&self) -> &[KeyOps] {
        &self.built.keys
    }

    /// How many operations there are; they are numbered from 0.
    pub fn operations(&self) -> u32 {
        self.built.operations
    }

    /// What happened beside the clients' operations, in order.
    pub fn others(&self) -> &[Event] {
        &self.others
    }

    /// The last line's number, if it was cut off in the middle and left out: the run ended in a crash.
    pub fn truncated_line(&self) -> Option<u64> {
        self.truncated_line
    }

    /// The client's own number.
    pub fn client(&self, op: &Op) -> u64 {
        self.built.clients.get(op.process)
    }

    /// When an operation was invoked, nanoseconds; none if the history has no times.
    pub fn called(&self, op: &Op) -> Option<u64> {
        self.built.times.called(op.number)
    }

    /// When it was completed, even if that left its outcome open.
    pub fn completed(&self, op: &Op) -> Option<u64> {
        self.built.times.completed(op.number)
    }

    /// Indexes of its invocation and completion.
    pub fn events(&self, op: &Op) -> (u64, Option<u64>) {
        self.built.times.events(op.number)
    }

    /// The node that answered, or else the one that was asked.
    pub fn node(&self, op: &Op) -> Option<u64> {
        let Details { asked, answered, .. } = &self.built.details;
        let nodes = [answered, asked].into_iter().map(|column| column.get(op.number));
        nodes.into_iter().find_map(|node| node.checked_sub(1)).map(u64::from)
    }

    /// What the node that answered took itself for.
    pub fn role(&self, op: &Op) -> Option<&str> {
        self.built.texts.text(self.built.details.role.get(op.number))
    }

    /// Its term.
    pub fn term(&self, op: &Op) -> Option<u64> {
        self.built.details.term.get(op.number).checked_sub(1)
    }

    /// Why an operation failed, or why its outcome is not known.
    pub fn error(&self, op: &Op) -> Option<&str> {
        self.built.texts.text(self.built.details.error.get(op.number))
    }

    /// The request's `client:seq`.
    pub fn request(&self, op: &Op) -> Option<&str> {
        self.built.texts.text(self.built.details.request.get(op.number))
    }

    /// Time of the last event, nanoseconds.
    pub fn duration(&self) -> u64 {
        let last = self.others.last().map_or(0, |event| event.time);
        self.built.times.last().max(last)
    }
}

impl Event {
    /// An event with nothing but what every event has; the index is for the [`Writer`] to assign.
    pub fn new(time: u64, process: Process, kind: Kind, f: impl Into<String>) -> Event {
        Event {
            index: 0,
            time,
            process,
            kind,
            f: f.into(),
            key: None,
            value: Value::Null,
            error: None,
            node: None,
            request: None,
            log_index: None,
            role: None,
            term: None,
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Process::Client(number) => write!(f, "client {number}"),
            Process::Named(name) => f.write_str(name),
        }
    }
}
