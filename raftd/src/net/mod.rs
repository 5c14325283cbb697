//! Sockets. Nothing here decides anything: tasks move bytes, check that they are well formed, and report to the event loop
//! through one bounded channel, so that a full loop slows its senders down.

mod clients;
mod lines;
mod links;
mod outbox;
mod peers;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use raft_core::message::Envelope;
use raft_core::types::NodeId;
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::api::{self, Code};
use lines::TooLong;

pub(crate) use clients::{NewClient, Request, RequestKind, accept_clients, read_requests};
pub(crate) use lines::Lines;
pub(crate) use links::{LinkTo, keep_link};
pub(crate) use outbox::{Flushed, Outbox};
pub(crate) use peers::{Peer, accept_peers, read_peer, refuse_peer};

/// How long a stranger may take to say hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);

/// Longest hello, bytes.
const HELLO_BYTES_MAX: usize = 4096;

/// How long a connection that was refused may take to hear why.
const PARTING_PATIENCE: Duration = Duration::from_secs(2);

/// Names an open connection; never reused.
pub(crate) type ConnectionId = u64;

/// What the network reports to the event loop.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client has said hello properly, and waits for ours.
    ClientOpened(NewClient),
    /// Requests of a client, in order.
    Requests {
        /// Its connection.
        id: ConnectionId,
        /// At least one.
        requests: Vec<Request>,
    },
    /// A client will say no more, but may still want its answers.
    ClientEnded {
        /// Its connection.
        id: ConnectionId,
        /// What to tell it before the connection is closed.
        parting: Option<Complaint>,
    },
    /// A node of this cluster has dialled us and said hello properly.
    PeerOpened(Peer),
    /// A node that was taken in will say no more.
    PeerEnded {
        /// The node.
        from: NodeId,
        /// Its connection.
        id: ConnectionId,
    },
    /// Messages of a member, in order.
    Envelopes(Vec<Envelope>),
    /// A member we dialled can be talked to.
    LinkUp {
        /// The member.
        to: NodeId,
        /// The way there; our hello has been said.
        writer: OwnedWriteHalf,
    },
    /// That connection is no more.
    LinkDown {
        /// The member.
        to: NodeId,
    },
    /// An [`Outbox`] that had stalled got everything out, or never will.
    Flushed {
        /// Its connection.
        id: ConnectionId,
        /// The socket, to go on with.
        result: io::Result<Flushed>,
    },
    /// A connection was closed because of what came in.
    Refused {
        /// At which port.
        port: Port,
        /// Who it was.
        from: SocketAddr,
        /// Why.
        reason: String,
    },
}

/// The two ports of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// For other members.
    Peer,
    /// For clients.
    Client,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Port::Peer => "peer",
            Port::Client => "client",
        })
    }
}

/// What is wrong with what came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// For the other side's program.
    pub(crate) code: Code,
    /// For people.
    pub(crate) message: String,
}

impl Complaint {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Complaint {
        Complaint { code, message: message.into() }
    }

    fn bad_request(message: impl Into<String>) -> Complaint {
        Complaint::new(Code::BadRequest, message)
    }
}

impl From<Complaint> for api::Error {
    fn from(Complaint { code, message }: Complaint) -> api::Error {
        api::Error::new(code, message)
    }
}

/// A place among the connections of a port, held as long as either half of the connection is open.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// Who we are, for greeting and for dialling.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The cluster's id.
    pub(crate) cluster: Arc<str>,
    /// This node.
    pub(crate) node: NodeId,
    /// The number of its data directory.
    pub(crate) incarnation: u64,
    /// Those that it takes for the founders of the cluster; empty: it joins later.
    pub(crate) founders: Arc<BTreeSet<NodeId>>,
    /// Where it is reached by other members.
    pub(crate) address: SocketAddr,
    /// To the event loop.
    pub(crate) events: mpsc::Sender<Event>,
}

/// A task that ends when its owner lets go of it.
#[derive(Debug)]
pub(crate) struct Task(Option<AbortHandle>);

impl Task {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(Some(tokio::spawn(future).abort_handle()))
    }

    /// For tasks that must not end before the process does: the type says that they do not.
    pub(crate) fn spawn_endless(future: impl Future<Output = Infallible> + Send + 'static) -> Task {
        Task(Some(tokio::spawn(future).abort_handle()))
    }

    /// Lets it end by itself.
    pub(crate) fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }
}

/// Takes connections in, at most `connections_max` at a time, and lets `greet` see to each in a task of its own.
async fn accept<Greeting: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    connections_max: usize,
    greet: impl Fn(TcpStream, SocketAddr, Place) -> Greeting,
) -> Infallible {
    let places = Arc::new(Semaphore::new(connections_max));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // The connection died in the queue, or we are out of file descriptors: others may close.
                tracing::warn!(event = "accept_failed", %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let mut line = Vec::new();
            let message = format!("all {connections_max} connections of this port are in use");
            let error = api::Error::new(Code::Overloaded, message);
            encode_line(&api::Response::refusal(0, error), &mut line);
            // A fresh socket has room for a line; if not, the client learns from the close alone.
            stream.try_write(&line).ok();
            continue;
        };
        // Ends by itself: `HELLO_PATIENCE` bounds it, and the place it holds bounds how many there are.
        drop(tokio::spawn(greet(stream, from, Arc::new(place))));
    }
}

/// Reads and checks the hello of a stranger. `Err(None)`: it left without a word, as those do who only look whether the
/// port is open.
async fn first_line<T>(
    lines: &mut Lines,
    check: impl Fn(&[u8]) -> Result<T, Complaint>,
) -> Result<T, Option<Complaint>> {
    let bad = |message: String| Err(Some(Complaint::bad_request(message)));
    let read = async {
        loop {
            match lines.next() {
                Ok(Some(line)) => return check(line).map_err(Some),
                Ok(None) => {}
                Err(TooLong { line_bytes_max }) => {
                    return bad(format!(
                        "the first line exceeds {line_bytes_max} bytes; say hello first"
                    ));
                }
            }
            match lines.fill().await {
                Ok(true) => {}
                Ok(false) if lines.is_mid_line() => {
                    return bad("the connection ended in the midst of the first line".to_owned());
                }
                Ok(false) | Err(_) => return Err(None),
            }
        }
    };
    let late = |_| bad(format!("no hello within {} s", HELLO_PATIENCE.as_secs()));
    timeout(HELLO_PATIENCE, read).await.unwrap_or_else(late)
}

/// Tells a stranger why it is refused, and closes.
async fn part(lines: Lines, mut writer: OwnedWriteHalf, complaint: Complaint) {
    let mut line = Vec::new();
    encode_line(&api::Response::refusal(0, complaint.into()), &mut line);
    let farewell = async {
        if writer.write_all(&line).await.is_ok() {
            drop(writer);
            lines.discard().await;
        }
    };
    // Whoever does not listen is not waited for.
    timeout(PARTING_PATIENCE, farewell).await.ok();
}

/// Appends a hello or an answer as a line.
pub(crate) fn encode_line(line: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, line)
        .expect("its keys are strings, and a Vec takes everything");
    out.push(b'\n');
}

/// Both halves of a fresh connection, which sends at once what it is given.
fn split(stream: TcpStream) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
    stream.set_nodelay(true)?;
    Ok(stream.into_split())
}
