//! Fills increments in between the numbers that were seen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Passage;
use crate::check::direct::place::insert_free;
use crate::ops::{KeyOps, NEVER, Op, Position, Seen, index};

/// How many increments of other sizes to look past for one that fits.
const LOOK_PAST_MAX: usize = 16;

/// How many choices to try among these.
const CHOICES_MAX: usize = 2_000;

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
        if number < passage.before {
            waiting.take(passage.before - number, &mut order)?;
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

/// An increment that may come next, by return.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    ret: Position,
    id: u32,
    by: i128,
}

/// Increments that do not say where they belong.
struct Waiting {
    /// Not yet called, the next one last.
    ahead: Vec<(u32, i128)>,
    /// By return.
    now: BinaryHeap<Reverse<Next>>,
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
            self.now.push(Reverse(Next { ret: key.ops[index(id)].ret, id, by }));
        }
    }

    /// The most urgent ones that add just this much together.
    fn take(&mut self, sum: i128, order: &mut Vec<u32>) -> Option<()> {
        let (mut taken, mut passed) = (Vec::new(), Vec::new());
        let mut left = sum;
        while left > 0 && passed.len() <= LOOK_PAST_MAX {
            let Some(Reverse(next)) = self.now.pop() else { break };
            if next.by <= left {
                left -= next.by;
                taken.push(next);
            } else {
                passed.push(next);
            }
        }
        if left > 0 {
            // Others than the last of them may fit.
            let mut pool = taken.split_off(taken.len().saturating_sub(LOOK_PAST_MAX));
            left += pool.iter().map(|next| next.by).sum::<i128>();
            pool.append(&mut passed);
            pool.sort_unstable();
            let chosen = subset(&pool, left)?;
            for (next, is_chosen) in pool.into_iter().zip(chosen) {
                if is_chosen { &mut taken } else { &mut passed }.push(next);
            }
        }
        self.now.extend(passed.into_iter().map(Reverse));
        order.extend(taken.into_iter().map(|next| next.id));
        Some(())
    }

    /// Those that happened after everything that was seen.
    fn rest(self, key: &KeyOps) -> Vec<u32> {
        let waiting = self.now.into_iter().map(|Reverse(next)| next.id);
        let ahead = self.ahead.into_iter().map(|(id, _)| id);
        let mut rest: Vec<u32> =
            waiting.chain(ahead).filter(|&id| key.ops[index(id)].is_ok()).collect();
        rest.sort_unstable();
        rest
    }
}

/// Which of these add up to the sum, as many of the first ones as possible.
fn subset(pool: &[Next], sum: i128) -> Option<Vec<bool>> {
    let mut chosen: Vec<bool> = Vec::with_capacity(pool.len());
    let mut left = sum;
    for _ in 0..CHOICES_MAX {
        if left == 0 {
            chosen.resize(pool.len(), false);
            return Some(chosen);
        }
        if let (true, Some(next)) = (left > 0, pool.get(chosen.len())) {
            left -= next.by;
            chosen.push(true);
            continue;
        }
        // The last one that was chosen goes.
        while chosen.pop_if(|is_chosen| !*is_chosen).is_some() {}
        let place = chosen.len().checked_sub(1)?;
        left += pool[place].by;
        chosen[place] = false;
    }
    None
}
