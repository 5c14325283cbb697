//! Faults of links that pass: what arrives late, twice, in another order, damaged or not at all, and connections that
//! break. Proof: frames, bytes or connections that it happened to.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::kind::Lane;
use super::partition::Scene;
use super::schedule::Aim;
use super::wires::Wire;
use super::words::named;
use crate::cluster::netns::Fate;
use crate::cluster::proxy::{Effect, End, Release, Span};
use crate::cluster::{Cluster, Error, NodeId};

/// What happens to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkFault {
    /// Frames are late.
    Delay,
    /// A slow line.
    Rate,
    /// Frames are kept and let go at the end.
    Hold,
    /// One end goes without the other being told.
    HalfOpen,
    /// One end is told late that the other has closed.
    SlowClose,
    /// Frames are lost.
    Drop,
    /// Frames arrive twice.
    Duplicate,
    /// Frames overtake others.
    Reorder,
    /// Frames are damaged.
    Corrupt,
    /// Connections are reset.
    Reset,
}

impl LinkFault {
    pub(super) fn name(self) -> &'static str {
        match self {
            LinkFault::Delay => "delay",
            LinkFault::Rate => "rate",
            LinkFault::Hold => "hold",
            LinkFault::HalfOpen => "half-open",
            LinkFault::SlowClose => "slow-close",
            LinkFault::Drop => "drop",
            LinkFault::Duplicate => "duplicate",
            LinkFault::Reorder => "reorder",
            LinkFault::Corrupt => "corrupt",
            LinkFault::Reset => "reset",
        }
    }

    pub(super) fn describe(self) -> &'static str {
        match self {
            LinkFault::Delay => "messages arrive late, by a time that varies",
            LinkFault::Rate => "so many bytes a second and no more",
            LinkFault::Hold => "messages are kept, and arrive at the end, perhaps in another term",
            LinkFault::HalfOpen => "one end of a connection goes without the other being told",
            LinkFault::SlowClose => {
                "one end of a connection is told late that the other has closed"
            }
            LinkFault::Drop => "single messages are lost",
            LinkFault::Duplicate => "messages arrive twice, the second time perhaps much later",
            LinkFault::Reorder => "messages are overtaken by later ones",
            LinkFault::Corrupt => "one bit of a message is flipped",
            LinkFault::Reset => "connections are reset again and again",
        }
    }

    pub(super) fn lane(self) -> Lane {
        match self {
            LinkFault::Delay
            | LinkFault::Rate
            | LinkFault::Hold
            | LinkFault::HalfOpen
            | LinkFault::SlowClose => Lane::Flow,
            LinkFault::Drop
            | LinkFault::Duplicate
            | LinkFault::Reorder
            | LinkFault::Corrupt
            | LinkFault::Reset => Lane::Frames,
        }
    }

    /// Those that a client's connection can have are possible with a single node.
    pub(super) fn nodes_min(self) -> u64 {
        if self.suits_clients() { 1 } else { 2 }
    }

    /// Whether the kernel can do it: it sees packets, and knows nothing of messages.
    pub(super) fn is_the_kernels(self) -> bool {
        self == LinkFault::Drop
    }

    fn suits_clients(self) -> bool {
        match self {
            LinkFault::Delay | LinkFault::Rate | LinkFault::HalfOpen | LinkFault::Reset => true,
            LinkFault::Hold
            | LinkFault::SlowClose
            | LinkFault::Drop
            | LinkFault::Duplicate
            | LinkFault::Reorder
            | LinkFault::Corrupt => false,
        }
    }
}

/// Links that suffer from something, or are going to.
#[derive(Clone, Debug)]
pub(super) struct Infliction {
    effect: Effect,
    wires: Vec<Wire>,
    seed: u64,
    /// Each link's number for it.
    installed: Vec<(Wire, u64)>,
    /// The number of the kernel's rules.
    imposed: Option<u64>,
}

