//! Do nodes campaign and lead as little as they may, by who could hear whom?
//!
//! Linearizability does not depend on it: these are the promises that a node which is cut off, or hears less than others,
//! leaves a working cluster in peace (pre-vote, Thesis §9.6; a leader that nobody answers, §6.2; followers that hear
//! their leader, §4.2.3). What is judged is what went on for so long that a busy machine is no excuse.

use serde_json::json;

use super::Options;
use super::cluster::{Cluster, FaultSpan, node_of};
use super::text;
use crate::history::History;
use crate::results::{Check, Verdict, Violation};

/// Nanoseconds.
const MS: u64 = 1_000_000;

/// How long a cut must last to be judged.
const LONG: u64 = 2_000 * MS;

/// After so long nothing arrives any more that was under way when it began, and a leader has noticed.
const SETTLED: u64 = 1_000 * MS;

/// Links may be whole again a little before it is recorded that they are.
const EDGE: u64 = 300 * MS;

/// A leader that falls when one link is cut may have fallen by itself; not in more than half of so many cases.
const LINKS_MIN: usize = 3;

/// A node said in its log what it is, or it was started or ended.
#[derive(Clone, Copy, Debug)]
struct Turn {
    event: u64,
    time: u64,
    node: u64,
    term: u64,
    is_candidate: bool,
    is_leader: bool,
}

/// None if nothing can be judged.
pub(super) fn check(history: &History, cluster: &Cluster, options: &Options<'_>) -> Option<Check> {
    // Who is no voter, or was told to campaign, is another matter.
    let changes = |fault: &FaultSpan| matches!(fault.kind.as_str(), "swap-member" | "transfer");
    if history.header().nodes < 2 || cluster.faults.iter().any(changes) {
        return None;
    }
    let turns = turns(history);
    let cuts: Vec<(&FaultSpan, u64, u64)> =
        cluster.faults.iter().filter_map(|fault| alone(fault, cluster)).collect();
    let links: Vec<(&FaultSpan, u64)> = cluster
        .faults
        .iter()
        .filter_map(|fault| Some((fault, one_link(fault, cluster)?)))
        .collect();
    if cuts.is_empty() && links.is_empty() {
        return None;
    }
    let mut violations: Vec<Violation> = Vec::new();
    for &(cut, node, stop) in &cuts {
        violations.extend(campaign(&turns, cut, node, stop));
        violations.extend(stays(&turns, cut, node));
    }
    violations.extend(unrest(&turns, &links));
    violations.sort_by_key(|violation| violation.time);
    let summary = if violations.is_empty() {
        format!(
            "While a node was cut off for long ({}) it did not campaign, and did not go on leading; and the loss of \
             one link ({}) did not unseat the leader more often than not.",
            text::count(cuts.len(), "time"),
            text::count(links.len(), "time")
        )
    } else {
        let found = text::count(violations.len(), "time");
        format!("Nodes that should have kept quiet did not, {found}.")
    };
    let verdict = if violations.is_empty() { Verdict::Valid } else { Verdict::Invalid };
    let details =
        json!({"cut_off": cuts.len(), "one_link": links.len(), "found": violations.len()});
    violations.truncate(options.violations_max);
    Some(Check { name: "elections".to_owned(), verdict, summary, violations, details })
}

fn turns(history: &History) -> Vec<Turn> {
    let turn = |event: &crate::history::Event| {
        let node = node_of(&event.process)?;
        let role = match event.f.as_str() {
            "role" => event.value.get("role").and_then(|role| role.as_str()),
            "start" | "exit" => None,
            _ => return None,
        };
        Some(Turn {
            event: event.index,
            time: event.time,
            node,
            term: event.value.get("term").and_then(serde_json::Value::as_u64).unwrap_or(0),
            is_candidate: role == Some("candidate"),
            is_leader: role == Some("leader"),
        })
    };
    history.others().iter().filter_map(turn).collect()
}

/// A node that was cut off from all others for long, and until when; none if something else was done to it meanwhile.
fn alone<'f>(fault: &'f FaultSpan, cluster: &Cluster) -> Option<(&'f FaultSpan, u64, u64)> {
    let stop = long(fault, &["isolate-one", "isolate-leader"])?;
    let &[node] = fault.nodes.as_slice() else { return None };
    let others = cluster.faults_active(fault.start, stop);
    let undisturbed = others.filter(|other| other.nodes.contains(&node)).count() == 1;
    undisturbed.then_some((fault, node, stop))
}

/// When a cut of a single link ended that was all that went on.
fn one_link(fault: &FaultSpan, cluster: &Cluster) -> Option<u64> {
    let stop = long(fault, &["lose-link"])?;
    (cluster.faults_active(fault.start, stop).count() == 1).then_some(stop)
}

