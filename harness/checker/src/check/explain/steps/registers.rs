//! Registers: reads, writes, cas.

use super::unseen::{Look, Make, unseen};
use super::{Alike, Out, changes_nothing, retain};
use crate::ops::{Action, KeyOps, NEVER, Op, Seen, Word, index};

pub(super) fn without(key: &KeyOps, out: &Out) -> Option<KeyOps> {
    let mut gone: Vec<bool> = key
        .ops
        .iter()
        .enumerate()
        .map(|(number, op)| out.op(number) && changes_nothing(key, op))
        .collect();
    let mut makes = Vec::new();
    let mut makers = Vec::new();
    let mut looks = Vec::new();
    for (number, op) in key.ops.iter().enumerate().filter(|(number, _)| !gone[*number]) {
        let looks_at = looks_at(op);
        looks.extend(looks_at.map(|slot| Look { slot, call: op.call, ret: op.ret }));
        if let Some(slot) = op.writes() {
            let is_out = out.op(number);
            makes.push(Make { register: 0, slot, call: op.call, ret: op.ret, is_out, looks_at });
            makers.push(number);
        }
    }
    let unseen = unseen(&makes, &looks, key.words.len(), 1);
    for (&number, unseen) in makers.iter().zip(unseen) {
        gone[number] |= unseen;
    }
    gone.contains(&true).then(|| retain(key, |number, _| !gone[number]))
}

/// Of writes and cas of unknown outcome that do the same, as many as there are looks at their value: of those that
/// nobody looks at while their value stands, a linearization can do without.
pub(super) fn that_can_matter(key: &KeyOps) -> Option<Vec<bool>> {
    let is_open = |op: &Op| op.ret == NEVER && op.writes().is_some();
    if !key.ops.iter().any(is_open) {
        return None;
    }
    let mut lookers = vec![0_usize; key.words.len()];
    for word in key.ops.iter().filter_map(looks_at) {
        lookers[index(word)] += 1;
    }
    let mut alike = Alike::default();
    let keep = |op: &Op| match op.writes() {
        Some(word) if op.ret == NEVER => alike.keep(op, lookers[index(word)]),
        _ => true,
    };
    Some(key.ops.iter().map(keep).collect())
}

/// The value that it found or needs to find.
pub(in crate::check::explain) fn looks_at(op: &Op) -> Option<Word> {
    match (op.action, op.seen) {
        (Action::Cas { expect, .. }, _) if op.may_count() => Some(expect),
        (Action::Read, Seen::Word(word)) => Some(word),
        (_, Seen::Word(word)) if !op.may_count() => Some(word),
        _ => None,
    }
}
