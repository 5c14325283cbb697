//! How messages, writes and answers are written in scripts; and messages read back.

use std::fmt::Display;

use super::safety::Request;
use crate::effects::{Event, Outcome, Record, Role, Write};
use crate::kv::{Op, Output, Refusal};
use crate::message::{Envelope, Message, ReadQuestion};
use crate::node::View;
use crate::types::{Entry, EntryId, NodeId, Payload};

/// `n1→n2 Append term=2 prev=1@1 entries=[2@2] commit=1 round=0`
pub(super) fn envelope(envelope: &Envelope) -> String {
    let Envelope { from, to, term, message } = envelope;
    format!("n{from}→n{to} {} term={term}{}", name(message), fields(message))
}

/// The message's kind.
pub(super) fn name(message: &Message) -> &'static str {
    match message {
        Message::PreVote { .. } => "PreVote",
        Message::PreVoteReply { .. } => "PreVoteReply",
        Message::Vote { .. } => "Vote",
        Message::VoteReply { .. } => "VoteReply",
        Message::Append { .. } => "Append",
        Message::AppendAccepted { .. } => "AppendAccepted",
        Message::AppendRejected { .. } => "AppendRejected",
        Message::ReadIndex { .. } => "ReadIndex",
        Message::ReadIndexReply { .. } => "ReadIndexReply",
    }
}

fn fields(message: &Message) -> String {
    let question_text = |question: &ReadQuestion| format!(" question={}", question.number);
    match message {
        Message::PreVote { next_term, last } => format!(" next_term={next_term} last={last}"),
        Message::PreVoteReply { next_term, granted } => {
            format!(" next_term={next_term} granted={granted}")
        }
        Message::Vote { last } => format!(" last={last}"),
        Message::VoteReply { granted } => format!(" granted={granted}"),
        Message::Append { prev, entries, commit, round } => {
            let entries = list(entries.iter().map(|entry| entry.id), ",");
            format!(" prev={prev} entries=[{entries}] commit={commit} round={round}")
        }
        Message::AppendAccepted { matched, round } => format!(" matched={matched} round={round}"),
        Message::AppendRejected { prev_index, hint, round } => {
            format!(" prev_index={prev_index} hint={hint} round={round}")
        }
        Message::ReadIndex { question } => question_text(question),
        Message::ReadIndexReply { question, index } => {
            let index = index.map_or("none".to_owned(), |index| index.to_string());
            format!("{} index={index}", question_text(question))
        }
    }
}

/// Items with something between them.
pub(super) fn list(items: impl Iterator<Item = impl Display>, between: &str) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(between)
}

/// `n1 writes w2: term=1 vote=n1, 1@1 no-op`
pub(super) fn write(id: NodeId, write: &Write) -> String {
    let records = write.records.iter().map(|record| match record {
        Record::HardState { term, vote: None } => format!("term={term}"),
        Record::HardState { term, vote: Some(vote) } => format!("term={term} vote=n{vote}"),
        Record::Truncate { from } => format!("void from {from}"),
        Record::Entry(entry) => format!("{} {}", entry.id, payload(entry)),
    });
    format!("n{id} writes w{}: {}", write.seq, list(records, ", "))
}

/// `no-op`, or the request.
pub(super) fn payload(entry: &Entry) -> String {
    match &entry.payload {
        Payload::Noop => "no-op".to_owned(),
        Payload::Command(command) => command.request.to_string(),
    }
}

/// `c:1 put x=1`
pub(super) fn op(op: &Op) -> String {
    match op {
        Op::Put { key, value } => format!("put {key} {value}"),
        Op::Delete { key } => format!("delete {key}"),
        Op::Cas { key, expect, value } => {
            format!("cas {key} {} {value}", expect.as_deref().unwrap_or("none"))
        }
        Op::Append { key, value } => format!("append {key} {value}"),
        Op::Incr { key, by } => format!("incr {key} {by}"),
    }
}

/// `n2 becomes follower in term 3 of n1`
pub(super) fn event(id: NodeId, event: &Event) -> String {
    match event {
        Event::Role { term, role, leader } => {
            let leader = match leader {
                Some(leader) if *role != Role::Leader => format!(" of n{leader}"),
                Some(_) | None => String::new(),
            };
            format!("n{id} becomes {} in term {term}{leader}", role.name())
        }
        Event::Leader { term, leader } => format!("n{id} follows n{leader} in term {term}"),
    }
}

/// What changed that no effect shows.
pub(super) fn progress(before: &View, after: &View) -> impl Iterator<Item = String> + use<> {
    let id = after.id;
    let commit = (after.commit > before.commit)
        .then(|| format!("n{id} commits and applies up to {}", after.commit));
    let refused =
        (after.messages_refused > before.messages_refused).then(|| format!("n{id} refuses it"));
    commit.into_iter().chain(refused)
}