/// When a fault of one of these kinds ended that was long, and bit.
fn long(fault: &FaultSpan, kinds: &[&str]) -> Option<u64> {
    let stop = fault.stop.filter(|stop| *stop >= fault.start + LONG)?;
    (kinds.contains(&fault.kind.as_str()) && !fault.skipped && fault.proof > 0).then_some(stop)
}

/// A campaign of a node that was cut off: nobody can have told it that it would get votes.
fn campaign(turns: &[Turn], cut: &FaultSpan, node: u64, stop: u64) -> Option<Violation> {
    let time = cut.start + SETTLED..stop.saturating_sub(EDGE);
    let campaigns = |turn: &&Turn| turn.node == node && turn.is_candidate;
    let turn = turns.iter().filter(campaigns).find(|turn| time.contains(&turn.time))?;
    let explanation = format!(
        "{} was cut off from all others from {} to {}, and campaigned for term {} at {}. A node asks first whether it \
         would get votes (Thesis §9.6), and nobody can have answered: when it is back, its term unseats a leader that \
         works.",
        text::node(node),
        text::at(cut.start),
        text::at(stop),
        turn.term,
        text::at(turn.time),
    );
    Some(Violation::of_events(
        "campaign of a node that is cut off",
        explanation,
        vec![turn.event],
        turn.time,
    ))
}

/// A leader that was cut off and went on leading, although nobody answered.
fn stays(turns: &[Turn], cut: &FaultSpan, node: u64) -> Option<Violation> {
    let later = turns.partition_point(|turn| turn.time <= cut.start);
    let (before, after) = turns.split_at_checked(later)?;
    let lead = before.iter().rev().find(|turn| turn.node == node).filter(|turn| turn.is_leader)?;
    let noticed = |turn: &Turn| turn.node == node && turn.time <= cut.start + 2 * SETTLED;
    if after.iter().any(noticed) {
        return None;
    }
    let explanation = format!(
        "{} led term {} when it was cut off from all others at {}, and {} later it had not stepped down. A leader that \
         hears from no majority for an election timeout does (Thesis §6.2): its clients would wait for it in vain.",
        text::node(node),
        lead.term,
        text::at(cut.start),
        text::span(2 * SETTLED),
    );
    Some(Violation::of_events(
        "leader without a majority",
        explanation,
        vec![lead.event],
        cut.start,
    ))
}

