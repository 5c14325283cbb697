//! From a history without a linearization to few operations that have none either, by the steps of [`super::steps`].

use super::context::{self, Context};
use super::steps::{self, Atom, Out, TOLD};
use crate::model::Model;
use crate::ops::{Action, KeyOps, NEVER, NOTHING, Op, Position, Seen, index};

/// From this number of operations on, a shorter beginning is worth a bisection, and a later start a search.
const FEW: usize = 12;

/// From this number on, what comes before the contradiction is cut off before anything else is tried.
const MANY: usize = 200;

/// A later start is looked for among so many operations before the end.
const FAR: usize = 10_000;

/// Few operations of one key that contradict each other.
#[derive(Clone, Debug)]
pub struct Core {
    /// Only what is left. [`Op::number`] is still the number in the history; what had not returned when the
    /// contradiction was complete is of unknown outcome here.
    pub key: KeyOps,
    /// The operation that fits nowhere: an index into the operations of `key`.
    pub blocked: u32,
    /// No further sound step keeps it contradictory, but for beginning later if there are few. False if the work was not enough to find that out.
    pub is_minimal: bool,
    /// What a reader wants to know beside the contradiction itself.
    pub context: Context,
}

/// Reduces a history as far as `work_max` allows: operations that went through a step or a decision.
///
/// `contradicts` is the decision: the operation that fits nowhere if a history certainly has no linearization, none if
/// it has one or that is not known. `start` says what is known already. None if the history itself cannot be shown to be
/// contradictory.
pub fn reduce(
    key: &KeyOps,
    start: Start<'_>,
    contradicts: &mut dyn FnMut(&KeyOps) -> Option<u32>,
    work_max: u64,
) -> Option<Core> {
    let mut reducer = Reducer { contradicts, work: work_max, start: None };
    let named = start
        .ops
        .filter(|start| !start.is_empty())
        .and_then(|start| steps::without(key, &Out::all_but(key, start)))
        // Where little could be left out, it costs as much as all of it.
        .filter(|fewer| start.blocked.is_none() || fewer.ops.len() <= MANY)
        .and_then(|fewer| reducer.decide(fewer));
    let mut found = match named.or_else(|| blocked_at(key, start.blocked?)) {
        Some(found) => found,
        None => reducer.decide(steps::tidy(key.clone()))?,
    };
    // Where values cannot be left out one by one, the beginning can only go as a whole. A long one should go first of
    // all: each decision costs as much as there is.
    let is_whole = matches!(found.key.model, Model::Kv | Model::Mutex);
    if found.key.ops.len() > MANY {
        reducer.start_later(&mut found);
        reducer.shorten(&mut found);
    } else {
        reducer.shorten(&mut found);
        if is_whole {
            reducer.start_later(&mut found);
        }
    }
    // Where each value is written many times and no later start will do, there is nothing that could go.
    let is_hopeless = found.key.ops.len() > FAR && found.key.words.len() < found.key.ops.len() / 8;
    let mut is_minimal = !is_hopeless && reducer.thin_out(&mut found);
    // What forced the state belongs to the story, as long as it is short enough to be told.
    let is_long = |found: &Found| found.key.model != Model::Counter || found.key.ops.len() > TOLD;
    while is_minimal
        && (is_long(&found) && reducer.start_later(&mut found) || reducer.shorten(&mut found))
    {
        is_minimal = reducer.thin_out(&mut found);
    }
    let Found { key: left, blocked } = found;
    let mut left = steps::compact(left);
    let context = context::of(key, &mut left, blocked, reducer.start);
    let mut core = Core { key: left, blocked, is_minimal, context };
    if matches!(core.key.model, Model::Register | Model::CasRegister) {
        tell_start(&mut core);
    }
    Some(core)
}

