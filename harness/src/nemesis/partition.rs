//! Shapes of partitions: which directed links are cut. Pure.

use std::collections::BTreeSet;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::kind::Kind;
use super::schedule::Aim;
use super::words::{named, set};
use crate::cluster::NodeId;

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The links cut, by who speaks and who listens.
    pub(super) links: BTreeSet<(NodeId, NodeId)>,
    /// The nodes it is about: those that no longer see a majority, or if all do, those that see less than before.
    pub(super) nodes: Vec<NodeId>,
    /// In words.
    pub(super) text: String,
}

/// What a shape has to go by.
pub(super) struct Scene<'a> {
    /// All nodes.
    pub(super) all: &'a [NodeId],
    /// Those that run, and so can be hit.
    pub(super) up: &'a [NodeId],
    /// The leader, if known.
    pub(super) leader: Option<NodeId>,
    /// Whom it should hit.
    pub(super) aim: Aim,
}

/// Chooses a partition of this kind; says why if there is none.
pub(super) fn shape(kind: Kind, scene: &Scene<'_>, rng: &mut StdRng) -> Result<Cut, String> {
    match kind {
        Kind::IsolateOne => {
            let node = *scene.up.choose(rng).ok_or("no node runs")?;
            Ok(isolate(scene, node))
        }
        Kind::IsolateLeader => Ok(isolate(scene, scene.leader.ok_or("nobody leads")?)),
        Kind::Halves => Ok(halves(scene, rng)),
        Kind::Bridge => bridge(scene, rng),
        Kind::Ring => ring(scene, rng),
        Kind::OneWay => one_way(scene, rng),
        Kind::PartialMesh => partial_mesh(scene, rng),
        Kind::Thirds => Ok(thirds(scene, rng)),
        Kind::OneWayLink => one_way_link(scene, rng),
        Kind::LoseLink => lose_link(scene, rng),
        Kind::KeepOne => keep_one(scene, rng),
        Kind::Kill
        | Kind::Pause
        | Kind::Terminate
        | Kind::KillAll
        | Kind::Course(_)
        | Kind::BlockPeer
        | Kind::BlockClient
        | Kind::Link(_)
        | Kind::Disk(_) => Err(format!("{kind} is no partition")),
    }
}

fn isolate(scene: &Scene<'_>, node: NodeId) -> Cut {
    let links = both_ways(&[node], &others(scene.all, &[node]));
    Cut { links, nodes: vec![node], text: format!("isolate {}", named(node, scene.leader)) }
}

fn halves(scene: &Scene<'_>, rng: &mut StdRng) -> Cut {
    let size = ((scene.all.len().saturating_sub(1)) / 2).max(1);
    let first = scene.leader.filter(|_| scene.aim == Aim::Leader);
    let mut minority = front(scene.all, first, size, rng);
    minority.sort_unstable();
    let majority = others(scene.all, &minority);
    let text = format!("partition {} | {}", set(&minority), set(&majority));
    Cut { links: both_ways(&minority, &majority), nodes: minority, text }
}

fn bridge(scene: &Scene<'_>, rng: &mut StdRng) -> Result<Cut, String> {
    // A leader in the middle would not notice anything.
    let middles: Vec<NodeId> =
        scene.all.iter().copied().filter(|node| Some(*node) != scene.leader).collect();
    let middle = *middles.choose(rng).ok_or("there is nobody but the leader")?;
    let mut left = others(scene.all, &[middle]);
    left.shuffle(rng);
    let mut right = left.split_off(left.len() / 2);
    left.sort_unstable();
    right.sort_unstable();
    let text = format!("bridge {} - n{middle} - {}", set(&left), set(&right));
    let links = both_ways(&left, &right);
    Ok(Cut { links, nodes: others(scene.all, &[middle]), text })
}

