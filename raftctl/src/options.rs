//! Whom a client talks to, and how patient and how stubborn it is.

use std::time::Duration;

use raftd::config::Cluster;

use crate::NodeId;

/// Where a node serves clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The node's id. If it is known, another node that answers there is refused; else it is learnt from the node.
    pub node: Option<NodeId>,
    /// `HOST:PORT`.
    pub addr: String,
}

impl Endpoint {
    /// An address whose node is not known.
    pub fn at(addr: impl Into<String>) -> Endpoint {
        Endpoint { node: None, addr: addr.into() }
    }

    /// The address of a certain node.
    pub fn of(node: NodeId, addr: impl Into<String>) -> Endpoint {
        Endpoint { node: Some(node), addr: addr.into() }
    }
}

/// How a [`crate::Client`] behaves.
///
/// A call goes in *rounds*. In a round each node is asked at most once: the one that should lead first, then whom the
/// answers point to, then the others in random order. What differs is how far a call may go:
///
/// | | reads ask | writes ask |
/// |---|---|---|
/// | no `pin` | any node | any node; if it names a leader, `follow_leader` decides whether to go there or take it for the answer |
/// | `pin` | that node | that node; the same |
#[derive(Clone, Debug)]
pub struct Options {
    /// The nodes; at least one. Leaders that answers name are added, and so are the members that those name.
    pub endpoints: Vec<Endpoint>,
    /// The cluster's id; a node of another one is refused. `None`: not checked.
    pub cluster: Option<String>,
    /// Begin each call at this node, and leave it only for a leader that it names (see `follow_leader`).
    pub pin: Option<NodeId>,
    /// How long a call may take in all.
    pub timeout: Duration,
    /// How long to wait for one answer before another attempt, with `retry`; at most `timeout`. `None`: a quarter of
    /// `timeout`. Without `retry` there is no other attempt, and one answer may take all of `timeout`.
    pub attempt_timeout: Option<Duration>,
    /// How long a connection may take to be made, hello included; at most `timeout`.
    pub connect_timeout: Duration,
    /// Whether a write goes on to the leader when a node answers `not_leader`.
    pub follow_leader: bool,
    /// Whether to begin another round, until `timeout`, after a failure that may pass: no leader, no node in reach,
    /// overload, a read without a quorum - and after an attempt whose outcome is unknown. A write is repeated under the
    /// *same* request id, so that it takes effect at most once.
    pub retry: bool,
    /// Whether stale reads never go back in time: each waits until its node has applied everything that this client has
    /// seen so far, whichever nodes answered it. A node that lags behind takes its time, or another one is asked.
    pub monotonic: bool,
    /// The client's name, which must be unique. One that contains `@` is taken as it is; otherwise `@BIRTH` is added.
    /// `None`: a random one.
    pub name: Option<String>,
}

impl Options {
    /// Patient and stubborn: five seconds, follows leaders, retries, random name.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Options {
        Options {
            endpoints: endpoints.into_iter().collect(),
            cluster: None,
            pin: None,
            timeout: Duration::from_secs(5),
            attempt_timeout: None,
            connect_timeout: Duration::from_secs(1),
            follow_leader: true,
            retry: true,
            monotonic: false,
            name: None,
        }
    }

    /// As [`Options::new`], for the members of a cluster file.
    pub fn for_cluster(cluster: &Cluster) -> Options {
        let endpoints =
            cluster.nodes.iter().map(|member| Endpoint::of(member.id, member.client.to_string()));
        Options { cluster: Some(cluster.id.clone()), ..Options::new(endpoints) }
    }
}