/// Takes the read that tells what a register was at first into the core: without it the value would come from nowhere.
fn tell_start(core: &mut Core) {
    let tells = |op: &Op| match op.action {
        Action::Read => true,
        // What it made may be none of the core's business.
        Action::Cas { new, .. } => new != NOTHING,
        _ => false,
    };
    let Some(start) = core.context.start.take().filter(tells) else { return };
    let place = core.key.ops.partition_point(|op| op.call < start.call);
    core.key.ops.insert(place, start);
    core.context.hidden.insert(place.min(core.context.hidden.len()), 0);
    core.blocked += u32::from(place <= index(core.blocked));
}

/// What is known of a contradiction before it is reduced.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// Operations (indexes) that a test found contradictory by themselves: they are tried first.
    pub ops: Option<&'a [u32]>,
    /// An operation (index) up to whose return the history certainly has no linearization.
    pub blocked: Option<u32>,
}

/// The history up to the return of an operation at which it is known to have no linearization.
fn blocked_at(key: &KeyOps, blocked: u32) -> Option<Found> {
    let Op { number, ret, .. } = *key.ops.get(index(blocked)).filter(|op| op.ret != NEVER)?;
    let key = steps::cut(key, ret.saturating_add(1));
    let place = key.ops.iter().position(|op| op.number == number)?;
    Some(Found { blocked: u32::try_from(place).ok()?, key })
}

/// Whether some operations (indexes) contradict each other and what happened shortly before them: the number of the
/// operation that fits nowhere by then. Each history that is tried is short, and taken from the whole by sound steps.
pub fn near(
    key: &KeyOps,
    ops: &[u32],
    contradicts: &mut dyn FnMut(&KeyOps) -> Option<u32>,
) -> Option<u32> {
    let rets = ops.iter().filter_map(|&op| Some(key.ops.get(index(op))?.ret));
    let end = rets.filter(|&ret| ret != NEVER).max()?;
    let mut found = Found { key: steps::cut(key, end.saturating_add(1)), blocked: 0 };
    let mut reducer = Reducer { contradicts, work: u64::MAX, start: None };
    let is_found = reducer.start_later(&mut found);
    is_found.then(|| found.key.ops[index(found.blocked)].number)
}

/// Operations that contradict each other, and the one that fits nowhere.
struct Found {
    key: KeyOps,
    blocked: u32,
}

struct Reducer<'r> {
    contradicts: &'r mut dyn FnMut(&KeyOps) -> Option<u32>,
    work: u64,
    /// Number of the operation that tells what the state was at first, if that is not how the history begins.
    start: Option<u32>,
}

