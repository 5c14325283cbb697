//! How long nobody could write: figures of every run, and a promise where the faults left a majority untouched.
//!
//! An *outage* is the time between one acknowledged write and the next, whoever's and wherever. It is charged to every fault
//! that was active at some time of it. What a cluster may take is the header's to say, see
//! [`Limits`](crate::history::Limits); without that there is no verdict, only figures.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::cluster::{Cluster, FaultSpan};
use super::text;
use crate::history::History;
use crate::ops::Action;
use crate::results::{Check, Counts, Verdict, Violation};

const HOUR: f64 = 3600.0;

/// No write was acknowledged in between, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outage {
    from: u64,
    to: u64,
}

impl Outage {
    fn length(self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// What the faults of one kind cost.
#[derive(Debug, Default)]
struct Cost {
    /// The longest outage of each, nanoseconds.
    outages: Vec<u64>,
    /// From the end of each to the next acknowledged write, nanoseconds.
    recoveries: Vec<u64>,
}

/// None if the history does not tell when the faults were over.
pub(super) fn check(history: &History, cluster: &Cluster, counts: &Counts) -> Option<Check> {
    let begin = cluster.phase("clean")?.time;
    let end = cluster.phase("heal")?.time;
    let outages = outages(history, begin, end);
    let longest = outages.iter().copied().max_by_key(|outage| outage.length())?;
    let costs = costs(cluster, &outages, &acknowledged(history));
    let recovered = cluster.phase("recovered").map(|phase| phase.time.saturating_sub(end));
    let limit = history.header().limits.outage_ms.map(|ms| ms.saturating_mul(1_000_000));
    let violations: Vec<Violation> = outages
        .iter()
        .filter(|outage| limit.is_some_and(|limit| outage.length() > limit))
        .map(|outage| too_long(*outage, limit.unwrap_or(0), cluster))
        .collect();
    let verdict = if violations.is_empty() { Verdict::Valid } else { Verdict::Invalid };
    let per_hour = changes_per_hour(counts, end.saturating_sub(begin));
    let summary = summary(longest, recovered, limit, violations.len(), cluster);
    let details = json!({
        "longest_outage_ms": text::milliseconds(longest.length()),
        "longest_outage_at_ms": text::milliseconds(longest.from),
        "outage_ms_max": history.header().limits.outage_ms,
        "recovered_after_ms": recovered.map(text::milliseconds),
        "leader_changes_per_hour": per_hour,
        "faults": costs.into_iter().map(|(kind, cost)| (kind.to_owned(), cost.figures())).collect::<Map<_, _>>(),
    });
    Some(Check { name: "availability".to_owned(), verdict, summary, violations, details })
}

/// When writes were acknowledged, in order.
fn acknowledged(history: &History) -> Vec<u64> {
    let writes = history.keys().iter().flat_map(|key| &key.ops);
    let writes = writes.filter(|op| op.is_ok() && op.action != Action::Read);
    let mut times: Vec<u64> = writes.filter_map(|op| history.completed(op)).collect();
    times.sort_unstable();
    times
}

fn outages(history: &History, begin: u64, end: u64) -> Vec<Outage> {
    let times = acknowledged(history).into_iter().filter(|time| (begin..=end).contains(time));
    let mut outages = Vec::new();
    let mut from = begin;
    for to in times.chain([end]) {
        outages.push(Outage { from, to });
        from = to;
    }
    outages
}

/// Kind by kind, in order of their names.
fn costs<'c>(
    cluster: &'c Cluster,
    outages: &[Outage],
    acknowledged: &[u64],
) -> BTreeMap<&'c str, Cost> {
    let mut costs: BTreeMap<&str, Cost> = BTreeMap::new();
    for fault in cluster.faults.iter().filter(|fault| !fault.skipped) {
        let cost = costs.entry(&fault.kind).or_default();
        cost.outages.extend(during(fault, outages).map(Outage::length).max());
        let next = fault.stop.and_then(|stop| {
            let next = acknowledged.partition_point(|&time| time < stop);
            acknowledged.get(next).map(|time| time - stop)
        });
        cost.recoveries.extend(next);
    }
    costs
}

/// Outages are in order, and do not overlap.
fn during<'o>(fault: &FaultSpan, outages: &'o [Outage]) -> impl Iterator<Item = Outage> + use<'o> {
    let (start, stop) = (fault.start, fault.stop.unwrap_or(u64::MAX));
    let first = outages.partition_point(|outage| outage.to < start);
    outages[first..].iter().copied().take_while(move |outage| outage.from <= stop)
}

impl Cost {
    fn figures(mut self) -> Value {
        self.outages.sort_unstable();
        self.recoveries.sort_unstable();
        let middle = |all: &[u64]| all.get(all.len() / 2).copied().map(text::milliseconds);
        let most = |all: &[u64]| all.last().copied().map(text::milliseconds);
        json!({
            "faults": self.outages.len(),
            "outage_ms_p50": middle(&self.outages),
            "outage_ms_max": most(&self.outages),
            "recovery_ms_p50": middle(&self.recoveries),
            "recovery_ms_max": most(&self.recoveries),
        })
    }
}

fn changes_per_hour(counts: &Counts, nanoseconds: u64) -> Option<u64> {
    let seconds = text::milliseconds(nanoseconds) / 1e3;
    let changes = f64::from(u32::try_from(counts.leader_changes).ok()?);
    // Rounded to a whole number, and far from the bounds of either type.
    format!("{:.0}", changes / seconds * HOUR).parse().ok()
}