/// One link between the leader and a follower was cut, and somebody else came to lead, more often than not.
fn unrest(turns: &[Turn], links: &[(&FaultSpan, u64)]) -> Option<Violation> {
    let unseats = |&&(fault, stop): &&(&FaultSpan, u64)| {
        turns.iter().any(|turn| turn.is_leader && (fault.start..stop).contains(&turn.time))
    };
    let unseated: Vec<&(&FaultSpan, u64)> = links.iter().filter(unseats).collect();
    let (fault, stop) = **unseated.first()?;
    if links.len() < LINKS_MIN || unseated.len() * 2 <= links.len() {
        return None;
    }
    let during = turns.iter().filter(|turn| (fault.start..stop).contains(&turn.time));
    let events: Vec<u64> = during.filter(|turn| turn.is_leader).map(|turn| turn.event).collect();
    let explanation = format!(
        "When one follower and the leader did not see each other, and nothing else was wrong, somebody else came to lead \
         in {} of {} cases, the first from {} to {}. The others heard their leader all the time, and a follower that does \
         gives nobody else its vote (Thesis §4.2.3).",
        text::number(unseated.len()),
        text::number(links.len()),
        text::at(fault.start),
        text::at(stop),
    );
    Some(Violation::of_events("leader unseated by one link", explanation, events, fault.start))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What happened: milliseconds, who, what, and with what.
    type Happened = (u64, &'static str, &'static str, Value);

    /// Three nodes of which the first leads from the beginning.
    fn found(happened: &[Happened]) -> Option<Check> {
        let mut all = vec![(0, "node-1", "role", role("leader", 1))];
        all.extend_from_slice(happened);
        all.sort_by_key(|(time, ..)| *time);
        let header = json!({"history": 1, "workload": "w", "model": "register", "nodes": 3});
        let mut lines = vec![header.to_string()];
        for (index, (time, process, f, value)) in all.iter().enumerate() {
            let event = json!({
                "index": index, "time": time * MS, "process": process, "type": "info", "f": f, "value": value,
            });
            lines.push(event.to_string());
        }
        let history = History::parse(lines.join("\n").as_bytes(), "test").unwrap();
        check(&history, &Cluster::of(&history), &Options::default())
    }

    fn role(role: &str, term: u64) -> Value {
        json!({"role": role, "term": term, "leader": null})
    }

    /// A fault with its start and its end.
    fn fault(
        number: u64,
        kind: &'static str,
        node: u64,
        time: [u64; 2],
        proof: u64,
    ) -> [Happened; 2] {
        let value = |phase| json!({"fault": number, "nodes": [node], "text": "", "phase": phase, "proof": proof, "outcome": ""});
        [(time[0], "nemesis", kind, value("start")), (time[1], "nemesis", kind, value("stop"))]
    }

    fn classes(happened: &[Happened]) -> Vec<String> {
        let check = found(happened).expect("there is something to judge");
        assert_eq!(check.verdict == Verdict::Valid, check.violations.is_empty());
        check.violations.into_iter().map(|violation| violation.class).collect()
    }

    #[test]
    fn node_that_is_cut_off_does_not_campaign() {
        let at = |time| {
            let mut all = fault(1, "isolate-one", 2, [1_000, 4_000], 9).to_vec();
            all.push((time, "node-2", "role", role("candidate", 2)));
            all
        };
        let class = ["campaign of a node that is cut off"];
        assert_eq!(classes(&at(2_500)), class);
        for excused in [500, 1_500, 3_900, 4_500] {
            assert!(classes(&at(excused)).is_empty(), "at {excused} ms");
        }
        let mut others = at(2_500);
        others[2].1 = "node-3";
        assert!(classes(&others).is_empty(), "another node may");
        let mut asks = at(2_500);
        asks[2].3 = role("pre-candidate", 1);
        assert!(classes(&asks).is_empty(), "it may ask");
        let paused = [at(2_500), fault(2, "pause", 2, [1_200, 1_400], 1).to_vec()].concat();
        assert!(found(&paused).is_none(), "something else was done to it");
        let elsewhere = [at(2_500), fault(2, "pause", 3, [1_200, 1_400], 1).to_vec()].concat();
        assert_eq!(classes(&elsewhere), class);
    }

    #[test]
    fn leader_that_is_cut_off_steps_down() {
        let cut = fault(1, "isolate-leader", 1, [1_000, 4_000], 9).to_vec();
        assert_eq!(classes(&cut), ["leader without a majority"]);
        for (time, turn) in [(1_300, role("follower", 1)), (1_300, role("pre-candidate", 1))] {
            let steps_down = [cut.clone(), vec![(time, "node-1", "role", turn)]].concat();
            assert!(classes(&steps_down).is_empty());
        }
        let late = [cut.clone(), vec![(3_500, "node-1", "role", role("follower", 1))]].concat();
        assert_eq!(classes(&late), ["leader without a majority"]);
        let ends =
            [cut.clone(), vec![(1_300, "node-1", "exit", json!({"how": "signal 9"}))]].concat();
        assert!(classes(&ends).is_empty());
        let deposed = [cut, vec![(900, "node-1", "role", role("follower", 2))]].concat();
        assert!(classes(&deposed).is_empty(), "it did not lead");
    }

    #[test]
    fn one_link_does_not_unseat_the_leader() {
        let spans = |changes: &[bool]| {
            let mut all = Vec::new();
            for (number, &changed) in (1..).zip(changes) {
                let start = number * 10_000;
                all.extend(fault(number, "lose-link", 1, [start, start + 3_000], 9));
                if changed {
                    all.push((start + 200, "node-2", "role", role("leader", number + 1)));
                }
            }
            all
        };
        let class = ["leader unseated by one link"];
        assert_eq!(classes(&spans(&[true, false, true])), class);
        assert!(classes(&spans(&[true, false, false, true])).is_empty(), "in half of the cases");
        assert!(classes(&spans(&[true, true])).is_empty(), "too few");
        let mut busy = spans(&[true, true, true]);
        busy.extend(fault(9, "kill", 3, [10_500, 11_000], 1));
        assert!(classes(&busy).is_empty(), "something else went on");
        let mut before = spans(&[false, false, false]);
        before.extend([1, 2, 3].map(|n| (n * 10_000 - 1, "node-2", "role", role("leader", n))));
        assert!(classes(&before).is_empty(), "before the cut");
    }

    #[test]
    fn nothing_is_said_where_nothing_can_be_judged() {
        let campaign = (2_500, "node-2", "role", role("candidate", 2));
        let with = |fault: [Happened; 2]| found(&[fault.to_vec(), vec![campaign.clone()]].concat());
        assert!(with(fault(1, "isolate-one", 2, [1_000, 2_900], 9)).is_none(), "short");
        assert!(with(fault(1, "isolate-one", 2, [1_000, 4_000], 0)).is_none(), "it did not bite");
        assert!(with(fault(1, "one-way", 2, [1_000, 4_000], 9)).is_none(), "it hears some");
        let mut all = fault(1, "isolate-one", 2, [1_000, 4_000], 9).to_vec();
        all.extend(fault(2, "swap-member", 3, [5_000, 6_000], 1));
        assert!(found(&all).is_none(), "it may be the only voter");
    }
}