impl Reducer<'_> {
    /// The operations, if they certainly contradict each other.
    fn decide(&mut self, key: KeyOps) -> Option<Found> {
        let size = key.ops.len() + key.items.len() / 8 + 8;
        self.work = self.work.saturating_sub(u64::try_from(size).unwrap_or(u64::MAX));
        // Words cost more than operations if there are many of the one and few of the other.
        let key = if key.words.len() > 4 * key.ops.len() + 64 { steps::compact(key) } else { key };
        let blocked = (self.contradicts)(&key)?;
        (index(blocked) < key.ops.len()).then_some(Found { key, blocked })
    }

    /// Takes a smaller history if that still contradicts itself.
    fn accept(&mut self, found: &mut Found, smaller: Option<KeyOps>) -> bool {
        let size = u64::try_from(found.key.ops.len()).unwrap_or(u64::MAX);
        self.work = self.work.saturating_sub(size);
        let Some(smaller) = smaller.and_then(|smaller| self.decide(smaller)) else { return false };
        *found = smaller;
        true
    }

    /// The shortest beginning that will do; whether it is shorter. With a beginning all longer ones will do, so
    /// bisection finds it; but often it ends with the operation that the decision names.
    fn shorten(&mut self, found: &mut Found) -> bool {
        let before = size(&found.key);
        while self.work > 0 {
            let end = found.key.ops[index(found.blocked)].ret;
            let shorter = steps::cut(&found.key, end.saturating_add(1));
            if size(&shorter) == size(&found.key) {
                break;
            }
            let blocked = found.key.ops[index(found.blocked)].number;
            if !self.accept(found, Some(shorter))
                || found.key.ops[index(found.blocked)].number == blocked
            {
                break;
            }
        }
        let mut returns: Vec<Position> =
            found.key.ops.iter().map(|op| op.ret).filter(|&ret| ret != NEVER).collect();
        returns.sort_unstable();
        // The last but one first: mostly no shorter one will do.
        let (mut low, mut high) = (0, returns.len().saturating_sub(1));
        let mut middle = high.saturating_sub(1);
        while low < high && self.work > 0 {
            let end = returns[middle].saturating_add(1);
            if self.accept(found, Some(steps::cut(&found.key, end))) {
                high = middle;
            } else {
                low = middle + 1;
            }
            middle = usize::midpoint(low, high);
        }
        size(&found.key) < before
    }

    /// A later start, if one will do; whether it is later. First near the end, then ever farther from it.
    fn start_later(&mut self, found: &mut Found) -> bool {
        // A read is all that there is to tell of a register's state then.
        let is_register = matches!(found.key.model, Model::Register | Model::CasRegister);
        is_register && self.start_later_at(found, |op| op.action == Action::Read)
            || self.start_later_at(found, |_| true)
    }

    fn start_later_at(&mut self, found: &mut Found, tells: impl Fn(&Op) -> bool) -> bool {
        let few = found.key.ops.len() <= FEW;
        if few && !matches!(found.key.model, Model::Kv | Model::Counter | Model::Mutex) {
            return false;
        }
        let len = found.key.ops.len();
        let mut distance = 1;
        while distance < len.min(FAR) && self.work > 0 {
            // Not each operation tells the state that it found.
            let near = (len - distance).saturating_sub(distance / 8)..=len - distance;
            let start_at = |first: usize| {
                let tells = tells(&found.key.ops[first]);
                Some((first, tells.then(|| steps::start_at(&found.key, first))??))
            };
            if let Some((first, start)) = near.rev().take(64).find_map(start_at) {
                let number = found.key.ops[first].number;
                let is_smaller = size(&start) < size(&found.key);
                if self.accept(found, Some(start).filter(|_| is_smaller)) {
                    self.start = Some(number);
                    return true;
                }
            }
            distance += if few { 1 } else { distance.div_ceil(2) };
        }
        false
    }

    /// Leaves out ever smaller groups, until no single thing can be left out any more: then it returns true.
    fn thin_out(&mut self, found: &mut Found) -> bool {
        let mut atoms = steps::atoms(&found.key);
        let mut group = atoms.len().div_ceil(2);
        while group > 0 && self.work > 0 {
            let mut progress = false;
            let mut start = 0;
            while start < atoms.len() && self.work > 0 {
                let end = atoms.len().min(start + group);
                if self.leave_out(found, &atoms[start..end]) {
                    atoms = steps::atoms(&found.key);
                    progress = true;
                } else {
                    start = end;
                }
            }
            if group > 1 || !progress {
                group /= 2;
            }
            group = group.min(atoms.len());
        }
        self.work > 0
    }

    fn leave_out(&mut self, found: &mut Found, atoms: &[Atom]) -> bool {
        let smaller = steps::without(&found.key, &Out::of(&found.key, atoms));
        // What has taken part in nothing may go as well.
        let smaller = smaller.filter(|smaller| size(smaller) < size(&found.key));
        self.accept(found, smaller)
    }
}

/// How much there is of a history: operations, elements of lists, and what they claim.
fn size(key: &KeyOps) -> usize {
    let claims = |op: &Op| usize::from(op.ret != NEVER) + usize::from(op.seen != Seen::Unknown);
    let items = |seen: Seen| if let Seen::List(list) = seen { index(list.len) } else { 0 };
    let asked = |op: &Op| if let Action::Txn(list) = op.action { index(list.len) } else { 0 };
    let of_op = |op: &Op| 1 + claims(op) + items(op.seen) + asked(op);
    items(key.initial) + key.ops.iter().map(of_op).sum::<usize>()
}
