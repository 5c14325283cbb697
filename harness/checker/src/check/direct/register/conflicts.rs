//! Finds what contradicts: in what single operations saw, inside blocks, and between blocks.
//!
//! Each contradiction is counted once, at the operation that was called last of those that contradict. That operation is
//! left out from then on, so that right reads after a stale one are not blamed for it.

use super::clusters::{Broken, Clusters, NOBODY, Role, Source, role};
use super::core::Core;
use super::latest::LatestTwo;
use super::several::{self, Written};
use super::source_op;
use crate::check::decision::{Anomaly, Contradiction};
use crate::check::direct::Contradictions;
use crate::history::Outcome;
use crate::ops::{Action, KeyOps, NEVER, Op, index};

/// Finds them all.
pub(super) fn find(key: &KeyOps, clusters: &Clusters, found: &mut Contradictions) {
    for broken in &clusters.broken {
        found.add(|| impossible(key, clusters, broken));
    }
    let mut blocks = Blocks::of(key, clusters);
    blocks.find_cycles(found);
    blocks.find_inside(found);
    blocks.find_between(found);
}

/// An operation saw what cannot have been there.
fn impossible(key: &KeyOps, clusters: &Clusters, broken: &Broken) -> Contradiction {
    let mut core = Core::new(key, clusters);
    core.add(broken.op);
    let mut anomaly = Anomaly::PhantomRead;
    if broken.source == NOBODY {
        let tried = |op: &Op| {
            let writes = matches!(
                op.action,
                Action::Write(word) | Action::Cas { new: word, .. } if word == broken.word
            );
            writes && op.outcome == Outcome::Fail
        };
        if let Some((_, id)) = key.ops.iter().zip(0..).find(|(op, _)| tried(op)) {
            core.add(id);
            anomaly = Anomaly::AbortedRead;
        }
    } else {
        core.add_source(broken.source);
    }
    if let Some(rival) = broken.rival {
        core.add(rival);
    }
    if matches!(role(&key.ops[index(broken.op)]), Role::Swap { .. }) {
        anomaly = Anomaly::ImpossibleCas;
    }
    Contradiction { anomaly, ops: core.finish() }
}

/// All blocks, with the operations of each in the only order in which they can be.
struct Blocks<'a> {
    key: &'a KeyOps,
    clusters: &'a Clusters,
    order: Vec<u32>,
    /// By block: where its operations begin in `order`; one more at the end.
    starts: Vec<usize>,
    /// By block: whether it begins with the initial value.
    is_first: Vec<bool>,
    /// By operation: its block, [`NEVER`] if it is in none or out of consideration.
    block_of: Vec<u32>,
    /// By operation: its place in `order`.
    place: Vec<u32>,
}

/// Later than nothing: what the initial value is as an event.
const START: i64 = -1;

