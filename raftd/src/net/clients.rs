//! Client connections: hello, then requests, checked here so that the event loop gets only good ones and ready answers
//! to bad ones.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use raft_core::kv::{self, Command, RequestId};
use raft_core::membership::{Address, Change, MEMBERS_MAX};
use raft_core::types::NodeId;
use serde::Deserialize;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::lines::TooLong;
use super::{
    Complaint, ConnectionId, Context, Event, HELLO_BYTES_MAX, Lines, PARTING_PATIENCE, Place, Port,
};
use crate::api::{self, Code, Consistency, MemberChange, Op};
use crate::{codec, config};

/// Most client connections.
const CONNECTIONS_MAX: usize = 1024;

/// Most requests handed to the event loop in one event. Less than what one connection may have waiting, or it could
/// never be sent.
const BATCH_REQUESTS_MAX: usize = 256;

/// A client that has said hello properly, and waits for ours.
#[derive(Debug)]
pub(crate) struct NewClient {
    /// Its requests.
    pub(crate) lines: Lines,
    /// The way back.
    pub(crate) writer: OwnedWriteHalf,
    /// Its place among the connections.
    pub(crate) place: Place,
}

/// A well-formed request line, or the answer to one that is not.
#[derive(Debug)]
pub(crate) struct Request {
    /// The client's name for it.
    pub(crate) tag: u64,
    /// What it wants.
    pub(crate) kind: RequestKind,
}

/// What a client wants.
#[derive(Debug)]
pub(crate) enum RequestKind {
    /// To change something.
    Write(Command),
    /// To read a key.
    Read {
        /// The key.
        key: String,
        /// How fresh it must be.
        consistency: Consistency,
        /// What it must reflect at least, if it is stale.
        min_index: u64,
    },
    /// To change who the members are.
    Change(Change),
    /// To hand the leadership over.
    Transfer {
        /// To whom.
        to: Option<NodeId>,
    },
    /// To have a snapshot written.
    Snapshot,
    /// To see the node's view of itself.
    Status,
    /// Nothing that can be done: this is the answer.
    Bad(Complaint),
}

/// Takes clients in, for ever.
pub(crate) async fn accept_clients(listener: TcpListener, context: Context) -> Infallible {
    super::accept(listener, CONNECTIONS_MAX, move |stream, from, place| {
        greet(stream, from, place, context.clone())
    })
    .await
}

async fn greet(stream: TcpStream, from: SocketAddr, place: Place, context: Context) {
    let Ok((reader, writer)) = super::split(stream) else { return };
    let mut lines = Lines::new(reader, HELLO_BYTES_MAX);
    match super::first_line(&mut lines, |line| check_hello(line, &context)).await {
        Ok(()) => {
            lines.set_line_bytes_max(api::LINE_BYTES_MAX);
            // Sending fails only when the event loop has ended, and the process with it.
            context.events.send(Event::ClientOpened(NewClient { lines, writer, place })).await.ok();
        }
        Err(None) => {}
        Err(Some(complaint)) => {
            let reason = complaint.message.clone();
            context.events.send(Event::Refused { port: Port::Client, from, reason }).await.ok();
            super::part(lines, writer, complaint).await;
        }
    }
}

