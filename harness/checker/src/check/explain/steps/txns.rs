//! Transactions on several registers: each register by itself is one like any other, and nothing but the place of the
//! transaction in the order ties them together.

use std::collections::BTreeMap;

use super::unseen::{Look, Make, unseen};
use super::{Out, in_force, rebuild};
use crate::ops::{KeyOps, Micro, Op, UNREAD, Word, index};

/// A value in a register, as a number.
#[derive(Default)]
struct Slots(BTreeMap<(Word, Word), u32>);

impl Slots {
    fn of(&mut self, micro: Micro) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry((micro.register, micro.value)).or_insert(next)
    }
}

pub(super) fn without(key: &KeyOps, out: &Out) -> Option<KeyOps> {
    // By step, counted through all transactions.
    let mut gone = Vec::new();
    let mut starts = Vec::with_capacity(key.ops.len());
    let mut slots = Slots::default();
    let (mut makes, mut makers, mut looks) = (Vec::new(), Vec::new(), Vec::new());
    for (number, op) in key.ops.iter().enumerate() {
        starts.push(gone.len());
        for micro in key.micros(in_force(op)) {
            let step = gone.len();
            let is_out = out.op(number) || out.micro(step);
            gone.push(out.word(micro.register) || is_out && !micro.writes);
            if gone[step] || !op.may_count() {
                continue;
            }
            if micro.writes {
                let (slot, register) = (slots.of(micro), micro.register);
                let (call, ret, looks_at) = (op.call, op.ret, None);
                makes.push(Make { register, slot, call, ret, is_out, looks_at });
                makers.push(step);
            } else if micro.value != UNREAD {
                looks.push(Look { slot: slots.of(micro), call: op.call, ret: op.ret });
            }
        }
    }
    let unseen = unseen(&makes, &looks, slots.0.len(), key.words.len());
    for (&step, unseen) in makers.iter().zip(unseen) {
        gone[step] |= unseen;
    }
    gone.contains(&true).then(|| {
        rebuild(
            key,
            |_, op| op.may_count().then_some(*op),
            |op, step, register| match op {
                Some(op) => !gone[starts[op] + step],
                None => !out.word(register),
            },
        )
    })
}

/// The state that a transaction found, of the registers that it reads before it writes them, and the history without
/// those registers that it does not tell about.
pub(super) fn found(key: &KeyOps, op: &Op) -> (Vec<Word>, KeyOps) {
    let mut told = vec![false; key.words.len()];
    let mut state = Vec::new();
    for micro in key.micros(in_force(op)) {
        let told = &mut told[index(micro.register)];
        if !*told && !micro.writes && micro.value != UNREAD {
            state.extend(Micro { writes: true, ..micro }.to_items());
        }
        *told |= micro.writes || micro.value != UNREAD;
    }
    (state, rebuild(key, |_, op| Some(*op), |_, _, register| told[index(register)]))
}
