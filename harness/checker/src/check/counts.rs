//! Counts what happened.

use std::collections::BTreeSet;

use super::cluster::Cluster;
use crate::history::{History, Outcome};
use crate::results::Counts;

pub(super) fn count(history: &History, cluster: &Cluster) -> Counts {
    let mut counts = Counts::default();
    let mut keys = BTreeSet::new();
    for operation in history.operations() {
        let invocation = history.invocation(operation);
        keys.insert(invocation.key.as_deref());
        counts.invoked += 1;
        match operation.outcome {
            Outcome::Ok => {
                counts.ok += 1;
                *counts.ok_by_f.entry(invocation.f.clone()).or_default() += 1;
            }
            Outcome::Fail => counts.fail += 1,
            Outcome::Open => counts.info += 1,
        }
    }
    for fault in cluster.faults.iter().filter(|fault| !fault.skipped) {
        let bit = fault.proof > 0;
        let by_kind = if bit { &mut counts.faults } else { &mut counts.faults_without_proof };
        *by_kind.entry(fault.kind.clone()).or_default() += 1;
    }
    let terms: BTreeSet<u64> = cluster.leaders.iter().map(|lead| lead.term).collect();
    counts.leader_changes = length(terms.len().saturating_sub(1));
    counts.keys = length(keys.len());
    counts.duration = history.events().last().map_or(0, |event| event.time);
    counts
}

fn length(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
