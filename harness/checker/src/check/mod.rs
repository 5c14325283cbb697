//! The verdict: one property a file, put together here.

mod cluster;
mod counts;
mod coverage;
mod exactly_once;
mod keys;
mod linearizable;
mod nodes;
mod stale_reads;
mod text;

use self::cluster::Cluster;
use self::keys::KeyOps;
use crate::history::History;
use crate::model::{BadOperation, Model};
use crate::results::{Check, Counts, Results, Verdict};

/// How far the checks may go before they give up and say so.
///
/// With the same caps the verdict is a function of the history alone; `cancelled` is for callers who prefer an answer
/// in time to the same answer every time.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Configurations (state, set of operations done) to explore, for each key.
    pub configurations_max: u64,
    /// Bytes of memory for configurations, at any time.
    pub memory_bytes_max: u64,
    /// Violations listed by each check; summaries count them all.
    pub violations_max: usize,
    /// Asked now and then; from its first `true` on, whatever is not decided stays unknown.
    pub cancelled: Option<&'a (dyn Fn() -> bool + Sync)>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            configurations_max: 2_000_000,
            memory_bytes_max: 1 << 30,
            violations_max: 20,
            cancelled: None,
        }
    }
}

/// The verdict on a history, and what it rests on.
pub fn check(history: &History, options: &Options<'_>) -> Results {
    let cluster = Cluster::of(history);
    let counts = counts::count(history, &cluster);
    let mut checks = match operations(history) {
        Ok(keys) => on_operations(history, &keys, &cluster, &counts, options),
        // The reader has refused such histories already; but a check that cannot run must never look like success.
        Err(error) => vec![Check {
            name: "linearizable".to_owned(),
            verdict: Verdict::Unknown,
            summary: format!("The operations cannot be understood: {error}."),
            violations: Vec::new(),
            details: serde_json::Value::Null,
        }],
    };
    checks.push(nodes::check(history, &cluster, options));
    let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Unknown);
    Results { verdict, headline: headline(verdict, &checks, &counts), checks, counts }
}

fn operations(history: &History) -> Result<Vec<KeyOps<'_>>, BadOperation> {
    let model = Model::named(&history.header().model).unwrap_or(Model::Register);
    keys::split(history, model)
}

fn on_operations(
    history: &History,
    keys: &[KeyOps<'_>],
    cluster: &Cluster,
    counts: &Counts,
    options: &Options<'_>,
) -> Vec<Check> {
    let found: Vec<_> = keys.iter().map(stale_reads::find::find).collect();
    vec![
        linearizable::check(history, keys, &found, options),
        stale_reads::check(history, keys, &found, cluster, options),
        exactly_once::check(history, keys, &found, cluster, options),
        coverage::check(history, keys, cluster, counts),
    ]
}

/// The verdict in one sentence.
fn headline(verdict: Verdict, checks: &[Check], counts: &Counts) -> String {
    let first = |verdict: Verdict, names: &[&str]| {
        let of = |name: &&str| {
            checks.iter().find(|check| check.name == *name && check.verdict == verdict)
        };
        names.iter().find_map(of).map_or(String::new(), |check| check.summary.clone())
    };
    match verdict {
        Verdict::Valid => {
            let faults: u64 = counts.faults.values().sum();
            format!(
                "Valid: {} on {} are linearizable, through {} and {}.",
                text::count(counts.invoked, "operation"),
                text::count(counts.keys, "key"),
                text::count(faults, "fault"),
                text::count(counts.leader_changes, "leader change"),
            )
        }
        Verdict::Unknown => {
            format!("Unknown: {}", first(verdict, &["linearizable", "coverage", "nodes"]))
        }
        // The most telling of what was found: stale reads are explained better than the lack of any order.
        Verdict::Invalid => {
            let order = ["exactly-once", "stale-reads", "linearizable", "nodes"];
            format!("Invalid: {}", first(verdict, &order))
        }
    }
}
