//! Did a read return what was certainly gone when it began? Linear-time, and certain: what it accuses is no matter of
//! search. It does not find everything that is not linearizable, but what it finds it can explain.

mod explain;
pub(super) mod find;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::find::{Found, Stale};
use super::Options;
use super::cluster::Cluster;
use super::text::{self, Words};
use crate::history::History;
use crate::ops::{NEVER, Op};
use crate::results::{Check, Verdict};

/// One stale read among all.
struct Case<'c> {
    words: Words<'c>,
    stale: Stale,
    /// When the read was invoked.
    time: u64,
    /// Since when the oldest write that it missed was effective, before that.
    age: u64,
    node: Option<u64>,
}

impl Case<'_> {
    fn read(&self) -> &Op {
        &self.words.key.ops[self.stale.read]
    }
}

/// Reads, counted.
#[derive(Default)]
struct Totals {
    reads: usize,
    judged: usize,
    reads_by_node: BTreeMap<u64, usize>,
}

pub(super) fn check(
    history: &History,
    found: &[Found],
    cluster: &Cluster,
    options: &Options<'_>,
) -> Check {
    let mut totals = Totals::default();
    let mut cases = Vec::new();
    for (key, found) in history.keys().iter().zip(found) {
        let words = Words { history, key };
        for op in key.ops.iter().filter(|op| op.is_ok_read()) {
            totals.reads += 1;
            if let Some(node) = history.node(op) {
                *totals.reads_by_node.entry(node).or_default() += 1;
            }
        }
        totals.judged += found.judged;
        cases.extend(found.stale.iter().map(|stale| case(words, stale.clone())));
    }
    // Worst first; reads with the same age in order of time, so that the list is the same each time.
    cases.sort_by_key(|case| (std::cmp::Reverse(case.age), case.read().call));
    Check {
        name: "stale-reads".to_owned(),
        verdict: if cases.is_empty() { Verdict::Valid } else { Verdict::Invalid },
        summary: summary(&totals, &cases),
        violations: cases
            .iter()
            .take(options.violations_max)
            .map(|case| explain::violation(case, cluster))
            .collect(),
        details: details(&totals, &cases, cluster),
    }
}

fn case(words: Words<'_>, stale: Stale) -> Case<'_> {
    let read = &words.key.ops[stale.read];
    let time = words.called(read);
    let proof = &words.key.ops[stale.missed.proof];
    let since = words.history.completed(proof).filter(|_| proof.ret != NEVER).unwrap_or(time);
    let node = words.history.node(read);
    Case { words, stale, time, age: time.saturating_sub(since), node }
}

fn summary(totals: &Totals, cases: &[Case<'_>]) -> String {
    let Some(worst) = cases.first() else {
        let left = totals.reads - totals.judged;
        let left = if left == 0 {
            String::new()
        } else {
            format!(
                "; {} could not be judged without a search (values written twice, or numbers that fall)",
                text::number(left)
            )
        };
        return format!("None of {} is certainly stale{left}.", text::count(totals.reads, "read"));
    };
    let mut keys: Vec<_> = cases.iter().map(|case| case.words.key.name.as_deref()).collect();
    keys.sort_unstable();
    keys.dedup();
    let stale = if cases.len() == 1 { "is" } else { "are" };
    let from = worst.node.map_or(String::new(), |node| format!(", from {}", text::node(node)));
    format!(
        "{} of {} {stale} stale, on {}; the worst is {} old{from}.",
        text::number(cases.len()),
        text::count(totals.reads, "read"),
        text::count(keys.len(), "key"),
        text::span(worst.age),
    )
}

fn details(totals: &Totals, cases: &[Case<'_>], cluster: &Cluster) -> Value {
    let mut details = json!({
        "reads": totals.reads,
        "judged": totals.judged,
        "stale": cases.len(),
        "nodes": by_node(totals, cases),
    });
    if cases.is_empty() {
        return details;
    }
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut roles: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases {
        *keys.entry(case.words.key.name.as_deref().unwrap_or("")).or_default() += 1;
        *classes.entry(case.stale.class.name()).or_default() += 1;
        let role = case.words.history.role(case.read());
        *roles.entry(role.unwrap_or("unknown")).or_default() += 1;
    }
    let (faults, outside_faults) = by_fault(cases, cluster);
    let healed = cluster.phase("heal").map(|phase| phase.time);
    let after_heal = healed.map(|healed| cases.iter().filter(|case| case.time > healed).count());
    let more = json!({
        "keys": keys,
        "classes": classes,
        "roles": roles,
        "age_ms": ages(cases),
        "first_ns": cases.iter().map(|case| case.time).min(),
        "last_ns": cases.iter().map(|case| case.time).max(),
        "after_heal": after_heal,
        "ended_with_heal": after_heal.map(|count| count == 0),
        "faults": faults,
        "outside_faults": outside_faults,
    });
    if let (Value::Object(details), Value::Object(more)) = (&mut details, more) {
        details.extend(more);
    }
    details
}

/// Per node: all reads, and the stale ones.
fn by_node(totals: &Totals, cases: &[Case<'_>]) -> Value {
    let mut nodes: BTreeMap<String, Value> = BTreeMap::new();
    for (&node, &reads) in &totals.reads_by_node {
        let stale = cases.iter().filter(|case| case.node == Some(node)).count();
        nodes.insert(node.to_string(), json!({"reads": reads, "stale": stale}));
    }
    json!(nodes)
}

/// Stale reads while each fault was active, and those while none was.
fn by_fault(cases: &[Case<'_>], cluster: &Cluster) -> (Value, usize) {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    let mut outside = 0;
    for case in cases {
        let mut any = false;
        for fault in cluster.faults_active(case.time, explain::end(case)) {
            *counts.entry(fault.number).or_default() += 1;
            any = true;
        }
        outside += usize::from(!any);
    }
    let faults: Vec<Value> = cluster
        .faults
        .iter()
        .filter_map(|fault| {
            let stale = counts.get(&fault.number)?;
            Some(json!({
                "fault": fault.number,
                "kind": fault.kind,
                "text": fault.words(),
                "start_ns": fault.start,
                "stop_ns": fault.stop,
                "stale": stale,
            }))
        })
        .collect();
    (json!(faults), outside)
}

/// Percentiles, by nearest rank.
fn ages(cases: &[Case<'_>]) -> Value {
    let mut ages: Vec<u64> = cases.iter().map(|case| case.age).collect();
    ages.sort_unstable();
    let percentile = |percent: usize| {
        let rank = (ages.len() * percent).div_ceil(100).max(1);
        ages.get(rank - 1).map(|&age| text::milliseconds(age))
    };
    json!({"p50": percentile(50), "p95": percentile(95), "p99": percentile(99), "max": percentile(100)})
}
