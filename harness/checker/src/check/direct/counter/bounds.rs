//! Numbers that cannot be.

use std::collections::BTreeMap;

use super::{Passage, sign};
use crate::check::decision::{Anomaly, Contradiction};
use crate::check::direct::Contradictions;
use crate::ops::{Action, KeyOps, Op, Position, index};

/// Finds them all, each by one operation that saw it.
pub(super) fn find(key: &KeyOps, found: &mut Contradictions) {
    let sign = sign(key);
    let bounds = Bounds::of(key);
    let mut seen = sign.map(|sign| Seen::of(key, sign));
    let mut sums = BTreeMap::new();
    for (op, id) in key.ops.iter().zip(0..) {
        let Some(passage) = Passage::of(op, id, 1) else { continue };
        let initial = i128::from(key.initial_number());
        // What others have added by then.
        let added = passage.before - initial;
        let own = i128::from(op.adds().unwrap_or(0));
        let low = bounds.up.before(op.call) + bounds.down_maybe.before(op.ret) - own.min(0);
        let high = bounds.up_maybe.before(op.ret) - own.max(0) + bounds.down.before(op.call);
        if let Some(seen) = &mut seen
            && let Some(earlier) = seen.further(key, op, id)
        {
            found.add(|| went_back(key, earlier, id));
        } else if added < low {
            found.add(|| missed(key, id, added, &bounds));
        } else if added > high {
            found.add(|| unheard_of(key, id, added, &bounds));
        } else if op.adds().is_some_and(|by| by != 0)
            && sign.is_some()
            && let Some(other) = sums.insert(passage.after, id)
        {
            found.add(|| Contradiction { anomaly: Anomaly::Duplicate, ops: vec![other, id] });
        }
    }
}

/// Sums over increments by position.
struct Sums(Vec<(Position, i128)>);

impl Sums {
    fn of(mut steps: Vec<(Position, i128)>) -> Sums {
        steps.sort_unstable_by_key(|&(position, _)| position);
        let mut sum = 0;
        for (_, by) in &mut steps {
            sum += *by;
            *by = sum;
        }
        Sums(steps)
    }

    fn before(&self, position: Position) -> i128 {
        let at = self.0.partition_point(|&(known, _)| known < position);
        at.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

/// What has been added and taken for sure, by return, and what may have been, by call.
struct Bounds {
    up: Sums,
    up_maybe: Sums,
    down: Sums,
    down_maybe: Sums,
}

impl Bounds {
    fn of(key: &KeyOps) -> Bounds {
        let sums = |is_up: bool, is_certain: bool| {
            let steps =
                key.ops.iter().filter(|op| if is_certain { op.is_ok() } else { op.may_count() });
            let steps = steps.filter_map(|op| {
                let by = op.adds().filter(|by| (*by > 0) == is_up)?;
                Some((if is_certain { op.ret } else { op.call }, i128::from(by)))
            });
            Sums::of(steps.collect())
        };
        Bounds {
            up: sums(true, true),
            up_maybe: sums(true, false),
            down: sums(false, true),
            down_maybe: sums(false, false),
        }
    }
}

/// The number that had got furthest by a position, in the only direction.
struct Seen {
    by_return: Vec<(Position, Passage)>,
    next: usize,
    furthest: Option<Passage>,
    sign: i64,
}

impl Seen {
    fn of(key: &KeyOps, sign: i64) -> Seen {
        let passages = key
            .ops
            .iter()
            .zip(0..)
            .filter_map(|(op, id)| Some((op.ret, Passage::of(op, id, sign)?)));
        let mut by_return: Vec<(Position, Passage)> = passages.collect();
        by_return.sort_unstable_by_key(|&(ret, _)| ret);
        Seen { by_return, next: 0, furthest: None, sign }
    }

    /// Who had seen a number that the counter had not reached, says an operation that was called later.
    fn further(&mut self, key: &KeyOps, op: &Op, id: u32) -> Option<u32> {
        while let Some(&(ret, passage)) = self.by_return.get(self.next)
            && ret < op.call
        {
            self.next += 1;
            if self.furthest.is_none_or(|known| known.after < passage.after) {
                self.furthest = Some(passage);
            }
        }
        let own = Passage::of(&key.ops[index(id)], id, self.sign)?;
        self.furthest.filter(|furthest| furthest.after > own.before).map(|furthest| furthest.id)
    }
}

fn went_back(key: &KeyOps, earlier: u32, id: u32) -> Contradiction {
    let (one, two) = (&key.ops[index(earlier)], &key.ops[index(id)]);
    let anomaly = match (one.adds().or(two.adds()), one.process == two.process) {
        (None, true) => Anomaly::NonMonotonic,
        _ => Anomaly::StaleRead,
    };
    Contradiction { anomaly, ops: vec![earlier, id] }
}

/// It saw less than there was: with all that may have been taken, the fewest increments that are too many.
fn missed(key: &KeyOps, id: u32, added: i128, bounds: &Bounds) -> Contradiction {
    let op = &key.ops[index(id)];
    let mut ops = vec![id];
    let others = || key.ops.iter().zip(0..).filter(|&(_, other)| other != id);
    let taken = others().filter(|(other, _)| {
        other.may_count() && other.call < op.ret && other.adds().is_some_and(|by| by < 0)
    });
    ops.extend(taken.map(|(_, id)| id));
    let own = i128::from(op.adds().unwrap_or(0));
    let room = added - (bounds.down_maybe.before(op.ret) - own.min(0));
    let put = others().filter(|(other, _)| other.is_ok() && other.ret < op.call);
    ops.extend(largest(put.filter_map(|(other, id)| Some((other.adds()?, id))), room));
    let anomaly = if op.action == Action::Read { Anomaly::StaleRead } else { Anomaly::LostWrite };
    Contradiction { anomaly, ops }
}

/// It saw more than there can have been: too much was taken for sure, or not enough was ever added.
fn unheard_of(key: &KeyOps, id: u32, added: i128, bounds: &Bounds) -> Contradiction {
    let op = &key.ops[index(id)];
    let own = i128::from(op.adds().unwrap_or(0));
    let most = bounds.up_maybe.before(op.ret) - own.max(0);
    let mut ops = vec![id];
    let others = || key.ops.iter().zip(0..).filter(|&(_, other)| other != id);
    if added <= most {
        let put = others().filter(|(other, _)| {
            other.may_count() && other.call < op.ret && other.adds().is_some_and(|by| by > 0)
        });
        ops.extend(put.map(|(_, id)| id));
        let taken = others().filter(|(other, _)| other.is_ok() && other.ret < op.call);
        let taken = taken.filter_map(|(other, id)| Some((other.adds()?.checked_neg()?, id)));
        ops.extend(largest(taken, most - added));
    }
    Contradiction { anomaly: Anomaly::PhantomRead, ops }
}

/// The fewest steps that are more than this together.
pub(in crate::check::direct) fn largest(
    steps: impl Iterator<Item = (i64, u32)>,
    than: i128,
) -> Vec<u32> {
    let mut steps: Vec<(i64, u32)> = steps.filter(|&(by, _)| by > 0).collect();
    steps.sort_unstable_by_key(|&(by, id)| (std::cmp::Reverse(by), id));
    let mut sum = 0;
    let enough = steps.into_iter().take_while(|&(by, _)| {
        let goes_on = sum <= than;
        sum += i128::from(by);
        goes_on
    });
    enough.map(|(_, id)| id).collect()
}
