//! One connection, shared by many calls.
//!
//! Callers put their request's line into a common buffer and register for its tag. The writer task sends whatever has
//! gathered in one write per wake-up; the reader task hands answers to their callers in whatever order they come. There
//! is no task and no buffer for a single request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use raftd::api::{LINE_BYTES_MAX, Op, RequestId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use crate::NodeId;
use crate::wire::{self, ConnectError, Reply, io_reason, take_answers};

/// Most requests that wait for an answer on one connection; further callers wait for their turn.
const WAITING_MAX: usize = 4_096;

/// Most bytes that wait to be written; further callers wait for their turn.
const UNSENT_BYTES_MAX: usize = 4 << 20;

/// A buffer that has grown beyond this for large values is given back.
const KEEP_BYTES_MAX: usize = 1 << 20;

/// What to ask for in one read.
const READ_BYTES: usize = 64 << 10;

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

impl Connection {
    /// Connects, says hello, and checks who answers.
    pub(crate) async fn open(
        addr: &str,
        node: Option<NodeId>,
        cluster: Option<&str>,
    ) -> Result<Connection, ConnectError> {
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let mut buffer = BytesMut::new();
        let (node, commit) = wire::exchange_hellos(&mut stream, &mut buffer, node, cluster).await?;
        Ok(Connection::start(stream, buffer, node, commit))
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
        wire::push_request(&mut state.unsent, tag, request, ack, op);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
}
