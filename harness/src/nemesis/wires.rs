//! Faults of connections: links that do not pass. Proof: what they swallowed and whom they refused meanwhile.

use crate::cluster::proxy::{Link, Mode, Traffic};
use crate::cluster::{Cluster, NodeId};

/// A link, by its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// On which the first node speaks to the second.
    Peer(NodeId, NodeId),
    /// Between clients and a node.
    Client(NodeId),
}

/// Links that do not pass for now.
#[derive(Clone, Debug)]
pub(super) struct Blocked {
    wires: Vec<(Wire, Traffic)>,
}

impl Wire {
    pub(super) fn link(self, cluster: &Cluster) -> &Link {
        match self {
            Wire::Peer(from, to) => cluster.link(from, to),
            Wire::Client(node) => cluster.client_link(node),
        }
    }
}

impl Blocked {
    /// Puts these links into this mode.
    pub(super) fn install(cluster: &Cluster, wires: &[Wire], mode: Mode) -> Blocked {
        let block = |wire: &Wire| {
            let link = wire.link(cluster);
            let before = link.traffic();
            link.set_mode(mode);
            (*wire, before)
        };
        Blocked { wires: wires.iter().map(block).collect() }
    }

    /// What came to these links since they were blocked.
    pub(super) fn traffic(&self, cluster: &Cluster) -> Vec<Traffic> {
        let since = |(wire, before): &(Wire, Traffic)| wire.link(cluster).traffic().since(*before);
        self.wires.iter().map(since).collect()
    }

    /// Lets them pass again.
    pub(super) fn remove(&self, cluster: &Cluster) {
        for (wire, _) in &self.wires {
            wire.link(cluster).set_mode(Mode::Pass);
        }
    }
}
