//! Which values of registers nobody can have seen.

use crate::ops::{NEVER, Position, index};

/// An operation gives a register a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Make {
    /// The register.
    pub(super) register: u32,
    /// The value in that register.
    pub(super) slot: u32,
    pub(super) call: Position,
    pub(super) ret: Position,
    /// It is wanted out.
    pub(super) is_out: bool,
    /// The value that the same operation looks at, and no longer does if it is left out.
    pub(super) looks_at: Option<u32>,
}

/// An operation says that a register has a value, or needs it to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) slot: u32,
    pub(super) call: Position,
    pub(super) ret: Position,
}

/// Which of these can be left out, of those that are wanted out. `makes` are in order of their calls; the looks of
/// those that have [`Make::looks_at`] are among `looks` too.
pub(super) fn unseen(makes: &[Make], looks: &[Look], slots: usize, registers: usize) -> Vec<bool> {
    let mut lookers = vec![0_u32; slots];
    for look in looks {
        lookers[index(look.slot)] += 1;
    }
    let needed = needed(makes, &lookers);
    let gone = makes.iter().map(|make| make.is_out && !needed[index(make.slot)]);
    let mut gone: Vec<bool> = gone.collect();
    for (make, _) in makes.iter().zip(&gone).filter(|(_, gone)| **gone) {
        if let Some(slot) = make.looks_at {
            lookers[index(slot)] -= 1;
        }
    }
    overwritten(makes, looks, (slots, registers), (&lookers, &mut gone));
    gone
}

/// By value: whether somebody looks at it who stays, if all go that are wanted out, but for those that make such a value;
/// they stay, and look in turn.
fn needed(makes: &[Make], lookers: &[u32]) -> Vec<bool> {
    let mut left = lookers.to_vec();
    let mut by_slot: Vec<(u32, u32)> = Vec::new();
    for Make { slot, looks_at, .. } in makes.iter().filter(|make| make.is_out) {
        if let Some(looks_at) = *looks_at {
            left[index(looks_at)] -= 1;
            by_slot.push((*slot, looks_at));
        }
    }
    by_slot.sort_unstable();
    by_slot.dedup();
    let mut needed: Vec<bool> = left.iter().map(|&lookers| lookers > 0).collect();
    let mut news: Vec<u32> =
        (0..).zip(&needed).filter(|(_, is)| **is).map(|(slot, _)| slot).collect();
    while let Some(slot) = news.pop() {
        let first = by_slot.partition_point(|&(made, _)| made < slot);
        for &(_, looks_at) in by_slot[first..].iter().take_while(|&&(made, _)| made == slot) {
            if !std::mem::replace(&mut needed[index(looks_at)], true) {
                news.push(looks_at);
            }
        }
    }
    needed
}

/// Those that certainly were overwritten before anyone can have looked at their value: by P, with every look at the
/// value certainly before the write or certainly after P.
///
/// In a linearization, no look at the value is between it and P, so none before the next change either, and that is no
/// cas on this value. In ascending order, so that each P is still there when it is needed, although it may be left out
/// itself next.
///
/// A value that is still looked at keeps the last operation that makes it, although it could go: who looks too late
/// would be left alone, and nobody could tell what came in between.
fn overwritten(
    makes: &[Make],
    looks: &[Look],
    (slots, registers): (usize, usize),
    (lookers, gone): (&[u32], &mut [bool]),
) {
    let there = || makes.iter().zip(&*gone).filter(|(make, gone)| !**gone && make.ret != NEVER);
    // By register, latest first: the call of a certain change, and the first return from there on.
    let mut ends: Vec<Vec<(Position, Position)>> = vec![Vec::new(); registers];
    for (make, _) in there().rev() {
        let ends = &mut ends[index(make.register)];
        let first = ends.last().map_or(make.ret, |&(_, ret)| ret.min(make.ret));
        ends.push((make.call, first));
    }
    let mut makers = vec![0_u32; slots];
    for (make, gone) in makes.iter().zip(&*gone) {
        makers[index(make.slot)] += u32::from(!gone);
    }
    let seen = Looks::new(looks, slots);
    let mut more = Vec::new();
    for (number, (make, _)) in makes.iter().zip(&*gone).enumerate().filter(|(_, (_, gone))| !**gone)
    {
        if !make.is_out || make.ret == NEVER {
            continue;
        }
        let ends = &ends[index(make.register)];
        let later = ends.partition_point(|&(call, _)| call > make.ret);
        let Some(&(_, end)) = later.checked_sub(1).and_then(|last| ends.get(last)) else {
            continue;
        };
        let slot = index(make.slot);
        let is_last = makers[slot] == 1 && lookers[slot] > 0;
        if !is_last && !seen.any_between(make.slot, make.call, end) {
            makers[slot] -= 1;
            more.push(number);
        }
    }
    for number in more {
        gone[number] = true;
    }
}

/// Looks, by value and in order of their calls, each with the latest return so far.
pub(super) struct Looks {
    starts: Vec<usize>,
    looks: Vec<(Position, Position)>,
}

impl Looks {
    pub(super) fn new(looks: &[Look], slots: usize) -> Looks {
        let mut starts = vec![0; slots + 1];
        for look in looks {
            starts[index(look.slot) + 1] += 1;
        }
        for slot in 0..slots {
            starts[slot + 1] += starts[slot];
        }
        let mut next = starts.clone();
        let mut sorted = vec![(0, 0); looks.len()];
        for look in looks {
            let place = &mut next[index(look.slot)];
            sorted[*place] = (look.call, look.ret);
            *place += 1;
        }
        for slot in 0..slots {
            let of_slot = &mut sorted[starts[slot]..starts[slot + 1]];
            of_slot.sort_unstable();
            let mut latest = 0;
            for (_, ret) in of_slot {
                latest = latest.max(*ret);
                *ret = latest;
            }
        }
        Looks { starts, looks: sorted }
    }

    /// Whether a look at the value was under way, at least in part, after `start` and before `end`.
    pub(super) fn any_between(&self, slot: u32, start: Position, end: Position) -> bool {
        let slot = index(slot);
        let looks = &self.looks[self.starts[slot]..self.starts[slot + 1]];
        let begun = looks.partition_point(|&(call, _)| call < end);
        begun > 0 && looks[begun - 1].1 > start
    }
}
