//! What the history says about the cluster while clients were at work: who led, which faults were active, which
//! phase.

use std::collections::BTreeMap;

use super::text;
use crate::history::{Event, Fault, History, Process};
use crate::ops::{NEVER, Position};

/// The cluster's side of a history.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// Who said that it leads which term.
    pub(crate) leaders: Vec<Lead>,
    /// Who said so when asked for its status.
    pub(crate) asked: Vec<Lead>,
    /// All faults, in order of their start.
    pub(crate) faults: Vec<FaultSpan>,
    /// Phases of the run, in order.
    pub(crate) phases: Vec<Phase>,
}

/// A node became leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lead {
    pub(crate) event: u64,
    pub(crate) time: u64,
    pub(crate) node: u64,
    pub(crate) term: u64,
}

/// A phase of the run began.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub(crate) name: String,
    /// Position of the event.
    pub(crate) event: Position,
    pub(crate) time: u64,
}

/// A fault, from start to stop.
#[derive(Clone, Debug)]
pub(crate) struct FaultSpan {
    pub(crate) number: u64,
    pub(crate) kind: String,
    pub(crate) nodes: Vec<u64>,
    pub(crate) text: String,
    pub(crate) start: u64,
    /// None: active to the end.
    pub(crate) stop: Option<u64>,
    /// It could not be installed, so it never was active.
    pub(crate) skipped: bool,
    pub(crate) proof: u64,
}

impl FaultSpan {
    fn active(&self, from: u64, to: u64) -> bool {
        !self.skipped && self.start <= to && self.stop.is_none_or(|stop| stop >= from)
    }

    /// In words.
    pub(crate) fn words(&self) -> String {
        if self.text.is_empty() { self.kind.clone() } else { self.text.clone() }
    }

    /// What it does to a node that it touches.
    pub(crate) fn state_of_node(&self) -> &'static str {
        match self.kind.as_str() {
            "kill" | "kill-all" => "was being killed and restarted",
            "pause" => "was paused",
            "isolate-one" | "isolate-leader" => "was cut off",
            "block-client" => "was cut off from clients",
            "halves" | "bridge" | "ring" | "one-way" | "partial-mesh" | "thirds"
            | "one-way-link" | "lose-link" | "keep-one" => "was in a partition",
            _ => "was under a fault",
        }
    }
}

/// The node of a process named `node-3`.
pub(crate) fn node_of(process: &Process) -> Option<u64> {
    match process {
        Process::Named(name) => name.strip_prefix("node-")?.parse().ok(),
        Process::Client(_) => None,
    }
}

/// What an event says of a leader.
fn lead(event: &Event) -> Option<Lead> {
    if event.value.get("role").and_then(|role| role.as_str()) != Some("leader") {
        return None;
    }
    let term = event.value.get("term").and_then(serde_json::Value::as_u64)?;
    Some(Lead { event: event.index, time: event.time, node: node_of(&event.process)?, term })
}

impl Cluster {
    pub(crate) fn of(history: &History) -> Cluster {
        let mut cluster = Cluster::default();
        let mut numbers = BTreeMap::new();
        for event in history.others() {
            let Process::Named(name) = &event.process else { continue };
            match (name.as_str(), event.f.as_str()) {
                ("nemesis", _) => cluster.fault(event, &mut numbers),
                ("runner", "phase") => {
                    let name = event.value.as_str().unwrap_or_default().to_owned();
                    cluster.phases.push(Phase {
                        name,
                        event: u32::try_from(event.index).unwrap_or(NEVER),
                        time: event.time,
                    });
                }
                (_, "role") => cluster.leaders.extend(lead(event)),
                (_, "status") => cluster.asked.extend(lead(event)),
                _ => {}
            }
        }
        cluster
    }

    fn fault(&mut self, event: &Event, numbers: &mut BTreeMap<u64, usize>) {
        // The reader has refused every other shape.
        let Ok(fault) = serde_json::from_value::<Fault>(event.value.clone()) else { return };
        if fault.phase == "start" {
            numbers.insert(fault.fault, self.faults.len());
            self.faults.push(FaultSpan {
                number: fault.fault,
                kind: event.f.clone(),
                nodes: fault.nodes,
                text: fault.text,
                start: event.time,
                stop: None,
                skipped: fault.outcome.starts_with("skipped"),
                proof: 0,
            });
        } else if let Some(span) =
            numbers.get(&fault.fault).and_then(|&position| self.faults.get_mut(position))
        {
            span.stop = Some(event.time);
            span.proof = fault.proof;
        }
    }

    /// Who led the highest term known at that time.
    pub(crate) fn leader_at(&self, time: u64) -> Option<Lead> {
        let known = self.leaders.partition_point(|lead| lead.time <= time);
        self.leaders[..known].iter().copied().max_by_key(|lead| lead.term)
    }

    /// Faults active at some time in between.
    pub(crate) fn faults_active(&self, from: u64, to: u64) -> impl Iterator<Item = &FaultSpan> {
        self.faults.iter().filter(move |fault| fault.active(from, to))
    }

    /// Whether a node may have lost what it had promised, by no fault of its own.
    pub(crate) fn damaged(&self, node: u64) -> bool {
        let damages = |kind: &str| matches!(kind, "bit-flip" | "truncate" | "wipe");
        self.faults.iter().any(|fault| damages(&fault.kind) && fault.nodes.contains(&node))
    }

    /// The last fault that touched the node before that time and was over by then.
    pub(crate) fn last_fault(&self, node: u64, time: u64) -> Option<(&FaultSpan, u64)> {
        let over = |fault: &FaultSpan| fault.stop.filter(|&stop| !fault.skipped && stop < time);
        self.faults
            .iter()
            .filter(|fault| fault.nodes.contains(&node))
            .filter_map(|fault| over(fault).map(|stop| (fault, time - stop)))
            .min_by_key(|&(_, since)| since)
    }

    /// The first phase of that name.
    pub(crate) fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == name)
    }
}

/// The last fault in words, with the time since.
pub(crate) fn last_fault_words(fault: &FaultSpan, since: u64) -> String {
    format!("{}, which ended {} before", fault.words(), text::span(since))
}