impl Infliction {
    pub(super) fn wires(&self) -> &[Wire] {
        &self.wires
    }

    pub(super) fn unit(&self) -> &'static str {
        if self.imposed.is_some() { "packets dropped" } else { self.effect.unit() }
    }

    /// Each link makes its own choices. Of all effects, the kernel knows one ([`LinkFault::is_the_kernels`]).
    pub(super) async fn install(&mut self, cluster: &Cluster) -> Result<(), Error> {
        let Infliction { effect, wires, seed, installed, imposed } = self;
        if let Some(net) = cluster.net() {
            if let Effect::Drop { percent } = effect {
                let fate = Fate::Lose(*percent);
                *imposed =
                    Some(net.impose(wires.iter().map(|wire| wire.ban(fate)).collect()).await?);
            }
            return Ok(());
        }
        installed.extend(wires.iter().map(|wire| {
            let seed = seed.wrapping_add(match *wire {
                Wire::Peer(from, to) => from << 32 | to,
                Wire::Client(node) => node,
            });
            (*wire, wire.link(cluster).inflict(effect.clone(), seed))
        }));
        Ok(())
    }

    /// How much it has done so far.
    pub(super) async fn bites(&self, cluster: &Cluster) -> u64 {
        match (self.imposed, cluster.net()) {
            (Some(number), Some(net)) => net.packets(number).await.unwrap_or(0),
            _ => self.installed.iter().map(|(wire, fault)| wire.link(cluster).bites(*fault)).sum(),
        }
    }

    /// Ends it; returns how much it has done.
    pub(super) async fn remove(&self, cluster: &Cluster) -> (u64, Result<(), Error>) {
        if let (Some(number), Some(net)) = (self.imposed, cluster.net()) {
            return match net.lift(number).await {
                Ok(packets) => (packets, Ok(())),
                Err(error) => (0, Err(error)),
            };
        }
        let lift = |(wire, fault): &(Wire, u64)| wire.link(cluster).lift(*fault);
        (self.installed.iter().map(lift).sum(), Ok(()))
    }
}

/// Which links.
enum Target {
    /// All between nodes.
    All,
    /// All of a node.
    Node(NodeId),
    /// Those on which it speaks.
    Voice(NodeId),
    /// Those on which it listens.
    Ears(NodeId),
    /// One.
    One(NodeId, NodeId),
    /// That of its clients.
    Clients(NodeId),
}

/// Chooses links and how bad it is; returns it with the nodes it is about, and in words.
pub(super) fn choose(
    fault: LinkFault,
    scene: &Scene<'_>,
    rng: &mut StdRng,
) -> Result<(Infliction, Vec<NodeId>, String), String> {
    let target = target(fault, scene, rng)?;
    let (effect, what) = effect(fault, rng);
    let name = |node| named(node, scene.leader);
    let peers = |node| scene.all.iter().copied().filter(move |peer| *peer != node);
    let from = |node| peers(node).map(move |peer| Wire::Peer(node, peer));
    let to = |node| peers(node).map(move |peer| Wire::Peer(peer, node));
    let (wires, nodes, place): (Vec<Wire>, Vec<NodeId>, String) = match target {
        Target::All => {
            let wires = scene.all.iter().copied().flat_map(from).collect();
            (wires, scene.all.to_vec(), "between all nodes".to_owned())
        }
        Target::Node(node) => {
            let wires = from(node).chain(to(node)).collect();
            (wires, vec![node], format!("from and to {}", name(node)))
        }
        Target::Voice(node) => (from(node).collect(), vec![node], format!("from {}", name(node))),
        Target::Ears(node) => (to(node).collect(), vec![node], format!("to {}", name(node))),
        Target::One(a, b) => {
            let place = format!("from {} to {}", name(a), name(b));
            (vec![Wire::Peer(a, b)], vec![a, b], place)
        }
        Target::Clients(node) => {
            (vec![Wire::Client(node)], vec![node], format!("between clients and {}", name(node)))
        }
    };
    let infliction =
        Infliction { effect, wires, seed: rng.random(), installed: Vec::new(), imposed: None };
    Ok((infliction, nodes, format!("{what} {place}")))
}

