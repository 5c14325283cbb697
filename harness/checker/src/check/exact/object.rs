//! What the search asks of an object.

use super::configuration::Configuration;
use super::mask::Mask;
use super::scene::Scene;
use crate::ops::{KeyOps, Position};

/// A state of the object, as a number.
pub(super) type State = u32;

/// What an operation does and sees, as a number: equal operations are of one kind.
pub(super) type Kind = u32;

/// An operation and when it happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Index into [`KeyOps::ops`].
    pub(super) op: u32,
    /// Position of its invocation.
    pub(super) call: Position,
    /// Position of its completion; [`crate::ops::NEVER`] if it is optional: it may have happened at any time since its
    /// invocation, or not at all.
    pub(super) ret: Position,
    pub(super) kind: Kind,
}

/// How an operation relates to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// Leaves every state in which it can happen as it is.
    Look,
    /// Can happen in every state, and leads to the same one from all of them.
    Reset,
    /// Can happen in every state, and learns nothing.
    Blind,
    /// Cannot happen in every state, but learns nothing beyond that it has happened.
    Guarded,
    /// Its effect goes with what it learnt.
    Other,
}

/// Who makes a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    /// A certain operation.
    Slot(usize),
    /// A member of a class of optional ones.
    Class(usize),
}

/// An operation that can be done next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) by: Actor,
    pub(super) to: State,
}

/// What the operations of a key come to before the search.
#[derive(Debug)]
pub(super) struct Problem<O> {
    /// In order of invocation.
    pub(super) steps: Vec<Step>,
    pub(super) object: O,
    /// An operation that cannot have happened in any state.
    pub(super) impossible: Option<u32>,
}

/// One model's part of the search.
pub(super) trait Object<'k, const W: usize>: Clone {
    /// Takes the operations apart.
    fn problem(key: &'k KeyOps) -> Problem<Self>;

    fn start(&self) -> State;

    fn nature(&self, kind: Kind) -> Nature;

    /// Whether the effect of an operation shows in its answer only.
    fn is_told_by_answer(&self, kind: Kind) -> bool {
        self.nature(kind) == Nature::Other
    }

    /// The next step in order is invoked. Whether it can matter: if not, it is left out.
    fn invoked(&mut self, step: &Step) -> bool;

    /// A certain operation is under way from now on.
    fn opened(&mut self, slot: usize, kind: Kind);

    /// It has returned.
    fn closed(&mut self, slot: usize, kind: Kind);

    /// Optional operations of a kind are under way from now on.
    fn class_opened(&mut self, class: usize, kind: Kind);

    /// They are of no use any more, or all used.
    fn class_closed(&mut self, class: usize, kind: Kind, members: u32);

    /// Whether something may have become useless since this was last asked.
    fn take_news(&mut self) -> bool {
        false
    }

    /// Whether nothing can profit from an operation of this kind any more.
    fn is_useless(&self, kind: Kind) -> bool;

    /// Which of the operations that a configuration owes are done as soon as the state is this one: nothing later can
    /// profit from their absence.
    fn at_once(&mut self, state: State, owed: &Mask<W>, scene: &Scene<W>) -> Mask<W>;

    /// What can be done next, if it leads anywhere that doing the target alone does not.
    fn moves(&mut self, at: &Configuration<W>, scene: &Scene<W>, moves: &mut Vec<Move>);

    /// Whether an operation that may be taken as done already is worth doing visibly before it returns.
    fn is_worth_showing(&self, kind: Kind) -> bool;

    /// If something that certainly happened cannot happen any more in `next`, which has just left another state: the
    /// number of that step.
    fn dead_end(&self, from: State, next: &Configuration<W>, scene: &Scene<W>) -> Option<u32>;

    /// The same if an operation of this kind is taken as done without having been visible.
    fn hidden_dead_end(&self, kind: Kind, next: &Configuration<W>, scene: &Scene<W>)
    -> Option<u32>;

    /// The state that stands for all that nobody can tell from this one any more.
    fn settled(&self, state: State) -> State;

    /// Whether there are finitely many states even if every optional operation may happen any number of times.
    fn is_finite(&self) -> bool;

    /// How much it is to copy, in numbers.
    fn weight(&self) -> usize;

    /// Bytes that it holds beyond what the operations need.
    fn bytes(&self) -> usize {
        0
    }

    /// Forgets states that nobody is in; the others may get new numbers.
    fn collect(&mut self, _live: &mut [Configuration<W>]) {}
}
