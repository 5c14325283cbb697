//! Was every leader elected? A vote is durable before it is given (Thesis §3.8) and is never taken back (§3.4), so whoever
//! has led a term has the votes of a majority in the nodes' logs.
//!
//! Judged only where it is certain who had a vote: while the members are those that the cluster was founded with. Of a node
//! whose log does not reach back so far, or whose disk was damaged, it is not known how it voted; it may have voted for
//! anybody.

use std::collections::BTreeMap;

use super::Logs;
use crate::check::cluster::{Cluster, Lead};
use crate::check::text;
use crate::history::History;
use crate::results::Violation;

/// Leaders for whom too few votes are there.
pub(super) fn unelected(
    history: &History,
    logs: &Logs<'_>,
    cluster: &Cluster,
) -> (usize, Vec<Violation>) {
    let voters = history.header().nodes;
    if logs.members_changed() || cluster.faults.iter().any(|fault| fault.kind == "swap-member") {
        return (0, Vec::new());
    }
    let mut leads: BTreeMap<(u64, u64), &Lead> = BTreeMap::new();
    for lead in cluster.leaders.iter().chain(&cluster.asked) {
        leads.entry((lead.term, lead.node)).or_insert(lead);
    }
    let found = leads.values().filter_map(|lead| unelected_leader(lead, voters, logs, cluster));
    (leads.len(), found.collect())
}

