//! Mutexes: acquires and releases alternate.
//!
//! Whenever an acquire is next, the one that returns first among those that may come next is as good as any: another
//! that took its place could change places with it. The same holds for releases. So there is nothing to search for: if at
//! some point the operation that has to come next is of the wrong kind, and none of the right kind is there, then no
//! order exists. Those of unknown outcome return last of all, so they are used only where nothing else is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Contradictions;
use super::verify::is_certain;
use crate::check::decision::{Anomaly, Contradiction};
use crate::ops::{Action, KeyOps, Op, Position, Seen, index};

/// The order, if there is one.
pub(super) fn order(key: &KeyOps) -> Option<Vec<u32>> {
    let mut schedule = Schedule::of(key)?;
    schedule.run().is_none().then_some(schedule.order)
}

/// Acquires that are more than the releases between them allow, or the other way round.
pub(super) fn contradictions(key: &KeyOps, found: &mut Contradictions) {
    let Some(mut schedule) = Schedule::of(key) else { return };
    let windows = [Windows::of(key, Action::Acquire), Windows::of(key, Action::Release)];
    let mut is_out = vec![false; key.ops.len()];
    while let Some(blocked) = schedule.run() {
        let kind = kind(&key.ops[index(blocked)]);
        let Some(start) = windows[kind].start(key, blocked, &is_out) else { return };
        found.add(|| Contradiction {
            anomaly: Anomaly::MutualExclusion,
            ops: windows[kind].ops(key, start, blocked, &is_out),
        });
        is_out[index(blocked)] = true;
    }
}

/// 0 for an acquire, 1 for a release.
fn kind(op: &Op) -> usize {
    usize::from(op.action == Action::Release)
}

/// Places operations one after the other.
struct Schedule<'a> {
    key: &'a KeyOps,
    held: bool,
    order: Vec<u32>,
    is_placed: Vec<bool>,
    /// What certainly happened, by return, the next one last.
    urgent: Vec<u32>,
    /// What is called later, the next one last.
    ahead: Vec<u32>,
    /// By kind: what may come next, by return.
    ready: [BinaryHeap<Reverse<(Position, u32)>>; 2],
}

impl<'a> Schedule<'a> {
    fn of(key: &'a KeyOps) -> Option<Schedule<'a>> {
        let counting = || key.ops.iter().zip(0..).filter(|(op, _)| op.may_count());
        let belongs = |op: &Op| matches!(op.action, Action::Acquire | Action::Release);
        if !counting().all(|(op, _)| belongs(op)) {
            return None;
        }
        let mut urgent: Vec<u32> =
            counting().filter(|(op, _)| is_certain(op)).map(|(_, id)| id).collect();
        urgent.sort_unstable_by_key(|&id| Reverse(key.ops[index(id)].ret));
        let mut ahead: Vec<u32> = counting().map(|(_, id)| id).collect();
        ahead.reverse();
        Some(Schedule {
            key,
            held: key.initial_number() != 0,
            order: Vec::with_capacity(key.ops.len()),
            is_placed: vec![false; key.ops.len()],
            urgent,
            ahead,
            ready: [BinaryHeap::new(), BinaryHeap::new()],
        })
    }

    /// Goes on to the end, or to an operation that has to come next and cannot. That one is left out if it is called again.
    fn run(&mut self) -> Option<u32> {
        while let Some(&urgent) = self.urgent.last() {
            if self.is_placed[index(urgent)] {
                self.urgent.pop();
                continue;
            }
            let first_return = self.key.ops[index(urgent)].ret;
            while let Some(id) =
                self.ahead.pop_if(|id| self.key.ops[index(*id)].call < first_return)
            {
                let op = &self.key.ops[index(id)];
                self.ready[kind(op)].push(Reverse((op.ret, id)));
            }
            let Some(next) = self.next() else {
                self.is_placed[index(urgent)] = true;
                return Some(urgent);
            };
            self.is_placed[index(next)] = true;
            self.order.push(next);
            self.held = !self.held;
        }
        None
    }

    fn next(&mut self) -> Option<u32> {
        let ready = &mut self.ready[usize::from(self.held)];
        loop {
            let Reverse((_, id)) = ready.pop()?;
            // One that was blocked was left out.
            if !self.is_placed[index(id)] {
                return Some(id);
            }
        }
    }
}

/// Counts in a stretch of time how many operations of a kind are in it, and how many of the other may be.
struct Windows {
    action: Action,
    /// By call.
    own: Vec<u32>,
    others_by_call: Vec<Position>,
    others_by_return: Vec<Position>,
    /// What the state is before the first operation, these operations cannot begin with.
    begins_wrong: bool,
}

impl Windows {
    fn of(key: &KeyOps, action: Action) -> Windows {
        let others = || key.ops.iter().filter(|op| op.may_count() && op.action != action);
        let mut others_by_return: Vec<Position> = others().map(|op| op.ret).collect();
        others_by_return.sort_unstable();
        let own = key.ops.iter().zip(0..).filter(|(op, _)| is_certain(op) && op.action == action);
        let held = matches!(key.initial, Seen::Number(number) if number != 0);
        Windows {
            action,
            own: own.map(|(_, id)| id).collect(),
            others_by_call: others().map(|op| op.call).collect(),
            others_by_return,
            begins_wrong: held == (action == Action::Acquire),
        }
    }

    /// Where the shortest stretch up to the return of `last` begins in which there are too many.
    fn start(&self, key: &KeyOps, last: u32, is_out: &[bool]) -> Option<Position> {
        let end = key.ops[index(last)].ret;
        let called = self.others_by_call.partition_point(|&call| call < end);
        let mut inside = 0;
        let at = self.own.partition_point(|&id| key.ops[index(id)].call < end);
        for &id in self.own[..at].iter().rev() {
            let op = &key.ops[index(id)];
            if op.ret > end || is_out[index(id)] {
                continue;
            }
            inside += 1;
            let returned = self.others_by_return.partition_point(|&ret| ret < op.call);
            if inside >= called - returned + 2 {
                return Some(op.call);
            }
        }
        (self.begins_wrong && inside > called).then_some(0)
    }

    fn ops(&self, key: &KeyOps, start: Position, last: u32, is_out: &[bool]) -> Vec<u32> {
        let end = key.ops[index(last)].ret;
        let counts = |(op, id): &(&Op, u32)| {
            if op.action == self.action {
                is_certain(op) && op.call >= start && op.ret <= end && !is_out[index(*id)]
            } else {
                op.may_count() && op.call < end && op.ret > start
            }
        };
        key.ops.iter().zip(0..).filter(counts).map(|(_, id)| id).collect()
    }
}
