//! Lines between members.
//!
//! ```text
//! {"hello":{"protocol":1,"cluster":"demo","from":1,"to":2}}
//! {"from":1,"to":2,"term":3,"append":{"prev":[17,3],"commit":16,"round":4,"entries":[{"index":18,…}]}}
//! {"from":2,"to":1,"term":3,"append_accepted":{"matched":18,"round":4}}
//! ```

use std::sync::Arc;

use raft_core::message::{Envelope, Message, ReadQuestion};
use raft_core::types::{Entry, EntryId, Index, NodeId, Term};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::entry::{ENTRY_START, decode_entry_keep};
use super::{
    Error, FRAME_BYTES_MAX, count, entry_json, maybe_count, pair, positive, read_line, write_json,
    write_line,
};

/// One line between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first line of a connection.
    Hello(PeerHello),
    /// Any other.
    Envelope(Envelope),
}

/// Who dials, and whom it means to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerHello {
    /// [`crate::api::PROTOCOL`].
    pub protocol: u32,
    /// The cluster's id.
    pub cluster: String,
    /// Who dials.
    pub from: NodeId,
    /// Whom it means to reach.
    pub to: NodeId,
}

/// Appends the hello as a line, its end included.
pub fn encode_hello(hello: &PeerHello, out: &mut Vec<u8>) {
    write_line(out, |out| write_json(out, &HelloWire { hello: hello.clone() }));
}

