//! A queue that gives elements back in the order in which they came: `enqueue`, `dequeue`.

use std::collections::VecDeque;

use super::Sequential;
use super::sequential::initial_items;
use super::spec::{Bad, Spec, Values, initial_list, no_operation};
use crate::ops::{Action, KeyOps, NOTHING, Op, Seen, Word};

/// `fifo-queue`.
pub(super) const SPEC: Spec = Spec {
    name: "fifo-queue",
    functions: &["enqueue", "dequeue"],
    call,
    answer,
    initial: initial_list,
    function,
};

pub(super) fn call(values: &mut Values<'_, '_>) -> Result<Action, Bad> {
    match values.f {
        "enqueue" => values.something().map(Action::Enqueue),
        "dequeue" => Ok(Action::Dequeue),
        _ => Err(Bad::Function),
    }
}

/// What was dequeued; null: the queue was empty.
pub(super) fn answer(values: &mut Values<'_, '_>, action: Action) -> Result<Seen, Bad> {
    if action == Action::Dequeue { values.scalar().map(Seen::Word) } else { Ok(Seen::Unknown) }
}

pub(super) fn function(action: &Action) -> &'static str {
    match action {
        Action::Enqueue(_) => "enqueue",
        Action::Dequeue => "dequeue",
        other => no_operation(other),
    }
}

/// A queue that gives elements back in the order in which they came: `enqueue`, `dequeue`.
#[derive(Clone, Copy, Debug)]
pub struct FifoQueue;

impl Sequential for FifoQueue {
    type State = VecDeque<Word>;

    fn start(&self, key: &KeyOps) -> VecDeque<Word> {
        initial_items(key).into()
    }

    fn apply(&self, _: &KeyOps, state: &VecDeque<Word>, op: &Op) -> Option<VecDeque<Word>> {
        let mut after = state.clone();
        match (op.action, op.seen) {
            (Action::Enqueue(word), _) => after.push_back(word),
            (Action::Dequeue, Seen::Word(word)) => {
                if after.pop_front().unwrap_or(NOTHING) != word {
                    return None;
                }
            }
            // Whatever was there is gone.
            (Action::Dequeue, Seen::Unknown) => drop(after.pop_front()),
            _ => return None,
        }
        Some(after)
    }
}
