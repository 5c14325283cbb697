//! A fault against chosen targets.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::course::Running;
use super::disk::Assault;
use super::kind::Kind;
use super::link_fault::{self, Infliction};
use super::partition::{self, Cut, Scene, front};
use super::quorum::Burden;
use super::schedule::{Aim, Planned};
use super::wires::{Blocked, Wire};
use super::{client_block, kill, pause, terminate, words};
use crate::cluster::proxy::{Mode, Traffic};
use crate::cluster::{Cluster, Error, NodeId, Status, View};

/// What targets are chosen by.
pub(super) struct Scope<'a> {
    pub(super) view: &'a View,
    pub(super) leader: Option<NodeId>,
    /// Most nodes that may be down or paused at a time.
    pub(super) out_max: u64,
}

/// A fault against chosen targets.
#[derive(Clone, Debug)]
pub(super) struct Attack {
    /// The nodes it is about.
    pub(super) nodes: Vec<NodeId>,
    /// In words.
    pub(super) text: String,
    means: Means,
}

#[derive(Clone, Debug)]
enum Means {
    Kill { killed: u64 },
    Terminate { ended: u64 },
    Course(Running),
    Pause,
    Partition { wires: Vec<Wire>, blocked: Option<Blocked> },
    Block { wires: Vec<Wire>, mode: Mode, blocked: Option<Blocked> },
    Link(Infliction),
    Disk(Assault),
}

impl Attack {
    /// Chooses targets; says why if there are none.
    pub(super) fn choose(planned: &Planned, scope: &Scope<'_>) -> Result<Attack, String> {
        let rng = &mut StdRng::seed_from_u64(planned.seed);
        let up = scope.view.with_status(Status::Up);
        match planned.kind {
            Kind::Kill => {
                let nodes = victims(planned, scope, &up, rng)?;
                let text = format!("kill {}", words::list(&nodes, scope.leader));
                Ok(Attack { nodes, text, means: Means::Kill { killed: 0 } })
            }
            Kind::KillAll => {
                let text = format!("kill all: {}", words::list(&up, scope.leader));
                Ok(Attack { nodes: up, text, means: Means::Kill { killed: 0 } })
            }
            Kind::Terminate => {
                let nodes = victims(planned, scope, &up, rng)?;
                let text = format!("end {}", words::list(&nodes, scope.leader));
                Ok(Attack { nodes, text, means: Means::Terminate { ended: 0 } })
            }
            Kind::Course(course) => {
                let (running, text) = Running::choose(course, planned, scope, &up, rng)?;
                Ok(Attack { nodes: running.nodes().to_vec(), text, means: Means::Course(running) })
            }
            Kind::Pause => {
                let nodes = victims(planned, scope, &up, rng)?;
                let text = format!("pause {}", words::list(&nodes, scope.leader));
                Ok(Attack { nodes, text, means: Means::Pause })
            }
            Kind::BlockClient => {
                let leader = scope.leader.filter(|_| planned.aim == Aim::Leader);
                let node = leader.or_else(|| up.choose(rng).copied()).ok_or("no node runs")?;
                let (mode, text) = client_block::choose(node, scope.leader, rng);
                let wires = vec![Wire::Client(node)];
                let means = Means::Block { wires, mode, blocked: None };
                Ok(Attack { nodes: vec![node], text, means })
            }
            Kind::BlockPeer => {
                let leader = scope.leader.filter(|_| planned.aim == Aim::Leader);
                let node = leader.or_else(|| up.choose(rng).copied()).ok_or("no node runs")?;
                let peers = scope.view.nodes.keys().copied().filter(|peer| *peer != node);
                let wires = peers.map(|peer| Wire::Peer(peer, node)).collect();
                let text =
                    format!("the peer port of {} is blocked", words::named(node, scope.leader));
                let means = Means::Block { wires, mode: Mode::Refuse, blocked: None };
                Ok(Attack { nodes: vec![node], text, means })
            }
            Kind::Link(fault) => {
                let all: Vec<NodeId> = scope.view.nodes.keys().copied().collect();
                let scene = Scene { all: &all, up: &up, leader: scope.leader, aim: planned.aim };
                let (infliction, nodes, text) = link_fault::choose(fault, &scene, rng)?;
                Ok(Attack { nodes, text, means: Means::Link(infliction) })
            }
            Kind::Disk(fault) => {
                let (assault, text) = Assault::choose(fault, planned, scope, &up, rng)?;
                Ok(Attack { nodes: assault.nodes().to_vec(), text, means: Means::Disk(assault) })
            }
            Kind::IsolateOne
            | Kind::IsolateLeader
            | Kind::Halves
            | Kind::Bridge
            | Kind::Ring
            | Kind::OneWay
            | Kind::PartialMesh
            | Kind::Thirds
            | Kind::OneWayLink
            | Kind::LoseLink
            | Kind::KeepOne => Attack::partition(planned, scope, &up, rng),
        }
    }

