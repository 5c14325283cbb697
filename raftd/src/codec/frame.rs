//! Lines between members.
//!
//! ```text
//! {"hello":{"protocol":1,"cluster":"demo","from":1,"to":2,"incarnation":81…,"knows":72…,"founders":[1,2,3],"address":"127.0.0.1:7101"}}
//! {"from":1,"to":2,"term":3,"append":{"prev":[17,3],"commit":16,"round":4,"stand":{"session":9,"voter":true,"incarnation":0},"entries":[{"index":18,…}]}}
//! {"from":2,"to":1,"term":3,"append_accepted":{"matched":18,"round":4,"session":9}}
//! {"from":1,"to":2,"term":3,"install":{"last":[900,3],"offset":0,"total":5120,"round":4,"stand":{…},"data":"…"}}
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use raft_core::message::{Envelope, Message, ReadQuestion, Stand};
use raft_core::types::{Entry, EntryId, Index, NodeId, Term};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::entry::{ENTRY_START, decode_entry_keep};
use super::{
    APPEND_BYTES_MAX, Error, FRAME_BYTES_MAX, count, entry_json, maybe_count, pair, positive,
    read_line, write_json, write_line,
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
    #[serde(deserialize_with = "positive")]
    pub from: NodeId,
    /// Whom it means to reach.
    #[serde(deserialize_with = "positive")]
    pub to: NodeId,
    /// The number of the dialling node's data directory.
    #[serde(deserialize_with = "positive")]
    pub incarnation: u64,
    /// The number of the other node's data directory, if the dialling one has noted it.
    #[serde(default, deserialize_with = "maybe_count", skip_serializing_if = "Option::is_none")]
    pub knows: Option<u64>,
    /// Those that the dialling node takes for the founders of the cluster; empty: it joins later, and cannot say.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub founders: BTreeSet<NodeId>,
    /// Where the dialling node is reached, `IP:PORT`, for members whose cluster file does not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
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
        Message::Vote { last, transfer } => {
            field(out, r#","vote":"#, &VoteWire { last: *last, transfer: *transfer });
        }
        Message::VoteReply { granted } => {
            field(out, r#","vote_reply":"#, &VoteReplyWire { granted: *granted });
        }
        Message::Append { prev, entries, commit, round, stand } => {
            encode_append(out, (*prev, *commit, *round, *stand), entries);
        }
        Message::AppendAccepted { matched, round, session, lost } => {
            let name = r#","append_accepted":{"matched":"#;
            numbers(out, &[(name, *matched), (ROUND, *round), (SESSION, *session)]);
            out.extend_from_slice(if *lost { br#","lost":true}"# } else { b"}" });
        }
        Message::AppendRejected { prev_index, hint, round, session } => {
            let (prev_index, hint, round, session) = (*prev_index, *hint, *round, *session);
            let wire = RejectedWire { prev_index, hint, round, session };
            field(out, r#","append_rejected":"#, &wire);
        }
        Message::Install { last, offset, data, total, round, stand } => {
            let (last, offset, total, round) = (*last, *offset, *total, *round);
            let stand = StandWire::from(*stand);
            let wire = InstallWire { last, offset, total, round, stand, data: Arc::clone(data) };
            field(out, r#","install":"#, &wire);
        }
        Message::InstallReply { last, offset, round, session } => {
            let (last, offset, round, session) = (*last, *offset, *round, *session);
            let wire = InstallReplyWire { last, offset, round, session };
            field(out, r#","install_reply":"#, &wire);
        }
        Message::Lost { incarnation, session } => {
            let wire = LostWire { incarnation: *incarnation, session: *session };
            field(out, r#","lost":"#, &wire);
        }
        Message::TimeoutNow => out.extend_from_slice(br#","timeout_now":{}"#),
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

const ROUND: &str = r#","round":"#;
const SESSION: &str = r#","session":"#;

fn encode_append(
    out: &mut Vec<u8>,
    (prev, commit, round, stand): (EntryId, Index, u64, Stand),
    entries: &[Arc<Entry>],
) {
    let name = r#","append":{"prev":["#;
    numbers(out, &[(name, prev.index), (",", prev.term), (r#"],"commit":"#, commit)]);
    numbers(out, &[(ROUND, round), (r#","stand":{"session":"#, stand.session)]);
    out.extend_from_slice(if stand.voter { br#","voter":true"# } else { br#","voter":false"# });
    numbers(out, &[(r#","incarnation":"#, stand.incarnation)]);
    out.extend_from_slice(br#"},"entries":["#);
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(entry_json(entry).as_bytes());
    }
    out.extend_from_slice(b"]}");
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
        wire.append_accepted.map(|AcceptedWire { matched, round, session, lost }| {
            Message::AppendAccepted { matched, round, session, lost }
        }),
        wire.append_rejected.map(|RejectedWire { prev_index, hint, round, session }| {
            Message::AppendRejected { prev_index, hint, round, session }
        }),
        wire.install.map(|InstallWire { last, offset, total, round, stand, data }| {
            Message::Install { last, offset, data, total, round, stand: stand.into() }
        }),
        wire.install_reply.map(|InstallReplyWire { last, offset, round, session }| {
            Message::InstallReply { last, offset, round, session }
        }),
        wire.lost.map(|LostWire { incarnation, session }| Message::Lost { incarnation, session }),
        wire.timeout_now.map(|TimeoutNowWire {}| Message::TimeoutNow),
        wire.pre_vote.map(|PreVoteWire { next_term, last }| Message::PreVote { next_term, last }),
        wire.pre_vote_reply.map(|PreVoteReplyWire { next_term, granted }| Message::PreVoteReply {
            next_term,
            granted,
        }),
        wire.vote.map(|VoteWire { last, transfer }| Message::Vote { last, transfer }),
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
    let AppendWire { prev, commit, round, stand, entries: texts } = wire;
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
    Ok(Message::Append { prev, entries, commit, round, stand: stand.into() })
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
    install: Option<InstallWire>,
    install_reply: Option<InstallReplyWire>,
    lost: Option<LostWire>,
    timeout_now: Option<TimeoutNowWire>,
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
    stand: StandWire,
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
    #[serde(deserialize_with = "count")]
    session: Index,
    #[serde(default)]
    lost: bool,
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
    #[serde(deserialize_with = "count")]
    session: Index,
}

/// [`Stand`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StandWire {
    #[serde(deserialize_with = "count")]
    session: Index,
    voter: bool,
    #[serde(deserialize_with = "count")]
    incarnation: u64,
}

impl From<Stand> for StandWire {
    fn from(Stand { session, voter, incarnation }: Stand) -> StandWire {
        StandWire { session, voter, incarnation }
    }
}

impl From<StandWire> for Stand {
    fn from(StandWire { session, voter, incarnation }: StandWire) -> Stand {
        Stand { session, voter, incarnation }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InstallWire {
    #[serde(serialize_with = "pair::serialize", deserialize_with = "named")]
    last: EntryId,
    #[serde(deserialize_with = "count")]
    offset: u64,
    #[serde(deserialize_with = "count")]
    total: u64,
    #[serde(deserialize_with = "count")]
    round: u64,
    stand: StandWire,
    #[serde(deserialize_with = "piece")]
    data: Arc<str>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InstallReplyWire {
    #[serde(serialize_with = "pair::serialize", deserialize_with = "named")]
    last: EntryId,
    #[serde(deserialize_with = "count")]
    offset: u64,
    #[serde(deserialize_with = "count")]
    round: u64,
    #[serde(deserialize_with = "count")]
    session: Index,
}

/// Reads the name of an entry that exists: snapshots of nothing are not sent.
fn named<'de, D: Deserializer<'de>>(input: D) -> Result<EntryId, D::Error> {
    match pair::deserialize(input)? {
        EntryId::ZERO => Err(serde::de::Error::custom("a snapshot of nothing")),
        id => Ok(id),
    }
}

/// Reads a piece of a snapshot that is no longer than those that are sent: it fits a line however it is escaped.
fn piece<'de, D: Deserializer<'de>>(input: D) -> Result<Arc<str>, D::Error> {
    let data = Arc::<str>::deserialize(input)?;
    if data.len() > APPEND_BYTES_MAX {
        let bytes = data.len();
        let message = format_args!("a piece of {bytes} bytes; {APPEND_BYTES_MAX} is the most");
        return Err(serde::de::Error::custom(message));
    }
    Ok(data)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LostWire {
    #[serde(deserialize_with = "positive")]
    incarnation: u64,
    #[serde(deserialize_with = "count")]
    session: Index,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeoutNowWire {}

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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    transfer: bool,
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
