//! The sequential objects as the search sees them: states are numbers, operations are steps between states.
//!
//! A model is five kinds of steps and a rule where each leads. Registers use their value's number as state, counters
//! their sum, lists a node of the [`Tree`] of all lists that were ever read. All objects start in state [`START`].

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A state of the object.
pub(crate) type State = i64;

/// No value, the empty list, the sum 0.
pub(crate) const START: State = 0;

/// A state that nobody ever saw: a value that no operation read or expects, a list that is a prefix of none that was
/// read. All such states are one, since no observation can tell them apart.
pub(crate) const UNSEEN: State = State::MIN;

/// What one operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Finds the object in this state, and leaves it there.
    Is(State),
    /// Sets the state, whatever it was.
    Set(State),
    /// Finds it in one state and sets another: a cas, or an increment that returned the sum.
    Swap {
        /// Found.
        from: State,
        /// Left.
        to: State,
    },
    /// Adds a token to the list.
    Push(usize),
    /// Adds to the sum; what it was is not known.
    Add(i64),
}

impl Step {
    /// The state that the object must be in, if only one will do.
    pub(crate) fn needs(self) -> Option<State> {
        match self {
            Step::Is(state) | Step::Swap { from: state, .. } => Some(state),
            Step::Set(_) | Step::Push(_) | Step::Add(_) => None,
        }
    }

    /// The state that it leaves, if that does not depend on the one before.
    pub(crate) fn makes(self) -> Option<State> {
        match self {
            Step::Set(state) | Step::Swap { to: state, .. } => Some(state),
            Step::Is(_) | Step::Push(_) | Step::Add(_) => None,
        }
    }

    /// Where it leads from `state`; none if it cannot happen there.
    pub(crate) fn apply(self, state: State, tree: &Tree) -> Option<State> {
        match self {
            Step::Is(here) => (here == state).then_some(state),
            Step::Set(to) => Some(to),
            Step::Swap { from, to } => (from == state).then_some(to),
            Step::Push(token) => Some(tree.child(state, token)),
            Step::Add(by) => state.checked_add(by),
        }
    }
}

/// All lists that were read, and all their prefixes. A node is a state.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    children: FastMap<(State, usize), State>,
    nodes: State,
}

impl Tree {
    /// The node of a list, made if it is new.
    pub(crate) fn node(&mut self, list: impl IntoIterator<Item = usize>) -> State {
        let mut node = START;
        for token in list {
            let next = self.nodes + 1;
            node = *self.children.entry((node, token)).or_insert(next);
            self.nodes = self.nodes.max(node);
        }
        node
    }

    /// The list with one more token.
    pub(crate) fn child(&self, node: State, token: usize) -> State {
        self.children.get(&(node, token)).copied().unwrap_or(UNSEEN)
    }
}

/// A map by a fast hash. Its keys are numbers that this crate has given out itself, so nobody can choose them to
/// collide.
pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<FastHasher>>;

/// A set by the same hash.
pub(crate) type FastSet<K> = std::collections::HashSet<K, BuildHasherDefault<FastHasher>>;

/// Multiply and rotate, word by word.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FastHasher(u64);

impl FastHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        // The tables look at the highest bits and the lowest; a product has its entropy in the highest.
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.mix(u64::from(byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_i64(&mut self, word: i64) {
        self.mix(word.cast_unsigned());
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(u64::try_from(word).unwrap_or(u64::MAX));
    }
}
