//! Linearizability by definition: try all orders. Written apart from the checks, and as simply as possible.

use std::collections::HashSet;
use std::hash::Hash;

use crate::history::Outcome;
use crate::model::semantics::{
    AppendList, Counter, FifoQueue, Kv, MultiRegister, Mutex, Register, Set, UnorderedQueue,
};
use crate::model::{Model, Sequential};
use crate::ops::{Action, KeyOps, NEVER, Op, Seen, Word};

/// Whether some order of the operations explains what clients saw. At most 64 operations.
pub(crate) fn is_linearizable(key: &KeyOps) -> bool {
    match key.model {
        Model::Register | Model::CasRegister => by(&Register, key),
        Model::Append => by(&AppendList, key),
        Model::Counter => by(&Counter, key),
        Model::MultiRegister => by(&MultiRegister, key),
        Model::Kv => by(&Kv, key),
        Model::Set => by(&Set, key),
        Model::FifoQueue => by(&FifoQueue, key),
        Model::UnorderedQueue => {
            search(key, &UnorderedQueue.start(key), &|state, op| take_any(key, state, op))
        }
        Model::Mutex => by(&Mutex, key),
    }
}

/// For objects whose state after an operation is one.
fn by<M: Sequential>(model: &M, key: &KeyOps) -> bool {
    search(key, &model.start(key), &|state, op| model.apply(key, state, op).into_iter().collect())
}

/// A dequeue that does not say what it took may have taken anything; or nothing, if there was nothing.
fn take_any(key: &KeyOps, state: &Vec<Word>, op: &Op) -> Vec<Vec<Word>> {
    if (op.action, op.seen) != (Action::Dequeue, Seen::Unknown) || state.is_empty() {
        return UnorderedQueue.apply(key, state, op).into_iter().collect();
    }
    let without = |place: usize| {
        let mut after = state.clone();
        after.remove(place);
        after
    };
    (0..state.len()).map(without).collect()
}

fn search<S: Clone + Eq + Hash>(key: &KeyOps, start: &S, next: &dyn Fn(&S, &Op) -> Vec<S>) -> bool {
    let ops: Vec<Op> = key.ops.iter().filter(|op| says_something(op)).copied().collect();
    assert!(ops.len() <= 64, "too many operations to try all orders");
    place(&ops, 0, start, next, &mut HashSet::new())
}

/// What certainly failed had no effect; only a cas then says what it found.
fn says_something(op: &Op) -> bool {
    op.outcome != Outcome::Fail
        || matches!((op.action, op.seen), (Action::Cas { .. }, Seen::Word(_)))
}

fn is_certain(op: &Op) -> bool {
    op.outcome != Outcome::Open && op.ret != NEVER
}

/// Whether the operations that are not among `placed` can follow in some order.
fn place<S: Clone + Eq + Hash>(
    ops: &[Op],
    placed: u64,
    state: &S,
    next: &dyn Fn(&S, &Op) -> Vec<S>,
    known: &mut HashSet<(u64, S)>,
) -> bool {
    let left = || (0..ops.len()).filter(|n| placed & (1 << n) == 0);
    if !left().any(|n| is_certain(&ops[n])) {
        return true;
    }
    if !known.insert((placed, state.clone())) {
        return false;
    }
    let first_ret =
        left().filter(|&n| is_certain(&ops[n])).map(|n| ops[n].ret).min().unwrap_or(NEVER);
    // It may come next unless another one returned before it was called.
    left().filter(|&n| ops[n].call < first_ret).any(|n| {
        next(state, &ops[n]).iter().any(|after| place(ops, placed | (1 << n), after, next, known))
    })
}
