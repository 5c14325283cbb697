//! Did enough happen for silence to mean something?

use std::collections::BTreeSet;

use serde_json::json;

use super::cluster::Cluster;
use super::text;
use crate::formats::Format;
use crate::history::History;
use crate::model::Model;
use crate::ops::{KeyOps, Op};
use crate::results::{Check, Counts, Verdict};

pub(super) fn check(history: &History, cluster: &Cluster, counts: &Counts) -> Check {
    if history.format() != Format::History {
        return foreign(history);
    }
    let mut missing = minima(history, counts);
    missing.extend(functions(history, counts));
    missing.extend(end_of_run(history, cluster));
    missing.extend(final_reads(history.keys(), cluster));
    let verdict = if missing.is_empty() { Verdict::Valid } else { Verdict::Unknown };
    let summary = if missing.is_empty() {
        "Everything that this run was to exercise has happened.".to_owned()
    } else {
        format!("Too little happened to tell: {}.", missing.join("; "))
    };
    Check {
        name: "coverage".to_owned(),
        verdict,
        summary,
        violations: Vec::new(),
        details: json!({"missing": missing, "truncated_line": history.truncated_line()}),
    }
}

/// A history from elsewhere does not say what was to happen in its run.
fn foreign(history: &History) -> Check {
    let summary = match history.truncated_line() {
        Some(line) => format!(
            "The file breaks off in the middle of line {line}; the verdict is on what stands before."
        ),
        None => "The file does not say what its run was to exercise.".to_owned(),
    };
    Check {
        name: "coverage".to_owned(),
        verdict: Verdict::Valid,
        summary,
        violations: Vec::new(),
        details: json!({"missing": [], "truncated_line": history.truncated_line()}),
    }
}

/// What the header demands.
fn minima(history: &History, counts: &Counts) -> Vec<String> {
    let minima = &history.header().minima;
    let mut missing = Vec::new();
    // Even a history without demands must not be empty.
    let ok_min = minima.ok.max(1);
    if counts.ok < ok_min {
        missing.push(format!(
            "{} of at least {} operations succeeded",
            text::number(counts.ok),
            text::number(ok_min)
        ));
    }
    if counts.leader_changes < minima.leader_changes {
        missing.push(format!(
            "the leader changed {} of at least {} times",
            counts.leader_changes, minima.leader_changes
        ));
    }
    for (kind, &least) in &minima.faults {
        let bit = counts.faults.get(kind).copied().unwrap_or(0);
        if bit < least {
            let unproven = counts.faults_without_proof.get(kind).copied().unwrap_or(0);
            let others = match unproven {
                0 => String::new(),
                n => format!(" ({n} more did not prove that they bit)"),
            };
            missing.push(format!("fault {kind} bit {bit} of at least {least} times{others}"));
        }
    }
    missing
}

/// Kinds of operations that were tried and never succeeded.
fn functions(history: &History, counts: &Counts) -> Vec<String> {
    let tried: BTreeSet<&str> = history
        .keys()
        .iter()
        .flat_map(|key| key.ops.iter().map(|op| key.model.function(&op.action)))
        .collect();
    tried
        .into_iter()
        .filter(|f| !counts.ok_by_f.contains_key(*f))
        .map(|f| format!("no {f} succeeded"))
        .collect()
}

/// Whether the run came to its end, and the cluster with it.
fn end_of_run(history: &History, cluster: &Cluster) -> Vec<String> {
    let mut missing = Vec::new();
    if cluster.phase("not-recovered").is_some() {
        missing.push("the cluster did not recover after the faults were healed".to_owned());
    }
    if !cluster.phases.is_empty() && cluster.phase("end").is_none() {
        missing.push("the run was cut short, its last phase is missing".to_owned());
    }
    if let Some(line) = history.truncated_line() {
        missing.push(format!(
            "the history breaks off in the middle of line {line}, which was left out"
        ));
    }
    missing
}

/// Keys that were changed and not read at the end.
fn final_reads(keys: &[KeyOps], cluster: &Cluster) -> Option<String> {
    // A history without phases promises no final reads, and one that was cut short is missing more than those.
    let phase = cluster.phase("final")?;
    let unread: Vec<String> = keys
        .iter()
        // A lock tells nothing.
        .filter(|key| key.model != Model::Mutex)
        .filter(|key| key.ops.iter().any(|op| op.is_ok() && !tells_all(key, op)))
        .filter(|key| !key.ops.iter().any(|op| tells_all(key, op) && op.call > phase.event))
        .map(|key| text::quote(key.name.as_deref().unwrap_or("")))
        .collect();
    (!unread.is_empty()).then(|| format!("no final read of {}", text::list(&unread)))
}

/// Whether the operation shows what became of all others: a queue is known once it is empty.
fn tells_all(key: &KeyOps, op: &Op) -> bool {
    op.is_ok() && super::changes_nothing(key, op)
}