/// Each node sees so many neighbours on both sides that they are a majority with itself. Three nodes are too few for
/// that: there each node hears only the one before it.
fn ring(scene: &Scene<'_>, rng: &mut StdRng) -> Result<Cut, String> {
    let size = scene.all.len();
    if size < 3 {
        return Err("a ring takes three nodes".to_owned());
    }
    let mut order = scene.all.to_vec();
    order.shuffle(rng);
    let reach = (size / 2).div_ceil(2);
    let mut links = BTreeSet::new();
    for (i, from) in order.iter().enumerate() {
        for (j, to) in order.iter().enumerate() {
            let ahead = (j + size - i) % size;
            let passes = if size == 3 { ahead <= 1 } else { ahead.min(size - ahead) <= reach };
            if !passes {
                links.insert((*from, *to));
            }
        }
    }
    let joint = if size == 3 { ">" } else { "-" };
    let mut names: Vec<String> = order.iter().map(|node| format!("n{node}")).collect();
    names.push(format!("n{}", order[0]));
    Ok(Cut { links, nodes: scene.all.to_vec(), text: format!("ring {}", names.join(joint)) })
}

fn one_way(scene: &Scene<'_>, rng: &mut StdRng) -> Result<Cut, String> {
    let leader = scene.leader.filter(|_| scene.aim == Aim::Leader);
    let node = leader.or_else(|| scene.up.choose(rng).copied()).ok_or("no node runs")?;
    let name = named(node, scene.leader);
    let peers = others(scene.all, &[node]);
    let (links, text) = if rng.random() {
        (peers.iter().map(|peer| (*peer, node)).collect(), format!("one-way: {name} hears nobody"))
    } else {
        (peers.iter().map(|peer| (node, *peer)).collect(), format!("one-way: nobody hears {name}"))
    };
    Ok(Cut { links, nodes: vec![node], text })
}

/// Each pair is cut or not, by chance. Of five nodes, sometimes a mesh that is known for deposing leaders for ever
/// where followers listen to everybody: three see each other, and each of the others sees another one of them.
fn partial_mesh(scene: &Scene<'_>, rng: &mut StdRng) -> Result<Cut, String> {
    let mut order = scene.all.to_vec();
    order.shuffle(rng);
    let pairs: Vec<(NodeId, NodeId)> = if let [a, b, c, d, e] = order[..]
        && rng.random_ratio(1, 3)
    {
        vec![(d, a), (d, c), (d, e), (e, a), (e, b)]
    } else {
        let all = order.iter().enumerate();
        let all = all.flat_map(|(i, a)| order[i + 1..].iter().map(move |b| (*a, *b)));
        all.filter(|_| rng.random_ratio(2, 5)).collect()
    };
    let mut links: BTreeSet<_> = pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
    let hit = scene.leader.unwrap_or(order[0]);
    if links.iter().all(|(from, _)| *from != hit) {
        let other = *others(&order, &[hit]).first().ok_or("a mesh takes two nodes")?;
        links.extend(both_ways(&[hit], &[other]));
    }
    let text = format!("partial mesh: no {}", pairs_of(&links));
    let nodes = scene.all.iter().copied().filter(|a| links.iter().any(|(from, _)| from == a));
    Ok(Cut { nodes: nodes.collect(), text, links })
}

/// `1-2, 1-4`.
fn pairs_of(links: &BTreeSet<(NodeId, NodeId)>) -> String {
    let once = links.iter().filter(|(a, b)| a < b);
    once.map(|(a, b)| format!("{a}-{b}")).collect::<Vec<_>>().join(", ")
}

fn thirds(scene: &Scene<'_>, rng: &mut StdRng) -> Cut {
    let mut order = scene.all.to_vec();
    order.shuffle(rng);
    let mut parts: Vec<Vec<NodeId>> =
        (0..3).map(|part| order.iter().copied().skip(part).step_by(3).collect()).collect();
    for part in &mut parts {
        part.sort_unstable();
    }
    let mut links = both_ways(&parts[0], &parts[1]);
    links.extend(both_ways(&parts[0], &parts[2]));
    links.extend(both_ways(&parts[1], &parts[2]));
    let text = parts.iter().map(|part| set(part)).collect::<Vec<_>>().join(" | ");
    Cut { links, nodes: scene.all.to_vec(), text: format!("partition {text}") }
}