    fn partition(
        planned: &Planned,
        scope: &Scope<'_>,
        up: &[NodeId],
        rng: &mut StdRng,
    ) -> Result<Attack, String> {
        let all: Vec<NodeId> = scope.view.nodes.keys().copied().collect();
        let scene = Scene { all: &all, up, leader: scope.leader, aim: planned.aim };
        let Cut { links, nodes, text } = partition::shape(planned.kind, &scene, rng)?;
        let wires = links.into_iter().map(|(from, to)| Wire::Peer(from, to)).collect();
        Ok(Attack { nodes, text, means: Means::Partition { wires, blocked: None } })
    }

    /// Whether some nodes may be no members, or have no vote, when it is over.
    pub(super) fn changes_members(&self) -> bool {
        matches!(&self.means, Means::Course(running) if running.changes_members())
    }

    /// What it takes away from the cluster.
    pub(super) fn burden(&self) -> Burden {
        let out =
            |nodes: &[NodeId]| Burden { out: nodes.iter().copied().collect(), ..Burden::default() };
        match &self.means {
            Means::Kill { .. } | Means::Terminate { .. } | Means::Pause => out(&self.nodes),
            Means::Course(running) => running.burden(),
            Means::Disk(assault) => out(assault.nodes()),
            Means::Partition { wires, .. } | Means::Block { wires, .. } => cut(wires),
            Means::Link(infliction) => cut(infliction.wires()),
        }
    }

    /// What its proof counts.
    pub(super) fn unit(&self) -> &'static str {
        match &self.means {
            Means::Kill { .. } => kill::UNIT,
            Means::Terminate { .. } => terminate::UNIT,
            Means::Course(running) => running.unit(),
            Means::Pause => pause::UNIT,
            Means::Partition { blocked: Some(Blocked::Rules(_)), .. } => "packets dropped",
            Means::Partition { .. } => "bytes dropped",
            Means::Block { blocked: Some(Blocked::Rules(_)), .. } => "packets blocked",
            Means::Block { .. } => client_block::UNIT,
            Means::Link(infliction) => infliction.unit(),
            Means::Disk(assault) => assault.unit(),
        }
    }

    /// Does it.
    pub(super) async fn install(&mut self, cluster: &Cluster) -> Result<(), Error> {
        match &mut self.means {
            Means::Kill { killed } => *killed = kill::install(cluster, &self.nodes).await?,
            Means::Terminate { ended } => *ended = terminate::install(cluster, &self.nodes).await?,
            Means::Course(running) => running.install(cluster).await?,
            Means::Pause => pause::install(cluster, &self.nodes).await?,
            Means::Partition { wires, blocked } => {
                *blocked = Some(Blocked::install(cluster, wires, Mode::Cut).await?);
            }
            Means::Block { wires, mode, blocked } => {
                *blocked = Some(Blocked::install(cluster, wires, *mode).await?);
            }
            Means::Disk(assault) => assault.install(cluster).await?,
            Means::Link(infliction) => infliction.install(cluster).await?,
        }
        Ok(())
    }

    /// What is to be done while it is on. May be cancelled at any time.
    pub(super) async fn work(&self, cluster: &Cluster) {
        if let Means::Course(running) = &self.means {
            running.work(cluster).await;
        }
    }

    /// Whether it has had an effect already. Those on processes have, or never will.
    pub(super) async fn bites(&self, cluster: &Cluster) -> bool {
        match &self.means {
            Means::Kill { .. } | Means::Terminate { .. } | Means::Course(_) | Means::Pause => true,
            Means::Partition { .. } | Means::Block { .. } => self.wires_proof(cluster).await > 0,
            Means::Link(infliction) => infliction.bites(cluster).await > 0,
            Means::Disk(assault) => assault.bites(cluster),
        }
    }

    /// Undoes it; returns the proof of its effect.
    pub(super) async fn remove(&self, cluster: &Cluster) -> (u64, Result<(), Error>) {
        match &self.means {
            Means::Kill { killed } => (*killed, kill::remove(cluster, &self.nodes).await),
            Means::Terminate { ended } => (*ended, cluster.start_nodes(&self.nodes).await),
            Means::Course(running) => running.remove(cluster).await,
            Means::Pause => pause::remove(cluster, &self.nodes).await,
            Means::Disk(assault) => assault.remove(cluster).await,
            Means::Partition { blocked, .. } | Means::Block { blocked, .. } => {
                let proof = self.wires_proof(cluster).await;
                match blocked {
                    Some(blocked) => (proof, blocked.remove(cluster).await),
                    None => (proof, Ok(())),
                }
            }
            Means::Link(infliction) => infliction.remove(cluster).await,
        }
    }

    async fn wires_proof(&self, cluster: &Cluster) -> u64 {
        let dropped = |traffic: &[Traffic]| traffic.iter().map(|link| link.bytes_dropped).sum();
        match &self.means {
            Means::Partition { blocked: Some(blocked), .. } => {
                blocked.proof(cluster, dropped).await
            }
            Means::Block { blocked: Some(blocked), .. } => {
                blocked.proof(cluster, client_block::proof).await
            }
            Means::Kill { .. }
            | Means::Terminate { .. }
            | Means::Course(_)
            | Means::Pause
            | Means::Link(_)
            | Means::Disk(_)
            | Means::Partition { blocked: None, .. }
            | Means::Block { blocked: None, .. } => 0,
        }
    }
}

