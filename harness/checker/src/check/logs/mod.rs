//! The second oracle: what the nodes' own logs said when the run was over, against what clients had been told.
//!
//! Three promises (Thesis §3.2, figure 3.2; §6.3): committed entries are the same everywhere; what was acknowledged is among
//! them, at the index that the answer named and under no earlier one; what certainly failed is not. And nodes that have
//! applied the same have the same state, snapshots hold who the members were (Thesis §5.1.2), and whoever led had the votes of
//! a majority ([`votes`]).
//!
//! A retry may put a request into the log twice: the first entry is what takes effect, the later ones are recognised. What a
//! snapshot has replaced cannot be seen any more, and counts for neither side.

mod votes;

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Options;
use super::cluster::{Cluster, node_of};
use super::text::{self, Words};
use crate::history::{Committed, Difference, Event, History, NodeLog, NodeState, Outcome, Process};
use crate::ops::Op;
use crate::results::{Check, Verdict, Violation};

/// Longest piece of an entry that is quoted, characters.
const QUOTED_MAX: usize = 160;

/// What the events say.
#[derive(Default)]
struct Logs<'h> {
    nodes: BTreeMap<u64, (NodeLog, &'h Event)>,
    states: Vec<(u64, NodeState, &'h Event)>,
    /// The index of the first entry that was made for a request, and the last one of the same.
    requests: HashMap<String, u64>,
    /// The indexes of committed changes of members, in order.
    configs: BTreeSet<u64>,
    /// Ranges of indexes, ends included, in order.
    ranges: Vec<(u64, u64)>,
    /// The last index that any node has, committed or not; none if some node's files were not read.
    end: Option<u64>,
}

/// None if nobody looked.
pub(super) fn check(history: &History, cluster: &Cluster, options: &Options<'_>) -> Option<Check> {
    let logs = Logs::of(history);
    if logs.nodes.is_empty() {
        return None;
    }
    let mut violations = differing(&logs);
    violations.extend(states(&logs));
    violations.extend(configurations(&logs));
    let disagree = violations.len();
    violations.extend(damaged(&logs, cluster));
    let (leaders, unelected) = votes::unelected(&logs, cluster);
    let elections = unelected.len();
    violations.extend(unelected);
    let clients = clients(history, &logs, &mut violations);
    let total = violations.len();
    let unread: Vec<String> = logs
        .nodes
        .iter()
        .filter(|(_, (log, _))| !log.problem.is_empty())
        .map(|(node, (log, _))| format!("{} ({})", text::node(*node), log.problem))
        .collect();
    let read = logs.nodes.len() - unread.len();
    let verdict = match (total, read) {
        (0, 0) => Verdict::Unknown,
        (0, _) => Verdict::Valid,
        _ => Verdict::Invalid,
    };
    let mut summary = match verdict {
        Verdict::Unknown => "No node's log could be read.".to_owned(),
        Verdict::Valid => clients.summary(read, logs.entries()),
        Verdict::Invalid if clients.wrong > 0 || disagree > 0 => format!(
            "The nodes' own logs contradict {} ({}).",
            if clients.wrong > 0 { "what clients were told" } else { "each other" },
            text::count(total, "time")
        ),
        Verdict::Invalid if elections > 0 => format!(
            "By the votes in the nodes' own logs, {} without a majority.",
            match elections {
                1 => "one leader was elected".to_owned(),
                n => format!("{} leaders were elected", text::number(n)),
            }
        ),
        Verdict::Invalid => {
            "A node's files are damaged, and nothing had damaged its disk.".to_owned()
        }
    };
    if !unread.is_empty() {
        summary = format!("{summary} Not read: {}.", text::list(&unread));
    }
    violations.truncate(options.violations_max);
    let details = json!({
        "nodes_read": read,
        "entries": logs.entries(),
        "acknowledged_found": clients.found,
        "acknowledged_in_snapshots": clients.unseen,
        "failed_absent": clients.absent,
        "leaders_judged": leaders,
    });
    Some(Check { name: "logs".to_owned(), verdict, summary, violations, details })
}

impl<'h> Logs<'h> {
    fn of(history: &'h History) -> Logs<'h> {
        let mut logs = Logs::default();
        for event in history.others() {
            match (node_of(&event.process), event.f.as_str()) {
                (Some(node), "log") => {
                    logs.nodes.insert(node, (said(event), event));
                }
                (Some(node), "state") => logs.states.push((node, said(event), event)),
                (None, "committed") if is_runner(event) => logs.add(said(event)),
                _ => {}
            }
        }
        let read = || logs.nodes.values().map(|(log, _)| log).filter(|log| log.problem.is_empty());
        let nodes = usize::try_from(history.header().nodes).unwrap_or(usize::MAX);
        logs.end = read().map(|log| log.end).max().filter(|_| read().count() >= nodes);
        logs
    }

    fn add(&mut self, Committed { first, requests, configs, .. }: Committed) {
        self.configs.extend(configs);
        let mut next = first;
        for request in requests {
            if let Some(request) = request {
                let index = self.requests.entry(request).or_insert(next);
                *index = (*index).min(next);
            }
            next = next.saturating_add(1);
        }
        let Some(last) = next.checked_sub(1).filter(|last| *last >= first) else { return };
        match self.ranges.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
            Some(_) | None => self.ranges.push((first, last)),
        }
    }

    /// Whether the entry at this index is known.
    fn sees(&self, index: u64) -> bool {
        let after = self.ranges.partition_point(|&(first, _)| first <= index);
        after.checked_sub(1).is_some_and(|at| self.ranges[at].1 >= index)
    }

    fn entries(&self) -> u64 {
        let lengths = self.ranges.iter().map(|(first, last)| (last - first).saturating_add(1));
        lengths.fold(0, u64::saturating_add)
    }
}

fn is_runner(event: &Event) -> bool {
    matches!(&event.process, Process::Named(name) if name == "runner")
}

/// An event's value; of another shape, it says nothing.
fn said<T: DeserializeOwned + Default>(event: &Event) -> T {
    serde_json::from_value(event.value.clone()).unwrap_or_default()
}

/// Committed entries that are not the same everywhere (log matching, state-machine safety: Thesis §3.5, §3.6.3).
fn differing(logs: &Logs<'_>) -> Vec<Violation> {
    let of_node = |(node, (log, event)): (&u64, &(NodeLog, &Event))| {
        let tell = |difference: &Difference| {
            let explanation = format!(
                "At log index {} {} has committed {}, and {} has committed {}. Committed entries are the same on \
                 all nodes, so one of them lost or replaced what was safe.",
                difference.index,
                text::node(*node),
                quoted(&difference.here),
                text::node(difference.node),
                quoted(&difference.there)
            );
            Violation::of_events("logs differ", explanation, vec![event.index], event.time)
        };
        log.differs.iter().map(tell).collect::<Vec<_>>()
    };
    logs.nodes.iter().flat_map(of_node).collect()
}

fn quoted(entry: &str) -> String {
    if entry.chars().count() <= QUOTED_MAX {
        return entry.to_owned();
    }
    format!("{}…", entry.chars().take(QUOTED_MAX).collect::<String>())
}

/// Nodes that have applied the same and are not in the same state (Thesis §2.1).
fn states(logs: &Logs<'_>) -> Vec<Violation> {
    let mut first: BTreeMap<u64, &(u64, NodeState, &Event)> = BTreeMap::new();
    let mut found = Vec::new();
    for this in logs.states.iter().filter(|(_, state, _)| !state.state_hash.is_empty()) {
        let (node, state, event) = this;
        let (other, other_state, other_event) = *first.entry(state.applied).or_insert(this);
        if other_state.state_hash == state.state_hash {
            continue;
        }
        let explanation = format!(
            "{} and {} had both applied the log up to index {}, but their states were not the same (hashes {} and \
             {}). What a command does must follow from the log alone.",
            text::node(*other),
            text::node(*node),
            state.applied,
            other_state.state_hash,
            state.state_hash
        );
        let events = vec![other_event.index, event.index];
        found.push(Violation::of_events("states differ", explanation, events, event.time));
    }
    found
}

/// Snapshots that hold an older configuration than was committed before their last entry (Thesis §5.1.2).
fn configurations(logs: &Logs<'_>) -> Vec<Violation> {
    let wrong = |(node, (log, event)): (&u64, &(NodeLog, &Event))| {
        let held = log.snapshot_config?;
        let config =
            *logs.configs.range(..=log.snapshot).next_back().filter(|config| **config > held)?;
        let explanation = format!(
            "{}'s snapshot reaches up to log index {} and has the members as of index {held}, but they changed at index \
             {config}, too. Whoever starts from it goes by members of long ago, and elects leaders with them.",
            text::node(*node),
            log.snapshot,
        );
        Some(Violation::of_events(
            "snapshot with old members",
            explanation,
            vec![event.index],
            event.time,
        ))
    };
    logs.nodes.iter().filter_map(wrong).collect()
}

/// Files that are damaged although nobody did anything to their disk.
fn damaged(logs: &Logs<'_>, cluster: &Cluster) -> Vec<Violation> {
    let by_itself =
        logs.nodes.iter().filter(|(node, (log, _))| log.damaged && !cluster.damaged(**node));
    let tell = |(node, (log, event)): (&u64, &(NodeLog, &Event))| {
        let explanation = format!(
            "{}'s files could not be read when the run was over: {}. Nothing had damaged its disk, so it wrote that itself.",
            text::node(*node),
            log.problem,
        );
        Violation::of_events("damaged files", explanation, vec![event.index], event.time)
    };
    by_itself.map(tell).collect()
}

/// What was found of what clients had been told.
#[derive(Default)]
struct Clients {
    /// Acknowledged, and there.
    found: u64,
    /// Acknowledged, and where nobody can look any more.
    unseen: u64,
    /// Failed, and not there.
    absent: u64,
    wrong: u64,
}

impl Clients {
    fn summary(&self, nodes: usize, entries: u64) -> String {
        let entries = match entries {
            1 => "1 entry".to_owned(),
            n => format!("{} entries", text::number(n)),
        };
        let agree = match nodes {
            1 => format!("One node has committed {entries}"),
            _ => format!("{} agree on {entries}", text::capital(&text::count(nodes, "node"))),
        };
        let unseen = match self.unseen {
            0 => String::new(),
            n => format!(", {} more are in snapshots", text::number(n)),
        };
        let there = match self.found {
            1 => "1 acknowledged write is".to_owned(),
            n => format!("all {} acknowledged writes are", text::number(n)),
        };
        format!("{agree}: {there} where the answers said{unseen}, and nothing that failed is.")
    }
}

fn clients(history: &History, logs: &Logs<'_>, violations: &mut Vec<Violation>) -> Clients {
    let mut clients = Clients::default();
    for key in history.keys() {
        let words = Words { history, key };
        // What reads only may be in the log, and may fail: nobody can tell the difference.
        for op in key.ops.iter().filter(|op| !key.only_reads(&op.action)) {
            let Some(request) = history.request(op) else { continue };
            let there = logs.requests.get(request).copied();
            let wrong = match op.outcome {
                Outcome::Ok => acknowledged(&words, op, there, logs, &mut clients),
                // What the log itself refused is in the log.
                Outcome::Fail if op.log_index == 0 => failed(&words, op, there, &mut clients),
                Outcome::Fail | Outcome::Open => None,
            };
            clients.wrong += u64::from(wrong.is_some());
            violations.extend(wrong);
        }
    }
    clients
}

fn acknowledged(
    words: &Words<'_>,
    op: &Op,
    there: Option<u64>,
    logs: &Logs<'_>,
    clients: &mut Clients,
) -> Option<Violation> {
    let told = op.log_index;
    let problem = match there {
        Some(index) if index == told || told == 0 => {
            clients.found += 1;
            return None;
        }
        // The entry that took effect may lie before what can be seen; this one is a retry that was recognised.
        Some(index) if told < index && !logs.sees(told) => {
            clients.unseen += 1;
            return None;
        }
        Some(index) => format!("it stands at log index {index}, and the answer said {told}"),
        None if logs.sees(told) => {
            format!("the committed entry at log index {told}, which the answer named, is another")
        }
        None if logs.end.is_some_and(|end| end < told) => {
            format!("the answer named log index {told}, and no node's log reaches so far")
        }
        None => {
            clients.unseen += 1;
            return None;
        }
    };
    let explanation = format!(
        "The {} of {} to {} was acknowledged at {}, but {problem}. Whatever is acknowledged is committed, and stays where \
         it is.",
        words.key.model.function(&op.action),
        words.client(op),
        words.name(),
        text::at(words.completed(op)),
    );
    Some(told_wrong("acknowledged write not in the log", explanation, words, op))
}

fn failed(
    words: &Words<'_>,
    op: &Op,
    there: Option<u64>,
    clients: &mut Clients,
) -> Option<Violation> {
    let Some(index) = there else {
        clients.absent += 1;
        return None;
    };
    let explanation = format!(
        "The {} of {} to {} failed at {} ({}), but it is committed, at log index {index}. A definite error means that \
         nothing was done and nothing will be.",
        words.key.model.function(&op.action),
        words.client(op),
        words.name(),
        text::at(words.completed(op)),
        words.history.error(op).unwrap_or("no reason given"),
    );
    Some(told_wrong("failed write in the log", explanation, words, op))
}

fn told_wrong(class: &str, explanation: String, words: &Words<'_>, op: &Op) -> Violation {
    let mut found =
        Violation::of_events(class, explanation, words.events([op]), words.completed(op));
    found.key = words.key.name.as_deref().map(str::to_owned);
    found
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::history::Header;

    /// Two acknowledged writes and one that failed; then what the nodes' logs said.
    fn judge(nodes: &[(u64, Value)], committed: &[Value], states: &[(u64, Value)]) -> Check {
        let clients = [
            json!([0, "invoke", "write", "x", "0-1", "p0@0:1", null]),
            json!([0, "ok", "write", "x", "0-1", "p0@0:1", 2]),
            json!([1, "invoke", "write", "x", "1-2", "p1@0:1", null]),
            json!([1, "ok", "write", "x", "1-2", "p1@0:1", 3]),
            json!([2, "invoke", "write", "x", "2-3", "p2@0:1", null]),
            json!([2, "fail", "write", "x", "2-3", "p2@0:1", null]),
        ];
        let mut events: Vec<Value> = Vec::new();
        for line in clients {
            events.push(json!({
                "process": line[0], "type": line[1], "f": line[2], "key": line[3], "value": line[4],
                "request": line[5], "log_index": line[6],
            }));
        }
        let named = |process: &str, f: &str, value: &Value| json!({"process": process, "type": "info", "f": f, "value": value});
        events
            .extend(states.iter().map(|(id, state)| named(&format!("node-{id}"), "state", state)));
        events.extend(committed.iter().map(|piece| named("runner", "committed", piece)));
        events.extend(nodes.iter().map(|(id, log)| named(&format!("node-{id}"), "log", log)));
        for (index, event) in events.iter_mut().enumerate() {
            event["index"] = json!(index);
            event["time"] = json!(1_000_000 * index);
        }
        let events =
            events.into_iter().map(|event| serde_json::from_value(event).unwrap()).collect();
        let header =
            Header { history: 1, model: "register".to_owned(), nodes: 2, ..Header::default() };
        let history = History::new(header, events).unwrap();
        check(&history, &Cluster::of(&history), &Options::default()).expect("somebody looked")
    }

    fn log(first: u64, last: u64) -> Value {
        json!({"first": first, "last": last, "end": last})
    }

    fn committed(first: u64, requests: &Value) -> Value {
        json!({"node": 1, "first": first, "term": 1, "requests": requests})
    }

    fn all() -> Value {
        committed(1, &json!([null, "p0@0:1", "p1@0:1", "p0@0:1"]))
    }

    #[test]
    fn logs_that_hold_what_clients_were_told_are_valid() {
        let check = judge(&[(1, log(1, 4)), (2, log(1, 4))], &[all()], &[]);
        assert_eq!(check.verdict, Verdict::Valid);
        let expected = "2 nodes agree on 4 entries: all 2 acknowledged writes are where the answers said, and nothing that failed is.";
        assert_eq!(check.summary, expected);
    }

    #[test]
    fn snapshot_holds_the_members_as_of_its_last_entry() {
        let found = |snapshot: u64, held: Value, configs: &[u64]| {
            let mut log = log(1, 4);
            log["snapshot"] = json!(snapshot);
            log["snapshot_config"] = held;
            let mut all = all();
            all["configs"] = json!(configs);
            let check = judge(&[(1, log)], &[all], &[]);
            let classes = check.violations.iter().map(|violation| violation.class.as_str());
            let is_found = classes.collect::<Vec<_>>() == ["snapshot with old members"];
            assert_eq!(check.verdict == Verdict::Invalid, is_found);
            is_found
        };
        assert!(found(50, json!(0), &[40, 60]));
        assert!(found(50, json!(30), &[30, 50]));
        assert!(!found(50, json!(40), &[30, 40]));
        assert!(!found(50, json!(45), &[30, 40]), "some have fallen to a snapshot");
        assert!(!found(39, json!(0), &[40, 60]), "they changed later");
        assert!(!found(50, json!(0), &[]), "they never changed");
        assert!(!found(50, Value::Null, &[40]), "it is not known");
    }

    #[test]
    fn history_without_logs_has_no_such_part() {
        let header = Header { history: 1, model: "register".to_owned(), ..Header::default() };
        let history = History::new(header, Vec::new()).unwrap();
        assert_eq!(check(&history, &Cluster::of(&history), &Options::default()), None);
    }

    #[test]
    fn acknowledged_write_that_another_entry_stands_for_is_a_violation() {
        let other = committed(1, &json!([null, "p0@0:1", "p7@0:1", "p1@0:1"]));
        let check = judge(&[(1, log(1, 4)), (2, log(1, 4))], &[other], &[]);
        assert_eq!(check.verdict, Verdict::Invalid);
        let [violation] = &check.violations[..] else { panic!("{:?}", check.violations) };
        assert_eq!(
            (violation.class.as_str(), violation.key.as_deref()),
            ("acknowledged write not in the log", Some("x"))
        );
        assert!(
            violation.explanation.contains("stands at log index 4, and the answer said 3"),
            "{}",
            violation.explanation
        );
        assert_eq!(violation.events, [2, 3]);
    }

    #[test]
    fn acknowledged_write_beyond_all_logs_is_lost_if_all_were_read() {
        let short = committed(1, &json!([null, "p0@0:1"]));
        let check = judge(&[(1, log(1, 2)), (2, log(1, 2))], std::slice::from_ref(&short), &[]);
        assert_eq!(check.violations.len(), 1);
        assert!(check.violations[0].explanation.contains("no node's log reaches so far"));
        for unread in [vec![(1, log(1, 2))], vec![(1, log(1, 2)), (2, json!({"problem": "gone"}))]]
        {
            let check = judge(&unread, std::slice::from_ref(&short), &[]);
            assert_eq!(check.verdict, Verdict::Valid, "{}", check.summary);
        }
        // Somebody has it, and did not know yet that it is committed.
        let longer = json!({"first": 1, "last": 2, "end": 3});
        let check = judge(&[(1, log(1, 2)), (2, longer)], &[short], &[]);
        assert_eq!(check.verdict, Verdict::Valid, "{}", check.summary);
    }

    #[test]
    fn what_snapshots_replaced_counts_for_neither_side() {
        let check =
            judge(&[(1, log(4, 4)), (2, log(4, 4))], &[committed(4, &json!(["p0@0:1"]))], &[]);
        assert_eq!(check.verdict, Verdict::Valid);
        assert!(
            check.summary.contains(
                "all 0 acknowledged writes are where the answers said, 2 more are in snapshots"
            ),
            "{}",
            check.summary
        );
    }

    #[test]
    fn failed_write_in_the_log_is_a_violation() {
        let told = committed(1, &json!(["p2@0:1", "p0@0:1", "p1@0:1"]));
        let check = judge(&[(1, log(1, 3)), (2, log(1, 3))], &[told], &[]);
        let [violation] = &check.violations[..] else { panic!("{:?}", check.violations) };
        assert_eq!(violation.class, "failed write in the log");
        assert!(check.summary.contains("what clients were told (1 time)"), "{}", check.summary);
    }

    #[test]
    fn transaction_that_only_reads_may_fail_and_be_in_the_log() {
        let text = r#"{"history":1,"workload":"w","model":"multi-register","nodes":1}
{"index":0,"time":1,"process":1,"type":"invoke","f":"txn","key":"x","value":[["r","a",null]],"request":"p1@0:1"}
{"index":1,"time":2,"process":1,"type":"fail","f":"txn","key":"x","value":[["r","a",null]],"error":"timeout","request":"p1@0:1"}
{"index":2,"time":3,"process":2,"type":"invoke","f":"txn","key":"x","value":[["w","a",1]],"request":"p2@0:1"}
{"index":3,"time":4,"process":2,"type":"fail","f":"txn","key":"x","value":[["w","a",1]],"error":"overloaded","request":"p2@0:1"}
{"index":4,"time":5,"process":"runner","type":"info","f":"committed","value":{"node":1,"first":1,"term":1,"requests":["p1@0:1","p2@0:1"]}}
{"index":5,"time":6,"process":"node-1","type":"info","f":"log","value":{"first":1,"last":2,"end":2}}
"#;
        let history = History::parse(text.as_bytes(), "test").unwrap();
        let check =
            check(&history, &Cluster::of(&history), &Options::default()).expect("somebody looked");
        assert_eq!(check.violations.len(), 1, "{:?}", check.violations);
        assert!(check.violations[0].explanation.contains("client 2"), "{:?}", check.violations);
    }

    #[test]
    fn logs_and_states_that_differ_are_violations() {
        let differs = json!({"first": 1, "last": 4, "end": 4, "differs": [{"index": 3, "here": "{a}", "node": 1, "there": "{b}"}]});
        let state = |hash: &str| json!({"commit": 4, "applied": 4, "state_hash": hash});
        let nodes = [(1, log(1, 4)), (2, differs)];
        let check = judge(&nodes, &[all()], &[(1, state("aa")), (2, state("bb"))]);
        let classes: Vec<_> = check.violations.iter().map(|found| found.class.as_str()).collect();
        assert_eq!(classes, ["logs differ", "states differ"]);
        assert!(
            check.violations[0]
                .explanation
                .contains("n2 has committed {a}, and n1 has committed {b}")
        );
        assert!(check.summary.contains("contradict each other (2 times)"), "{}", check.summary);
    }

    #[test]
    fn logs_that_nobody_could_read_prove_nothing() {
        let check = judge(&[(1, json!({"problem": "no such directory"}))], &[], &[]);
        assert_eq!(check.verdict, Verdict::Unknown);
        assert!(check.summary.contains("n1 (no such directory)"), "{}", check.summary);
    }
}
