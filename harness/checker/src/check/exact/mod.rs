//! The exact search: Wing and Gong's, with Lowe's memoisation and his just-in-time linearization, in breadth.
//!
//! A *configuration* ([`configuration::Configuration`]) is a state of the object, and what has become of the operations
//! under way. The search ([`walk::Walk`]) goes through the events with all configurations that are possible, the
//! *frontier*:
//!
//! - an invocation opens an operation, which is *owed* from then on;
//! - at a return, the operation must have been done: configurations that still owe it are extended by other operations
//!   under way in all ways until it is done, and no further ("just in time"). Each configuration is looked at once
//!   (Lowe's memoisation). If none is left, the history up to here has no order.
//!
//! So memory is bound by the widest frontier, not by the history: sets of operations are masks over the *slots* of
//! those under way; and progress can be told.
//!
//! # Why the frontier stays small
//!
//! Extending in all ways would be exponential in the number of operations under way. These arguments keep it small.
//! All but the fourth say that of two configurations one can do whatever the other can, so that this one suffices.
//!
//! 1. *Reads at once.* An operation that only looks is done as soon as it finds the state that it saw.
//! 2. *Equals by deadline.* Of operations under way that do exactly the same, the one that returns first goes first;
//!    those without a return go last. (Whoever does it otherwise may swap the two.)
//! 3. *Hidden writes.* When the state is set whatever it was (a write), every write under way can have happened right
//!    before, so that nobody saw it. Instead of trying all subsets of them, they are *neither owed nor used* from then
//!    on, which stands for both: it has happened, hidden; or it is yet to happen. That can do whatever either can. When
//!    such an operation returns, it is over: it was hidden, or this is the last moment for it to be seen. Both are
//!    kept. A write of the value that is there already can be hidden as well.
//! 4. *Dead ends.* A state is not left while it is needed later on and cannot come back.
//! 5. *Nobody looks.* Unless it is the one that must be done, a write is done visibly only if somebody under way waits
//!    for its value, maybe by way of a cas. (Otherwise another write comes next, before which it can be hidden.) And
//!    values at which nobody will look any more are one.
//! 6. *Less is more.* A configuration is dropped if another one of the same state owes no more and has used no more.
//!
//! # Operations that may or may not have happened
//!
//! Operations without a return stay under way for ever, and there may be tens of thousands of them. They have no slots:
//! all those of one kind are a *class* ([`scene::Class`]), and a configuration counts how many of each it has used
//! ([`uses::Uses`]). Those whose effect nobody looks at are dropped: at the start, or once nobody will any more. (If
//! there is an order with such an operation, then the same order without it will do: see `matters` and `is_useless` of
//! each model.)
//!
//! Still there may be too many ways to have used them, or to have used those that return. So the key is decided by up
//! to three walks ([`walk::Supply`]):
//!
//! - *Frugal*: all rules hold, but only the configurations are kept that have used least. Whatever it finds is an
//!   order; so if it gets to the end, there is one. If it does not, there may be one nevertheless, unless it never had
//!   to leave anything out.
//! - *Unlimited*: every operation under way may happen any number of times, so that nothing needs to be counted, and
//!   configurations are few. Every order is among what this walk allows; so if it does not get to the end, there is
//!   none.
//! - *Counted*: all rules hold, and all configurations are kept. It is right whatever it says, but may take for ever.
//!   It decides what the other two leave open, within the limits.
//!
//! # What blocks
//!
//! A dead end is seen before the operation returns, or even is invoked, that cannot happen any more. The operation that
//! is named as blocking is the last to return of all that any dropped configuration would have missed, so that the
//! events up to its return contradict each other without anything later. (What fails later on has failed, though.)
//!
//! Quiescent moments need no care: nothing is under way then, and the frontier is one configuration a state.

mod configuration;
mod counter;
mod hash;
mod interned;
mod list;
mod mask;
mod object;
mod register;
mod scene;
mod semantics;
#[cfg(test)]
mod tests;
mod uses;
mod walk;

use self::counter::Counter;
use self::interned::Interned;
use self::list::List;
use self::object::Object;
use self::register::Register;
use self::walk::{Outcome, Stop, Supply, Walk, Width};
use super::decision::{Answer, Budget, Limit};
use crate::model::Model;
use crate::ops::{KeyOps, Position};

/// Figures of a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Configurations explored.
    pub configurations: u64,
    /// Of those, the most that were possible after an event.
    pub frontier_max: usize,
    /// Operations under way at once that returned later, at most.
    pub open_max: usize,
}

/// What the frugal walks keep, one after the other.
const WIDTHS: [Width; 3] = [
    Width { of_state: 4, of_return: 100, detours: 2, by_total: true },
    Width { of_state: 16, of_return: 500, detours: 4, by_total: true },
    Width { of_state: 60, of_return: 4000, detours: 8, by_total: false },
];

