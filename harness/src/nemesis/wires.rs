//! Faults of connections: links that do not pass. Proof: what they swallowed and whom they refused meanwhile.

use crate::cluster::netns::{Ban, Fate, Port};
use crate::cluster::proxy::{Link, Mode, Traffic};
use crate::cluster::{Cluster, Error, NodeId};

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
pub(super) enum Blocked {
    /// Proxies, and what had gone through them before.
    Links(Vec<(Wire, Traffic)>),
    /// Rules of the kernel, by their number.
    Rules(u64),
}

impl Wire {
    /// Its proxy.
    pub(super) fn link(self, cluster: &Cluster) -> &Link {
        match self {
            Wire::Peer(from, to) => cluster.link(from, to),
            Wire::Client(node) => cluster.client_link(node),
        }
    }

    /// What keeps the kernel from carrying packets on it. If they are dropped, then all that one node sends to another:
    /// that it has received something, too.
    pub(super) fn ban(self, fate: Fate) -> Ban {
        let is_reset = fate == Fate::Reset;
        match self {
            Wire::Peer(from, to) => {
                Ban { from: Some(from), to, port: is_reset.then_some(Port::Peer), fate }
            }
            Wire::Client(node) => Ban { from: None, to: node, port: Some(Port::Client), fate },
        }
    }
}

impl Blocked {
    /// Puts these links into this mode.
    pub(super) async fn install(
        cluster: &Cluster,
        wires: &[Wire],
        mode: Mode,
    ) -> Result<Blocked, Error> {
        if let Some(net) = cluster.net() {
            let fate = if mode == Mode::Refuse { Fate::Reset } else { Fate::Drop };
            let bans = wires.iter().map(|wire| wire.ban(fate)).collect();
            return net.impose(bans).await.map(Blocked::Rules);
        }
        let block = |wire: &Wire| {
            let link = wire.link(cluster);
            let before = link.traffic();
            link.set_mode(mode);
            (*wire, before)
        };
        Ok(Blocked::Links(wires.iter().map(block).collect()))
    }

    /// How much they have blocked: packets, or what this makes of what came to proxies meanwhile.
    pub(super) async fn proof(&self, cluster: &Cluster, count: fn(&[Traffic]) -> u64) -> u64 {
        match self {
            Blocked::Links(wires) => {
                let since =
                    |(wire, before): &(Wire, Traffic)| wire.link(cluster).traffic().since(*before);
                count(&wires.iter().map(since).collect::<Vec<_>>())
            }
            Blocked::Rules(number) => match cluster.net() {
                Some(net) => net.packets(*number).await.unwrap_or(0),
                None => 0,
            },
        }
    }

    /// Lets them pass again.
    pub(super) async fn remove(&self, cluster: &Cluster) -> Result<(), Error> {
        match self {
            Blocked::Links(wires) => {
                for (wire, _) in wires {
                    wire.link(cluster).set_mode(Mode::Pass);
                }
                Ok(())
            }
            Blocked::Rules(number) => match cluster.net() {
                Some(net) => net.lift(*number).await.map(drop),
                None => Ok(()),
            },
        }
    }
}
