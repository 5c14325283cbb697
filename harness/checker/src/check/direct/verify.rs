//! Whether a sequence of operations is an order that explains the history: the definition of linearizability, read off
//! one operation at a time.
//!
//! Every "linearizable" of the tests without a search rests on this file and on [`super::replay`], and on nothing else:
//! whoever proposes an order may be wrong and it costs nothing but time.

use super::replay::{self, Replay};
use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{Action, KeyOps, Op, Position, Seen, index};

/// Why a sequence of operations is not an order that explains the history. Operations are indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// There is no such operation.
    #[error("there is no operation {0}")]
    NotAnOperation(u32),
    /// It is in the sequence more than once.
    #[error("operation {0} occurs twice")]
    Repeated(u32),
    /// It certainly had no effect and says nothing, but is in the sequence.
    #[error("operation {0} failed")]
    Failed(u32),
    /// It certainly happened, but is not in the sequence.
    #[error("operation {0} is missing")]
    Missing(u32),
    /// It returned before an operation was called that stands before it.
    #[error("operation {op} returned before operation {after} was called, but stands behind it")]
    BehindLater {
        /// What stands too late.
        op: u32,
        /// What stands before it.
        after: u32,
    },
    /// The object, in the state in which it is then, does not do that.
    #[error("operation {0} cannot happen where it stands")]
    Refused(u32),
}

/// Whether it is certain that the operation happened: it was acknowledged, or failed and says what it found.
pub(super) fn is_certain(op: &Op) -> bool {
    match op.outcome {
        Outcome::Ok => true,
        Outcome::Fail => says_what_it_found(op),
        Outcome::Open => false,
    }
}

/// A failed cas that says why, which makes it a read.
pub(super) fn says_what_it_found(op: &Op) -> bool {
    op.outcome == Outcome::Fail
        && matches!(op.action, Action::Cas { .. })
        && matches!(op.seen, Seen::Word(_))
}

/// Checks an order against all operations, real time and the model. It believes nothing.
pub fn verify(key: &KeyOps, order: &[u32]) -> Result<(), Flaw> {
    match key.model {
        Model::Register | Model::CasRegister => with(replay::Register::of(key), key, order),
        Model::Append => with(replay::AppendList::of(key), key, order),
        Model::Counter => with(replay::Counter::of(key), key, order),
        Model::MultiRegister => with(replay::MultiRegister::of(key), key, order),
        Model::Kv => with(replay::Kv::of(key), key, order),
        Model::Set => with(replay::Set::of(key), key, order),
        Model::FifoQueue => with(replay::FifoQueue::of(key), key, order),
        Model::UnorderedQueue => with(replay::UnorderedQueue::of(key), key, order),
        Model::Mutex => with(replay::Mutex::of(key), key, order),
    }
}

fn with(mut object: impl Replay, key: &KeyOps, order: &[u32]) -> Result<(), Flaw> {
    let mut placed = vec![false; key.ops.len()];
    let mut latest = Latest::default();
    for &id in order {
        let (Some(op), Some(is_placed)) = (key.ops.get(index(id)), placed.get_mut(index(id)))
        else {
            return Err(Flaw::NotAnOperation(id));
        };
        if std::mem::replace(is_placed, true) {
            return Err(Flaw::Repeated(id));
        }
        if op.outcome == Outcome::Fail && !says_what_it_found(op) {
            return Err(Flaw::Failed(id));
        }
        if op.ret < latest.call {
            return Err(Flaw::BehindLater { op: id, after: latest.op });
        }
        latest.extend(id, op);
        if !object.apply(key, op) {
            return Err(Flaw::Refused(id));
        }
    }
    for ((op, is_placed), id) in key.ops.iter().zip(placed).zip(0..) {
        if !is_placed && is_certain(op) {
            return Err(Flaw::Missing(id));
        }
    }
    Ok(())
}

/// Of the operations so far, the one that was called last.
#[derive(Clone, Copy, Default)]
struct Latest {
    call: Position,
    op: u32,
}

impl Latest {
    fn extend(&mut self, id: u32, op: &Op) {
        if op.call >= self.call {
            *self = Latest { call: op.call, op: id };
        }
    }
}