/// Looks for an order of the key's operations. Its cost is at best a few configurations for each operation.
pub fn search(key: &KeyOps, budget: &Budget<'_>) -> (Answer, Effort) {
    let mut effort = Effort::default();
    // How many slots it takes shows on the way only.
    let answer = of_model::<1>(key, budget, &mut effort)
        .or_else(|_| of_model::<4>(key, budget, &mut effort))
        .or_else(|_| of_model::<64>(key, budget, &mut effort))
        .unwrap_or_else(|TooNarrow(position)| Answer::GaveUp { position, limit: Limit::Memory });
    (answer, effort)
}

/// More operations are under way at once than masks have bits; up to here an order exists.
struct TooNarrow(Position);

fn of_model<const W: usize>(
    key: &KeyOps,
    budget: &Budget<'_>,
    effort: &mut Effort,
) -> Result<Answer, TooNarrow> {
    match key.model {
        Model::Register | Model::CasRegister | Model::Mutex => {
            decide::<Register<W>, W>(key, budget, effort)
        }
        Model::Append => decide::<List, W>(key, budget, effort),
        Model::Counter => decide::<Counter, W>(key, budget, effort),
        Model::MultiRegister => {
            decide::<Interned<'_, semantics::MultiRegister>, W>(key, budget, effort)
        }
        Model::Kv => decide::<Interned<'_, semantics::Kv>, W>(key, budget, effort),
        Model::Set => decide::<Interned<'_, semantics::Set>, W>(key, budget, effort),
        Model::FifoQueue => decide::<Interned<'_, semantics::FifoQueue>, W>(key, budget, effort),
        Model::UnorderedQueue => {
            decide::<Interned<'_, semantics::UnorderedQueue>, W>(key, budget, effort)
        }
    }
}

/// By up to three walks: see the module.
fn decide<'k, O: Object<'k, W>, const W: usize>(
    key: &'k KeyOps,
    budget: &Budget<'_>,
    effort: &mut Effort,
) -> Result<Answer, TooNarrow> {
    let problem = O::problem(key);
    if let Some(op) = problem.impossible {
        return Ok(Answer::Blocked { op });
    }
    let frugal =
        Walk::new(&problem, Supply::Frugal(WIDTHS[0]), budget, effort).run_frugally(&WIDTHS);
    if !(frugal.is_partial && frugal.is_blocked()) {
        return frugal.answer(0);
    }
    if problem.object.is_finite() {
        let unlimited = Walk::new(&problem, Supply::Unlimited, budget, effort).run();
        if unlimited.is_blocked() {
            return unlimited.answer(0);
        }
    }
    Walk::new(&problem, Supply::Counted, budget, effort).run().answer(frugal.position)
}

impl Outcome {
    fn is_blocked(&self) -> bool {
        matches!(self.end, Ok(Answer::Blocked { .. }))
    }

    /// As an answer, if it is known already that an order exists up to some position.
    fn answer(self, reached: Position) -> Result<Answer, TooNarrow> {
        let position = reached.max(self.position);
        match self.end {
            Ok(answer) => Ok(answer),
            Err(Stop::Limit(limit)) => Ok(Answer::GaveUp { position, limit }),
            Err(Stop::TooNarrow) => Err(TooNarrow(position)),
        }
    }
}

/// What one way to treat optional operations can say for certain, if it can say anything.
#[cfg(test)]
fn verdict_of(key: &KeyOps, budget: &Budget<'_>, supply: Supply) -> Option<bool> {
    fn walk<'k, O: Object<'k, 1>>(
        key: &'k KeyOps,
        budget: &Budget<'_>,
        supply: Supply,
    ) -> Option<bool> {
        let problem = O::problem(key);
        if problem.impossible.is_some() {
            return Some(false);
        }
        if supply == Supply::Unlimited && !problem.object.is_finite() {
            return None;
        }
        let mut effort = Effort::default();
        let walk = Walk::new(&problem, supply, budget, &mut effort);
        let outcome = match supply {
            Supply::Frugal(width) => {
                let wider = Width { of_state: 2 * width.of_state, ..width };
                walk.run_frugally(&[width, wider])
            }
            Supply::Counted | Supply::Unlimited => walk.run(),
        };
        match outcome.end {
            Ok(Answer::Linearizable) => (supply != Supply::Unlimited).then_some(true),
            Ok(Answer::Blocked { .. }) => (!outcome.is_partial).then_some(false),
            Ok(Answer::GaveUp { .. }) | Err(_) => None,
        }
    }
    match key.model {
        Model::Register | Model::CasRegister | Model::Mutex => {
            walk::<Register<1>>(key, budget, supply)
        }
        Model::Append => walk::<List>(key, budget, supply),
        Model::Counter => walk::<Counter>(key, budget, supply),
        Model::MultiRegister => walk::<Interned<'_, semantics::MultiRegister>>(key, budget, supply),
        Model::Kv => walk::<Interned<'_, semantics::Kv>>(key, budget, supply),
        Model::Set => walk::<Interned<'_, semantics::Set>>(key, budget, supply),
        Model::FifoQueue => walk::<Interned<'_, semantics::FifoQueue>>(key, budget, supply),
        Model::UnorderedQueue => {
            walk::<Interned<'_, semantics::UnorderedQueue>>(key, budget, supply)
        }
    }
}
