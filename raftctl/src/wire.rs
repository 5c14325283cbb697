//! Lines of the client protocol, as a client writes and reads them; the counterparts of [`api`]'s types that own less
//! and accept more.

use std::io;

use bytes::{Buf, BytesMut};
use raftd::api::{self, Code, Done, Hello, HelloLine, Op, RequestId};
use serde::{Deserialize, Serialize, Serializer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::NodeId;

/// What a node says to a request.
pub(crate) type Reply = Result<Done, Refusal>;

/// A node's no.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// One of the codes this client knows.
    Known(Box<api::Error>),
    /// Another: the node is newer than this client.
    Unknown { code: String, message: String },
}

/// A request line; the counterpart of [`api::Request`] that owns nothing.
#[derive(Debug, Serialize)]
struct Line<'a> {
    tag: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Name<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<u64>,
    op: &'a Op,
}

/// A request's name, written straight into the line.
#[derive(Debug)]
struct Name<'a>(&'a RequestId);

impl Serialize for Name<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// Adds a request line to a buffer.
pub(crate) fn push_request(
    out: &mut Vec<u8>,
    tag: u64,
    request: Option<&RequestId>,
    ack: Option<u64>,
    op: &Op,
) {
    serde_json::to_writer(&mut *out, &Line { tag, request: request.map(Name), ack, op })
        .expect("strings and numbers have a JSON form, and a Vec takes any bytes");
    out.push(b'\n');
}

/// An answer line; the counterpart of [`api::Response`] that accepts error codes it does not know.
#[derive(Debug, Deserialize)]
struct AnswerLine {
    tag: u64,
    ok: Option<Done>,
    error: Option<WireError>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WireError {
    Known(Box<api::Error>),
    Unknown { code: String, message: String },
}

/// The first line that a node sends.
#[derive(Debug, Deserialize)]
struct FirstLine {
    hello: Option<Hello>,
    error: Option<WireError>,
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{}", io_reason(.0))]
    Io(#[from] io::Error),
    #[error("closed before its hello")]
    NoHello,
    #[error("does not speak the client protocol (is this a peer port?): {0}")]
    Garbage(String),
    #[error("refused the hello: {message}")]
    Refused { message: String, is_lasting: bool },
    #[error("speaks protocol {found}, not {}; use the raftctl of its version", api::PROTOCOL)]
    Protocol { found: u32 },
    #[error("belongs to cluster {found:?}, not {expected:?}")]
    Cluster { found: String, expected: String },
    #[error("is node {found}, not {expected}")]
    Node { found: NodeId, expected: NodeId },
    #[error("does not say which node it is")]
    Nobody,
}

impl ConnectError {
    /// Whether it is no use to try again: whoever answers there is the wrong one.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            ConnectError::Garbage(_)
            | ConnectError::Protocol { .. }
            | ConnectError::Cluster { .. }
            | ConnectError::Node { .. }
            | ConnectError::Nobody => true,
            ConnectError::Refused { is_lasting, .. } => *is_lasting,
            ConnectError::Io(_) | ConnectError::NoHello => false,
        }
    }
}

/// The system's words, without its error number.
pub(crate) fn io_reason(error: &io::Error) -> String {
    if error.raw_os_error().is_some() { error.kind().to_string() } else { error.to_string() }
}

/// Takes the complete lines out of the buffer. `scanned` bytes of it are known to hold no line end.
pub(crate) fn take_answers(
    buffer: &mut BytesMut,
    scanned: &mut usize,
    answers: &mut Vec<(u64, Reply)>,
) -> Result<(), String> {
    let mut start = 0;
    while let Some(length) = memchr::memchr(b'\n', &buffer[*scanned..]) {
        let end = *scanned + length;
        answers.push(parse_answer(&buffer[start..end])?);
        start = end + 1;
        *scanned = start;
    }
    buffer.advance(start);
    *scanned = buffer.len();
    Ok(())
}

