//! The links to the other members, as the event loop sees them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use raft_core::message::Envelope;
use raft_core::types::NodeId;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

use crate::codec;
use crate::net::{ConnectionId, Context, Flushed, LinkTo, Outbox, Task, keep_link};

/// Most bytes that may wait for one member. Beyond, messages are dropped, and Raft repairs it.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// All links.
#[derive(Debug)]
pub(super) struct Links {
    by_member: BTreeMap<NodeId, Link>,
    /// Messages dropped because a link was down or its queue full.
    dropped: u64,
    context: Context,
    /// How long a link outlives the membership: whoever leaves should still hear that it may.
    farewell: Duration,
}

#[derive(Debug)]
struct Link {
    address: SocketAddr,
    /// `None` while there is no connection.
    outbox: Option<Outbox>,
    /// See [`LinkTo::bell`].
    bell: Arc<Notify>,
    /// See [`LinkTo::known`].
    known: Arc<OnceLock<u64>>,
    /// Nobody wants it any more.
    ends_at: Option<Instant>,
    _task: Task,
}

impl Link {
    /// Starts dialling.
    fn start(node: NodeId, address: SocketAddr, context: &Context) -> Link {
        let (bell, known) = (Arc::new(Notify::new()), Arc::new(OnceLock::new()));
        let to = LinkTo { node, address, bell: Arc::clone(&bell), known: Arc::clone(&known) };
        let task = Task::spawn_endless(keep_link(to, context.clone()));
        Link { address, outbox: None, bell, known, ends_at: None, _task: task }
    }
}

impl Links {
    /// None yet.
    pub(super) fn new(context: Context, farewell: Duration) -> Links {
        Links { by_member: BTreeMap::new(), dropped: 0, context, farewell }
    }

    /// Links to these nodes are wanted; `known` tells the numbers of their data directories.
    pub(super) fn attend(
        &mut self,
        wanted: &BTreeMap<NodeId, SocketAddr>,
        now: Instant,
        known: impl Fn(NodeId) -> Option<u64>,
    ) {
        for (&node, &address) in wanted {
            let start = || Link::start(node, address, &self.context);
            let link = self.by_member.entry(node).or_insert_with(start);
            if link.address != address {
                *link = Link::start(node, address, &self.context);
            }
            link.ends_at = None;
            if let Some(incarnation) = known(node) {
                // Set once, and for good.
                link.known.set(incarnation).ok();
            }
        }
        for (node, link) in &mut self.by_member {
            if !wanted.contains_key(node) && link.ends_at.is_none() {
                link.ends_at = Some(now + self.farewell);
            }
        }
        self.by_member.retain(|_, link| link.ends_at.is_none_or(|end| now < end));
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.by_member.len()
    }

    /// Whether there is one to this node.
    pub(super) fn is_attended(&self, node: NodeId) -> bool {
        self.by_member.contains_key(&node)
    }

    /// When a link that nobody wants ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.by_member.values().filter_map(|link| link.ends_at).min()
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
                && outbox.flush(&self.context.events).is_err()
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
            && outbox.resume(result, &self.context.events).is_err()
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
