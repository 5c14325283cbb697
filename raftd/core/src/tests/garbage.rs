//! No message makes a node panic, whatever it holds: a broken or hostile peer must not take down a member.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::cluster::options;
use super::seeds;
use crate::effects::{Effects, Role};
use crate::kv::{Command, Op};
use crate::message::{Envelope, Message, ReadQuestion, Stand};
use crate::node::{Input, Node, Recovered};
use crate::types::{Entry, EntryId, Index, Payload, Time};

const SEEDS: u64 = if cfg!(debug_assertions) { 500 } else { 5_000 };

#[test]
fn random_garbage_from_peers_panics_no_node() {
    let mut seen = Seen::default();
    let count = seeds::for_each("random_garbage", SEEDS, |seed| torment(seed, &mut seen));
    if count == SEEDS {
        // Garbage that is all refused at the door would prove nothing.
        assert!(seen.steps_as_leader > count, "{seen:?}");
        assert!(seen.commits > count && seen.truncations > count / 20, "{seen:?}");
    }
}

#[derive(Debug, Default)]
struct Seen {
    steps_as_leader: u64,
    commits: u64,
    truncations: u64,
}

/// A node amid peers that say anything at all, and clients and a disk that behave.
fn torment(seed: u64, seen: &mut Seen) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut node = Node::new(Time::ZERO, options(3, seed), Recovered::default());
    let mut effects = Effects::default();
    let mut now = Time::ZERO;
    let mut pending = Vec::new();
    for token in 0..200 {
        let input = match rng.random_range(0..20) {
            0 => {
                now = now.max(node.deadline());
                Input::Tick
            }
            1 if !pending.is_empty() => {
                let (term, seq) = pending.remove(0);
                Input::Durable { term, seq }
            }
            2 => {
                let request = format!("c:{}", token + 1).parse().unwrap();
                let op = Op::Incr { key: "x".into(), by: 1 };
                Input::Propose { token, command: Command { request, ack: 0, op } }
            }
            3 => Input::Read { token, key: "x".into() },
            _ => Input::Peer(any_envelope(&mut rng, &node)),
        };
        let (commit, last) = (node.commit(), node.log().last().index);
        node.step(now, [input], &mut effects);
        seen.steps_as_leader += u64::from(node.role() == Role::Leader);
        seen.commits += u64::from(node.commit() > commit);
        seen.truncations += u64::from(node.log().last().index < last);
        pending.extend(effects.write.iter().map(|write| (write.term, write.seq)));
        effects.clear();
    }
}

/// A term that no cluster reaches comes seldom: once adopted, it makes all else look old.
fn any_term(rng: &mut SmallRng, node: &Node) -> u64 {
    match rng.random_range(0..500) {
        0 => any_number(rng, 1),
        1..=10 => node.term() + 1,
        11..=20 => node.term().saturating_sub(1),
        _ => node.term(),
    }
}

/// Mostly numbers near those that mean something, so that many messages get past the first checks.
fn any_number(rng: &mut SmallRng, around: u64) -> u64 {
    match rng.random_range(0..20) {
        0 => 0,
        1 => u64::MAX - rng.random_range(0..3),
        2 => u64::MAX / 2 + rng.random_range(0..3),
        _ => around.saturating_add(rng.random_range(0..5)).saturating_sub(2),
    }
}

fn any_id(rng: &mut SmallRng, node: &Node) -> EntryId {
    let index = any_number(rng, node.log().last().index);
    let known = node.log().get(index).map(|entry| entry.id);
    match known {
        Some(id) if rng.random_bool(0.7) => id,
        _ if rng.random_bool(0.2) => EntryId::ZERO,
        _ => EntryId { term: any_number(rng, node.term()), index },
    }
}

/// Often consecutive, as they should be.
fn any_entries(rng: &mut SmallRng, node: &Node, prev: EntryId) -> Vec<std::sync::Arc<Entry>> {
    let orderly = rng.random_bool(0.8);
    let term = if rng.random_bool(0.5) { prev.term.max(1) } else { node.term() };
    let mut index: Index = prev.index;
    let mut entry = |rng: &mut SmallRng| {
        index = index.saturating_add(1);
        let id = if orderly { EntryId { term, index } } else { any_id(rng, node) };
        Entry::new(id, Payload::Noop)
    };
    (0..rng.random_range(0..4)).map(|_| entry(rng)).collect()
}

fn any_envelope(rng: &mut SmallRng, node: &Node) -> Envelope {
    let term = any_term(rng, node);
    let round = rng.random_range(0..3);
    let question = ReadQuestion { incarnation: rng.random(), number: rng.random_range(0..5) };
    let granted = rng.random_bool(0.8);
    let last = any_id(rng, node);
    let session = any_number(rng, node.commit());
    let stand = Stand { session, voter: true, incarnation: 0 };
    let message = match rng.random_range(0..12) {
        0 => Message::PreVote { next_term: any_number(rng, term.saturating_add(1)), last },
        1 => Message::PreVoteReply { next_term: node.term() + 1, granted },
        2 => Message::Vote { last, transfer: rng.random_bool(0.1) },
        3 => Message::VoteReply { granted },
        4..=8 => {
            let entries = any_entries(rng, node, last);
            let commit = any_number(rng, node.commit());
            Message::Append { prev: last, entries, commit, round, stand }
        }
        9 => Message::AppendAccepted { matched: last.index, round, session, lost: false },
        10 => {
            let prev_index = any_number(rng, node.log().last().index);
            Message::AppendRejected { prev_index, hint: last, round, session }
        }
        _ if granted => Message::ReadIndex { question },
        _ => {
            let index = Some(any_number(rng, node.commit()));
            Message::ReadIndexReply { question, index }
        }
    };
    let from = *[0, 1, 2, 2, 2, 3, 3, 3, 4].choose(rng).unwrap();
    let to = if rng.random_bool(0.95) { 1 } else { from };
    Envelope { from, to, term, message }
}
