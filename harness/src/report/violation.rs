//! A violation and everything that explains it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use history_checker::history::Event;
use history_checker::results::{Core, StaleRead, Violation};
use serde::Serialize;

use super::log::{Extract, extract};
use super::meta::Meta;
use super::run::{Line, Run, line_number, node_of};
use super::waterfall::{Fetched, Shown, Waterfall, evidence};
use super::words::{at, clip, count, integer, milliseconds, number, plural, span};

/// Most operations of one violation that are shown.
pub(super) const OPS_MAX: usize = 40;

/// Longest explanation, characters.
const EXPLANATION_CHARS_MAX: usize = 3_000;

/// Most bytes of history lines in the page for one violation.
const LINES_BYTES_MAX: usize = 20_000;

/// A violation, drawn.
#[derive(Debug, Serialize)]
pub(super) struct Explained {
    class: String,
    key: Option<String>,
    explanation: String,
    at: String,
    rows: Vec<Row>,
    /// Operations that are not shown.
    omitted: String,
    drawing: Option<Waterfall>,
    stale: Option<Stale>,
    log: Option<Extract>,
    /// The evidence as it stands in the history.
    lines: String,
    /// The fewest operations that still contradict each other.
    core: Option<Drawn>,
}

/// The fewest operations that still contradict each other, drawn.
#[derive(Debug, Serialize)]
struct Drawn {
    operations: String,
    is_minimal: bool,
    /// Whole SVG, with all texts escaped.
    svg: String,
    /// A history of its own.
    history: String,
}

/// An operation of the evidence, or an event of a node.
#[derive(Debug, Default, Serialize)]
struct Row {
    who: String,
    what: String,
    node: String,
    invoked: String,
    completed: String,
    took: String,
    outcome: &'static str,
    error: String,
    log_index: String,
    line: String,
}

/// How stale a read was, in words.
#[derive(Debug, Serialize)]
struct Stale {
    age: String,
    versions: String,
    served_by: String,
    true_leader: String,
    /// Whether the two are the same node in the same term.
    deposed: bool,
    guarantee: String,
    faults: Vec<String>,
    last_fault: String,
}

/// What all violations of a run share.
pub(super) struct Scene<'a> {
    pub(super) dir: &'a Path,
    pub(super) run: &'a Run,
    pub(super) meta: &'a Meta,
    pub(super) fetched: &'a Fetched,
    /// Operations' places in the run by history index.
    pub(super) places: &'a BTreeMap<u64, usize>,
}

/// Explains a violation. Only `in_full` looks into the nodes' logs.
pub(super) fn explain(scene: &Scene<'_>, violation: &Violation, in_full: bool) -> Explained {
    let (ops, events) = (ops(scene, violation), events(scene, violation));
    let omitted = hidden(ops.len() + events.len(), OPS_MAX);
    let ops = &ops[..ops.len().min(OPS_MAX)];
    let events = &events[..events.len().min(OPS_MAX - ops.len())];
    let stale = violation.stale.as_ref();
    let bracket = stale.zip(ops.last()).map(|(stale, read)| {
        let age = integer(stale.age_ms * 1e6);
        let label = format!("stale by {} ms", milliseconds(stale.age_ms));
        (read.invoked.saturating_sub(age), read.invoked, label)
    });
    let own = events.iter().filter_map(|line| node_of(&line.event.process));
    let node = stale
        .and_then(|stale| stale.node)
        .or_else(|| own.clone().next_back())
        .or_else(|| ops.last()?.node());
    let leader = stale.and_then(|stale| stale.true_leader).map(|(node, _)| node);
    let nodes: BTreeSet<u64> =
        ops.iter().filter_map(|op| op.node()).chain(own).chain(node).chain(leader).collect();
    let log = node.filter(|_| in_full).and_then(|node| {
        extract(scene.dir, scene.run, scene.meta.started_wall, node, violation.time)
    });
    let drawing = (!nodes.is_empty() || !ops.is_empty())
        .then(|| evidence(scene.run, ops, &nodes, violation.time, bracket));
    Explained {
        class: clip(&violation.class, 80),
        key: violation.key.as_deref().map(|key| clip(key, 80)),
        explanation: clip(&violation.explanation, EXPLANATION_CHARS_MAX),
        at: at(violation.time),
        rows: rows(ops, events),
        omitted,
        drawing,
        stale: stale.map(circumstances),
        log,
        lines: lines(ops, events),
        core: violation.core.as_ref().map(drawn),
    }
}

fn drawn(core: &Core) -> Drawn {
    Drawn {
        operations: plural(core.operations, "operation", "operations"),
        is_minimal: core.is_minimal,
        svg: core.svg.clone(),
        history: clip(&core.history, LINES_BYTES_MAX),
    }
}

