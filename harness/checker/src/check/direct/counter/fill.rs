//! Fills increments in between the numbers that were seen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Passage;
use crate::check::direct::place::insert_free;
use crate::ops::{KeyOps, NEVER, Op, Position, Seen, index};

/// How many increments of other sizes to look past for one that fits.
const LOOK_PAST_MAX: usize = 16;

/// The order, unless an increment that would fit is not found.
pub(super) fn order(key: &KeyOps, sign: i64) -> Option<Vec<u32>> {
    let mut passages: Vec<Passage> =
        key.ops.iter().zip(0..).filter_map(|(op, id)| Passage::of(op, id, sign)).collect();
    passages.sort_unstable_by(Passage::compare);
    let mut first_return = NEVER;
    let mut room: Vec<Position> = passages
        .iter()
        .rev()
        .map(|passage| {
            first_return = first_return.min(key.ops[index(passage.id)].ret);
            first_return
        })
        .collect();
    let mut order = Vec::with_capacity(key.ops.len());
    let mut waiting = Waiting::of(key, sign);
    let mut number = i128::from(sign) * i128::from(key.initial_number());
    for passage in passages {
        // Whatever comes before it comes before all that follow it, too.
        waiting.admit(key, room.pop().unwrap_or(NEVER));
        while number < passage.before {
            let (id, by) = waiting.take(passage.before - number)?;
            number += by;
            order.push(id);
        }
        number = passage.after;
        order.push(passage.id);
    }
    order.extend(waiting.rest(key));
    let silent = |op: &Op| {
        let changes_nothing = op.adds().is_none_or(|by| by == 0);
        op.is_ok() && changes_nothing && op.seen == Seen::Unknown
    };
    let free = key.ops.iter().zip(0..).filter(|(op, _)| silent(op)).map(|(_, id)| id).collect();
    Some(insert_free(key, order, free))
}

/// Increments that do not say where they belong.
struct Waiting {
    /// Not yet called, the next one last.
    ahead: Vec<(u32, i128)>,
    /// By return.
    now: BinaryHeap<Reverse<(Position, u32, i128)>>,
}

impl Waiting {
    fn of(key: &KeyOps, sign: i64) -> Waiting {
        let blind = key.ops.iter().zip(0..).filter_map(|(op, id)| {
            let by = op.adds().filter(|&by| by != 0 && op.may_count())?;
            let says = op.is_ok() && matches!(op.seen, Seen::Number(_));
            (!says).then_some((id, i128::from(sign) * i128::from(by)))
        });
        let mut ahead: Vec<(u32, i128)> = blind.collect();
        ahead.reverse();
        Waiting { ahead, now: BinaryHeap::new() }
    }

    /// Those that were called before this position.
    fn admit(&mut self, key: &KeyOps, before: Position) {
        while let Some((id, by)) = self.ahead.pop_if(|(id, _)| key.ops[index(*id)].call < before) {
            self.now.push(Reverse((key.ops[index(id)].ret, id, by)));
        }
    }

    /// The most urgent one that adds no more than this.
    fn take(&mut self, most: i128) -> Option<(u32, i128)> {
        let mut passed = Vec::new();
        let mut taken = None;
        while let Some(next) = self.now.pop() {
            let Reverse((_, id, by)) = next;
            if by <= most {
                taken = Some((id, by));
                break;
            }
            passed.push(next);
            if passed.len() > LOOK_PAST_MAX {
                break;
            }
        }
        self.now.extend(passed);
        taken
    }

    /// Those that happened after everything that was seen.
    fn rest(self, key: &KeyOps) -> Vec<u32> {
        let waiting = self.now.into_iter().map(|Reverse((_, id, _))| id);
        let ahead = self.ahead.into_iter().map(|(id, _)| id);
        let mut rest: Vec<u32> =
            waiting.chain(ahead).filter(|&id| key.ops[index(id)].is_ok()).collect();
        rest.sort_unstable();
        rest
    }
}