fn parse_answer(line: &[u8]) -> Result<(u64, Reply), String> {
    let garbage = |reason: &str| {
        let line: String = String::from_utf8_lossy(line).chars().take(200).collect();
        format!("it sent an answer that cannot be read ({reason}): {line:?}")
    };
    let answer: AnswerLine =
        serde_json::from_slice(line).map_err(|error| garbage(&error.to_string()))?;
    match (answer.ok, answer.error) {
        (Some(done), None) => Ok((answer.tag, Ok(done))),
        // No request of ours has tag 0: it is about the connection, and the node will close it.
        (None, Some(WireError::Known(error))) if answer.tag == 0 => Err(error.message),
        (None, Some(WireError::Known(error))) => Ok((answer.tag, Err(Refusal::Known(error)))),
        (None, Some(WireError::Unknown { code, message })) => {
            Ok((answer.tag, Err(Refusal::Unknown { code, message })))
        }
        (Some(_), Some(_)) | (None, None) => Err(garbage("neither ok nor error, or both")),
    }
}

/// Says hello and hears it; which node it is, and its commit index.
pub(crate) async fn exchange_hellos(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    node: Option<NodeId>,
    cluster: Option<&str>,
) -> Result<(NodeId, u64), ConnectError> {
    let cluster_named = cluster.map(str::to_owned);
    let hello = Hello { protocol: api::PROTOCOL, cluster: cluster_named, node, commit: None };
    let mut line = serde_json::to_vec(&HelloLine { hello }).map_err(io::Error::from)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let hello = read_hello(stream, buffer).await?;
    Ok((checked_hello(&hello, node, cluster)?, hello.commit.unwrap_or(0)))
}

