//! Counts what happened.

use std::collections::BTreeSet;

use super::cluster::Cluster;
use crate::history::{History, Outcome};
use crate::results::Counts;

pub(super) fn count(history: &History, cluster: &Cluster) -> Counts {
    let mut counts = Counts::default();
    for key in history.keys() {
        let mut ok_by_f: Vec<(&'static str, u64)> = Vec::new();
        for op in &key.ops {
            counts.invoked += 1;
            match op.outcome {
                Outcome::Ok => {
                    counts.ok += 1;
                    let f = key.model.function(&op.action);
                    // There are few names, and each stands in one place mostly: no need to compare the letters.
                    match ok_by_f.iter_mut().find(|(known, _)| std::ptr::eq(*known, f)) {
                        Some((_, ok)) => *ok += 1,
                        None => ok_by_f.push((f, 1)),
                    }
                }
                Outcome::Fail => counts.fail += 1,
                Outcome::Open => counts.info += 1,
            }
        }
        for (f, ok) in ok_by_f {
            *counts.ok_by_f.entry(f.to_owned()).or_default() += ok;
        }
    }
    for fault in cluster.faults.iter().filter(|fault| !fault.skipped) {
        let bit = fault.proof > 0;
        let by_kind = if bit { &mut counts.faults } else { &mut counts.faults_without_proof };
        *by_kind.entry(fault.kind.clone()).or_default() += 1;
    }
    let terms: BTreeSet<u64> = cluster.leaders.iter().map(|lead| lead.term).collect();
    counts.leader_changes = length(terms.len().saturating_sub(1));
    counts.keys = length(history.keys().len());
    counts.duration = history.duration();
    counts
}

fn length(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
