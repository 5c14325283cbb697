//! A stale read in two sentences: what contradicts, and under which circumstances.

use super::Case;
use super::find::{Class, Effective, versions_missed};
use crate::check::cluster::{Cluster, FaultSpan, last_fault_words};
use crate::check::text;
use crate::ops::{Action, NOTHING, Op, Seen};
use crate::results::{StaleRead, Violation};

pub(super) fn violation(case: &Case<'_>, cluster: &Cluster) -> Violation {
    let versions = versions_missed(case.words.key, &case.stale);
    let stale = StaleRead {
        class: case.stale.class.name().to_owned(),
        age_ms: text::milliseconds(case.age),
        versions: u64::try_from(versions).unwrap_or(u64::MAX),
        node: case.node,
        role: case.words.history.role(case.read()).map(str::to_owned),
        term: case.words.history.term(case.read()),
        true_leader: cluster.leader_at(end(case)).map(|lead| (lead.node, lead.term)),
        faults: cluster.faults_active(case.time, end(case)).map(FaultSpan::words).collect(),
        last_fault: case
            .node
            .and_then(|node| cluster.last_fault(node, case.time))
            .map(|(fault, since)| last_fault_words(fault, since)),
    };
    Violation {
        class: "stale read".to_owned(),
        key: case.words.key.name.as_deref().map(str::to_owned),
        explanation: format!("{}. {}.", contradiction(case), circumstances(case, &stale, cluster)),
        events: case.words.events(evidence(case)),
        time: case.time,
        core: None,
        stale: Some(stale),
    }
}

/// When the read completed.
pub(super) fn end(case: &Case<'_>) -> u64 {
    case.words.history.completed(case.read()).unwrap_or(case.time)
}

/// The operations that contradict each other.
fn evidence<'c>(case: &Case<'c>) -> Vec<&'c Op> {
    let of = |known: Effective| [known.write, known.proof];
    let old = case.stale.old.map(of).into_iter().flatten();
    old.chain(of(case.stale.missed))
        .chain([case.stale.read])
        .map(|id| &case.words.key.ops[id])
        .collect()
}

/// First sentence: `Client 7 read k41="3-17" from n2 at 12.841 s, but client 3 had overwritten it with "4-2" and n4
/// had acknowledged that 1.92 s earlier`.
fn contradiction(case: &Case<'_>) -> String {
    let (words, read) = (case.words, case.read());
    let ops = &words.key.ops;
    let (write, proof) = (&ops[case.stale.missed.write], &ops[case.stale.missed.proof]);
    let name = words.name();
    let what = match (read.seen, write.action) {
        (Seen::Word(NOTHING), _) => format!("found no value in {name}"),
        (Seen::Word(word), _) => format!("read {name}={}", words.value(word)),
        (Seen::Number(number), _) => format!("read {name}={number}"),
        (Seen::List(_), Action::Append(token)) => {
            format!("read {name} without {}", words.value(token))
        }
        (Seen::List(_) | Seen::Unknown, _) => format!("read {name}"),
    };
    let from = words.answered_from(read);
    let at = text::at(case.time);
    format!(
        "Client {} {what}{from} at {at}, but {}",
        words.history.client(read),
        missed(case, write, proof)
    )
}