fn one_way_link(scene: &Scene<'_>, rng: &mut StdRng) -> Result<Cut, String> {
    let node = scene.leader.or_else(|| scene.up.choose(rng).copied()).ok_or("no node runs")?;
    let peer = *others(scene.all, &[node]).choose(rng).ok_or("there is nobody else")?;
    let (from, to) = if rng.random() { (node, peer) } else { (peer, node) };
    let text =
        format!("one-way: {} does not hear {}", named(to, scene.leader), named(from, scene.leader));
    Ok(Cut { links: BTreeSet::from([(from, to)]), nodes: vec![from, to], text })
}

/// Of four nodes or more, the leader keeps a quorum and stays.
fn lose_link(scene: &Scene<'_>, rng: &mut StdRng) -> Result<Cut, String> {
    let leader = scene.leader.ok_or("nobody leads")?;
    let peer = *others(scene.all, &[leader]).choose(rng).ok_or("there is nobody else")?;
    let text = format!("n{leader} (leader) and n{peer} do not see each other");
    Ok(Cut { links: both_ways(&[leader], &[peer]), nodes: vec![leader, peer], text })
}

/// The leader must step down by itself, and the follower that it keeps must not be kept from electing another.
fn keep_one(scene: &Scene<'_>, rng: &mut StdRng) -> Result<Cut, String> {
    let leader = scene.leader.ok_or("nobody leads")?;
    let kept = *others(scene.all, &[leader]).choose(rng).ok_or("there is nobody else")?;
    let lost = others(scene.all, &[leader, kept]);
    let text = format!("n{leader} (leader) sees n{kept} only");
    Ok(Cut { links: both_ways(&[leader], &lost), nodes: vec![leader], text })
}

/// All links between two sets of nodes.
fn both_ways(left: &[NodeId], right: &[NodeId]) -> BTreeSet<(NodeId, NodeId)> {
    let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b)));
    pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
}

fn others(all: &[NodeId], but: &[NodeId]) -> Vec<NodeId> {
    all.iter().copied().filter(|node| !but.contains(node)).collect()
}

