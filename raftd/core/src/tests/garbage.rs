//! No message makes a node panic, whatever it holds: a broken or hostile peer must not take down a member. Nor does
//! anything that clients and operators ask for.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::cluster::options;
use super::seeds;
use crate::effects::{Effects, ReceivedChunk, Role, Token};
use crate::kv::{Command, Op};
use crate::membership::{Address, Change, Configuration};
use crate::message::{Envelope, Message, ReadQuestion, Stand};
use crate::node::{Compaction, Input, Lease, Node, Options, Recovered, Standing};
use crate::snapshot::{Saved, Snapshot};
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
        assert!(seen.taken > count / 5 && seen.installed > count / 20, "{seen:?}");
        assert!(seen.configurations > count / 2, "{seen:?}");
    }
}

#[derive(Debug, Default)]
struct Seen {
    steps_as_leader: u64,
    commits: u64,
    truncations: u64,
    configurations: u64,
    taken: u64,
    installed: u64,
}

/// What a well-behaved driver still owes to the node.
#[derive(Default)]
struct Driver {
    inputs: Vec<Input>,
    /// A snapshot of the node's own: any other has its state, too.
    taken: Option<Snapshot>,
}

impl Driver {
    /// Answers for what a step asks for; not at once.
    fn take(&mut self, effects: &mut Effects) {
        self.inputs.extend(
            effects.write.iter().map(|write| Input::Durable { term: write.term, seq: write.seq }),
        );
        if let Some(snapshot) = effects.snapshot.take() {
            self.inputs.push(Input::SnapshotSaved { last: snapshot.last, bytes: 9 });
            self.taken = Some(snapshot);
        }
        for chunk in &effects.chunks {
            let (to, snapshot, offset) = (chunk.to, chunk.snapshot, chunk.offset);
            let data = "abcdefghi".get(usize::try_from(offset).unwrap_or(9)..).unwrap_or("").into();
            self.inputs.push(Input::ChunkRead { to, snapshot, offset, data, total: 9 });
        }
        for ReceivedChunk { snapshot: last, is_last, .. } in &effects.received {
            // Nobody ever wrote that many entries: no such file verifies.
            let is_possible = last.index < 1 << 50;
            if *is_last
                && is_possible
                && let Some(snapshot) = self.taken.clone()
            {
                let snapshot = Snapshot { last: *last, config_index: 0, ..snapshot };
                self.inputs.push(Input::SnapshotReceived { saved: Saved { snapshot, bytes: 9 } });
            } else if *is_last {
                self.inputs.push(Input::ReceiveFailed { snapshot: *last });
            }
        }
        effects.clear();
    }
}

fn any_options(rng: &mut SmallRng, seed: u64) -> Options {
    let compaction = Compaction {
        log_bytes_min: rng.random_range(50..500),
        log_percent_of_snapshot: 100,
        trailing_bytes: rng.random_range(0..200),
    };
    let lease = rng.random_bool(0.5).then_some(Lease { drift_percent_max: 10 });
    Options { compaction, lease, ..options(3, seed) }
}

/// A node amid peers that say anything at all, and clients and a disk that behave.
fn torment(seed: u64, seen: &mut Seen) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let options = any_options(&mut rng, seed);
    let is_lost = rng.random_bool(0.1);
    let standing = if is_lost { Standing::Lost { incarnation: 7 } } else { Standing::Full };
    let recovered = Recovered { standing, ..Recovered::default() };
    let mut node = Node::new(Time::ZERO, options, recovered);
    let mut effects = Effects::default();
    let mut now = Time::ZERO;
    let mut driver = Driver::default();
    for token in 0..200 {
        let input = match rng.random_range(0..20) {
            0 => {
                now = now.max(node.deadline());
                Input::Tick
            }
            1 | 2 if !driver.inputs.is_empty() => driver.inputs.remove(0),
            3 => any_request(&mut rng, token),
            _ => Input::Peer(any_envelope(&mut rng, &node)),
        };
        let before = node.view();
        node.step(now, [input], &mut effects);
        let after = node.view();
        seen.steps_as_leader += u64::from(node.role() == Role::Leader);
        seen.commits += u64::from(after.commit > before.commit);
        seen.truncations += u64::from(after.last.index < before.last.index);
        seen.configurations += u64::from(after.config_index != before.config_index);
        seen.taken += after.snapshots_taken - before.snapshots_taken;
        seen.installed += after.snapshots_installed - before.snapshots_installed;
        driver.take(&mut effects);
    }
}

