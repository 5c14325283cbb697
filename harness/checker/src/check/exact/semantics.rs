//! What the search knows about the models that have no steps of their own.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;

use super::hash::FastSet;
use super::object::Nature;
use crate::history::Outcome;
use crate::model::Sequential;
use crate::model::semantics;
use crate::ops::{Action, KeyOps, Micro, NEVER, NOTHING, Op, Seen, UNREAD, Word, index};

/// A model, and what helps to search in it.
pub(super) trait Semantics: Clone {
    type State: Clone + Debug + Default + Eq + Hash;

    fn new(key: &KeyOps) -> Self;

    fn start(&self, key: &KeyOps) -> Self::State;

    /// All states to which an operation can lead.
    fn apply(&self, key: &KeyOps, state: &Self::State, op: &Op, next: &mut Vec<Self::State>);

    /// What a state takes on the heap.
    fn bytes(state: &Self::State) -> usize;

    fn nature(&self, key: &KeyOps, op: &Op) -> Nature;

    /// Whether the operation says or may change anything that can be noticed.
    fn matters(&self, key: &KeyOps, op: &Op) -> bool;

    /// Whether an optional operation is worth being done now, if these are owed.
    fn is_worth<'o>(&self, _: &Op, _: impl Iterator<Item = &'o Op>) -> bool {
        true
    }

    fn is_finite(&self) -> bool;
}

fn did_happen(op: &Op) -> bool {
    op.outcome != Outcome::Fail
}

/// By word: whether it is in what `ops` returned.
fn seen_words<'k>(key: &KeyOps, seen: impl Iterator<Item = &'k Op>) -> Vec<bool> {
    let mut is_seen = vec![false; key.words.len()];
    for op in seen.filter(|op| op.is_ok() && op.ret != NEVER) {
        match op.seen {
            Seen::Word(word) => is_seen[index(word)] = true,
            Seen::List(list) => key.list(list).iter().for_each(|&word| is_seen[index(word)] = true),
            Seen::Unknown | Seen::Number(_) => {}
        }
    }
    is_seen
}

/// Sets.
#[derive(Clone, Debug)]
pub(super) struct Set {
    is_seen: Vec<bool>,
}

impl Semantics for Set {
    type State = Vec<Word>;

    fn new(key: &KeyOps) -> Set {
        Set { is_seen: seen_words(key, key.ops.iter().filter(|op| op.is_ok_read())) }
    }

    fn start(&self, key: &KeyOps) -> Vec<Word> {
        semantics::Set.start(key)
    }

    fn apply(&self, key: &KeyOps, state: &Vec<Word>, op: &Op, next: &mut Vec<Vec<Word>>) {
        next.extend(semantics::Set.apply(key, state, op));
    }

    fn bytes(state: &Vec<Word>) -> usize {
        state.len() * 4
    }

    fn nature(&self, _: &KeyOps, op: &Op) -> Nature {
        if op.action == Action::Read { Nature::Look } else { Nature::Blind }
    }

    /// An element that may not have been added and is in no set that was read: without it, all is as it was.
    fn matters(&self, _: &KeyOps, op: &Op) -> bool {
        let shows = match (op.action, op.seen) {
            (Action::Read, Seen::Unknown) => false,
            (Action::Add(word), _) => op.ret != NEVER || self.is_seen[index(word)],
            _ => true,
        };
        did_happen(op) && shows
    }

    fn is_finite(&self) -> bool {
        true
    }
}

/// What both queues know.
#[derive(Clone, Debug)]
struct Dequeued {
    /// By word: somebody got it.
    is_seen: Vec<bool>,
    /// There are certain dequeues of which it is not known what they returned.
    blindly: bool,
}

impl Dequeued {
    fn new(key: &KeyOps) -> Dequeued {
        let dequeues = || key.ops.iter().filter(|op| op.action == Action::Dequeue && op.is_ok());
        Dequeued {
            is_seen: seen_words(key, dequeues()),
            blindly: dequeues().any(|op| op.ret != NEVER && op.seen == Seen::Unknown),
        }
    }

    /// An element that may not have been enqueued and that nobody ever got: if it was, then nothing behind it was
    /// taken out, and nobody found the queue empty; or an optional dequeue took it, which is left out as well then.
    /// (A certain one would have to take something else.)
    fn matters(&self, op: &Op) -> bool {
        let shows = if let Action::Enqueue(word) = op.action {
            op.ret != NEVER || self.blindly || self.is_seen[index(word)]
        } else {
            true
        };
        did_happen(op) && shows
    }
}