impl<'a> Blocks<'a> {
    fn of(key: &'a KeyOps, clusters: &'a Clusters) -> Blocks<'a> {
        let (order, heads) = clusters.in_order(key);
        let is_first = heads.iter().map(|&(head, _)| head == 0).collect();
        let mut starts: Vec<usize> = heads.iter().map(|&(_, start)| index(start)).collect();
        starts.push(order.len());
        let mut block_of = vec![NEVER; key.ops.len()];
        let mut place = vec![0; key.ops.len()];
        for (block, range) in (0..).zip(starts.windows(2)) {
            for &id in &order[range[0]..range[1]] {
                block_of[index(id)] = block;
            }
        }
        for (&id, at) in order.iter().zip(0..) {
            place[index(id)] = at;
        }
        Blocks { key, clusters, order, starts, is_first, block_of, place }
    }

    fn op(&self, id: u32) -> &'a Op {
        &self.key.ops[index(id)]
    }

    fn ops(&self, block: u32) -> &[u32] {
        &self.order[self.starts[index(block)]..self.starts[index(block) + 1]]
    }

    fn cluster(&self, id: u32) -> Source {
        self.clusters.cluster(id).unwrap_or(0)
    }

    /// Cas that expect each other's values in a circle.
    fn find_cycles(&mut self, found: &mut Contradictions) {
        let mut is_known = vec![false; self.key.ops.len() + 1];
        for id in 0..super::super::number(self.key.ops.len()) {
            let is_source = self.clusters.cluster(id) == Some(id + 1);
            if !is_source || self.block_of[index(id)] != NEVER || is_known[index(id + 1)] {
                continue;
            }
            let mut circle = Core::new(self.key, self.clusters);
            for source in self.clusters.chain(id + 1) {
                if std::mem::replace(&mut is_known[index(source)], true) {
                    break;
                }
                circle.add_source(source);
            }
            found.add(|| Contradiction { anomaly: Anomaly::ImpossibleCas, ops: circle.finish() });
        }
    }

    /// Operations that were called after one had returned that comes later in the same block.
    fn find_inside(&mut self, found: &mut Contradictions) {
        let mut blamed = Vec::new();
        for block in 0..super::super::number(self.is_first.len()) {
            let mut first_return = NEVER;
            // Of the same cluster's observers, which may be in any order.
            let mut observers_return = NEVER;
            for &id in self.ops(block).iter().rev() {
                let op = self.op(id);
                let is_source = matches!(role(op), Role::Writer(_) | Role::Swap { .. });
                if is_source {
                    first_return = first_return.min(observers_return);
                    observers_return = NEVER;
                }
                if first_return < op.call {
                    blamed.push(id);
                } else if is_source {
                    first_return = first_return.min(op.ret);
                } else {
                    observers_return = observers_return.min(op.ret);
                }
            }
        }
        blamed.sort_unstable();
        for id in blamed {
            found.add(|| self.inside(id));
            self.block_of[index(id)] = NEVER;
        }
    }

    fn inside(&self, id: u32) -> Contradiction {
        let op = self.op(id);
        let is_source = matches!(role(op), Role::Writer(_) | Role::Swap { .. });
        let own = self.cluster(id);
        let later = self.order[index(self.place[index(id)]) + 1..].iter().copied();
        let other = later
            .filter(|&later| self.op(later).ret < op.call)
            .find(|&later| is_source || self.cluster(later) != own);
        let mut core = Core::new(self.key, self.clusters);
        core.add(id);
        let mut by_same_client = false;
        if let Some(other) = other {
            core.add(other);
            core.add_chain(own, self.cluster(other));
            by_same_client = self.is_read(other) && self.op(other).process == op.process;
        }
        Contradiction { anomaly: self.name(id, by_same_client), ops: core.finish() }
    }

    fn is_read(&self, id: u32) -> bool {
        matches!(role(self.op(id)), Role::Observer(_))
    }

    fn name(&self, id: u32, same_client_saw_later: bool) -> Anomaly {
        match (self.is_read(id), same_client_saw_later) {
            (false, _) => Anomaly::ImpossibleCas,
            (true, true) => Anomaly::NonMonotonic,
            (true, false) => Anomaly::StaleRead,
        }
    }

    /// Pairs of blocks each of which has to come before the other.
    fn find_between(&mut self, found: &mut Contradictions) {
        let first_return = self.first_returns();
        let blocks = super::super::number(first_return.len());
        let mut active: Vec<(i64, u32)> = first_return.iter().copied().zip(0..blocks).collect();
        active.sort_unstable();
        let mut active = active.into_iter().peekable();
        let mut is_active = vec![false; first_return.len()];
        // By block: the last call so far.
        let mut last_call = vec![i64::MIN; first_return.len()];
        let mut latest = LatestTwo::default();
        let writes =
            self.clusters.is_ambiguous.then(|| several::Writes::of(self.key, self.clusters));
        for id in 0..super::super::number(self.key.ops.len()) {
            let block = self.block_of[index(id)];
            let call = i64::from(self.op(id).call);
            while let Some((_, ended)) = active.next_if(|&(first_return, _)| first_return < call) {
                is_active[index(ended)] = true;
                latest.insert(last_call[index(ended)], ended);
            }
            if block == NEVER {
                if let Some(writes) = &writes
                    && let Some(written) = writes.all_before(self.clusters, id, self.op(id))
                {
                    self.among_several(id, written, &latest, found);
                }
                continue;
            }
            if let Some(other) = latest.other_after(first_return[index(block)], block) {
                found.add(|| self.between(id, other));
                continue;
            }
            last_call[index(block)] = call;
            if is_active[index(block)] {
                latest.insert(call, block);
            }
        }
    }

    /// An operation saw a value that was written several times: it contradicts if all these had returned, or none had
    /// been called.
    fn among_several(
        &self,
        id: u32,
        written: Written,
        latest: &LatestTwo,
        found: &mut Contradictions,
    ) {
        match written {
            Written::Later(write) => found.add(|| {
                let is_read = self.is_read(id);
                let anomaly = if is_read { Anomaly::PhantomRead } else { Anomaly::ImpossibleCas };
                Contradiction { anomaly, ops: vec![id, write] }
            }),
            Written::Until(moment, write) => {
                if let Some(other) = latest.other_after(moment, NEVER) {
                    found.add(|| self.overwritten(id, moment, write, other));
                }
            }
        }
    }

    /// The other value came after all writes of what the operation saw, the last of which is `write`.
    fn overwritten(&self, id: u32, moment: i64, write: Option<u32>, other: u32) -> Contradiction {
        let cores = self.came_and_went(id, other).into_iter().flatten();
        let cores = cores.filter(|&(called, _)| i64::from(self.op(called).call) > moment);
        let cores = cores.filter_map(|(called, ended)| {
            if ended.is_none() && !self.is_first[index(other)] {
                return None;
            }
            let mut core = Core::new(self.key, self.clusters);
            core.add(id);
            core.add(called);
            self.add_span(&mut core, ended, called);
            let by_same_client = self.saw_as_same_client(id, called, ended);
            let mut ops = core.finish();
            ops.extend(write);
            Some((ops, by_same_client))
        });
        let (ops, by_same_client) =
            cores.min_by_key(|(core, _)| core.len()).unwrap_or((vec![id], false));
        Contradiction { anomaly: self.name(id, by_same_client), ops }
    }

    fn first_returns(&self) -> Vec<i64> {
        let mut first_return: Vec<i64> =
            self.is_first.iter().map(|&is_first| if is_first { START } else { i64::MAX }).collect();
        for (op, &block) in self.key.ops.iter().zip(&self.block_of) {
            if let Some(first_return) = first_return.get_mut(index(block)) {
                *first_return = (*first_return).min(i64::from(op.ret));
            }
        }
        first_return
    }

    /// An operation's block has to come before `other`, because of an operation of its own that had returned before one
    /// of the other was called, and after it, because one of the other had returned before this one was called.
    fn between(&self, id: u32, other: u32) -> Contradiction {
        let cores = self.came_and_went(id, other).into_iter().flatten();
        let cores = cores.filter_map(|(called, ended)| {
            let core = self.between_with(id, called, ended, other)?;
            Some((core, self.saw_as_same_client(id, called, ended)))
        });
        let (ops, by_same_client) =
            cores.min_by_key(|(core, _)| core.len()).unwrap_or((vec![id], false));
        Contradiction { anomaly: self.name(id, by_same_client), ops }
    }

    /// Operations of another block that show that it was there before this operation was called: one that was called as
    /// late as possible, and one that had returned; nothing if only the initial value had been there.
    fn came_and_went(&self, id: u32, other: u32) -> [Option<(u32, Option<u32>)>; 3] {
        let call = self.op(id).call;
        let others = || {
            let ops = self.ops(other).iter().copied();
            ops.filter(|&y| self.block_of[index(y)] == other && self.op(y).call < call)
        };
        let single = |y: &u32| self.op(*y).ret < call;
        let is_source = |y: &u32| !self.is_read(*y);
        let latest = |y: &u32| self.op(*y).call;
        [
            others().filter(single).filter(is_source).max_by_key(latest).map(|y| (y, Some(y))),
            others().filter(single).max_by_key(latest).map(|y| (y, Some(y))),
            others().max_by_key(latest).map(|y| (y, others().filter(single).max_by_key(latest))),
        ]
    }

    fn saw_as_same_client(&self, id: u32, called: u32, ended: Option<u32>) -> bool {
        let process = self.op(id).process;
        let mut ops = [Some(called), ended].into_iter().flatten();
        ops.any(|y| self.is_read(y) && self.op(y).process == process)
    }

    /// `called` was called after some operation of the block of `id` had returned, and `ended` had returned before `id`
    /// was called. Without `ended`, the initial value of the other block had been there before.
    fn between_with(
        &self,
        id: u32,
        called: u32,
        ended: Option<u32>,
        other: u32,
    ) -> Option<Vec<u32>> {
        let block = self.block_of[index(id)];
        let place = self.place[index(id)];
        let before =
            |x: &u32| self.block_of[index(*x)] == block && self.op(*x).ret < self.op(called).call;
        let own = self.cluster(id);
        let source = source_op(own).filter(|x| *x != id && before(x));
        let nearest = || {
            let ops = self.ops(block).iter().copied().filter(before);
            ops.min_by_key(|x| self.place[index(*x)].abs_diff(place))
        };
        let early = source.or_else(nearest);
        if early.is_none() && !self.is_first[index(block)]
            || ended.is_none() && !self.is_first[index(other)]
        {
            return None;
        }
        let mut core = Core::new(self.key, self.clusters);
        core.add(id);
        self.add_span(&mut core, early, id);
        core.add(called);
        self.add_span(&mut core, ended, called);
        Some(core.finish())
    }

    /// Two operations of a block and what keeps them together; instead of the first, the initial value.
    fn add_span(&self, core: &mut Core<'_>, one: Option<u32>, two: u32) {
        let Some(one) = one else {
            core.add_chain(0, self.cluster(two));
            return;
        };
        core.add(one);
        let is_first = self.place[index(one)] <= self.place[index(two)];
        let (first, second) = if is_first { (one, two) } else { (two, one) };
        core.add_chain(self.cluster(first), self.cluster(second));
    }
}