fn check_hello(line: &[u8], context: &Context) -> Result<(), Complaint> {
    let api::HelloLine { hello } = serde_json::from_slice(line).map_err(|error| {
        let example = format!(r#"{{"hello":{{"protocol":{}}}}}"#, api::PROTOCOL);
        Complaint::bad_request(format!("the first line is not a hello such as {example}: {error}"))
    })?;
    let wrong = |message: String| Err(Complaint::new(Code::WrongHello, message));
    if hello.protocol != api::PROTOCOL {
        let (theirs, ours) = (hello.protocol, api::PROTOCOL);
        return wrong(format!(
            "protocol {theirs} is not spoken here; this node speaks protocol {ours}"
        ));
    }
    if let Some(theirs) = hello.cluster
        && *theirs != *context.cluster
    {
        let (node, ours) = (context.node, &context.cluster);
        return wrong(format!("this is node {node} of cluster {ours:?}, not of {theirs:?}"));
    }
    match hello.node {
        Some(theirs) if theirs != context.node => {
            wrong(format!("this is node {}, not node {theirs}", context.node))
        }
        Some(_) | None => Ok(()),
    }
}

/// Reads a client's requests until it ends. `quota` is how many more may wait for their answers: when it is used up,
/// reading stops, and the client's writes with it.
pub(crate) async fn read_requests(
    id: ConnectionId,
    mut lines: Lines,
    quota: Arc<Semaphore>,
    events: mpsc::Sender<Event>,
    place: Place,
) {
    let parting = loop {
        let mut requests = Vec::new();
        let end = take_requests(&mut lines, &mut requests);
        if let Ok(count @ 1..) = u32::try_from(requests.len()) {
            // Either fails only when the event loop has let go of the connection.
            let Ok(permits) = quota.acquire_many(count).await else { return };
            permits.forget();
            if events.send(Event::Requests { id, requests }).await.is_err() {
                return;
            }
        }
        match end {
            End::Mess(complaint) => break Some(complaint),
            End::More => {}
            End::Drained => match lines.fill().await {
                Ok(true) => {}
                Ok(false) if lines.is_mid_line() => {
                    break Some(Complaint::bad_request(
                        "the last line has no end; nothing was done about it",
                    ));
                }
                Ok(false) | Err(_) => break None,
            },
        }
    };
    let is_unread = parting.is_some();
    if events.send(Event::ClientEnded { id, parting }).await.is_ok() && is_unread {
        timeout(PARTING_PATIENCE, lines.discard()).await.ok();
    }
    drop(place);
}

/// Why taking requests from the buffer ended.
enum End {
    /// It holds no further whole line.
    Drained,
    /// The batch is full.
    More,
    /// What follows cannot be told apart.
    Mess(Complaint),
}

fn take_requests(lines: &mut Lines, requests: &mut Vec<Request>) -> End {
    while requests.len() < BATCH_REQUESTS_MAX {
        match lines.next() {
            Ok(Some(line)) => requests.push(parse(line)),
            Ok(None) => return End::Drained,
            Err(TooLong { line_bytes_max }) => {
                let message = format!(
                    "a request line exceeds {line_bytes_max} bytes; closing the connection"
                );
                return End::Mess(Complaint::new(Code::TooLarge, message));
            }
        }
    }
    End::More
}

/// Makes a request of a line, whatever it holds.
fn parse(line: &[u8]) -> Request {
    match serde_json::from_slice::<api::Request>(line) {
        Ok(request) => {
            let tag = request.tag;
            Request { tag, kind: check(request).unwrap_or_else(RequestKind::Bad) }
        }
        Err(error) => {
            // Whatever else is wrong, the client should learn which of its requests it was.
            let tag = serde_json::from_slice::<Tagged>(line).map_or(0, |tagged| tagged.tag);
            let message = match std::str::from_utf8(line) {
                Ok(_) => format!("not a request: {error}"),
                Err(error) => {
                    format!("not a request: not UTF-8 at byte {}", error.valid_up_to() + 1)
                }
            };
            Request { tag, kind: RequestKind::Bad(Complaint::bad_request(message)) }
        }
    }
}

/// As much of a request as a bad one may have.
#[derive(Deserialize)]
struct Tagged {
    tag: u64,
}

fn check(request: api::Request) -> Result<RequestKind, Complaint> {
    let api::Request { tag: _, request, ack, op } = request;
    check_sizes(&op)?;
    let op = match op {
        Op::Get { key, consistency, min_index } => {
            check_count("min_index", min_index)?;
            return Ok(RequestKind::Read { key, consistency, min_index });
        }
        Op::Status => return Ok(RequestKind::Status),
        Op::Member(change) => return check_change(change).map(RequestKind::Change),
        Op::Transfer { to } => {
            to.map_or(Ok(()), check_node)?;
            return Ok(RequestKind::Transfer { to });
        }
        Op::Snapshot => return Ok(RequestKind::Snapshot),
        write @ (Op::Put { .. }
        | Op::Delete { .. }
        | Op::Cas { .. }
        | Op::Append { .. }
        | Op::Incr { .. }
        | Op::Txn(_)) => write.into_write().expect("these are the writes"),
    };
    check_txn(&op)?;
    let Some(request) = request else {
        let message = "a write needs a request id such as \"request\":\"CLIENT:1\", so that it can be retried safely";
        return Err(Complaint::bad_request(message));
    };
    let request: RequestId = request
        .parse()
        .map_err(|error: kv::BadRequestId| Complaint::bad_request(error.to_string()))?;
    check_count("ack", ack)?;
    Ok(RequestKind::Write(Command { request, ack, op }))
}

/// A transaction is held to what the log is.
fn check_txn(op: &kv::Op) -> Result<(), Complaint> {
    let kv::Op::Txn(_) = op else { return Ok(()) };
    codec::check_op(op).map_err(|error| {
        let is_large =
            matches!(error, codec::Error::TxnBytes { .. } | codec::Error::Key { bytes: 1.. });
        let code = if is_large { Code::TooLarge } else { Code::BadRequest };
        Complaint::new(code, error.to_string())
    })
}

/// The log's numbers end somewhere: an entry with a higher one could be written, but not read back.
fn check_count(what: &str, count: u64) -> Result<(), Complaint> {
    if count > codec::COUNT_MAX {
        let message = format!("{what} is {count}; {} is the most", codec::COUNT_MAX);
        return Err(Complaint::bad_request(message));
    }
    Ok(())
}

fn check_node(id: NodeId) -> Result<(), Complaint> {
    if id == 0 || id > config::NODE_ID_MAX {
        let message =
            format!("node id {id} is not allowed; ids go from 1 to {}", config::NODE_ID_MAX);
        return Err(Complaint::bad_request(message));
    }
    Ok(())
}

fn check_change(change: MemberChange) -> Result<Change, Complaint> {
    Ok(match change {
        MemberChange::Add { id, peer, client, incarnation } => {
            check_node(id)?;
            check_count("incarnation", incarnation)?;
            if incarnation == 0 {
                return Err(Complaint::bad_request(
                    "incarnation is 0; take the number that the new node's own status says",
                ));
            }
            for (key, text) in [("peer", &peer), ("client", &client)] {
                config::dialable(key, text)
                    .map_err(|fault| Complaint::bad_request(fault.to_string()))?;
            }
            Change::AddLearner { id, address: Address { peer, client }, incarnation }
        }
        MemberChange::Promote(id) => {
            check_node(id)?;
            Change::Promote { id }
        }
        MemberChange::Remove(id) => {
            check_node(id)?;
            Change::Remove { id }
        }
        MemberChange::Set(voters) => {
            voters.iter().try_for_each(|&id| check_node(id))?;
            if voters.len() > MEMBERS_MAX {
                let message = format!("{} voters; {MEMBERS_MAX} is the most", voters.len());
                return Err(Complaint::new(Code::TooManyMembers, message));
            }
            Change::Set { voters }
        }
    })
}

fn check_sizes(op: &Op) -> Result<(), Complaint> {
    let (key, value, expect) = match op {
        Op::Get { key, .. } | Op::Delete { key } | Op::Incr { key, .. } => (key, None, None),
        Op::Put { key, value } | Op::Append { key, value } => (key, Some(value), None),
        Op::Cas { key, expect, value } => (key, Some(value), expect.as_ref()),
        Op::Txn(_) | Op::Status | Op::Member(_) | Op::Transfer { .. } | Op::Snapshot => {
            return Ok(());
        }
    };
    if key.is_empty() {
        return Err(Complaint::bad_request("the key is empty"));
    }
    let fits = |what: &str, text: &str, bytes_max: usize| {
        if text.len() <= bytes_max {
            return Ok(());
        }
        let message = format!("the {what} has {} bytes; at most {bytes_max} fit", text.len());
        Err(Complaint::new(Code::TooLarge, message))
    };
    fits("key", key, api::KEY_BYTES_MAX)?;
    for (what, text) in [("value", value), ("expected value", expect)] {
        if let Some(text) = text {
            fits(what, text, api::VALUE_BYTES_MAX)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code and message of the answer to a bad line, and its tag.
    fn complaint(line: &[u8]) -> (u64, Code, String) {
        let request = parse(line);
        let RequestKind::Bad(error) = request.kind else { panic!("accepted: {request:?}") };
        (request.tag, error.code, error.message)
    }

    fn check(line: &str, tag: u64, code: Code, names: &str) {
        let complaint = complaint(line.as_bytes());
        assert_eq!((complaint.0, complaint.1), (tag, code), "{complaint:?}");
        assert!(complaint.2.contains(names), "{complaint:?}");
    }

    #[test]
    fn bad_request_names_the_fault_and_keeps_its_tag() {
        let bad = Code::BadRequest;
        check("", 0, bad, "EOF");
        check("7", 0, bad, "not a request");
        check("garbage", 0, bad, "not a request");
        check(r#"{"tag":7}"#, 7, bad, "missing field `op`");
        check(r#"{"op":"status"}"#, 0, bad, "missing field `tag`");
        check(r#"{"tag":7,"op":"dance"}"#, 7, bad, "unknown variant `dance`");
        check(r#"{"tag":7,"op":{"get":{"key":"x","kee":1}}}"#, 7, bad, "`kee`");
        check(r#"{"tag":7,"op":{"get":{"key":""}}}"#, 7, bad, "key is empty");
        check(r#"{"tag":7,"op":{"put":{"key":"x","value":"1"}}}"#, 7, bad, "needs a request id");
        check(r#"{"tag":7,"request":"a","op":{"delete":{"key":"x"}}}"#, 7, bad, "CLIENT:SEQ");
        check(r#"{"tag":7,"request":"a:0","op":{"delete":{"key":"x"}}}"#, 7, bad, "CLIENT:SEQ");
        check(r#"{"tag":7,"request":"a:1","op":{"incr":{"key":"x","by":1.5}}}"#, 7, bad, "1.5");
        let (tag, code, message) = complaint(b"{\"tag\":7,\"op\":{\"get\":{\"key\":\"\xff\"}}}");
        assert_eq!((tag, code), (7, bad));
        assert!(message.contains("not UTF-8 at byte 30"), "{message}");
    }

    #[test]
    fn oversized_key_or_value_is_too_large_and_one_byte_less_is_not() {
        let get =
            |bytes| format!(r#"{{"tag":1,"op":{{"get":{{"key":"{}"}}}}}}"#, "k".repeat(bytes));
        check(&get(1025), 1, Code::TooLarge, "key has 1025 bytes");
        assert!(matches!(parse(get(1024).as_bytes()).kind, RequestKind::Read { .. }));
        let cas = |bytes| {
            let expect = "e".repeat(bytes);
            format!(
                r#"{{"tag":1,"request":"c:1","op":{{"cas":{{"key":"k","expect":"{expect}","value":""}}}}}}"#
            )
        };
        check(&cas((1 << 20) + 1), 1, Code::TooLarge, "expected value has 1048577 bytes");
        assert!(matches!(parse(cas(1 << 20).as_bytes()).kind, RequestKind::Write(_)));
    }

    #[test]
    fn good_request_is_taken_apart() {
        let request =
            parse(br#"{"tag":3,"request":"c@9:4","ack":3,"op":{"put":{"key":"k","value":"v"}}}"#);
        assert_eq!(request.tag, 3);
        let RequestKind::Write(command) = request.kind else { panic!("{request:?}") };
        assert_eq!((command.request.to_string(), command.ack), ("c@9:4".to_owned(), 3));
        let request = parse(br#"{"tag":3,"op":{"get":{"key":"k","consistency":"stale"}}}"#);
        assert!(matches!(request.kind, RequestKind::Read { consistency: Consistency::Stale, .. }));
        assert!(matches!(parse(br#"{"tag":3,"op":"status"}"#).kind, RequestKind::Status));
        assert!(matches!(parse(br#"{"tag":3,"op":"snapshot"}"#).kind, RequestKind::Snapshot));
        let transfer = parse(br#"{"tag":3,"op":{"transfer":{}}}"#);
        assert!(matches!(transfer.kind, RequestKind::Transfer { to: None }));
    }

    #[test]
    fn transaction_is_taken_apart_and_its_faults_are_named() {
        let txn = |json: &str| format!(r#"{{"tag":4,"request":"c:1","op":{{"txn":{json}}}}}"#);
        let good = txn(
            r#"{"compare":[{"key":"x","expect":"1"}],"then":[{"put":{"key":"y","value":"2"}}],"else":[{"get":{"key":"x"}}]}"#,
        );
        let RequestKind::Write(command) = parse(good.as_bytes()).kind else { panic!("{good}") };
        assert_eq!(command.op.keys().len(), 2);
        let bad = Code::BadRequest;
        check(&txn(r#"{"then":[{"dance":{"key":"y"}}]}"#), 4, bad, "unknown variant `dance`");
        check(&txn(r#"{"then":[{"get":{"key":""}}]}"#), 4, bad, "key has 0 bytes");
        let get = r#"{"get":{"key":"x"}}"#;
        let many = vec![get; kv::Txn::OPS_MAX + 1].join(",");
        check(&txn(&format!(r#"{{"then":[{many}]}}"#)), 4, bad, "operations");
        let long = "v".repeat(1 << 20);
        let large = format!(r#"{{"then":[{{"put":{{"key":"x","value":"{long}"}}}}]}}"#);
        check(&txn(&large), 4, Code::TooLarge, "bytes");
    }

    #[test]
    fn change_of_membership_is_taken_apart_and_its_faults_are_named() {
        let change = |json: &str| format!(r#"{{"tag":4,"op":{{"member":{json}}}}}"#);
        let add = |peer: &str, incarnation: u64| {
            change(&format!(
                r#"{{"add":{{"id":4,"peer":"{peer}","client":"127.0.0.1:7204","incarnation":{incarnation}}}}}"#
            ))
        };
        let parsed = |json: &str| {
            let request = parse(change(json).as_bytes());
            let RequestKind::Change(change) = request.kind else { panic!("{request:?}") };
            change
        };
        assert_eq!(parsed(r#"{"promote":4}"#), Change::Promote { id: 4 });
        assert_eq!(parsed(r#"{"remove":1}"#), Change::Remove { id: 1 });
        assert_eq!(parsed(r#"{"set":[4,2]}"#), Change::Set { voters: [2, 4].into() });
        assert!(matches!(
            parse(add("127.0.0.1:7104", 9).as_bytes()).kind,
            RequestKind::Change(Change::AddLearner { id: 4, incarnation: 9, .. })
        ));
        let bad = Code::BadRequest;
        check(&add("localhost:1", 9), 4, bad, "not IP:PORT");
        check(&add("127.0.0.1:0", 9), 4, bad, "cannot be dialled");
        check(&add("127.0.0.1:7104", 0), 4, bad, "status says");
        check(&add("127.0.0.1:7104", 1 << 54), 4, bad, "is the most");
        check(&change(r#"{"promote":0}"#), 4, bad, "node id 0");
        check(&change(r#"{"set":[0,1]}"#), 4, bad, "node id 0");
        check(&change(r#"{"demote":1}"#), 4, bad, "unknown variant `demote`");
        check(r#"{"tag":4,"op":{"transfer":{"to":0}}}"#, 4, bad, "node id 0");
    }
}
