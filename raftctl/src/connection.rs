//! One connection, shared by many calls.
//!
//! Callers put their request's line into a common buffer and register for its tag. The writer task sends whatever has
//! gathered in one write per wake-up; the reader task hands answers to their callers in whatever order they come. There
//! is no task, no timer and no buffer for a single request.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BytesMut};
use raftd::api::{self, Code, Done, Hello, HelloLine, LINE_BYTES_MAX, Op, RequestId};
use serde::{Deserialize, Serialize, Serializer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use crate::NodeId;

/// Most requests that wait for an answer on one connection; further callers wait for their turn.
const WAITING_MAX: usize = 4_096;

/// Most bytes that wait to be written; further callers wait for their turn.
const UNSENT_BYTES_MAX: usize = 4 << 20;

/// A buffer that has grown beyond this for large values is given back.
const KEEP_BYTES_MAX: usize = 1 << 20;

/// What to ask for in one read.
const READ_BYTES: usize = 64 << 10;

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

/// A connection after its hello.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    node: NodeId,
    commit: u64,
    tasks: [AbortHandle; 2],
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    filled: Notify,
    /// There is room again.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Lines to write.
    unsent: Vec<u8>,
    /// Who waits for which tag.
    waiting: BTreeMap<u64, oneshot::Sender<Reply>>,
    tag_last: u64,
    /// How many times something was heard from the node.
    heard: u64,
    /// Why nothing will be heard from it any more.
    closed: Option<String>,
}

impl State {
    fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX || self.unsent.len() >= UNSENT_BYTES_MAX
    }
}

/// Why a request could not be put on its way. Nothing of it was sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// Too much is waiting: wait for [`Connection::room`].
    Full,
    /// The connection is closed.
    Closed,
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
fn io_reason(error: &io::Error) -> String {
    if error.raw_os_error().is_some() { error.kind().to_string() } else { error.to_string() }
}

impl Connection {
    /// Connects, says hello, and checks who answers.
    pub(crate) async fn open(
        addr: &str,
        node: Option<NodeId>,
        cluster: Option<&str>,
    ) -> Result<Connection, ConnectError> {
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let hello = Hello {
            protocol: api::PROTOCOL,
            cluster: cluster.map(str::to_owned),
            node,
            commit: None,
        };
        let mut line = serde_json::to_vec(&HelloLine { hello }).map_err(io::Error::from)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut buffer = BytesMut::new();
        let hello = read_hello(&mut stream, &mut buffer).await?;
        let found = checked_hello(&hello, node, cluster)?;
        Ok(Connection::start(stream, buffer, found, hello.commit.unwrap_or(0)))
    }

