//! Verdicts, and what they rest on.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Three-valued: silence proves nothing, and "could not tell" is never folded into yes or no.
///
/// Ordered so that the worst of several is their maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Proven right.
    #[default]
    Valid,
    /// Not decided: a cap was hit, or too little happened.
    Unknown,
    /// Proven wrong.
    Invalid,
}

/// What all checks together say of one history. A function of the history alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The worst verdict of `checks`.
    pub verdict: Verdict,
    /// The verdict in one sentence, for people.
    pub headline: String,
    /// Each check's own part.
    pub checks: Vec<Check>,
    /// What happened, counted.
    pub counts: Counts,
}

/// One check's part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// `linearizable`, `stale-reads`, `exactly-once`, `coverage`, `nodes`, …
    pub name: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// What it found, in one sentence.
    pub summary: String,
    /// Proven violations, worst first; a bounded number (the summary has the total).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
    /// Figures of this check, for machines.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// Operations that contradict each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// `stale read`, `lost write`, `phantom read`, `aborted read`, `duplicate`, `not linearizable`, …
    pub class: String,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Two sentences: which operations contradict, and why.
    pub explanation: String,
    /// History indexes of the events that prove it, in order of time.
    pub events: Vec<u64>,
    /// The point in time to look at, nanoseconds.
    pub time: u64,
    /// The fewest operations that still contradict each other, if they were looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<Core>,
    /// For stale reads: how stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<StaleRead>,
}

impl Violation {
    /// Of the cluster and not of a key's operations: these events prove it.
    pub(crate) fn of_events(
        class: &str,
        explanation: String,
        events: Vec<u64>,
        time: u64,
    ) -> Violation {
        Violation {
            class: class.to_owned(),
            key: None,
            explanation,
            events,
            time,
            core: None,
            stale: None,
        }
    }
}

/// Operations that contradict each other by themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Core {
    /// How many.
    pub operations: u64,
    /// None of them can be left out. Otherwise there was no time to find out.
    pub is_minimal: bool,
    /// On one time axis, a line for each client, as text.
    pub timeline: String,
    /// The same as a picture: a whole `<svg>` element.
    pub svg: String,
    /// As a history of its own, for `harness check`.
    pub history: String,
}

/// How stale a read was, and under which circumstances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StaleRead {
    /// `read-your-writes`, `monotonic-reads` or `real-time`: the strongest guarantee it breaks.
    pub class: String,
    /// From the acknowledgement of the oldest write that it missed to the read's invocation, milliseconds.
    pub age_ms: f64,
    /// How many acknowledged writes it missed.
    pub versions: u64,
    /// The node that served it.
    pub node: Option<u64>,
    /// What that node took itself for.
    pub role: Option<String>,
    /// That node's term.
    pub term: Option<u64>,
    /// Who led the highest term known at that time, and that term.
    pub true_leader: Option<(u64, u64)>,
    /// Faults active at the read, in words.
    pub faults: Vec<String>,
    /// The last fault that touched the node, in words, with the time since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<String>,
}

/// What happened, counted from the history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Client operations invoked.
    pub invoked: u64,
    /// Completed with `ok`.
    pub ok: u64,
    /// Certainly without effect.
    pub fail: u64,
    /// Unknown outcome.
    pub info: u64,
    /// `ok` per `f`.
    pub ok_by_f: std::collections::BTreeMap<String, u64>,
    /// Faults that bit (proof above 0), per fault kind.
    pub faults: std::collections::BTreeMap<String, u64>,
    /// Faults that were started but never proved that they bit, per fault kind.
    pub faults_without_proof: std::collections::BTreeMap<String, u64>,
    /// Terms that had a leader, minus the first.
    pub leader_changes: u64,
    /// Keys used.
    pub keys: u64,
    /// Time of the last event, nanoseconds.
    pub duration: u64,
}
