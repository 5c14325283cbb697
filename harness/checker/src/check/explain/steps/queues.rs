//! Queues. Without an element, wherever it is mentioned, each state of a linearization is the same without it: an
//! empty queue stays empty, the element that is in front and is taken next is still in front. A dequeue of unknown
//! outcome that took the element is left out of the linearization, as it may not have happened. That would not do for
//! a dequeue that is known to have happened but not what it took: its outcome is forgotten first.

use super::{Out, changes_nothing, rebuild, retain, weaken};
use crate::ops::{Action, KeyOps, NOTHING, Op, Seen, Word, index};

pub(super) fn without(key: &KeyOps, out: &Out) -> Option<KeyOps> {
    let is_element = |op: &Op| match (op.action, op.seen) {
        (Action::Enqueue(word), _) | (Action::Dequeue, Seen::Word(word)) => out.word(word),
        _ => false,
    };
    let keep = |number: usize, op: &Op| {
        !(is_element(op) && op.may_count() || out.op(number) && changes_nothing(key, op))
    };
    let initial = if let Seen::List(list) = key.initial { key.list(list) } else { &[] };
    let any_element = key.ops.iter().any(is_element) || initial.iter().any(|&word| out.word(word));
    let any_op = key.ops.iter().enumerate().any(|(number, op)| !keep(number, op));
    if !any_element {
        return any_op.then(|| retain(key, keep));
    }
    let change = |number: usize, op: &Op| {
        let takes_unknown = op.is_ok() && op.action == Action::Dequeue && op.seen == Seen::Unknown;
        keep(number, op).then(|| if takes_unknown { weaken(*op) } else { *op })
    };
    Some(rebuild(key, change, |_, _, word| !out.word(word)))
}

/// Of dequeues of unknown outcome, as many as there are elements left for them to take: one that found the queue empty
/// does not matter, and the others may as well be the earliest.
pub(super) fn that_can_matter(key: &KeyOps) -> Option<Vec<bool>> {
    let is_unknown = |op: &Op| op.action == Action::Dequeue && !op.is_ok() && op.may_count();
    if !key.ops.iter().any(is_unknown) {
        return None;
    }
    let mut put = vec![0_usize; key.words.len()];
    let mut taken = vec![0_usize; key.words.len()];
    let count = |counts: &mut Vec<usize>, word: Word| counts[index(word)] += 1;
    if let Seen::List(list) = key.initial {
        key.list(list).iter().for_each(|&word| count(&mut put, word));
    }
    for op in key.ops.iter().filter(|op| op.may_count()) {
        match (op.action, op.seen) {
            (Action::Enqueue(word), _) => count(&mut put, word),
            (Action::Dequeue, Seen::Word(word)) if word != NOTHING => count(&mut taken, word),
            _ => {}
        }
    }
    let mut left: usize =
        put.iter().zip(&taken).map(|(put, taken)| put.saturating_sub(*taken)).sum();
    let keep = |op: &Op| {
        if !is_unknown(op) {
            return true;
        }
        let keep = left > 0;
        left = left.saturating_sub(1);
        keep
    };
    Some(key.ops.iter().map(keep).collect())
}