    fn start(stream: TcpStream, buffer: BytesMut, node: NodeId, commit: u64) -> Connection {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
        });
        let (read, write) = stream.into_split();
        let alive = || Alive(Arc::clone(&shared));
        let reader = tokio::spawn(read_answers(alive(), read, buffer));
        let writer = tokio::spawn(write_requests(alive(), write));
        let tasks = [reader.abort_handle(), writer.abort_handle()];
        Connection { shared, node, commit, tasks }
    }

    /// The node at the other end.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Its commit index when it said hello.
    pub(crate) fn commit(&self) -> u64 {
        self.commit
    }

    /// Why the connection is closed, if it is.
    pub(crate) fn closed(&self) -> Option<String> {
        self.shared.state().closed.clone()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.state().closed.is_some()
    }

    /// Puts a request on its way. From here on it may have been sent.
    pub(crate) fn send(
        self: &Arc<Connection>,
        request: Option<&RequestId>,
        ack: Option<u64>,
        op: &Op,
    ) -> Result<Waiter, Unsent> {
        let mut state = self.shared.state();
        if state.closed.is_some() {
            return Err(Unsent::Closed);
        }
        if state.is_full() {
            return Err(Unsent::Full);
        }
        state.tag_last += 1;
        let tag = state.tag_last;
        let was_empty = state.unsent.is_empty();
        serde_json::to_writer(
            &mut state.unsent,
            &Line { tag, request: request.map(Name), ack, op },
        )
        .expect("strings and numbers have a JSON form, and a Vec takes any bytes");
        state.unsent.push(b'\n');
        let (sender, reply) = oneshot::channel();
        state.waiting.insert(tag, sender);
        let heard = state.heard;
        drop(state);
        if was_empty {
            self.shared.filled.notify_one();
        }
        Ok(Waiter { connection: Arc::clone(self), tag, heard, reply, ended: false })
    }

    /// Returns when there was room for a request, or the connection was closed.
    pub(crate) async fn room(&self) {
        loop {
            let emptied = self.shared.emptied.notified();
            {
                let state = self.shared.state();
                if state.closed.is_some() || !state.is_full() {
                    return;
                }
            }
            emptied.await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing will come any more: everyone who waits is told so.
    fn close(&self, reason: String) {
        let waiting = {
            let mut state = self.state();
            state.closed.get_or_insert(reason);
            std::mem::take(&mut state.waiting)
        };
        // The senders are dropped after the lock is released: it is what their receivers will take next.
        drop(waiting);
        self.emptied.notify_waiters();
        self.filled.notify_one();
    }
}

/// What each task of a connection holds: however a task ends, a runtime that goes away included, the connection is
/// closed then, and nobody waits in vain.
#[derive(Debug)]
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.close("its task was stopped".to_owned());
    }
}

/// A request on its way. Dropped, its answer is thrown away when it comes.
#[derive(Debug)]
pub(crate) struct Waiter {
    connection: Arc<Connection>,
    tag: u64,
    heard: u64,
    reply: oneshot::Receiver<Reply>,
    /// The connection does not know the tag any more.
    ended: bool,
}

impl Waiter {
    /// The answer, or why it will not come. Safe to cancel; not to be called again once it has returned.
    pub(crate) async fn reply(&mut self) -> Result<Reply, String> {
        let reply = (&mut self.reply).await;
        self.ended = true;
        reply.map_err(|_| self.connection.closed().unwrap_or_else(|| "closed".to_owned()))
    }

    /// Whether nothing at all was heard from the node since the request was put on its way.
    pub(crate) fn node_is_silent(&self) -> bool {
        self.connection.shared.state().heard == self.heard
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.connection.shared.state();
        let was_full = state.is_full();
        state.waiting.remove(&self.tag);
        drop(state);
        if was_full {
            self.connection.shared.emptied.notify_waiters();
        }
    }
}

async fn write_requests(alive: Alive, mut stream: OwnedWriteHalf) {
    let shared = &alive.0;
    let mut batch = Vec::new();
    loop {
        let was_full = {
            let mut state = shared.state();
            if state.closed.is_some() {
                return;
            }
            let was_full = state.is_full();
            std::mem::swap(&mut state.unsent, &mut batch);
            was_full
        };
        if batch.is_empty() {
            shared.filled.notified().await;
            continue;
        }
        if was_full {
            shared.emptied.notify_waiters();
        }
        if let Err(error) = stream.write_all(&batch).await {
            return shared.close(format!("cannot write to it: {}", io_reason(&error)));
        }
        if batch.capacity() > KEEP_BYTES_MAX {
            batch = Vec::new();
        }
        batch.clear();
    }
}

async fn read_answers(alive: Alive, mut stream: OwnedReadHalf, mut buffer: BytesMut) {
    let shared = &alive.0;
    let mut answers = Vec::new();
    let mut scanned = 0;
    loop {
        if let Err(reason) = take_answers(&mut buffer, &mut scanned, &mut answers) {
            return shared.close(reason);
        }
        deliver(shared, &mut answers);
        if buffer.len() > LINE_BYTES_MAX {
            return shared.close(format!("it sent a line of more than {LINE_BYTES_MAX} bytes"));
        }
        buffer.reserve(READ_BYTES);
        match stream.read_buf(&mut buffer).await {
            Ok(0) => return shared.close("closed by the node".to_owned()),
            Ok(_) => {}
            Err(error) => return shared.close(io_reason(&error)),
        }
    }
}

