//! How long after the death of a leader was the first write acknowledged?
//!
//! Only for histories whose header says how long that may take. It is no proof of anything wrong: a cluster that takes longer
//! has not shown what it was to show.

use serde_json::json;

use super::cluster::{Cluster, FaultSpan};
use super::text;
use crate::history::History;
use crate::ops::{KeyOps, Op};
use crate::results::{Check, Verdict};

pub(super) fn check(history: &History, cluster: &Cluster, most_ms: u64) -> Check {
    let writes = acknowledged(history);
    let kills = cluster.faults.iter().filter(|fault| kills_leader(fault, cluster));
    let mut waits = Vec::new();
    let mut never = 0_u64;
    for kill in kills {
        match first_after(&writes, kill.start) {
            Some(write) => waits.push(write - kill.start),
            None => never += 1,
        }
    }
    waits.sort_unstable();
    let late = waits.iter().filter(|&&wait| wait > most_ms * 1_000_000).count();
    let (verdict, summary) = match (waits.last(), late, never) {
        (None, _, 0) => (Verdict::Unknown, "No leader was killed.".to_owned()),
        (Some(&max), 0, 0) => (
            Verdict::Valid,
            format!(
                "After the death of a leader, {} in all, the first write was acknowledged within {} in half of the \
                 cases, within {} in 95 %, and within {} at the most.",
                waits.len(),
                text::span(percentile(&waits, 50)),
                text::span(percentile(&waits, 95)),
                text::span(max)
            ),
        ),
        _ => (
            Verdict::Unknown,
            format!(
                "After {} of {} deaths of leaders no write was acknowledged within {}.",
                text::number(late) + if never > 0 { " or more" } else { "" },
                waits.len(),
                text::span(most_ms * 1_000_000)
            ),
        ),
    };
    let ms = |percent: usize| {
        (!waits.is_empty()).then(|| text::milliseconds(percentile(&waits, percent)))
    };
    Check {
        name: "failover".to_owned(),
        verdict,
        summary,
        violations: Vec::new(),
        details: json!({
            "leaders_killed": waits.len(),
            "late": late,
            "without_any_write_after": never,
            "ms": {"p50": ms(50), "p95": ms(95), "max": ms(100)},
        }),
    }
}

/// Whether it killed whoever led when it began.
fn kills_leader(fault: &FaultSpan, cluster: &Cluster) -> bool {
    let leader = cluster.leader_at(fault.start);
    fault.kind == "kill"
        && fault.proof > 0
        && leader.is_some_and(|leader| fault.nodes.contains(&leader.node))
}

/// Invocation and completion of every acknowledged write, in order of invocation.
fn acknowledged(history: &History) -> Vec<(u64, u64)> {
    let is_write = |key: &KeyOps, op: &&Op| op.is_ok() && !super::changes_nothing(key, op);
    let ops =
        history.keys().iter().flat_map(|key| key.ops.iter().filter(move |op| is_write(key, op)));
    let mut writes: Vec<(u64, u64)> =
        ops.filter_map(|op| Some((history.called(op)?, history.completed(op)?))).collect();
    writes.sort_unstable();
    writes
}

/// When the first write was acknowledged of those that were begun after that time: an earlier one may have been done before.
fn first_after(writes: &[(u64, u64)], time: u64) -> Option<u64> {
    let later = writes.partition_point(|&(called, _)| called <= time);
    writes[later..].iter().map(|&(_, completed)| completed).min()
}

/// Of numbers in ascending order, not none.
pub(super) fn percentile(ascending: &[u64], percent: usize) -> u64 {
    let rank = (ascending.len() * percent).div_ceil(100).saturating_sub(1);
    ascending.get(rank).copied().unwrap_or(0)
}
