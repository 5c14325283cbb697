//! Counters: what has been added for sure by the time of a read, and what may have been, bound what it returns.
//!
//! If all increments have the same sign, numbers fix the order of those who saw them, and how much was added between
//! two. Which increments those were is a matter of deadlines: the one that returned first goes first. For increments of
//! one size this finds an order whenever there is one.

mod bounds;
mod fill;

use std::cmp::Ordering;

pub(super) use self::bounds::largest;

use super::Contradictions;
use crate::ops::{Action, KeyOps, Op, Seen};

/// An order in which the numbers ascend, or descend.
pub(super) fn order(key: &KeyOps) -> Option<Vec<u32>> {
    fill::order(key, sign(key)?)
}

/// Numbers that are out of bounds, that went back, or that two increments returned.
pub(super) fn contradictions(key: &KeyOps, found: &mut Contradictions) {
    if is_counter(key) {
        bounds::find(key, found);
    }
}

fn is_counter(key: &KeyOps) -> bool {
    key.ops.iter().filter(|op| op.may_count()).all(|op| {
        matches!(op.action, Action::Read | Action::Incr(_))
            && matches!(op.seen, Seen::Unknown | Seen::Number(_))
    })
}

/// 1 if no increment may have made it less, -1 if none may have made it more. `None` if it may go up and down.
fn sign(key: &KeyOps) -> Option<i64> {
    if !is_counter(key) {
        return None;
    }
    let steps = || key.ops.iter().filter(|op| op.may_count()).filter_map(Op::adds);
    if steps().all(|by| by >= 0) { Some(1) } else { steps().all(|by| by <= 0).then_some(-1) }
}

/// The number right before and right after an operation that says it.
#[derive(Clone, Copy)]
struct Passage {
    before: i128,
    after: i128,
    id: u32,
}

impl Passage {
    /// Seen from below if the sign is 1, and else from above.
    fn of(op: &Op, id: u32, sign: i64) -> Option<Passage> {
        let Seen::Number(number) = op.seen else { return None };
        if !op.is_ok() {
            return None;
        }
        let after = i128::from(number);
        let before = after - i128::from(op.adds().unwrap_or(0));
        let sign = i128::from(sign);
        Some(Passage { before: sign * before, after: sign * after, id })
    }

    fn compare(&self, other: &Passage) -> Ordering {
        (self.after, self.before, self.id).cmp(&(other.after, other.before, other.id))
    }
}
