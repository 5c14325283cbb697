//! What other members say to this one: they dial, say hello, and send messages. Nothing is ever answered here; answers
//! leave by our own link to them.

use std::convert::Infallible;
use std::net::SocketAddr;

use raft_core::message::Envelope;
use raft_core::types::NodeId;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::lines::TooLong;
use super::{Complaint, ConnectionId, Context, Event, HELLO_BYTES_MAX, Lines, Place, Port};
use crate::api::{self, Code};
use crate::codec::{self, Frame, PeerHello};
use crate::config::{self, NODES_MAX};

/// Most connections to the peer port: every member's, successors of those that are dying, and some strangers.
const CONNECTIONS_MAX: usize = 8 * NODES_MAX;

/// Most messages handed to the event loop in one event.
const BATCH_MESSAGES_MAX: usize = 64;

/// Takes members in, for ever.
pub(crate) async fn accept_peers(listener: TcpListener, context: Context) -> Infallible {
    super::accept(listener, CONNECTIONS_MAX, move |stream, address, place| {
        greet(stream, address, place, context.clone())
    })
    .await
}

async fn greet(stream: TcpStream, address: SocketAddr, place: Place, context: Context) {
    let Ok((reader, writer)) = super::split(stream) else { return };
    let mut lines = Lines::new(reader, HELLO_BYTES_MAX);
    match super::first_line(&mut lines, |line| check_hello(line, &context)).await {
        Ok((hello, reached_at)) => {
            lines.set_line_bytes_max(codec::FRAME_BYTES_MAX);
            let peer = Peer { hello, reached_at, address, lines, writer, _place: place };
            // Sending fails only when the event loop has ended, and the process with it.
            context.events.send(Event::PeerOpened(peer)).await.ok();
        }
        Err(None) => {}
        Err(Some(complaint)) => {
            let reason = complaint.message.clone();
            let refused = Event::Refused { port: Port::Peer, from: address, reason };
            context.events.send(refused).await.ok();
            super::part(lines, writer, complaint).await;
        }
    }
}

/// Who it is and where it is reached, if it is a node of this cluster that means this node.
fn check_hello(
    line: &[u8],
    context: &Context,
) -> Result<(PeerHello, Option<SocketAddr>), Complaint> {
    let bad = |message: String| Err(Complaint::bad_request(message));
    let hello = match codec::decode_frame(line) {
        Ok(Frame::Hello(hello)) => hello,
        Ok(Frame::Envelope(_)) => return bad("a message before the hello".to_owned()),
        Err(error) => {
            return bad(format!("not a hello of a member ({error}); clients use the client port"));
        }
    };
    let wrong = |message: String| Err(Complaint::new(Code::WrongHello, message));
    let PeerHello { protocol, ref cluster, from, to, .. } = hello;
    let (node, ours) = (context.node, &context.cluster);
    if protocol != api::PROTOCOL {
        return wrong(format!(
            "node {from} speaks protocol {protocol}, node {node} protocol {}; run the same version",
            api::PROTOCOL
        ));
    }
    if **cluster != **ours {
        return wrong(format!("this is node {node} of cluster {ours:?}, not of {cluster:?}"));
    }
    if to != node {
        return wrong(format!(
            "this is node {node}, not node {to}; check the addresses in the cluster file"
        ));
    }
    if from == node {
        return wrong(format!(
            "this is node {node} itself; every node needs its own id and address"
        ));
    }
    let reached_at = hello.address.as_deref().map(|text| config::dialable("peer", text));
    let reached_at = reached_at.transpose().map_err(|fault| {
        Complaint::bad_request(format!("the hello of node {from} cannot be used: {fault}"))
    })?;
    Ok((hello, reached_at))
}

/// A node that has said hello. Whether it is heard is the event loop's to say.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Who it is.
    pub(crate) hello: PeerHello,
    /// Where it says that it is reached.
    pub(crate) reached_at: Option<SocketAddr>,
    address: SocketAddr,
    lines: Lines,
    /// Not used once it is taken in, but kept: a dialler takes its end for the end of the link.
    writer: OwnedWriteHalf,
    _place: Place,
}

/// Sends a node away that is not wanted.
pub(crate) async fn refuse_peer(peer: Peer, complaint: Complaint, events: mpsc::Sender<Event>) {
    let (reason, from) = (complaint.message.clone(), peer.address);
    // Sending fails only when the event loop has ended, and the process with it.
    events.send(Event::Refused { port: Port::Peer, from, reason }).await.ok();
    super::part(peer.lines, peer.writer, complaint).await;
}

/// Hands over a node's messages until it ends, or sends what no member sends.
pub(crate) async fn read_peer(
    peer: Peer,
    id: ConnectionId,
    node: NodeId,
    events: mpsc::Sender<Event>,
) {
    let from = peer.hello.from;
    read_envelopes(peer, node, &events).await;
    // As above.
    events.send(Event::PeerEnded { from, id }).await.ok();
}

async fn read_envelopes(mut peer: Peer, node: NodeId, events: &mpsc::Sender<Event>) {
    loop {
        let mut envelopes = Vec::new();
        let end = take_envelopes(&mut peer, node, &mut envelopes);
        // Sending fails only when the event loop has ended, and the process with it.
        if !envelopes.is_empty() && events.send(Event::Envelopes(envelopes)).await.is_err() {
            return;
        }
        match end {
            End::More => {}
            End::Drained => match peer.lines.fill().await {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            },
            End::Mess(reason) => {
                let reason = format!("from node {}: {reason}", peer.hello.from);
                events
                    .send(Event::Refused { port: Port::Peer, from: peer.address, reason })
                    .await
                    .ok();
                return;
            }
        }
    }
}

/// Why taking messages from the buffer ended.
enum End {
    /// It holds no further whole line.
    Drained,
    /// The batch is full.
    More,
    /// Damaged, or not from a correct member: the connection cannot be trusted any more.
    Mess(String),
}

fn take_envelopes(peer: &mut Peer, node: NodeId, envelopes: &mut Vec<Envelope>) -> End {
    while envelopes.len() < BATCH_MESSAGES_MAX {
        let line = match peer.lines.next() {
            Ok(Some(line)) => line,
            Ok(None) => return End::Drained,
            Err(TooLong { line_bytes_max }) => {
                return End::Mess(format!("a line exceeds {line_bytes_max} bytes"));
            }
        };
        match codec::decode_frame(line) {
            Ok(Frame::Envelope(envelope))
                if envelope.from == peer.hello.from && envelope.to == node =>
            {
                envelopes.push(envelope);
            }
            Ok(Frame::Envelope(Envelope { from, to, .. })) => {
                return End::Mess(format!("a message from node {from} to node {to}"));
            }
            Ok(Frame::Hello(_)) => return End::Mess("a second hello".to_owned()),
            Err(error) => return End::Mess(error.to_string()),
        }
    }
    End::More
}