/// The node's first line, and nothing beyond it is lost: what follows stays in the buffer.
async fn read_hello(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<Hello, ConnectError> {
    const HELLO_BYTES_MAX: usize = 16 << 10;
    let end = loop {
        if let Some(end) = memchr::memchr(b'\n', buffer) {
            break end;
        }
        if buffer.len() > HELLO_BYTES_MAX {
            return Err(ConnectError::Garbage("its first line is too long".to_owned()));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(ConnectError::NoHello);
        }
    };
    let line = buffer.split_to(end + 1);
    let garbage = || {
        let text: String = String::from_utf8_lossy(&line[..end]).chars().take(200).collect();
        ConnectError::Garbage(format!("{text:?}"))
    };
    let first: FirstLine = serde_json::from_slice(&line).map_err(|_| garbage())?;
    match (first.hello, first.error) {
        (Some(hello), _) => Ok(hello),
        (None, Some(WireError::Known(error))) => {
            let is_lasting = error.code == Code::WrongHello;
            Err(ConnectError::Refused { message: error.message, is_lasting })
        }
        (None, Some(WireError::Unknown { message, .. })) => {
            Err(ConnectError::Refused { message, is_lasting: false })
        }
        (None, None) => Err(garbage()),
    }
}

/// Which node it is; it must be the one expected, of the cluster expected.
fn checked_hello(
    hello: &Hello,
    node: Option<NodeId>,
    cluster: Option<&str>,
) -> Result<NodeId, ConnectError> {
    if hello.protocol != api::PROTOCOL {
        return Err(ConnectError::Protocol { found: hello.protocol });
    }
    if let (Some(found), Some(expected)) = (&hello.cluster, cluster)
        && found != expected
    {
        let (found, expected) = (found.clone(), expected.to_owned());
        return Err(ConnectError::Cluster { found, expected });
    }
    let found = hello.node.ok_or(ConnectError::Nobody)?;
    match node {
        Some(expected) if expected != found => Err(ConnectError::Node { found, expected }),
        Some(_) | None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use raftd::api::{Consistency, Request, Response};

    use super::*;

    fn taken(text: &str) -> (Result<Vec<(u64, Reply)>, String>, BytesMut) {
        let mut buffer = BytesMut::from(text);
        let mut answers = Vec::new();
        let result = take_answers(&mut buffer, &mut 0, &mut answers);
        (result.map(|()| answers), buffer)
    }

    #[test]
    fn request_line_is_what_the_api_reads() {
        let id: RequestId = "c \"3\"@17:9".parse().unwrap();
        let op = Op::Cas { key: "k\n".to_owned(), expect: None, value: "ü".to_owned() };
        let line = Line { tag: 5, request: Some(Name(&id)), ack: Some(4), op: &op };
        let read: Request = serde_json::from_str(&serde_json::to_string(&line).unwrap()).unwrap();
        assert_eq!(read, Request { tag: 5, request: Some(id.to_string()), ack: 4, op });
        let op = Op::Get { key: "k".to_owned(), consistency: Consistency::Stale, min_index: 3 };
        let line = Line { tag: 6, request: None, ack: None, op: &op };
        let read: Request = serde_json::from_str(&serde_json::to_string(&line).unwrap()).unwrap();
        assert_eq!(read, Request { tag: 6, request: None, ack: 0, op });
    }

    #[test]
    fn answer_lines_are_taken_and_a_partial_one_stays() {
        let first =
            Response { tag: 1, ok: Some(Done { index: Some(7), ..Done::default() }), error: None };
        let text = format!(
            "{}\n{{\"tag\":2,\"ok\":{{}}}}\n{{\"tag\"",
            serde_json::to_string(&first).unwrap()
        );
        let (answers, rest) = taken(&text);
        let answers = answers.unwrap();
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[0].1.as_ref().unwrap().index, Some(7));
        assert_eq!(&rest[..], b"{\"tag\"");
    }

    #[test]
    fn answer_in_pieces_is_read_once() {
        let text = "{\"tag\":3,\"ok\":{\"value\":\"v\"}}\n{\"tag\":4,\"ok\":{}}\n";
        let (mut buffer, mut scanned, mut answers) = (BytesMut::new(), 0, Vec::new());
        for byte in text.bytes() {
            buffer.extend_from_slice(&[byte]);
            take_answers(&mut buffer, &mut scanned, &mut answers).unwrap();
        }
        let tags: Vec<u64> = answers.iter().map(|(tag, _)| *tag).collect();
        assert_eq!(tags, [3, 4]);
    }

    #[test]
    fn error_code_that_is_not_known_keeps_its_name() {
        let (answers, _) =
            taken("{\"tag\":1,\"error\":{\"code\":\"tired\",\"message\":\"later\"}}\n");
        match answers.unwrap().remove(0).1.unwrap_err() {
            Refusal::Unknown { code, message } => {
                assert_eq!((code.as_str(), message.as_str()), ("tired", "later"));
            }
            Refusal::Known(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn error_code_that_is_known_keeps_its_details() {
        let (answers, _) = taken(
            "{\"tag\":1,\"error\":{\"code\":\"not_leader\",\"message\":\"m\",\"leader\":2,\"leader_client\":\"a:1\",\"new\":0}}\n",
        );
        match answers.unwrap().remove(0).1.unwrap_err() {
            Refusal::Known(error) => {
                assert_eq!(error.code, Code::NotLeader);
                assert_eq!(error.leader, Some(2));
            }
            Refusal::Unknown { code, .. } => panic!("{code}"),
        }
    }

    #[test]
    fn answers_that_make_no_sense_are_refused() {
        for text in ["nonsense\n", "{\"tag\":1}\n", "{\"ok\":{}}\n", "\n"] {
            let (answers, _) = taken(text);
            assert!(answers.unwrap_err().contains("cannot be read"), "{text}");
        }
    }

    #[test]
    fn hello_of_a_stranger_is_refused() {
        let hello = |protocol, cluster: &str, node| Hello {
            protocol,
            cluster: Some(cluster.to_owned()),
            node,
            commit: None,
        };
        let check = |hello: &Hello| {
            checked_hello(hello, Some(1), Some("demo")).map_err(|error| error.to_string())
        };
        assert_eq!(check(&hello(1, "demo", Some(1))), Ok(1));
        assert!(check(&hello(2, "demo", Some(1))).unwrap_err().contains("protocol 2"));
        assert!(check(&hello(1, "other", Some(1))).unwrap_err().contains("\"other\""));
        assert!(check(&hello(1, "demo", Some(2))).unwrap_err().contains("is node 2, not 1"));
        assert!(check(&hello(1, "demo", None)).unwrap_err().contains("does not say"));
    }
}
