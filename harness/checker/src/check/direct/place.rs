//! Orders that follow from real time alone, for what fits any state or nothing better is known about.

use super::verify::is_certain;
use crate::ops::{KeyOps, NEVER, index};

/// Inserts operations that happened and say nothing about the state where real time wants them.
///
/// Each goes right before the first that was called after it had returned: whatever has to come before it returned
/// before that one was called too, so that it cannot stand further back in an order that respects real time.
pub(super) fn insert_free(key: &KeyOps, order: Vec<u32>, mut free: Vec<u32>) -> Vec<u32> {
    free.retain(|&id| is_certain(&key.ops[index(id)]));
    if free.is_empty() {
        return order;
    }
    free.sort_unstable_by_key(|&id| key.ops[index(id)].ret);
    let mut free = free.into_iter().peekable();
    let mut all = Vec::with_capacity(order.len() + free.len());
    let mut latest_call = 0;
    for id in order {
        latest_call = latest_call.max(key.ops[index(id)].call);
        while let Some(early) = free.next_if(|&early| key.ops[index(early)].ret < latest_call) {
            all.push(early);
        }
        all.push(id);
    }
    all.extend(free);
    all
}

/// The same as early as real time allows: right behind the last that returned before it was called.
pub(super) fn insert_early(key: &KeyOps, order: Vec<u32>, mut free: Vec<u32>) -> Vec<u32> {
    if free.is_empty() {
        return order;
    }
    free.sort_unstable_by_key(|&id| key.ops[index(id)].call);
    let mut all = Vec::with_capacity(order.len() + free.len());
    let mut first_return = NEVER;
    for id in order.into_iter().rev() {
        first_return = first_return.min(key.ops[index(id)].ret);
        while let Some(late) = free.pop_if(|late| first_return < key.ops[index(*late)].call) {
            all.push(late);
        }
        all.push(id);
    }
    all.extend(free.into_iter().rev());
    all.reverse();
    all
}

/// What certainly happened in order of return: right if little happens at once.
pub(super) fn by_return(key: &KeyOps) -> Vec<u32> {
    let certain = key.ops.iter().zip(0..).filter(|(op, _)| is_certain(op));
    let mut order: Vec<u32> = certain.map(|(_, id)| id).collect();
    order.sort_unstable_by_key(|&id| key.ops[index(id)].ret);
    order
}
