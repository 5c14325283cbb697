//! From a history without a linearization to few operations that have none either.
//!
//! Only steps are taken after which a contradiction is one of the whole history too: if the whole had a
//! linearization, so would what is left. Those are:
//! - to stop early: a linearization begins with one of each prefix;
//! - to leave out a read, or a failed cas: it changes nothing;
//! - to leave out a write to a register whose value nothing left looks at (see `problem::drop_unseen_values`);
//! - to leave out a token: its appends, and the token in every list that was read.
//!
//! To leave out just any write would not do: its readers would then contradict, although the history does not.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::problem::{Part, Problem};
use super::search::{Answer, Budget, search};
use crate::check::keys::{Action, KeyOps, NEVER, Op, Seen, Word};
use crate::check::stale_reads::find::Stale;
use crate::model::Model;
use crate::model::object::State;

/// What is left.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) part: Part,
    /// The operation that fits nowhere.
    pub(super) blocked: usize,
    /// Where the object may have been instead.
    pub(super) states: Vec<State>,
}

/// Reduces as far as `work` allows: events walked through plus configurations explored. If there are stale reads, the
/// first of them is tried before all else.
pub(super) fn reduce(
    key: &KeyOps<'_>,
    stale: &[Stale],
    budget: &Budget<'_>,
    work: u64,
) -> Option<Core> {
    let mut reducer = Reducer { key, budget: *budget, work };
    if let Some(mut core) = stale.first().and_then(|stale| reducer.stale_read(stale)) {
        reducer.thin_out(&mut core);
        return Some(core);
    }
    let mut core = reducer.blocked(Part::whole(key))?;
    reducer.shorten(&mut core);
    core.part.ids.retain(|&id| key.ops[id].call < core.part.cut);
    reducer.thin_out(&mut core);
    Some(core)
}

struct Reducer<'r, 'h> {
    key: &'r KeyOps<'h>,
    budget: Budget<'r>,
    work: u64,
}

impl Reducer<'_, '_> {
    /// The part, if it certainly has no linearization.
    fn blocked(&mut self, part: Part) -> Option<Core> {
        let problem = Problem::new(self.key, &part);
        let (found, effort) = search(&problem, &self.budget);
        let events = u64::try_from(part.ids.len() + problem.moments.len()).unwrap_or(u64::MAX);
        self.work = self.work.saturating_sub(events + effort.configurations);
        match found {
            Answer::Blocked { step, states } => {
                Some(Core { part, blocked: problem.steps[step].id, states })
            }
            Answer::Linearizable | Answer::GaveUp { .. } => None,
        }
    }

    /// The operations that prove a read to be stale, if all others may be left out.
    fn stale_read(&mut self, stale: &Stale) -> Option<Core> {
        let old = stale.old.iter().flat_map(|old| [old.write, old.proof]);
        let ids: BTreeSet<usize> =
            old.chain([stale.missed.write, stale.missed.proof, stale.read]).collect();
        let ids: Vec<usize> = ids.into_iter().collect();
        let ops = &self.key.ops;
        let looked_at: BTreeSet<Word> = ids.iter().filter_map(|&id| looks_at(&ops[id])).collect();
        let left_out = ops.iter().enumerate().filter(|(id, _)| ids.binary_search(id).is_err());
        let sound = match self.key.model {
            Model::Register | Model::CasRegister => {
                left_out.filter_map(|(_, op)| op.writes()).all(|value| !looked_at.contains(&value))
            }
            Model::Append => true,
            Model::Counter => false,
        };
        if sound { self.blocked(Part { ids, cut: NEVER }) } else { None }
    }

    /// The shortest prefix that will do: by bisection, as with a prefix all longer ones will do.
    fn shorten(&mut self, core: &mut Core) {
        let mut returns: Vec<usize> =
            self.key.ops.iter().map(|op| op.ret).filter(|&ret| ret != NEVER).collect();
        returns.sort_unstable();
        let (mut low, mut high) = (0, returns.len());
        while low < high && self.work > 0 {
            let middle = usize::midpoint(low, high);
            let part = Part { ids: core.part.ids.clone(), cut: returns[middle] + 1 };
            match self.blocked(part) {
                Some(shorter) => {
                    *core = shorter;
                    high = middle;
                }
                None => low = middle + 1,
            }
        }
    }

    /// Leaves out ever smaller groups of operations, until no single one can be left out any more.
    fn thin_out(&mut self, core: &mut Core) {
        let mut group = core.part.ids.len().div_ceil(2);
        while group > 0 && self.work > 0 {
            let mut progress = false;
            let mut start = 0;
            while start < core.part.ids.len() && self.work > 0 {
                let end = core.part.ids.len().min(start + group);
                let smaller =
                    self.without(&core.part, start..end).and_then(|part| self.blocked(part));
                match smaller {
                    Some(smaller) => {
                        *core = smaller;
                        progress = true;
                    }
                    None => start = end,
                }
            }
            if group > 1 || !progress {
                group /= 2;
            }
        }
    }

    /// The part without as many operations of a range as may be left out; none if that is none.
    fn without(&self, part: &Part, range: Range<usize>) -> Option<Part> {
        let out = &part.ids[range.clone()];
        let mut ids = part.ids.clone();
        match self.key.model {
            Model::Counter => {
                ids.retain(|id| !is_read(&self.key.ops[*id]) || out.binary_search(id).is_err());
            }
            Model::Append => {
                let tokens: BTreeSet<Word> =
                    out.iter().filter_map(|&id| token(&self.key.ops[id])).collect();
                ids.retain(|id| {
                    let op = &self.key.ops[*id];
                    match token(op) {
                        Some(token) => !tokens.contains(&token),
                        None => out.binary_search(id).is_err(),
                    }
                });
            }
            Model::Register | Model::CasRegister => self.leave_out_values(&mut ids, out),
        }
        (ids.len() < part.ids.len()).then_some(Part { ids, cut: part.cut })
    }

    /// Leaves out reads, then writes that nothing looks at any more, as long as there are any.
    fn leave_out_values(&self, ids: &mut Vec<usize>, out: &[usize]) {
        let ops = &self.key.ops;
        ids.retain(|id| !is_read(&ops[*id]) || out.binary_search(id).is_err());
        let mut lookers: BTreeMap<Word, usize> = BTreeMap::new();
        for word in ids.iter().filter_map(|&id| looks_at(&ops[id])) {
            *lookers.entry(word).or_default() += 1;
        }
        loop {
            let before = ids.len();
            ids.retain(|id| {
                let op = &ops[*id];
                let seen = op.writes().is_some_and(|to| lookers.get(&to).is_some_and(|&n| n > 0));
                if seen || out.binary_search(id).is_err() {
                    return true;
                }
                if let Some(count) = looks_at(op).and_then(|from| lookers.get_mut(&from)) {
                    *count -= 1;
                }
                false
            });
            if ids.len() == before {
                break;
            }
        }
    }
}

/// It changes nothing: a read, or something that failed.
fn is_read(op: &Op) -> bool {
    op.action == Action::Read || !op.may_count()
}

/// The value of a register that it found or expects.
fn looks_at(op: &Op) -> Option<Word> {
    match (&op.seen, &op.action) {
        (Seen::Word(word), _) => Some(*word),
        (_, Action::Cas { expect, .. }) => Some(*expect),
        (
            Seen::Unknown | Seen::List(_) | Seen::Number(_),
            Action::Read | Action::Write(_) | Action::Append(_) | Action::Incr(_),
        ) => None,
    }
}

/// The token that it appends, unless it failed.
fn token(op: &Op) -> Option<Word> {
    op.appends().filter(|_| op.may_count())
}
