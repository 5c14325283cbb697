//! Lists and sets. Let φ take a word out of a state. An operation that leads from a state s to t leads, without the
//! word, from φ(s) to φ(t): what it saw of the state is φ of that, and if all that it does is to add or to remove the
//! word, φ(s) is φ(t). So the states φ of a linearization are those of one of the history without the word.

use super::{Out, changes_nothing, rebuild};
use crate::ops::{Action, KeyOps, Op, Seen, Word, index};

/// Tokens and reads of a list.
pub(super) fn without_tokens(key: &KeyOps, out: &Out) -> Option<KeyOps> {
    let keep = |number: usize, op: &Op| match op.appends() {
        Some(token) if op.may_count() => !out.word(token),
        _ => !(out.op(number) && changes_nothing(key, op)),
    };
    smaller(key, out, keep)
}

/// Elements, reads, additions and removals of a set.
///
/// Each element is a register with the values `in` and `out`, and a read looks at all of them. So additions can be
/// left out one by one if no read has the element, and removals if every read has it.
pub(super) fn without_elements(key: &KeyOps, out: &Out) -> Option<KeyOps> {
    let is_left =
        |number: usize, op: &Op| !(out.op(number) && changes_nothing(key, op)) && op.may_count();
    let mut reads = 0_u32;
    let mut having = vec![0_u32; key.words.len()];
    let mut last = vec![usize::MAX; key.words.len()];
    for (number, op) in key.ops.iter().enumerate().filter(|(number, op)| is_left(*number, op)) {
        let Seen::List(list) = op.seen else { continue };
        reads += 1;
        for &word in key.list(list) {
            // A set that is written down with an element twice still has it once.
            if std::mem::replace(&mut last[index(word)], number) != number {
                having[index(word)] += 1;
            }
        }
    }
    let keep = |number: usize, op: &Op| match (op.action, op.may_count()) {
        (Action::Add(word) | Action::Remove(word), true) if out.word(word) => false,
        (Action::Add(word), true) => !(out.op(number) && having[index(word)] == 0),
        (Action::Remove(word), true) => !(out.op(number) && having[index(word)] == reads),
        _ => is_left(number, op),
    };
    smaller(key, out, keep)
}

fn smaller(key: &KeyOps, out: &Out, keep: impl Fn(usize, &Op) -> bool) -> Option<KeyOps> {
    let keep_item = |_: Option<usize>, _: usize, word: Word| !out.word(word);
    let smaller = rebuild(key, |number, op| keep(number, op).then_some(*op), keep_item);
    let is_smaller = smaller.ops.len() < key.ops.len() || smaller.items.len() < lists_len(key);
    is_smaller.then_some(smaller)
}

/// How many items are in lists that are still in use.
fn lists_len(key: &KeyOps) -> usize {
    let len = |seen: Seen| if let Seen::List(list) = seen { index(list.len) } else { 0 };
    len(key.initial) + key.ops.iter().map(|op| len(op.seen)).sum::<usize>()
}
