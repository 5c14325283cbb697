//! What operations do to an object when they happen one after the other: the whole meaning of a model.

use std::fmt::Debug;
use std::hash::Hash;

use crate::ops::{KeyOps, Op, Seen, Word};

/// An object as a single-threaded program sees it.
///
/// A new model is a type that implements this: which state the object starts in, and where an operation leads.
pub trait Sequential {
    /// What there is to know about the object at one moment.
    type State: Clone + Debug + Eq + Hash;

    /// The state before the first operation.
    fn start(&self, key: &KeyOps) -> Self::State;

    /// The state after an operation that finds the object in `state`, or `None` if it cannot have happened there with
    /// what it saw.
    ///
    /// It is asked about operations that took effect or may have; of the latter, `seen` is unknown. Also about failed
    /// ones that say what they saw (a cas): they leave the state as it is.
    fn apply(&self, key: &KeyOps, state: &Self::State, op: &Op) -> Option<Self::State>;
}

/// The elements of a list, a set or a queue before the first operation.
pub(super) fn initial_items(key: &KeyOps) -> Vec<Word> {
    if let Seen::List(list) = key.initial { key.list(list).to_vec() } else { Vec::new() }
}

/// Each element once, in order.
pub(super) fn sorted(words: &[Word]) -> Vec<Word> {
    let mut words = words.to_vec();
    words.sort_unstable();
    words.dedup();
    words
}