/// `n1 answers c:1: done (index 2)`
pub(super) fn answer(id: NodeId, request: &Request, outcome: &Outcome) -> String {
    let request = match request {
        Request::Write(request) => request.to_string(),
        Request::Read { key, at_least: Some(_) } => format!("read {key}"),
        Request::Read { key, at_least: None } => format!("stale-read {key}"),
    };
    format!("n{id} answers {request}: {}", outcome_text(outcome))
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Written(written) => {
            let result = match &written.result {
                Ok(Output::Done) => "done".to_owned(),
                Ok(Output::Length(bytes)) => format!("{bytes} bytes now"),
                Ok(Output::Number(number)) => format!("{number} now"),
                Err(Refusal::NotFound) => "not found".to_owned(),
                Err(Refusal::Mismatch { actual }) => {
                    format!("mismatch, it is {}", actual.as_deref().unwrap_or("none"))
                }
                Err(Refusal::NotANumber) => "not a number".to_owned(),
                Err(Refusal::Overflow) => "overflow".to_owned(),
                Err(Refusal::TooLarge) => "too large".to_owned(),
                Err(Refusal::Expired) => "expired".to_owned(),
                Err(Refusal::BadBirth) => "born in the future".to_owned(),
            };
            format!("{result} (index {})", written.index)
        }
        Outcome::Read { value, index } => {
            format!("{} (index {index})", value.as_deref().unwrap_or("none"))
        }
        Outcome::NotLeader { leader: Some(leader) } => format!("not leader, ask n{leader}"),
        Outcome::NotLeader { leader: None } => "not leader, nobody known".to_owned(),
        Outcome::Overloaded => "overloaded".to_owned(),
        Outcome::LeadershipLost => "leadership lost, outcome unknown".to_owned(),
        Outcome::ReadFailed => "read failed".to_owned(),
    }
}

/// Reads what [`envelope`] writes; entries are no-ops.
pub(super) fn parse_envelope(words: &[&str]) -> Option<Envelope> {
    let [link, kind, fields @ ..] = words else { return None };
    let (from, to) = parse_link(link)?;
    let field =
        |name: &str| fields.iter().find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| field(name)?.parse().ok();
    let id = |name: &str| parse_entry_id(field(name)?);
    let granted = || field("granted")?.parse().ok();
    let question = || Some(ReadQuestion { incarnation: 0, number: number("question")? });
    let message = match *kind {
        "PreVote" => Message::PreVote { next_term: number("next_term")?, last: id("last")? },
        "PreVoteReply" => {
            Message::PreVoteReply { next_term: number("next_term")?, granted: granted()? }
        }
        "Vote" => Message::Vote { last: id("last")? },
        "VoteReply" => Message::VoteReply { granted: granted()? },
        "Append" => {
            let ids = field("entries")?.strip_prefix('[')?.strip_suffix(']')?;
            let ids = ids.split(',').filter(|id| !id.is_empty()).map(parse_entry_id);
            let entries =
                ids.map(|id| Some(Entry::new(id?, Payload::Noop))).collect::<Option<_>>()?;
            Message::Append {
                prev: id("prev")?,
                entries,
                commit: number("commit")?,
                round: number("round")?,
            }
        }
        "AppendAccepted" => {
            Message::AppendAccepted { matched: number("matched")?, round: number("round")? }
        }
        "AppendRejected" => Message::AppendRejected {
            prev_index: number("prev_index")?,
            hint: id("hint")?,
            round: number("round")?,
        },
        "ReadIndex" => Message::ReadIndex { question: question()? },
        "ReadIndexReply" => {
            Message::ReadIndexReply { question: question()?, index: number("index") }
        }
        _ => return None,
    };
    Some(Envelope { from, to, term: number("term")?, message })
}

/// `1->2` or `n1→n2`.
pub(super) fn parse_link(text: &str) -> Option<(NodeId, NodeId)> {
    let (from, to) = text.split_once("->").or_else(|| text.split_once('→'))?;
    Some((parse_node(from)?, parse_node(to)?))
}

/// `1` or `n1`.
pub(super) fn parse_node(text: &str) -> Option<NodeId> {
    text.strip_prefix('n').unwrap_or(text).parse().ok()
}

/// `index@term`
pub(super) fn parse_entry_id(text: &str) -> Option<EntryId> {
    let (index, term) = text.split_once('@')?;
    Some(EntryId { term: term.parse().ok()?, index: index.parse().ok()? })
}