fn target(fault: LinkFault, scene: &Scene<'_>, rng: &mut StdRng) -> Result<Target, String> {
    let leader = scene.leader.filter(|_| scene.aim == Aim::Leader);
    let node = leader.or_else(|| scene.up.choose(rng).copied()).ok_or("no node runs")?;
    let peers: Vec<NodeId> = scene.all.iter().copied().filter(|peer| *peer != node).collect();
    let Some(peer) = peers.choose(rng).copied() else { return Ok(Target::Clients(node)) };
    if fault.suits_clients() && rng.random_ratio(1, 4) {
        return Ok(Target::Clients(node));
    }
    // With nothing from nobody for a while, nobody gets anywhere: for what stops links, a part of them.
    let stops = matches!(fault, LinkFault::Hold | LinkFault::HalfOpen);
    Ok(match rng.random_range(0..6) {
        0..=1 if !stops => Target::All,
        0..=2 => Target::Voice(node),
        3 => Target::Ears(node),
        4 => Target::Node(node),
        _ if rng.random() => Target::One(node, peer),
        _ => Target::One(peer, node),
    })
}

/// How bad it is, and in words.
fn effect(fault: LinkFault, rng: &mut StdRng) -> (Effect, String) {
    let first = |rng: &mut StdRng| ms(10, rng.random_range(50..=400));
    match fault {
        LinkFault::Delay => {
            let least = rng.random_range(5..=50);
            let most = least * rng.random_range(2..=4);
            let text = format!("messages take {least} to {most} ms longer");
            (Effect::Delay { by: ms(least, most) }, text)
        }
        LinkFault::Rate => {
            let kilobytes = rng.random_range(10..=80);
            let effect = Effect::Rate { bytes_per_second: kilobytes * 1000 };
            (effect, format!("at most {kilobytes} kB/s"))
        }
        LinkFault::Hold => {
            let (release, how) = match rng.random_range(0..3) {
                0 => (Release::InOrder, "in order"),
                1 => (Release::Shuffled, "in any order"),
                _ => (Release::AfterReconnect, "on the next connection"),
            };
            (Effect::Hold { release }, format!("messages are held, to arrive later {how},"))
        }
        LinkFault::HalfOpen => {
            let (left, who) =
                if rng.random() { (End::Dialler, "speaker") } else { (End::Listener, "listener") };
            let text = format!("connections with only the {who} left");
            (Effect::HalfOpen { left, after: first(rng) }, text)
        }
        LinkFault::SlowClose => {
            let effect = Effect::SlowClose { after: first(rng), by: ms(100, 1000) };
            (effect, "connections that the listener sees close late".to_owned())
        }
        LinkFault::Drop => {
            let percent = rng.random_range(3..=30);
            (Effect::Drop { percent }, format!("{percent} % are lost"))
        }
        LinkFault::Duplicate => {
            let percent = rng.random_range(20..=60);
            let effect = Effect::Duplicate { percent, after: ms(1, 1500) };
            (effect, format!("{percent} % of messages arrive twice"))
        }
        LinkFault::Reorder => {
            let percent = rng.random_range(10..=40);
            let effect = Effect::Reorder { percent, by: ms(2, 150) };
            (effect, format!("{percent} % of messages are overtaken"))
        }
        LinkFault::Corrupt => {
            let percent = rng.random_range(1..=5);
            (Effect::Corrupt { percent }, format!("{percent} % of messages are damaged"))
        }
        LinkFault::Reset => {
            (Effect::Reset { after: first(rng) }, "resets of connections".to_owned())
        }
    }
}

fn ms(least: u64, most: u64) -> Span {
    Duration::from_millis(least)..=Duration::from_millis(most)
}
