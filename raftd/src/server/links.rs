//! The links to the other members, as the event loop sees them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use raft_core::message::Envelope;
use raft_core::types::NodeId;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Notify, mpsc};

use crate::codec;
use crate::config::Cluster;
use crate::net::{self, ConnectionId, Context, Flushed, LinkTo, Outbox, Task, keep_link};

/// Most bytes that may wait for one member. Beyond, messages are dropped, and Raft repairs it.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// All links.
#[derive(Debug)]
pub(super) struct Links {
    by_member: BTreeMap<NodeId, Link>,
    /// Messages dropped because a link was down or its queue full.
    dropped: u64,
    events: mpsc::Sender<net::Event>,
}

#[derive(Debug)]
struct Link {
    /// `None` while there is no connection.
    outbox: Option<Outbox>,
    /// See [`LinkTo::bell`].
    bell: Arc<Notify>,
    _task: Task,
}

impl Links {
    /// Starts dialling every other member.
    pub(super) fn start(cluster: &Cluster, context: &Context) -> Links {
        let others = cluster.nodes.iter().filter(|member| member.id != context.node);
        let links = others.map(|member| {
            let bell = Arc::new(Notify::new());
            let to = LinkTo { node: member.id, address: member.peer, bell: Arc::clone(&bell) };
            let task = Task::spawn_endless(keep_link(to, context.clone()));
            (member.id, Link { outbox: None, bell, _task: task })
        });
        Links { by_member: links.collect(), dropped: 0, events: context.events.clone() }
    }

    /// Queues a message; it leaves with the next [`Links::flush`].
    pub(super) fn send(&mut self, envelope: &Envelope) {
        let outbox = self.by_member.get_mut(&envelope.to).and_then(|link| link.outbox.as_mut());
        match outbox {
            Some(outbox) if outbox.bytes() < QUEUE_BYTES_MAX => {
                codec::encode_envelope(envelope, outbox.queue());
            }
            Some(_) | None => self.dropped += 1,
        }
    }

    /// Writes what was queued: once for each link.
    pub(super) fn flush(&mut self) {
        for link in self.by_member.values_mut() {
            if let Some(outbox) = &mut link.outbox
                && outbox.flush(&self.events).is_err()
            {
                // Letting go of it ends the connection; its keeper notices, and dials again.
                link.outbox = None;
            }
        }
    }

    pub(super) fn on_up(&mut self, to: NodeId, id: ConnectionId, writer: OwnedWriteHalf) {
        if let Some(link) = self.by_member.get_mut(&to) {
            link.outbox = Some(Outbox::new(id, writer));
        }
    }

    pub(super) fn on_down(&mut self, to: NodeId) {
        if let Some(link) = self.by_member.get_mut(&to) {
            link.outbox = None;
        }
    }

    /// A stalled connection goes on, or is broken. Whether it was one of ours.
    pub(super) fn on_flushed(
        &mut self,
        id: ConnectionId,
        result: io::Result<Flushed>,
    ) -> Option<io::Result<Flushed>> {
        let is_it = |link: &&mut Link| link.outbox.as_ref().is_some_and(|outbox| outbox.id() == id);
        let Some(link) = self.by_member.values_mut().find(is_it) else { return Some(result) };
        if let Some(outbox) = &mut link.outbox
            && outbox.resume(result, &self.events).is_err()
        {
            link.outbox = None;
        }
        None
    }

    /// A member has dialled us: if we cannot reach it yet, now is the time.
    pub(super) fn on_sign_of_life(&mut self, from: NodeId) {
        if let Some(Link { outbox: None, bell, .. }) = self.by_member.get(&from) {
            bell.notify_one();
        }
    }

    /// Messages dropped because a link was down or its queue full.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
