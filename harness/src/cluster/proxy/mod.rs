//! The network that faults are made of: a TCP proxy for each directed link between nodes and for each client port.
//!
//! A peer connection speaks in one direction, from the node that dialled it, so cutting the link `i → j` and not
//! `j → i` is a one-way cut. The ports are bound once and held for the whole run; only where a link leads to changes,
//! when a node is started on new ports. While a node is down, its links refuse.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{Error, NodeId};

pub use self::effect::{Effect, End, Release, Span};

use self::faults::Faults;

mod connection;
mod effect;
mod faults;
mod frames;
mod gate;
mod pump;

/// What a link does with what it is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    #[default]
    Pass,
    /// Swallows everything, as a network does that drops all packets: connections stay up and nobody is told. Lines
    /// under way still arrive whole. When it ends, connections whose first line was swallowed are reset.
    Cut,
    /// Resets all connections, and new ones as they come.
    Refuse,
}

/// What went through a link and what did not, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes passed on, both ways.
    pub bytes: u64,
    /// Line ends among them.
    pub lines: u64,
    /// Bytes swallowed.
    pub bytes_dropped: u64,
    /// Line ends among them.
    pub lines_dropped: u64,
    /// Connections accepted, refused ones included.
    pub accepted: u64,
    /// Connections that came while the link refused.
    pub refused: u64,
    /// Connections that there were when the link began to refuse.
    pub reset: u64,
    /// Connections refused because the node was down.
    pub unreachable: u64,
}

impl Traffic {
    /// What has come since an earlier count.
    #[must_use]
    pub fn since(self, earlier: Traffic) -> Traffic {
        Traffic {
            bytes: self.bytes - earlier.bytes,
            lines: self.lines - earlier.lines,
            bytes_dropped: self.bytes_dropped - earlier.bytes_dropped,
            lines_dropped: self.lines_dropped - earlier.lines_dropped,
            accepted: self.accepted - earlier.accepted,
            refused: self.refused - earlier.refused,
            reset: self.reset - earlier.reset,
            unreachable: self.unreachable - earlier.unreachable,
        }
    }
}

/// One proxy. Its port is open for as long as it exists.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

/// What a link's connections have in common.
#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    faults: Faults,
    /// Where it leads to, if there is anybody.
    upstream: Mutex<Option<SocketAddr>>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    bytes: AtomicU64,
    lines: AtomicU64,
    bytes_dropped: AtomicU64,
    lines_dropped: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    reset: AtomicU64,
    unreachable: AtomicU64,
}

impl Link {
    /// Opens a port of 127.0.0.1 that leads nowhere yet. Must be called within a tokio runtime.
    pub async fn bind() -> Result<Link, Error> {
        let bind = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bind.await.map_err(|source| Error::Listen { source })?;
        let shared = Arc::new(Shared {
            address,
            mode: watch::Sender::new(Mode::Pass),
            faults: Faults::default(),
            upstream: Mutex::new(None),
            counters: Counters::default(),
        });
        let accepting = tokio::spawn(connection::accept(Arc::clone(&shared), listener));
        Ok(Link { shared, accepting: accepting.abort_handle() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Changes where new connections lead to; nowhere: they are refused.
    pub fn set_upstream(&self, upstream: Option<SocketAddr>) {
        *self.shared.upstream.lock().unwrap_or_else(PoisonError::into_inner) = upstream;
    }

    /// Changes what it does, at once.
    pub fn set_mode(&self, mode: Mode) {
        self.shared.mode.send_if_modified(|current| std::mem::replace(current, mode) != mode);
    }

    /// What it does.
    pub fn mode(&self) -> Mode {
        *self.shared.mode.borrow()
    }

    /// Begins a fault; returns its number. Several may be at work; the seed decides what each leaves to chance.
    pub fn inflict(&self, effect: Effect, seed: u64) -> u64 {
        self.shared.faults.inflict(effect, seed)
    }

    /// How much a fault has done, in its effect's unit; 0 if it has ended.
    pub fn bites(&self, fault: u64) -> u64 {
        self.shared.faults.bites(fault)
    }

    /// Ends a fault; returns how much it has done, or 0 if it had ended already.
    pub fn lift(&self, fault: u64) -> u64 {
        self.shared.faults.lift(fault)
    }

    /// Lets everything pass again, and ends all faults.
    pub fn heal(&self) {
        self.set_mode(Mode::Pass);
        self.shared.faults.lift_all();
    }

    /// Its counters.
    pub fn traffic(&self) -> Traffic {
        let counters = &self.shared.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            bytes: count(&counters.bytes),
            lines: count(&counters.lines),
            bytes_dropped: count(&counters.bytes_dropped),
            lines_dropped: count(&counters.lines_dropped),
            accepted: count(&counters.accepted),
            refused: count(&counters.refused),
            reset: count(&counters.reset),
            unreachable: count(&counters.unreachable),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn upstream(&self) -> Option<SocketAddr> {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All links of a cluster.
#[derive(Debug)]
pub struct Mesh {
    /// By who speaks and who listens. A node's link to itself is never used, but the node must be told some address.
    peers: BTreeMap<(NodeId, NodeId), Link>,
    clients: BTreeMap<NodeId, Link>,
}

impl Mesh {
    /// Opens all ports of a cluster whose nodes are numbered from 1.
    pub async fn bind(nodes: u64) -> Result<Mesh, Error> {
        let mut mesh = Mesh { peers: BTreeMap::new(), clients: BTreeMap::new() };
        for node in 1..=nodes {
            mesh.clients.insert(node, Link::bind().await?);
            for peer in 1..=nodes {
                mesh.peers.insert((node, peer), Link::bind().await?);
            }
        }
        Ok(mesh)
    }

    /// The link on which `from` speaks to `to`.
    ///
    /// # Panics
    /// If there are no such nodes.
    pub fn peer(&self, from: NodeId, to: NodeId) -> &Link {
        self.peers.get(&(from, to)).expect("there is a link between any two nodes")
    }

    /// The link between clients and a node.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn client(&self, node: NodeId) -> &Link {
        self.clients.get(&node).expect("there is a client link for each node")
    }

    /// Tells the links to a node where it listens, for peers and for clients.
    pub fn set_upstream(&self, node: NodeId, addresses: Option<(SocketAddr, SocketAddr)>) {
        for ((_, to), link) in &self.peers {
            if *to == node {
                link.set_upstream(addresses.map(|(peer, _)| peer));
            }
        }
        if let Some(link) = self.clients.get(&node) {
            link.set_upstream(addresses.map(|(_, client)| client));
        }
    }

    /// Lets everything pass again.
    pub fn pass_all(&self) {
        for link in self.peers.values().chain(self.clients.values()) {
            link.heal();
        }
    }
}