/// What the read should have seen, and since when.
fn missed(case: &Case<'_>, write: &Op, proof: &Op) -> String {
    let (words, read) = (case.words, case.read());
    let age = text::span(case.age);
    let did = match write.action {
        Action::Write(NOTHING) => "had deleted it".to_owned(),
        Action::Write(word) if read.seen == Seen::Word(NOTHING) => {
            format!("had written {}", words.value(word))
        }
        Action::Write(word) | Action::Cas { new: word, .. } => {
            format!("had overwritten it with {}", words.value(word))
        }
        Action::Append(_) => "had appended it".to_owned(),
        Action::Incr(_) => match write.seen {
            Seen::Number(number) => format!("had added to it and got {number}"),
            Seen::Unknown | Seen::Word(_) | Seen::List(_) => {
                "and others had added more than that to it".to_owned()
            }
        },
        Action::Read => match write.seen {
            Seen::Number(number) => format!("had read {number}"),
            Seen::Unknown | Seen::Word(_) | Seen::List(_) => "had read more".to_owned(),
        },
        // None of these is looked for stale reads.
        Action::Add(_)
        | Action::Remove(_)
        | Action::Enqueue(_)
        | Action::Dequeue
        | Action::Acquire
        | Action::Release
        | Action::Txn(_) => "had changed it".to_owned(),
    };
    let node = words.history.node(proof).map_or("the cluster".to_owned(), text::node);
    let known = if proof.number == write.number {
        let verb = if write.action == Action::Read { "answered" } else { "acknowledged" };
        format!("and {node} had {verb} that {age} earlier")
    } else {
        format!("and {} had seen that from {node} {age} earlier", words.client(proof))
    };
    let again = match case.stale.class {
        Class::MonotonicReads if proof.process != read.process => {
            format!("; {} itself had seen a newer state since", words.client(read))
        }
        Class::ReadYourWrites if write.process != read.process => {
            format!("; {} itself had changed it since", words.client(read))
        }
        Class::ReadYourWrites | Class::MonotonicReads | Class::RealTime => String::new(),
    };
    if write.process == read.process {
        format!("{} {known}{again}", did.replacen("had", "had itself", 1))
    } else {
        format!("{} {did} {known}{again}", words.client(write))
    }
}

/// Second sentence: `n2 took itself for leader of term 3 while n4 led term 4; at that time n2 was cut off (partition
/// {2} | {1,3,4,5})`.
fn circumstances(case: &Case<'_>, stale: &StaleRead, cluster: &Cluster) -> String {
    let Some(node) = case.node else {
        return match stale.true_leader {
            Some((leader, term)) => format!(
                "The history does not say which node answered, while {} led term {term}; {}",
                text::node(leader),
                faults(case, stale, cluster)
            ),
            None => format!(
                "The history does not say which node answered; {}",
                faults(case, stale, cluster)
            ),
        };
    };
    let name = text::node(node);
    let took = match (stale.role.as_deref(), stale.term) {
        (Some("leader"), Some(term)) => format!("{name} took itself for leader of term {term}"),
        (Some(role), Some(term)) => format!("{name} answered as {role} in term {term}"),
        (Some(role), None) => format!("{name} answered as {role}"),
        (None, _) => format!("{name} did not say in which role it answered"),
    };
    let led = match stale.true_leader {
        Some((leader, term)) if leader == node && stale.term == Some(term) => {
            ", and no later leader is known".to_owned()
        }
        Some((leader, term)) if leader == node => {
            format!(", and had led term {term} as the latest")
        }
        Some((leader, term)) => format!(" while {} led term {term}", text::node(leader)),
        None => String::new(),
    };
    format!("{took}{led}; {}", faults(case, stale, cluster))
}

/// The faults at that time, or the last one that touched the node.
fn faults(case: &Case<'_>, stale: &StaleRead, cluster: &Cluster) -> String {
    let touching: Vec<String> = cluster
        .faults_active(case.time, end(case))
        .filter_map(|fault| {
            let node = case.node.filter(|node| fault.nodes.contains(node))?;
            Some(format!("{} {} ({})", text::node(node), fault.state_of_node(), fault.words()))
        })
        .collect();
    if !touching.is_empty() {
        return format!("at that time {}", text::list(&touching));
    }
    if !stale.faults.is_empty() {
        return format!("at that time there was a fault elsewhere ({})", text::list(&stale.faults));
    }
    match (&stale.last_fault, case.node) {
        (Some(last), Some(node)) => format!(
            "no fault was active, and the last one that touched {} was {last}",
            text::node(node)
        ),
        _ => "no fault was active".to_owned(),
    }
}