/// That clients do not get through to a node keeps no majority from its work.
fn cut(wires: &[Wire]) -> Burden {
    let ends = |wire: &Wire| match *wire {
        Wire::Peer(from, to) => Some((from, to)),
        Wire::Client(_) => None,
    };
    Burden { cut: wires.iter().filter_map(ends).collect(), ..Burden::default() }
}

/// Nodes to kill or pause: of those that run, as many as planned but no more than may be out of order together.
pub(super) fn victims(
    planned: &Planned,
    scope: &Scope<'_>,
    up: &[NodeId],
    rng: &mut StdRng,
) -> Result<Vec<NodeId>, String> {
    let out = scope.view.nodes.len() - up.len();
    let room = usize::try_from(scope.out_max).unwrap_or(usize::MAX).saturating_sub(out);
    let count = usize::try_from(planned.count).unwrap_or(usize::MAX).min(room);
    if count == 0 {
        return Err(format!("enough nodes are out of order: {}", scope.view));
    }
    aimed(planned, scope, up, count, rng)
}

/// So many of those that run, the leader among them if it is aimed at.
pub(super) fn aimed(
    planned: &Planned,
    scope: &Scope<'_>,
    up: &[NodeId],
    count: usize,
    rng: &mut StdRng,
) -> Result<Vec<NodeId>, String> {
    let first = scope.leader.filter(|_| planned.aim == Aim::Leader);
    let mut nodes = front(up, first, count, rng);
    if nodes.is_empty() {
        return Err(format!("no node runs: {}", scope.view));
    }
    nodes.sort_unstable();
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::NodeView;

    fn view(statuses: &[Status]) -> View {
        let node = |status: &Status| NodeView { status: *status, ..NodeView::default() };
        View { nodes: (1..).zip(statuses.iter().map(node)).collect() }
    }

    fn planned(kind: Kind, aim: Aim, count: u64, seed: u64) -> Planned {
        Planned {
            kind,
            start: Duration::ZERO,
            duration: Duration::ZERO,
            aim,
            count,
            seed,
            moment: None,
        }
    }

    #[test]
    fn process_faults_hit_the_leader_if_aimed_at_it_and_nodes_that_run_only() {
        let view = view(&[Status::Up, Status::Down, Status::Up, Status::Up, Status::Up]);
        let scope = Scope { view: &view, leader: Some(3), out_max: 3 };
        for seed in 0..100 {
            for kind in [Kind::Kill, Kind::Pause] {
                let attack = Attack::choose(&planned(kind, Aim::Leader, 2, seed), &scope).unwrap();
                assert_eq!(attack.nodes.len(), 2);
                assert!(attack.nodes.contains(&3) && !attack.nodes.contains(&2));
                assert!(attack.text.contains("n3 (leader)"), "{}", attack.text);
            }
        }
    }

    #[test]
    fn process_faults_leave_a_quorum() {
        let two_out = view(&[Status::Up, Status::Down, Status::Paused, Status::Up, Status::Up]);
        let scope = Scope { view: &two_out, leader: Some(1), out_max: 2 };
        let refused = Attack::choose(&planned(Kind::Kill, Aim::Any, 1, 1), &scope).unwrap_err();
        assert!(refused.contains("n2 down, n3 paused"), "{refused}");
        let one_out = view(&[Status::Up, Status::Up, Status::Paused, Status::Up, Status::Up]);
        let scope = Scope { view: &one_out, leader: Some(1), out_max: 2 };
        let attack = Attack::choose(&planned(Kind::Kill, Aim::Any, 2, 1), &scope).unwrap();
        assert_eq!(attack.nodes.len(), 1);
    }

    #[test]
    fn blocked_client_port_is_refused_or_hangs() {
        let view = view(&[Status::Up; 5]);
        let scope = Scope { view: &view, leader: Some(4), out_max: 2 };
        let choose =
            |seed| Attack::choose(&planned(Kind::BlockClient, Aim::Leader, 1, seed), &scope);
        let texts: Vec<String> = (0..20).map(|seed| choose(seed).unwrap().text).collect();
        assert!(texts.contains(&"clients of n4 (leader) are refused".to_owned()), "{texts:?}");
        assert!(texts.contains(&"clients of n4 (leader) get no answer".to_owned()), "{texts:?}");
    }

    #[test]
    fn same_seed_and_scene_give_the_same_targets() {
        let view = view(&[Status::Up; 5]);
        let scope = Scope { view: &view, leader: Some(1), out_max: 2 };
        for kind in Kind::ALL {
            let choose = || Attack::choose(&planned(kind, Aim::Any, 2, 9), &scope).unwrap();
            assert_eq!((choose().nodes, choose().text), (choose().nodes, choose().text));
        }
    }
}
