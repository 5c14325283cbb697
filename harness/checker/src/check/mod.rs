//! The verdict: one property a file, put together here.

mod availability;
mod cluster;
mod counts;
mod coverage;
pub mod decision;
pub mod direct;
mod elections;
mod elements;
pub mod exact;
mod exactly_once;
pub mod explain;
mod failover;
pub(crate) mod linearizable;
mod logs;
mod nodes;
mod stale_reads;
mod text;
mod totals;

use self::cluster::Cluster;
use crate::formats::Format;
use crate::history::History;
use crate::model::Model;
use crate::ops::{Action, KeyOps, NOTHING, Op, Seen};
use crate::results::{Check, Counts, Results, Verdict};

/// How far the checks may go before they give up and say so.
///
/// With the same caps the verdict is a function of the history alone; `cancelled` is for callers who prefer an answer
/// in time to the same answer every time.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Configurations (state, set of operations done) to explore for each key, however short it is.
    pub configurations_max: u64,
    /// And for each of its operations, if that is more: long keys may take longer.
    pub configurations_per_operation: u64,
    /// Bytes of memory for configurations, at any time.
    pub memory_bytes_max: u64,
    /// Keys to decide at the same time; none: one for each core.
    pub threads: Option<usize>,
    /// Violations listed by each check; summaries count them all.
    pub violations_max: usize,
    /// Asked now and then; from its first `true` on, whatever is not decided stays unknown.
    pub cancelled: Option<&'a (dyn Fn() -> bool + Sync)>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            configurations_max: 2_000_000,
            // One key of 50 clients and five values takes about 30.
            configurations_per_operation: 100,
            memory_bytes_max: 1 << 30,
            threads: None,
            violations_max: 20,
            cancelled: None,
        }
    }
}

/// The verdict on a history, and what it rests on.
pub fn check(history: &History, options: &Options<'_>) -> Results {
    let cluster = Cluster::of(history);
    let counts = counts::count(history, &cluster);
    let (linearizable, verified) = linearizable::check(history, options);
    // Where there is an order, nothing is stale, lost or doubled.
    let proven = |number: usize| verified[number];
    let keys = history.keys().iter().enumerate();
    let found: Vec<_> = keys
        .map(|(number, key)| {
            if proven(number) {
                stale_reads::find::none_of(key)
            } else {
                stale_reads::find::find(key)
            }
        })
        .collect();
    let mut checks = vec![
        linearizable,
        stale_reads::check(history, &found, &cluster, options),
        exactly_once::check(history, &found, &verified, &cluster, options),
        coverage::check(history, &cluster, &counts),
    ];
    let has_sets = history.keys().iter().any(|key| key.model == Model::Set);
    if has_sets && history.format() == Format::History {
        checks.push(elements::check(history, &verified, options));
    }
    if let Some(most_ms) = history.header().failover_ms {
        checks.push(failover::check(history, &cluster, most_ms));
    }
    if let Some(total) = history.header().total {
        checks.push(totals::check(history, total, options));
    }
    // Histories from elsewhere do not tell of nodes.
    if history.format() == Format::History {
        checks.push(nodes::check(history, &cluster, options));
        checks.extend(elections::check(history, &cluster, options));
        checks.extend(logs::check(history, &cluster, options));
        checks.extend(availability::check(history, &cluster, &counts));
    }
    let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Unknown);
    let through = (history.format() == Format::History).then(|| {
        let faults: u64 = counts.faults.values().sum();
        let changes = text::count(counts.leader_changes, "leader change");
        format!(", through {} and {changes}", text::count(faults, "fault"))
    });
    let headline = headline(verdict, &checks, &counts, &through.unwrap_or_default());
    Results { verdict, headline, checks, counts }
}

/// The verdict in one sentence; `through` says what the operations went through, if that is known.
fn headline(verdict: Verdict, checks: &[Check], counts: &Counts, through: &str) -> String {
    let first = |verdict: Verdict, names: &[&str]| {
        let of = |name: &&str| {
            checks.iter().find(|check| check.name == *name && check.verdict == verdict)
        };
        names.iter().find_map(of).map_or(String::new(), |check| check.summary.clone())
    };
    match verdict {
        Verdict::Valid => {
            let operations = text::count(counts.invoked, "operation");
            let keys = text::count(counts.keys, "key");
            format!("Valid: {operations} on {keys} are linearizable{through}.")
        }
        Verdict::Unknown => {
            let order = ["linearizable", "coverage", "nodes", "logs", "failover", "totals"];
            format!("Unknown: {}", first(verdict, &order))
        }
        // The most telling of what was found: stale reads are explained better than the lack of any order.
        Verdict::Invalid => {
            let order = [
                "totals",
                "elements",
                "exactly-once",
                "stale-reads",
                "linearizable",
                "logs",
                "nodes",
                "elections",
                "availability",
            ];
            format!("Invalid: {}", first(verdict, &order))
        }
    }
}

/// Whether the operation left everything as it was: a read, a transaction of reads, a dequeue that found nothing.
fn changes_nothing(key: &KeyOps, op: &Op) -> bool {
    match op.action {
        Action::Read => true,
        Action::Dequeue => op.seen == Seen::Word(NOTHING),
        Action::Txn(steps) => !key.micros(steps).any(|step| step.writes),
        _ => false,
    }
}