/// So many of these, at random, but this one before all others.
pub(super) fn front(
    from: &[NodeId],
    first: Option<NodeId>,
    count: usize,
    rng: &mut StdRng,
) -> Vec<NodeId> {
    let mut chosen = from.to_vec();
    chosen.shuffle(rng);
    chosen.sort_by_key(|node| Some(*node) != first);
    chosen.truncate(count);
    chosen
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const SHAPES: [Kind; 11] = [
        Kind::IsolateOne,
        Kind::IsolateLeader,
        Kind::Halves,
        Kind::Bridge,
        Kind::Ring,
        Kind::OneWay,
        Kind::PartialMesh,
        Kind::Thirds,
        Kind::OneWayLink,
        Kind::LoseLink,
        Kind::KeepOne,
    ];

    /// For each cluster size, leader and seed, a shape of this kind.
    fn each(kind: Kind, aim: Aim, check: impl Fn(&Scene<'_>, &Cut)) {
        for size in kind.nodes_min()..=9 {
            let all: Vec<NodeId> = (1..=size).collect();
            for seed in 0..200 {
                let scene = Scene { all: &all, up: &all, leader: Some(1 + seed % size), aim };
                let cut = shape(kind, &scene, &mut StdRng::seed_from_u64(seed)).unwrap();
                check(&scene, &cut);
            }
        }
    }

    /// Whom a node sees, itself included: there is a way to it and back.
    fn sees(scene: &Scene<'_>, cut: &Cut, node: NodeId) -> Vec<NodeId> {
        let cut_between =
            |peer| cut.links.contains(&(node, peer)) || cut.links.contains(&(peer, node));
        scene.all.iter().copied().filter(|peer| !cut_between(*peer)).collect()
    }

    fn is_symmetric(cut: &Cut) -> bool {
        cut.links.iter().all(|(from, to)| cut.links.contains(&(*to, *from)))
    }

    #[test]
    fn every_shape_cuts_a_link_of_the_leader() {
        for kind in SHAPES {
            for aim in [Aim::Leader, Aim::Any] {
                each(kind, aim, |scene, cut| {
                    let leader = scene.leader.unwrap();
                    let hit = cut.links.iter().any(|(from, to)| *from == leader || *to == leader);
                    assert!(hit, "{cut:?}");
                    assert!(cut.links.iter().all(|(from, to)| from != to), "{cut:?}");
                });
            }
        }
    }

    #[test]
    fn isolated_node_sees_nobody_and_the_others_all_others() {
        for kind in [Kind::IsolateOne, Kind::IsolateLeader] {
            each(kind, Aim::Any, |scene, cut| {
                let node = cut.nodes[0];
                assert!(kind == Kind::IsolateOne || Some(node) == scene.leader);
                for other in scene.all {
                    let expected = if *other == node { 1 } else { scene.all.len() - 1 };
                    assert_eq!(sees(scene, cut, *other).len(), expected);
                }
            });
        }
    }

    #[test]
    fn halves_are_a_minority_and_a_majority() {
        for aim in [Aim::Leader, Aim::Any] {
            each(Kind::Halves, aim, |scene, cut| {
                assert!(is_symmetric(cut));
                let minority = &cut.nodes;
                for node in scene.all {
                    let expected = if minority.contains(node) {
                        minority.clone()
                    } else {
                        others(scene.all, minority)
                    };
                    assert_eq!(sees(scene, cut, *node), expected);
                }
                assert!(minority.len() * 2 <= scene.all.len());
                let led = minority.contains(&scene.leader.unwrap());
                assert!(led || aim == Aim::Any);
            });
        }
    }

    #[test]
    fn bridge_has_one_node_that_sees_all() {
        each(Kind::Bridge, Aim::Any, |scene, cut| {
            assert!(is_symmetric(cut));
            let middle = others(scene.all, &cut.nodes)[0];
            assert_ne!(Some(middle), scene.leader);
            for node in scene.all {
                let seen = sees(scene, cut, *node);
                assert!(seen.contains(&middle));
                assert_eq!(seen.len() == scene.all.len(), *node == middle);
            }
        });
    }

    #[test]
    fn ring_gives_each_node_a_majority_of_its_own() {
        each(Kind::Ring, Aim::Any, |scene, cut| {
            let mut views: BTreeSet<Vec<NodeId>> = BTreeSet::new();
            for node in scene.all {
                let hears = |peer: &NodeId| !cut.links.contains(&(*peer, *node));
                let heard: Vec<NodeId> = scene.all.iter().copied().filter(hears).collect();
                assert!(heard.len() * 2 > scene.all.len(), "{cut:?}");
                views.insert(heard);
            }
            assert_eq!(views.len(), scene.all.len(), "{cut:?}");
            assert!(is_symmetric(cut) || scene.all.len() == 3);
        });
    }

    #[test]
    fn one_way_cut_leaves_the_other_way_open() {
        each(Kind::OneWay, Aim::Leader, |scene, cut| {
            let leader = scene.leader.unwrap();
            assert_eq!(cut.nodes, [leader]);
            assert_eq!(cut.links.len(), scene.all.len() - 1);
            assert!(cut.links.iter().all(|(from, to)| !cut.links.contains(&(*to, *from))));
            let deaf = cut.links.iter().all(|(_, to)| *to == leader);
            let mute = cut.links.iter().all(|(from, _)| *from == leader);
            assert!(deaf || mute);
        });
    }

    #[test]
    fn text_says_what_is_cut() {
        let all = [1, 2, 3, 4, 5];
        let scene = Scene { all: &all, up: &[3], leader: Some(3), aim: Aim::Any };
        let mut rng = StdRng::seed_from_u64(1);
        let mut text = |kind| shape(kind, &scene, &mut rng).unwrap().text;
        assert_eq!(text(Kind::IsolateOne), "isolate n3 (leader)");
        assert!(text(Kind::Halves).starts_with("partition {"));
        assert!(text(Kind::Bridge).contains("} - n"));
        assert!(text(Kind::Ring).starts_with("ring n"));
        assert!(text(Kind::OneWay).starts_with("one-way: n"));
    }

    #[test]
    fn nobody_leads_is_said() {
        let scene = Scene { all: &[1, 2], up: &[1, 2], leader: None, aim: Aim::Leader };
        let mut rng = StdRng::seed_from_u64(1);
        let outcome = shape(Kind::IsolateLeader, &scene, &mut rng);
        assert_eq!(outcome, Err("nobody leads".to_owned()));
        assert!(shape(Kind::OneWay, &scene, &mut rng).is_ok());
    }
}