/// Appends the envelope as a line, its end included. Entries are copied from their kept texts.
pub fn encode_envelope(envelope: &Envelope, out: &mut Vec<u8>) {
    write_line(out, |out| {
        let Envelope { from, to, term, message } = envelope;
        numbers(out, &[(r#"{"from":"#, *from), (r#","to":"#, *to), (r#","term":"#, *term)]);
        encode_message(message, out);
        out.push(b'}');
    });
}

fn encode_message(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::PreVote { next_term, last } => {
            field(out, r#","pre_vote":"#, &PreVoteWire { next_term: *next_term, last: *last });
        }
        Message::PreVoteReply { next_term, granted } => {
            let wire = PreVoteReplyWire { next_term: *next_term, granted: *granted };
            field(out, r#","pre_vote_reply":"#, &wire);
        }
        Message::Vote { last } => field(out, r#","vote":"#, &VoteWire { last: *last }),
        Message::VoteReply { granted } => {
            field(out, r#","vote_reply":"#, &VoteReplyWire { granted: *granted });
        }
        Message::Append { prev, entries, commit, round } => {
            numbers(
                out,
                &[
                    (r#","append":{"prev":["#, prev.index),
                    (",", prev.term),
                    (r#"],"commit":"#, *commit),
                    (r#","round":"#, *round),
                ],
            );
            out.extend_from_slice(br#","entries":["#);
            for (i, entry) in entries.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(entry_json(entry).as_bytes());
            }
            out.extend_from_slice(b"]}");
        }
        Message::AppendAccepted { matched, round } => {
            numbers(
                out,
                &[(r#","append_accepted":{"matched":"#, *matched), (r#","round":"#, *round)],
            );
            out.push(b'}');
        }
        Message::AppendRejected { prev_index, hint, round } => {
            let wire = RejectedWire { prev_index: *prev_index, hint: *hint, round: *round };
            field(out, r#","append_rejected":"#, &wire);
        }
        Message::ReadIndex { question } => {
            let ReadQuestion { incarnation, number } = *question;
            field(out, r#","read_index":"#, &ReadIndexWire { question: (incarnation, number) });
        }
        Message::ReadIndexReply { question, index } => {
            let question = (question.incarnation, question.number);
            let wire = ReadIndexReplyWire { question, index: *index };
            field(out, r#","read_index_reply":"#, &wire);
        }
    }
}

/// Reads a line between members, with or without its end. What comes back is well formed: entries of an append follow
/// its `prev` and one another, in index and in term, and none is of a term above the sender's.
pub fn decode_frame(line: &[u8]) -> Result<Frame, Error> {
    if line.len() > FRAME_BYTES_MAX {
        return Err(Error::TooLong { bytes: line.len() });
    }
    let text = read_line(line)?;
    if text.starts_with(r#"{"hello":"#) {
        let HelloWire { hello } = serde_json::from_str(text).map_err(Error::Json)?;
        return Ok(Frame::Hello(hello));
    }
    let wire: EnvelopeWire<'_> = serde_json::from_str(text).map_err(Error::Json)?;
    let (from, to, term) = (wire.from, wire.to, wire.term);
    if from == to {
        return Err(Error::Members { from, to });
    }
    Ok(Frame::Envelope(Envelope { from, to, term, message: decode_message(wire)? }))
}

fn decode_message(wire: EnvelopeWire<'_>) -> Result<Message, Error> {
    let term = wire.term;
    let question = |(incarnation, number)| ReadQuestion { incarnation, number };
    let kinds = [
        wire.append.map(|append| decode_append(append, term)).transpose()?,
        wire.append_accepted
            .map(|AcceptedWire { matched, round }| Message::AppendAccepted { matched, round }),
        wire.append_rejected.map(|RejectedWire { prev_index, hint, round }| {
            Message::AppendRejected { prev_index, hint, round }
        }),
        wire.pre_vote.map(|PreVoteWire { next_term, last }| Message::PreVote { next_term, last }),
        wire.pre_vote_reply.map(|PreVoteReplyWire { next_term, granted }| Message::PreVoteReply {
            next_term,
            granted,
        }),
        wire.vote.map(|VoteWire { last }| Message::Vote { last }),
        wire.vote_reply.map(|VoteReplyWire { granted }| Message::VoteReply { granted }),
        wire.read_index.map(|read| Message::ReadIndex { question: question(read.question) }),
        wire.read_index_reply.map(|reply| Message::ReadIndexReply {
            question: question(reply.question),
            index: reply.index,
        }),
    ];
    let mut said = kinds.into_iter().flatten();
    match (said.next(), said.next()) {
        (Some(message), None) => Ok(message),
        (None | Some(_), _) => Err(Error::MessageKind),
    }
}

fn decode_append(wire: AppendWire<'_>, term: Term) -> Result<Message, Error> {
    let AppendWire { prev, commit, round, entries: texts } = wire;
    let mut entries: Vec<Arc<Entry>> = Vec::with_capacity(texts.len());
    let mut previous = prev;
    for text in texts {
        if !text.get().starts_with(ENTRY_START) {
            return Err(Error::EntryStart);
        }
        let entry = decode_entry_keep(text.get())?;
        let found = entry.id;
        if found.index != previous.index + 1 || !(previous.term..=term).contains(&found.term) {
            return Err(Error::Gap { previous, found, term });
        }
        previous = found;
        entries.push(entry);
    }
    Ok(Message::Append { prev, entries, commit, round })
}

/// Appends each text and its number: the envelope's frame and the commonest messages, without serde's overhead.
fn numbers(out: &mut Vec<u8>, fields: &[(&str, u64)]) {
    let mut digits = itoa::Buffer::new();
    for (name, value) in fields {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(digits.format(*value).as_bytes());
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    out.extend_from_slice(name.as_bytes());
    write_json(out, value);
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HelloWire {
    hello: PeerHello,
}

/// An envelope: who, to whom, and exactly one of the rest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeWire<'a> {
    #[serde(deserialize_with = "positive")]
    from: NodeId,
    #[serde(deserialize_with = "positive")]
    to: NodeId,
    #[serde(deserialize_with = "count")]
    term: Term,
    #[serde(borrow)]
    append: Option<AppendWire<'a>>,
    append_accepted: Option<AcceptedWire>,
    append_rejected: Option<RejectedWire>,
    pre_vote: Option<PreVoteWire>,
    pre_vote_reply: Option<PreVoteReplyWire>,
    vote: Option<VoteWire>,
    vote_reply: Option<VoteReplyWire>,
    read_index: Option<ReadIndexWire>,
    read_index_reply: Option<ReadIndexReplyWire>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppendWire<'a> {
    #[serde(with = "pair")]
    prev: EntryId,
    #[serde(deserialize_with = "count")]
    commit: Index,
    #[serde(deserialize_with = "count")]
    round: u64,
    #[serde(borrow)]
    entries: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptedWire {
    #[serde(deserialize_with = "count")]
    matched: Index,
    #[serde(deserialize_with = "count")]
    round: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RejectedWire {
    #[serde(deserialize_with = "count")]
    prev_index: Index,
    #[serde(with = "pair")]
    hint: EntryId,
    #[serde(deserialize_with = "count")]
    round: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreVoteWire {
    #[serde(deserialize_with = "positive")]
    next_term: Term,
    #[serde(with = "pair")]
    last: EntryId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreVoteReplyWire {
    #[serde(deserialize_with = "positive")]
    next_term: Term,
    granted: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VoteWire {
    #[serde(with = "pair")]
    last: EntryId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VoteReplyWire {
    granted: bool,
}

/// The question as `[incarnation, number]`; both are opaque to whoever answers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadIndexWire {
    question: (u64, u64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadIndexReplyWire {
    question: (u64, u64),
    #[serde(deserialize_with = "maybe_count")]
    index: Option<Index>,
}
