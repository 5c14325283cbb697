//! Counters: what has been added for sure, and what may have been by now.

use std::collections::BTreeMap;

use super::{Watch, contradiction};
use crate::check::decision::{Anomaly, Contradiction};
use crate::check::direct::counter::largest;
use crate::history::Outcome;
use crate::ops::{Action, KeyOps, Op, Position, Seen};

pub(super) struct Counter {
    initial: i128,
    /// By return: the sum of acknowledged increases, and of decreases, up to there.
    added: Vec<(Position, i128, i128, u32)>,
    /// All increments that were called and have not failed, with what they add.
    called: Vec<(u32, i64)>,
    /// What may have been added, and taken, by now.
    up_maybe: i128,
    down_maybe: i128,
    /// Increases were called, decreases were called.
    goes: [bool; 2],
    /// By return: numbers further than all before, in the only direction.
    furthest: Vec<(Position, i128, u32)>,
    /// The increment that returned a sum.
    sums: BTreeMap<i128, u32>,
}

impl Counter {
    pub(super) fn of(key: &KeyOps) -> Counter {
        Counter {
            initial: i128::from(key.initial_number()),
            added: Vec::new(),
            called: Vec::new(),
            up_maybe: 0,
            down_maybe: 0,
            goes: [false, false],
            furthest: Vec::new(),
            sums: BTreeMap::new(),
        }
    }

    /// 1 or -1, if it goes in one direction only.
    fn sign(&self) -> Option<i128> {
        match self.goes {
            [_, false] => Some(1),
            [false, true] => Some(-1),
            [true, true] => None,
        }
    }

    fn see(&mut self, id: u32, op: &Op, number: i64) -> Option<Contradiction> {
        let own = i128::from(op.adds().unwrap_or(0));
        let after = i128::from(number);
        let added = after - own - self.initial;
        if let Some(sign) = self.sign() {
            let at = self.furthest.partition_point(|&(ret, _, _)| ret < op.call);
            let before = at.checked_sub(1).map(|last| self.furthest[last]);
            if let Some((_, reached, other)) = before
                && reached > sign * (after - own)
            {
                return Some(contradiction(Anomaly::StaleRead, [other, id]));
            }
        }
        let at = self.added.partition_point(|&(ret, _, _, _)| ret < op.call);
        let (up, down) =
            at.checked_sub(1).map_or((0, 0), |last| (self.added[last].1, self.added[last].2));
        // Whatever was taken while it went on may make up for what was added.
        if added < up + self.down_maybe - own.min(0) {
            let room = added - (self.down_maybe - own.min(0));
            let known = largest(self.known(at).filter(|&(_, other)| other != id), room);
            let taken = self.called.iter().filter(|&&(_, by)| by < 0).map(|&(other, _)| other);
            return Some(contradiction(Anomaly::StaleRead, taken.chain(known).chain([id])));
        }
        if added > self.up_maybe - own.max(0) + down {
            let most = self.up_maybe - own.max(0);
            let mut ops = vec![id];
            if added <= most {
                // There was enough, but too much of it was taken.
                ops.extend(self.called.iter().filter(|&&(_, by)| by > 0).map(|&(other, _)| other));
                let taken = self.known(at).map(|(by, other)| (-by, other));
                ops.extend(largest(taken, most - added));
            }
            return Some(contradiction(Anomaly::PhantomRead, ops));
        }
        if let Some(sign) = self.sign() {
            if own != 0
                && let Some(other) = self.sums.insert(after, id)
            {
                return Some(contradiction(Anomaly::Duplicate, [other, id]));
            }
            if self.furthest.last().is_none_or(|&(_, reached, _)| reached < sign * after) {
                self.furthest.push((op.ret, sign * after, id));
            }
        }
        None
    }

    /// The first acknowledged increments, with what they add.
    fn known(&self, count: usize) -> impl Iterator<Item = (i64, u32)> + '_ {
        self.added[..count].iter().filter_map(|&(_, _, _, id)| {
            let at = self.called.binary_search_by_key(&id, |&(id, _)| id).ok()?;
            Some((self.called[at].1, id))
        })
    }

    fn may_add(&mut self, by: i128, times: i128) {
        let sum = if by > 0 { &mut self.up_maybe } else { &mut self.down_maybe };
        *sum += times * by;
    }
}

impl Watch for Counter {
    fn call(&mut self, id: u32, op: &Op) {
        if let Action::Incr(by) = op.action {
            let direction = self.sign();
            self.goes[0] |= by > 0;
            self.goes[1] |= by < 0;
            if self.sign() != direction {
                self.furthest.clear();
                self.sums.clear();
            }
            self.may_add(i128::from(by), 1);
            self.called.push((id, by));
        }
    }

    fn complete(&mut self, id: u32, op: &Op, _: &[u32]) -> Option<Contradiction> {
        let by = i128::from(op.adds().unwrap_or(0));
        match (op.outcome, op.seen) {
            (Outcome::Open, _) => return None,
            (Outcome::Fail, _) => {
                self.may_add(by, -1);
                if let Ok(at) = self.called.binary_search_by_key(&id, |&(id, _)| id) {
                    self.called[at].1 = 0;
                }
                return None;
            }
            (Outcome::Ok, _) => {}
        }
        let found = match op.seen {
            Seen::Number(number) => self.see(id, op, number),
            Seen::Unknown | Seen::Word(_) | Seen::List(_) => None,
        };
        if by != 0 {
            let (up, down) = self.added.last().map_or((0, 0), |&(_, up, down, _)| (up, down));
            self.added.push((op.ret, up + by.max(0), down + by.min(0), id));
        }
        found
    }
}
