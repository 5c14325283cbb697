//! Did the nodes themselves behave: no exit but on the harness's account, no panic, one leader a term?

use std::collections::BTreeMap;

use serde_json::json;

use super::Options;
use super::cluster::{Cluster, Lead, node_of};
use super::text;
use crate::history::{Event, Exit, History};
use crate::results::{Check, Verdict, Violation};

pub(super) fn check(history: &History, cluster: &Cluster, options: &Options<'_>) -> Check {
    let mut violations = two_leaders(cluster);
    let leaders = violations.len();
    let mut exits = 0;
    let mut panics = 0;
    let mut damaged = 0;
    for event in history.others() {
        let Some(node) = node_of(&event.process) else { continue };
        match event.f.as_str() {
            "exit" => {
                if let Some(violation) = unexpected_exit(event, node) {
                    violations.push(violation);
                    exits += 1;
                }
            }
            "panic" => {
                violations.push(panic(event, node));
                panics += 1;
            }
            "damaged" if !cluster.damaged(node) => {
                violations.push(damaged_by_itself(event, node));
                damaged += 1;
            }
            _ => {}
        }
    }
    let found: Vec<String> = [
        (leaders, "term with two leaders", "terms with two leaders"),
        (panics, "panic", "panics"),
        (exits, "unexpected exit", "unexpected exits"),
        (damaged, "node with damaged files", "nodes with damaged files"),
    ]
    .into_iter()
    .filter(|(count, ..)| *count > 0)
    .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }))
    .collect();
    let summary = if found.is_empty() {
        "No node panicked or exited by itself, and no term had two leaders.".to_owned()
    } else {
        format!("Nodes misbehaved: {}.", text::list(&found))
    };
    let verdict = if violations.is_empty() { Verdict::Valid } else { Verdict::Invalid };
    violations.truncate(options.violations_max);
    Check {
        name: "nodes".to_owned(),
        verdict,
        summary,
        violations,
        details: json!({
            "two_leaders": leaders, "panics": panics, "unexpected_exits": exits, "damaged": damaged,
        }),
    }
}

fn unexpected_exit(event: &Event, node: u64) -> Option<Violation> {
    // An exit of another shape is not known to be expected.
    let exit = serde_json::from_value::<Exit>(event.value.clone()).unwrap_or_default();
    if exit.expected {
        return None;
    }
    let how = if exit.how.is_empty() { "for an unknown reason" } else { &exit.how };
    Some(Violation::of_events(
        "unexpected exit",
        format!(
            "{} exited at {} ({how}). Nobody had told it to; see the end of its log.",
            text::node(node),
            text::at(event.time)
        ),
        vec![event.index],
        event.time,
    ))
}

fn panic(event: &Event, node: u64) -> Violation {
    let line = event.value.get("line").and_then(|line| line.as_str()).unwrap_or("");
    let line: String = line.chars().take(300).collect();
    Violation::of_events(
        "panic",
        format!(
            "{} wrote to its log at {}: {line:?}. No correct node writes that.",
            text::node(node),
            text::at(event.time)
        ),
        vec![event.index],
        event.time,
    )
}

/// Peers make up for what a node has lost, so nobody else would notice.
fn damaged_by_itself(event: &Event, node: u64) -> Violation {
    let reason = event.value.get("reason").and_then(|reason| reason.as_str()).unwrap_or("");
    Violation::of_events(
        "damaged files",
        format!(
            "{} found its files damaged when it started at {}: {reason}. Nothing had damaged its disk, so it did that \
             itself.",
            text::node(node),
            text::at(event.time)
        ),
        vec![event.index],
        event.time,
    )
}

/// Terms that two nodes said to lead (election safety, Thesis §3.4).
fn two_leaders(cluster: &Cluster) -> Vec<Violation> {
    let mut first: BTreeMap<u64, Lead> = BTreeMap::new();
    let mut found: BTreeMap<u64, Violation> = BTreeMap::new();
    for lead in cluster.leaders.iter().chain(&cluster.asked) {
        let other = *first.entry(lead.term).or_insert(*lead);
        if other.node == lead.node || found.contains_key(&lead.term) {
            continue;
        }
        let explanation = format!(
            "{} led term {} at {}, and {} led the same term at {}. A term has \
             one leader at most, so a node voted twice or a vote was counted that was not given.",
            text::node(other.node),
            lead.term,
            text::at(other.time),
            text::node(lead.node),
            text::at(lead.time),
        );
        let events = vec![other.event, lead.event];
        found.insert(
            lead.term,
            Violation::of_events("two leaders in one term", explanation, events, lead.time),
        );
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who leads by these events: node, how it says so, role, term.
    fn found(events: &[(u64, &str, &str, u64)]) -> Vec<Violation> {
        let mut text =
            json!({"history": 1, "workload": "w", "model": "register"}).to_string() + "\n";
        for (index, (node, f, role, term)) in events.iter().enumerate() {
            let event = json!({
                "index": index, "time": index, "process": format!("node-{node}"), "type": "info",
                "f": f, "value": {"role": role, "term": term},
            });
            text = format!("{text}{event}\n");
        }
        two_leaders(&Cluster::of(&History::parse(text.as_bytes(), "test").unwrap()))
    }

    #[test]
    fn files_are_damaged_only_by_whoever_damages_disks() {
        let judge = |fault: &str| {
            let lines = [
                json!({"history": 1, "workload": "w", "model": "register"}),
                json!({"index": 0, "time": 0, "process": "nemesis", "type": "info", "f": fault,
                    "value": {"phase": "start", "fault": 1, "nodes": [2], "outcome": "installed"}}),
                json!({"index": 1, "time": 1, "process": "node-2", "type": "info", "f": "damaged",
                    "value": {"reason": "line 3 is bad"}}),
            ];
            let text = lines.map(|line| line.to_string()).join("\n");
            let history = History::parse(text.as_bytes(), "test").unwrap();
            check(&history, &Cluster::of(&history), &Options::default())
        };
        for fault in ["bit-flip", "truncate", "wipe"] {
            assert_eq!(judge(fault).verdict, Verdict::Valid, "{fault}");
        }
        let found = judge("power-loss");
        assert_eq!(found.summary, "Nodes misbehaved: 1 node with damaged files.");
        assert!(found.violations[0].explanation.contains("n2 found its files damaged"));
        assert!(found.violations[0].explanation.contains("line 3 is bad"));
    }

    #[test]
    fn term_has_one_leader_whether_nodes_say_so_themselves_or_when_asked() {
        for (first, second) in
            [("role", "role"), ("role", "status"), ("status", "role"), ("status", "status")]
        {
            let two = [(1, first, "leader", 4), (2, second, "leader", 4)];
            let violations = found(&two);
            assert_eq!(violations.len(), 1, "{first}, {second}");
            assert!(violations[0].explanation.contains("term 4"), "{violations:?}");
            let same = [(1, first, "leader", 4), (1, second, "leader", 4)];
            assert!(found(&same).is_empty());
            let later = [(1, first, "leader", 4), (2, second, "leader", 5)];
            assert!(found(&later).is_empty());
            let follower = [(1, first, "leader", 4), (2, second, "follower", 4)];
            assert!(found(&follower).is_empty());
        }
    }
}
