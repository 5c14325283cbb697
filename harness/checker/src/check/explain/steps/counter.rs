//! Counters: reads, and increments that may say the sum.

use super::{Out, TOLD, changes_nothing, rebuild};
use crate::ops::{Action, KeyOps, Op, Seen};

/// Leaves out reads, forgets sums, and counts increments that certainly came before everything that still says a
/// number to the initial number.
pub(super) fn without(key: &KeyOps, out: &Out) -> Option<KeyOps> {
    let tells = |op: &Op| matches!(op.seen, Seen::Number(_));
    let first = key
        .ops
        .iter()
        .enumerate()
        .filter(|(number, op)| tells(op) && !out.op(*number))
        .map(|(_, op)| op.call)
        .min();
    // What forced the state belongs to the story, as long as it is short enough to be told.
    let may_fold = fits(key) && key.ops.len() > TOLD;
    let initial = key.initial_number();
    let mut folded = 0;
    let mut any = false;
    let change = |number: usize, op: &Op| {
        if !out.op(number) {
            return Some(*op);
        }
        if changes_nothing(key, op) {
            any = true;
            return None;
        }
        if let Action::Incr(by) = op.action
            && op.is_ok()
            && may_fold
            && Some(op.ret) < first
        {
            any = true;
            folded += by;
            return None;
        }
        any |= tells(op);
        Some(Op { seen: Seen::Unknown, ..*op })
    };
    let mut smaller = rebuild(key, change, |_, _, _| true);
    if folded != 0 {
        smaller.initial = Seen::Number(initial + folded);
    }
    any.then_some(smaller)
}

/// Whether no order of the increments can overflow: where one can, it depends on the order which of them happen.
fn fits(key: &KeyOps) -> bool {
    let size = |number: i64| u128::from(number.unsigned_abs());
    let sum: u128 = key.ops.iter().filter_map(Op::adds).map(size).sum();
    sum + size(key.initial_number()) < u128::from(i64::MAX.unsigned_abs())
}
