//! Tests that need no search: what an object's operations force, read off in about the time that sorting them takes.
//!
//! Each model has its own argument why an order exists or cannot, in a file of its own. None of them is trusted when it
//! says that an order exists: [`verify()`] is. When they say that there is none, they name operations that contradict
//! each other whatever else happened, up to one kind of fact: that nobody else wrote a value, took an element or gave
//! a mutex back, which one look at the history confirms.
//!
//! A test may be unable to tell: then an exact search has to.

mod counter;
mod list;
mod mutex;
mod online;
mod place;
mod queue;
mod register;
mod replay;
mod set;
#[cfg(test)]
mod tests;
mod verify;
mod witness;

pub use self::online::Online;
pub use self::verify::{Flaw, verify};
pub use self::witness::witness;
use super::decision::{Contradiction, Finding};
use crate::model::Model;
use crate::ops::KeyOps;

/// What a test has against a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contradictions {
    /// How many operations contradict others that came before them.
    pub count: u64,
    /// The first of them, each with those that it contradicts.
    pub first: Vec<Contradiction>,
    max: usize,
}

impl Contradictions {
    fn new(max: usize) -> Contradictions {
        Contradictions { count: 0, first: Vec::new(), max }
    }

    /// Counts one, and works out what it is if it is among those to keep.
    fn add(&mut self, contradiction: impl FnOnce() -> Contradiction) {
        self.count += 1;
        if self.first.len() < self.max {
            let mut found = contradiction();
            found.ops.sort_unstable();
            found.ops.dedup();
            self.first.push(found);
        }
    }
}

/// Finds an order or a contradiction. An order that it finds has been verified.
pub fn decide(key: &KeyOps) -> Finding {
    let is_right = |order: &Vec<u32>| verify(key, order).is_ok();
    if let Some(order) = propose(key).filter(is_right) {
        return Finding::Order(order);
    }
    if let Some(found) = contradictions(key, 1).first.into_iter().next() {
        return Finding::Contradiction(found);
    }
    let by_return = place::by_return(key);
    if is_right(&by_return) { Finding::Order(by_return) } else { Finding::Undecided }
}

/// An order that is likely right if there is one.
fn propose(key: &KeyOps) -> Option<Vec<u32>> {
    match key.model {
        Model::Register | Model::CasRegister | Model::Kv => register::order(key),
        Model::Append => list::order(key),
        Model::Counter => counter::order(key),
        Model::Set => set::order(key),
        Model::FifoQueue | Model::UnorderedQueue => queue::order(key),
        Model::Mutex => mutex::order(key),
        Model::MultiRegister => None,
    }
}

/// All that can be held against the history without a search, the first `max` of it in full.
pub fn contradictions(key: &KeyOps, max: usize) -> Contradictions {
    let mut found = Contradictions::new(max);
    match key.model {
        Model::Register | Model::CasRegister | Model::Kv => {
            register::contradictions(key, &mut found);
        }
        Model::Append => list::contradictions(key, &mut found),
        Model::Counter => counter::contradictions(key, &mut found),
        Model::Set => set::contradictions(key, &mut found),
        Model::FifoQueue | Model::UnorderedQueue => queue::contradictions(key, &mut found),
        Model::Mutex => mutex::contradictions(key, &mut found),
        Model::MultiRegister => {}
    }
    found
}

/// A length or place as the number of an operation: there are never more than those.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