/// Takes the complete lines out of the buffer. `scanned` bytes of it are known to hold no line end.
fn take_answers(
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

fn deliver(shared: &Shared, answers: &mut Vec<(u64, Reply)>) {
    if answers.is_empty() {
        return;
    }
    let mut state = shared.state();
    let was_full = state.is_full();
    state.heard += 1;
    for (tag, reply) in answers.drain(..) {
        // An answer that nobody waits for any more is dropped.
        if let Some(waiting) = state.waiting.remove(&tag) {
            waiting.send(reply).ok();
        }
    }
    drop(state);
    if was_full {
        shared.emptied.notify_waiters();
    }
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
    use std::time::Duration;

    use raftd::api::{Consistency, Request, Response};

    use super::*;

    fn taken(text: &str) -> (Result<Vec<(u64, Reply)>, String>, BytesMut) {
        let mut buffer = BytesMut::from(text);
        let mut answers = Vec::new();
        let result = take_answers(&mut buffer, &mut 0, &mut answers);
        (result.map(|()| answers), buffer)
    }

    /// A connection to a peer that neither reads nor writes, and that peer.
    async fn mute() -> (Arc<Connection>, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let connection = Connection::start(stream, BytesMut::new(), 1, 0);
        (Arc::new(connection), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn abandoned_request_is_forgotten_and_makes_room() {
        let (connection, _peer) = mute().await;
        let mut waiters: Vec<Waiter> =
            (0..WAITING_MAX).map(|_| connection.send(None, None, &Op::Status).unwrap()).collect();
        assert_eq!(connection.send(None, None, &Op::Status).unwrap_err(), Unsent::Full);
        let room = tokio::spawn({
            let connection = Arc::clone(&connection);
            async move { connection.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!room.is_finished());
        waiters.pop();
        tokio::time::timeout(Duration::from_mins(1), room).await.unwrap().unwrap();
        waiters.push(connection.send(None, None, &Op::Status).unwrap());
        drop(waiters);
        assert!(connection.shared.state().waiting.is_empty());
    }

    #[tokio::test]
    async fn bytes_that_a_node_does_not_take_are_bounded() {
        let (connection, _peer) = mute().await;
        let op = Op::Put { key: "k".to_owned(), value: "v".repeat(1 << 20) };
        let mut waiters = Vec::new();
        while let Ok(waiter) = connection.send(None, None, &op) {
            waiters.push(waiter);
            tokio::task::yield_now().await;
        }
        assert!(connection.shared.state().unsent.len() <= UNSENT_BYTES_MAX + (2 << 20));
        assert!(waiters.len() < 100, "{} MiB are on their way", waiters.len());
    }

    #[test]
    fn connection_is_closed_with_its_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (connection, _peer) = runtime.block_on(mute());
        drop(runtime);
        assert!(connection.is_closed());
    }

    #[tokio::test]
    async fn closed_connection_tells_everyone_and_takes_no_more() {
        let (connection, peer) = mute().await;
        let mut waiter = connection.send(None, None, &Op::Status).unwrap();
        drop(peer);
        let reason = waiter.reply().await.unwrap_err();
        assert_eq!(connection.closed(), Some(reason));
        assert_eq!(connection.send(None, None, &Op::Status).unwrap_err(), Unsent::Closed);
    }

    #[test]
    fn request_line_is_what_the_api_reads() {
        let id: RequestId = "c \"3\"@17:9".parse().unwrap();
        let op = Op::Cas { key: "k\n".to_owned(), expect: None, value: "ü".to_owned() };
        let line = Line { tag: 5, request: Some(Name(&id)), ack: Some(4), op: &op };
        let read: Request = serde_json::from_str(&serde_json::to_string(&line).unwrap()).unwrap();
        assert_eq!(read, Request { tag: 5, request: Some(id.to_string()), ack: 4, op });
        let op = Op::Get { key: "k".to_owned(), consistency: Consistency::Stale };
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