fn any_request(rng: &mut SmallRng, token: Token) -> Input {
    let key = || "x".to_owned();
    match rng.random_range(0..8) {
        0 => Input::Read { token, key: key() },
        1 => Input::LeaseRead { token, key: key() },
        2 => Input::StaleRead { token, key: key(), at_least: rng.random_range(0..9) },
        3 => Input::TakeSnapshot { token },
        4 => {
            let to = *[None, Some(1), Some(2), Some(9)].choose(rng).unwrap();
            Input::Transfer { token, to }
        }
        5 => {
            let id = rng.random_range(1..6);
            let address = Address { peer: String::new(), client: String::new() };
            let change = match rng.random_range(0..4) {
                0 => Change::AddLearner { id, address, incarnation: 1 },
                1 => Change::Promote { id },
                2 => Change::Remove { id },
                _ => Change::Set { voters: (1..=id).collect() },
            };
            Input::Change { token, change }
        }
        _ => {
            let request = format!("c:{}", token + 1).parse().unwrap();
            let op = Op::Incr { key: key(), by: 1 };
            Input::Propose { token, command: Command { request, ack: 0, op } }
        }
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
        let payload = if rng.random_bool(0.2) { any_members(rng) } else { Payload::Noop };
        Entry::new(id, payload)
    };
    (0..rng.random_range(0..4)).map(|_| entry(rng)).collect()
}

/// Any members at all, with the node among them or not. Nobody without a voter: no encoding can say that.
fn any_members(rng: &mut SmallRng) -> Payload {
    let mut config = Configuration::founding((1..=rng.random_range(1..5)).collect());
    for _ in 0..rng.random_range(0..3) {
        let id = rng.random_range(1..6);
        let next = match rng.random_range(0..3) {
            0 => config.after_loss(id, 7),
            1 => config.after(&Change::Set { voters: [1, id].into() }).ok(),
            _ => config.after(&Change::Remove { id }).ok(),
        };
        config = next.unwrap_or(config);
    }
    Payload::Configuration(config.into())
}

/// Often the next piece of the one that is coming in.
fn any_install(rng: &mut SmallRng, node: &Node, round: u64, stand: Stand) -> Message {
    let view = node.view();
    let next = view.receiving.map_or(0, |(next, _)| next);
    let offset = if rng.random_bool(0.7) { next } else { any_number(rng, next) };
    let ahead = EntryId { term: view.last.term.max(1), index: view.commit / 8 * 8 + 8 };
    let last = if rng.random_bool(0.7) { ahead } else { any_id(rng, node) };
    let data = *["", "abc", "abc", "abcdefghi"].choose(rng).unwrap();
    let total = if rng.random_bool(0.9) { 9 } else { any_number(rng, 9) };
    Message::Install { last, offset, data: data.into(), total, round, stand }
}

fn any_envelope(rng: &mut SmallRng, node: &Node) -> Envelope {
    let term = any_term(rng, node);
    let round = rng.random_range(0..3);
    let question = ReadQuestion { incarnation: rng.random(), number: rng.random_range(0..5) };
    let granted = rng.random_bool(0.8);
    let last = any_id(rng, node);
    let session = if rng.random_bool(0.5) { 1 } else { any_number(rng, node.commit()) };
    let incarnation = *[0, 0, 7, 8].choose(rng).unwrap();
    let stand = Stand { session, voter: rng.random_bool(0.5), incarnation };
    let lost = rng.random_bool(0.1);
    let message = match rng.random_range(0..20) {
        0 => Message::PreVote { next_term: any_number(rng, term.saturating_add(1)), last },
        1 => Message::PreVoteReply { next_term: node.term() + 1, granted },
        2 => Message::Vote { last, transfer: rng.random_bool(0.2) },
        3 => Message::VoteReply { granted },
        4..=8 => {
            let entries = any_entries(rng, node, last);
            let commit = any_number(rng, node.commit());
            Message::Append { prev: last, entries, commit, round, stand }
        }
        9..=10 => Message::AppendAccepted { matched: last.index, round, session, lost },
        11 => {
            let prev_index = any_number(rng, node.log().last().index);
            Message::AppendRejected { prev_index, hint: last, round, session }
        }
        12..=14 => any_install(rng, node, round, stand),
        15 => {
            let offset = any_number(rng, 3);
            Message::InstallReply { last: node.view().snapshot, offset, round, session }
        }
        16 => Message::Lost { incarnation, session },
        17 => Message::TimeoutNow,
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