fn summary(
    longest: Outage,
    recovered: Option<u64>,
    limit: Option<u64>,
    too_long: usize,
    cluster: &Cluster,
) -> String {
    let during = faults(longest, cluster);
    let mut words = vec![format!(
        "At most {} without an acknowledged write{during}",
        text::span(longest.length())
    )];
    match limit {
        Some(limit) if too_long > 0 => {
            words.push(format!(
                "{} longer than the {} allowed",
                text::count(too_long, "outage"),
                text::span(limit)
            ));
        }
        Some(limit) => words.push(format!("{} are allowed", text::span(limit))),
        None => {}
    }
    if let Some(recovered) = recovered {
        words.push(format!("all nodes served {} after the last fault", text::span(recovered)));
    }
    format!("{}.", words.join("; "))
}

/// `, during kill n2 and pause n3`.
fn faults(outage: Outage, cluster: &Cluster) -> String {
    let active: Vec<String> =
        cluster.faults_active(outage.from, outage.to).map(FaultSpan::words).collect();
    if active.is_empty() { String::new() } else { format!(", during {}", text::list(&active)) }
}

fn too_long(outage: Outage, limit: u64, cluster: &Cluster) -> Violation {
    let active = faults(outage, cluster);
    let explanation = format!(
        "From {} to {} no write was acknowledged{active}: that is {}, and {} are allowed. All the time a majority of \
         the nodes was up and could reach each other, so somebody could have led and committed.",
        text::at(outage.from),
        text::at(outage.to),
        text::span(outage.length()),
        text::span(limit),
    );
    Violation {
        class: "outage".to_owned(),
        key: None,
        explanation,
        events: Vec::new(),
        time: outage.from,
        core: None,
        stale: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::counts;

    /// Writes acknowledged at these milliseconds, from 0 to 1000; a fault from 300 to 500; healed at 1000.
    fn judge(writes: &[u64], outage_ms_max: Option<u64>) -> Check {
        let mut events = vec![
            (0, json!({"process": "runner", "type": "info", "f": "phase", "value": "clean"})),
            (
                300,
                json!({"process": "nemesis", "type": "info", "f": "kill", "value": {"phase": "start", "fault": 1, "text": "kill n2", "outcome": "installed"}}),
            ),
            (
                500,
                json!({"process": "nemesis", "type": "info", "f": "kill", "value": {"phase": "stop", "fault": 1, "proof": 1}}),
            ),
            (1000, json!({"process": "runner", "type": "info", "f": "phase", "value": "heal"})),
            (
                1250,
                json!({"process": "runner", "type": "info", "f": "phase", "value": "recovered"}),
            ),
        ];
        for (number, at) in writes.iter().enumerate() {
            let value = format!("v{number}");
            events.push((*at, json!({"process": number, "type": "invoke", "f": "write", "key": "x", "value": value})));
            events.push((
                *at,
                json!({"process": number, "type": "ok", "f": "write", "key": "x", "value": value}),
            ));
        }
        events.sort_by_key(|(at, _)| *at);
        let mut text = json!({"history": 1, "workload": "w", "model": "register", "limits": {"outage_ms": outage_ms_max}}).to_string();
        for (index, (at, mut event)) in events.into_iter().enumerate() {
            event["index"] = json!(index);
            event["time"] = json!(at * 1_000_000);
            text = format!("{text}\n{event}");
        }
        let history = History::parse(format!("{text}\n").as_bytes(), "test").unwrap();
        let cluster = Cluster::of(&history);
        let counts = counts::count(&history, &cluster);
        check(&history, &cluster, &counts).expect("it was healed")
    }

    #[test]
    fn longest_outage_is_charged_to_the_fault_amid_it() {
        let check = judge(&[100, 200, 350, 900, 990, 1100], None);
        assert_eq!(check.verdict, Verdict::Valid);
        let expected = "At most 550 ms without an acknowledged write, during kill n2; all nodes served 250 ms after the last fault.";
        assert_eq!(check.summary, expected);
        assert_eq!(check.details["longest_outage_at_ms"], json!(350.0));
        let kill = json!({"faults": 1, "outage_ms_p50": 550.0, "outage_ms_max": 550.0, "recovery_ms_p50": 400.0, "recovery_ms_max": 400.0});
        assert_eq!(check.details["faults"], json!({"kill": kill}));
    }

    #[test]
    fn silence_at_the_beginning_and_at_the_end_counts() {
        assert_eq!(judge(&[700], None).details["longest_outage_ms"], json!(700.0));
        assert_eq!(judge(&[100], None).details["longest_outage_ms"], json!(900.0));
        assert_eq!(judge(&[], None).details["longest_outage_ms"], json!(1000.0));
    }

    #[test]
    fn outage_is_a_violation_only_if_it_is_longer_than_allowed() {
        let writes = [100, 350, 900];
        assert_eq!(judge(&writes, Some(550)).verdict, Verdict::Valid);
        let check = judge(&writes, Some(549));
        assert_eq!(check.verdict, Verdict::Invalid);
        let [violation] = &check.violations[..] else { panic!("{:?}", check.violations) };
        assert_eq!((violation.class.as_str(), violation.time), ("outage", 350_000_000));
        assert!(
            violation
                .explanation
                .starts_with("From 0.350 s to 0.900 s no write was acknowledged, during kill n2"),
            "{}",
            violation.explanation
        );
    }

    #[test]
    fn leader_changes_are_told_by_the_hour() {
        let counts = Counts { leader_changes: 3, ..Counts::default() };
        assert_eq!(changes_per_hour(&counts, 30_000_000_000), Some(360));
    }
}