fn unelected_leader(
    lead: &Lead,
    voters: u64,
    logs: &Logs<'_>,
    cluster: &Cluster,
) -> Option<Violation> {
    let voted = |node: u64| {
        let (log, _) = logs.nodes.get(&node).filter(|_| !cluster.damaged(node))?;
        let is_known = log.votes_since.is_some_and(|since| since <= lead.term);
        let vote = log.votes.iter().find(|vote| vote.term == lead.term);
        is_known.then_some(vote.is_some_and(|vote| vote.node == lead.node))
    };
    let is_unknown = |node: &u64| voted(*node).is_none();
    let has_voted = |node: &u64| voted(*node) == Some(true);
    let unknown = (1..=voters).filter(is_unknown).count();
    let have: Vec<u64> = (1..=voters).filter(has_voted).collect();
    let most = u64::try_from(have.len() + unknown).unwrap_or(u64::MAX);
    if most > voters / 2 {
        return None;
    }
    let names: Vec<String> = have.iter().map(|node| text::node(*node)).collect();
    let there = match names.as_slice() {
        [] => "no node has a vote for it in its log".to_owned(),
        [one] => format!("only {one} has a vote for it in its log"),
        _ => format!("only {} have votes for it in their logs", text::list(&names)),
    };
    let of = match unknown {
        0 => format!("of {}", text::count(voters, "node")),
        _ => format!(
            "of the {} whose logs reach back to that",
            text::count(voters.saturating_sub(u64::try_from(unknown).unwrap_or(0)), "node")
        ),
    };
    let explanation = format!(
        "{} led term {} at {}, but {of} {there}. A vote is durable before it is given, so there was no majority for it.",
        text::node(lead.node),
        lead.term,
        text::at(lead.time),
    );
    Some(Violation::of_events("leader without votes", explanation, vec![lead.event], lead.time))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::check::Options;
    use crate::history::{Header, History};
    use crate::results::Verdict;

    /// Explanations of what is wrong where, of three nodes, node 2 led term 4 and these are the logs; `fault`: what was
    /// done to node 3.
    fn wrong(logs: &[Value], fault: Option<&str>, configs: &[u64]) -> Vec<String> {
        let event = |process: &str, f: &str, value: Value| json!({"process": process, "type": "info", "f": f, "value": value});
        let mut events =
            vec![event("node-2", "role", json!({"role": "leader", "term": 4, "leader": 2}))];
        for phase in ["start", "stop"] {
            let value = json!({"phase": phase, "fault": 1, "nodes": [3], "proof": 1});
            events.extend(fault.map(|fault| event("nemesis", fault, value)));
        }
        events.push(event(
            "runner",
            "committed",
            json!({"node": 1, "first": 1, "term": 4, "requests": [null], "configs": configs}),
        ));
        for (number, log) in (1..).zip(logs) {
            events.push(event(&format!("node-{number}"), "log", log.clone()));
        }
        for (index, event) in events.iter_mut().enumerate() {
            event["index"] = json!(index);
            event["time"] = json!(1_000_000 * index);
        }
        let events = events.into_iter().map(|event| serde_json::from_value(event).unwrap());
        let header =
            Header { history: 1, model: "register".to_owned(), nodes: 3, ..Header::default() };
        let history = History::new(header, events.collect()).unwrap();
        let results = crate::check(&history, &Options::default());
        let logs = results.checks.iter().find(|check| check.name == "logs").unwrap();
        assert_eq!(logs.verdict == Verdict::Invalid, !logs.violations.is_empty());
        logs.violations.iter().map(|violation| violation.explanation.clone()).collect()
    }

    /// Of a node that voted for these, and whose log reaches back to a term.
    fn log(votes: &[(u64, u64)], since: u64) -> Value {
        let votes: Vec<Value> =
            votes.iter().map(|(term, node)| json!({"term": term, "node": node})).collect();
        json!({"votes": votes, "votes_since": since})
    }

    #[test]
    fn leader_has_the_votes_of_a_majority_in_the_logs() {
        let (voted, other) = (log(&[(1, 1), (4, 2)], 0), log(&[(4, 1)], 0));
        assert!(wrong(&[voted.clone(), voted.clone(), other.clone()], None, &[]).is_empty());
        let found = wrong(&[log(&[(3, 2)], 0), voted.clone(), other.clone()], None, &[]);
        let expected = "n2 led term 4 at 0.000 s, but of 3 nodes only n2 has a vote for it in its log. A vote is durable \
                        before it is given, so there was no majority for it.";
        assert_eq!(found, [expected]);
        let found = wrong(&[log(&[], 0), log(&[], 0), other.clone()], None, &[]);
        assert!(found[0].contains("of 3 nodes no node has a vote for it"), "{found:?}");
    }

    #[test]
    fn who_is_not_known_to_have_refused_may_have_voted() {
        let (voted, other) = (log(&[(4, 2)], 0), log(&[(4, 1)], 0));
        let of_third = |third: Value, fault, configs: &[u64]| {
            wrong(&[other.clone(), voted.clone(), third], fault, configs).len()
        };
        assert_eq!(of_third(log(&[], 0), None, &[]), 1);
        assert_eq!(of_third(log(&[], 4), None, &[]), 1);
        assert_eq!(of_third(log(&[], 5), None, &[]), 0, "its log does not reach back");
        assert_eq!(of_third(json!({"problem": "no program"}), None, &[]), 0, "it was not read");
        assert_eq!(of_third(json!({"votes": []}), None, &[]), 0, "it is not known since when");
        assert_eq!(of_third(log(&[], 0), Some("wipe"), &[]), 0, "its disk was wiped");
        assert_eq!(of_third(log(&[], 0), Some("kill"), &[]), 1);
        assert_eq!(of_third(log(&[], 0), None, &[1]), 0, "members have changed");
        let two = wrong(&[other, voted], None, &[]);
        assert_eq!(two.len(), 0, "nobody looked at the third");
    }

    #[test]
    fn files_that_nobody_damaged_must_be_readable() {
        let voted = log(&[(4, 2)], 0);
        let damaged = json!({"problem": "line 7 is damaged", "damaged": true});
        let found = wrong(&[voted.clone(), voted.clone(), damaged.clone()], None, &[]);
        assert!(found.len() == 1 && found[0].contains("n3's files could not be read"), "{found:?}");
        assert!(wrong(&[voted.clone(), voted, damaged], Some("bit-flip"), &[]).is_empty());
    }
}
