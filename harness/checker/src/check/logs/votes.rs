//! Was every leader elected? A vote is durable before it is given (Thesis §3.8) and is never taken back (§3.4), so whoever
//! has led a term has the votes of a majority in the nodes' logs.
//!
//! Who had a vote is what the leader's own log said when it voted for itself (§4.1, §4.3). Of a node whose log does not reach
//! back so far, or whose disk was damaged, it is not known how it voted: it may have voted for anybody.

use std::collections::BTreeMap;

use super::Logs;
use crate::check::cluster::{Cluster, Lead};
use crate::check::text;
use crate::history::{Electorate, NodeLog, Vote};
use crate::results::Violation;

/// Leaders for whom too few votes are there; and how many could be judged.
pub(super) fn unelected(logs: &Logs<'_>, cluster: &Cluster) -> (usize, Vec<Violation>) {
    let mut leads: BTreeMap<(u64, u64), &Lead> = BTreeMap::new();
    for lead in cluster.leaders.iter().chain(&cluster.asked) {
        leads.entry((lead.term, lead.node)).or_insert(lead);
    }
    let mut found = Vec::new();
    let mut judged = 0;
    for lead in leads.into_values() {
        let of_term = OfTerm { term: lead.term, logs, cluster };
        let Some(own) = of_term.log(lead.node) else { continue };
        let wrong = match own.votes.iter().find(|vote| vote.term == lead.term) {
            Some(Vote { node, electorate: Some(electorate), .. }) if *node == lead.node => {
                of_term.minority(lead.node, electorate)
            }
            // It is not known who had a vote.
            Some(Vote { node, .. }) if *node == lead.node => continue,
            Some(_) | None => Some("it has no vote for itself in its own log".to_owned()),
        };
        judged += 1;
        found.extend(wrong.map(|wrong| violation(lead, &wrong)));
    }
    (judged, found)
}

fn violation(lead: &Lead, wrong: &str) -> Violation {
    let explanation = format!(
        "{} led term {} at {}, but {wrong}. A vote is durable before it is given, so nobody was elected.",
        text::node(lead.node),
        lead.term,
        text::at(lead.time),
    );
    Violation::of_events("leader without votes", explanation, vec![lead.event], lead.time)
}

/// What the logs say of one term.
struct OfTerm<'l> {
    term: u64,
    logs: &'l Logs<'l>,
    cluster: &'l Cluster,
}

