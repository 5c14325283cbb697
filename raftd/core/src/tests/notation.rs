//! How messages, writes and answers are written in scripts; and messages read back.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::safety::Request;
use crate::effects::{Event, Outcome, Record, Role, TransferFailure, Write};
use crate::kv::{Output, Refusal};
use crate::membership::{ChangeRefusal, Configuration};
use crate::message::{Envelope, Message, ReadQuestion, Stand};
use crate::node::View;
use crate::types::{Entry, EntryId, Index, NodeId, Payload, Term};

/// The no-op that began each term: sessions that began with it are not worth a word.
pub(super) type Noops = BTreeMap<Term, Index>;

/// `n1→n2 Append term=2 prev=1@1 entries=[2@2] commit=1 round=0`
pub(super) fn envelope(envelope: &Envelope, noops: &Noops) -> String {
    let Envelope { from, to, term, message } = envelope;
    format!("n{from}→n{to} {} term={term}{}", name(message), fields(message, noops))
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
        Message::Install { .. } => "Install",
        Message::InstallReply { .. } => "InstallReply",
        Message::Lost { .. } => "Lost",
        Message::TimeoutNow => "TimeoutNow",
        Message::ReadIndex { .. } => "ReadIndex",
        Message::ReadIndexReply { .. } => "ReadIndexReply",
    }
}

fn fields(message: &Message, noops: &Noops) -> String {
    let question_text = |question: &ReadQuestion| format!(" question={}", question.number);
    let session_text = |session: &Index| {
        if *session == 0 || noops.values().any(|noop| noop == session) {
            String::new()
        } else {
            format!(" session={session}")
        }
    };
    let flag = |name: &str, is_set: bool| if is_set { format!(" {name}") } else { String::new() };
    let stand_text = |Stand { session, voter, incarnation }: &Stand| {
        let incarnation = match incarnation {
            0 => String::new(),
            incarnation => format!(" incarnation={incarnation}"),
        };
        session_text(session) + &flag("learner", !voter) + &incarnation
    };
    match message {
        Message::PreVote { next_term, last } => format!(" next_term={next_term} last={last}"),
        Message::PreVoteReply { next_term, granted } => {
            format!(" next_term={next_term} granted={granted}")
        }
        Message::Vote { last, transfer } => {
            format!(" last={last}{}", flag("transfer", *transfer))
        }
        Message::VoteReply { granted } => format!(" granted={granted}"),
        Message::Append { prev, entries, commit, round, stand } => {
            let entries = list(entries.iter().map(|entry| entry.id), ",");
            let stand = stand_text(stand);
            format!(" prev={prev} entries=[{entries}] commit={commit} round={round}{stand}")
        }
        Message::AppendAccepted { matched, round, session, lost } => {
            let rest = session_text(session) + &flag("lost", *lost);
            format!(" matched={matched} round={round}{rest}")
        }
        Message::AppendRejected { prev_index, hint, round, session } => {
            let session = session_text(session);
            format!(" prev_index={prev_index} hint={hint} round={round}{session}")
        }
        Message::Install { last, offset, data, total, round, stand } => {
            let stand = stand_text(stand);
            format!(" last={last} offset={offset} data={data} total={total} round={round}{stand}")
        }
        Message::InstallReply { last, offset, round, session } => {
            format!(" last={last} offset={offset} round={round}{}", session_text(session))
        }
        Message::Lost { incarnation, .. } => format!(" incarnation={incarnation}"),
        Message::TimeoutNow => String::new(),
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
        Record::Snapshot { last } => format!("goes on after snapshot {last}"),
    });
    format!("n{id} writes w{}: {}", write.seq, list(records, ", "))
}

/// `no-op`, or the request, or the members.
pub(super) fn payload(entry: &Entry) -> String {
    match &entry.payload {
        Payload::Noop => "no-op".to_owned(),
        Payload::Command(command) => command.request.to_string(),
        Payload::Configuration(config) => format!("members {}", members(config)),
    }
}

/// `[1,2]` are voters; `[1,2] learners [3#31 returning]` one that lost its disk; `[1,2] and [1,4]` a joint change.
pub(super) fn members(config: &Configuration) -> String {
    let name = |id: &NodeId| {
        let member = config.member(*id).expect("who is listed is a member");
        let incarnation = match member.incarnation {
            0 => String::new(),
            incarnation => format!("#{incarnation}"),
        };
        format!("{id}{incarnation}{}", if member.returning { " returning" } else { "" })
    };
    let set =
        |ids: &std::collections::BTreeSet<NodeId>| format!("[{}]", list(ids.iter().map(name), ","));
    let mut text = set(config.incoming());
    if config.is_joint() {
        text = format!("{text} and {}", set(config.outgoing()));
    }
    if !config.learners().is_empty() {
        text = format!("{text} learners {}", set(config.learners()));
    }
    text
}