fn queue_nature(op: &Op) -> Nature {
    match (op.action, op.seen) {
        (Action::Enqueue(_), _) => Nature::Blind,
        (Action::Dequeue, Seen::Word(NOTHING)) => Nature::Look,
        _ => Nature::Other,
    }
}

/// Queues in order.
#[derive(Clone, Debug)]
pub(super) struct FifoQueue(Dequeued);

impl Semantics for FifoQueue {
    type State = VecDeque<Word>;

    fn new(key: &KeyOps) -> FifoQueue {
        FifoQueue(Dequeued::new(key))
    }

    fn start(&self, key: &KeyOps) -> VecDeque<Word> {
        semantics::FifoQueue.start(key)
    }

    fn apply(&self, key: &KeyOps, state: &VecDeque<Word>, op: &Op, next: &mut Vec<VecDeque<Word>>) {
        next.extend(semantics::FifoQueue.apply(key, state, op));
    }

    fn bytes(state: &VecDeque<Word>) -> usize {
        state.len() * 4
    }

    fn nature(&self, _: &KeyOps, op: &Op) -> Nature {
        queue_nature(op)
    }

    fn matters(&self, _: &KeyOps, op: &Op) -> bool {
        self.0.matters(op)
    }

    /// What an optional dequeue would take away can as well be taken away later, unless somebody waits for what is
    /// behind it.
    fn is_worth<'o>(&self, op: &Op, mut owed: impl Iterator<Item = &'o Op>) -> bool {
        op.action != Action::Dequeue || owed.any(|other| other.action == Action::Dequeue)
    }

    fn is_finite(&self) -> bool {
        false
    }
}

/// Queues in any order.
#[derive(Clone, Debug)]
pub(super) struct UnorderedQueue(Dequeued);

impl Semantics for UnorderedQueue {
    /// Sorted.
    type State = Vec<Word>;

    fn new(key: &KeyOps) -> UnorderedQueue {
        UnorderedQueue(Dequeued::new(key))
    }

    fn start(&self, key: &KeyOps) -> Vec<Word> {
        semantics::UnorderedQueue.start(key)
    }

    /// A dequeue of which it is not known what it took has taken any element that was there. If it is optional, this
    /// helps nobody but who finds the queue empty ([`UnorderedQueue::is_worth`]), who needs all elements gone, in
    /// whichever order: so it takes the first.
    fn apply(&self, key: &KeyOps, state: &Vec<Word>, op: &Op, next: &mut Vec<Vec<Word>>) {
        if op.action != Action::Dequeue || op.seen != Seen::Unknown {
            next.extend(semantics::UnorderedQueue.apply(key, state, op));
            return;
        }
        if state.is_empty() {
            next.push(Vec::new());
        }
        let taken = if op.ret == NEVER { state.len().min(1) } else { state.len() };
        for place in 0..taken {
            if place > 0 && state[place] == state[place - 1] {
                continue;
            }
            let mut after = state.clone();
            after.remove(place);
            next.push(after);
        }
    }

    fn bytes(state: &Vec<Word>) -> usize {
        state.len() * 4
    }

    fn nature(&self, _: &KeyOps, op: &Op) -> Nature {
        queue_nature(op)
    }

    fn matters(&self, _: &KeyOps, op: &Op) -> bool {
        self.0.matters(op)
    }

    fn is_worth<'o>(&self, op: &Op, mut owed: impl Iterator<Item = &'o Op>) -> bool {
        op.action != Action::Dequeue
            || owed
                .any(|other| other.action == Action::Dequeue && other.seen == Seen::Word(NOTHING))
    }

    fn is_finite(&self) -> bool {
        false
    }
}

/// Transactions.
#[derive(Clone, Debug)]
pub(super) struct MultiRegister {
    /// Register and value, of all reads.
    read: FastSet<(Word, Word)>,
}

impl Semantics for MultiRegister {
    type State = BTreeMap<Word, Word>;

    fn new(key: &KeyOps) -> MultiRegister {
        let mut read = FastSet::default();
        for op in key.ops.iter().filter(|op| op.is_ok()) {
            let Action::Txn(asked) = op.action else { continue };
            let list = if let Seen::List(answered) = op.seen { answered } else { asked };
            for micro in key.micros(list).filter(|micro| !micro.writes && micro.value != UNREAD) {
                read.insert((micro.register, micro.value));
            }
        }
        MultiRegister { read }
    }

    fn start(&self, key: &KeyOps) -> Self::State {
        semantics::MultiRegister.start(key)
    }