/// The operations of the evidence in order of time.
fn ops<'a>(scene: &Scene<'a>, violation: &Violation) -> Vec<&'a Shown> {
    let places: BTreeSet<usize> =
        violation.events.iter().filter_map(|index| scene.places.get(index)).copied().collect();
    places.iter().filter_map(|place| scene.fetched.ops.get(place)).collect()
}

/// What else belongs to the evidence: what nodes did.
fn events<'a>(scene: &Scene<'a>, violation: &Violation) -> Vec<&'a Line> {
    let indexes: BTreeSet<&u64> = violation.events.iter().collect();
    indexes.into_iter().filter_map(|index| scene.fetched.events.get(index)).collect()
}

fn rows(ops: &[&Shown], events: &[&Line]) -> Vec<Row> {
    let mut rows: Vec<(u64, Row)> =
        ops.iter().map(|op| (op.invoke.event.index, of_op(op))).collect();
    rows.extend(events.iter().map(|line| (line.event.index, of_event(&line.event))));
    rows.sort_by_key(|(index, _)| *index);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn of_op(op: &Shown) -> Row {
    let completion = op.completion.as_ref().map(|line| &line.event);
    let line = match completion {
        Some(event) => {
            format!("{}, {}", line_number(op.invoke.event.index), line_number(event.index))
        }
        None => line_number(op.invoke.event.index).to_string(),
    };
    Row {
        who: format!("client {}", op.process),
        what: op.text(),
        node: op.node().map_or(String::new(), |node| format!("n{node}")),
        invoked: at(op.invoked),
        completed: completion.map_or("never".to_owned(), |_| at(op.completed)),
        took: completion.map_or(String::new(), |_| span(op.completed - op.invoked)),
        outcome: op.outcome.word(),
        error: op.error().unwrap_or_default(),
        log_index: completion.and_then(|event| event.log_index).map_or(String::new(), count),
        line,
    }
}

fn of_event(event: &Event) -> Row {
    let node = node_of(&event.process).map(|node| format!("n{node}"));
    Row {
        who: node.unwrap_or_else(|| clip(&event.process.to_string(), 20)),
        what: format!("{} {}", clip(&event.f, 40), clip(&event.value.to_string(), 200)),
        invoked: at(event.time),
        line: line_number(event.index).to_string(),
        ..Row::default()
    }
}

fn circumstances(stale: &StaleRead) -> Stale {
    let served_by = match (stale.node, &stale.role, stale.term) {
        (Some(node), Some(role), Some(term)) => {
            format!("n{node}, as {} in term {term}", clip(role, 30))
        }
        (Some(node), Some(role), None) => format!("n{node}, as {}", clip(role, 30)),
        (Some(node), None, _) => format!("n{node}"),
        (None, _, _) => "not known".to_owned(),
    };
    let true_leader = stale
        .true_leader
        .map_or("not known".to_owned(), |(node, term)| format!("n{node}, of term {term}"));
    let guarantee = match stale.class.as_str() {
        "read-your-writes" => {
            "read-your-writes: the client had made the newer write itself".to_owned()
        }
        "monotonic-reads" => {
            "monotonic-reads: the client had already seen the newer value".to_owned()
        }
        "real-time" => {
            "real-time: another client’s write was acknowledged before the read began".to_owned()
        }
        other => clip(other, 80),
    };
    Stale {
        age: milliseconds(stale.age_ms),
        versions: plural(stale.versions, "version", "versions"),
        served_by,
        true_leader,
        deposed: stale.role.as_deref() == Some("leader")
            && stale.true_leader.is_some_and(|leader| Some(leader) != stale.node.zip(stale.term)),
        guarantee,
        faults: stale.faults.iter().take(12).map(|fault| clip(fault, 160)).collect(),
        last_fault: stale.last_fault.as_deref().map_or(String::new(), |fault| clip(fault, 200)),
    }
}

/// The lines of the history that hold the evidence, so that they can be looked at or checked alone.
fn lines(ops: &[&Shown], events: &[&Line]) -> String {
    let of_op = |op: &&'_ Shown| [Some(op.invoke.clone()), op.completion.clone()];
    let mut all: Vec<Line> = ops.iter().flat_map(of_op).flatten().collect();
    all.extend(events.iter().map(|line| (*line).clone()));
    all.sort_by_key(|line| line.event.index);
    let mut text = String::new();
    for line in all {
        if text.len() > LINES_BYTES_MAX {
            text.push_str("…\n");
            break;
        }
        text.push_str(&clip(&line.text, 2_000));
        text.push('\n');
    }
    text
}

/// How many there are beyond those shown.
pub(super) fn hidden(all: usize, shown: usize) -> String {
    if all > shown { count(number(all - shown)) } else { String::new() }
}
