//! Messages and events in few words, for traces.

use raft_core::effects::{Event, Outcome, Record, Write};
use raft_core::membership::Configuration;
use raft_core::message::{Envelope, Message};
use raft_core::types::{Entry, NodeId, Payload};

pub(super) fn envelope(Envelope { from, to, term, message }: &Envelope) -> String {
    format!("n{from}->n{to} t{term} {}", said(message))
}

fn said(message: &Message) -> String {
    match message {
        Message::PreVote { next_term, last } => format!("pre-vote for t{next_term}, last {last}"),
        Message::PreVoteReply { next_term, granted } => {
            format!("pre-vote for t{next_term} {}", verdict(*granted))
        }
        Message::Vote { last, transfer } => {
            format!("vote? last {last}{}", if *transfer { " (transfer)" } else { "" })
        }
        Message::VoteReply { granted } => format!("vote {}", verdict(*granted)),
        Message::Append { prev, entries, commit, round, stand } => {
            let what = match (entries.first(), entries.last()) {
                (Some(first), Some(last)) if first.id != last.id => {
                    format!("{}..{}", first.id, last.id)
                }
                (Some(only), _) => payload(only),
                _ => "nothing".to_owned(),
            };
            let voter = if stand.voter { "" } else { " to a learner" };
            format!(
                "append {what} after {prev}, commit {commit}, round {round}, session {}{voter}",
                stand.session
            )
        }
        Message::AppendAccepted { matched, round, session, lost } => {
            let lost = if *lost { ", lost" } else { "" };
            format!("accepted up to {matched}, round {round}, session {session}{lost}")
        }
        Message::AppendRejected { prev_index, hint, round, session } => {
            format!("rejected at {prev_index}, hint {hint}, round {round}, session {session}")
        }
        Message::Install { last, offset, data, total, .. } => {
            format!("snapshot {last}, bytes {offset}+{} of {total}", data.len())
        }
        Message::InstallReply { last, offset, .. } => format!("snapshot {last}, go on at {offset}"),
        Message::Lost { incarnation, .. } => format!("lost its disk, has {incarnation} now"),
        Message::TimeoutNow => "campaign now".to_owned(),
        Message::ReadIndex { question } => format!("read index? ({})", question.number),
        Message::ReadIndexReply { question, index: Some(index) } => {
            format!("read index {index} ({})", question.number)
        }
        Message::ReadIndexReply { question, index: None } => {
            format!("no read index ({})", question.number)
        }
    }
}

fn verdict(granted: bool) -> &'static str {
    if granted { "granted" } else { "refused" }
}

pub(super) fn configuration(config: &Configuration) -> String {
    let mut parts = vec![format!("voters {:?}", config.incoming())];
    if config.is_joint() {
        parts.push(format!("from {:?}", config.outgoing()));
    }
    if !config.learners().is_empty() {
        parts.push(format!("learners {:?}", config.learners()));
    }
    let returning: Vec<NodeId> =
        config.members().iter().filter(|(_, it)| it.returning).map(|(id, _)| *id).collect();
    if !returning.is_empty() {
        parts.push(format!("returning {returning:?}"));
    }
    parts.join(" ")
}

pub(super) fn payload(entry: &Entry) -> String {
    let id = entry.id;
    match &entry.payload {
        Payload::Noop => format!("{id} noop"),
        Payload::Command(command) => format!("{id} {} {}", command.request, command.op),
        Payload::Configuration(config) => format!("{id} config {}", configuration(config)),
    }
}

pub(super) fn write(write: &Write) -> String {
    let record = |record: &Record| match record {
        Record::HardState { term, vote } => match vote {
            Some(vote) => format!("t{term} vote n{vote}"),
            None => format!("t{term}"),
        },
        Record::Truncate { from } => format!("void from {from}"),
        Record::Entry(entry) => payload(entry),
        Record::Snapshot { last } => format!("log begins after snapshot {last}"),
    };
    let records: Vec<String> = write.records.iter().map(record).collect();
    format!("writes w{}: {}", write.seq, records.join("; "))
}

pub(super) fn event(event: &Event) -> String {
    match event {
        Event::Role { term, role, .. } => format!("is {} of t{term}", role.name()),
        Event::Leader { term, leader } => format!("follows n{leader} in t{term}"),
        Event::Configuration { index } => format!("goes by the configuration of {index}"),
        Event::SnapshotTaken { last, bytes } => format!("has snapshot {last}, {bytes} bytes"),
        Event::SnapshotInstalled { last, .. } => format!("has taken over snapshot {last}"),
        Event::Readmitted { incarnation } => format!("is readmitted with {incarnation}"),
        Event::TransferStarted { to } => format!("hands over to n{to}"),
        Event::TransferAborted { to } => format!("hands over to n{to} no more"),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are told as they are")]
pub(super) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Written(written) => format!("{:?} at {}", written.result, written.index),
        Outcome::Read { value, index } => {
            format!("{} at {index}", value.as_deref().unwrap_or("nothing"))
        }
        Outcome::NotLeader { leader: Some(leader) } => format!("ask n{leader}"),
        Outcome::NotLeader { leader: None } => "no leader".to_owned(),
        other => format!("{other:?}"),
    }
}
