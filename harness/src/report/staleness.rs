//! All stale reads of a run together: how old, from whom, under which faults.

use std::collections::BTreeMap;

use history_checker::results::Results;
use serde::{Deserialize, Serialize};

use super::words::{at, clip, count, float, milliseconds, number, plural};

/// The figures of the `stale-reads` check, as far as it gives them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    reads: u64,
    stale: u64,
    age_ms: Option<Ages>,
    classes: BTreeMap<String, u64>,
    nodes: BTreeMap<String, OfNode>,
    roles: BTreeMap<String, u64>,
    keys: BTreeMap<String, u64>,
    faults: Vec<OfFault>,
    outside_faults: u64,
    after_heal: u64,
    first_ns: Option<u64>,
    last_ns: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ages {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OfNode {
    reads: u64,
    stale: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OfFault {
    kind: String,
    stale: u64,
}

/// Name and value of each figure.
#[derive(Debug, Serialize)]
pub(super) struct Staleness {
    facts: Vec<(&'static str, String)>,
}

/// The totals, if there were stale reads.
pub(super) fn staleness(results: &Results) -> Option<Staleness> {
    let check = results.checks.iter().find(|check| check.name == "stale-reads")?;
    let details: Details = serde_json::from_value(check.details.clone()).ok()?;
    if details.stale == 0 {
        return None;
    }
    let mut facts = vec![("Stale", share(details.stale, details.reads))];
    if let Some(ages) = &details.age_ms {
        let [p50, p95, p99, max] = [ages.p50, ages.p95, ages.p99, ages.max].map(milliseconds);
        facts.push(("Age", format!("p50 {p50} ms, p95 {p95} ms, p99 {p99} ms, max {max} ms")));
    }
    if let (Some(first), Some(last)) = (details.first_ns, details.last_ns) {
        facts.push(("When", when(first, last, details.after_heal)));
    }
    facts.push(("Broken guarantee", list(&details.classes)));
    facts.push(("Served as", list(&details.roles)));
    facts.push(("By node", by_node(&details.nodes)));
    facts.push(("By fault", by_fault(&details.faults, details.outside_faults)));
    facts.push(("Keys", plural(number(details.keys.len()), "key", "keys")));
    facts.retain(|(_, value)| !value.is_empty());
    Some(Staleness { facts })
}

/// `384 of 3,414 reads (11.2 %)`.
fn share(stale: u64, reads: u64) -> String {
    let percent = 100.0 * float(stale) / float(reads.max(1));
    format!("{} of {} ({percent:.1} %)", count(stale), plural(reads, "read", "reads"))
}

fn when(first: u64, last: u64, after_heal: u64) -> String {
    let healed = match after_heal {
        0 => "none after everything was healed".to_owned(),
        n => format!("{} after everything was healed", count(n)),
    };
    format!("from {} s to {} s; {healed}", at(first), at(last))
}

/// `287 real-time, 97 read-your-writes`, the most frequent first.
fn list(counts: &BTreeMap<String, u64>) -> String {
    let mut counts: Vec<(&String, &u64)> = counts.iter().collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let words: Vec<String> = counts
        .iter()
        .take(12)
        .map(|(name, n)| format!("{} {}", count(**n), clip(name, 40)))
        .collect();
    words.join(", ")
}

/// `n1 80 of 587, n2 78 of 645`.
fn by_node(nodes: &BTreeMap<String, OfNode>) -> String {
    let word = |(id, of): (&String, &OfNode)| {
        format!("n{} {} of {}", clip(id, 8), count(of.stale), count(of.reads))
    };
    nodes.iter().take(12).map(word).collect::<Vec<String>>().join(", ")
}

/// `287 during pause, 97 during none`. A read during two faults counts for both.
fn by_fault(faults: &[OfFault], outside: u64) -> String {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for fault in faults.iter().filter(|fault| fault.stale > 0) {
        *kinds.entry(clip(&fault.kind, 40)).or_default() += fault.stale;
    }
    if outside > 0 {
        kinds.insert("outside any".to_owned(), outside);
    }
    list(&kinds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use history_checker::results::{Check, Counts, Verdict};
    use serde_json::json;

    fn of(details: serde_json::Value) -> Option<Staleness> {
        let check = Check {
            name: "stale-reads".to_owned(),
            verdict: Verdict::Invalid,
            summary: String::new(),
            violations: Vec::new(),
            details,
        };
        let counts = Counts::default();
        staleness(&Results {
            verdict: Verdict::Invalid,
            headline: String::new(),
            checks: vec![check],
            counts,
        })
    }

    #[test]
    fn totals_are_told_in_words() {
        let details = json!({
            "reads": 3414, "stale": 384, "age_ms": { "p50": 2.25, "p95": 204.4, "p99": 1362.6, "max": 1733.5 },
            "classes": { "read-your-writes": 97, "real-time": 287 }, "outside_faults": 3, "first_ns": 393_983_592,
            "last_ns": 12_701_497_356_u64, "nodes": { "1": { "reads": 587, "stale": 80 } },
            "faults": [{ "kind": "pause", "stale": 80 }, { "kind": "pause", "stale": 1 }],
        });
        let facts = of(details).unwrap().facts;
        let value = |name: &str| facts.iter().find(|fact| fact.0 == name).unwrap().1.as_str();
        assert_eq!(value("Stale"), "384 of 3,414 reads (11.2 %)");
        assert_eq!(value("Age"), "p50 2.25 ms, p95 204 ms, p99 1,363 ms, max 1,734 ms");
        assert_eq!(value("When"), "from 0.394 s to 12.701 s; none after everything was healed");
        assert_eq!(value("Broken guarantee"), "287 real-time, 97 read-your-writes");
        assert_eq!(value("By node"), "n1 80 of 587");
        assert_eq!(value("By fault"), "81 pause, 3 outside any");
    }

    #[test]
    fn missing_or_odd_figures_are_left_out() {
        assert!(of(json!(null)).is_none());
        assert!(of(json!({ "stale": 0, "reads": 9 })).is_none());
        assert!(of(json!({ "stale": "many" })).is_none());
        assert!(of(json!({ "stale": 1 })).is_some());
    }
}