    fn apply(&self, key: &KeyOps, state: &Self::State, op: &Op, next: &mut Vec<Self::State>) {
        next.extend(semantics::MultiRegister.apply(key, state, op));
    }

    fn bytes(state: &Self::State) -> usize {
        state.len() * 16
    }

    fn nature(&self, key: &KeyOps, op: &Op) -> Nature {
        let Action::Txn(asked) = op.action else { return Nature::Other };
        if key.micros(asked).any(|micro| micro.writes) { Nature::Other } else { Nature::Look }
    }

    /// A transaction that may not have happened and of which nobody read anything: between it and the next write to
    /// each register, nobody can have read that register, so that without it all is as it was.
    fn matters(&self, key: &KeyOps, op: &Op) -> bool {
        let Action::Txn(asked) = op.action else { return true };
        let is_read =
            |micro: Micro| micro.writes && self.read.contains(&(micro.register, micro.value));
        did_happen(op) && (op.ret != NEVER || key.micros(asked).any(is_read))
    }

    fn is_finite(&self) -> bool {
        true
    }
}

/// Keys of a key-value store.
#[derive(Clone, Debug)]
pub(super) struct Kv {
    /// Whether states that are a prefix of no value that was ever seen are all alike. Nothing sees such a state, and
    /// an append makes another such state of it; only a write leads out, whatever the state was. An increment,
    /// however, looks at the number that is there, whatever was seen.
    merges: bool,
    /// All values that were seen or expected, sorted.
    seen: Vec<Word>,
}

/// Stands for all values that are a prefix of none that was seen: no value has this tag.
const UNSEEN: &[u8] = b"?";

impl Kv {
    fn is_prefix(&self, key: &KeyOps, state: &[u8]) -> bool {
        let place = self.seen.partition_point(|&word| key.words.bytes(word) < state);
        self.seen.get(place).is_some_and(|&word| key.words.bytes(word).starts_with(state))
    }
}

impl Semantics for Kv {
    type State = Vec<u8>;

    fn new(key: &KeyOps) -> Kv {
        let mut seen: Vec<Word> = Vec::new();
        for op in &key.ops {
            if let Seen::Word(word) = op.seen {
                seen.push(word);
            }
            if let Action::Cas { expect, .. } = op.action {
                seen.push(expect);
            }
        }
        seen.sort_unstable();
        seen.dedup();
        seen.sort_by(|&one, &other| key.words.bytes(one).cmp(key.words.bytes(other)));
        let merges = !key.ops.iter().any(|op| matches!(op.action, Action::Incr(_)));
        Kv { merges, seen }
    }

    fn start(&self, key: &KeyOps) -> Vec<u8> {
        semantics::Kv.start(key)
    }

    fn apply(&self, key: &KeyOps, state: &Vec<u8>, op: &Op, next: &mut Vec<Vec<u8>>) {
        if state == UNSEEN && matches!(op.action, Action::Append(_)) && did_happen(op) {
            next.push(state.clone());
            return;
        }
        let Some(after) = semantics::Kv.apply(key, state, op) else { return };
        let is_unseen = self.merges && !self.is_prefix(key, &after);
        next.push(if is_unseen { UNSEEN.to_vec() } else { after });
    }

    fn bytes(state: &Vec<u8>) -> usize {
        state.len()
    }

    fn nature(&self, _: &KeyOps, op: &Op) -> Nature {
        match (op.action, did_happen(op)) {
            (Action::Read, _) | (_, false) => Nature::Look,
            (Action::Cas { expect, new }, _) if expect == new => Nature::Look,
            (Action::Cas { .. }, _) => Nature::Guarded,
            (Action::Write(_), _) => Nature::Reset,
            (Action::Append(_), _) => Nature::Blind,
            _ => Nature::Other,
        }
    }

    /// A write that may not have happened, of a value that is a prefix of none that was seen: nobody looks at the
    /// state before the next write, so that without it all is as it was.
    fn matters(&self, key: &KeyOps, op: &Op) -> bool {
        match (op.action, did_happen(op)) {
            (Action::Read, true) | (Action::Cas { .. }, false) => op.seen != Seen::Unknown,
            (_, false) => false,
            (Action::Write(word) | Action::Cas { new: word, .. }, _) if op.ret == NEVER => {
                !self.merges || self.is_prefix(key, key.words.bytes(word))
            }
            _ => true,
        }
    }

    fn is_finite(&self) -> bool {
        self.merges
    }
}