impl OfTerm<'_> {
    /// A node's log, if it would have the term's vote.
    fn log(&self, node: u64) -> Option<&NodeLog> {
        let (log, _) = self.logs.nodes.get(&node)?;
        let reaches_back = log.votes_since.is_some_and(|since| since <= self.term);
        (reaches_back && !self.cluster.damaged(node)).then_some(log)
    }

    /// Whether a node certainly did not vote for the candidate.
    fn refused(&self, node: u64, candidate: u64) -> bool {
        let has_voted = |log: &NodeLog| {
            log.votes.iter().any(|vote| (vote.term, vote.node) == (self.term, candidate))
        };
        self.log(node).is_some_and(|log| !has_voted(log))
    }

    /// In words, which voters are too few.
    fn minority(&self, candidate: u64, electorate: &Electorate) -> Option<String> {
        let Electorate { voters, outgoing } = electorate;
        let mut sets = [voters, outgoing].into_iter().filter(|set| !set.is_empty());
        let of_set = |set: &Vec<u64>| {
            let (refused, agreed): (Vec<u64>, Vec<u64>) =
                set.iter().partition(|node| self.refused(**node, candidate));
            (agreed.len() <= set.len() / 2).then_some((refused, set.len()))
        };
        let (refused, all) = sets.find_map(of_set)?;
        let names: Vec<String> = refused.iter().map(|node| text::node(*node)).collect();
        let rest = match names.as_slice() {
            [_] => "has no vote for it in its log",
            _ => "have no vote for it in their logs",
        };
        Some(format!("of its {} {} {rest}", text::count(all, "voter"), text::list(&names)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::check::Options;
    use crate::history::{Header, History};
    use crate::results::Verdict;

    /// Explanations of what is wrong where, of three nodes, node 2 led term 4 and these are the logs; `fault`: what was
    /// done to node 3.
    fn wrong(logs: &[Value], fault: Option<&str>) -> Vec<String> {
        let event = |process: &str, f: &str, value: Value| json!({"process": process, "type": "info", "f": f, "value": value});
        let mut events =
            vec![event("node-2", "role", json!({"role": "leader", "term": 4, "leader": 2}))];
        for phase in ["start", "stop"] {
            let value = json!({"phase": phase, "fault": 1, "nodes": [3], "proof": 1});
            events.extend(fault.map(|fault| event("nemesis", fault, value)));
        }
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

    /// Node 2 had these voters in mind when it voted for itself.
    fn leader(voters: &[u64], outgoing: &[u64]) -> Value {
        let vote =
            json!({"term": 4, "node": 2, "electorate": {"voters": voters, "outgoing": outgoing}});
        json!({"votes": [{"term": 1, "node": 1}, vote], "votes_since": 0})
    }

    #[test]
    fn leader_has_the_votes_of_a_majority_in_the_logs() {
        let (all, voted, other) = (leader(&[1, 2, 3], &[]), log(&[(4, 2)], 0), log(&[(4, 1)], 0));
        assert!(wrong(&[voted.clone(), all.clone(), other.clone()], None).is_empty());
        let found = wrong(&[log(&[(3, 2)], 0), all.clone(), other.clone()], None);
        let expected = "n2 led term 4 at 0.000 s, but of its 3 voters n1 and n3 have no vote for it in their logs. A \
                        vote is durable before it is given, so nobody was elected.";
        assert_eq!(found, [expected]);
        let found = wrong(&[voted.clone(), other.clone(), voted], None);
        assert!(found[0].contains("no vote for itself in its own log"), "{found:?}");
    }

    #[test]
    fn both_sides_of_a_joint_change_must_have_voted() {
        let (voted, other) = (log(&[(4, 2)], 0), log(&[], 0));
        let of = |leader: Value, one: &Value, three: &Value| {
            wrong(&[one.clone(), leader, three.clone()], None).len()
        };
        assert_eq!(of(leader(&[1, 2], &[2, 3]), &voted, &voted), 0);
        assert_eq!(of(leader(&[1, 2], &[2, 3]), &voted, &other), 1);
        assert_eq!(of(leader(&[1, 2], &[2, 3]), &other, &voted), 1);
        // A learner's vote does not count.
        assert_eq!(of(leader(&[1, 2], &[]), &other, &voted), 1);
        assert_eq!(of(leader(&[2], &[]), &other, &other), 0);
    }

    #[test]
    fn who_is_not_known_to_have_refused_may_have_voted() {
        let (all, other) = (leader(&[1, 2, 3], &[]), log(&[(4, 1)], 0));
        let of_third =
            |third: Value, fault| wrong(&[other.clone(), all.clone(), third], fault).len();
        assert_eq!(of_third(log(&[], 0), None), 1);
        assert_eq!(of_third(log(&[], 4), None), 1);
        assert_eq!(of_third(log(&[], 5), None), 0, "its log does not reach back");
        assert_eq!(of_third(json!({"problem": "no program"}), None), 0, "it was not read");
        assert_eq!(of_third(json!({"votes": []}), None), 0, "it is not known since when");
        assert_eq!(of_third(log(&[], 0), Some("wipe")), 0, "its disk was wiped");
        assert_eq!(of_third(log(&[], 0), Some("kill")), 1);
        assert_eq!(wrong(&[other.clone(), all], None).len(), 0, "nobody looked at the third");
        let unknown = wrong(&[other.clone(), log(&[(4, 2)], 0), other.clone()], None);
        assert_eq!(unknown.len(), 0, "it is not known who had a vote");
        assert_eq!(wrong(&[other.clone(), log(&[], 5), other], None).len(), 0);
    }

    #[test]
    fn files_that_nobody_damaged_must_be_readable() {
        let voted = leader(&[1, 2, 3], &[]);
        let damaged = json!({"problem": "line 7 is damaged", "damaged": true});
        let one = log(&[(4, 2)], 0);
        let found = wrong(&[one.clone(), voted.clone(), damaged.clone()], None);
        assert!(found.len() == 1 && found[0].contains("n3's files could not be read"), "{found:?}");
        assert!(wrong(&[one, voted, damaged], Some("bit-flip")).is_empty());
    }
}