/// `n2 becomes follower in term 3 of n1`; `view` is after the step.
pub(super) fn event(view: &View, event: &Event) -> String {
    let id = view.id;
    match event {
        Event::Role { term, role, leader } => {
            let leader = match leader {
                Some(leader) if *role != Role::Leader => format!(" of n{leader}"),
                Some(_) | None => String::new(),
            };
            format!("n{id} becomes {} in term {term}{leader}", role.name())
        }
        Event::Leader { term, leader } => format!("n{id} follows n{leader} in term {term}"),
        Event::Configuration { index } if *index == view.config_index => {
            format!("n{id} goes by {index}: {}", members(&view.config))
        }
        Event::Configuration { index } => format!("n{id} goes by {index}"),
        Event::SnapshotTaken { last, bytes: _ } => {
            format!("n{id} has taken snapshot {last}, keeps the log from {}", view.first)
        }
        Event::SnapshotInstalled { last, bytes: _ } => format!("n{id} installs snapshot {last}"),
        Event::Readmitted { incarnation } => format!("n{id} is readmitted as #{incarnation}"),
        Event::TransferStarted { to } => format!("n{id} hands over to n{to}"),
        Event::TransferAborted { to } => format!("n{id} gives up handing over to n{to}"),
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
        Request::Read { kind, key, .. } => format!("{} {key}", kind.name()),
        Request::Operator(what) => what.clone(),
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
                Ok(Output::Txn { succeeded: true, .. }) => "done as hoped".to_owned(),
                Ok(Output::Txn { succeeded: false, .. }) => "done otherwise".to_owned(),
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
        Outcome::Transferring { to } => format!("handing over, ask n{to}"),
        Outcome::Changed { index } => format!("changed (index {index})"),
        Outcome::ChangeRefused(refusal) => format!("refused, {}", refusal_text(refusal)),
        Outcome::Transferred { to } => format!("handed over to n{to}"),
        Outcome::TransferFailed(TransferFailure::NoTarget) => "no such voter".to_owned(),
        Outcome::TransferFailed(TransferFailure::Busy) => "handing over already".to_owned(),
        Outcome::TransferFailed(TransferFailure::TimedOut) => "not taken in time".to_owned(),
        Outcome::SnapshotTaken { index } => format!("taken (index {index})"),
        Outcome::SnapshotFailed => "snapshot failed".to_owned(),
    }
}

fn refusal_text(refusal: &ChangeRefusal) -> String {
    match refusal {
        ChangeRefusal::Pending => "a change is under way".to_owned(),
        ChangeRefusal::NotReady => "nothing of this term is committed yet".to_owned(),
        ChangeRefusal::Transferring => "handing over".to_owned(),
        ChangeRefusal::NotMember { id } => format!("n{id} is no member"),
        ChangeRefusal::AlreadyMember { id } => format!("n{id} is a member already"),
        ChangeRefusal::AlreadyVoter { id } => format!("n{id} is a voter already"),
        ChangeRefusal::NotCaughtUp { id, behind } => format!("n{id} is {behind} entries behind"),
        ChangeRefusal::NoVoters => "there would be no voter".to_owned(),
        ChangeRefusal::NoQuorum => "too few of the voters to be answer".to_owned(),
        ChangeRefusal::TooMany => "too many members".to_owned(),
    }
}

/// Reads what [`envelope`] writes; entries are no-ops.
pub(super) fn parse_envelope(words: &[&str], noops: &Noops) -> Option<Envelope> {
    let [link, kind, fields @ ..] = words else { return None };
    let (from, to) = parse_link(link)?;
    let field =
        |name: &str| fields.iter().find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| field(name)?.parse().ok();
    let id = |name: &str| parse_entry_id(field(name)?);
    let granted = || field("granted")?.parse().ok();
    let question = || Some(ReadQuestion { incarnation: 0, number: number("question")? });
    let term = number("term")?;
    let session = number("session").or_else(|| noops.get(&term).copied()).unwrap_or(0);
    let (voter, incarnation) = (!fields.contains(&"learner"), number("incarnation").unwrap_or(0));
    let stand = Stand { session, voter, incarnation };
    let message = match *kind {
        "PreVote" => Message::PreVote { next_term: number("next_term")?, last: id("last")? },
        "PreVoteReply" => {
            Message::PreVoteReply { next_term: number("next_term")?, granted: granted()? }
        }
        "Vote" => Message::Vote { last: id("last")?, transfer: fields.contains(&"transfer") },
        "VoteReply" => Message::VoteReply { granted: granted()? },
        "Append" => {
            let ids = field("entries")?.strip_prefix('[')?.strip_suffix(']')?;
            let ids = ids.split(',').filter(|id| !id.is_empty()).map(parse_entry_id);
            let entries =
                ids.map(|id| Some(Entry::new(id?, Payload::Noop))).collect::<Option<_>>()?;
            let (prev, commit, round) = (id("prev")?, number("commit")?, number("round")?);
            Message::Append { prev, entries, commit, round, stand }
        }
        "AppendAccepted" => {
            let (matched, round) = (number("matched")?, number("round")?);
            Message::AppendAccepted { matched, round, session, lost: fields.contains(&"lost") }
        }
        "AppendRejected" => Message::AppendRejected {
            prev_index: number("prev_index")?,
            hint: id("hint")?,
            round: number("round")?,
            session,
        },
        "Install" => Message::Install {
            last: id("last")?,
            offset: number("offset")?,
            data: field("data")?.into(),
            total: number("total")?,
            round: number("round")?,
            stand,
        },
        "InstallReply" => {
            let (offset, round) = (number("offset")?, number("round")?);
            Message::InstallReply { last: id("last")?, offset, round, session }
        }
        "Lost" => Message::Lost { incarnation, session },
        "TimeoutNow" => Message::TimeoutNow,
        "ReadIndex" => Message::ReadIndex { question: question()? },
        "ReadIndexReply" => {
            Message::ReadIndexReply { question: question()?, index: number("index") }
        }
        _ => return None,
    };
    Some(Envelope { from, to, term, message })
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
